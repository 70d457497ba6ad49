"""The SQL functions of halts, as statements with parameters. No I/O here."""

from __future__ import annotations

from store.arguments import flag, line, symbol_or_none
from store.errors import InvalidArgument
from store.postgres.call import Call, _read, _write

HALT = (
    "r.okx_uid, r.symbol, r.reason, r.halted_at as since, r.halted_by, r.written_by, r.resumed_at, r.resumed_by,"
    " r.resume_reason, r.resume_written_by"
)


def halt_trading(reason: str, identifier: str | None, symbol: str | None) -> Call:
    return _change("halt_trading", reason, identifier, symbol)


def resume_trading(reason: str, identifier: str | None, symbol: str | None) -> Call:
    return _change("resume_trading", reason, identifier, symbol)


def _change(function: str, reason: str, identifier: str | None, symbol: str | None) -> Call:
    reason = line(reason, "a reason", InvalidArgument)  # p_reason and the writer's are one parameter
    call = _write(HALT, function, "identifier", identifier, reason=reason, symbol=symbol_or_none(symbol))
    return call.by(None, reason)


def list_halts(include_ended: bool) -> Call:
    return _read(HALT, "list_halts", include_ended=flag(include_ended, "include_ended"))
