"""The one table that leads from PostgreSQL's SQLSTATE to the store's exceptions."""

from __future__ import annotations

import re
from typing import Any

from store.errors import (
    AlreadyLinked,
    BadIdentifier,
    DatabaseBusy,
    DatabaseError,
    DatabaseReadOnly,
    DatabaseUnavailable,
    HistoryIsImmutable,
    InvalidArgument,
    InvalidSettings,
    NotEmpty,
    NotMigrated,
    NotPermitted,
    OutOfResources,
    RolloutRefused,
    SettingLocked,
    StoreError,
    UnknownScheduledChange,
    UnknownSettingType,
    UnknownTemplate,
    UnknownUser,
    UnknownVersion,
    VersionConflict,
    document_error,
    first_line,
)
from store.postgres.sources import name_of, rights_of, sql_files, table_rights

BY_SQLSTATE: dict[str, type[StoreError]] = {
    "US001": VersionConflict,
    "US002": UnknownSettingType,
    "US003": InvalidSettings,
    "US004": UnknownUser,
    "US005": HistoryIsImmutable,
    "US006": UnknownVersion,
    "US007": BadIdentifier,
    "US008": AlreadyLinked,
    "US009": UnknownTemplate,
    "US010": InvalidArgument,
    "US011": NotEmpty,
    "US012": NotPermitted,
    "US013": SettingLocked,
    "US014": UnknownScheduledChange,
    "US015": RolloutRefused,
}

# What PostgreSQL says of a parameter that it can't read as text or jsonb, and of one nested too deep.
UNREADABLE = {
    "22P02": "is not valid JSON for PostgreSQL (a lone surrogate?)",
    "22P05": "must not contain the character U+0000",
    "22021": "must not contain the character U+0000",
    "22003": "must not hold a number outside the range of a double",
    "54001": "is nested too deep",
    "54000": "is too large",
}

MISSING = ("42883", "42P01", "3F000")  # a function, a table, a schema
DISK_FULL = "53100"
UNREACHABLE = ("08", "57P", "53300")  # no connection, or none any more: lost, shut down, too many


def _needed_role(message: str) -> str:
    """Look up in sql/ which role may do what PostgreSQL refuses, in whatever language it says so."""
    given = {name: roles for roles, _, names in table_rights() for name in names}
    given |= {name_of(file): roles for file in sql_files() if (roles := rights_of(file))}
    for name in re.findall(r"\w+", message):
        if name in given:
            roles = [f"settings_{role}" for role in given[name]]
            return f"It takes {' or '.join(roles)}: grant {roles[0]} to the login (docs/security.md)."
    return "The roles are settings_reader, settings_writer, settings_relay and settings_admin (docs/security.md)."


def from_postgres(error: Any) -> StoreError:
    """Translate a psycopg error. Raise the result `from None`: the original may quote values."""
    state: str | None = error.sqlstate
    if state in BY_SQLSTATE:
        diagnosis = error.diag
        return BY_SQLSTATE[state](
            diagnosis.message_primary or "", detail=diagnosis.message_detail, hint=diagnosis.message_hint
        )
    if state == "42501":
        message = error.diag.message_primary or ""
        return NotPermitted(f"not permitted: {message}", hint=_needed_role(message))
    if state == "55P03":
        return DatabaseBusy("another transaction holds what this needs: nothing was done")
    if state in UNREADABLE:
        return document_error(UNREADABLE[state])
    if state in MISSING:
        return NotMigrated("the database lacks the store's tables or functions", hint="Run: settings-store migrate")
    if state == "25006":
        hint = "With several hosts in DATABASE_URL: target_session_attrs=read-write"
        return DatabaseReadOnly("PostgreSQL takes no writes: it is a standby, or set to read-only", hint=hint)
    if state is None and type(error).__name__ == "DataError":  # psycopg itself couldn't write a parameter
        return DatabaseError("a text must not contain the character U+0000")
    if state is None and type(error).__name__ == "ProgrammingError":
        return DatabaseError("an argument is of a type that PostgreSQL doesn't take")
    if state is None or state.startswith(UNREACHABLE):
        return DatabaseUnavailable(f"PostgreSQL can't be reached: {first_line(error)}")
    if state == DISK_FULL:
        hint = "Make room on PostgreSQL's disk (docs/operations.md)"
        return DatabaseReadOnly(f"PostgreSQL has no room left: {error.diag.message_primary}", hint=hint)
    if state.startswith("53"):
        return OutOfResources(f"PostgreSQL lacks resources: {error.diag.message_primary}", hint=error.diag.message_hint)
    return DatabaseError(f"PostgreSQL: {error.diag.message_primary} ({state})")
