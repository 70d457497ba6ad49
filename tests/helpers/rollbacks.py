"""Calls of rollback and restore, and what they have made of the versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.helpers.past import rows
from tests.helpers.sessions import Connection, Session, fetch

Connect = Callable[[], Connection]
Open = Callable[[], Session]

OTHER_UID = "1000000000000001"
TYPES = ("dual_side", "params", "preferences")
ROLLBACK = "select * from rollback_user_setting(%s, 'params', %s)"
EXPECTING = "select * from rollback_user_setting(%s, 'params', %s, %s)"
ROLLBACK_ALL = "select * from rollback_user_settings(%s, %s)"
RESTORE = "select * from restore_user_setting(%s, 'params')"
RESTORE_USER = "select * from restore_user(%s)"
DELETE_USER = "select * from delete_user(%s)"
ENSURE = "select * from ensure_user(%s, %s)"


def everything(db: Connection) -> list[Any]:
    tables = ("app_users", "user_settings", "telegram_links", "mirror_pending")
    return [fetch(db, f"select * from {table} t order by t::text") for table in tables]


def contents(db: Connection, uid: str, setting_type: str = "params") -> list[Any]:
    """Each version's n, None for a deletion."""
    return [None if row["deleted_at"] else row["settings"]["n"] for row in rows(db, uid, setting_type)]


def forbid(db: Connection, setting_type: str, maximum: int) -> None:
    """From now on the catalogue has an n, of at most this."""
    query = (
        "insert into setting_fields (setting_type, key, json_type, default_value, maximum) values (%s, 'n', 'integer',"
    )
    fetch(db, f"{query} '0', %s)", (setting_type, maximum))
