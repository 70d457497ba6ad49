"""`verify` of two equal stores, against merely reading both sides: the same rows streamed from PostgreSQL, and
pipelined HGETALL and GET of the same keys."""

from __future__ import annotations

import time

from benchmarks import people
from benchmarks.runner import Outcome, interleave
from store import Config, SettingsStore
from store.coherence.verify import verify
from store.operations import service
from store.postgres import functions

USERS, REPEATS = 2000, 5


async def measure(config: Config) -> list[Outcome]:
    """Compare all keys; as microseconds a key."""
    users = people.size(USERS)
    keys = 5 * users
    await people.empty(config)
    await people.fill_database(config, users)
    async with SettingsStore(config) as store, people.servers(config) as (_, redis):
        await service.sync(store._connections, "db", None, None, False, lambda _: None)

        async def ours() -> float:
            began = time.perf_counter()
            report = await verify(store._connections)
            assert (report.checked, report.ok) == (keys, keys), report
            return (time.perf_counter() - began) / keys * 1e6

        async def read() -> float:
            """Read every row, and the key of each; then search Redis for keys that nobody knows, as one must."""
            began = time.perf_counter()
            name = store._connections.mirror.keys.of
            async for rows in store._connections.database.stream(functions.mirror.mirror_source(), people.BATCH):
                async with redis.pipeline(transaction=False) as pipeline:
                    for row in rows:
                        get = pipeline.get if row["encoding"] in ("json", "string") else pipeline.hgetall
                        get(name(row["owner"], row["suffix"]))
                    assert all(await pipeline.execute())
            cursor = -1
            while cursor:
                cursor, _ = await redis.scan(max(cursor, 0), match="user:*", count=people.BATCH)
            return (time.perf_counter() - began) / keys * 1e6

        found = await interleave({"ours": ours, "read": read}, *people.repeats(users, REPEATS))
    await people.empty(config)
    return [Outcome("reading both sides", "µs/key", found["ours"], found["read"], 1.3)]
