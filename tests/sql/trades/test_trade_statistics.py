"""Figures of trades, against an independent calculation on random trades, and by hand in the corners."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.past import hourly
from tests.helpers.sessions import Connection, fetch, one, refused
from tests.helpers.trades import HOUR, RECORD_ALL, T0, array, record, trade
from tests.sql.trades.calculated import NO_TRADES, Row, assert_equal, calculated, curve, net_of, period_of

OTHER = "1000000000000001"
STATISTICS = "select * from trade_statistics(%s)"
GROUPED = "select * from trade_statistics(%s, p_group_by => %s)"
BY_VERSION = "select * from trade_statistics_by_setting_version(%s, %s)"
BY_VALUE = "select * from trade_statistics_by_setting_value(%s, %s, p_identifier => %s)"
CURVE = "select * from equity_curve(%s)"
GROUP_COLUMNS = ("okx_uid", "symbol", "side", "period", "version", "saved_at", "value", "currency")


def closed(number: int, pnl: Any, exit_time: datetime, **columns: Any) -> Row:
    return trade(
        number, realized_pnl=str(pnl), entry_time=(exit_time - HOUR).isoformat(), exit_time=exit_time.isoformat(),
        **columns,
    )  # fmt: skip


def closed_daily(*pnls: Any) -> list[Row]:
    """Trades closed a day apart with this PnL."""
    return [closed(n, pnl, T0 + n * timedelta(days=1)) for n, pnl in enumerate(pnls)]


def figures(row: Row) -> Row:
    return {name: row[name] for name in row if name not in GROUP_COLUMNS}


VALUES = {(OKX_UID, 1): 1, (OKX_UID, 2): 2, (OKX_UID, 3): 1, (OTHER, 1): 2}  # of params.n, by version
# Cents, so that doubles tell break-even trades and days that are all equal as exactly as numeric does.
CENTS = st.integers(-50_000, 50_000).map(lambda cents: Decimal(cents) / 128)
FEES = st.integers(-200, 200).map(lambda cents: Decimal(cents) / 128)
EXITS = st.one_of(
    st.sampled_from(
        [T0, T0 + HOUR, datetime(2026, 11, 22, 23, 59, 59, 999999, UTC), datetime(2026, 11, 23, tzinfo=UTC)]
    ),
    st.datetimes(datetime(2026, 9, 1), datetime(2027, 2, 1)).map(lambda moment: moment.replace(tzinfo=UTC)),
)
RANDOM = st.fixed_dictionaries(
    {
        "okx_uid": st.sampled_from([OKX_UID, OTHER]), "symbol": st.sampled_from(["BTC", "ETH"]),
        "side": st.sampled_from(["long", "short"]), "realized_pnl": CENTS | st.sampled_from([Decimal(0), Decimal(5)]),
        "entry_fee": FEES, "exit_fee": FEES, "funding_fee": st.none() | FEES,
        "currency": st.sampled_from([None, "USDT", "USDT", "BTC"]), "exit_time": EXITS,
        "held": st.timedeltas(timedelta(0), timedelta(days=40)),
    }
)  # fmt: skip


@contextmanager
def recorded(db: Connection, trades: Sequence[Row]) -> Iterator[list[Row]]:
    """Record trades in a transaction that is undone; yield their rows."""
    given = [
        {**trade(n), **{key: value if isinstance(value, str | None) else str(value) for key, value in each.items()},
         "exit_time": each["exit_time"].isoformat(), "entry_time": (each["exit_time"] - each["held"]).isoformat()}
        for n, each in enumerate(trades)
    ]  # fmt: skip
    for each in given:
        each.pop("held")
    with db.transaction(force_rollback=True):
        fetch(db, RECORD_ALL, (json.dumps(given),))
        yield fetch(db, "table trades")


@pytest.fixture
def people(db: Connection) -> Connection:
    """Two users with versions of params within the time of the random trades."""
    for uid, telegram_id in ((OKX_UID, TELEGRAM_ID), (OTHER, "77777")):
        fetch(db, "select from ensure_user(%s, %s)", (uid, telegram_id))
    hourly(db, OKX_UID, "params", [1, 2, 1], datetime(2026, 11, 22, 9, tzinfo=UTC))
    hourly(db, OTHER, "params", [2], datetime(2026, 11, 1, tzinfo=UTC))
    return db


def grouped(rows: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    return {which: [row for row in rows if key(row) == which] for which in {key(row) for row in rows}}


KEYS: dict[str, Callable[[Row], Row]] = {
    "user": lambda row: {"okx_uid": row["okx_uid"]},
    "symbol": lambda row: {"symbol": row["symbol"]},
    "side": lambda row: {"side": row["side"]},
    "day": lambda row: {"period": period_of("day", row["exit_time"])},
    "week": lambda row: {"period": period_of("week", row["exit_time"])},
    "month": lambda row: {"period": period_of("month", row["exit_time"])},
    "params": lambda row: {"okx_uid": row["okx_uid"], "version": row["params_version"]},
    "params.n": lambda row: {"value": VALUES.get((row["okx_uid"], row["params_version"]))},
}


def group_by(by: Sequence[str], row: Row) -> tuple[Any, ...]:
    """The group a trade of the table is in."""
    groups = ChainMap(*(KEYS[word](row) for word in by), {"currency": row["currency"]}, dict.fromkeys(GROUP_COLUMNS))
    return group_of(groups)


def group_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in GROUP_COLUMNS if name != "saved_at")


@settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(RANDOM, max_size=25), st.sampled_from(["day", "week", "month"]),
    st.one_of(st.none(), st.integers(1, 2000)), st.sampled_from([1, 252, 365]),
)  # fmt: skip
def test_random_trades_have_the_figures_that_are_calculated(
    people: Connection, trades: list[Row], period: str, capital: int | None, year_days: int
) -> None:
    query = "select * from trade_statistics(%s, p_group_by => %s, p_year_days => %s, p_capital => %s, p_currency => %s)"
    with recorded(people, trades) as rows:
        for whom, mine in ((None, rows), (TELEGRAM_ID, [row for row in rows if row["okx_uid"] == OKX_UID])):
            found = {row["currency"]: figures(row) for row in fetch(people, STATISTICS, (whom,))}
            expected = grouped(mine, lambda row: row["currency"]) or {None: []}
            assert found.keys() == expected.keys()
            for currency, those in expected.items():
                assert_equal(found[currency], calculated(those))
                points = [row for row in fetch(people, CURVE, (whom,)) if row["currency"] == currency]
                assert [row["time"] for row in points] == [moment for moment, _ in curve(those)]
                assert [float(row["equity"]) for row in points] == pytest.approx([y for _, y in curve(those)])
        usdt = [row for row in rows if row["currency"] == "USDT"]
        for by in (
            [],
            ["user"],
            ["side", "symbol"],
            ["user", period],
            ["params"],
            ["params.n"],
            ["symbol", "params.n"],
        ):
            of_groups = fetch(people, query, (None, by, year_days, capital, "USDT"))
            names = dict.fromkeys(GROUP_COLUMNS) | {"currency": "USDT"}
            key = lambda row: tuple({**names, **{n: v for g in by for n, v in KEYS[g](row).items()}}.values())  # noqa: B023, E731
            expected = grouped(usdt, key)
            shown = [{**row, "saved_at": None} for row in of_groups if row["trades"]]
            assert {tuple(row[name] for name in GROUP_COLUMNS) for row in shown} == expected.keys()
            assert len(shown) == len(expected)
            for row in shown:
                those = expected[tuple(row[name] for name in GROUP_COLUMNS)]
                assert_equal(figures(row), calculated(those, year_days, capital))


@given(
    st.lists(RANDOM, min_size=1, max_size=12),
    st.sampled_from(["BTC", None]), st.sampled_from(["short", None]), st.sampled_from([T0, None]),
    st.sampled_from([T0 + HOUR, None]), st.sampled_from(["USDT", None]),
)  # fmt: skip
@settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_function_tells_of_the_selected_trades(
    people: Connection, trades: list[Row], symbol: str | None, side: str | None, since: Any, until: Any,
    currency: str | None,
) -> None:  # fmt: skip
    with recorded(people, trades) as rows:
        selected = [
            row for row in rows
            if symbol in (None, row["symbol"]) and side in (None, row["side"]) and currency in (None, row["currency"])
            and (since is None or row["exit_time"] >= since) and (until is None or row["exit_time"] < until)
        ]  # fmt: skip
        for call in ("trade_statistics(", "trade_statistics_by_setting_version(",
                     "trade_statistics_by_setting_value('params', 'n', ", "equity_curve("):  # fmt: skip
            query = (
                f"select coalesce(sum(trades), 0) as trades, coalesce(sum(net_pnl), 0) as net_pnl from {call}"
                "p_symbol => %s, p_side => %s, p_from => %s, p_to => %s, p_currency => %s)"
            )
            found = one(people, query, (symbol, side, since, until, currency))
            assert found["trades"] == len(selected)
            assert float(found["net_pnl"]) == pytest.approx(sum(map(net_of, selected)), abs=1e-9)


# -- by hand


def test_without_trades_there_is_one_row_of_nothing_and_no_group(people: Connection) -> None:
    for whom in (None, OKX_UID):
        assert figures(one(people, STATISTICS, (whom,))) == NO_TRADES
        assert fetch(people, GROUPED, (whom, ["symbol"])) == []
        assert fetch(people, BY_VERSION, (whom, "params")) == []


def test_one_trade(people: Connection) -> None:
    record(people, trade(realized_pnl=5, entry_fee="0.5", exit_fee="-0.1", entry_time=(T0 - HOUR).isoformat()))
    found = one(people, STATISTICS, (OKX_UID,))
    assert figures(found) == {
        **NO_TRADES, "users": 1, "trades": 1, "expectancy": Decimal("4.6"), "longest_win_streak": 1,
        "wins": 1, "win_rate": 1, "gross_profit": Decimal("4.6"), "realized_pnl": 5,
        "fees": Decimal("0.4"), "net_pnl": Decimal("4.6"), "best": Decimal("4.6"), "worst": Decimal("4.6"),
        "average": Decimal("4.6"), "average_win": Decimal("4.6"), "average_holding": 2 * HOUR, "min_holding": 2 * HOUR,
        "max_holding": 2 * HOUR, "first_exit": T0 + HOUR, "last_exit": T0 + HOUR,
    }  # fmt: skip
    assert [found[name] for name in GROUP_COLUMNS] == [None] * 8


def test_losses_only(people: Connection) -> None:
    fetch(people, RECORD_ALL, (array(*closed_daily(-1, -2, -3)),))
    found = one(people, STATISTICS, (OKX_UID,))
    assert (found["win_rate"], found["profit_factor"], found["gross_profit"], found["gross_loss"]) == (0, 0, 0, 6)
    assert (found["max_drawdown"], found["best"], found["worst"]) == (6, -1, -3)
    assert (found["average_win"], found["average_loss"]) == (None, 2)
    assert float(found["sharpe"]) == pytest.approx(-2 * np.sqrt(365))


def test_wins_only_have_no_profit_factor_and_no_drawdown(people: Connection) -> None:
    fetch(people, RECORD_ALL, (array(*closed_daily(1, 2)),))
    found = one(people, STATISTICS, (OKX_UID,))
    assert (found["profit_factor"], found["max_drawdown"], found["average_loss"]) == (None, 0, None)


def test_a_fee_makes_a_trade_that_gained_a_loss(people: Connection) -> None:
    record(people, trade(realized_pnl="1", entry_fee="0.6", exit_fee="0.6"))
    found = one(people, STATISTICS, (OKX_UID,))
    assert (found["losses"], found["gross_loss"], found["realized_pnl"]) == (1, Decimal("0.2"), 1)


def test_the_drawdown_is_the_deepest_fall_not_the_lowest_point(people: Connection) -> None:
    fetch(people, RECORD_ALL, (array(*closed_daily(10, -4, 1, -5, 20, -7)),))
    assert one(people, STATISTICS, (OKX_UID,))["max_drawdown"] == 8


def test_trades_closed_at_one_moment_are_one_step_whatever_their_order(people: Connection) -> None:
    fetch(people, RECORD_ALL, (array(*(closed(n, pnl, T0) for n, pnl in enumerate((-5, 3, -2, 10, -4)))),))
    found = one(people, STATISTICS, (OKX_UID,))
    assert (found["net_pnl"], found["max_drawdown"], found["sharpe"]) == (2, 0, None)


@pytest.mark.parametrize("pnls", [("0.1", "0.1", "0.1"), (0, 0), ("1e-20", "1e-20")])
def test_days_that_are_all_equal_have_no_sharpe_ratio(people: Connection, pnls: tuple[Any, ...]) -> None:
    fetch(people, RECORD_ALL, (array(*closed_daily(*pnls)),))
    assert one(people, STATISTICS, (OKX_UID,))["sharpe"] is None


def test_a_day_without_a_trade_counts(people: Connection) -> None:
    fetch(people, RECORD_ALL, (array(closed(1, 2, T0), closed(2, 2, T0 + timedelta(days=2))),))
    daily = np.array([2, 0, 2])
    found = one(people, "select * from trade_statistics(p_year_days => 1)")
    assert float(found["sharpe"]) == pytest.approx(daily.mean() / daily.std(ddof=1))


def test_money_is_exact(people: Connection) -> None:
    tiny = "0.000000000000000000000000000001"
    fetch(people, RECORD_ALL, (array(*closed_daily("100000000000000000000000000000", tiny, "-0.3", "0.1", "0.2")),))
    assert one(people, STATISTICS, (OKX_UID,))["net_pnl"] == Decimal(f"100000000000000000000000000000.{tiny[2:]}")


def test_versions_earned_what_their_trades_did(people: Connection) -> None:
    """Versions 1, 2, 3 of params from 9, 10 and 11 o'clock; the figures come with when each was saved."""
    nine = datetime(2026, 11, 22, 9, tzinfo=UTC)
    entries = {nine - HOUR: 7, nine: 1, nine + HOUR / 2: 2, nine + 2 * HOUR: -4}
    given = [
        trade(n, entry_time=entry.isoformat(), exit_time=(nine + 9 * HOUR).isoformat(), realized_pnl=pnl)
        for n, (entry, pnl) in enumerate(entries.items())
    ]
    fetch(people, RECORD_ALL, (array(*given),))
    record(people, trade(), OTHER)
    found = fetch(people, BY_VERSION, (OKX_UID, "params"))
    assert [(row["okx_uid"], row["version"], row["saved_at"], row["trades"], row["net_pnl"]) for row in found] == [
        (OKX_UID, 1, nine, 2, 3), (OKX_UID, 3, nine + 2 * HOUR, 1, -4), (OKX_UID, None, None, 1, 7)
    ]  # fmt: skip
    everybodys = fetch(people, BY_VERSION, (None, "params"))
    assert [(row["okx_uid"], row["version"]) for row in everybodys] == [
        (OTHER, 1), (OKX_UID, 1), (OKX_UID, 3), (OKX_UID, None)
    ]  # fmt: skip
    assert [row["version"] for row in fetch(people, BY_VERSION, (OKX_UID, "dual_side"))] == [None]
    fetch(people, "select from prune_user_settings(1, '0')")
    after = fetch(people, BY_VERSION, (OKX_UID, "params"))
    assert [(row["version"], row["saved_at"] is None) for row in after] == [(1, True), (3, False), (None, True)]


def test_a_deleted_users_trades_still_count(people: Connection) -> None:
    record(people, trade())
    fetch(people, "select from delete_user(%s)", (OKX_UID,))
    for whom in (OKX_UID, None):
        assert one(people, STATISTICS, (whom,))["trades"] == 1


@pytest.mark.parametrize(
    "by", [["hour"], ["user", None], ["day", "week"], ["params", "dual_side"], [""], ["USER"], None]
)
def test_what_cannot_be_grouped_by_is_refused(people: Connection, by: Any) -> None:
    with refused("US010"):
        fetch(people, GROUPED, (None, by))


@pytest.mark.parametrize("arguments", ["p_side => 'buy'", "p_year_days => 0", "p_year_days => null"])
def test_a_bad_argument_is_refused(people: Connection, arguments: str) -> None:
    with refused("US010"):
        fetch(people, f"select from trade_statistics({arguments})")


@pytest.mark.parametrize("setting_type", ["preferences", "x", "", None])
def test_versions_of_other_settings_are_not_noted(people: Connection, setting_type: str | None) -> None:
    with refused("US010"):
        fetch(people, BY_VERSION, (None, setting_type))


def test_periods_are_those_of_utc_whatever_the_session_says(people: Connection) -> None:
    midnight = datetime(2026, 11, 23, tzinfo=UTC)  # a Monday
    fetch(people, RECORD_ALL, (array(closed(1, 1, midnight - HOUR / 60), closed(2, 1, midnight)),))
    fetch(people, "set timezone = 'Asia/Seoul'")
    for word, begins in {
        "day": [midnight - timedelta(days=1), midnight], "week": [midnight - timedelta(days=7), midnight],
        "month": [datetime(2026, 11, 1, tzinfo=UTC)],
    }.items():  # fmt: skip
        assert [row["period"] for row in fetch(people, GROUPED, (None, [word]))] == begins
