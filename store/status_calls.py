"""What status, probes and metrics ask, as statements with parameters, like store/calls.py; no I/O here."""

from __future__ import annotations

from collections.abc import Mapping

from store.jsonwriter import json_text
from store.statements import Call, _read


def pending_lag() -> Call:
    return _read("r.*", "pending_lag")


def key_count() -> Call:
    """How many keys the mirror has or should have."""
    return Call("select count(*) as keys from public.mirror_source", {})


def record_verification(checked: int, findings: Mapping[str, int], repaired: int) -> Call:
    return _read("r.*", "record_verification", checked=checked, findings=json_text(findings), repaired=repaired)


def last_verification() -> Call:
    return _read("r.*", "last_verification")


def store_statistics() -> Call:
    return _read("r.*", "store_statistics")


def timescaledb_state() -> Call:
    return _read("r.*", "timescaledb_state")
