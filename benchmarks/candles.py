"""`import_candles`, against COPY of the same rows into the same empty table with all its constraints, and the same file
again and a backfill of it, against that import; the server's memory for a rollup, against 200 MB."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.runner import Outcome, interleave
from store import Config, SettingsStore

ROWS, REPEATS, BLOCK = 1_000_000, 5, 1 << 18
MANY, REACH = 5_000_000, 200  # candles that are rolled up, MB
LOOK = 0.05  # seconds between looks at the server's memory
HEADER = "ts,symbol,open,high,low,close,volume,complete"
FILL = f"""
insert into ohlcv_1m select timestamptz '2020-01-01Z' + n / 10 * interval '1 minute', 'S' || n % 10, 2, 4, 1, 3, 5, true
  from generate_series(0, {MANY} - 1) n order by n % 10, n"""
COPY = f"copy ohlcv_1m ({HEADER}) from stdin (format csv, header)"


def write(path: Path) -> None:
    """Write a random walk of one symbol, a candle a minute."""
    chance, ts, price = random.Random(1), datetime(2024, 1, 1, tzinfo=UTC), 40_000.0
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{HEADER}\n")
        for n in range(ROWS):
            close = max(1000.0, price + chance.uniform(-50, 50))
            high, low = max(price, close) + chance.uniform(0, 20), min(price, close) - chance.uniform(0, 20)
            moment = (ts + timedelta(minutes=n)).isoformat()
            volume = chance.uniform(0, 100)
            file.write(f"{moment},BTC-USDT-SWAP,{price:.1f},{high:.1f},{low:.1f},{close:.1f},{volume:.4f},true\n")
            price = round(close, 1)


async def measure(config: Config) -> list[Outcome]:
    """Import a file of a million candles into the empty table, again, and where every second one is missing; as rows a
    second. Then roll up five million."""
    assert config.database_url
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.csv"
        write(path)
        async with (
            SettingsStore(config) as store,
            await psycopg.AsyncConnection.connect(config.database_url, autocommit=True) as connection,
        ):

            async def run(*statements: str) -> None:
                for statement in (*statements, "checkpoint"):
                    await connection.execute(statement.encode())

            async def imported(inserted: int) -> float:
                start = time.perf_counter()
                with path.open("rb") as file:
                    written = await store.import_candles(file, "1m")
                assert written.inserted == inserted
                return ROWS / (time.perf_counter() - start)

            async def ours() -> float:
                await run("truncate ohlcv_1m")
                return await imported(ROWS)

            async def again() -> float:
                await ours()
                return await imported(0)

            async def backfill() -> float:
                await ours()
                await run(
                    "delete from ohlcv_1m where extract(minute from ts)::integer % 2 = 0", "vacuum analyze ohlcv_1m"
                )
                return await imported(ROWS // 2)

            async def copy() -> float:
                await run("truncate ohlcv_1m")
                start = time.perf_counter()
                async with connection.cursor().copy(COPY.encode()) as data:
                    with path.open("rb") as file:
                        while block := file.read(BLOCK):
                            await data.write(block)
                return ROWS / (time.perf_counter() - start)

            sides = {"import": ours, "again": again, "backfill": backfill, "copy": copy}
            found = await interleave(sides, REPEATS)
            await run("truncate ohlcv_1m", FILL)
            memory = await _peak(connection, "select from rollup_candles(null, '1m', '5m')")
            await run("truncate ohlcv_1m, ohlcv_5m")
    return [
        Outcome("COPY into the same table", "rows/s", found["import"], found["copy"], 0.5, "at least"),
        Outcome("the first import, the same file again", "rows/s", found["again"], found["import"], 0.8, "at least"),
        Outcome("the first import, half of it there", "rows/s", found["backfill"], found["import"], 0.4, "at least"),
        Outcome(f"{REACH} MB, the server's to roll up {MANY // 10**6} million", "MB", [memory], [REACH], 1),
    ]


async def _peak(connection: psycopg.AsyncConnection[Any], query: str) -> float:
    """Run a query; return the most memory of its own that the server's process had meanwhile, in MB (10^6 bytes)."""
    status = Path(f"/proc/{connection.info.backend_pid}/status")
    running = asyncio.create_task(connection.execute(query.encode()))
    peak = 0
    while not running.done():
        (line,) = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("RssAnon")]
        peak = max(peak, int(line.split()[1]))
        await asyncio.wait([running], timeout=LOOK)
    await running
    return peak * 1024 / 1e6
