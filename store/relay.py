"""The relay: brings to Redis what is marked in mirror_pending, and everything when Redis lost its data.

It only polls. A NOTIFY would save an idle query a few times a second, but it takes a database-wide lock at
commit, and a listener that hangs fills its queue until no writer can commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from store import calls
from store.batches import cut
from store.connections import Connections
from store.entries import complete
from store.errors import DatabaseUnavailable, RedisUnavailable, StoreError
from store.keep import keep
from store.mirror.found import Applied, Found, Place
from store.models import MirrorEntry

BATCH = 500  # keys a query
TRIES = 5  # at a key that somebody else keeps writing, at a Redis that keeps losing its data
CHECK = 1.0  # seconds between looks at which servers these are
RETRY_FAILED = 60.0  # seconds until keys that were set aside are tried again

log = logging.getLogger("store.relay")


@dataclass
class Progress:
    """What a pass did. `failures`: (owner, kind) -> why the key was set aside; `lags`: seconds from the mark of a key
    until Redis had it."""

    mirrored: int = 0
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    lags: list[float] = field(default_factory=list)
    reconciliations: int = 0


Tell = Callable[[Progress], None]  # told of every batch as it is done, also of one without a key


async def mirror(
    stores: Connections,
    entries: Sequence[MirrorEntry],
    *,
    wait: bool = True,
    marked: Collection[tuple[str, str]] | None = None,
    in_hurry: bool = False,
) -> list[Applied]:
    """Write entries to Redis and clear the marks of those it has now (soon, if not to `wait`). `marked`: which (owner,
    kind) have one, if the caller knows. `in_hurry`: of a few keys, whatever is there; what takes long is left for the
    relay.

    What isn't ours in Redis goes into the history first. Raises RedisUnavailable, DatabaseUnavailable.
    """
    results = []
    # What is there Redis reads, too, and it may come back.
    sizes = [0] * len(entries) if in_hurry else await stores.mirror.sizes(list(map(Place.of, entries)))
    for part in cut(zip(entries, sizes, strict=True), lambda pair: pair[0].length + pair[1]):
        whole = await complete(stores, [entry for entry, _ in part])
        chunk = [entry for entry in whole if entry is not None]
        applied = await stores.mirror.apply(chunk, size=sum(max(size, 0) for _, size in part))
        for i, (entry, result) in enumerate(zip(chunk, applied, strict=True)):
            if result.foreign is not None:
                applied[i] = await overwrite(stores, Place.of(entry), result.foreign, entry)
            elif result.error is None and not result.is_current:
                applied[i] = await _catch_up(stores, entry)
            if applied[i].is_current and (marked is None or (entry.owner, entry.kind) in marked):
                stores.marks.done(entry, applied[i].version)
        if wait:
            await stores.marks.clear()
        there = iter(applied)
        results += [Applied(-1, 0) if entry is None else next(there) for entry in whole]
    return results


async def overwrite(stores: Connections, place: Place, found: Found, entry: MirrorEntry | None = None) -> Applied:
    """Write PostgreSQL's current state over what was found in a key, whatever its version, the history
    having it first. Somebody who writes there meanwhile is kept, too.

    The result is that of `entry`, if given: written also if it was put back as a newer version.
    """
    for _ in range(TRIES):
        try:
            await keep(stores, [(place, found)])
        except DatabaseUnavailable:
            raise
        except StoreError as error:  # credentials that can't be encrypted: they stay where they are
            return Applied(-1, found.version, None, error)
        rows = await stores.database.fetch(calls.mirror_state([place.owner], [place.kind]))
        if not rows:
            break  # of nobody PostgreSQL knows: sync's
        now = MirrorEntry(**rows[0])
        (result,) = await stores.mirror.apply([now], [found])
        if result.foreign is None:
            if result.is_current:
                stores.marks.done(now, now.version)
            is_same = entry is None or now.document == entry.document
            return result if is_same or not result.is_current else Applied(-1, result.version)
        found = result.foreign
    return Applied(-1, found.version, None, RedisUnavailable("somebody else keeps writing there"))


async def drain(
    stores: Connections,
    owners: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    *,
    wait: bool = True,
    tell: Tell = lambda _: None,
) -> Progress:
    """Mirror everything that is marked (of these owners and kinds). A key that Redis refuses is set aside
    with the reason. If not to `wait`, the last marks are left for the caller to clear. Raises RedisUnavailable if Redis
    refuses all of them, DatabaseUnavailable."""
    progress = Progress()
    while True:
        rows = await stores.database.fetch(calls.pending_keys(owners, kinds, BATCH))
        waited, read, batch = [row.pop("waited") for row in rows], time.monotonic(), Progress()
        entries = [MirrorEntry(**row) for row in rows]
        is_last = len(rows) < BATCH
        results = await mirror(stores, entries, wait=wait or not is_last)
        since = time.monotonic() - read
        batch.lags = [wait + since for wait, result in zip(waited, results, strict=True) if result.is_current]
        batch.mirrored = len(batch.lags)
        await _set_aside(stores, entries, results, batch)
        tell(batch)
        progress.mirrored += batch.mirrored
        progress.failures |= batch.failures
        if is_last:
            return progress


async def reconcile(stores: Connections, tell: Tell = lambda _: None) -> Progress:
    """Bring every key to Redis that it lacks or has older (or newer, if PostgreSQL came back from a backup),
    also those set aside. Content of the right version is not looked at: that is verify's. Raises as drain().
    """
    progress = Progress()
    for _ in range(TRIES):
        between, token = await _servers(stores), uuid.uuid4().hex
        await stores.mirror.begin_reconciling(token)
        async with contextlib.aclosing(stores.database.stream(calls.mirror_source(), BATCH)) as batches:
            async for rows in batches:
                entries = [MirrorEntry(**row) for row in rows]
                results = await mirror(stores, entries)
                batch = Progress(mirrored=sum(result.status == 1 for result in results))
                await _set_aside(stores, entries, results, batch)
                tell(batch)
                progress.mirrored += batch.mirrored
                progress.failures |= batch.failures
        await stores.database.fetch(calls.retry_pending())
        progress.failures |= (await drain(stores, tell=tell)).failures
        if await stores.mirror.end_reconciling(token, between):
            tell(Progress(reconciliations=1))
            return progress
    raise RedisUnavailable("Redis lost its data again and again while it was filled")


class Relay:
    """Runs until stopped; survives the loss of either store. Several may run at once."""

    def __init__(self, stores: Connections, poll: float = 0.02, tell: Tell = lambda _: None) -> None:
        self._stores = stores
        self._poll = poll
        self._tell = tell
        self.stopping = asyncio.Event()

    async def once(self) -> Progress:
        """Mirror what is marked now, also what was set aside; everything, if Redis or PostgreSQL aren't
        those of the last reconciliation. Raises RedisUnavailable, DatabaseUnavailable."""
        if await _servers(self._stores) != await self._stores.mirror.reconciled():
            return await reconcile(self._stores)
        await self._stores.database.fetch(calls.retry_pending())
        return await drain(self._stores)

    async def run(self) -> None:
        """Reconcile, then mirror what gets marked, until `stopping` is set; then drain and return."""
        clock = asyncio.get_running_loop().time
        waits, is_started, checked, retried, failed = 0.1, False, 0.0, clock(), None
        while not self.stopping.is_set():
            try:
                if clock() - checked >= CHECK or not is_started:
                    await self._reconcile_if_needed(is_started)
                    is_started, checked = True, clock()
                if clock() - retried >= RETRY_FAILED:
                    await self._stores.database.fetch(calls.retry_pending())
                    retried = clock()
                began = clock()
                progress = await drain(self._stores, wait=False, tell=self._tell)
                self._report(progress)
                if failed is not None:
                    log.info("going on after %.1f s: %d keys mirrored", clock() - failed, progress.mirrored)
                waits, failed = 0.1, None
                # While there is work, at most half the time goes into it.
                pause = min(self._poll, clock() - began) if progress.mirrored else self._poll
                await asyncio.gather(self._stores.marks.clear(), self._sleep(pause))
            except StoreError as error:
                failed = clock() if failed is None else failed
                log.warning("%s; trying again in %.1f s", error, waits)
                await self._sleep(waits)
                waits = min(waits * 2, 5.0)
        with contextlib.suppress(StoreError):
            self._report(await drain(self._stores, tell=self._tell))

    async def _reconcile_if_needed(self, is_started: bool) -> None:
        self._stores.mirror.retry_now()
        servers, reconciled = await _servers(self._stores), await self._stores.mirror.reconciled()
        if is_started and servers == reconciled:
            return
        lost = "Redis lost its data" if reconciled is None else "Redis or PostgreSQL is another than before"
        log.info("%s: reconciling", lost if is_started else "started")
        progress = await reconcile(self._stores, self._tell)
        self._report(progress)
        log.info("reconciled: %d keys mirrored", progress.mirrored)

    def _report(self, progress: Progress) -> None:
        for (owner, kind), why in progress.failures.items():
            log.error("set aside %s of %s: %s", kind, owner, why)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)


async def is_reconciled(stores: Connections) -> bool:
    """Tell whether a relay has brought everything to Redis since either store is what it is."""
    return await _servers(stores) == await stores.mirror.reconciled()


async def _servers(stores: Connections) -> str:
    """Tell which Redis and which PostgreSQL these are, and how Redis is to hold credentials: another after a restart
    of Redis, a failover, a restored backup, a change of MIRROR_CREDENTIALS."""
    run_id = (await stores.mirror.server())["run_id"]
    rows = await stores.database.fetch(calls.database_identity())
    return f"{run_id} {rows[0]['r']} {stores.mirror.credentials_mode}"


async def _catch_up(stores: Connections, entry: MirrorEntry) -> Applied:
    """Deal with a key of which Redis has something newer than the entry: either someone else saved and
    mirrored that just now, or PostgreSQL came back from a backup and Redis is ahead of it."""
    (found,) = await stores.mirror.inspect([Place.of(entry)])
    rows = await stores.database.fetch(calls.mirror_state([entry.owner], [entry.kind]))
    if not rows:
        return Applied(-1, found.version)
    now = MirrorEntry(**rows[0])
    if now.version < found.version or now == entry:  # read later, yet older
        return await overwrite(stores, Place.of(entry), found, entry)
    return Applied(-1, found.version)


async def _set_aside(
    stores: Connections, entries: Sequence[MirrorEntry], results: Sequence[Applied], progress: Progress
) -> None:
    for entry, result in zip(entries, results, strict=True):
        if result.error is not None:
            if result.is_servers:
                raise result.error
            progress.failures[entry.owner, entry.kind] = str(result.error)
            fail = calls.fail_pending(entry.owner, entry.kind, entry.version, str(result.error))
            await stores.database.fetch(fail)
