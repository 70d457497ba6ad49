"""What an older Redis has again of people who were erased."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from store.coherence.connections import Connections
from store.errors import DatabaseReadOnly
from store.mirror.entries import TELEGRAM, Place, moment
from store.mirror.keys import OKX_UID
from store.postgres import functions

BATCH = 1000  # mirror hashes a query


async def left_of_erased(stores: Connections, owners: Sequence[str]) -> list[Place]:
    """Find mirror hashes of erased people; those left by the erasure itself, which expire, are none."""
    left = []
    for row in await stores.database.fetch(functions.users.erased_owners(owners)):
        place = Place(row["r"], "user" if OKX_UID.fullmatch(row["r"]) else TELEGRAM.kind, "mirror", "mirror")
        if not await stores.mirror.is_left_by_erasure(place.owner):
            left.append(place)
    return left


async def mark_left_of_erased(stores: Connections, may_go_on: Callable[[], bool]) -> None:
    """Mark all keys of erased people whose mirror hash Redis has; of who is registered again what is from before.
    Where PostgreSQL takes no writes, nothing is done."""
    only = await stores.confinement.known() or None
    with contextlib.suppress(DatabaseReadOnly):
        async for keys in stores.mirror.scan(BATCH, "mirror", only):
            if not may_go_on():
                return
            owners = [owner for owner, _ in keys]
            if left := await left_of_erased(stores, owners):
                await stores.database.fetch(functions.users.clear_erased([place.owner for place in left]))
            for row in await stores.database.fetch(functions.users.returned_owners(owners)):
                given = await stores.mirror.given([row["r"]])
                former = {kind: (version, at) for (_, kind), (version, text) in given.items() if (at := moment(text))}
                await stores.database.fetch(functions.users.clear_former_life(row["r"], former))
