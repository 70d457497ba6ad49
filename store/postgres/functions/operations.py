"""The SQL functions of operations, as statements with parameters. No I/O here."""

from __future__ import annotations

from store.postgres.call import Call, _read, _write
from store.postgres.functions._columns import SAVED


def store_statistics() -> Call:
    return _read("r.*", "store_statistics")


def timescaledb_state() -> Call:
    return _read("r.*", "timescaledb_state")


def write_probe(setting_type: str, text: str) -> Call:
    return _write(SAVED, "write_probe", "setting_type", setting_type, text=text)
