"""Candles as they are written: what is finished stays, whoever writes it at the same time or imports it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.helpers.candles import BTC, ETH, START, UPSERT, WIDTHS, candle, stored, upsert
from tests.helpers.sessions import DEADLINE, Connection, Session, at_once, fetch, one, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

BEGIN_IMPORT = "select begin_candle_import('1m')"
COPY = "copy pg_temp.candle_import (ts, symbol, open, high, low, close, volume) from stdin (format csv, header)"


# -- the rule of writing


def test_candles_are_saved_once_however_often_they_come(db: Connection) -> None:
    candles = [candle(0), candle(1, complete=False), candle(0, ETH)]
    assert upsert(db, *candles) == (3, 0, 0)
    before = stored(db)
    assert [row["complete"] for row in before] == [True, False, True]
    assert upsert(db, *candles) == (0, 0, 3)
    assert upsert(db, candle(0, open=2.0, volume=10.00)) == (0, 0, 1)
    assert stored(db) == before
    assert upsert(db) == (0, 0, 0)


def test_an_unfinished_candle_is_replaced_by_whatever_comes(db: Connection) -> None:
    upsert(db, candle(complete=False))
    assert upsert(db, candle(close=2, complete=False), candle(1)) == (1, 1, 0)
    assert upsert(db, candle(close=4)) == (0, 1, 0)
    (first, _) = stored(db)
    assert (first["close"], first["complete"]) == (4, True)


def test_a_finished_candle_changes_only_by_force(db: Connection) -> None:
    upsert(db, candle(0), candle(1))
    before = stored(db)
    with refused("US005") as error:
        upsert(db, candle(1, close=4), candle(2), candle(0, close=4))
    assert error.value.diag.message_detail == f"{BTC} 2026-01-01 00:00:00+00, and 1 more"
    assert stored(db) == before
    assert upsert(db, candle(1, close=4), candle(2), force=True) == (1, 1, 0)
    assert [row["close"] for row in stored(db)] == [3, 4, 3]


@pytest.mark.parametrize("force", [False, True])
def test_an_unfinished_candle_never_replaces_a_finished_one(db: Connection, force: bool) -> None:
    upsert(db, candle(0))
    before = stored(db)
    assert upsert(db, candle(0, close=1, complete=False), force=force) == (0, 0, 1)
    assert stored(db) == before


@pytest.mark.parametrize("first", [candle(0), candle(0, complete=False)], ids=["finished", "unfinished"])
@pytest.mark.parametrize("force", [False, True])
def test_a_candle_given_twice_must_be_the_same_both_times(db: Connection, first: dict[str, Any], force: bool) -> None:
    assert upsert(db, first, first, force=force) == (1, 0, 1)
    with refused("US010") as error:
        upsert(db, first, candle(1), {**first, "close": 2}, force=force)
    assert error.value.diag.message_primary == "a candle is given twice, with different values"
    assert error.value.diag.message_detail == f"{BTC} 2026-01-01 00:00:00+00"
    assert len(stored(db)) == 1


BAD: dict[str, dict[str, Any]] = {
    "high is below open, low or close": {"high": 2.9}, "low is above open or close": {"low": 2.5},
    "a price is not above zero and finite": {"low": 0}, "volume is negative or not finite": {"volume": -1},
    "a symbol has 1-64 printable ASCII characters without spaces": {"symbol": "BTC USDT"},
    "ts is not where a candle of this timeframe begins": {"ts": "2026-01-01T00:00:30Z"},
    "a value is missing": {"open": None},
}  # fmt: skip
MORE_BAD = [
    {"high": "NaN"}, {"low": "NaN"}, {"open": "NaN"}, {"volume": "NaN"}, {"volume": "Infinity"}, {"high": "Infinity"},
    {"low": "-Infinity"}, {"symbol": ""}, {"symbol": "x" * 65}, {"symbol": "비트코인"}, {"ts": "infinity"},
    {"ts": "-infinity"}, {"complete": None}, {"ts": "yesterday noon"}, {"open": "2,5"}, {"open": []}, {"open": {}},
]  # fmt: skip


@pytest.mark.parametrize("problem", BAD)
def test_a_bad_candle_is_named_with_what_is_wrong_and_nothing_is_written(db: Connection, problem: str) -> None:
    with refused("US010") as error:
        upsert(db, candle(1), candle(2, **BAD[problem]))
    assert error.value.diag.message_primary == problem
    assert BAD[problem].get("symbol", BTC) in (error.value.diag.message_detail or "")
    assert stored(db) == []


@pytest.mark.parametrize("values", MORE_BAD, ids=str)
def test_no_value_gets_in_that_is_none(db: Connection, values: dict[str, Any]) -> None:
    for timeframe in ("1m", "1d"):
        with refused("US010"):
            upsert(db, candle(0, **values), timeframe=timeframe)
        with pytest.raises((psycopg.errors.IntegrityError, psycopg.DataError)):  # by raw SQL neither
            fetch(
                db,
                f"insert into ohlcv_{timeframe} select * from jsonb_populate_record(null::ohlcv_1m, %s)",
                (json.dumps({"complete": True, **candle(0, **values)}),),
            )
    assert stored(db) == []


def test_a_number_is_decimal_and_a_time_iso_8601_that_is_not_rounded(db: Connection) -> None:
    prices = ("open", "high", "low", "close", "volume")
    for values in (
        *({name: number} for name in prices for number in ("0x3", "0b11", "0o3", "0_3")),
        *({"ts": ts} for ts in ("today", "1/1/2026", "epoch", "20260101", "2025-12-31T24:00:00Z")),
        *({"ts": ts} for ts in ("2025-12-31T23:59:60Z", "2025-12-31T23:59:59.9999999Z")),
    ):  # fmt: skip
        with refused("US010"):
            upsert(db, candle(1), candle(0, **values))
    assert stored(db) == []


def test_a_time_may_be_written_in_many_ways(db: Connection) -> None:
    for ts in (
        "2026-01-01", "2026-01-01 00:00", "2026-01-01T00:00:00.000000000Z", "2026-01-01T09:00:00+09",
        "2026-01-01 05:30:00+05:30", "2026-01-01 00:00:00 +00:00",
    ):  # fmt: skip
        upsert(db, candle(ts=ts, open="2.", volume=".5e1"))
    assert [row["ts"] for row in stored(db)] == [START]


@pytest.mark.parametrize("candles", ["{}", "1", "null", "[1]", "[[]]", '"x"'])
def test_what_is_no_array_of_objects_is_refused_or_nothing(db: Connection, candles: str) -> None:
    with refused("US010"):
        fetch(db, UPSERT, ("1m", candles, False))


@pytest.mark.parametrize("timeframe", WIDTHS)
def test_every_timeframe_keeps_to_its_grid_in_utc(db: Connection, timeframe: str) -> None:
    fetch(db, "set timezone = 'Asia/Seoul'")
    width = WIDTHS[timeframe]
    assert upsert(db, candle(0), candle(width), timeframe=timeframe) == (2, 0, 0)
    with refused("US010") as error:
        upsert(db, candle(width // 2 if width > 1 else width, ts="2026-01-01T00:00:30Z"), timeframe=timeframe)
    assert "a candle of this timeframe begins" in (error.value.diag.message_primary or "")
    assert value(db, "select _timeframe_width(%s)", (timeframe,)) == timedelta(minutes=width)


def test_a_time_without_an_offset_is_utc(db: Connection) -> None:
    fetch(db, "set timezone = 'Asia/Seoul'")
    upsert(db, candle(ts="2026-01-01T00:00"))
    assert stored(db)[0]["ts"] == START


@pytest.mark.parametrize("timeframe", ["2m", "", "1M", "1m; drop table ohlcv_1m", '1m" x', None])
def test_a_timeframe_there_is_not_is_refused_with_those_there_are(db: Connection, timeframe: str | None) -> None:
    for call in (
        "select from upsert_candles(%s, '[]')", f"select from get_candles('{BTC}', %s)",
        "select begin_candle_import(%s)",
        f"select from missing_candles('{BTC}', %s)", "select from rollup_candles(null, %s, '1h')",
        "select from rollup_candles(null, '1m', %s)",
    ):  # fmt: skip
        with refused("US010") as error:
            fetch(db, call, (timeframe,))
        assert error.value.diag.message_detail == "known: 1m, 3m, 5m, 15m, 30m, 1h, 4h, 1d"


# -- several writers


def test_writers_of_the_same_candles_in_opposite_orders_do_not_deadlock(db: Connection, connect: Connect) -> None:
    upsert(db, *(candle(n, complete=False) for n in range(0, 200, 3)))
    candles = [candle(n) for n in range(200)]
    orders = [json.dumps(candles), json.dumps(candles[::-1])]
    at_once(connect, [(UPSERT, ("1m", orders[n % 2], False)) for n in range(12)])
    assert len(stored(db)) == 200
    assert all(row["complete"] for row in stored(db))


@pytest.mark.parametrize("there", [[], [candle(0, complete=False)]], ids=["none there", "one there"])
def test_who_waited_for_a_rivals_candle_keeps_to_the_rule(
    db: Connection, session: Open, there: Sequence[dict[str, Any]]
) -> None:
    upsert(db, *there)
    first, second, third = session(), session(), session()
    first.run("begin")
    first.run(UPSERT, ("1m", json.dumps([candle(0), candle(1)]), False))
    late = second.run_blocked(UPSERT, ("1m", json.dumps([candle(0, complete=False), candle(1), candle(2)]), False))
    other = third.run_blocked(UPSERT, ("1m", json.dumps([candle(0, close=1)]), False))
    first.run("commit")
    assert late.result(DEADLINE)[0]["unchanged"] == 2
    with refused("US005"):
        other.result(DEADLINE)
    assert [(row["close"], row["complete"]) for row in stored(db)] == [(3, True)] * 3


# -- import


@pytest.fixture
def importing(db: Connection) -> Iterator[Connection]:
    """A transaction in which an import has begun."""
    with db.transaction(force_rollback=True):
        fetch(db, BEGIN_IMPORT)
        yield db


def copy(db: Connection, *lines: str) -> None:
    with db.cursor().copy(COPY) as data:
        data.write("".join(f"{line}\n" for line in ("header", *lines)))


GOOD = f"2026-01-01 00:00,{BTC},2,4,1,3,10"


def test_what_was_copied_is_written_by_the_same_rule(importing: Connection) -> None:
    upsert(importing, candle(1, complete=False), candle(2))
    copy(importing, GOOD, *(GOOD.replace("00:00", f"00:0{n}") for n in (1, 2, 3, 3)))
    assert tuple(one(importing, "select * from merge_candles('1m')").values()) == (2, 1, 2)
    assert len(stored(importing)) == 4


@pytest.mark.parametrize(("line", "problem"), [
    (GOOD.replace(",4,", ",2,"), "line 3: high is below open, low or close"),
    (GOOD.replace("00:00", "00:00:30"), "line 3: ts is not where a candle of this timeframe begins"),
    (GOOD.replace(",3,", ",2,"), "line 2: a candle is given twice, with different values"),
])  # fmt: skip
def test_a_line_that_cannot_be_taken_is_named(importing: Connection, line: str, problem: str) -> None:
    copy(importing, GOOD, line, GOOD.replace("00:00", "00:05"))
    with refused("US010") as error:
        fetch(importing, "select from merge_candles('1m')")
    assert error.value.diag.message_primary == problem


def test_an_import_is_begun_once_and_merged_once(importing: Connection) -> None:
    with refused("US010"), importing.transaction():
        fetch(importing, BEGIN_IMPORT)
    fetch(importing, "select from merge_candles('1m')")
    with refused("US010"), importing.transaction():
        fetch(importing, "select from merge_candles('1m')")
    fetch(importing, BEGIN_IMPORT)


# Relations that a caller could put in the place of the temporary table; the view would be read with the owner's rights.
IMPOSTORS = [
    "create temporary view candle_import as select * from ohlcv_1m",
    "create temporary table candle_import (like ohlcv_1m)",
]


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_nobody_elses_table_is_merged(db: Connection, impostor: str) -> None:
    fetch(db, "grant select on ohlcv_1m to settings_writer")
    fetch(db, "set role settings_writer")
    fetch(db, impostor)
    for call in ("select begin_candle_import('1m')", "select merge_candles('1m')"):
        with refused("US010"):
            fetch(db, call)


def test_a_writer_fills_the_table_of_the_import_and_can_do_nothing_else_to_it(db: Connection) -> None:
    fetch(db, "set role settings_writer")
    with db.transaction():
        fetch(db, BEGIN_IMPORT)
        copy(db, GOOD)
        for statement in (
            "create trigger evil before insert on pg_temp.candle_import"
            " execute function suppress_redundant_updates_trigger()",
            "alter table pg_temp.candle_import add column evil text", "drop table pg_temp.candle_import",
            "create rule evil as on insert to pg_temp.candle_import do nothing", "table ohlcv_1m",
        ):  # fmt: skip
            with refused("42501"), db.transaction():
                fetch(db, statement)
        assert tuple(one(db, "select * from merge_candles('1m')").values()) == (1, 0, 0)
    assert len(fetch(db, "select * from get_candles(%s, '1m')", (BTC,))) == 1
