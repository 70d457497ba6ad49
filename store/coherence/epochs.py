"""Tells whether Redis has been brought everything since either server is what it is, and at no earlier state.

A mark in Redis says which servers were reconciled, and in which epoch: a random word that PostgreSQL has, too. While
something is saved, the relay turns to another one every second, in both. So a Redis that went back to an earlier state
(an old dump loaded in place) has a word of the past, and a PostgreSQL that did (a crash, a restore) has none, or one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from store.coherence.connections import Connections
from store.postgres import functions

NONE = "-"  # where PostgreSQL has no epoch: a standby, say

READ = """
local mark = redis.pcall('GETRANGE', KEYS[1], 0, 4094)
mark = type(mark) == 'string' and mark or ''
"""

END_RECONCILING = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

TURN = f"""{READ}
if mark == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2])
end
return (mark == ARGV[1] or mark == ARGV[2]) and 1 or 0
"""


@dataclass(frozen=True)
class Servers:
    """Which servers these are: another name after a restart of Redis, a failover, data taken over from another, a
    crash of PostgreSQL, a restored backup, a change of MIRROR_CREDENTIALS. `words`: the current epoch and the next;
    `is_due`: to turn."""

    name: str
    words: tuple[str, ...]
    is_due: bool

    def mark(self, word: str | None) -> str:
        """Write the mark that Redis has in an epoch."""
        return f"{self.name} {word or NONE}"

    @property
    def marks(self) -> set[str]:
        return {self.mark(word) for word in self.words or (None,)}


async def servers(stores: Connections) -> Servers:
    """Look at both servers."""
    redis = hashlib.sha256(" ".join(await stores.mirror.identities()).encode()).hexdigest()  # however many nodes
    (row,) = await stores.database.fetch(functions.mirror.mirror_epoch())
    name = f"{redis} {row['identity']} {row['origin'] or NONE} {stores.mirror.credentials_mode}"
    return Servers(name, tuple(word for word in (row["epoch"], row["next_epoch"]) if word), row["is_due"])


async def marks(stores: Connections) -> set[str]:
    """Read what the last reconciliation was of; '' where that isn't known."""
    return set(await stores.mirror.at_marks(lambda at: ("EVAL", f"{READ} return mark", 1, at + "reconciled")))


async def is_reconciled(stores: Connections, now: Servers | None = None) -> bool:
    """Tell whether a relay has brought everything to Redis since either store is what it is."""
    now = now or await servers(stores)
    found = await marks(stores)
    return found <= now.marks or found <= now.marks | (await servers(stores)).marks  # a relay has turned meanwhile


async def begin_reconciling(stores: Connections, token: str) -> Servers:
    """Leave a token in Redis that is gone if Redis loses its data before the end; return which servers these are. A
    confined session, which sees one user's keys, leaves no mark."""
    await _begin(stores)
    now = await servers(stores)
    if not await stores.confinement.known():
        await stores.mirror.at_marks(lambda at: ("SET", at + "reconciling", token))
    return now


async def end_reconciling(stores: Connections, token: str, begun: Servers) -> bool:
    """Mark the reconciliation of these servers as done if the token is still there; return whether it was."""
    if await stores.confinement.known():
        return True
    row = await _begin(stores)
    mark = begun.mark(row["next_epoch"] if row else None)
    done = await stores.mirror.at_marks(
        lambda at: ("EVAL", END_RECONCILING, 2, at + "reconciled", at + "reconciling", token, mark)
    )
    if all(done) and row:
        await stores.database.fetch(functions.mirror.end_epoch(row["next_epoch"]))
    return all(done)


async def turn(stores: Connections, now: Servers) -> None:
    """Turn to another epoch in both stores, if that is due and Redis is still in this one. What a relay that ended amid
    this has left is brought to an end."""
    row = await _begin(stores) if now.is_due else None
    if row is None:
        return
    before, after = now.mark(row["epoch"]), now.mark(row["next_epoch"])
    if all(await stores.mirror.at_marks(lambda at: ("EVAL", TURN, 1, at + "reconciled", before, after))):
        await stores.database.fetch(functions.mirror.end_epoch(row["next_epoch"]))


async def _begin(stores: Connections) -> dict[str, Any] | None:
    """Return the current epoch and the next; None where there can't be any."""
    if await stores.confinement.known():
        return None
    rows = await stores.database.fetch(functions.mirror.begin_epoch())
    return rows[0] if rows else None
