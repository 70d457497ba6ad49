"""The SQL functions of history, as statements with parameters. No I/O here."""

from __future__ import annotations

from datetime import datetime, timedelta

from store.arguments import count, count_or_none, flag, line, span, symbol_or_none, time, version_or_none
from store.errors import InvalidArgument
from store.postgres.call import Call, _read, _write
from store.postgres.functions._columns import SAVED, SETTING

VERSION = f"{SETTING}, r.changed_by, r.written_by, r.change_reason"


def user_setting_history(
    identifier: str, setting_type: str | None, before: datetime | None, limit: int | None, symbol: str | None = None
) -> Call:
    return _read(
        "r.*", "user_setting_history", identifier=identifier, setting_type=setting_type,
        symbol=symbol_or_none(symbol),
        before=None if before is None else time(before, "before"), limit=count_or_none(limit, "limit"),
    )  # fmt: skip


def user_setting_version(identifier: str, setting_type: str, version: int) -> Call:
    version = count(version, "version")
    return _read(VERSION, "user_setting_version", identifier=identifier, setting_type=setting_type, version=version)


def user_setting_at(identifier: str, setting_type: str | None, at: datetime) -> Call:
    return _read(SETTING, "user_setting_at", identifier=identifier, setting_type=setting_type, at=time(at, "at"))


def diff_user_setting(identifier: str, setting_type: str, from_: int, to: int) -> Call:
    versions = {"from": count(from_, "version"), "to": count(to, "version")}
    return _read("r.*", "diff_user_setting", identifier=identifier, setting_type=setting_type, **versions)


def rollback_user_setting(identifier: str, setting_type: str, version: int, expected_version: int | None) -> Call:
    return _write(
        SAVED, "rollback_user_setting", "identifier", identifier, setting_type=setting_type,
        version=count(version, "version"), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def rollback_user_settings(identifier: str, at: datetime) -> Call:
    return _write(SAVED, "rollback_user_settings", "identifier", identifier, at=time(at, "at"))


def restore_user_setting(identifier: str, setting_type: str, expected_version: int | None) -> Call:
    return _write(
        SAVED, "restore_user_setting", "identifier", identifier,
        setting_type=setting_type, expected_version=version_or_none(expected_version),
    )  # fmt: skip


def changes_after(cursor: str | None, limit: int) -> Call:
    cursor = None if cursor is None else line(cursor, "a cursor", InvalidArgument)
    return _read("r.*", "changes_after", cursor=cursor, limit=count(limit, "limit"))


def changes_since(since: datetime) -> Call:
    return _read("r as cursor", "changes_since", since=time(since, "since"))


def changes_held() -> Call:
    return _read("r.*", "changes_held")


def prune_user_settings(keep: int, older_than: timedelta, identifier: str | None, dry_run: bool) -> Call:
    return _read(
        "r.*", "prune_user_settings", keep=count(keep, "keep"), older_than=span(older_than, "older_than"),
        identifier=identifier, dry_run=flag(dry_run, "dry_run"),
    )  # fmt: skip
