"""The relay's metrics for Prometheus. Imported only where they are asked for, as prometheus_client is.

What the relay does is counted as it tells of it; how the stores are is asked every SAMPLE seconds, so that a relay that
hangs shows: its `relay_pass` and `sample` timestamps stand still.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

from store.coherence.connections import Connections
from store.coherence.epochs import is_reconciled
from store.coherence.relay import Progress
from store.coherence.verify import FINDINGS
from store.errors import ConfigError, DatabaseUnavailable, RedisUnavailable, StoreError
from store.operations.probe import BOUNDS, PATHS, VIOLATIONS, WRITERS, Reading
from store.postgres import functions

SAMPLE = 2.0  # seconds between looks at the stores
COUNT_KEYS = 300.0  # seconds between counts of all keys, and looks at TimescaleDB
CLIENT_TIMEOUT = 5.0  # seconds a client may be silent; each holds a thread and a connection
LAGS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)  # seconds
STALENESS = (0, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 60, 600)  # seconds
CONFIDENCE = 0.95

log = logging.getLogger("store.metrics")


@dataclass(frozen=True)
class Sample:
    """How the stores are. `keys`: how many there are; `verification`: a row of last_verification(), if any."""

    waiting: int
    set_aside: int
    oldest: float
    keys: int
    is_reconciled: bool | None  # None: Redis didn't answer
    verification: dict[str, Any] | None
    failed_jobs: int
    unreadable_chunks: int

    @property
    def wrong(self) -> int:
        """Keys that Redis hasn't, or may have otherwise: all of them until they are reconciled."""
        if self.is_reconciled is False:
            return self.keys
        remaining = self.verification["remaining"] if self.verification else 0
        return int(self.waiting + self.set_aside + remaining)


class Metrics:
    """What is served under /metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of: dict[str, Any] = {"namespace": "settings_store", "registry": self.registry}
        ProcessCollector(registry=self.registry)
        self._mirrored = Counter("relay_keys_mirrored", "Keys this relay brought to Redis.", **of)
        self._failed = Counter("relay_keys_failed", "Times this relay set aside a key that Redis can't get.", **of)
        self._reconciliations = Counter("relay_reconciliations", "Times this relay brought everything to Redis.", **of)
        self._pass = Gauge("relay_pass_timestamp_seconds", "When this relay last got through a batch of marks.", **of)
        self._lag = Histogram(
            "relay_lag_seconds", "From the mark (the start of the writer's transaction) until Redis had the key, of"
            " the keys this relay brought; without those of a reconciliation.", buckets=LAGS, **of,
        )  # fmt: skip
        self._pending = Gauge(
            "pending_keys",
            "Keys marked in PostgreSQL: waiting for a relay, or set aside with an error.",
            ["state"],
            **of,
        )
        self._oldest = Gauge("pending_age_seconds", "Age of the oldest mark that is waiting; 0 if none is.", **of)
        self._keys = Gauge("keys", f"Keys Redis has or should have, counted every {COUNT_KEYS:.0f} s.", **of)
        self._wrong = Gauge(
            "wrong_keys", "Keys Redis has not as it should: those marked, those the last verify left differing, and all"
            " until they are reconciled after Redis lost its data or either server was replaced.", **of,
        )  # fmt: skip
        self._reconciled = Gauge(
            "reconciled", "Whether a relay has brought everything to Redis since it lost its data, or either server was"
            " replaced: 0 or 1.", **of,
        )  # fmt: skip
        self._up = Gauge("up", "Whether the server answered this relay's last look.", ["server"], **of)
        self._sampled = Gauge("sample_timestamp_seconds", "When PostgreSQL last answered this relay's look.", **of)
        self._findings = Gauge("verify_findings", "Keys that the last verify of all keys found.", ["finding"], **of)
        self._remaining = Gauge(
            "verify_remaining_keys", "Keys that the last verify of all keys left: not mended, nor pending.", **of
        )
        self._verified = Gauge("verify_timestamp_seconds", "When the last verify of all keys ended; 0: never.", **of)
        self._failed_jobs = Gauge(
            "timescaledb_failed_jobs", "Jobs of TimescaleDB, as its policies, that failed when they last ran.", **of
        )
        self._unreadable_chunks = Gauge(
            "timescaledb_unreadable_chunks", "Compressed chunks that TimescaleDB's licence keeps from being read.", **of
        )
        self._reconciled.set(math.nan)
        for server in ("postgresql", "redis"):
            self._up.labels(server)
        for state in ("waiting", "set_aside"):
            self._pending.labels(state)
        for finding in FINDINGS:
            self._findings.labels(finding)

    def tell(self, progress: Progress) -> None:
        """Count what the relay did."""
        self._pass.set_to_current_time()
        self._mirrored.inc(progress.mirrored)
        self._failed.inc(len(progress.failures))
        self._reconciliations.inc(progress.reconciliations)
        for lag in progress.lags:
            self._lag.observe(lag)

    def show(self, sample: Sample) -> None:
        """Show how the stores are."""
        self._up.labels("postgresql").set(1)
        self._up.labels("redis").set(sample.is_reconciled is not None)
        self._sampled.set_to_current_time()
        self._pending.labels("waiting").set(sample.waiting)
        self._pending.labels("set_aside").set(sample.set_aside)
        self._oldest.set(sample.oldest)
        self._keys.set(sample.keys)
        self._wrong.set(sample.wrong)
        self._failed_jobs.set(sample.failed_jobs)
        self._unreadable_chunks.set(sample.unreadable_chunks)
        if sample.is_reconciled is not None:
            self._reconciled.set(sample.is_reconciled)
        if sample.verification is not None:
            for finding in FINDINGS:
                self._findings.labels(finding).set(sample.verification["findings"].get(finding, 0))
            self._remaining.set(sample.verification["remaining"])
            self._verified.set(sample.verification["finished_at"].timestamp())

    def probing(self) -> Callable[[Reading], None]:
        """Begin to show what a probe finds; return what is to be told of each of its reads."""
        of: dict[str, Any] = {"namespace": "settings_store", "registry": self.registry}
        reads = Counter("probe_reads", "Documents of the probe that were read and judged.", ["path"], **of)
        unanswered = Counter(
            "probe_unanswered", "Reads and writes of the probe without an answer, or one that can't be judged: a server"
            " was away, or replaced.", ["path"], **of,
        )  # fmt: skip
        violations = Counter(
            "probe_violations", "Reads that were wrong. content: not what PostgreSQL stored as that version; stale:"
            f" older than what was proven before the read began (cache: {BOUNDS['cache']:g} s before that).",
            ["path", "kind"], **of,
        )  # fmt: skip
        staleness = Histogram(
            "probe_staleness_seconds", "How long before the read began PostgreSQL had acknowledged something newer than"
            " what was read; 0 if it was the newest.", ["path"], buckets=STALENESS, **of,
        )  # fmt: skip
        nines = Gauge(
            "consistency_nines", "Reads of the probe that were right, in nines: -log10 of the share that is wrong at"
            f" most, at {CONFIDENCE:.0%}, by Clopper and Pearson's one-sided upper limit. Of all reads judged since"
            " this relay started; without a wrong one of n it is log10(n / 3), which is all that n support.", **of,
        )  # fmt: skip
        counts = dict.fromkeys(("reads", "violations"), 0)
        nines.set_function(lambda: consistency_nines(counts["reads"], counts["violations"]))
        for path in PATHS:
            staleness.labels(path), reads.labels(path)
            for kind in VIOLATIONS:
                violations.labels(path, kind)
        for path in (*PATHS, *WRITERS):
            unanswered.labels(path)

        def tell(reading: Reading) -> None:
            if reading.outcome == "unanswered":
                unanswered.labels(reading.path).inc()
                return
            counts["reads"] += 1
            reads.labels(reading.path).inc()
            staleness.labels(reading.path).observe(reading.staleness)
            if reading.outcome in VIOLATIONS:
                counts["violations"] += 1
                violations.labels(reading.path, reading.outcome).inc()

        return tell

    async def watch(self, stores: Connections) -> None:
        """Look at the stores until cancelled."""
        counts, counted = (0, 0, 0), -math.inf
        while True:
            try:
                if time.monotonic() - counted >= COUNT_KEYS:
                    counts = await _count(stores)
                    counted = time.monotonic()
                self.show(await _look(stores, *counts))
            except StoreError as error:
                log.debug("no sample: %s", error)
                self._up.labels("postgresql").set(not isinstance(error, DatabaseUnavailable))
            await asyncio.sleep(SAMPLE)


async def _count(stores: Connections) -> tuple[int, int, int]:
    """Count what takes long to: keys, jobs of TimescaleDB that failed, chunks that can't be read."""
    keys = (await stores.database.fetch(functions.mirror.key_count()))[0]["keys"]
    for row in await stores.database.fetch(functions.operations.timescaledb_state()):
        return keys, len(row["failed_jobs"]), row["unreadable_chunks"]
    return keys, 0, 0


async def _look(stores: Connections, keys: int, failed_jobs: int, unreadable_chunks: int) -> Sample:
    lag = (await stores.database.fetch(functions.mirror.pending_lag()))[0]
    verification = await stores.database.fetch(functions.mirror.last_verification())
    try:
        reconciled = await is_reconciled(stores)
    except RedisUnavailable:
        reconciled = None
    last = dict(verification[0]) if verification else None
    oldest = lag["oldest"].total_seconds()
    return Sample(
        lag["waiting"], lag["set_aside"], oldest, keys, reconciled, last, failed_jobs, unreadable_chunks
    )  # fmt: skip


def consistency_nines(reads: int, violations: int) -> float:
    """Say how many nines of the reads are right at least, at CONFIDENCE; 0 without reads."""
    return -math.log10(wrong_at_most(reads, violations)) if reads else 0.0


def wrong_at_most(reads: int, violations: int) -> float:
    """Return the share of reads that is wrong at most, at CONFIDENCE: Clopper and Pearson's one-sided upper limit, the
    share at which so few violations would be seen with a probability of 1 - CONFIDENCE."""
    if violations >= reads:
        return 1.0
    low, high = violations / reads, 1.0
    while high - low > 1e-12 * high:
        share = (low + high) / 2
        if _chance(reads, violations, share) > 1 - CONFIDENCE:
            low = share
        else:
            high = share
    return high


def _chance(reads: int, violations: int, share: float) -> float:
    """Return the probability of at most so many violations: the terms of the binomial distribution, largest first."""
    ways = math.lgamma(reads + 1) - math.lgamma(violations + 1) - math.lgamma(reads - violations + 1)
    term = math.exp(ways + violations * math.log(share) + (reads - violations) * math.log1p(-share))
    total = term
    for k in range(violations, 0, -1):
        term *= k * (1 - share) / ((reads - k + 1) * share)
        total += term
        if term <= 1e-15 * total:
            break
    return total


class Handler(WSGIRequestHandler):
    """Answers a client; logs nothing of it."""

    timeout = CLIENT_TIMEOUT

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # it is gone, or said nothing
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def served(host: str, port: int) -> Iterator[Metrics]:
    """Serve metrics by HTTP, from a thread of its own. Raises ConfigError if the address can't be had."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    metrics = Metrics()
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"metrics can't be served on {host} port {port}: {why}") from None
    server.RequestHandlerClass = Handler
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
