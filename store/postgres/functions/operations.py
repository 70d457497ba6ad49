"""The SQL functions of operations, as statements with parameters. No I/O here."""

from __future__ import annotations

from store.postgres.call import Call, _read


def store_statistics() -> Call:
    return _read("r.*", "store_statistics")


def timescaledb_state() -> Call:
    return _read("r.*", "timescaledb_state")
