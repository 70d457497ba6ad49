"""The relay: brings to Redis what is marked in mirror_pending, and everything when Redis lost its data.

Lanes side by side: what was committed since the last look goes at once, however much else is marked; a walk through
all marks brings the rest, and comes back to what others hold; a third does scheduled changes and rollouts. They
poll; the first may be told to look sooner (fresh_marks.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from store.batches import cut
from store.coherence import epochs, rollouts
from store.coherence.connections import Connections
from store.coherence.erased import mark_left_of_erased
from store.coherence.fresh_marks import REST, FreshMarks
from store.coherence.mirror_source import all_entries
from store.coherence.mirroring import mirror
from store.coherence.plain_text import seal_plain_text
from store.coherence.preserve import Held
from store.errors import DatabaseReadOnly, DatabaseUnavailable, RedisUnavailable, StoreError
from store.mirror.entries import Applied
from store.models import MirrorEntry
from store.postgres import functions

BATCH = 500  # keys a query
TRIES = 5  # at a Redis that keeps losing its data
CHECK = 1.0  # seconds between looks at which servers these are and at what is due, and between walks
SLOWEST = 5.0  # seconds between walks where others hold all that is left, and between tries at a server that is away
RETRY_FAILED = 60.0  # seconds until keys that were set aside are tried again
LONGEST = 60.0  # seconds a batch may take
LAST = 3.0  # seconds for what is marked when the relay is to stop
REMEMBERED = 10_000  # keys of a walk

log = logging.getLogger("store.relay")

Key = tuple[str, str]  # owner, kind


@dataclass
class Progress:
    """What a pass did. `failures`: why Redis can't get a key; `unrecorded`: the version and why, of those of them that
    couldn't be set aside, as another transaction holds the mark; `held`: keys left as they are, as another transaction
    holds or has just changed them, or PostgreSQL takes no writes; `marks`: those that Redis has the versions of;
    `lags`: seconds from the mark of a key until Redis had it."""

    mirrored: int = 0
    failures: dict[Key, str] = field(default_factory=dict)
    unrecorded: dict[Key, tuple[int, str]] = field(default_factory=dict)
    held: dict[Key, str] = field(default_factory=dict)
    marks: set[tuple[str, str, int]] = field(default_factory=set)
    lags: list[float] = field(default_factory=list)
    reconciliations: int = 0

    def add(self, batch: Progress) -> None:
        """Count a batch. Of what is many, only the first is kept; a Tell hears of all."""
        self.mirrored += batch.mirrored
        self.unrecorded |= batch.unrecorded
        if len(self.failures) + len(self.held) + len(self.marks) < REMEMBERED:
            self.failures |= batch.failures
            self.held |= batch.held
            self.marks |= batch.marks


Tell = Callable[[Progress], None]  # told of every batch as it is done, also of one without a key
Permit = Callable[[], bool]  # whether to go on


async def drain(
    stores: Connections,
    owners: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    *,
    tell: Tell = lambda _: None,
    may_go_on: Permit = lambda: True,
) -> Progress:
    """Mirror everything that is marked (of these owners, also what was set aside, and kinds), going through the marks
    once. A key that Redis refuses is set aside with the reason; one that another transaction holds stays marked. Raises
    RedisUnavailable if Redis refuses all of them, DatabaseUnavailable."""
    progress, after, is_last = Progress(), ("", ""), False
    while not is_last and may_go_on():
        async with _limited():
            rows = await stores.database.fetch(functions.mirror.pending_keys(owners, kinds, BATCH, after))
            is_last = not _is_cut(rows)
            batch = await _bring(stores, rows)
            await stores.marks.clear()
        tell(batch)
        progress.add(batch)
        if not is_last:
            after = rows[-1]["owner"], rows[-1]["kind"]
    return progress


async def reconcile(stores: Connections, tell: Tell = lambda _: None, may_go_on: Permit = lambda: True) -> Progress:
    """Bring every key to Redis that it lacks or has older (or newer, if PostgreSQL came back from a backup),
    also those set aside; take away what an older Redis has of people erased since. Content of the right version is not
    looked at: that is verify's. Raises as drain().

    Refused keys are marked, if they weren't, and set aside. Where that can't be done (see `unrecorded`), or it may not
    go on, the reconciliation counts as not done."""
    progress = Progress()
    for _ in range(TRIES):
        token = uuid.uuid4().hex
        begun = await epochs.begin_reconciling(stores, token)
        await _retry_failed(stores)
        await mark_left_of_erased(stores, may_go_on)  # first, so that nothing of it goes into the history
        async with contextlib.aclosing(stores.database.stream(all_entries(), BATCH)) as batches:
            async for rows in batches:
                for entries in cut([MirrorEntry(**row) for row in rows], lambda entry: entry.length):
                    async with _limited():
                        results = await mirror(stores, entries)
                        batch = Progress(mirrored=sum(result.status == 1 for result in results))
                        await _set_aside(stores, entries, results, batch)
                    tell(batch)
                    progress.add(batch)
                    if not may_go_on():
                        return progress
        progress.add(await drain(stores, tell=tell, may_go_on=may_go_on))
        progress.unrecorded = await _record(stores, progress.unrecorded)
        if progress.unrecorded or not may_go_on():
            return progress
        if await epochs.end_reconciling(stores, token, begun):
            tell(Progress(reconciliations=1))
            return progress
    raise RedisUnavailable("Redis lost its data again and again while it was filled")


class _Errors:
    """Catches what a lane's turn raises of the store's errors, and says how long to wait before the next."""

    def __init__(self, tell: Callable[[StoreError | None, float], None]) -> None:
        self._tell = tell
        self._since: float | None = None
        self.wait = 0.0  # seconds

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _at: object) -> bool:
        if isinstance(error, StoreError):
            self._since = self._since or time.monotonic()
            self.wait = min(2 * self.wait or 0.1, SLOWEST)
            self._tell(error, 0.0)
        elif error is None and self._since is not None:
            self._tell(None, time.monotonic() - self._since)
            self._since, self.wait = None, 0.0
        return isinstance(error, StoreError)


class Relay:
    """Runs until stopped; survives the loss of either store. Several may run at once. With `notify` writers tell it of
    what they mark, where they can."""

    def __init__(
        self, stores: Connections, poll: float = 0.02, tell: Tell = lambda _: None, *, notify: bool = False
    ) -> None:
        self._stores = stores
        self._poll = poll
        self._tell = tell
        self._fresh_marks = FreshMarks(stores.database, notify, self._polling)
        self.stopping = asyncio.Event()
        self._hurry = asyncio.Event()  # more was committed than the first lane takes: walk
        self._seen = functions.mirror.Snapshot(
            "1:1:"
        )  # the snapshot of the last look at what was committed; at first that of an empty database
        self._is_started = False
        self._marks: set[tuple[str, str, int]] = set()  # of the last walk
        self._states: dict[str, object] = {}  # that the log has told of
        self._refused: dict[Key, str] = {}  # the same of keys that are set aside

    async def once(self) -> Progress:
        """Do the scheduled changes that are due, and carry on the rollouts; then mirror what is marked now, also what
        was set aside; everything, if Redis or PostgreSQL aren't those of the last reconciliation. Raises
        RedisUnavailable, DatabaseUnavailable."""
        while await self._stores.database.fetch(functions.schedules.run_due_changes()):
            pass
        await rollouts.watch(self._stores)
        now = await epochs.servers(self._stores)
        if not await epochs.is_reconciled(self._stores, now):
            return await reconcile(self._stores)
        await epochs.turn(self._stores, now)
        await _retry_failed(self._stores)
        return await drain(self._stores)

    async def run(self) -> None:
        """Reconcile, and mirror what gets marked, until `stopping` is set; then, for LAST seconds at most, what is
        marked, and return."""
        lanes = [asyncio.create_task(lane()) for lane in (self._fresh, self._rest, self._due)]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            await self._fresh_marks.close()
        end = time.monotonic() + LAST
        with contextlib.suppress(StoreError):
            await drain(self._stores, tell=self._note, may_go_on=lambda: time.monotonic() < end)

    async def _fresh(self) -> None:
        """Bring what was committed since the last look."""
        errors = _Errors(self._failing)
        while self._may_go_on():
            began = time.monotonic()
            with errors:
                async with _limited():
                    rows = await self._fresh_marks.fetch(self._seen, BATCH)
                    seen, rows = rows[0]["seen"], [row for row in rows if row["owner"] is not None]
                    if _is_cut(rows):
                        self._hurry.set()
                    batch = await _bring(self._stores, rows)
                self._seen = seen
                self._note(batch)
                # While there is work, at most half the time goes into it.
                idle = 0.0 if self._fresh_marks.rests else self._poll
                pause = min(self._poll, time.monotonic() - began) if batch.mirrored else idle
                await asyncio.gather(self._stores.marks.clear(), self._pause(pause))
                if self._fresh_marks.rests:
                    with self._fresh_marks.told() as told:
                        await self._pause(max(REST, self._poll), told)
            await self._pause(errors.wait)

    async def _rest(self) -> None:
        """Reconcile if need be; bring the rest of what is marked by a walk through it, again and again."""
        errors, clock = _Errors(self._failing), time.monotonic
        pace, walk, retry, reconciliation = CHECK, 0.0, clock() + RETRY_FAILED, 0.0  # the last three: not before
        while self._may_go_on():
            with errors:
                began = clock()
                if began >= reconciliation:
                    is_done = await self._is_reconciled()
                    # Half the time at most, whoever takes the relay's mark from Redis.
                    reconciliation = clock() + max(clock() - began, 0.0 if is_done else SLOWEST)
                if clock() >= retry:
                    await _retry_failed(self._stores)
                    self._refused, retry = {}, clock() + RETRY_FAILED
                    self._hurry.set()
                if self._hurry.is_set() or clock() >= walk:
                    self._hurry.clear()
                    began = clock()
                    progress = await drain(self._stores, tell=self._note, may_go_on=self._may_go_on)
                    pace = min(2 * pace, SLOWEST) if self._is_held_up(progress) else CHECK
                    walk = clock() + max(pace, clock() - began)
            await self._pause(errors.wait or CHECK, self._hurry)

    async def _due(self) -> None:
        """Do the scheduled changes that are due, and carry on the rollouts, which takes PostgreSQL only: a Redis that
        is away, or a long reconciliation, delays none. The first lane brings what they change."""
        errors = _Errors(self._failing_changes)
        while self._may_go_on():
            with errors:
                while self._may_go_on():
                    async with _limited():
                        done = await self._stores.database.fetch(functions.schedules.run_due_changes())
                    for row in done:
                        self._tell_of_change(row["schedule_id"], row["state"], row["note"])
                    if not done:
                        break
                await self._watch_rollouts()
            await self._pause(errors.wait or CHECK)

    async def _is_reconciled(self) -> bool:
        """Reconcile if either server isn't what it was; return False if that couldn't be finished."""
        self._stores.mirror.retry_now()
        now = await epochs.servers(self._stores)
        if self._is_started and await epochs.is_reconciled(self._stores, now):
            await epochs.turn(self._stores, now)
            return True
        is_known = all(await epochs.marks(self._stores))
        why = (
            "Redis or PostgreSQL is another than before, or at an earlier state" if is_known else "Redis lost its data"
        )
        self._say(
            "reconciliation", now.name, "%s: reconciling", why if self._is_started else "started", level=logging.INFO
        )
        progress = await reconcile(self._stores, self._note, self._may_go_on)
        if progress.unrecorded:
            text = "not reconciled: other transactions hold the marks of keys that Redis refuses (%d)"
            self._say("unrecorded", "some", text, len(progress.unrecorded))
        elif self._may_go_on():
            self._is_started = True
            self._states.pop("reconciliation")
            self._states.pop("unrecorded", None)
            log.info("reconciled: %d keys mirrored", progress.mirrored)
        return not progress.unrecorded

    async def _watch_rollouts(self) -> None:
        """Carry on the rollouts. That they can't be keeps nothing from Redis."""
        problem = await rollouts.watch(self._stores, self._may_go_on)
        self._say("rollouts", problem, "rollouts wait: %s", problem, over="rollouts go on")

    def _is_held_up(self, progress: Progress) -> bool:
        """Tell whether something is left of a walk that others hold, and log that."""
        stays, self._marks = len(progress.marks & self._marks), progress.marks
        why = str(self._stores.marks.refusal or "other transactions hold them")
        text = "marks stay though Redis has what they stand for (%d): %s"
        self._say("marks", why if stays else None, text, stays, why, over="no mark stays any more")
        held = next(iter(progress.held.values()), None)
        self._say("keys", held, "keys wait (%d): %s", len(progress.held), held, over="no key waits for others any more")
        return bool(stays or held)

    def _note(self, batch: Progress) -> None:
        """Tell of a batch, and log what was refused."""
        self._tell(batch)
        for (owner, kind), why in batch.failures.items():
            if len(self._refused) >= REMEMBERED:
                self._say("refused", "many", "set aside more than %d keys: see mirror_pending", REMEMBERED)
            elif self._refused.get((owner, kind)) != why:
                self._refused[owner, kind] = why
                log.error("set aside %s of %s: %s", kind, owner, why)

    def _failing(self, error: StoreError | None, seconds: float) -> None:
        kind = None if error is None else type(error)
        self._say("servers", kind, "%s; trying again until it works", error, over=f"going on after {seconds:.1f} s")

    def _polling(self, why: str | None) -> None:
        self._say("notify", why, "no writer notifies, so this polls: %s", why, over="writers notify")

    def _tell_of_change(self, number: int, state: str, note: str | None) -> None:
        """Log what became of a scheduled change; once, if others keep it waiting."""
        level = logging.INFO if note is None else logging.WARNING
        self._say(f"schedule {number}", (state, note), "schedule %d is %s%s", number, state,
                  "" if note is None else f": {note}", level=level)  # fmt: skip
        if state not in ("waiting", "active"):
            del self._states[f"schedule {number}"]

    def _failing_changes(self, error: StoreError | None, seconds: float) -> None:
        kind = None if error is None else type(error)
        text = "scheduled changes: %s; trying again until it works"
        self._say("changes", kind, text, error, over=f"scheduled changes: going on after {seconds:.1f} s")

    def _say(
        self, what: str, state: object, text: str, *values: object, over: str = "", level: int = logging.WARNING
    ) -> None:
        """Log a state once: when it begins, and (`over`) when it has ended, that is, is None."""
        if state == self._states.get(what):
            return
        if state is None:
            del self._states[what]
            log.info(over)
        else:
            self._states[what] = state
            log.log(level, text, *values)

    def _may_go_on(self) -> bool:
        return not self.stopping.is_set()

    async def _pause(self, seconds: float, *events: asyncio.Event) -> None:
        """Wait, but no longer if one of these events comes, or the relay is to stop."""
        if seconds:
            waiting = [asyncio.create_task(event.wait()) for event in (self.stopping, *events)]
            try:
                await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()


async def _bring(stores: Connections, rows: Sequence[dict[str, Any]]) -> Progress:
    """Mirror marked keys, set aside those that Redis refuses; the marks of the others are for the caller to clear."""
    batch, read, waited, known = Progress(), time.monotonic(), [], []
    for row in rows:
        entry = MirrorEntry(**{name: row[name] for name in MirrorEntry.__slots__ if name in row})
        if entry.suffix is None:  # PostgreSQL has nothing there, not even that it was deleted
            stores.marks.done(entry, entry.version)
        else:
            known.append(entry)
            waited.append(row["waited"])
    known = await seal_plain_text(stores, known)
    results = await mirror(stores, known, wait=False)
    since = time.monotonic() - read
    for entry, result, wait in zip(known, results, waited, strict=True):
        if result.is_current:
            batch.lags.append(wait + since)
            batch.marks.add((entry.owner, entry.kind, entry.version))
    batch.mirrored = len(batch.lags)
    await _set_aside(stores, known, results, batch)
    return batch


async def _set_aside(
    stores: Connections, entries: Sequence[MirrorEntry], results: Sequence[Applied], progress: Progress
) -> None:
    """Deal with what couldn't be written: what Redis refuses is marked and set aside, what is held stays marked."""
    refused: dict[Key, tuple[int, str]] = {}
    for entry, result in zip(entries, results, strict=True):
        if result.is_servers and result.error is not None:
            raise result.error
        if isinstance(result.error, Held | DatabaseReadOnly):
            progress.held[entry.owner, entry.kind] = str(result.error)
        elif result.error is not None:
            refused[entry.owner, entry.kind] = (entry.version, str(result.error))
        elif not result.serves(entry.version):
            progress.held[entry.owner, entry.kind] = "another transaction changed it meanwhile"
    progress.failures.update({key: why for key, (_, why) in refused.items()})
    progress.unrecorded.update(await _record(stores, refused))


async def _record(stores: Connections, refused: dict[Key, tuple[int, str]]) -> dict[Key, tuple[int, str]]:
    """Mark as set aside what can't be brought to Redis; return what can't be marked now."""
    if not refused:
        return {}
    try:
        items = [(*key, version, why) for key, (version, why) in refused.items()]
        rows = await stores.database.fetch(functions.mirror.fail_pending(items))
    except DatabaseReadOnly:
        return refused
    return {key: refused[key] for row in rows for key in [(row["owner"], row["kind"])]}


async def _retry_failed(stores: Connections) -> None:
    with contextlib.suppress(DatabaseReadOnly):
        await stores.database.fetch(functions.mirror.retry_pending())


def _is_cut(rows: Sequence[dict[str, Any]]) -> bool:
    """Tell whether there may be more than these rows."""
    return len(rows) >= BATCH or sum(len(row["document"] or "") for row in rows) >= functions.mirror.CHARACTERS


@contextlib.asynccontextmanager
async def _limited() -> AsyncIterator[None]:
    """Give up what takes too long, whatever it is. Raises DatabaseUnavailable."""
    try:
        async with asyncio.timeout(LONGEST):
            yield
    except TimeoutError:
        raise DatabaseUnavailable(f"PostgreSQL: a batch took more than {LONGEST:g} s") from None
