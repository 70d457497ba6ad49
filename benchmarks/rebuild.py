"""`sync --from db` into an empty Redis, against a pipeline that writes the same keys.

pipeline  the same keys, prepared in memory, by plain HSET and SET: nothing is read, nothing compared
read      the same, but read from PostgreSQL and encoded first
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks import people
from benchmarks.runner import Outcome, interleave
from store import Config, SettingsStore
from store.mirror.client import Mirror
from store.mirror.entries import to_words
from store.models import MirrorEntry
from store.operations import service
from store.postgres import functions

USERS, REPEATS, REACH = 2000, 5, 30_000


async def measure(config: Config) -> list[Outcome]:
    """Fill Redis; as keys a second: four and the mirror hash of each user, and that of each Telegram ID."""
    users = people.size(USERS)
    keys = 5 * users + (users + 1) // 2
    await people.empty(config)
    await people.fill_database(config, users)
    async with SettingsStore(config) as store, people.servers(config) as (_, redis):

        async def start() -> float:
            await redis.flushall()
            return time.perf_counter()

        async def ours() -> float:
            began = await start()
            report = await service.sync(store._connections, "db", None, None, False, lambda _: None)
            assert report.unresolved == 0
            seconds = time.perf_counter() - began
            assert await redis.dbsize() == keys
            return keys / seconds

        async def write(commands: Sequence[tuple[str, ...]]) -> None:
            async with redis.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                await pipeline.execute()

        prepared: list[list[tuple[str, ...]]] = []

        async def read() -> float:
            began, kept = await start(), not prepared
            async for rows in store._connections.database.stream(functions.mirror.mirror_source(), people.BATCH):
                commands = [
                    command for row in rows for command in _commands(store._connections.mirror, MirrorEntry(**row))
                ]
                await write(commands)
                if kept:
                    prepared.append(commands)
            return keys / (time.perf_counter() - began)

        async def pipeline() -> float:
            began = await start()
            for commands in prepared:
                await write(commands)
            assert await redis.dbsize() == keys
            return keys / (time.perf_counter() - began)

        await read()
        found = await interleave({"ours": ours, "pipeline": pipeline, "read": read}, *people.repeats(users, REPEATS))
    await people.empty(config)
    return [
        Outcome("a pipeline of prepared commands", "keys/s", found["ours"], found["pipeline"], 0.7, "at least"),
        Outcome("the same, read from PostgreSQL", "keys/s", found["ours"], found["read"]),
        Outcome(f"{REACH} keys a second", "keys/s", found["ours"], [REACH] * len(found["ours"]), 1, "at least"),
    ]


def _commands(mirror: Mirror, entry: MirrorEntry) -> list[tuple[str, ...]]:
    """Write one key and its version, with nothing to guard them."""
    (key, hash), content = mirror._keys(entry.owner, entry.suffix), to_words(entry)
    note = ("HSET", hash, entry.kind, str(entry.version), f"{entry.kind}:updated_at", entry.updated_at.isoformat())
    return [("SET" if entry.encoding in ("json", "string") else "HSET", key, *content), note]
