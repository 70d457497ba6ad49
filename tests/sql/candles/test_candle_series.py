"""Candles in a row: read by pages, gaps found, coarser ones made of finer ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.candles import BTC, ETH, START, WIDTHS, candle, stored, upsert
from tests.helpers.sessions import Connection, fetch, one, refused

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
    (plan,) = [text for text in plans if "from public.ohlcv_1m" in text]
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
