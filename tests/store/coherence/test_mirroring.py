"""What a save learns of how its own version got to Redis."""

from __future__ import annotations

import json

import redis as redis_py

from store import SettingsStore
from store.coherence.mirroring import mirror
from store.models import MirrorEntry
from store.postgres import functions


async def test_a_newer_version_that_is_written_where_the_guard_was_lost_is_not_told_as_the_own(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    call = functions.mirror.mirror_state([user], ["params"])
    (row,) = await store._connections.database.fetch(call)
    newer = await store.patch(user, "params", {"leverage": 20})
    redis.flushall()
    (result,) = await mirror(store._connections, [MirrorEntry(**row)], in_hurry=True)
    assert (result.is_served, result.is_current, result.version) == (True, False, newer.version)
    assert json.loads(str(redis.get(f"user:{user}:settings")))["leverage"] == 20
