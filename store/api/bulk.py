"""Documents of many users at once, and changes that begin with a look at the document."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from store.api.base import check_identifier, check_type, to_setting
from store.api.settings import Documents, check_source, is_new, symbol_of
from store.arguments import count
from store.errors import BadIdentifier, InvalidArgument, RedisUnavailable, StoreError, UnknownVersion, VersionConflict
from store.mirror.keys import OKX_UID, TELEGRAM_ID
from store.models import Document, SavedSetting, Setting, SettingType, SettingTypeName, Source
from store.postgres import functions
from store.postgres.confinement import refusal

USERS_PER_EXCHANGE = 500
USERS_PER_REFILL = 100  # all documents of each are read, of up to 1 MiB
TRIES = 50  # at a document that others keep changing
PAUSE = 0.004  # seconds at most before the second try; then twice as long each time
LONGEST_PAUSE = 0.25  # seconds
PATIENCE = 1.0  # seconds that an update waits for those of the same document in this process

T = TypeVar("T")


class Bulk(Documents):
    """The part of the store that knows documents of many users."""

    async def get_many(
        self,
        identifiers: Iterable[str],
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        source: Source | None = None,
        min_versions: Mapping[str, int] | None = None,
    ) -> dict[str, Setting]:
        """Read a document of each of many users, as get() does: {identifier: setting}, in the order given. Who has no
        such document isn't in it, nor is who isn't known.

        500 users take an exchange with Redis, all that is missing there one query of PostgreSQL. `min_versions`: as
        get()'s `min_version`, by identifier, an OKX UID. Raises BadIdentifier (what isn't text), UnknownSettingType,
        UnknownVersion, InvalidArgument, NotPermitted, DatabaseUnavailable.
        """
        name = check_type(setting_type, symbol)
        check_source(source)
        if not isinstance(min_versions, Mapping | None):
            raise InvalidArgument(f"min_versions must be versions by identifier, not {type(min_versions).__name__}")
        least = {each: count((min_versions or {}).get(each, 0), "min_versions") for each in _checked(identifiers)}
        in_redis = [each for each in least if source != "db" and await self._may_read_redis(each)]
        if source == "redis" and len(in_redis) < len(least):
            raise refusal("only by the OKX UID of that user")
        found: dict[str, Setting] = {}
        if source is None:
            kept = {each: self._cache.find(each, setting_type, symbol) for each in in_redis}
            found = {each: hit for each, hit in kept.items() if hit and is_new(hit, least[each], symbol)}
        kind = await self._type(name)
        own = kind if symbol is None else await self._type(setting_type)
        missing = [each for each in in_redis if each not in found]
        for each, read in (await self._read_mirror_many(missing, kind, own, source == "redis")).items():
            if source == "redis" or is_new(read, least[each], symbol):
                found[each] = read
        missing = [each for each in least if each not in found]
        if missing and source != "redis":
            stored = await self._read_database_many(missing, kind, own, source is None)
            for each, read in stored.items():
                if read.version < least[each]:
                    raise UnknownVersion(f"{name} of {each} has no version {least[each]} yet")
            found |= stored
        return {each: found[each] for each in least if each in found}

    async def save_many(
        self,
        documents: Mapping[str, Mapping[str, Any]],
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> dict[str, SavedSetting]:
        """Save a document of each of many users ({identifier: document}) in one transaction, all or none; each as
        save() does: {identifier: what was saved}.

        Raises what save() does, InvalidSettings and UnknownUser with a message that says whose, and InvalidArgument
        also if a user is named twice.
        """
        check_type(setting_type, symbol)
        call = functions.settings.save_settings_of_users(documents, setting_type, symbol)
        rows = await self._write(call.mirrored(), actor, reason)
        saved = dict(zip((row["identifier"] for row in rows), await self._mirror_settings(rows), strict=True))
        return {identifier: saved[identifier] for identifier in documents}

    async def update(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        change: Callable[[Document], Mapping[str, Any] | None],
        *,
        symbol: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Read a document, change it, save it if nobody else has saved meanwhile; else again, after a moment.

        `change` gets the document as PostgreSQL has it ({}: there is none; of a symbol the user's own, if it has none),
        and returns another, or None if it has changed the one it got. It may be called several times, so it does
        nothing else; what it raises ends the update, with nothing saved. Numbers are Python's: a fraction keeps as many
        digits as a float has. Keys that are set whatever the document holds are patch()'s, which takes one statement.
        Raises what save() does: VersionConflict only if others were first 50 times, DatabaseUnavailable if it is
        unknown whether this save was done, and then it isn't tried again.
        """
        if not callable(change):
            raise InvalidArgument(f"change must be a function of a document, not {type(change).__name__}")
        name = check_type(setting_type, symbol)
        kind = await self._type(name)
        own = kind if symbol is None else await self._type(setting_type)
        # A Telegram ID may move between the look and the save.
        okx_uid = check_identifier(identifier)
        if not OKX_UID.fullmatch(identifier):
            okx_uid = (await self._user(identifier))["okx_uid"]
        version = tried = 0
        async with self._turn(okx_uid, name):
            while True:
                row = await self._read_database(okx_uid, kind, own, refill=False)
                found = None if row is None else to_setting(row)
                if found is not None and found.setting_type == name:
                    version = found.version  # else that of the deletion, as a conflict has said
                document = {} if found is None else found.settings
                changed = change(document)
                settings: Mapping[str, Any] = document if changed is None else changed
                call = functions.settings.upsert_user_setting(okx_uid, name, settings, version)
                try:
                    return (await self._save(call, actor, reason))[0]
                except VersionConflict as conflict:
                    version = conflict.current or 0
                    if tried + 1 == TRIES:
                        raise
                await asyncio.sleep(random.uniform(0, min(PAUSE * 2**tried, LONGEST_PAUSE)))  # noqa: S311
                tried += 1

    @asynccontextmanager
    async def _turn(self, okx_uid: str, name: str) -> AsyncIterator[None]:
        """Let updates of a document in this process come one after the other, as they would only be in each other's
        way; but after a moment, if one hangs."""
        lock = self._updates.setdefault((okx_uid, name), asyncio.Lock())
        has_turn = False
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    has_turn = await lock.acquire()
            yield
        finally:
            if has_turn:
                lock.release()

    async def _read_mirror_many(
        self, identifiers: Sequence[str], kind: SettingType, own: SettingType, only: bool
    ) -> dict[str, Setting]:
        """Read from Redis what is there, as _read_mirror() does."""
        mirror, found = self._connections.mirror, dict[str, Setting]()
        with contextlib.suppress(*(() if only else (RedisUnavailable,))):
            links = {each: self._cache.page(each) for each in identifiers if TELEGRAM_ID.fullmatch(each)}
            uids = {each: each for each in identifiers if OKX_UID.fullmatch(each)}
            if links:
                told = await mirror.okx_uids_of(list(links))
                uids |= {each: okx_uid for each, okx_uid in told.items() if OKX_UID.fullmatch(okx_uid)}
            for part in _parts(list(uids), USERS_PER_EXCHANGE):
                pages = [self._cache.page(uids[each]) for each in part]
                answers = await mirror.read_many([uids[each] for each in part], kind, own)
                for each, page, answer in zip(part, pages, answers, strict=True):
                    if isinstance(answer, RedisUnavailable):
                        if only:
                            raise answer
                        continue
                    setting, is_known = answer
                    if setting is not None and each in links and setting.telegram_id != each:
                        continue
                    if setting is not None and is_known:
                        page.keep(setting, own.name, symbol_of(kind, own))
                        if each in links:
                            links[each].okx_uid = uids[each]
                    if setting is not None and (is_known or only):
                        found[each] = setting
        return found

    async def _read_database_many(
        self, identifiers: Sequence[str], kind: SettingType, own: SettingType, refill: bool
    ) -> dict[str, Setting]:
        call = functions.settings.get_user_settings_of_many(identifiers, own.name, symbol_of(kind, own))
        rows = await self._fetch(call)
        found = {row["identifier"]: to_setting(row) for row in rows}
        if refill:
            users = list({setting.okx_uid: setting for setting in found.values()}.values())
            with contextlib.suppress(StoreError):  # the relay will find what is missing
                for part in _parts(users, USERS_PER_REFILL):
                    await self._refill(part, kind)
        return found


def _checked(identifiers: Iterable[str]) -> list[str]:
    """Refuse what can't be identifiers."""
    if isinstance(identifiers, str | bytes) or not isinstance(identifiers, Iterable):
        raise BadIdentifier(f"identifiers must be several strings, not {type(identifiers).__name__}")
    return [check_identifier(each) for each in identifiers]


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[first : first + most] for first in range(0, len(items), most))
