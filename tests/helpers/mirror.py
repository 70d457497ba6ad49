"""Entries written to Redis as PostgreSQL has them just now."""

from __future__ import annotations

from collections.abc import Sequence

from store.mirror.client import Mirror
from store.mirror.entries import Applied, Found
from store.models import MirrorEntry


async def applied(mirror: Mirror, entries: Sequence[MirrorEntry], seen: Sequence[Found] | None = None) -> list[Applied]:
    """Apply entries, as if they were read after the lives of the mirror hashes were known."""
    return await mirror.apply(entries, seen, lives=await mirror.lives(entry.owner for entry in entries))
