"""Reads the candles of the symbols that were traded most, for the newest trades there."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from datetime import timedelta
from heapq import nlargest

from store.models import Candle, Gap
from store.postgres import functions
from store.postgres.database import Transaction
from store.report.content import Chosen, Deal, Market
from store.report.thinning import EPOCH, fold

MOST_MARKETS = 6
MOST_DEALS = 50  # of a market
MOST_CANDLES = 500  # of a market
MOST_GAPS = 100  # of a market: the longest
AROUND = 10  # candles before the first entry and after the last exit
BATCH = 1000  # candles
WIDTHS = {
    name: timedelta(minutes=minutes)
    for name, minutes in {"1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}.items()
}
DEAL = ", ".join(f"r.{field.name}" for field in fields(Deal))


async def read_markets(
    transaction: Transaction, chosen: Chosen, trades: Counter[str], timeframe: str | None
) -> tuple[list[Market], int]:
    """Read the markets with the most trades, and tell how many there are besides."""
    markets = [
        await _market(transaction, replace(chosen, symbol=symbol), number, timeframe)
        for symbol, number in trades.most_common(MOST_MARKETS)
    ]
    return markets, max(len(trades) - MOST_MARKETS, 0)


async def _market(transaction: Transaction, chosen: Chosen, trades: int, timeframe: str | None) -> Market:
    assert chosen.identifier is not None
    assert chosen.symbol is not None
    call = functions.trades.get_trades(
        chosen.identifier, chosen.symbol, chosen.side, chosen.since, chosen.until, None, MOST_DEALS, DEAL
    )
    deals = [Deal(**row) for row in await transaction.fetch(call)]
    market = Market(chosen.symbol, trades, deals)
    span = max(deal.exit_time for deal in deals) - min(deal.entry_time for deal in deals)
    names = [timeframe] if timeframe else _by_fitness(span)
    for name in names:
        with_candles = await _with_candles(transaction, market, name, span)
        if with_candles.candles:
            return with_candles
    return market


def _by_fitness(span: timedelta) -> list[str]:
    """List timeframes: the finest that makes few enough candles, coarser ones, then those too fine, to be folded."""
    fitting = [name for name, width in WIDTHS.items() if span <= width * MOST_CANDLES]
    return [*fitting, *reversed([name for name in WIDTHS if name not in fitting])]


async def _with_candles(transaction: Transaction, market: Market, timeframe: str, span: timedelta) -> Market:
    """Add the candles of a timeframe, and where they are missing from the first entry to the last exit."""
    width = WIDTHS[timeframe]
    together = max(-(-span // (width * MOST_CANDLES)), 1)
    start, end = min(deal.entry_time for deal in market.deals), max(deal.exit_time for deal in market.deals)
    start = EPOCH + (start - EPOCH) // width * width
    margin = width * together * AROUND
    call = functions.candles.get_candles(market.symbol, timeframe, start - margin, end + margin, None, None)
    candles: list[Candle] = []
    async for batch in transaction.stream(call, BATCH):
        fold(candles, (Candle(**row) for row in batch), width * together)
    if not candles:
        return market
    missing = 0
    gaps: list[Gap] = []
    call = functions.candles.missing_candles(market.symbol, timeframe, start, end)
    async for batch in transaction.stream(call, BATCH):
        found = [Gap(**row) for row in batch]
        missing += sum(gap.missing for gap in found)
        gaps = nlargest(MOST_GAPS, [*gaps, *found], lambda gap: gap.missing)
    gaps.sort(key=lambda gap: gap.from_ts)
    return replace(market, timeframe=timeframe, folded=together, candles=candles, gaps=gaps, missing=missing)
