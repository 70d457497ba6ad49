"""The statements of the service that this store replaces, as data, and what it makes of them.

A bot that still runs that code beside ours sends these. Parameters by name; `now()` and columns as it writes them.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

USER = ("id", "email", "name", "okx_uid", "telegram_linked", "telegram_id", "telegram_userid", "telegram_username",
        "okx_api_connected", "okx_linked", "created_at", "updated_at")  # fmt: skip
API = ("id", "user_id", "api_key", "api_secret", "passphrase", "telegram_id", "telegram_linked", "okx_uid", "exchange",
       "created_at", "updated_at")  # fmt: skip
KEYS = ("api_key", "api_secret", "passphrase")

SELECTED = ", ".join([f"au.{name} as user_{name}" for name in USER] + [f"oi.{name} as api_{name}" for name in API])
SELECT_USER = f"""
    select {SELECTED}
      from app_users as au
      left join okx_api_info as oi on oi.user_id = au.id and oi.deleted_at is null
     where au.deleted_at is null
       and (au.okx_uid = %(id)s or oi.okx_uid = %(id)s or oi.telegram_id = %(id)s or au.telegram_id = %(id)s
            or au.telegram_userid = %(id)s or au.id::text = %(id)s or oi.id::text = %(id)s)
     order by oi.updated_at desc nulls last, au.updated_at desc nulls last
     limit 1"""
INSERT_USER = """
    insert into app_users (email, name, telegram_linked, telegram_id, telegram_userid, telegram_username, okx_uid,
                           okx_linked, has_trading_access, has_analytics_access, has_realtime_access, created_at,
                           updated_at)
    values (%(email)s, %(name)s, true, %(telegram_id)s::text, %(telegram_id)s::text, %(username)s, %(okx_uid)s, true,
            true, true, true, now(), now())
    returning id"""
INSERT_LINK = """
    insert into okx_api_info (user_id, okx_uid, telegram_id, telegram_linked, okx_linked, created_at, updated_at)
    values (%(user_id)s, %(okx_uid)s, %(telegram_id)s, %(linked)s, true, now(), now())"""
LINK_USER = """
    update app_users
       set telegram_linked = true, telegram_id = %(telegram_id)s::text, telegram_userid = %(telegram_id)s::text,
           telegram_username = coalesce(%(username)s, telegram_username), okx_uid = coalesce(okx_uid, %(okx_uid)s),
           okx_linked = true, updated_at = now()
     where id = %(user_id)s"""
LINK_API = """
    update okx_api_info
       set telegram_id = %(telegram_id)s, telegram_linked = true, okx_uid = coalesce(okx_uid, %(okx_uid)s),
           okx_linked = true, updated_at = now()
     where id = %(api_id)s"""
UNLINK_USER = """
    update app_users
       set telegram_linked = false, telegram_id = null, telegram_userid = null, telegram_username = null,
           updated_at = now()
     where id = %(user_id)s"""
UNLINK_API = """
    update okx_api_info set telegram_id = null, telegram_linked = false, updated_at = now() where id = %(api_id)s"""
FREE_TELEGRAM_ID = (
    "update app_users set telegram_id = null, telegram_linked = false, updated_at = now() where telegram_id = %(id)s"
)
RESET = (
    "update app_users set telegram_id = null, telegram_linked = false, updated_at = now()"
    " where telegram_id = %(telegram_id)s or okx_uid = %(okx_uid)s"
)
UPDATE_KEYS = """
    update okx_api_info
       set api_key = coalesce(%(api_key)s, api_key), api_secret = coalesce(%(api_secret)s, api_secret),
           passphrase = coalesce(%(passphrase)s, passphrase), okx_uid = coalesce(okx_uid, %(okx_uid)s),
           updated_at = now()
     where id = %(api_id)s"""
INSERT_KEYS = """
    insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase, created_at, updated_at)
    values (%(user_id)s, %(okx_uid)s, %(api_key)s, %(api_secret)s, %(passphrase)s, now(), now())"""
DELETE_KEYS = """
    update okx_api_info set deleted_at = now(), is_active = false where user_id = %(user_id)s and deleted_at is null"""
GET_SETTINGS = "select * from get_user_settings(%(id)s, %(type)s)"
UPSERT_SETTINGS = """
    select upsert_user_settings(%(user_id)s::uuid, %(okx_uid)s, %(telegram_id)s, %(type)s, %(settings)s::jsonb)"""
DELETE_SETTINGS = """
    update user_settings set deleted_at = now(), is_active = false
     where user_id = %(user_id)s and setting_type = %(type)s and deleted_at is null and is_active"""
INSERT_SETTINGS = """
    insert into user_settings (user_id, setting_type, settings) values (%(user_id)s, %(type)s, %(settings)s::jsonb)
    returning id"""
DELETE_USER = "update app_users set deleted_at = now(), is_active = false where id = %(user_id)s"


class OldService:
    """The old service's calls, statement by statement, on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, row_factory=dict_row, prepare_threshold=None)

    def run(self, statement: str, **values: Any) -> list[Row]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def fetch_user(self, identifier: str) -> tuple[Row, Row | None] | None:
        """The user and the row of okx_api_info, as the old service puts them together."""
        rows = self.run(SELECT_USER, id=identifier)
        if not rows:
            return None
        user = {name: rows[0][f"user_{name}"] for name in USER}
        api = {name: rows[0][f"api_{name}"] for name in API}
        return user, api if any(api.values()) else None

    def get_api_keys(self, identifier: str) -> tuple[str, ...] | None:
        found = self.fetch_user(identifier)
        keys = tuple(found[1][name] for name in KEYS) if found and found[1] else ()
        return keys if keys and all(keys) else None

    def ensure_user_exists(self, okx_uid: str, telegram_id: str | None = None) -> tuple[Row, Row | None] | None:
        if self.fetch_user(okx_uid) is None and (telegram_id is None or self.fetch_user(telegram_id) is None):
            with self.connection.transaction():
                (row,) = self.run(INSERT_USER, email=f"uid_{okx_uid}@autogen.tradingboost", name=f"User {okx_uid}",
                                  telegram_id=telegram_id, username=None, okx_uid=okx_uid)  # fmt: skip
                values = {"user_id": row["id"], "okx_uid": okx_uid, "telegram_id": telegram_id}
                self.run(INSERT_LINK, linked=bool(telegram_id), **values)
        return self.fetch_user(okx_uid)

    def set_telegram_link(self, okx_uid: str, telegram_id: str, username: str | None = None) -> None:
        found = self.ensure_user_exists(okx_uid, telegram_id)
        assert found is not None
        user, api = found
        values = {"okx_uid": okx_uid, "telegram_id": telegram_id, "user_id": user["id"]}
        with self.connection.transaction():
            self.run(LINK_USER, username=username, **values)
            if api:
                self.run(LINK_API, api_id=api["id"], **values)
            else:
                self.run(INSERT_LINK, linked=True, **values)

    def unlink_telegram(self, okx_uid: str) -> bool:
        found = self.fetch_user(okx_uid)
        if found is None:
            return False
        with self.connection.transaction():
            self.run(UNLINK_USER, user_id=found[0]["id"])
            if found[1]:
                self.run(UNLINK_API, api_id=found[1]["id"])
        return True

    def upsert_api_credentials(self, identifier: str, **keys: str | None) -> tuple[Row, Row | None] | None:
        found = self.fetch_user(identifier)
        if found is None:
            return None
        user, api = found
        values = {**dict.fromkeys(KEYS), **keys, "okx_uid": user["okx_uid"] if api else None}  # sic
        if api:
            self.run(UPDATE_KEYS, api_id=api["id"], **values)
        else:
            self.run(INSERT_KEYS, user_id=user["id"], **values)
        return self.fetch_user(identifier)

    def get_user_settings(self, identifier: str, setting_type: str | None = None) -> list[Row]:
        return self.run(GET_SETTINGS, id=identifier, type=setting_type)

    def save_all_user_settings(self, identifier: str, **documents: dict[str, Any]) -> bool:
        found = self.fetch_user(identifier)
        okx_uid = found[0]["okx_uid"] if found and found[1] else None  # sic
        if found is None or okx_uid is None:
            return False
        for name, document in documents.items():
            self.run(UPSERT_SETTINGS, user_id=found[0]["id"], okx_uid=okx_uid, telegram_id=found[0]["telegram_id"],
                     type=name, settings=json.dumps(document))  # fmt: skip
        return True
