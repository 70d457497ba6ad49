"""Core: what every part of the store shares: connections, who writes, the write paths."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from store.api.flights import Flights
from store.arguments import count, line, symbol_or_none
from store.coherence import mirroring, relay
from store.coherence.connections import Connections
from store.config import Config
from store.ending import end
from store.errors import (
    BadIdentifier,
    DatabaseUnavailable,
    RedisUnavailable,
    StoreError,
    UnknownSettingType,
    UnknownUser,
)
from store.mirror.cache import Cache
from store.mirror.keys import OKX_UID, SYMBOL, TELEGRAM_ID
from store.models import (
    BUILT_IN_TYPES,
    MirrorEntry,
    SavedSetting,
    SavedUser,
    Setting,
    SettingType,
    User,
)
from store.postgres import functions
from store.postgres.call import Call

OWNERS = 1000  # a query
DOCUMENTS = 20  # a batch of a stream: each may be of 1 MiB, and be held twice

T = TypeVar("T")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Writer:
    actor: str | None = None
    reason: str | None = None


_NOBODY = _Writer()
_writer: ContextVar[_Writer] = ContextVar("writer", default=_NOBODY)


@contextmanager
def acting(actor: str | None, reason: str | None) -> Iterator[None]:
    """Say who writes and why, for every write of this context."""
    outer = _writer.get()
    token = _writer.set(_Writer(outer.actor if actor is None else actor, outer.reason if reason is None else reason))
    try:
        yield
    finally:
        _writer.reset(token)


class Core:
    """The open store, and how anything is written to both sides."""

    def __init__(self, config: Config | None = None, *, cache: int = 0) -> None:
        self.config = (config or Config.from_env()).checked()
        self._opened: Connections | None = None
        self._cache_size = count(cache, "cache")
        self._cache = Cache(self._cache_size)
        self._types = dict(BUILT_IN_TYPES)
        self._types_loaded = False
        self._secrets: dict[str, set[str]] | None = None  # the secret keys of each type, once PostgreSQL was asked
        self._flights: Flights[Any] = Flights()  # of documents, and of the halts
        self._updates: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()  # by user and name
        self._defaults: dict[str, tuple[dict[str, str], float]] = {}  # of each type: key -> JSON, when it was asked
        self._listeners: dict[asyncio.Task[None], Callable[..., object]] = {}  # who tells which handler of changes
        self._loop: asyncio.AbstractEventLoop | None = None  # the one it is open in
        self._versions: dict[str, tuple[int, float]] = {}  # OKX UID -> version of the credentials, when it was noted

    async def open(self) -> Self:
        """Open the store for the event loop that runs, as `async with` does, and return it. Harmless if it is open.

        A store that was closed, or whose event loop has ended, may be opened again, in another loop too. Connections
        are made when first used. Raises StoreError if it is open in another event loop.
        """
        if self._loop is not None and self._loop.is_closed():
            self._abandon()
        if None in (self.config.database_url, self.config.redis_url):
            from store.operations import embedded

            self.config = await asyncio.to_thread(embedded.provide, self.config)
        if self._opened is None:
            stores = Connections(self.config)
            self._cache.start(stores.mirror)
            self._opened, self._loop = stores, asyncio.get_running_loop()
        self._check_loop()
        return self

    async def close(self) -> None:
        """Close the store, in the event loop it was opened in; handlers are told no more. Harmless if it isn't open."""
        if self._loop is not None and self._loop.is_closed():
            self._abandon()
        if self._opened is None:
            return
        stores, self._opened = self._connections, None
        try:
            await self._end_listeners()
            await self._cache.close()
            await self._flights.close()
        finally:
            await stores.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def _connections(self) -> Connections:
        """The connections to both stores. Raises StoreError if the store isn't open, or is in another event loop."""
        if self._opened is None:
            raise StoreError(
                "the store is not open: use `async with SettingsStore(…) as store`, or `await store.open()`"
            )
        self._check_loop()
        return self._opened

    def _check_loop(self) -> None:
        if asyncio._get_running_loop() is not self._loop:
            raise StoreError(
                "the store is open in another event loop than the one that runs",
                hint="Each loop, and so each thread, takes a store of its own; after the end of asyncio.run(): open().",
            )

    def _abandon(self) -> None:
        """Disconnect a store whose event loop has ended, and with it everybody who could have used it."""
        if self._opened is not None:
            self._opened.database.abandon()
        self._opened, self._loop, self._cache, self._flights = None, None, Cache(self._cache_size), Flights()
        self._listeners = {}

    async def _end_listeners(self, handler: Callable[..., object] | None = None) -> int:
        """Tell a handler of no more changes, or any; return how often it was told of each."""
        ended = [task for task, told in self._listeners.items() if handler is None or told == handler]
        for task in ended:
            del self._listeners[task]
        await end(*(task for task in ended if task is not asyncio.current_task()))  # a handler may say so itself
        return len(ended)

    @asynccontextmanager
    async def acting_as(self, actor: str | None = None, *, reason: str | None = None) -> AsyncIterator[Self]:
        """Say who writes and why for every write of this task that doesn't say so itself.

        Nests: None leaves what the outer one says. Tasks started inside take it along.
        """
        with acting(actor, reason):
            yield self

    def _by(self, call: Call, actor: str | None = None, reason: str | None = None) -> Call:
        """Say in a call who writes and why: as given, else as acting_as() said, else as configured."""
        writer = _writer.get()
        return call.by(actor or writer.actor or self.config.actor, writer.reason if reason is None else reason)

    async def _mirror_owners(self, owners: Sequence[str] | None) -> bool:
        """Bring to Redis what is marked, of these owners or of all; return whether that worked. What didn't get
        through stays marked."""
        try:
            for start in range(0, 1 if owners is None else len(owners), OWNERS):
                some = None if owners is None else owners[start : start + OWNERS]
                done = await relay.drain(self._connections, some)
                if done.failures or done.held:
                    return False
        except (RedisUnavailable, DatabaseUnavailable):
            return False
        finally:
            self._cache.forget(owners)  # what is being read of them now may be from before
        return True

    async def _fetch(self, call: Call) -> Sequence[dict[str, Any]]:
        return await self._connections.database.fetch(call)

    async def _each(
        self, call: Call, shape: Callable[[dict[str, Any]], T], batch: int = DOCUMENTS
    ) -> AsyncGenerator[T]:
        """Yield what a statement returns, as of one moment, holding two batches of it at most."""
        async with aclosing(self._connections.database.stream(call, batch)) as pages:
            async for rows in pages:
                for row in rows:
                    yield shape(row)

    # -- the write paths

    async def _write(self, call: Call, actor: str | None = None, reason: str | None = None) -> list[dict[str, Any]]:
        return list(await self._fetch(self._by(call, actor, reason)))

    async def _save(self, call: Call, actor: str | None, reason: str | None) -> list[SavedSetting]:
        return await self._mirror_settings(await self._write(call.mirrored(), actor, reason))

    async def _mirror_settings(self, rows: list[dict[str, Any]]) -> list[SavedSetting]:
        """Bring saved rows to Redis. They are committed: whatever happens here, the caller gets them."""
        try:
            entries = [await self._entry(row) for row in rows]
            results = await mirroring.mirror(self._connections, entries, wait=False, in_hurry=True)
        except StoreError:
            return [to_saved(row, False) for row in rows]
        finally:
            self._cache.forget({row["okx_uid"] for row in rows})  # what is being read of them now may be from before
        for row, result in zip(rows, results, strict=True):
            if result.is_current:  # a newer version, if this one was put back over a rogue write
                row["version"] = max(row["version"], result.version)
        return [
            to_saved(row, result.serves(entry.version))
            for row, entry, result in zip(rows, entries, results, strict=True)
        ]

    async def _mirror_user(self, after: Row, before: Row | None) -> SavedUser:
        """Bring a change of a user to Redis: what PostgreSQL had before it, and has after it."""
        owners = {after["okx_uid"], after["telegram_id"], before["telegram_id"] if before else None}
        mirrored = await self._mirror_owners([owner for owner in owners if owner])
        if before and (after["id"] != before["id"] or after["version"] - before["version"] not in (0, 1)):
            mirrored = False  # others changed it in between: only marks know which Telegram IDs led there meanwhile
        return SavedUser(**{name: after[name] for name in User.__slots__}, mirrored=mirrored)

    async def _change_user(self, identifier: str, call: Call, actor: str | None, reason: str | None) -> SavedUser:
        before = await self._user(identifier)
        return await self._mirror_user((await self._write(call, actor, reason))[0], before)

    async def _find_user(self, identifier: str) -> Row | None:
        return next(iter(await self._fetch(functions.users.find_user(check_identifier(identifier)))), None)

    async def _user(self, identifier: str) -> Row:
        row = await self._find_user(identifier)
        if row is None:
            raise UnknownUser(f"unknown user {identifier}")
        return row

    async def _may_read_redis(self, identifier: str) -> bool:
        """Tell whether Redis and the cache may answer for this identifier: a confined store takes from there its own
        user's only, by the OKX UID; what a Telegram ID leads to there anybody could have written."""
        only = self._connections.confinement.okx_uid
        if only is None:
            only = await self._connections.confinement.known()
        return not only or identifier == only

    async def _mirrored_uid(self, identifier: str) -> str | None:
        """Find the OKX UID of an identifier in Redis; None if it isn't there. Raises RedisUnavailable."""
        if OKX_UID.fullmatch(identifier):
            return identifier
        if not TELEGRAM_ID.fullmatch(identifier):
            return None
        okx_uid = await self._connections.mirror.okx_uid_of(identifier) or ""
        return okx_uid if OKX_UID.fullmatch(okx_uid) else None

    async def _entry(self, row: dict[str, Any]) -> MirrorEntry:
        kind = await self._type(row["setting_type"])
        document = None if row["deleted_at"] else row["document"]
        return MirrorEntry(
            row["okx_uid"], kind.name, kind.redis_suffix, kind.redis_encoding,
            row["version"], row["updated_at"], document,
        )  # fmt: skip

    async def _type(self, name: str) -> SettingType:
        own, is_symbols, symbol = name.partition(":")
        kind = self._types.get(own)
        if kind is None or (is_symbols and not (kind.has_symbols and SYMBOL.fullmatch(symbol))):
            rows = await self._fetch(functions.catalogue.check_setting_type(check_type(name)))
            kind = self._types[own] = SettingType(**rows[0])
        return kind.of(symbol) if is_symbols else kind


def check_identifier(value: str) -> str:
    """Refuse what can't be an identifier, before it gets anywhere."""
    return line(value, "an identifier", BadIdentifier)


def identifier_or_none(value: str | None) -> str | None:
    """Refuse what can't be an identifier; None stands for everybody."""
    return None if value is None else check_identifier(value)


def check_identifiers(values: Sequence[str]) -> list[str]:
    """Refuse what can't be a list of identifiers."""
    if not isinstance(values, list | tuple):
        raise BadIdentifier(f"identifiers must be a list of strings, not {type(values).__name__}")
    return [check_identifier(value) for value in values]


def check_type(value: str, symbol: str | None = None) -> str:
    """Refuse what can't be a setting type, or a symbol, before it gets anywhere; return the document's name."""
    setting_type = line(value, "a setting type", UnknownSettingType)
    return setting_type if symbol_or_none(symbol) is None else f"{setting_type}:{symbol}"


def to_setting(row: dict[str, Any]) -> Setting:
    """Make a setting of a row of PostgreSQL."""
    return Setting(
        row["okx_uid"], row["telegram_id"], row["setting_type"], row["version"],
        json.loads(row["document"]), row["updated_at"], "db",
    )  # fmt: skip


def to_saved(row: dict[str, Any], mirrored: bool) -> SavedSetting:
    """Make a saved setting of a row of PostgreSQL."""
    setting = to_setting(row)
    shared = {name: getattr(setting, name) for name in Setting.__slots__}
    is_deleted = row["deleted_at"] is not None
    return SavedSetting(**shared, mirrored=mirrored, is_deleted=is_deleted, missing_keys=row["missing_keys"] or [])
