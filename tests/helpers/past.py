"""Versions saved at times that a test chooses: the triggers, which take the clock's, are off while they are moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import Rows
from tests.helpers.sessions import Connection, fetch

T0 = datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)

SAVE = "select (r).version from upsert_user_setting(%s, %s, jsonb_build_object('n', %s::int)) r"
DELETE = "select (r).version from delete_user_setting(%s, %s) r"


def save(db: Connection, uid: str, setting_type: str, numbers: Sequence[int | None]) -> None:
    """Save {"n": number} for each number; delete for None."""
    for n in numbers:
        fetch(db, *((DELETE, (uid, setting_type)) if n is None else (SAVE, (uid, setting_type, n))))


def move(db: Connection, uid: str, setting_type: str, times: Mapping[int, datetime]) -> None:
    """Let versions have been saved at these times, the user registered by the first of them."""
    with db.transaction():
        fetch(db, "set local session_replication_role = replica")
        for version, time in times.items():
            where = "where okx_uid = %s and setting_type = %s and version = %s"
            fetch(db, f"update user_settings set updated_at = %s {where}", (time, uid, setting_type, version))
        fetch(db, "set local session_replication_role = origin")
        fetch(
            db,
            "update app_users set created_at = least(created_at, %s) where okx_uid = %s",
            (min(times.values(), default=None), uid),
        )


def hourly(db: Connection, uid: str, setting_type: str, numbers: Sequence[int | None], since: datetime = T0) -> None:
    """Save as save() does; version v was saved v-1 hours after `since`."""
    save(db, uid, setting_type, numbers)
    move(db, uid, setting_type, {n + 1: since + n * HOUR for n in range(len(numbers))})


def versions(db: Connection, uid: str, setting_type: str = "params") -> list[int]:
    """The versions there are."""
    query = "select version from user_settings where okx_uid = %s and setting_type = %s order by version"
    return [row["version"] for row in fetch(db, query, (uid, setting_type))]


def rows(db: Connection, uid: str, setting_type: str = "params") -> Rows:
    """The versions there are, oldest first."""
    query = "select * from user_settings where okx_uid = %s and setting_type = %s order by version"
    return fetch(db, query, (uid, setting_type))


def active(db: Connection, uid: str) -> dict[str, Any]:
    """The live documents by type."""
    found = fetch(db, "select setting_type, settings from get_user_settings(%s)", (uid,))
    return {row["setting_type"]: row["settings"] for row in found}
