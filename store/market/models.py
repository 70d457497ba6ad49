"""The shapes of the market's data. Money, prices and sizes are Decimals, exact to every digit."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from store.models import Document


@dataclass(frozen=True, slots=True)
class Trade:
    """A closed trade. Fees: what was paid, a rebate is negative. `realized_pnl`: before fees, `net_pnl`: after them.
    `params_version`, `dual_side_version`: the settings in force at `entry_time`; None if there were none, or if which
    isn't known any more."""

    id: uuid.UUID
    user_id: uuid.UUID
    okx_uid: str
    symbol: str
    side: str  # 'long' or 'short'
    is_hedge: bool
    entry_time: datetime
    entry_price: Decimal
    entry_size: Decimal
    exit_time: datetime
    exit_price: Decimal
    exit_size: Decimal
    entry_fee: Decimal
    exit_fee: Decimal
    realized_pnl: Decimal
    net_pnl: Decimal
    realized_pnl_percent: Decimal | None
    leverage: Decimal | None
    close_type: str | None
    dca_count: int
    entry_order_id: str | None
    exit_order_id: str
    params_version: int | None
    dual_side_version: int | None
    extra: Document
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TradesRecorded:
    """How many trades were recorded, and how many of those given were known already."""

    recorded: int
    known: int


@dataclass(frozen=True, slots=True)
class TradeStatistics:
    """Figures of a group of trades; what makes the group comes first, None where it isn't grouped by.

    `version`, `saved_at`: of the settings in force at entry. Wins, losses, best, worst and averages are by net PnL;
    `gross_loss` and `average_loss` are positive amounts. `win_rate`: 0 to 1. `profit_factor`: gross profit by gross
    loss, None without a loss. `max_drawdown`: of the summed net PnL in the order of exits, from 0, a positive amount.
    `sharpe`: mean by sample standard deviation of the net PnL per UTC day, days without a trade included, annualised;
    None for fewer than two days or if all are equal.
    """

    okx_uid: str | None
    symbol: str | None
    side: str | None
    period: datetime | None
    version: int | None
    saved_at: datetime | None
    trades: int
    wins: int
    losses: int
    break_even: int
    win_rate: Decimal | None
    gross_profit: Decimal
    gross_loss: Decimal
    profit_factor: Decimal | None
    realized_pnl: Decimal
    fees: Decimal
    net_pnl: Decimal
    best: Decimal | None
    worst: Decimal | None
    average: Decimal | None
    average_win: Decimal | None
    average_loss: Decimal | None
    average_holding: timedelta | None
    min_holding: timedelta | None
    max_holding: timedelta | None
    max_drawdown: Decimal
    sharpe: Decimal | None
    first_exit: datetime | None
    last_exit: datetime | None
