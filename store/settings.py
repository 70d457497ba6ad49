"""SettingsStore: the read and write paths."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

from store import calls, relay
from store.arguments import line
from store.calls import Call
from store.config import Config
from store.connections import Connections
from store.errors import (
    BadIdentifier,
    DatabaseUnavailable,
    RedisUnavailable,
    StoreError,
    UnknownSettingType,
    UnknownUser,
    UnknownVersion,
)
from store.mirror.keys import OKX_UID, TELEGRAM_ID
from store.models import (
    BUILT_IN_TYPES,
    Document,
    MirrorEntry,
    Registration,
    SavedSetting,
    Setting,
    SettingType,
    Source,
    User,
)
from store.sync import Sync
from store.watch import Change, watch


class SettingsStore:
    """Settings of trading-bot users, in PostgreSQL for good and in Redis for reading.

    Use it as an async context manager. Connections are made when first needed; without a URL in the
    configuration, embedded servers are started. An identifier is an OKX UID, a Telegram ID or the user's
    UUID. Every method raises exceptions of `store.errors` only.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = (config or Config.from_env()).checked()
        self._stores: Connections | None = None
        self._types = dict(BUILT_IN_TYPES)
        self._types_loaded = False
        self._flights: dict[tuple[str, str], asyncio.Task[Setting | None]] = {}

    async def __aenter__(self) -> Self:
        if self.config.database_url is None or self.config.redis_url is None:
            from store import embedded

            self.config = await asyncio.to_thread(embedded.provide, self.config)
        self._stores = Connections(self.config)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._stores is not None:
            await self._stores.close()
            self._stores = None

    @property
    def stores(self) -> Connections:
        """The connections to both stores."""
        if self._stores is None:
            raise StoreError("the store is not open: use `async with SettingsStore(…) as store`")
        return self._stores

    # -- users

    async def register(
        self,
        okx_uid: str,
        telegram_id: str | None = None,
        *,
        name: str | None = None,
        telegram_username: str | None = None,
        documents: Mapping[str, Document] | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> Registration:
        """Register a user and save a first document of every type, by default the catalogue's defaults.

        Idempotent: documents that are there stay; those that only Redis has (of a user who comes from an
        older system) are taken over. Raises AlreadyLinked, BadIdentifier, InvalidSettings.
        """
        call = calls.register_user(_identifier(okx_uid), telegram_id, name, telegram_username, documents or {})
        before = await self.find_user(okx_uid)
        if before is None and OKX_UID.fullmatch(okx_uid):
            with contextlib.suppress(RedisUnavailable):
                await Sync(self.stores).take_over(okx_uid)
        rows = await self._write(call, actor, reason)
        user = await self._user(okx_uid)
        mirrored = await self._mirror_user(user, before)
        return Registration(user, [_saved(row, mirrored) for row in rows])

    async def find_user(self, identifier: str) -> User | None:
        """Find a user; None if nobody has the identifier."""
        rows = await self.stores.database.fetch(calls.find_user(_identifier(identifier)))
        return User(**rows[0]) if rows else None

    async def list_users(self, *, after: str | None = None, limit: int | None = None) -> list[User]:
        """List users by OKX UID; `after`: the last OKX UID of the page before."""
        return [User(**row) for row in await self.stores.database.fetch(calls.list_users(after, limit))]

    async def link(self, identifier: str, telegram_id: str, *, telegram_username: str | None = None) -> User:
        """Link a Telegram ID to a user, in place of an earlier one. Raises AlreadyLinked, UnknownUser."""
        call = calls.link_telegram(_identifier(identifier), telegram_id, telegram_username)
        return await self._change_user(identifier, call)

    async def unlink(self, identifier: str) -> User:
        """Take the Telegram ID from a user. Raises UnknownUser."""
        return await self._change_user(identifier, calls.unlink_telegram(_identifier(identifier)))

    async def delete_user(self, identifier: str) -> User:
        """Soft-delete a user and the settings; the history stays. Raises UnknownUser."""
        return await self._change_user(identifier, calls.delete_user(_identifier(identifier)))

    # -- reading

    async def get(
        self, identifier: str, setting_type: str, *, source: Source | None = None, min_version: int = 0
    ) -> Setting | None:
        """Read the active document; None if nothing was saved.

        From Redis; from PostgreSQL if Redis hasn't got it, can't be reached, or is older than
        `min_version` (what a save returned), and then Redis is filled again. `source` asks one store only.
        Raises BadIdentifier, UnknownSettingType, UnknownUser, UnknownVersion (`min_version` isn't there),
        and DatabaseUnavailable if neither answers.
        """
        identifier, setting_type = _identifier(identifier), _setting_type(setting_type)
        if source != "db":
            kind = await self._type(setting_type)
            found = await self._read_mirror(identifier, kind, source == "redis")
            if source == "redis" or (found is not None and found.version >= min_version):
                return found
        found = await self._read_database_once(identifier, setting_type, refill=source is None)
        if min_version and (found is None or found.version < min_version):
            # A flight that left before that version was saved; one of our own can't miss it.
            found = await self._read_database(identifier, setting_type, refill=source is None)
            if found is not None and found.version < min_version:
                raise UnknownVersion(f"{setting_type} of {identifier} has no version {min_version} yet")
        return found

    async def get_all(self, identifier: str, *, source: Source | None = None) -> list[Setting]:
        """Read the active documents of every type, in the order of the types' names."""
        if source != "redis" and not self._types_loaded:
            with contextlib.suppress(DatabaseUnavailable):  # then the built-in types have to do
                rows = await self.stores.database.fetch(calls.list_setting_types())
                self._types.update({row["name"]: SettingType(**row) for row in rows})
                self._types_loaded = True
        found = [await self.get(identifier, name, source=source) for name in sorted(self._types)]
        return [setting for setting in found if setting is not None]

    async def search(
        self, setting_type: str, filter: Document, *, after: str | None = None, limit: int | None = None
    ) -> list[Setting]:
        """Find the active documents that contain `filter`, by index, in the order of OKX UIDs."""
        call = calls.find_users_by_setting(_setting_type(setting_type), filter, after, limit)
        return [_setting(row) for row in await self.stores.database.fetch(call)]

    # -- writing

    async def save(
        self,
        identifier: str,
        setting_type: str,
        settings: Document,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Save a document in place of the active one; an unchanged one makes no version.

        `expected_version`: only if this is the current version (0: none yet), else VersionConflict. With
        Redis down the save succeeds with `mirrored` false. Raises InvalidSettings, UnknownUser,
        UnknownSettingType, BadIdentifier, DatabaseUnavailable.
        """
        call = calls.upsert_user_setting(
            _identifier(identifier), _setting_type(setting_type), settings, expected_version
        )
        return (await self._save(call, actor, reason))[0]

    async def patch(
        self,
        identifier: str,
        setting_type: str,
        patch: Document,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Change some keys (JSON merge patch, RFC 7396: None removes a key). Otherwise as save()."""
        call = calls.patch_user_setting(_identifier(identifier), _setting_type(setting_type), patch, expected_version)
        return (await self._save(call, actor, reason))[0]

    async def save_all(
        self,
        identifier: str,
        documents: Mapping[str, Document],
        *,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[SavedSetting]:
        """Save documents of several types ({type: document}) in one transaction. Otherwise as save()."""
        return await self._save(calls.save_user_settings(_identifier(identifier), documents), actor, reason)

    async def delete(
        self,
        identifier: str,
        setting_type: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting | None:
        """Delete a document, as a version of its own; the old value stays in the history. None if there
        was nothing. Otherwise as save()."""
        call = calls.delete_user_setting(_identifier(identifier), _setting_type(setting_type), expected_version)
        rows = [row for row in await self._write(call, actor, reason) if row["version"] is not None]
        saved = await self._mirror_settings(rows)
        return saved[0] if saved else None

    # -- changes

    async def watch(self, identifier: str | None = None) -> AsyncIterator[Change]:
        """Yield changes of a user's settings, or of everybody's, as they reach Redis; never ends.

        Each key's come in order; after a lost connection the newest version of what changed meanwhile.
        Raises UnknownUser, BadIdentifier.
        """
        okx_uid = None if identifier is None else (await self._user(_identifier(identifier))).okx_uid
        async for change in watch(self.stores, okx_uid):
            yield change

    # -- the paths

    async def _write(self, call: Call, actor: str | None, reason: str | None) -> list[dict[str, Any]]:
        rows = list(await self.stores.database.fetch(call.by(actor or self.config.actor, reason)))
        self._flights.clear()  # what they bring may be older than this write
        return rows

    async def _save(self, call: Call, actor: str | None, reason: str | None) -> list[SavedSetting]:
        return await self._mirror_settings(await self._write(call, actor, reason))

    async def _mirror_settings(self, rows: list[dict[str, Any]]) -> list[SavedSetting]:
        """Bring saved rows to Redis. They are committed: whatever happens here, the caller gets them."""
        try:
            entries = [await self._entry(row) for row in rows]
            results = await relay.mirror(self.stores, entries, wait=False)
        except StoreError:
            return [_saved(row, False) for row in rows]
        for row, result in zip(rows, results, strict=True):
            if result.is_current:  # a newer version, if this one was put back over a rogue write
                row["version"] = max(row["version"], result.version)
        return [_saved(row, result.is_served) for row, result in zip(rows, results, strict=True)]

    async def _mirror_user(self, user: User, before: User | None) -> bool:
        owners = {user.okx_uid, user.telegram_id, before.telegram_id if before else None}
        try:
            progress = await relay.drain(self.stores, [owner for owner in owners if owner])
        except (RedisUnavailable, DatabaseUnavailable):
            return False  # what didn't get through stays marked
        return not progress.failures

    async def _change_user(self, identifier: str, call: Call) -> User:
        before = await self._user(identifier)
        user = User(**(await self._write(call, None, None))[0])
        await self._mirror_user(user, before)
        return user

    async def _user(self, identifier: str) -> User:
        user = await self.find_user(identifier)
        if user is None:
            raise UnknownUser(f"unknown user {identifier}")
        return user

    async def _read_mirror(self, identifier: str, kind: SettingType, only: bool) -> Setting | None:
        mirror = self.stores.mirror
        try:
            okx_uid: str | None = None
            if OKX_UID.fullmatch(identifier):
                okx_uid = identifier
            elif TELEGRAM_ID.fullmatch(identifier):
                okx_uid = await mirror.okx_uid_of(identifier)
            if okx_uid is None or not OKX_UID.fullmatch(okx_uid):
                return None
            return await mirror.read(okx_uid, kind)
        except RedisUnavailable:
            if only:
                raise
            return None

    async def _read_database_once(self, identifier: str, setting_type: str, refill: bool) -> Setting | None:
        """Read from PostgreSQL; callers that want the same document at the same time share one query."""
        key = (identifier, setting_type)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._read_database(identifier, setting_type, refill))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)  # a caller who gives up doesn't take it from the others

    def _land(self, key: tuple[str, str], flight: asyncio.Task[Setting | None]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, even if every caller has given up

    async def _read_database(self, identifier: str, setting_type: str, refill: bool) -> Setting | None:
        rows = await self.stores.database.fetch(calls.get_user_settings(identifier, setting_type))
        if not rows:
            return None
        setting = _setting(rows[0])
        if refill:
            with contextlib.suppress(StoreError):  # the relay will find what is missing
                await self._refill(setting)
        return setting

    async def _refill(self, setting: Setting) -> None:
        """Bring everything of a user to Redis: where one key is gone, the others may be."""
        owners = [owner for owner in (setting.okx_uid, setting.telegram_id) if owner]
        rows = await self.stores.database.fetch(calls.mirror_source(owners))
        await self.stores.mirror.apply([MirrorEntry(**row) for row in rows])

    async def _entry(self, row: dict[str, Any]) -> MirrorEntry:
        kind = await self._type(row["setting_type"])
        document = None if row["deleted_at"] else row["document"]
        return MirrorEntry(
            row["okx_uid"], kind.name, kind.redis_suffix, kind.redis_encoding,
            row["version"], row["updated_at"], document,
        )  # fmt: skip

    async def _type(self, name: str) -> SettingType:
        if name not in self._types:
            rows = await self.stores.database.fetch(calls.check_setting_type(_setting_type(name)))
            self._types[name] = SettingType(**rows[0])
        return self._types[name]


def _identifier(value: str) -> str:
    """Refuse what can't be an identifier, before it gets anywhere."""
    return line(value, "an identifier", BadIdentifier)


def _setting_type(value: str) -> str:
    return line(value, "a setting type", UnknownSettingType)


def _setting(row: dict[str, Any]) -> Setting:
    return Setting(
        row["okx_uid"], row["telegram_id"], row["setting_type"], row["version"],
        json.loads(row["document"]), row["updated_at"], "db",
    )  # fmt: skip


def _saved(row: dict[str, Any], mirrored: bool) -> SavedSetting:
    setting = _setting(row)
    return SavedSetting(**{name: getattr(setting, name) for name in Setting.__slots__}, mirrored=mirrored)
