"""The SQL functions that remember who was erased, as statements with parameters."""

from __future__ import annotations

from collections.abc import Sequence

from store.statements import Call, _read


def erase_unknown(owners: Sequence[str]) -> Call:
    return _read("r", "erase_unknown", owners=list(owners))


def erased_owners(owners: Sequence[str]) -> Call:
    return _read("r", "erased_owners", owners=list(owners))


def clear_erased(owners: Sequence[str]) -> Call:
    return _read("r", "clear_erased", owners=list(owners))
