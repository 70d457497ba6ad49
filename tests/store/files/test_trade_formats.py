"""Files of trades as OKX and freqtrade give them: what is recorded of each, to the last digit."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from store import InvalidArgument, SettingsStore, Trade, TradesRecorded, UnknownUser
from store.files.trades import TradesRejected, import_trades
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.hostile import NOBODY
from tests.helpers.trades import trade

Db = psycopg.Connection[dict[str, Any]]

POSITION: dict[str, str] = {
    "instType": "SWAP", "instId": "ETH-USDT-SWAP", "mgnMode": "isolated", "posId": "2606171386593583104",
    "posSide": "long", "direction": "long", "openAvgPx": "3234.4500000000000001", "closeAvgPx": "3285",
    "openMaxPos": "1", "closeTotalPos": "1", "realizedPnl": "-0.0665", "pnl": "-0.0213", "pnlRatio": "-0.02",
    "fee": "-0.0227422", "fundingFee": "-0.0324578", "liqPenalty": "0", "settledPnl": "", "type": "2",
    "cTime": "1752676985653", "uTime": "1752683977587", "lever": "10.0", "ccy": "USDT", "uly": "ETH-USDT",
}  # fmt: skip
PAGES = (
    "Position Create Time,Position Update Time,Business Line,Index,Instrument Name,Margin Mode,Direction,Leverage,"
    "Max Position Quantity,Total Close Quantity,Average Open Price,Average Close Price,Margin Currency,Pnl,Pnl Ratio,"
    "Fee,Funding Fee,Liquidation Clearance Fee,Type,Contract Face Value,Contract Multiplier\n"
)
PAGE = (
    "2025-07-16 23:43:05,2025-07-17 01:39:37,Perpetual,ETH-USDT,ETH-USDT-SWAP,Isolated,Long,10.0,1,1,"
    "3234.4500000000000001,3285,USDT,-0.0213,-0.02,-0.0227422,-0.0324578,0,Close all,0.1,1\n"
)
UID_LINE = f"\ufeffUID:{OKX_UID},Account Type:Main,Time Zone:UTC+9\n"
OPENED, CLOSED = datetime(2025, 7, 16, 14, 43, 5, 653000, UTC), datetime(2025, 7, 16, 16, 39, 37, 587000, UTC)
ETH = {
    "symbol": "ETH-USDT-SWAP", "side": "long", "is_hedge": True, "entry_time": OPENED,
    "entry_price": "3234.4500000000000001", "entry_size": "1", "exit_time": CLOSED, "exit_price": "3285",
    "exit_size": "1", "entry_fee": "0", "exit_fee": "0.0227422", "funding_fee": "0.0324578",
    "realized_pnl": "-0.0113000", "net_pnl": "-0.0665000", "currency": "USDT", "leverage": "10.0", "close_type": None,
    "exit_order_id": "okx-ETH-USDT-SWAP-long-isolated-20250716T144305",
    "extra": {"posId": "2606171386593583104", "mgnMode": "isolated"},
}  # fmt: skip
PAGE_ETH = {
    **ETH, "is_hedge": False, "entry_time": OPENED.replace(microsecond=0), "exit_time": CLOSED.replace(microsecond=0),
    "realized_pnl": "-0.0213", "net_pnl": "-0.0765000", "extra": {"mgnMode": "Isolated"},
}  # fmt: skip
FREQTRADE: dict[str, Any] = {
    "trade_id": 7, "pair": "BTC/USDT:USDT", "base_currency": "BTC", "quote_currency": "USDT", "is_open": False,
    "is_short": True, "amount": 0.015, "open_rate": 97000.1, "close_rate": 96000.0, "fee_open": 0.0005,
    "fee_open_cost": 0.72750075, "fee_open_currency": "USDT", "fee_close": 0.0005, "fee_close_cost": None,
    "fee_close_currency": None, "funding_fees": -0.25, "profit_abs": 13.30399925, "close_profit": 0.1,
    "open_date": "2026-11-22 10:00:00", "open_timestamp": 1795341600000, "close_date": "2026-11-22 12:30:00",
    "close_timestamp": 1795350600000.0, "leverage": 10.0, "strategy": "Rsi", "enter_tag": "rsi<30",
    "exit_reason": "trailing_stop_loss", "orders": [
        {"ft_is_entry": True, "order_id": "11", "order_filled_timestamp": 1795341600500},
        {"ft_is_entry": True, "order_id": "12", "order_filled_timestamp": 1795345200000},
        {"ft_is_entry": True, "order_id": "13", "order_filled_timestamp": None},
        {"ft_is_entry": False, "order_id": "14", "order_filled_timestamp": 1795350600000},
    ],
}  # fmt: skip
SHORT: dict[str, Any] = {
    "symbol": "BTC-USDT-SWAP", "side": "short", "is_hedge": False, "entry_time": datetime(2026, 11, 22, 10, tzinfo=UTC),
    "entry_price": "97000.1", "entry_size": "0.015", "exit_time": datetime(2026, 11, 22, 12, 30, tzinfo=UTC),
    "exit_price": "96000.0", "exit_size": "0.015", "entry_fee": "0.72750075", "exit_fee": "0.72000000",
    "funding_fee": "0.25", "realized_pnl": "15.00150000", "net_pnl": "13.30399925", "currency": "USDT",
    "leverage": "10.0", "close_type": "trailing_stop_loss", "dca_count": 1, "exit_order_id": "14",
    "extra": {"strategy": "Rsi", "enter_tag": "rsi<30", "exit_reason": "trailing_stop_loss"},
}  # fmt: skip
BACKTESTED = {key: value for key, value in FREQTRADE.items() if key not in ("trade_id", "fee_open_cost", "strategy")}
BACKTESTED["orders"] = [{"ft_is_entry": True, "order_filled_timestamp": 1}, {"ft_is_entry": False, "amount": 0.015}]
BACKTEST = {
    **SHORT, "dca_count": 0, "exit_order_id": "freqtrade-BTC-USDT-SWAP-short-20261122T100000",
    "extra": {"enter_tag": "rsi<30", "exit_reason": "trailing_stop_loss"},
}  # fmt: skip

# name -> (file, what import_trades() is told, what is recorded)
SAMPLES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "okx, the API's answer": (
        json.dumps({"code": "0", "msg": "", "data": [POSITION]}), {"user": TELEGRAM_ID}, ETH
    ),
    "okx, its positions alone": (json.dumps([POSITION], indent=1), {"user": OKX_UID}, ETH),
    "okx, a position a line": (json.dumps(POSITION), {"user": OKX_UID, "format": "okx"}, ETH),
    "okx, CSV of the API's fields": (
        ",".join(POSITION) + "\n" + ",".join(POSITION.values()), {"user": OKX_UID}, ETH
    ),
    "okx, liquidated, without realizedPnl": (
        json.dumps([POSITION | {"realizedPnl": "", "type": "3", "liqPenalty": "-0.5", "posSide": "net"}]),
        {"user": OKX_UID},
        {**ETH, "exit_fee": "0.5227422", "realized_pnl": "-0.0213", "net_pnl": "-0.5765000", "is_hedge": False,
         "close_type": "liquidation"},
    ),
    "okx, CSV of its pages, with a line before the header": (UID_LINE + PAGES + PAGE, {}, PAGE_ETH),
    "okx, CSV of its pages": (
        PAGES + PAGE, {"user": OKX_UID, "utc_offset": "+09:00"}, PAGE_ETH
    ),
    "freqtrade, its API's answer": (
        json.dumps({"trades": [FREQTRADE], "trades_count": 1, "total_trades": 1}), {"user": OKX_UID}, SHORT
    ),
    "freqtrade, exported by show-trades": (json.dumps([FREQTRADE]), {"user": OKX_UID, "format": "freqtrade"}, SHORT),
    "freqtrade, a backtest": (
        json.dumps({
            "metadata": {}, "strategy": {"Rsi": {"trades": [BACKTESTED], "locks": [], "results_per_pair": [{"a": 1}]}},
            "strategy_comparison": [{}],
        }),
        {"user": OKX_UID}, BACKTEST,
    ),
    "freqtrade, spot, with fees in coins": (
        json.dumps([{**FREQTRADE, "pair": "BTC/USDT", "fee_open_currency": "BTC", "is_short": False, "orders": None,
                     "funding_fees": None, "exit_reason": "Exit: signal!"}]),
        {"user": OKX_UID},
        {**SHORT, "symbol": "BTC-USDT", "side": "long", "funding_fee": "0",
         "realized_pnl": "14.75150000", "close_type": "exit_signal_", "dca_count": 0,
         "exit_order_id": "freqtrade-BTC-USDT-long-20261122T100000",
         "extra": {"strategy": "Rsi", "enter_tag": "rsi<30", "exit_reason": "Exit: signal!"}},
    ),
}  # fmt: skip


def as_given(trade: Trade, expected: dict[str, Any]) -> dict[str, Any]:
    found = {name: getattr(trade, name) for name in expected}
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in found.items()}


async def test_every_format_is_recorded_as_what_it_means(store: SettingsStore, user: str) -> None:
    for name, (text, told, expected) in SAMPLES.items():
        for content in (text.encode(), gzip.compress(text.encode())):
            await store.erase_user(user)
            await store.register(user, TELEGRAM_ID)
            assert await import_trades(store, io.BytesIO(content), **told) == TradesRecorded(1, 0), name
            assert await import_trades(store, io.BytesIO(content), **told) == TradesRecorded(0, 1), name
            (found,) = [trade async for trade in store.trades(user)]
            assert as_given(found, expected) == expected, name


async def test_a_position_that_is_not_closed_yet_is_passed_over(store: SettingsStore, user: str) -> None:
    partly = [POSITION | {"type": kind, "cTime": f"175267698565{kind}"} for kind in "145"]
    seen: list[int] = []
    for given in ([*partly, POSITION], [FREQTRADE | {"is_open": True}]):
        await import_trades(store, io.BytesIO(json.dumps(given).encode()), user=user, still_open=seen.append)
    pages = PAGES + PAGE.replace("Close all", "Partially closed")
    await import_trades(store, io.BytesIO(pages.encode()), user=user, utc_offset="Z", still_open=seen.append)
    assert seen == [3, 1, 1]
    assert len([trade async for trade in store.trades(user)]) == 1


# what is told -> (file, what import_trades() is told)
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "line 1: whose trade it is the file doesn't say: --user": (json.dumps([POSITION]), {}),
    "line 2: whose trade it is the file doesn't say: --user": (PAGES + PAGE, {"utc_offset": "+09:00"}),
    "line 2: cTime: of which time zone? Say it: --utc-offset": (PAGES + PAGE, {"user": OKX_UID}),
    "line 1: the UID is another one than that of --user": (UID_LINE + PAGES + PAGE, {"user": "1000000000000009"}),
    "line 1: the time zone is another one": (UID_LINE + PAGES + PAGE, {"utc_offset": "+08:00"}),
    "line 3: ccy: is missing": (UID_LINE + PAGES + PAGE.replace("USDT,-0.0213", ",-0.0213"), {}),
    "line 3: fee: must be a number": (UID_LINE + PAGES + PAGE.replace("-0.0227422", "free"), {}),
    "line 3: direction: must be long or short": (UID_LINE + PAGES + PAGE.replace("Long", "Net"), {}),
    "line 3: uTime: must be milliseconds since 1970": (UID_LINE + PAGES + PAGE.replace("2025-07-17 01", "17/07 1"), {}),
    "line 3: exit_time: must not be before entry_time": (UID_LINE + PAGES + PAGE.replace("07-17", "07-01"), {}),
    "line 1: not a header of trades: no column closeAvgPx, closeTotalPos": (
        "a,b\n", {"user": OKX_UID, "format": "okx"}
    ),
    "line 3: this is OKX's history of fills and bills": (
        UID_LINE + "id,Order id,Time,Trade Type,Symbol,Action,Amount,Balance Change\n1,2,3,4,5,6,7,8\n", {}
    ),
    "line 1: fundingFee: is missing": (json.dumps([{**POSITION, "fundingFee": ""}]), {"user": OKX_UID}),
    "line 1: fee_close: is missing": (json.dumps([{**FREQTRADE, "fee_close": None}]), {"user": OKX_UID}),
    "line 1: close_timestamp: is missing": (json.dumps([{**FREQTRADE, "close_timestamp": None}]), {"user": OKX_UID}),
    "line 1: is_short: must be true or false": (json.dumps([{**FREQTRADE, "is_short": 2}]), {"user": OKX_UID}),
    "line 1: the answer of the exchange tells of an error": ('{"code": "50011", "data": []}', {"user": OKX_UID}),
    "line 1: okx_uid: is another one than that of --user": (json.dumps({"okx_uid": NOBODY}), {"user": OKX_UID}),
    "line 1: not a header of trades: no column okx_uid, symbol": ("체결시간,종목\n1,2\n", {}),
    "line 1: not a header of trades: no column symbol": ("체결시간,종목\n1,2\n", {"user": OKX_UID}),
}  # fmt: skip


async def test_what_can_not_be_taken_is_refused_by_its_line(store: SettingsStore, user: str, db: Db) -> None:
    await store.register("1000000000000009")
    wrong = {}
    for expected, (text, told) in REFUSED.items():
        with pytest.raises(TradesRejected) as error:
            await import_trades(store, io.BytesIO(text.encode()), **told)
        if not (error.value.detail or "").startswith(expected) or "3285" in str(error.value):
            wrong[expected] = error.value.detail
    assert wrong == {}
    bad: list[dict[str, Any]] = [{"utc_offset": "Seoul"}, {"utc_offset": "+25:00"}, {"format": "bitmex"}]
    for options in bad:
        with pytest.raises(InvalidArgument):
            await import_trades(store, io.BytesIO(b"[]"), **options)
    with pytest.raises(UnknownUser):
        await import_trades(store, io.BytesIO(b"[]"), user=NOBODY)
    with pytest.raises(InvalidArgument, match="it was cut"):
        await import_trades(store, io.BytesIO(gzip.compress(b"[]")[:-5]), user=user)
    assert db.execute("select from trade_orders").rowcount == 0


async def test_own_trades_are_of_the_user_who_is_named(store: SettingsStore, user: str) -> None:
    given = [trade(1), trade(2, okx_uid=user)]
    assert await import_trades(store, io.BytesIO(json.dumps(given).encode()), user=TELEGRAM_ID) == TradesRecorded(2, 0)
    cells = trade(3)
    text = ",".join(cells) + "\n" + ",".join(map(str, cells.values()))
    assert await import_trades(store, io.BytesIO(text.encode()), user=user) == TradesRecorded(1, 0)
