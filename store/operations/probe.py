"""The probe: writes and reads documents of a user of its own, by every path, and compares what is read with PostgreSQL.

A read is wrong if PostgreSQL never stored that content as that version, or if it is older than what had been proven
before the read began: of PostgreSQL what it had acknowledged, of Redis what had been read or written there.
Times are this process's monotonic clock's. A server that is away, or was replaced, is no wrong read.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
import uuid
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from store.api.base import to_saved
from store.api.store import SettingsStore
from store.coherence import epochs
from store.config import Config
from store.errors import (
    DatabaseUnavailable,
    InvalidArgument,
    NotMigrated,
    NotPermitted,
    RedisUnavailable,
    StoreError,
    UnknownUser,
    UnknownVersion,
)
from store.mirror.cache import STALE
from store.mirror.keys import PROBE
from store.models import Document, Setting
from store.postgres import functions
from store.postgres.call import Call

# How each document is written: `sql`, as psql does, so that the relay has to bring it, or `save`, mirrored at once.
DOCUMENTS = {"params": "sql", "preferences": "save", "dual_side:PROBE-USDT-SWAP": "save"}
PATHS = ("redis", "get", "cache", "db", "min_version", "telegram", "all")
WRITERS = ("sql", "save")
VIOLATIONS = ("content", "stale")
BOUNDS = {"cache": STALE}  # seconds that a read by this path may be older than what was proven
CONNECTIONS = 2  # to PostgreSQL, for each of two stores
USERS_CACHED = 2  # the OKX UID, and room
LONGEST = 10.0  # seconds a read or write may take
AT_START = 2.0  # seconds in which rights are looked at
REMEMBERED = 1000  # versions of each document

Outcome = Literal["right", "content", "stale", "unanswered"]
AWAY = (DatabaseUnavailable, RedisUnavailable, TimeoutError)

log = logging.getLogger("store.probe")


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a read by a path (or of a write, by `sql` or `save`). `staleness`: seconds before the read began
    that PostgreSQL had acknowledged something newer than what was read; 0 if it was the newest."""

    path: str
    outcome: Outcome
    staleness: float = 0.0


@dataclass(slots=True)
class Series:
    """Versions, ascending, and when each was proven."""

    versions: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def newest(self) -> int:
        return self.versions[-1] if self.versions else 0

    def add(self, version: int, at: float) -> None:
        if version > self.newest:
            self.versions.append(version)
            self.times.append(at)
            del self.versions[:-REMEMBERED], self.times[:-REMEMBERED]

    def proven(self, by: float) -> int:
        """Return the newest version that was proven by then; 0: none."""
        number = bisect_right(self.times, by)
        return self.versions[number - 1] if number else 0

    def superseded(self, version: int) -> float | None:
        """Return when a newer one than this was first proven; None: not yet."""
        number = bisect_right(self.versions, version)
        return self.times[number] if number < len(self.times) else None


@dataclass(slots=True)
class Known:
    """What is known of a document: what PostgreSQL has committed, what Redis has had, and contents by version."""

    committed: Series = field(default_factory=Series)
    in_redis: Series = field(default_factory=Series)
    contents: OrderedDict[int, Document] = field(default_factory=OrderedDict)


class _Unjudged(Exception):
    """Whether what was read is right can't be told."""


class Prober:
    """Probes every `every` seconds, on connections of its own, and tells of each read."""

    def __init__(self, config: Config, every: float, tell: Callable[[Reading], None]) -> None:
        own = replace(config, db_pool_size=CONNECTIONS, application="settings-store probe", actor="probe")
        self._plain, self._cached = SettingsStore(own), SettingsStore(own, cache=USERS_CACHED)
        self._every = every
        self._tell = tell
        self._telegram_id: str | None = None
        self._epoch: object = None  # what the servers and the probe's user were when what is known was proven
        self._known = {name: Known() for name in DOCUMENTS}
        self._said: dict[str, object] = {}  # by path: what the log says is wrong there

    async def check(self) -> None:
        """Write and read once. Raises NotPermitted, NotMigrated; a server that is away isn't waited for."""
        name = next(iter(DOCUMENTS))
        async with self._plain as store:
            try:
                async with asyncio.timeout(AT_START):
                    (row,) = await store._write(self._write_call(name))
                    await self._ask("db", name)
                    await self._stored(Known(), name, row["version"])
                    await self._current_epoch()
            except (NotPermitted, NotMigrated):
                raise
            except (StoreError, TimeoutError) as error:
                log.debug("not checked: %s", error)

    async def run(self) -> None:
        """Probe until cancelled."""
        async with self._plain, self._cached:
            for name in itertools.cycle(DOCUMENTS):
                began = time.monotonic()
                try:
                    await self._round(name, began + self._every)
                except Exception as error:  # whatever it is: the relay goes on, and so does the next round
                    self._say("any path", type(error), f"a round failed: {type(error).__name__}")
                await asyncio.sleep(max(0.0, began + self._every - time.monotonic()))

    async def _round(self, name: str, end: float) -> None:
        """Write a document and read it at once, and again at a random moment before the end, as bots do."""
        with suppress(*AWAY):
            if (epoch := await self._current_epoch()) != self._epoch:
                self._begin_anew(epoch)
        await self._write(name)
        await asyncio.gather(*(self._read(path, name) for path in PATHS))
        await asyncio.sleep(random.uniform(0.0, max(0.0, end - time.monotonic())))  # noqa: S311
        await asyncio.gather(*(self._read(path, name) for path in PATHS))

    # -- what is known, and since when

    async def _current_epoch(self) -> object:
        """Tell which servers and whose documents these are: others after a restart, a failover, a restored backup, an
        erasure or a deletion of the probe's user, when what was proven before says nothing any more."""
        async with asyncio.timeout(LONGEST):
            user = await self._plain.find_user(PROBE)
            return (await epochs.servers(self._plain._connections)).name, user and (user.id, user.updated_at)

    def _begin_anew(self, epoch: object) -> None:
        self._epoch, self._known = epoch, {name: Known() for name in DOCUMENTS}

    # -- writing

    def _write_call(self, name: str) -> Call:
        return functions.operations.write_probe(name, f"at {uuid.uuid4().hex}")

    async def _write(self, name: str) -> None:
        by, store, known = DOCUMENTS[name], self._plain, self._known[name]
        try:
            async with asyncio.timeout(LONGEST):
                if by == "save":
                    (saved,) = await store._save(self._write_call(name), None, None)
                else:
                    (saved,) = (to_saved(row, False) for row in await store._write(self._write_call(name)))
        except Exception as error:
            self._unanswered(by, error)
            return
        now = time.monotonic()
        self._telegram_id = saved.telegram_id
        known.committed.add(saved.version, now)
        if saved.mirrored:
            known.in_redis.add(saved.version, now)

    # -- reading

    async def _read(self, path: str, name: str) -> None:
        """Read by a path, judge that, and tell. Raises nothing."""
        known, epoch, began = self._known[name], self._epoch, time.monotonic()
        try:
            async with asyncio.timeout(LONGEST):
                found = await self._ask(path, name)
            ended = time.monotonic()
            if path == "redis" and found is None:
                raise _Unjudged("Redis hasn't got it")  # which get() makes up for
            problem = await self._problem(known, path, name, found, began)
            if problem is not None and not await self._is_still(epoch):
                raise _Unjudged("a server or the user was replaced")
        except Exception as error:
            self._unanswered(path, error)
            return
        version = 0 if found is None else found.version
        newer = known.committed.superseded(version)
        staleness = 0.0 if newer is None else max(0.0, began - newer)
        if problem is not None:
            self._wrong(path, name, *problem, staleness)
            return
        known.committed.add(version, ended)  # nobody has what PostgreSQL didn't commit
        if found is not None and found.source == "redis" and path != "cache":
            known.in_redis.add(version, ended)
        self._say(path, None)
        self._tell(Reading(path, "right", staleness))

    async def _ask(self, path: str, name: str) -> Setting | None:
        kind, _, of = name.partition(":")
        symbol, store = of or None, self._plain
        found: Setting | None
        if path == "all":
            found = next((one for one in await store.get_all(PROBE) if one.setting_type == name), None)
        elif path in ("redis", "db"):
            found = await store.get(PROBE, kind, symbol=symbol, source="redis" if path == "redis" else "db")
        elif path == "min_version":
            try:
                found = await store.get(PROBE, kind, symbol=symbol, min_version=self._known[name].committed.newest)
            except UnknownVersion:  # which was acknowledged
                return None
        elif path == "telegram":
            if self._telegram_id is None:
                raise UnknownUser("the probe has no Telegram ID")
            found = await store.get(self._telegram_id, kind, symbol=symbol)
        else:
            found = await (self._cached if path == "cache" else store).get(PROBE, kind, symbol=symbol)
        return found if found is not None and found.setting_type == name else None  # else the user's own

    async def _problem(
        self, known: Known, path: str, name: str, found: Setting | None, began: float
    ) -> tuple[Outcome, str] | None:
        """Say what is wrong with what was read, if anything."""
        is_redis = (
            found is not None and found.source == "redis" and path != "min_version"
        )  # what lacks there, PostgreSQL says
        proven = (known.in_redis if is_redis else known.committed).proven(began - BOUNDS.get(path, 0.0))
        if found is None:
            if not proven:
                raise _Unjudged("nothing was saved yet")
            return "stale", f"nothing, though version {proven} was there"
        if found.version < proven:
            return "stale", f"version {found.version}, though version {proven} was there"
        if found.okx_uid != PROBE or found.settings != await self._stored(known, name, found.version):
            return "content", f"version {found.version}, and not as PostgreSQL stored it"
        return None

    async def _stored(self, known: Known, name: str, version: int) -> Document | None:
        """Return what PostgreSQL stored as that version; None: no such version. Raises _Unjudged: it was pruned."""
        if version not in known.contents:
            async with asyncio.timeout(LONGEST):
                try:
                    (row,) = await self._plain._fetch(functions.history.user_setting_version(PROBE, name, version))
                except InvalidArgument:  # more than a version can be
                    return None
                except UnknownVersion:
                    newest = await self._ask("db", name)
                    if newest is not None and newest.version > version:
                        raise _Unjudged(f"version {version} was pruned") from None
                    return None
            known.contents[version] = to_saved({**row, "missing_keys": None}, False).settings
            if len(known.contents) > REMEMBERED:
                known.contents.popitem(last=False)
        return known.contents[version]

    async def _is_still(self, epoch: object) -> bool:
        """Tell whether servers and user are what they were then."""
        return await self._current_epoch() == epoch

    # -- telling

    def _unanswered(self, path: str, error: Exception) -> None:
        if not isinstance(error, (*AWAY, _Unjudged)):  # of those the relay tells
            self._say(path, type(error), str(error) if isinstance(error, StoreError) else type(error).__name__)
        self._tell(Reading(path, "unanswered"))

    def _wrong(self, path: str, name: str, outcome: Outcome, what: str, staleness: float = 0.0) -> None:
        self._say(path, (outcome, name), f"{name} is wrong ({outcome}): {what}", logging.ERROR)
        self._tell(Reading(path, outcome, staleness))

    def _say(self, path: str, what: object, text: str = "", level: int = logging.WARNING) -> None:
        """Log what is wrong by a path when it begins, and (None) when it is over."""
        before = self._said.pop(path, None)
        if what is not None:
            self._said[path] = what
        if what is None and before is not None:
            log.info("by %s: right again", path)
        elif what != before:
            log.log(level, "by %s: %s", path, text)
