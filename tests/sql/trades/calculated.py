"""Figures of trades, calculated once more: by NumPy in doubles, or in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

import numpy as np
import pytest

Row = dict[str, Any]
NO_TRADES: Row = {
    **dict.fromkeys(
        ("users", "trades", "wins", "losses", "break_even", "longest_win_streak", "longest_loss_streak"), 0
    ),
    **dict.fromkeys(("gross_profit", "gross_loss", "realized_pnl", "fees", "net_pnl", "max_drawdown"), Decimal(0)),
    "max_drawdown_duration": timedelta(),
    **dict.fromkeys(
        ("win_rate", "profit_factor", "funding_fees", "best", "worst", "average", "average_win", "average_loss",
         "expectancy", "expectancy_ratio", "average_holding", "min_holding", "max_holding", "sharpe", "sortino",
         "max_drawdown_percent", "cagr_percent", "calmar", "first_exit", "last_exit")
    ),
}  # fmt: skip


def net_of(trade: Row) -> float:
    return float(trade["realized_pnl"]) - float(trade["entry_fee"]) - float(trade["exit_fee"]) - float(
        trade["funding_fee"] or 0
    )  # fmt: skip


def curve(trades: Sequence[Row]) -> list[tuple[datetime, float]]:
    """The summed net PnL at each moment at which trades closed."""
    equity, points = 0.0, []
    for moment in sorted({trade["exit_time"] for trade in trades}):
        equity += sum(net_of(trade) for trade in trades if trade["exit_time"] == moment)
        points.append((moment, equity))
    return points


def calculated(trades: Sequence[Row], year_days: int = 365, capital: float | None = None) -> Row:
    """The figures of rows of the table, of one currency."""
    if not trades:
        return NO_TRADES
    net = np.array([net_of(t) for t in trades])
    exits = np.array([t["exit_time"].timestamp() for t in trades])
    held = [t["exit_time"] - t["entry_time"] for t in trades]
    wins, losses = net[net > 0], -net[net < 0]
    average_loss = losses.mean() if len(losses) else None
    # The curve: a step per moment, from 0.
    equity = np.concatenate([[0.0], [point for _, point in curve(trades)]])
    fall = np.maximum.accumulate(equity) - equity
    # Days: a bin each from the first to the last.
    days = np.floor(exits / 86_400).astype(int)
    daily = np.bincount(days - days.min(), weights=net)
    deviation = daily.std(ddof=1) if len(daily) > 1 else 0.0
    downside = np.sqrt(np.mean(np.minimum(daily, 0) ** 2)) if len(daily) > 1 else 0.0
    funding = [float(t["funding_fee"]) for t in trades if t["funding_fee"] is not None]
    return {
        "users": len({t["okx_uid"] for t in trades}), "trades": len(trades), "wins": len(wins), "losses": len(losses),
        "break_even": len(trades) - len(wins) - len(losses), "win_rate": len(wins) / len(trades),
        "gross_profit": wins.sum(), "gross_loss": losses.sum(),
        "profit_factor": wins.sum() / losses.sum() if len(losses) else None,
        "realized_pnl": sum(float(t["realized_pnl"]) for t in trades),
        "fees": sum(float(t["entry_fee"]) + float(t["exit_fee"]) for t in trades),
        "funding_fees": sum(funding) if funding else None, "net_pnl": net.sum(),
        "best": net.max(), "worst": net.min(), "average": net.mean(),
        "average_win": wins.mean() if len(wins) else None, "average_loss": average_loss,
        "expectancy": len(wins) / len(net) * (wins.mean() if len(wins) else 0)
                      - len(losses) / len(net) * (average_loss or 0),
        "expectancy_ratio": net.mean() / average_loss if average_loss else None,
        **streaks(trades),
        "average_holding": sum(held, timedelta()) / len(held), "min_holding": min(held), "max_holding": max(held),
        "max_drawdown": fall.max(), "max_drawdown_duration": longest_drawdown(curve(trades)),
        "sharpe": daily.mean() / deviation * np.sqrt(year_days) if deviation > 1e-9 else None,
        "sortino": daily.mean() / downside * np.sqrt(year_days) if downside else None,
        **of_capital(capital, equity, len(daily), year_days),
        "first_exit": min(t["exit_time"] for t in trades), "last_exit": max(t["exit_time"] for t in trades),
    }  # fmt: skip


def streaks(trades: Sequence[Row]) -> Row:
    order = ("exit_time", "entry_time", "okx_uid", "exit_order_id")
    signs = [np.sign(net_of(t)) for t in sorted(trades, key=lambda t: [t[name] for name in order])]
    runs = [(sign, len(list(run))) for sign, run in groupby(signs)]
    return {
        f"longest_{name}_streak": max((length for sign, length in runs if sign == which), default=0)
        for name, which in (("win", 1), ("loss", -1))
    }


def longest_drawdown(points: Sequence[tuple[datetime, float]]) -> timedelta:
    """Walk along the curve; a drawdown begins at the high (or the first exit) and ends where that is reached again."""
    longest, high, since, is_down = timedelta(), 0.0, points[0][0], False
    for moment, equity in points:
        if equity < high or is_down:
            longest = max(longest, moment - since)
        is_down = equity < high
        if not is_down:
            high, since = equity, moment
    return longest


def of_capital(capital: float | None, equity: Any, days: int, year_days: int) -> Row:
    if capital is None:
        return dict.fromkeys(("max_drawdown_percent", "cagr_percent", "calmar"))
    account = capital + equity
    high = np.maximum.accumulate(account)
    fall = ((high - account) / high).max() * 100
    growth = account[-1] / capital
    is_told = days > 1 and growth > 0 and np.log10(growth) * year_days / days < 28
    cagr = (growth ** (year_days / days) - 1) * 100 if is_told else None
    return {
        "max_drawdown_percent": fall, "cagr_percent": cagr, "calmar": cagr / fall if is_told and fall else None
    }  # fmt: skip


def period_of(word: str, moment: datetime) -> datetime:
    day = date(moment.year, moment.month, moment.day)
    first = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[word]
    return datetime(first.year, first.month, first.day, tzinfo=UTC)


def assert_equal(found: Row, expected: Row) -> None:
    assert found.keys() == expected.keys()
    for name, right in expected.items():
        if isinstance(right, timedelta):
            assert abs(found[name] - right) <= timedelta(microseconds=1), name
        elif right is None or isinstance(right, datetime):
            assert found[name] == right, name
        else:
            assert float(found[name]) == pytest.approx(float(right), rel=1e-9, abs=1e-9), name
