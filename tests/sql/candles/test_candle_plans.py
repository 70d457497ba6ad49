"""How much of what is stored is looked at, and at once, when candles are written, rolled up and read; trades, too.

Hypertables have many chunks, of which the compressed ones are unpacked for whatever looks into them: a look has to say
by constants which it means, and must not be repeated for each row. The Apache edition compresses nothing, so that is
seen here by the plans.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from store import Config
from store.models import Candle
from store.postgres import functions
from store.postgres.call import Call
from tests.conftest import OKX_UID, janitor
from tests.helpers import plans
from tests.helpers.candles import BTC, ETH, START
from tests.helpers.sessions import Connection, fetch, value
from tests.helpers.trades import T0, record, trade

DAYS = 70  # ten chunks of ohlcv_1m
MANY, SOME, FEW = 24 * 60 * DAYS, 30_000, 100  # candles of BTC, SOL, ETH
BATCH = 60_000  # candles that a rollup reads at once
CUSTOM = plans.MODES[0]
BEGIN = "select begin_candle_import('1m'); insert into pg_temp.candle_import select * from ohlcv_1m"
AGAIN = f"{BEGIN} where symbol = '{BTC}' and ts < timestamptz '{START}' + interval '2000 minutes'"


def at(days: float) -> datetime:
    return START + timedelta(days=days)


def flat(ts: datetime, price: int = 1, symbol: str = BTC) -> Candle:
    one = Decimal(price)
    return Candle(ts, symbol, one, one, one, one, one)


def closed(number: int) -> dict[str, Any]:
    moment = (T0 - timedelta(days=30 * number)).isoformat()
    return trade(number, entry_time=moment, exit_time=moment)


@pytest.fixture(scope="module")
def filled(servers: Config, template: str) -> Iterator[str]:
    """The URL of a database with candles of ten weeks and trades of three years; no test changes it."""
    with janitor(servers.database_url or "", f"test_{uuid4().hex[:12]}", template) as database:
        url = make_conninfo(servers.database_url or "", dbname=database.dbname)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            for symbol, count in ((BTC, MANY), ("SOL-USDT-SWAP", SOME), (ETH, FEW)):
                fetch(
                    connection,
                    "insert into ohlcv_1m select %s + n * interval '1 minute', %s, n, n + 1, n, n + 1, 10,"
                    " n %% 1000 <> 0 from generate_series(1, %s) n where n <> 7",
                    (START, symbol, count),
                )
            fetch(connection, "select from ensure_user(%s)", (OKX_UID,))
            for number in range(36):
                record(connection, closed(number))
            fetch(connection, "analyze")
        yield url


@pytest.fixture
def explained(filled: str) -> Iterator[Connection]:
    with plans.explaining(filled) as connection:
        yield connection


LOOKS: dict[str, tuple[int, Callable[..., Call], tuple[Any, ...], str]] = {
    "a new candle is saved": (1, functions.candles.upsert_candles, ("1m", [flat(at(DAYS + 0.5))], False), ""),
    "one is replaced": (1, functions.candles.upsert_candles, ("1m", [flat(at(30))], True), ""),
    "two far apart are": (2, functions.candles.upsert_candles, ("1m", [flat(at(3)), flat(at(60))], True), ""),
    "one given twice is checked": (
        1, functions.candles.upsert_candles, ("1m", [flat(at(30)), flat(at(30))], True), "",
    ),
    "a file is imported": (1, functions.candles.merge_candles, ("1m", False), AGAIN),
    "a day is rolled up": (
        2, functions.candles.rollup_candles, (None, "1m", "5m", at(30), at(31), False), "",
    ),
    "a page is read": (1, functions.candles.get_candles, (BTC, "1m", at(30), at(31), None, 100), ""),
    "a day's gaps are looked for": (1, functions.candles.missing_candles, (BTC, "1m", at(30), at(31)), ""),
    "a trade is recorded again": (1, functions.trades.record_trade, (OKX_UID, json.dumps(closed(7))), ""),
    "a currency is added to one": (
        1, functions.trades.record_trade, (OKX_UID, json.dumps({**closed(7), "currency": "USDT"})), "",
    ),
    "trades of two months are": (
        2, functions.trades.record_trades, (json.dumps([{"okx_uid": OKX_UID, **closed(n)} for n in (7, 8)]),), "",
    ),
}  # fmt: skip


@pytest.mark.timescale
@pytest.mark.parametrize("name", LOOKS)
def test_only_the_chunks_that_are_meant_are_in_a_plan(explained: Connection, name: str) -> None:
    limit, function, arguments, before = LOOKS[name]
    scans = plans.scans(explained, function(*arguments), modes=[CUSTOM], before=before)
    chunks = {scan.table for scan in scans if scan.table.startswith("_hyper_")}
    assert len(chunks) <= limit, chunks


@pytest.mark.parametrize("mode", plans.MODES)
def test_an_import_joins_what_is_stored_once_and_by_no_loop(explained: Connection, mode: str) -> None:
    found = plans.executions(explained, functions.candles.merge_candles("1m", False), mode, AGAIN)
    joins = [each.kinds for each in found if "candle_import" in each.tables and len(each.tables) > 1]
    assert len(joins) == 1
    assert "Nested Loop" not in joins[0]


def test_a_rollup_reads_so_many_candles_at_once_however_many_there_are(explained: Connection) -> None:
    call = functions.candles.rollup_candles(None, "1m", "5m", None, None, False)
    read = [each.rows for each in plans.executions(explained, call, CUSTOM) if "::ohlcv_1m as c" in each.query]
    assert len(read) >= (MANY + SOME + FEW) // BATCH
    assert max(read) <= 6 * BATCH  # each is handled by every node of the plan


def test_what_is_rolled_up_in_parts_is_what_one_statement_makes(filled: str) -> None:
    """Cut within symbols and between them."""
    with psycopg.connect(filled, row_factory=dict_row) as connection:
        written = fetch(connection, "select * from rollup_candles(null, '1m', '15m', %s, %s)", (at(0.01), at(69.5)))
        expected = """
            select date_bin('15 minutes', ts, to_timestamp(0)), symbol, (array_agg(open order by ts))[1], max(high),
                   min(low), (array_agg(close order by ts desc))[1], sum(volume), count(*) = 15 and bool_and(complete)
              from ohlcv_1m
             where ts >= date_bin('15 minutes', %(from)s, to_timestamp(0)) and ts < %(to)s group by 1, 2"""
        bounds = {"from": at(0.01), "to": at(69.5)}
        for one, other in ((expected, "table ohlcv_15m"), ("table ohlcv_15m", expected)):
            assert fetch(connection, f"({one}) except ({other})", bounds) == []
        assert written[0]["inserted"] == value(connection, "select count(*) from ohlcv_15m")
        connection.rollback()


def test_what_changes_nothing_is_neither_written_nor_locked(filled: str) -> None:
    """An update of a compressed chunk would unpack it, be it to what is there already."""
    rows = "select symbol, ts, xmin::text as inserted, xmax::text as locked from ohlcv_1m"
    with psycopg.connect(filled, row_factory=dict_row) as connection:
        fetch(connection, f"{AGAIN}; create temporary table seen on commit drop as {rows}")
        fetch(connection, "update pg_temp.candle_import set close = high, complete = true where not complete")
        fetch(connection, "insert into pg_temp.candle_import values (%s, %s, 1, 1, 1, 1, 1)", (at(DAYS + 1), BTC))
        written = fetch(connection, "select * from merge_candles('1m')")
        touched = value(connection, f"select count(*) from ({rows} except table seen) r")
        assert touched == written[0]["inserted"] + written[0]["replaced"] == 2
        assert written[0]["unchanged"] > 1900
        connection.rollback()


@pytest.mark.timescale
def test_a_writer_may_unpack_as_much_as_it_takes_and_nobody_else(db: Connection) -> None:
    limit = "select current_setting('timescaledb.max_tuples_decompressed_per_dml_transaction')"
    usual = value(db, limit)
    with db.transaction():
        fetch(db, "select from upsert_candles('1m', '[]')")
        assert value(db, limit) == "0"
    assert value(db, limit) == usual != "0"
