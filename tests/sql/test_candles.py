"""Candles: what is finished stays, coarser ones are made of finer ones, gaps are found; and who may do it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Rows
from tests.sql.sessions import DEADLINE, Connection, Session, at_once, fetch, one, refused, value

Connect = Callable[[], Connection]
Open = Callable[[], Session]

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
START = datetime(2026, 1, 1, tzinfo=UTC)
WIDTHS = {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}  # minutes
UPSERT = "select * from upsert_candles(%s, %s, %s)"
BEGIN_IMPORT = "select begin_candle_import('1m')"
COPY = "copy pg_temp.candle_import (ts, symbol, open, high, low, close, volume) from stdin (format csv, header)"


def candle(minute: int = 0, symbol: str = BTC, **values: Any) -> dict[str, Any]:
    made = {"ts": (START + timedelta(minutes=minute)).isoformat(), "symbol": symbol}
    return {**made, "open": 2, "high": 4, "low": 1, "close": 3, "volume": 10, **values}


def upsert(db: Connection, *candles: dict[str, Any], timeframe: str = "1m", force: bool = False) -> tuple[int, ...]:
    """Save candles; return how many were inserted, replaced, unchanged."""
    return tuple(one(db, UPSERT, (timeframe, json.dumps(candles), force)).values())


def stored(db: Connection, timeframe: str = "1m") -> Rows:
    return fetch(db, f"select * from ohlcv_{timeframe} order by symbol, ts")


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
    assert value(db, "select timeframe_width(%s)", (timeframe,)) == timedelta(minutes=width)


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


# -- reading


def test_candles_are_read_by_pages_in_the_order_of_time(db: Connection) -> None:
    upsert(db, *(candle(n) for n in (5, 3, 0, 4, 1)), candle(2, ETH))
    page = "select ts from get_candles(%s, '1m', %s, %s, %s, %s)"

    def minutes(*arguments: Any) -> list[int]:
        return [int((row["ts"] - START).total_seconds() // 60) for row in fetch(db, page, (BTC, *arguments))]

    def at(n: int) -> datetime:
        return START + timedelta(minutes=n)

    assert minutes(None, None, None, None) == [0, 1, 3, 4, 5]
    assert minutes(at(1), at(5), None, None) == [1, 3, 4]
    assert minutes(None, None, None, 2) == [0, 1]
    assert minutes(None, None, at(1), 2) == [3, 4]
    assert minutes(None, None, at(5), 2) == []


def test_weeks_are_read_like_a_timeframe_but_not_written(db: Connection) -> None:
    monday = 4 * 1440  # of 2026-01-05
    upsert(db, *(candle(monday + day * 1440, open=2 + day / 10, volume=day) for day in range(8)), timeframe="1d")
    weeks = fetch(db, "select ts, open, volume, complete from get_candles(%s, '1w')", (BTC,))
    assert [(row["ts"].date().isoformat(), row["open"], row["volume"], row["complete"]) for row in weeks] == [
        ("2026-01-05", Decimal("2"), Decimal("21"), True),
        ("2026-01-12", Decimal("2.7"), Decimal("7"), False),
    ]
    with refused("US010"):
        upsert(db, candle(monday), timeframe="1w")


def test_a_page_is_read_by_the_index_and_not_sorted(db: Connection) -> None:
    fetch(
        db,
        "insert into ohlcv_1m select %s::timestamptz + n * interval '1 minute', s, 1, 1, 1, 1, 1"
        "  from generate_series(1, 5000) n, unnest(%s::text[]) s",
        (START, [BTC, ETH]),
    )
    fetch(db, "analyze ohlcv_1m")
    fetch(db, "load 'auto_explain'")
    fetch(db, "set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on")
    fetch(db, "set client_min_messages = log")
    plans: list[str] = []
    db.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
    fetch(db, "select * from get_candles(%s, '1m', p_after => %s, p_limit => 10)", (BTC, START + timedelta(days=1)))
    (plan,) = [text for text in plans if "from ohlcv_1m" in text]
    assert re.search(r'Index Scan using "?[0-9_]*ohlcv_1m_pkey', plan)  # a chunk's has a number before it
    assert "Sort" not in plan
    assert "Index Cond" in plan


# -- gaps


def gaps(db: Connection, *arguments: Any, timeframe: str = "1m") -> list[tuple[int, int, int]]:
    """Find gaps: the first minute, the end, how many are missing."""
    padded = (*arguments, None, None)[:2]
    rows = fetch(db, "select * from missing_candles(%s, %s, %s, %s)", (BTC, timeframe, *padded))
    return [
        (*(int((row[name] - START).total_seconds() // 60) for name in ("from_ts", "to_ts")), row["missing"])
        for row in rows
    ]


def test_gaps_are_ranges_between_the_first_candle_and_the_last(db: Connection) -> None:
    assert gaps(db) == []
    upsert(db, *(candle(n, complete=n != 4) for n in (1, 2, 4, 9)), candle(6, ETH))
    assert gaps(db) == [(3, 4, 1), (5, 9, 4)]


def test_gaps_of_a_range_include_its_ends(db: Connection) -> None:
    at = [START + timedelta(minutes=n) for n in range(20)]
    assert gaps(db, at[2], at[5]) == [(2, 5, 3)]
    assert gaps(db, at[2], None) == []
    upsert(db, *(candle(n) for n in (1, 4, 9)))
    assert gaps(db, at[0], at[12]) == [(0, 1, 1), (2, 4, 2), (5, 9, 4), (10, 12, 2)]
    assert gaps(db, at[4], at[5]) == []
    assert gaps(db, at[5], at[4]) == []
    half = timedelta(seconds=30)  # the candles that begin in the range
    assert gaps(db, at[5] - half, at[7] + half) == [(5, 8, 3)]
    for infinite in ("infinity", "-infinity"):
        with refused("US010"):
            fetch(db, "select from missing_candles('x', '1m', %s, now())", (infinite,))


@given(present=st.sets(st.integers(0, 40)), start=st.integers(0, 40), end=st.integers(0, 40))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_gaps_and_candles_together_are_the_whole_range(db: Connection, present: set[int], start: int, end: int) -> None:
    with db.transaction(force_rollback=True):
        upsert(db, *(candle(5 * n) for n in sorted(present)), timeframe="5m")
        bounds = [START + timedelta(minutes=5 * n) for n in (start, end)]
        found = gaps(db, *bounds, timeframe="5m")
    missing = [n for first, stop, _ in found for n in range(first // 5, stop // 5)]
    assert missing == sorted(set(range(start, end)) - present)
    assert sum(count for *_, count in found) == len(missing)


# -- rollup


def rolled_up(candles: Sequence[dict[str, Any]], finer: int, coarser: int) -> list[tuple[Any, ...]]:
    """Calculate what a rollup must give, one candle after the other."""
    buckets: dict[tuple[str, datetime], list[dict[str, Any]]] = {}
    for each in sorted(candles, key=lambda c: datetime.fromisoformat(c["ts"])):
        seconds = int(datetime.fromisoformat(each["ts"]).timestamp())
        begin = datetime.fromtimestamp(seconds - seconds % (60 * coarser), UTC)
        buckets.setdefault((each["symbol"], begin), []).append(each)
    return [
        (
            begin, symbol, Decimal(str(parts[0]["open"])), max(Decimal(str(c["high"])) for c in parts),
            min(Decimal(str(c["low"])) for c in parts), Decimal(str(parts[-1]["close"])),
            sum(Decimal(str(c["volume"])) for c in parts),
            len(parts) == coarser // finer and all(c.get("complete", True) for c in parts),
        )
        for (symbol, begin), parts in sorted(buckets.items())
    ]  # fmt: skip


PRICES = st.decimals("0.0001", "100000", places=4)


@st.composite
def series(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Make candles of five minutes with gaps, now and then an unfinished one, of one or two symbols."""
    made = []
    for symbol in (BTC, ETH)[: draw(st.integers(1, 2))]:
        for n in draw(st.sets(st.integers(0, 30))) | set(range(0, draw(st.integers(0, 15)))):
            low, open_, close, high = sorted(draw(PRICES) for _ in range(4))
            values = {"open": str(open_), "high": str(high), "low": str(low), "close": str(close)}
            volume = str(draw(st.decimals(0, 1000, places=3)))
            made.append(candle(5 * n, symbol, **values, volume=volume, complete=draw(st.integers(0, 9)) > 0))
    return made


@given(candles=series(), coarser=st.sampled_from(["15m", "30m", "1h", "4h"]))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_rollup_is_what_a_calculation_of_its_own_gives(
    db: Connection, candles: list[dict[str, Any]], coarser: str
) -> None:
    with db.transaction(force_rollback=True):
        upsert(db, *candles, timeframe="5m")
        counts = one(db, "select * from rollup_candles(null, '5m', %s)", (coarser,))
        found = [tuple(row.values()) for row in stored(db, coarser)]
        again = one(db, "select * from rollup_candles(null, '5m', %s)", (coarser,))
    assert found == rolled_up(candles, 5, WIDTHS[coarser])
    assert tuple(counts.values()) == (len(found), 0, 0)
    assert tuple(again.values()) == (0, 0, len(found))


ROLLUP = "select * from rollup_candles(%s, '1m', '5m', %s, %s, %s)"


def test_what_a_range_touches_is_rolled_up_whole(db: Connection) -> None:
    upsert(db, *(candle(n) for n in range(20)), *(candle(n, ETH) for n in range(5)))
    inside = (START + timedelta(minutes=7), START + timedelta(minutes=11))
    assert tuple(one(db, ROLLUP, (BTC, *inside, False)).values()) == (2, 0, 0)
    assert [(row["ts"].minute, row["volume"], row["complete"]) for row in stored(db, "5m")] == [
        (5, 50, True),
        (10, 50, True),
    ]
    assert tuple(one(db, ROLLUP, (BTC, None, START + timedelta(minutes=5), False)).values()) == (1, 0, 0)
    assert tuple(one(db, ROLLUP, (None, None, None, False)).values()) == (2, 0, 3)


def test_a_coarser_candle_is_finished_by_its_last_part_and_then_final(db: Connection) -> None:
    upsert(db, *(candle(n) for n in range(4)))
    assert tuple(one(db, ROLLUP, (BTC, None, None, False)).values()) == (1, 0, 0)
    upsert(db, candle(4, close=1, complete=False))
    one(db, ROLLUP, (BTC, None, None, False))
    assert [(row["close"], row["complete"]) for row in stored(db, "5m")] == [(1, False)]
    upsert(db, candle(4, close=2))
    assert tuple(one(db, ROLLUP, (BTC, None, None, False)).values()) == (0, 1, 0)
    upsert(db, candle(4, close=4), force=True)
    with refused("US005"):
        one(db, ROLLUP, (BTC, None, None, False))
    assert tuple(one(db, ROLLUP, (BTC, None, None, True)).values()) == (0, 1, 0)
    assert [(row["close"], row["complete"]) for row in stored(db, "5m")] == [(4, True)]


@pytest.mark.parametrize(("finer", "coarser"), [("1m", "1m"), ("1h", "5m"), ("3m", "5m"), ("1d", "1h")])
def test_timeframes_that_do_not_fit_are_refused(db: Connection, finer: str, coarser: str) -> None:
    with refused("US010") as error:
        fetch(db, "select from rollup_candles(null, %s, %s)", (finer, coarser))
    assert error.value.diag.message_primary == f"{coarser} can't be made of {finer}"


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
