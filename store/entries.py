"""What Redis should hold, in parts of bounded size.

Statements that read many keys leave long documents out (store/calls.py): those are read again here, a few at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from store import calls
from store.connections import Connections
from store.models import MirrorEntry


async def complete(stores: Connections, entries: Sequence[MirrorEntry]) -> list[MirrorEntry | None]:
    """Return entries with the documents that were left out, these as they are now; None for one that nobody has any
    more. The caller sees to it that it isn't too much together."""
    lacking = [entry for entry in entries if entry.is_partial]
    if not lacking:
        return list(entries)
    call = calls.mirror_state([entry.owner for entry in lacking], [entry.kind for entry in lacking])
    found = {(row["owner"], row["kind"]): MirrorEntry(**row) for row in await stores.database.fetch(call)}
    return [found.get((entry.owner, entry.kind)) if entry.is_partial else entry for entry in entries]
