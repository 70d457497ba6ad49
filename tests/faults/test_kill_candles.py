"""An import of candles that is killed or interrupted at any point wrote nothing, and leaves nothing behind."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import Config
from tests.cli.conftest import CHECKOUT, SCRIPT, environment
from tests.faults.servers import wait_until
from tests.faults.test_kill import is_alone

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]

ROWS = 5000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [f"{1767225600 + 60 * n},BTC-USDT-SWAP,2,4,1,3,10\n" for n in range(ROWS)]
    (tmp_path / "btc.csv").write_text("ts,symbol,open,high,low,close,volume\n" + "".join(rows))
    return tmp_path / "btc.csv"


def importing(config: Config, source: str) -> subprocess.Popen[bytes]:
    command = [str(SCRIPT), "candles", "import", source, "--timeframe", "1m"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment(config), cwd=CHECKOUT, stdin=pipe, stdout=pipe, stderr=pipe)


def candles(db: Db) -> int:
    row = db.execute("select count(*) as n from ohlcv_1m").fetchone()
    assert row is not None
    return int(row["n"])


def is_there(db: Db, condition: str) -> bool:
    query = (
        f"select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and {condition}"
    )
    return db.execute(query.encode()).fetchone() is not None


def assert_nothing_is_left(db: Db) -> None:
    wait_until(lambda: is_alone(db))
    assert candles(db) == 0
    query = "select count(*) as n from pg_class where relname = 'candle_import' and pg_table_is_visible(oid)"
    row = db.execute(query.encode()).fetchone()
    assert row == {"n": 0}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_an_import_ended_while_it_reads_wrote_nothing(
    config: Config, db: Db, file: Path, number: signal.Signals
) -> None:
    with importing(config, "-") as process:
        assert process.stdin is not None
        process.stdin.write(file.read_bytes())
        process.stdin.flush()
        wait_until(lambda: is_there(db, "query like 'copy pg_temp.candle_import%'"))
        process.send_signal(number)
        assert process.wait(30) == (-number if number == signal.SIGKILL else 128 + number)
    assert_nothing_is_left(db)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_an_import_ended_while_it_writes_wrote_nothing(
    config: Config, db: Db, connect: Callable[[], Db], file: Path, number: signal.Signals
) -> None:
    """It waits for the last candle, which a rival is just inserting: all others it has written already."""
    rival = connect()
    last = f"to_timestamp({1767225600 + 60 * (ROWS - 1)})"
    with rival.transaction(force_rollback=True):
        rival.execute(f"insert into ohlcv_1m values ({last}, 'BTC-USDT-SWAP', 2, 4, 1, 3, 10)".encode())
        with importing(config, str(file)) as process:
            wait_until(lambda: is_there(db, "wait_event_type = 'Lock' and query like '%merge_candles%'"))
            process.send_signal(number)
            assert process.wait(30) == (-number if number == signal.SIGKILL else 128 + number)
    rival.close()
    assert_nothing_is_left(db)
    with importing(config, str(file)) as process:
        assert process.wait(30) == 0
    assert candles(db) == ROWS


def test_an_import_whose_server_session_ends_is_an_error_and_wrote_nothing(config: Config, db: Db, file: Path) -> None:
    with importing(config, "-") as process:
        assert process.stdin is not None
        process.stdin.write(file.read_bytes())
        process.stdin.flush()
        wait_until(lambda: is_there(db, "query like 'copy pg_temp.candle_import%'"))
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy pg_temp.candle_import%'"
        )
        process.stdin.close()
        assert process.wait(30) == 3
        assert process.stderr is not None
        error = process.stderr.read().decode()
    assert error.startswith("Error: PostgreSQL can't be reached")
    assert_nothing_is_left(db)
