"""Documents: read, search, save and delete settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence

from store.api.base import Core, check_identifier, check_type, to_setting
from store.arguments import count
from store.errors import DatabaseUnavailable, InvalidArgument, RedisUnavailable, StoreError, UnknownVersion
from store.mirror.keys import TELEGRAM_ID
from store.models import Document, MirrorEntry, SavedSetting, Setting, SettingType, Source
from store.postgres import functions
from store.postgres.confinement import refusal


class Documents(Core):
    """The part of the store that knows settings documents."""

    # -- reading

    async def get(
        self,
        identifier: str,
        setting_type: str,
        *,
        symbol: str | None = None,
        source: Source | None = None,
        min_version: int = 0,
    ) -> Setting | None:
        """Read the active document; None if nothing was saved.

        With `symbol` the document of that symbol, or else the user's own: the result's `symbol` says which it is.

        From Redis; from PostgreSQL if Redis hasn't got it, can't be reached, or is older than
        `min_version` (what a save returned), and then Redis is filled again. `source` asks one store only.
        With a cache, from there first: what Redis held at most 2 seconds ago, whatever happens to the connection;
        what this store has saved is read back at once.
        Raises BadIdentifier, UnknownSettingType, UnknownUser, UnknownVersion (`min_version` isn't there),
        InvalidArgument, NotPermitted, and DatabaseUnavailable if neither answers.
        """
        identifier, name = check_identifier(identifier), check_type(setting_type, symbol)
        min_version = count(min_version, "min_version")
        if source not in (None, "redis", "db"):
            raise InvalidArgument("source must be redis or db")
        may_read_redis = source != "db" and await self._may_read_redis(identifier)
        if source == "redis" and not may_read_redis:
            raise refusal("only by the OKX UID of that user")

        def is_new(found: Setting) -> bool:
            return found.version >= min_version and (not min_version or found.symbol == symbol or symbol is None)

        if source is None and may_read_redis:
            kept = self._cache.find(identifier, name)
            if kept is not None and is_new(kept):
                return kept
        kind = await self._type(name)
        own = kind if symbol is None else await self._type(setting_type)
        if may_read_redis:
            found = await self._read_mirror(identifier, kind, own, source == "redis")
            if source == "redis" or (found is not None and is_new(found)):
                return found
        found = await self._read_database_once(identifier, kind, own, refill=source is None)
        if min_version and (found is None or not is_new(found)):
            # A flight that left before that version was saved; one of our own can't miss it.
            found = await self._read_database(identifier, kind, own, refill=source is None)
            if found is not None and found.version < min_version:
                raise UnknownVersion(f"{name} of {identifier} has no version {min_version} yet")
        return found

    async def get_all(
        self, identifier: str, *, symbol: str | None = None, source: Source | None = None
    ) -> list[Setting]:
        """Read the active documents, in the order of their names: the user's own of every type, and those of symbols;
        with `symbol` those in force for that one, as get() does."""
        if source != "redis" and not self._types_loaded:
            with contextlib.suppress(DatabaseUnavailable):  # then the built-in types have to do
                rows = await self._fetch(functions.catalogue.list_setting_types())
                self._types.update({row["name"]: SettingType(**row) for row in rows})
                self._types_loaded = True
        of = {name: symbol if kind.has_symbols else None for name, kind in self._types.items()}
        own = [await self.get(identifier, name, source=source, symbol=of[name]) for name in sorted(of)]
        found = [setting for setting in own if setting is not None]
        names = await self._names_of_symbols(identifier, source, found) if symbol is None else []
        of_symbols = [await self.get(identifier, name, source=source) for name in names]
        found += [setting for setting in of_symbols if setting is not None]
        return sorted(found, key=lambda setting: setting.setting_type)

    async def _names_of_symbols(self, identifier: str, source: Source | None, own: Sequence[Setting]) -> list[str]:
        """List the user's documents of symbols: by Redis, if all that was read came from there, else by PostgreSQL."""
        if source == "redis" or (own and all(setting.source == "redis" for setting in own)):
            with contextlib.suppress(*(() if source else (RedisUnavailable,))):
                okx_uid = own[0].okx_uid if own else await self._mirrored_uid(identifier)
                kept = await self._connections.mirror.versions([okx_uid] if okx_uid else [])
                return [name for (_, name), version in kept.items() if version and ":" in name]
        rows = await self._fetch(functions.settings.names_of_symbols(identifier))
        return [row["setting_type"] for row in rows]

    async def search(
        self,
        setting_type: str,
        filter: Document,
        *,
        symbol: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Setting]:
        """Find the active documents that contain `filter` (of `symbol`, else the users' own), by index, in the order of
        OKX UIDs."""
        call = functions.settings.find_users_by_setting(check_type(setting_type, symbol), filter, after, limit)
        return [to_setting(row) for row in await self._fetch(call)]

    def iter_search(
        self,
        setting_type: str,
        filter: Document,
        *,
        symbol: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Setting]:
        """Yield what search() finds, as of one moment, without holding it all."""
        call = functions.settings.find_users_by_setting(check_type(setting_type, symbol), filter, after, limit)
        return self._each(call, to_setting)

    # -- writing

    async def save(
        self,
        identifier: str,
        setting_type: str,
        settings: Document,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Save a document in place of the active one; an unchanged one makes no version.

        It is kept as it is; the result's `missing_keys` are those of the catalogue that it lacks.
        `symbol`: the document of that symbol, which has versions of its own; else the user's own.
        `expected_version`: only if this is the current version (0: none yet), else VersionConflict. With
        Redis down the save succeeds with `mirrored` false. A save that is cancelled may have been committed, and then
        reaches Redis by the relay; so may one that ends with DatabaseUnavailable. Raises InvalidSettings,
        UnknownUser, UnknownSettingType, BadIdentifier, InvalidArgument (no symbol, or not of this type),
        VersionConflict, DatabaseUnavailable.
        """
        call = functions.settings.upsert_user_setting(
            check_identifier(identifier), check_type(setting_type, symbol), settings, expected_version
        )
        return (await self._save(call, actor, reason))[0]

    async def patch(
        self,
        identifier: str,
        setting_type: str,
        patch: Document,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Change some keys (JSON merge patch, RFC 7396); a symbol's document begins as the user's own. Otherwise as
        save().

        None puts the default of a key that the catalogue lists back, and removes any other key; objects merge, so {}
        changes nothing.
        """
        call = functions.settings.patch_user_setting(
            check_identifier(identifier), check_type(setting_type, symbol), patch, expected_version
        )
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
        return await self._save(
            functions.settings.save_user_settings(check_identifier(identifier), documents), actor, reason
        )

    async def delete(
        self,
        identifier: str,
        setting_type: str,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting | None:
        """Delete a document, as a version of its own; the old value stays in the history. None if there
        was nothing. Otherwise as save()."""
        call = functions.settings.delete_user_setting(
            check_identifier(identifier), check_type(setting_type, symbol), expected_version
        )
        rows = [row for row in await self._write(call, actor, reason) if row["version"] is not None]
        saved = await self._mirror_settings(rows)
        return saved[0] if saved else None

    # -- the read path

    async def _read_mirror(self, identifier: str, kind: SettingType, own: SettingType, only: bool) -> Setting | None:
        try:
            link = self._cache.page(identifier) if TELEGRAM_ID.fullmatch(identifier) else None
            okx_uid = await self._mirrored_uid(identifier)
            if okx_uid is None:
                return None
            page = self._cache.page(okx_uid)
            if kind is own:
                found, is_known = await self._connections.mirror.read(okx_uid, kind), True
            else:
                found, is_known = await self._connections.mirror.read_of_symbol(okx_uid, kind, own)
            if found is not None and is_known:
                page.keep(found, kind.name)
                if link is not None:
                    link.okx_uid = okx_uid
            return found if is_known or only else None
        except RedisUnavailable:
            if only:
                raise
            return None

    async def _read_database_once(
        self, identifier: str, kind: SettingType, own: SettingType, refill: bool
    ) -> Setting | None:
        """Read from PostgreSQL; callers that want the same document at the same time share one query."""
        key = (identifier, kind.name, own.name)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._read_database(identifier, kind, own, refill))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(flight)  # a caller who gives up doesn't take it from the others

    def _land(self, key: tuple[str, str, str], flight: asyncio.Task[Setting | None]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, even if every caller has given up

    async def _read_database(
        self, identifier: str, kind: SettingType, own: SettingType, refill: bool
    ) -> Setting | None:
        symbol = None if kind is own else kind.name.partition(":")[2]
        rows = await self._fetch(functions.settings.get_user_settings(identifier, own.name, symbol))
        if not rows:
            return None
        setting = to_setting(rows[0])
        if refill:
            with contextlib.suppress(StoreError):  # the relay will find what is missing
                await self._refill(setting)
                if setting.setting_type != kind.name:
                    await self._connections.mirror.note_absent(setting.okx_uid, kind)
        return setting

    async def _refill(self, setting: Setting) -> None:
        """Bring everything of a user to Redis: where one key is gone, the others may be."""
        owners = [owner for owner in (setting.okx_uid, setting.telegram_id) if owner]
        rows = await self._fetch(functions.mirror.mirror_source(owners))
        entries = [MirrorEntry(**row) for row in rows]
        # Erased meanwhile: the relay looks for what Redis has of every symbol.
        await self._connections.mirror.apply([entry for entry in entries if not entry.is_of_every_symbol])
