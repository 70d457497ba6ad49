"""The SQL functions of locks, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from store.arguments import line, symbol_or_none, time
from store.errors import InvalidArgument
from store.postgres.call import Call, _read, _write

LOCK = (
    "nullif(r.okx_uid, '') as okx_uid, r.setting_type, nullif(r.key, '') as key, r.is_cold, r.reason, r.until,"
    " r.locked_at, r.locked_by, r.written_by"
)


def lock_setting(
    identifier: str | None, setting_type: str, keys: Sequence[str] | None, reason: str, until: datetime | None,
    symbol: str | None,
) -> Call:  # fmt: skip
    reason = line(reason, "a reason", InvalidArgument)  # p_reason and the writer's are one parameter
    call = _write(
        LOCK, "lock_setting", "identifier", identifier, setting_type=setting_type, keys=_keys(keys), reason=reason,
        until=None if until is None else time(until, "until"), symbol=symbol_or_none(symbol),
    )  # fmt: skip
    return call.by(None, reason)


def unlock_setting(identifier: str | None, setting_type: str, keys: Sequence[str] | None, symbol: str | None) -> Call:
    return _write(
        LOCK, "unlock_setting", "identifier", identifier, setting_type=setting_type, keys=_keys(keys),
        symbol=symbol_or_none(symbol),
    )  # fmt: skip


def lock_cold_keys(identifier: str, setting_type: str, until: datetime, symbol: str | None) -> Call:
    return _write(
        LOCK, "lock_cold_keys", "identifier", identifier, setting_type=setting_type, until=time(until, "until"),
        symbol=symbol_or_none(symbol),
    )  # fmt: skip


def unlock_cold_keys(identifier: str, setting_type: str, symbol: str | None) -> Call:
    return _write(
        LOCK, "unlock_cold_keys", "identifier", identifier, setting_type=setting_type, symbol=symbol_or_none(symbol)
    )


def list_locks(identifier: str | None, setting_type: str | None) -> Call:
    return _read(LOCK, "list_locks", identifier=identifier, setting_type=setting_type)


def _keys(keys: Sequence[str] | None) -> list[str] | None:
    if keys is None:
        return None
    if not isinstance(keys, list | tuple):
        raise InvalidArgument(f"keys must be a list of strings, not {type(keys).__name__}")
    return [line(key, "a key", InvalidArgument) for key in keys]
