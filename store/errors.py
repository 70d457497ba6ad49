"""The store's exceptions; store/postgres/errors.py leads from PostgreSQL's SQLSTATEs to them.

No message holds a setting's or a credential's value.
"""

from __future__ import annotations

import json
import re


class StoreError(Exception):
    """Base of all errors the store raises. `detail` and `hint` are PostgreSQL's, or None."""

    exit_code = 1

    def __init__(self, message: str, *, detail: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.detail}" if self.detail else self.message


class VersionConflict(StoreError):
    """Someone else saved in between (US001). `current`: the version there is now; None if unknown."""

    @property
    def current(self) -> int | None:
        found = re.search(r"current version (\d+)", self.detail or "")
        return int(found[1]) if found else None


class UnknownSettingType(StoreError):
    """No such setting type (US002)."""


class _OfKeys(StoreError):
    @property
    def problems(self) -> dict[str, str]:
        try:
            problems: dict[str, str] = json.loads(self.detail or "{}")
        except ValueError:
            return {"$": self.detail or self.message}
        return problems

    def __str__(self) -> str:
        return "; ".join([self.message, *(f"{key}: {why}" for key, why in sorted(self.problems.items()))])


class InvalidSettings(_OfKeys):
    """The document can't be saved (US003), or isn't of the class it is to be read as. `problems`: bad key -> why; key
    `$` is the whole document."""


class SettingLocked(_OfKeys):
    """A locked key would change, or a document with locks would be deleted (US013). `problems`: locked key -> by whom,
    until when and why; key `$` is the whole document."""


class UnknownUser(StoreError):
    """Nobody has this identifier, or the user was deleted (US004)."""


class HistoryIsImmutable(StoreError):
    """An archived version would change or go (US005)."""


class UnknownVersion(StoreError):
    """No such version (US006)."""


class BadIdentifier(StoreError, ValueError):
    """Neither an OKX UID, nor a Telegram ID, nor a UUID (US007). A ValueError, as it was before this project."""


class AlreadyLinked(StoreError):
    """The Telegram ID is linked to another user (US008)."""


class UnknownTemplate(StoreError):
    """No template of this name for this setting type (US009)."""


class InvalidArgument(StoreError):
    """An argument is of a wrong type or out of range (US010). `problems`: of a trade, bad key -> why; else empty."""

    @property
    def problems(self) -> dict[str, str]:
        try:
            found = json.loads(self.detail or "")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def __str__(self) -> str:
        problems = [f"{key}: {why}" for key, why in sorted(self.problems.items())]
        return "; ".join([self.message, *problems]) if problems else super().__str__()


class NotEmpty(StoreError):
    """The database to restore into holds data already (US011)."""


class UnknownScheduledChange(StoreError):
    """There is no such scheduled change to cancel: it is over, was cancelled, or never was (US014)."""


class RolloutRefused(StoreError):
    """No such rollout, or it isn't in a state for this (US015)."""


class NotPermitted(StoreError):
    """The database user may not do this (42501), or the session is confined to another user (US012)."""


class NotMigrated(StoreError):
    """The database lacks the store's tables or functions: run `migrate`."""


class MigrationError(StoreError):
    """A migration or a file of sql/ could not be applied; nothing of it remains."""


class DatabaseError(StoreError):
    """PostgreSQL refused a statement for a reason that is none of the above."""


class OutOfResources(DatabaseError):
    """PostgreSQL is out of memory, or a limit it is configured with is reached: nothing was done (class 53)."""


class ConfigError(StoreError):
    """A setting of the environment can't be used."""

    exit_code = 2


class DatabaseUnavailable(StoreError):
    """PostgreSQL can't be reached; whether a write in flight was committed is unknown."""

    exit_code = 3


class DatabaseReadOnly(DatabaseUnavailable):
    """PostgreSQL answers, and takes no writes: a standby, a full disk."""


class DatabaseBusy(DatabaseUnavailable):
    """Others keep what this needs: a row, in an open transaction, or every connection. Nothing was done (55P03)."""


class RedisUnavailable(StoreError):
    """Redis can't be reached, or refuses the command (full, read-only)."""

    exit_code = 3


def document_error(problem: str, path: str = "$") -> InvalidSettings:
    """Make the error of a document that can't be saved, for what is at this path of it ($: the whole)."""
    return InvalidSettings("invalid settings", detail=json.dumps({path: problem}))


def first_line(error: BaseException) -> str:
    """Cut an error's text to its first line, and what Redis says of an unknown command before the arguments, which it
    quotes: of AUTH they are the password."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(", with args beginning")[0]
