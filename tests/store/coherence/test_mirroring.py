"""What a save learns of how its own version got to Redis."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import redis as redis_py

from store import SettingsStore
from store.coherence.mirroring import mirror, overwrite
from store.mirror.entries import Place
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
    assert (result.serves(newer.version), result.is_current, result.version) == (True, False, newer.version)
    assert json.loads(str(redis.get(f"user:{user}:settings")))["leverage"] == 20


async def test_an_older_version_that_comes_in_between_is_written_over(
    store: SettingsStore, user: str, redis: redis_py.Redis, db: psycopg.Connection[dict[str, Any]]
) -> None:
    await store.get(user, "params")
    (row,) = await store._connections.database.fetch(functions.mirror.mirror_state([user], ["params"]))
    place = Place.of(MirrorEntry(**row))
    (seen,) = await store._connections.mirror.inspect([place])
    await store.patch(user, "params", {"leverage": 20})  # which Redis has, when what was seen is to be written over
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 30}')", (user,))
    (row,) = await store._connections.database.fetch(functions.mirror.mirror_state([user], ["params"]))
    result = await overwrite(store._connections, place, seen, MirrorEntry(**row))
    assert (result.is_current, result.version) == (True, row["version"])
    assert json.loads(str(redis.get(f"user:{user}:settings")))["leverage"] == 30
