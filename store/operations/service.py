"""The jobs as the command line runs them: signals, logging, and reports ready to print."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from store.api.store import SettingsStore
from store.coherence.connections import Connections
from store.coherence.relay import Progress, Relay
from store.coherence.sync import NOTHING_DONE, Outcome, Prefer, Sync
from store.coherence.sync_credentials import require_mode
from store.coherence.verify import Report, verify
from store.ending import end
from store.errors import RedisUnavailable, StoreError
from store.operations.deadline import end_within
from store.operations.probe import Prober
from store.postgres import functions

if TYPE_CHECKING:
    from store.operations.metrics import Metrics

END = 8.0  # seconds, less than the 10 that Docker gives
LAG_EVERY = 10.0  # seconds between the relay's reports
KEYS_NAMED = 10_000  # of a sync; the counts are of all
CHARACTERS_TOLD = 5_000_000  # of what is wrong with these


async def run_relay(
    store: SettingsStore,
    poll: float,
    metrics_at: tuple[str, int] | None = None,
    probe_every: float | None = None,
    notify: bool = False,
) -> None:
    """Run a relay until SIGTERM or SIGINT, and END seconds on at most; log how far behind it is, serve its metrics at a
    host and port, probe every so many seconds, and have writers notify it.

    Raises ConfigError if the former can't be had, NotPermitted and NotMigrated if the probe may not.
    """
    stores = store._connections
    with _metrics(metrics_at) as metrics:
        prober = None
        if probe_every is not None:
            prober = Prober(store.config, probe_every, metrics.probing() if metrics else lambda _: None)
            await prober.check()
        relay = Relay(stores, poll, metrics.tell if metrics else lambda _: None, notify=notify)
        loop = asyncio.get_running_loop()

        def stop() -> None:
            relay.stopping.set()
            end_within(END, RedisUnavailable.exit_code)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        watchers = [asyncio.create_task(_report_lag(stores))]
        if prober:
            watchers.append(asyncio.create_task(prober.run()))
        if metrics:
            watchers.append(asyncio.create_task(metrics.watch(stores)))
        try:
            await relay.run()
        finally:
            await end(*watchers)
    logging.getLogger("store.relay").info("stopped")


async def relay_once(stores: Connections) -> tuple[Progress, dict[str, Any]]:
    """Mirror what is marked; return what was done and what is left."""
    progress = await Relay(stores).once()
    return progress, await lag(stores)


async def lag(stores: Connections) -> dict[str, Any]:
    """Ask how far Redis is behind: keys waiting, keys set aside, age of the oldest in seconds."""
    row = (await stores.database.fetch(functions.mirror.pending_lag()))[0]
    return {"waiting": row["waiting"], "set_aside": row["set_aside"], "oldest_seconds": row["oldest"].total_seconds()}


async def key_count(stores: Connections, source: str = "db") -> int | None:
    """Count the keys that a job is going to look at, about: those that PostgreSQL knows of, or all in Redis. None if
    that can't be told."""
    try:
        if source == "redis":
            return await stores.mirror.size()
        return int((await stores.database.fetch(functions.mirror.key_count()))[0]["keys"])
    except StoreError:  # rights that only the count takes, or a server away: the job itself will tell
        return None


async def verify_and_record(
    stores: Connections, okx_uid: str | None, repair: bool, force: bool, progress: Callable[[int], None]
) -> Report:
    """Verify; if all keys, record the outcome for `status` and the relay's metrics."""
    report = await verify(stores, okx_uid=okx_uid, repair=repair, force=force, progress=progress)
    if okx_uid is None:
        try:
            await stores.database.fetch(
                functions.mirror.record_verification(report.checked, report.findings, report.repaired)
            )
        except StoreError as error:  # a standby, a confined session: the report counts
            logging.getLogger("store.verify").warning("the outcome isn't recorded: %s", error)
    return report


@contextlib.contextmanager
def _metrics(at: tuple[str, int] | None) -> Iterator[Metrics | None]:
    if at is None:
        yield None
        return
    from store.operations.metrics import served

    with served(*at) as metrics:
        yield metrics


async def _report_lag(stores: Connections) -> None:
    log, was_behind = logging.getLogger("store.relay"), False
    while True:
        await asyncio.sleep(LAG_EVERY)
        try:
            behind = await lag(stores)
        except Exception as error:  # the relay itself reports what is wrong
            log.debug("no lag to report: %s", error)
            continue
        is_behind = bool(behind["waiting"] or behind["set_aside"])
        if is_behind:
            log.info("behind: %(waiting)d keys waiting, %(set_aside)d set aside, oldest %(oldest_seconds).1f s", behind)
        elif was_behind:
            log.info("caught up: no key waits")
        was_behind = is_behind


@dataclass
class SyncReport:
    """Counts by outcome, and the first keys that weren't equal."""

    outcomes: dict[str, int] = field(default_factory=dict)
    keys: list[dict[str, Any]] = field(default_factory=list)
    unresolved: int = 0


async def sync(
    stores: Connections,
    source: str,
    okx_uid: str | None,
    prefer: Prefer | None,
    dry_run: bool,
    progress: Callable[[int], None],
) -> SyncReport:
    """Sync in either direction. From PostgreSQL it is verify, with everything mended."""
    report = SyncReport()
    if source == "db":
        await require_mode(stores, okx_uid)
        checked = await verify(stores, okx_uid=okx_uid, repair=not dry_run, force=True, progress=progress)
        report.outcomes = {"ok": checked.ok, **checked.findings}
        report.keys = [{"key": f"{f.owner} {f.kind}", "outcome": f.finding} for f in checked.users]
        report.unresolved = 0 if dry_run else checked.remaining
        return report

    told = 0

    def tell(outcome: Outcome) -> None:
        nonlocal told
        if len(report.keys) == KEYS_NAMED or told > CHARACTERS_TOLD:
            return
        told += len(str(outcome.problems))
        report.keys.append({"key": outcome.redis_key, "outcome": outcome.outcome, "problems": outcome.problems})

    done = await Sync(stores, okx_uid=okx_uid, prefer=prefer, dry_run=dry_run, tell=tell, progress=progress).run()
    report.outcomes = dict(done)
    report.unresolved = sum(done[name] for name in NOTHING_DONE)
    return report
