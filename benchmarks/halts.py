"""The kill switch: halted() from the cache, against get() from it; and how soon after a commit in PostgreSQL a caching
client of as many users as SIZE says is told, by a store that halts and by psql with the relay running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles

from benchmarks import people
from benchmarks.runner import Outcome, interleave, microseconds
from store import Config, SettingsStore
from store.coherence.relay import Relay

CALLS, REPEATS = 2000, 15
HALTS = 200  # and as many resumptions
LOOK = 0.0002  # seconds between looks
REACH = 50_000  # µs
PSQL = "select from {}_trading('a reason')"


async def measure(config: Config) -> list[Outcome]:
    """Measure hits, then halt and resume everybody again and again."""
    await people.empty(config)
    await people.fill_database(config, people.size(1000))
    async with SettingsStore(config, cache=100) as bot, SettingsStore(config) as operator:
        return [*await _hits(bot), await _told(bot, operator), await _told_by_relay(config, bot, operator)]


async def _hits(bot: SettingsStore) -> list[Outcome]:
    uid = people.okx_uid(0)

    async def halted(_: int) -> None:
        assert await bot.halted(uid, "BTC-USDT-SWAP") is None

    async def get(_: int) -> None:
        assert await bot.get(uid, "preferences") is not None

    sides = {"halted": halted, "get": get}
    found = await interleave(
        {name: lambda work=work: microseconds(work, CALLS) for name, work in sides.items()},  # type: ignore[misc]
        REPEATS,
    )
    return [Outcome("get() from the cache", "µs", found["halted"], found["get"], 1.0)]


async def _told(bot: SettingsStore, operator: SettingsStore) -> Outcome:
    async def change(is_halted: bool) -> None:
        await (operator.resume_trading if is_halted else operator.halt_trading)("a reason")

    return await _propagation(bot, change, "the store's call")


async def _told_by_relay(config: Config, bot: SettingsStore, operator: SettingsStore) -> Outcome:
    reconciled = asyncio.Event()
    relay = Relay(operator._connections, tell=lambda done: reconciled.set() if done.reconciliations else None)
    running = asyncio.create_task(relay.run())
    await reconciled.wait()
    async with people.servers(config) as (connection, _):

        async def change(is_halted: bool) -> None:
            await connection.execute(PSQL.format("resume" if is_halted else "halt").encode())

        outcome = await _propagation(bot, change, "a commit of psql's")
    relay.stopping.set()
    await running
    return outcome


async def _propagation(bot: SettingsStore, change: Callable[[bool], Awaitable[None]], what: str) -> Outcome:
    """Measure from just before a change until the bot is told; against the bound."""
    told: list[float] = []
    for number in range(2 * HALTS):
        is_halted = number % 2 == 1
        began = time.perf_counter()
        changing = asyncio.ensure_future(change(is_halted))
        while (await bot.halted(people.okx_uid(0)) is not None) == is_halted:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
        told.append((time.perf_counter() - began) * 1e6)
        await changing
    p50, p99 = (quantiles(told, n=100)[p - 1] for p in (50, 99))
    return Outcome(f"50 ms, p99 from {what} (p50 {p50 / 1000:.1f} ms)", "µs", [p99], [float(REACH)], 1.0)
