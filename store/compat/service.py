"""TimescaleUserService: the Python API of the store's predecessor, by its names, arguments and return shapes.

A thin skin over SettingsStore: what is saved here is checked, versioned, encrypted and mirrored like anything else.
It reads PostgreSQL, as it did there, so that what was saved is what is read, with Redis down or behind. The store is
that of TimescalePool, one for each event loop.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from store.api.base import check_identifier, check_type
from store.api.store import SettingsStore
from store.arguments import check_okx_uid, check_telegram_id
from store.compat.pool import TimescalePool
from store.encryption.fields import FIELDS, Secrets, seal, unseal
from store.errors import (
    AlreadyLinked,
    BadIdentifier,
    InvalidArgument,
    InvalidSettings,
    UnknownSettingType,
    UnknownUser,
    VersionConflict,
)
from store.models import MASK, Document
from store.postgres import functions

USER_KEYS = (
    "id", "email", "name", "okx_uid", "telegram_linked", "telegram_id", "telegram_userid", "telegram_username",
    "okx_api_connected", "okx_linked", "created_at", "updated_at",
)  # fmt: skip
API_KEYS = (
    "id", "user_id", *FIELDS, "telegram_id", "telegram_linked", "okx_uid", "exchange", "created_at", "updated_at",
)  # fmt: skip
TIMES = ("created_at", "updated_at")

log = logging.getLogger(__name__)


class ApiRecord(dict[str, Any]):
    """A user's API credentials in plain text; its repr masks them."""

    def __repr__(self) -> str:
        return repr({key: MASK if key in FIELDS else value for key, value in self.items()})


@dataclass
class TimescaleUserRecord:
    """A user, and the API credentials: of a user without any, three times None, and the user's id for theirs. Ids are
    text, times ISO 8601 in UTC."""

    user: dict[str, Any]
    api: dict[str, Any]


class TimescaleUserService:
    """Users, their API credentials and settings. An identifier is an OKX UID, a Telegram ID or the user's UUID.

    Raises exceptions of `store.errors` only: BadIdentifier, a ValueError, for a malformed OKX UID or Telegram ID where
    one is written, DatabaseUnavailable, InvalidSettings, NoEncryptionKey if there are credentials to read or write.
    """

    @classmethod
    async def fetch_user(cls, identifier: str) -> TimescaleUserRecord | None:
        """Read a user with decrypted API credentials; None for an unknown user or what can't be an identifier.

        The id of the credentials will do as an identifier, too.
        """
        store = await _store()
        found = await _find(store, identifier)
        return None if found is None else _record(store, found)

    @classmethod
    async def get_api_keys(cls, identifier: str) -> dict[str, Any] | None:
        """Read a user's API credentials, decrypted: api_key, api_secret, passphrase. None if there are none."""
        record = await cls.fetch_user(identifier)
        return _saved_fields(record) or None if record else None

    @classmethod
    async def ensure_user_exists(
        cls,
        okx_uid: str,
        telegram_id: str | None = None,
        display_name: str | None = None,
        telegram_username: str | None = None,
    ) -> TimescaleUserRecord | None:
        """Register a user, without settings; one who is there stays as he is.

        None if the Telegram ID leads to another user. Raises ValueError for a malformed OKX UID or Telegram ID.
        """
        okx_uid = str(okx_uid)
        check_okx_uid(okx_uid)
        if telegram_id:
            telegram_id = str(telegram_id)
            check_telegram_id(telegram_id)
        store = await _store()
        if await store.find_user(okx_uid) is None:
            name = display_name or f"User {okx_uid}"
            try:
                await store.ensure_user(okx_uid, telegram_id or None, name=name, telegram_username=telegram_username)
            except AlreadyLinked as error:
                log.warning("user %s is not registered: %s", okx_uid, error)
                return None
        return await cls.fetch_user(okx_uid)

    @classmethod
    async def set_telegram_link(
        cls,
        okx_uid: str,
        telegram_id: str,
        display_name: str | None = None,
        telegram_username: str | None = None,
    ) -> TimescaleUserRecord | None:
        """Link a Telegram ID to a user, who is registered if need be.

        None if the user is new and the Telegram ID leads to another. Raises AlreadyLinked if the user was there before,
        ValueError for a malformed OKX UID or Telegram ID.
        """
        check_telegram_id(str(telegram_id))
        if await cls.ensure_user_exists(okx_uid, telegram_id, display_name, telegram_username) is None:
            return None
        await (await _store()).link(str(okx_uid), str(telegram_id), telegram_username=telegram_username)
        return await cls.fetch_user(okx_uid)

    @classmethod
    async def unlink_telegram(cls, okx_uid: str) -> bool:
        """Take the Telegram ID from a user; return whether there is such a user."""
        try:
            await (await _store()).unlink(str(okx_uid))
        except (UnknownUser, BadIdentifier):
            return False
        return True

    @classmethod
    async def upsert_api_credentials(
        cls,
        identifier: str,
        api_key: str | None = None,
        api_secret: str | None = None,
        passphrase: str | None = None,
    ) -> TimescaleUserRecord | None:
        """Save a user's API credentials, encrypted; None leaves a field as it is. None for an unknown user.

        Raises InvalidArgument if a field is missing that was never saved: half of the credentials is of no use, and a
        returned None would read as an unknown user.
        """
        values = zip(FIELDS, (api_key, api_secret, passphrase), strict=True)
        given = Secrets({name: value for name, value in values if value is not None})
        del values, api_key, api_secret, passphrase  # no traceback shows them with this frame's locals
        store = await _store()
        while True:
            found = await _find(store, identifier)
            if found is None:
                return None
            record = _record(store, found)
            if not given:
                return record
            fields = _completed(record, given)
            # Filled up from what was read, they must not go over what somebody has saved since.
            version = found["api"]["version"] if len(given) < len(FIELDS) else None
            with suppress(VersionConflict):
                await store.save_credentials(record.user["okx_uid"], **fields, expected_version=version)
                return await cls.fetch_user(record.user["id"])

    @classmethod
    async def update_app_user(cls, user_id: str, fields: Mapping[str, Any]) -> None:
        """Change a user's name, telegram_id or telegram_username; telegram_linked false, or telegram_id None, unlinks.

        What follows from these (telegram_userid, telegram_linked true, okx_linked, updated_at) is taken and ignored.
        Raises InvalidArgument for any other field, UnknownUser, AlreadyLinked, and ValueError for a malformed id.
        """
        known = {"name", "telegram_id", "telegram_username", "telegram_userid", "telegram_linked", "okx_linked"}
        _refuse_unknown(fields, known | {"updated_at"})
        store = await _store()
        user = await store.find_user(str(user_id))
        if user is None:
            raise UnknownUser(f"unknown user {user_id}")
        telegram_id, name, username = (fields.get(key) for key in ("telegram_id", "name", "telegram_username"))
        if (telegram_id, name, username) != (None, None, None):
            await store.ensure_user(user.okx_uid, telegram_id, name=name, telegram_username=username)
        if telegram_id is None and ("telegram_id" in fields or fields.get("telegram_linked") is False):
            await store.unlink(user.okx_uid)

    @classmethod
    async def update_api_record(cls, api_id: str, fields: Mapping[str, Any]) -> None:
        """Change API credentials, or their user's Telegram link, by the credentials' id (record.api["id"]).

        Raises UnknownUser if nobody has it, and as upsert_api_credentials() and update_app_user() do.
        """
        link = {"telegram_id", "telegram_linked", "okx_linked", "updated_at"}
        _refuse_unknown(fields, {*FIELDS, *link})
        fields = Secrets(fields)
        if not api_id or not fields:
            return
        record = await cls.fetch_user(api_id)
        if record is None:
            raise UnknownUser("nobody has API credentials of this id")
        user_id = record.user["id"]
        given = Secrets({name: fields[name] for name in FIELDS if fields.get(name) is not None})
        if given:  # refused, if at all, before the link is changed
            seal((await _store())._connections.vault, record.user["okx_uid"], _completed(record, given), 1)
        await cls.update_app_user(user_id, {name: fields[name] for name in link if name in fields})
        await cls.upsert_api_credentials(user_id, **given)

    @classmethod
    async def get_user_settings(cls, identifier: str, setting_type: str | None = None) -> list[dict[str, Any]]:
        """Read the active settings of every type, or of one, last saved first; [] for an unknown user or type.

        Keys: id, user_id, okx_uid, telegram_id, setting_type, settings (a dict), version, is_active, created_at,
        updated_at.
        """
        database = (await _store())._connections.database
        try:
            call = functions.settings.user_setting_rows(
                check_identifier(str(identifier)), setting_type and check_type(setting_type)
            )
            rows = await database.fetch(call)
        except (UnknownUser, UnknownSettingType, BadIdentifier):
            return []
        rows = sorted(rows, key=lambda row: row["updated_at"], reverse=True)
        return [{key: _plain(value) for key, value in row.items()} for row in rows]

    @classmethod
    async def get_setting_by_type(cls, identifier: str, setting_type: str) -> Document | None:
        """Read the active settings of one type; None if there are none, or for an unknown user or type."""
        rows = await cls.get_user_settings(identifier, setting_type)
        return rows[0]["settings"] if rows else None

    @classmethod
    async def upsert_user_settings(
        cls, user_id: str, okx_uid: str, telegram_id: str | None, setting_type: str, settings: Document
    ) -> str:
        """Save a settings document by the user's UUID; return the id of its row, which is the same for every version.

        `telegram_id` is ignored: users are linked by set_telegram_link(). Raises ValueError if the OKX UID isn't that
        of the user, UnknownUser, UnknownSettingType, InvalidSettings.
        """
        store = await _store()
        user = await store.find_user(str(user_id))
        if user is not None and user.okx_uid != str(okx_uid):
            raise BadIdentifier("the OKX UID is not that of the user")
        await _save_all(store, str(user_id), {setting_type: settings})
        return str((await cls.get_user_settings(str(user_id), setting_type))[0]["id"])

    @classmethod
    async def save_all_user_settings(
        cls,
        identifier: str,
        preferences: Document | None = None,
        params: Document | None = None,
        dual_side: Document | None = None,
    ) -> bool:
        """Save several documents, all or none; None leaves a type as it is. Return whether there is such a user.

        The predecessor returned False for every error, too, which its callers never looked at, and the settings were
        lost unnoticed. This raises: InvalidSettings, DatabaseUnavailable.
        """
        given = {"preferences": preferences, "params": params, "dual_side": dual_side}
        documents = {name: document for name, document in given.items() if document is not None}
        try:
            await _save_all(await _store(), str(identifier), documents)
        except (UnknownUser, BadIdentifier) as error:
            log.warning("settings are not saved: %s", error)
            return False
        return True


async def _store() -> SettingsStore:
    return (await TimescalePool.get_pool()).store


async def _save_all(store: SettingsStore, identifier: str, documents: Mapping[str, Document]) -> None:
    """Save documents; what the catalogue refuses as it is, once more with what it stands for ("30", 1 for true)."""
    try:
        await store.save_all(identifier, documents)
    except InvalidSettings:
        rows = await store._connections.database.fetch(functions.catalogue.convert_settings(documents))
        converted = {row["setting_type"]: json.loads(row["document"], parse_float=Decimal) for row in rows}
        await store.save_all(identifier, converted)


async def _find(store: SettingsStore, identifier: str) -> dict[str, Any] | None:
    """Read a user's `account` and `api`, encrypted; None for an unknown user or what can't be an identifier."""
    try:
        rows = await store._connections.database.fetch(functions.users.user_record(check_identifier(str(identifier))))
    except BadIdentifier:
        return None
    return dict(rows[0]) if rows else None


def _record(store: SettingsStore, found: Mapping[str, Any]) -> TimescaleUserRecord:
    """Shape and decrypt what _find() found. Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential."""
    user, api = found["account"], found["api"]
    if api is None:
        api = {**dict.fromkeys(FIELDS), "exchange": "okx", **user, "user_id": user["id"]}
        return TimescaleUserRecord(_shaped(user, USER_KEYS), _shaped(api, API_KEYS))
    api = ApiRecord({**_shaped(api, API_KEYS), **unseal(store._connections.vault, api["okx_uid"], api)})
    return TimescaleUserRecord(_shaped(user, USER_KEYS), api)


def _saved_fields(record: TimescaleUserRecord) -> Secrets:
    return Secrets({name: record.api[name] for name in FIELDS if record.api[name] is not None})


def _completed(record: TimescaleUserRecord, given: Mapping[str, str]) -> Secrets:
    """Fill up what is given of the three fields from what is saved. Raises InvalidArgument."""
    fields = Secrets({**_saved_fields(record), **given})
    missing = [name for name in FIELDS if name not in fields]
    if missing:
        raise InvalidArgument(f"no credentials are saved yet, and these are missing: {', '.join(missing)}")
    return fields


def _shaped(row: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: _plain(datetime.fromisoformat(row[key])) if key in TIMES else row[key] for key in keys}


def _plain(value: Any) -> Any:
    """Write an id or a time as text."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, UUID) else value


def _refuse_unknown(fields: Mapping[str, Any], known: set[str]) -> None:
    if not isinstance(fields, Mapping):
        raise InvalidArgument(f"fields must be a dict, not {type(fields).__name__}")
    unknown = sorted(str(name) for name in fields.keys() - known)
    if unknown:
        raise InvalidArgument(f"fields that can't be changed here: {', '.join(unknown)}")
