"""The SQL functions of schedules, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from store.arguments import count, count_or_none, flag, line, span, symbol_or_none, time, version_or_none
from store.errors import InvalidArgument
from store.json_writer import json_text
from store.postgres.call import Call, _read, _write

CHANGE = (
    "r.id, r.okx_uid, r.setting_type, r.filter::text, r.patch::text, r.template, r.version, r.expected_version, r.at,"
    " r.until, r.not_after, r.reason, r.scheduled_by, r.written_by, r.scheduled_at, r.state, r.due_at, r.ended_at,"
    " r.users, r.changed, r.note"
)


def schedule_change(
    identifier: str,
    setting_type: str,
    patch: Mapping[str, Any] | None,
    template: str | None,
    version: int | None,
    at: datetime | None,
    until: datetime | None,
    for_: timedelta | None,
    not_after: datetime | None,
    expected_version: int | None,
    symbol: str | None = None,
) -> Call:
    return _write(
        CHANGE, "schedule_change", "identifier", identifier, setting_type=setting_type,
        **_what(patch, template), version=None if version is None else count(version, "version"),
        **_when(at, until, for_, not_after), expected_version=version_or_none(expected_version),
        symbol=symbol_or_none(symbol),
    )  # fmt: skip


def schedule_changes(
    setting_type: str,
    identifiers: Sequence[str] | None,
    filter: Mapping[str, Any] | None,
    patch: Mapping[str, Any] | None,
    template: str | None,
    at: datetime | None,
    until: datetime | None,
    for_: timedelta | None,
    not_after: datetime | None,
    symbol: str | None = None,
) -> Call:
    return _write(
        CHANGE, "schedule_changes", "setting_type", setting_type,
        identifiers=None if identifiers is None else list(identifiers),
        filter=None if filter is None else json_text(filter), **_what(patch, template),
        **_when(at, until, for_, not_after), symbol=symbol_or_none(symbol),
    )  # fmt: skip


def cancel_scheduled_change(id: int, take_back: bool) -> Call:
    return _write(
        CHANGE, "cancel_scheduled_change", "id::bigint", str(count(id, "id")), take_back=flag(take_back, "take_back")
    )


def list_scheduled_changes(identifier: str | None, to_come: bool, before: int | None, limit: int | None) -> Call:
    return _read(
        CHANGE, "list_scheduled_changes", identifier=identifier, to_come=flag(to_come, "to_come"),
        before=count_or_none(before, "before"), limit=count_or_none(limit, "limit"),
    )  # fmt: skip


def run_due_changes() -> Call:
    return _read("r.*", "run_due_changes")


def scheduled_change_statistics() -> Call:
    return _read("r.to_come, r.failed, r.overdue", "scheduled_change_statistics")


def _what(patch: Mapping[str, Any] | None, template: str | None) -> dict[str, str | None]:
    return {
        "patch": None if patch is None else json_text(patch),
        "template": None if template is None else line(template, "a template's name", InvalidArgument),
    }


def _when(
    at: datetime | None, until: datetime | None, for_: timedelta | None, not_after: datetime | None
) -> dict[str, datetime | timedelta | None]:
    return {
        "at": None if at is None else time(at, "at"),
        "until": None if until is None else time(until, "until"),
        "for": None if for_ is None else span(for_, "for_"),
        "not_after": None if not_after is None else time(not_after, "not_after"),
    }
