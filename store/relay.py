"""The relay: brings to Redis what is marked in mirror_pending, and everything when Redis lost its data.

It only polls. A NOTIFY would save an idle query a few times a second, but it takes a database-wide lock at
commit, and a listener that hangs fills its queue until no writer can commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from store import calls
from store.connections import Connections
from store.errors import DatabaseUnavailable, RedisUnavailable, StoreError
from store.keep import keep
from store.mirror.mirror import Applied, Found, Place
from store.models import MirrorEntry

BATCH = 1000  # keys a round trip
CHECK = 1.0  # seconds between looks at which Redis this is

log = logging.getLogger("store.relay")


@dataclass
class Progress:
    """What a pass did. `failures`: (owner, kind) -> why the key was set aside."""

    mirrored: int = 0
    failures: dict[tuple[str, str], str] = field(default_factory=dict)


async def mirror(stores: Connections, entries: Sequence[MirrorEntry], *, wait: bool = True) -> list[Applied]:
    """Write entries to Redis and clear the marks of those it has now (soon, if not to `wait`). Raises
    RedisUnavailable.

    What somebody else wrote there goes into the history first.
    """
    if not entries:
        return []
    results = await stores.mirror.apply(entries)
    for i, (entry, result) in enumerate(zip(entries, results, strict=True)):
        if result.foreign is not None:
            results[i] = await _keep_then_write(stores, entry, result.foreign)
    _note_done(stores, entries, results)
    if wait:
        await stores.marks.clear()
    return results


async def drain(
    stores: Connections, owners: Sequence[str] | None = None, kinds: Sequence[str] | None = None
) -> Progress:
    """Mirror everything that is marked (of these owners and kinds). Raises RedisUnavailable, DatabaseUnavailable.

    A key that Redis refuses is set aside with the reason; a Redis that refuses all of them is unavailable.
    """
    progress = Progress()
    while True:
        rows = await stores.database.fetch(calls.pending_keys(owners, kinds, BATCH))
        entries = [MirrorEntry(**row) for row in rows]
        await _settle(stores, entries, await mirror(stores, entries), progress)
        progress.mirrored += len(entries)
        if len(rows) < BATCH:
            return progress


async def reconcile(stores: Connections) -> Progress:
    """Bring every key to Redis that it lacks or has older (or newer, if PostgreSQL came back from a backup),
    also those set aside. Content of the right version is not looked at: that is verify's."""
    run_id, _ = await stores.mirror.identity()
    progress = Progress()
    async for rows in stores.database.stream(calls.mirror_source(), BATCH):
        entries = [MirrorEntry(**row) for row in rows]
        results = await mirror(stores, entries)
        progress.mirrored += sum(result.status == 1 for result in results)
        await _settle(stores, entries, results, progress)
    await stores.database.fetch(calls.retry_pending())
    progress.failures |= (await drain(stores)).failures
    await stores.mirror.mark_reconciled(run_id)
    return progress


async def rewrite(stores: Connections, keys: Sequence[tuple[str, str, int]]) -> list[Applied]:
    """Write the current state of keys (owner, kind, the version seen in Redis), whatever version Redis has,
    unless that moved meanwhile. A result for each key that PostgreSQL knows."""
    seen = {(owner, kind): version for owner, kind, version in keys}
    rows = await stores.database.fetch(calls.mirror_state([k[0] for k in keys], [k[1] for k in keys]))
    entries = [MirrorEntry(**row) for row in rows]
    if not entries:
        return []
    results = await stores.mirror.apply(entries, [seen[entry.owner, entry.kind] for entry in entries])
    _note_done(stores, entries, results)
    await stores.marks.clear()
    return results


class Relay:
    """Runs until stopped; survives the loss of either store. Several may run at once."""

    def __init__(self, stores: Connections, poll: float = 0.02) -> None:
        self._stores = stores
        self._poll = poll
        self.stopping = asyncio.Event()

    async def once(self) -> Progress:
        """Mirror what is marked now, also what was set aside; everything, if Redis lost data since the last
        reconciliation. Raises RedisUnavailable, DatabaseUnavailable."""
        run_id, reconciled = await self._stores.mirror.identity()
        if run_id != reconciled:
            return await reconcile(self._stores)
        await self._stores.database.fetch(calls.retry_pending())
        return await drain(self._stores)

    async def run(self) -> None:
        """Reconcile, then mirror what gets marked, until `stopping` is set; then drain and return."""
        waits = 0.1
        started = False
        checked = 0.0
        clock = asyncio.get_running_loop().time
        while not self.stopping.is_set():
            try:
                if clock() - checked >= CHECK or not started:
                    started = await self._reconcile_if_needed(started)
                    checked = clock()
                progress = await drain(self._stores)
                self._report(progress)
                waits = 0.1
                await self._sleep(self._poll)
            except StoreError as error:
                log.warning("%s; trying again in %.1f s", error, waits)
                await self._sleep(waits)
                waits = min(waits * 2, 5.0)
        with contextlib.suppress(StoreError):
            self._report(await drain(self._stores))

    async def _reconcile_if_needed(self, started: bool) -> bool:
        self._stores.mirror.retry_now()
        run_id, reconciled = await self._stores.mirror.identity()
        if started and run_id == reconciled:
            return True
        why = "started" if not started else "Redis lost its data" if reconciled is None else "Redis restarted"
        log.info("%s: reconciling", why)
        progress = await reconcile(self._stores)
        self._report(progress)
        log.info("reconciled: %d keys mirrored", progress.mirrored)
        return True

    def _report(self, progress: Progress) -> None:
        for (owner, kind), why in progress.failures.items():
            log.error("set aside %s of %s: %s", kind, owner, why)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)


async def _settle(
    stores: Connections, entries: Sequence[MirrorEntry], results: Sequence[Applied], progress: Progress
) -> None:
    """Deal with what Redis did not take."""
    refused = []
    for entry, result in zip(entries, results, strict=True):
        if result.error is not None:
            if result.is_servers:
                raise result.error
            progress.failures[entry.owner, entry.kind] = str(result.error)
            await stores.database.fetch(calls.fail_pending(entry.owner, entry.kind, str(result.error)))
        elif not result.is_current:
            refused.append((entry.owner, entry.kind, result.version))
    if refused:
        # Either someone else mirrored a newer version just now, or Redis is ahead of a PostgreSQL that came
        # back from a backup. Reading again tells: the newer version is there, or it never will be.
        await rewrite(stores, refused)


async def _keep_then_write(stores: Connections, entry: MirrorEntry, found: Found) -> Applied:
    """Put what somebody else wrote into the history, then write over it."""
    place = Place(entry.owner, entry.kind, entry.suffix, entry.encoding)
    try:
        await keep(stores, [(place, found)])
    except DatabaseUnavailable:
        raise
    except StoreError as error:
        why = f"what is in {stores.mirror.keys.of(entry.owner, entry.suffix)} can't be kept: {error}"
        return Applied(-1, found.version, None, RedisUnavailable(why))
    rows = await stores.database.fetch(calls.mirror_state([entry.owner], [entry.kind]))
    now = MirrorEntry(**rows[0])
    (result,) = await stores.mirror.apply([now], [found.version])
    if result.is_current and now.document == entry.document:
        stores.marks.done(now.owner, now.kind, now.version)  # the entry, put back as a newer version
        return result
    return Applied(-1, result.version, None, result.error)


def _note_done(stores: Connections, entries: Sequence[MirrorEntry], results: Sequence[Applied]) -> None:
    for entry, result in zip(entries, results, strict=True):
        if result.is_current:
            stores.marks.done(entry.owner, entry.kind, entry.version)
