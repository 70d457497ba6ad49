"""`import_candles`, against COPY of the same rows into the same empty table with all its constraints."""

from __future__ import annotations

import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from benchmarks.runner import Outcome, interleave
from store import Config, SettingsStore

ROWS, REPEATS, BLOCK = 1_000_000, 5, 1 << 18
HEADER = "ts,symbol,open,high,low,close,volume,complete"
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
    """Import a file of a million candles into the empty table; as rows a second."""
    assert config.database_url
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candles.csv"
        write(path)
        async with (
            SettingsStore(config) as store,
            await psycopg.AsyncConnection.connect(config.database_url, autocommit=True) as connection,
        ):

            async def empty() -> float:
                await connection.execute("truncate ohlcv_1m")
                await connection.execute("checkpoint")
                return time.perf_counter()

            async def ours() -> float:
                start = await empty()
                with path.open("rb") as file:
                    written = await store.import_candles(file, "1m")
                seconds = time.perf_counter() - start
                assert written.inserted == ROWS
                return ROWS / seconds

            async def copy() -> float:
                start = await empty()
                async with connection.cursor().copy(COPY.encode()) as data:
                    with path.open("rb") as file:
                        while block := file.read(BLOCK):
                            await data.write(block)
                return ROWS / (time.perf_counter() - start)

            found = await interleave({"import": ours, "copy": copy}, REPEATS)
            await empty()
    return [Outcome("COPY into the same table", "rows/s", found["import"], found["copy"], 0.5, "at least")]
