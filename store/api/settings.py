"""Documents: read, search, save and delete settings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from store.api.base import Core, Row, check_identifier, check_type, to_setting
from store.arguments import check_okx_uid, count
from store.errors import DatabaseUnavailable, InvalidArgument, RedisUnavailable, StoreError, UnknownUser, UnknownVersion
from store.mirror.keys import TELEGRAM_ID
from store.models import MirrorEntry, SavedSetting, Setting, SettingType, SettingTypeName, Source
from store.postgres import functions
from store.postgres.confinement import refusal


class Documents(Core):
    """The part of the store that knows settings documents."""

    # -- reading

    async def get(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        source: Source | None = None,
        min_version: int = 0,
        okx_uid: str | None = None,
    ) -> Setting | None:
        """Read the active document; None if nothing was saved.

        With `symbol` the document of that symbol, or else the user's own: the result's `symbol` says which it is.

        From Redis; from PostgreSQL if Redis hasn't got it, can't be reached, or is older than
        `min_version` (what a save returned), and then Redis is filled again. `source` asks one store only.
        `okx_uid`: whose it must be. By a Telegram ID Redis may still have whom it led to before, unless it knows that
        user to have another, and versions of different users don't compare: then PostgreSQL is asked, too.
        With a cache, from there first: what Redis held at most 2 seconds ago, whatever happens to the connection;
        what this store has saved is read back at once.
        Raises BadIdentifier, UnknownSettingType, UnknownUser (also if `okx_uid` isn't whom the identifier leads to),
        UnknownVersion (`min_version` isn't there), InvalidArgument, NotPermitted, and DatabaseUnavailable if neither
        answers.
        """
        identifier, name = check_identifier(identifier), check_type(setting_type, symbol)
        min_version = count(min_version, "min_version")
        check_source(source)
        may_read_redis = source != "db" and await self._may_read_redis(identifier)
        if source == "redis" and not may_read_redis:
            raise refusal("only by the OKX UID of that user")

        if okx_uid is not None:
            check_okx_uid(check_identifier(okx_uid))

        def is_wanted(found: Setting) -> bool:
            return okx_uid in (None, found.okx_uid) and (source == "redis" or is_new(found, min_version, symbol))

        if source is None and may_read_redis:
            kept = self._cache.find(identifier, setting_type, symbol)
            if kept is not None and is_wanted(kept):
                return kept
        kind = await self._type(name)
        own = kind if symbol is None else await self._type(setting_type)
        if may_read_redis:
            found = await self._read_mirror(identifier, kind, own, source == "redis")
            if found is not None and is_wanted(found):
                return found
            if source == "redis":
                return None
        key = (identifier, kind.name, own.name, source)
        row = await self._flights.join(key, lambda: self._read_database(identifier, kind, own, source is None))
        setting = None if row is None else to_setting(row)  # one's own, though the flight was shared
        await self._check_read(setting, identifier, name, min_version, okx_uid)
        return setting

    async def get_all(
        self,
        identifier: str,
        *,
        symbol: str | None = None,
        source: Source | None = None,
        okx_uid: str | None = None,
    ) -> list[Setting]:
        """Read the active documents, in the order of their names: the user's own of every type, and those of symbols;
        with `symbol` those in force for that one, as get() does. All are of one user."""
        if source != "redis" and not self._types_loaded:
            with contextlib.suppress(DatabaseUnavailable):  # then the built-in types have to do
                rows = await self._fetch(functions.catalogue.list_setting_types())
                self._types.update({row["name"]: SettingType(**row) for row in rows})
                self._types_loaded = True
        found: list[Setting] = []

        async def read(name: str, symbol: str | None = None) -> None:
            # Where a Telegram ID led to at first: it may move meanwhile.
            whose = found[0].okx_uid if found else identifier
            setting = await self.get(whose, name, symbol=symbol, source=source, okx_uid=okx_uid)
            found.extend([setting] if setting else [])

        of = {name: symbol if kind.has_symbols else None for name, kind in self._types.items()}
        for name in sorted(of):
            await read(name, of[name])
        for name in await self._names_of_symbols(identifier, source, found) if symbol is None else ():
            await read(name)
        return sorted(found, key=lambda setting: setting.setting_type)

    async def _names_of_symbols(self, identifier: str, source: Source | None, own: Sequence[Setting]) -> list[str]:
        """List the user's documents of symbols: by Redis, if all that was read came from there, else by PostgreSQL."""
        if source == "redis" or (own and all(setting.source == "redis" for setting in own)):
            with contextlib.suppress(*(() if source else (RedisUnavailable,))):
                okx_uid = own[0].okx_uid if own else await self._mirrored_uid(identifier)
                kept = await self._connections.mirror.versions([okx_uid] if okx_uid else [])
                return [name for (_, name), version in kept.items() if version and ":" in name]
        whose = own[0].okx_uid if own else identifier
        rows = await self._fetch(functions.settings.names_of_symbols(whose))
        return [row["setting_type"] for row in rows]

    async def search(
        self,
        setting_type: SettingTypeName | str,
        filter: Mapping[str, Any],
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
        setting_type: SettingTypeName | str,
        filter: Mapping[str, Any],
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
        setting_type: SettingTypeName | str,
        settings: Mapping[str, Any],
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
        setting_type: SettingTypeName | str,
        patch: Mapping[str, Any],
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
        documents: Mapping[str, Mapping[str, Any]],
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
        setting_type: SettingTypeName | str,
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
        rows = [row for row in await self._write(call.mirrored(), actor, reason) if row["version"] is not None]
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
            if link is not None and found is not None and found.telegram_id != identifier:
                return None  # Redis knows that the user has another, or none: the link is an old one
            if found is not None and is_known:
                page.keep(found, own.name, symbol_of(kind, own))
                if link is not None:
                    link.okx_uid = okx_uid
            return found if is_known or only else None
        except RedisUnavailable:
            if only:
                raise
            return None

    async def _check_read(
        self, found: Setting | None, identifier: str, name: str, min_version: int, okx_uid: str | None
    ) -> None:
        """Make sure that what PostgreSQL has is what was asked for. Raises UnknownUser, UnknownVersion."""
        if okx_uid is not None and okx_uid != (found.okx_uid if found else (await self._user(identifier))["okx_uid"]):
            raise UnknownUser(f"{identifier} is not an identifier of user {okx_uid}")
        if found is not None and found.version < min_version:
            raise UnknownVersion(f"{name} of {identifier} has no version {min_version} yet")

    async def _read_database(self, identifier: str, kind: SettingType, own: SettingType, refill: bool) -> Row | None:
        call = functions.settings.get_user_settings(identifier, own.name, symbol_of(kind, own))
        row = next(iter(await self._fetch(call)), None)
        if row is not None and refill:
            with contextlib.suppress(StoreError):  # the relay will find what is missing
                await self._refill([to_setting(row)], kind)
        return row

    async def _refill(self, settings: Sequence[Setting], kind: SettingType) -> None:
        """Bring everything of users to Redis: where one key is gone, the others may be. Note of whom there is nothing
        of this kind."""
        mirror = self._connections.mirror
        owners = [owner for setting in settings for owner in (setting.okx_uid, setting.telegram_id) if owner]
        lives = await mirror.lives(owners)
        entries = [MirrorEntry(**row) for row in await self._fetch(functions.mirror.mirror_source(owners))]
        # Erased meanwhile: the relay looks for what Redis has of every symbol.
        await mirror.apply([entry for entry in entries if not entry.is_of_every_symbol], lives=lives)
        known = {entry.owner for entry in entries if entry.kind == kind.name}
        absent = {setting.okx_uid for setting in settings if setting.setting_type != kind.name} - known
        if absent:
            await mirror.note_absent({okx_uid: lives.get(okx_uid, "") for okx_uid in absent}, kind.name)


def symbol_of(kind: SettingType, own: SettingType) -> str | None:
    """Return the symbol whose document is read, if one is: of `kind`, or else the user's own."""
    return None if kind is own else kind.name.partition(":")[2]


def check_source(source: object) -> None:
    """Refuse what names neither store. Raises InvalidArgument."""
    if source not in (None, "redis", "db"):
        raise InvalidArgument("source must be redis or db")


def is_new(found: Setting, min_version: int, symbol: str | None) -> bool:
    """Tell whether what was read has at least a version, which is one of the symbol's own document, if one is asked
    for."""
    return found.version >= min_version and (not min_version or found.symbol == symbol or symbol is None)
