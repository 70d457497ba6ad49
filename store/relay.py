"""Brings to Redis what is marked in mirror_pending."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from store import calls
from store.connections import Connections
from store.errors import DatabaseUnavailable, StoreError
from store.mirror.mirror import Applied
from store.models import MirrorEntry

BATCH = 1000  # keys a round trip


async def drain(stores: Connections, owners: Sequence[str]) -> bool:
    """Mirror everything marked for these owners (OKX UIDs, Telegram IDs); return whether Redis has it all.

    Raises nothing: what doesn't get through stays marked.
    """
    try:
        rows = await stores.database.fetch(calls.pending_keys(owners, BATCH))
        results = await mirror(stores, [MirrorEntry(**row) for row in rows])
    except StoreError:
        return False
    return all(result.is_served for result in results)


async def mirror(stores: Connections, entries: Sequence[MirrorEntry]) -> list[Applied]:
    """Write entries to Redis and clear the marks of those it has now. Raises RedisUnavailable."""
    if not entries:
        return []
    results = await stores.mirror.apply(entries)
    done = [entry for entry, result in zip(entries, results, strict=True) if result.is_current]
    if done:
        clear = calls.clear_pending([e.owner for e in done], [e.kind for e in done], [e.version for e in done])
        with contextlib.suppress(DatabaseUnavailable):  # a mark that stays is applied once more, no harm
            await stores.database.fetch(clear)
    return results
