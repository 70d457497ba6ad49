"""The formats of trade files: how each is known, and what a trade of it is here. docs/files.md says it for people.

Fees and funding that were paid are above 0 in the store; realized_pnl is before both, net_pnl after both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any

from store.files.candle_formats import EPOCH, NUMBER, okx_symbol

Source = Mapping[str, Any]  # a trade as the file has it; numbers are text
Trade = dict[str, Any]

NEEDED = (
    "okx_uid", "symbol", "side", "entry_time", "entry_price", "entry_size", "exit_time", "exit_price", "exit_size",
    "realized_pnl", "exit_order_id",
)  # fmt: skip
EXACT = Context(prec=400, traps=[InvalidOperation])  # digits: of a product of three numbers, all
_NUMBER = re.compile(NUMBER, re.ASCII)
_MILLISECONDS = re.compile(r"(\d{13})(?:\.0*)?", re.ASCII)
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_PARTLY = re.compile(r"partial|not fully|[145]$", re.IGNORECASE)  # of OKX: the position was still open
_CLOSES = {"3": "liquidation", "6": "adl"}
# The columns of the position history that OKX's pages give, by the names in its API.
_PAGES = {
    "position create time": "cTime", "position update time": "uTime", "instrument name": "instId",
    "margin mode": "mgnMode", "direction": "direction", "leverage": "lever", "total close quantity": "closeTotalPos",
    "average open price": "openAvgPx", "average close price": "closeAvgPx", "margin currency": "ccy", "pnl": "pnl",
    "fee": "fee", "funding fee": "fundingFee", "liquidation clearance fee": "liqPenalty", "type": "type",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """One format. `keys`: what only an object or a header of it has; `names`: of columns (lower case), as `convert`
    knows them. `convert` makes a trade; None: of a position that isn't closed. Raises ValueError, without values."""

    name: str
    keys: frozenset[str]
    convert: Callable[[Source, timezone | None], Trade | None]
    names: Mapping[str, str]


def by_keys(keys: Iterable[str]) -> Format | None:
    """Find the format of an object or a header; None: the store's own, or none."""
    found = set(keys)
    return next((one for one in FORMATS.values() if one.keys <= found or one.keys <= _renamed(one, found)), None)


def renamed(form: Format, keys: Iterable[str]) -> list[str]:
    """Write the names of a header as a format's `convert` knows them."""
    return [form.names.get(key.strip().lower(), key.strip()) for key in keys]


def _renamed(form: Format, keys: Iterable[str]) -> set[str]:
    return set(renamed(form, keys))


def offset(text: str) -> timezone | None:
    """Read an offset from UTC, as +09:00 or UTC+8; None if it is none."""
    found = re.fullmatch(r"(?:UTC)?([+-])(\d{1,2})(?::?([0-5]\d))?|UTC|Z", text.strip(), re.ASCII)
    if found is None or int(found[2] or 0) > 14:
        return None
    apart = timedelta(hours=int(found[2] or 0), minutes=int(found[3] or 0))
    return timezone(-apart if found[1] == "-" else apart)


def _okx_position(row: Source, zone: timezone | None) -> Trade | None:
    """Of OKX's position history: fees, funding and the penalty of a liquidation are negative where they were paid."""
    kind = _text(row, "type")
    if _PARTLY.match(kind):
        return None
    side = next((text for text in (_text(row, "direction", ""), _text(row, "posSide", "")) if _is_side(text)), None)
    if side is None:
        raise ValueError("direction: must be long or short")
    symbol, opened, closed = _text(row, "instId"), _time(row, "cTime", zone), _time(row, "uTime", zone)
    fee, funding, penalty = _number(row, "fee"), _number(row, "fundingFee"), _number(row, "liqPenalty", "0")
    paid = fee + funding + penalty
    gross = _number(row, "realizedPnl") - paid if row.get("realizedPnl") else _number(row, "pnl")
    size = _text(row, "closeTotalPos")
    mode = _text(row, "mgnMode").lower()
    return {
        "symbol": symbol, "side": side.lower(), "is_hedge": _is_side(_text(row, "posSide", "")),
        "entry_time": opened.isoformat(), "entry_price": _text(row, "openAvgPx"), "entry_size": size,
        "exit_time": closed.isoformat(), "exit_price": _text(row, "closeAvgPx"), "exit_size": size,
        "exit_fee": -(fee + penalty), "funding_fee": -funding, "realized_pnl": gross,
        "currency": _text(row, "ccy"), "leverage": _text(row, "lever", "") or None,
        "close_type": _CLOSES.get(kind) or ("liquidation" if kind.lower().startswith("liquidation") else None),
        # A posId is used again, and files of OKX's pages have none. Of one position opened at once there is one.
        "exit_order_id": f"okx-{symbol}-{side.lower()}-{mode}-{opened.astimezone(UTC):%Y%m%dT%H%M%S}",
        "extra": {name: row[name] for name in ("posId", "mgnMode") if row.get(name)},
    }  # fmt: skip


def _freqtrade(row: Source, zone: timezone | None) -> Trade | None:
    """Of freqtrade: profit_abs is after fees and funding; funding_fees are positive where they were received."""
    if _flag(row, "is_open"):
        return None
    symbol, side = _text(row, "pair"), "short" if _flag(row, "is_short") else "long"
    currency = re.split("[/:]", symbol)[-1].partition("-")[0]
    opened, closed = _time(row, "open_timestamp", zone), _time(row, "close_timestamp", zone)
    amount, entry_price, exit_price = (_number(row, name) for name in ("amount", "open_rate", "close_rate"))
    orders = [one for one in row.get("orders") or [] if isinstance(one, dict)]
    exits = [str(one["order_id"]) for one in orders if one.get("ft_is_entry") is False and one.get("order_id")]
    entries = sum(one.get("ft_is_entry") is True and one.get("order_filled_timestamp") is not None for one in orders)
    entry_fee = _fee(row, "open", currency, amount * entry_price)
    exit_fee = _fee(row, "close", currency, amount * exit_price)
    funding = -_number(row, "funding_fees", "0")
    reason = str(row.get("exit_reason") or row.get("sell_reason") or "")
    return {
        "symbol": okx_symbol(symbol), "side": side, "entry_time": opened.isoformat(), "entry_price": entry_price,
        "entry_size": amount, "exit_time": closed.isoformat(), "exit_price": exit_price, "exit_size": amount,
        "entry_fee": entry_fee, "exit_fee": exit_fee, "funding_fee": funding, "currency": currency,
        "realized_pnl": _number(row, "profit_abs") + entry_fee + exit_fee + funding,
        "leverage": _text(row, "leverage", "") or None, "dca_count": max(entries - 1, 0),
        "close_type": re.sub(r"[^a-z0-9]+", "_", reason.lower())[:30] or None,
        "exit_order_id": exits[-1] if exits else f"freqtrade-{okx_symbol(symbol)}-{side}-{opened:%Y%m%dT%H%M%S}",
        "extra": {name: row[name] for name in ("strategy", "enter_tag", "exit_reason") if row.get(name)},
    }  # fmt: skip


def _fee(row: Source, what: str, currency: str, value: Decimal) -> Decimal:
    """What one side of a trade cost: as it was charged, if in the currency of the trade, else by the rate."""
    if row.get(f"fee_{what}_currency") == currency and row.get(f"fee_{what}_cost"):
        return _number(row, f"fee_{what}_cost")
    return value * _number(row, f"fee_{what}")


def _bills(_: Source, __: timezone | None) -> None:
    raise ValueError(
        "this is OKX's history of fills and bills, in which no position is told as a whole:"
        " take the position history (its page, or /api/v5/account/positions-history)"
    )


FORMATS = {
    one.name: one
    for one in (
        Format("okx", frozenset({"instId", "openAvgPx", "closeAvgPx", "closeTotalPos"}), _okx_position, _PAGES),
        Format("freqtrade", frozenset({"pair", "open_rate", "close_rate", "profit_abs"}), _freqtrade, {}),
        Format("okx-bills", frozenset({"Order id", "Trade Type", "Balance Change"}), _bills, {}),
    )
}
NAMES = ("store", "okx", "freqtrade")


def convert(form: Format, row: Source, zone: timezone | None) -> Trade | None:
    """Make a trade, every digit kept; None: of a position that isn't closed. Raises ValueError, without values."""
    try:
        with localcontext(EXACT):
            trade = form.convert(row, zone)
            if trade is None:
                return None
            return {
                name: f"{value:f}" if isinstance(value, Decimal) else value
                for name, value in trade.items() if value is not None
            }  # fmt: skip
    except InvalidOperation:
        raise ValueError("a number is out of range") from None


def _text(row: Source, name: str, default: str | None = None) -> str:
    value = row.get(name)
    if value is None or value == "":
        if default is None:
            raise ValueError(f"{name}: is missing")
        return default
    if not isinstance(value, str):
        raise ValueError(f"{name}: can't be read")
    return value


def _number(row: Source, name: str, default: str | None = None) -> Decimal:
    text = _text(row, name, default)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{name}: must be a number")
    return Decimal(text)


def _flag(row: Source, name: str) -> bool:
    text = str(row.get(name) or "false").lower()
    if text not in ("true", "false"):
        raise ValueError(f"{name}: must be true or false")
    return text == "true"


def _is_side(text: str) -> bool:
    return text.lower() in ("long", "short")


def _time(row: Source, name: str, zone: timezone | None) -> datetime:
    """Read milliseconds since 1970, or a time as OKX's pages write it."""
    text = _text(row, name)
    try:
        if found := _MILLISECONDS.fullmatch(text):
            return EPOCH + timedelta(milliseconds=int(found[1]))
        if _LOCAL.fullmatch(text):
            if zone is None:
                raise ValueError(f"{name}: of which time zone? Say it: --utc-offset +09:00")
            return datetime.fromisoformat(text).replace(tzinfo=zone)
    except OverflowError:
        pass
    raise ValueError(f"{name}: must be milliseconds since 1970, or as in 2026-11-22 10:00:00")
