"""Figures of trades, against an independent calculation with NumPy on random trades, and by hand in the corners."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
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

OTHER = "1000000000000001"
STATISTICS = "select * from trade_statistics(%s)"
GROUPED = "select * from trade_statistics(%s, p_group_by => %s)"
BY_VERSION = "select * from trade_statistics_by_setting_version(%s, %s)"
GROUP_COLUMNS = ("okx_uid", "symbol", "side", "period", "version", "saved_at")
NO_TRADES: dict[str, Any] = {
    **dict.fromkeys(("trades", "wins", "losses", "break_even"), 0),
    **dict.fromkeys(("gross_profit", "gross_loss", "realized_pnl", "fees", "net_pnl", "max_drawdown"), Decimal(0)),
    **dict.fromkeys(
        ("win_rate", "profit_factor", "best", "worst", "average", "average_win", "average_loss", "average_holding",
         "min_holding", "max_holding", "sharpe", "first_exit", "last_exit")
    ),
}  # fmt: skip


def closed(number: int, pnl: Any, exit_time: datetime, **columns: Any) -> dict[str, Any]:
    return trade(
        number, realized_pnl=str(pnl), entry_time=(exit_time - HOUR).isoformat(), exit_time=exit_time.isoformat(),
        **columns,
    )  # fmt: skip


def closed_daily(*pnls: Any) -> list[dict[str, Any]]:
    """Trades closed a day apart with this PnL."""
    return [closed(n, pnl, T0 + n * timedelta(days=1)) for n, pnl in enumerate(pnls)]


def figures(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in row if name not in GROUP_COLUMNS}


# -- the independent calculation


def calculated(trades: Sequence[dict[str, Any]], year_days: int = 365) -> dict[str, Any]:
    """The figures of rows of the table, by NumPy in doubles."""
    if not trades:
        return NO_TRADES
    net = np.array([float(t["realized_pnl"]) - float(t["entry_fee"]) - float(t["exit_fee"]) for t in trades])
    exits = np.array([t["exit_time"].timestamp() for t in trades])
    held = [t["exit_time"] - t["entry_time"] for t in trades]
    wins, losses = net[net > 0], -net[net < 0]
    # The curve: a step per moment, from 0.
    equity = np.concatenate([[0.0], np.cumsum([net[exits == moment].sum() for moment in np.unique(exits)])])
    # Days: a bin each from the first to the last.
    days = np.floor(exits / 86_400).astype(int)
    daily = np.bincount(days - days.min(), weights=net)
    deviation = daily.std(ddof=1) if len(daily) > 1 else 0.0
    return {
        "trades": len(trades), "wins": len(wins), "losses": len(losses),
        "break_even": len(trades) - len(wins) - len(losses), "win_rate": len(wins) / len(trades),
        "gross_profit": wins.sum(), "gross_loss": losses.sum(),
        "profit_factor": wins.sum() / losses.sum() if len(losses) else None,
        "realized_pnl": sum(float(t["realized_pnl"]) for t in trades),
        "fees": sum(float(t["entry_fee"]) + float(t["exit_fee"]) for t in trades), "net_pnl": net.sum(),
        "best": net.max(), "worst": net.min(), "average": net.mean(),
        "average_win": wins.mean() if len(wins) else None, "average_loss": losses.mean() if len(losses) else None,
        "average_holding": sum(held, timedelta()) / len(held), "min_holding": min(held), "max_holding": max(held),
        "max_drawdown": (np.maximum.accumulate(equity) - equity).max(),
        "sharpe": daily.mean() / deviation * np.sqrt(year_days) if deviation > 1e-9 else None,
        "first_exit": min(t["exit_time"] for t in trades), "last_exit": max(t["exit_time"] for t in trades),
    }  # fmt: skip


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        if isinstance(right, timedelta):
            assert abs(found[name] - right) <= timedelta(microseconds=1), name
        elif right is None or isinstance(right, datetime):
            assert found[name] == right, name
        else:
            assert float(found[name]) == pytest.approx(float(right), rel=1e-9, abs=1e-9), name


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
        "entry_fee": FEES, "exit_fee": FEES, "exit_time": EXITS,
        "held": st.timedeltas(timedelta(0), timedelta(days=40)),
    }
)  # fmt: skip


@contextmanager
def recorded(db: Connection, trades: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Record trades in a transaction that is undone; yield their rows."""
    given = [
        {**trade(n), **{key: value if isinstance(value, str) else str(value) for key, value in each.items()},
         "exit_time": each["exit_time"].isoformat(), "entry_time": (each["exit_time"] - each["held"]).isoformat()}
        for n, each in enumerate(trades)
    ]  # fmt: skip
    for each in given:
        each.pop("held")
    with db.transaction(force_rollback=True):
        fetch(db, RECORD_ALL, (json.dumps(given),))
        yield fetch(db, "table trades")


def periods(word: str, moment: datetime) -> datetime:
    day = date(moment.year, moment.month, moment.day)
    first = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[word]
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


@pytest.fixture
def people(db: Connection) -> Connection:
    """Two users, the first with versions of params within the time of the random trades."""
    for uid, telegram_id in ((OKX_UID, TELEGRAM_ID), (OTHER, "77777")):
        fetch(db, "select from ensure_user(%s, %s)", (uid, telegram_id))
    hourly(db, OKX_UID, "params", [1, 2, 3], datetime(2026, 11, 22, 9, tzinfo=UTC))
    return db


def test_random_trades_have_the_figures_that_numpy_calculates(people: Connection) -> None:
    @settings(max_examples=60, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(RANDOM, max_size=25), st.sampled_from(["day", "week", "month"]))
    def check(trades: list[dict[str, Any]], period: str) -> None:
        with recorded(people, trades) as rows:
            assert_equal(figures(one(people, STATISTICS, (None,))), calculated(rows))
            mine = [row for row in rows if row["okx_uid"] == OKX_UID]
            assert_equal(figures(one(people, STATISTICS, (TELEGRAM_ID,))), calculated(mine))
            keys: dict[tuple[str, ...], Callable[[dict[str, Any]], tuple[Any, ...]]] = {
                ("user",): lambda row: (row["okx_uid"], None, None, None, None),
                ("side", "symbol"): lambda row: (None, row["symbol"], row["side"], None, None),
                ("user", period): lambda row: (row["okx_uid"], None, None, periods(period, row["exit_time"]), None),
                ("params",): lambda row: (row["okx_uid"], None, None, None, row["params_version"]),
            }
            for by, key in keys.items():
                groups = fetch(people, GROUPED, (None, list(by)))
                found = {tuple(group[name] for name in GROUP_COLUMNS[:5]): figures(group) for group in groups}
                assert len(found) == len(groups)
                assert found.keys() == {key(row) for row in rows}
                for which, group_figures in found.items():
                    assert_equal(group_figures, calculated([row for row in rows if key(row) == which]))

    check()


@given(
    st.lists(RANDOM, min_size=1, max_size=12),
    st.sampled_from(["BTC", None]), st.sampled_from(["short", None]), st.sampled_from([T0, None]),
    st.sampled_from([T0 + HOUR, None]),
)  # fmt: skip
@settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
def test_figures_of_a_selection_are_those_of_the_selected_trades(
    people: Connection, trades: list[dict[str, Any]], symbol: str | None, side: str | None, since: Any, until: Any
) -> None:
    with recorded(people, trades) as rows:
        selected = [
            row for row in rows
            if symbol in (None, row["symbol"]) and side in (None, row["side"])
            and (since is None or row["exit_time"] >= since) and (until is None or row["exit_time"] < until)
        ]  # fmt: skip
        query = "select * from trade_statistics(null, %s, %s, %s, %s, p_year_days => 252)"
        found = one(people, query, (symbol, side, since, until))
        assert_equal(figures(found), calculated(selected, 252))


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
        **NO_TRADES, "trades": 1, "wins": 1, "win_rate": 1, "gross_profit": Decimal("4.6"), "realized_pnl": 5,
        "fees": Decimal("0.4"), "net_pnl": Decimal("4.6"), "best": Decimal("4.6"), "worst": Decimal("4.6"),
        "average": Decimal("4.6"), "average_win": Decimal("4.6"), "average_holding": 2 * HOUR, "min_holding": 2 * HOUR,
        "max_holding": 2 * HOUR, "first_exit": T0 + HOUR, "last_exit": T0 + HOUR,
    }  # fmt: skip
    assert [found[name] for name in GROUP_COLUMNS] == [None] * 6


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
        (OTHER, None), (OKX_UID, 1), (OKX_UID, 3), (OKX_UID, None)
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
