"""Whether the store is healthy, for probes: both servers, the schema, and whether Redis is kept up to date.

Each server is asked in a thread of its own, which is left behind when the time is up: where a server hangs, not even
cancelling a statement comes to an end.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from store.coherence.connections import Connections
from store.coherence.epochs import is_reconciled
from store.config import Config
from store.errors import DatabaseUnavailable, RedisUnavailable, StoreError, first_line
from store.operations.logs import without_passwords
from store.postgres import functions, migrate

Probe = Callable[[Connections], Awaitable[str | None]]  # returns what is wrong


@dataclass(frozen=True)
class Check:
    """One thing looked at: what is wrong with it, None if nothing is."""

    name: str
    problem: str | None = None
    is_away: bool = False  # a server can't be reached


def check(config: Config, max_age: float, timeout: float) -> list[Check]:
    """Look at PostgreSQL and its schema, at Redis, and at the relay's work, in `timeout` seconds at most.

    A key that has waited for a relay for more than `max_age` seconds is a problem.
    """
    probes: dict[str, Probe] = {
        "postgresql": lambda stores: _postgresql(config, stores),
        "redis": _redis,
        "relay": lambda stores: _relay(stores, max_age),
    }
    answers: dict[str, Check] = {}
    threads = [threading.Thread(target=_ask, args=(config, *probe, answers), daemon=True) for probe in probes.items()]
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no answer within {timeout:g} s"
    *servers, relay = [answers.get(name) or Check(name, silent, is_away=True) for name in probes]
    if relay.is_away and any(server.is_away for server in servers):
        relay = Check(relay.name, "not known without both servers", is_away=True)
    return [*servers, relay]


def _ask(config: Config, name: str, probe: Probe, answers: dict[str, Check]) -> None:
    async def answer() -> None:
        stores = Connections(config)
        try:
            answers[name] = Check(name, await probe(stores))
        except (DatabaseUnavailable, RedisUnavailable) as error:
            answers[name] = Check(name, str(error), is_away=True)
        except StoreError as error:
            answers[name] = Check(name, str(error))
        except Exception as error:  # a probe says what is wrong, whatever it is
            answers[name] = Check(name, without_passwords(f"{type(error).__name__}: {first_line(error)}"))
        finally:
            await stores.close()

    asyncio.run(answer())


async def _postgresql(config: Config, stores: Connections) -> str | None:
    state = migrate.status(config.database_url or "")
    if state.is_current:
        rows = await stores.database.fetch(functions.operations.timescaledb_state())
        return "; ".join(timescaledb_problems(rows[0])) or None if rows else None
    wrong = [f"{name} is pending" for name in state.pending] + [f"{name}: {why}" for name, why in state.drifted.items()]
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return f"schema: {'; '.join(wrong[:3])}{more}: run settings-store migrate"


def timescaledb_problems(state: dict[str, Any]) -> list[str]:
    """Say what is wrong with a row of timescaledb_state()."""
    problems = []
    if jobs := state["failed_jobs"]:
        more = f" and {len(jobs) - 3} more" if len(jobs) > 3 else ""
        problems.append(
            f"TimescaleDB's jobs failed: {', '.join(jobs[:3])}{more}: timescaledb_information.job_errors says why"
        )
    if chunks := state["unreadable_chunks"]:
        problems.append(
            f"the licence {state['licence']} can't read {chunks} compressed chunks, whose rows are missing from every"
            " answer: set timescaledb.license = timescale (docs/timescaledb.md)"
        )
    return problems


async def _redis(stores: Connections) -> None:
    await stores.mirror.server()


async def _relay(stores: Connections, max_age: float) -> str | None:
    lag = (await stores.database.fetch(functions.mirror.pending_lag()))[0]
    oldest = lag["oldest"].total_seconds()
    problems = []
    if oldest > max_age:
        problems.append(f"keys waiting: {lag['waiting']}, the oldest for {oldest:.0f} s: is a relay running?")
    if lag["set_aside"]:
        problems.append(f"keys set aside, as Redis can't get them: {lag['set_aside']}; the relay's log says why")
    if not await is_reconciled(stores):
        problems.append(
            "no relay has brought everything to Redis since it was empty or lost its data, or either server was"
            " replaced (settings-store relay, or relay --once)"
        )
    return "; ".join(problems) or None
