"""A process of the soak test: writes and reads at random."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import redis as redis_py

from store import SettingsStore, StoreError
from store.postgres.call import Call

USERS = [f"10000000000000{number:02}" for number in range(8)]
SUFFIXES = {"preferences": "preferences", "params": "settings", "dual_side": "dual_side"}
RAW_UPDATE = (
    "update user_settings set settings = settings || jsonb_build_object('n', %(n)s::bigint)"
    " where okx_uid = %(user)s and setting_type = %(kind)s and is_active and deleted_at is null returning version"
)


async def work(seed: int, ops: int, notes: Path, rogue: bool) -> None:
    """Write and read at random; note each acknowledged save as `saved okx_uid type version n`."""
    random_ = random.Random(seed)
    latest: dict[tuple[str, str], int] = {}
    with notes.open("a", encoding="utf-8", buffering=1) as file:
        async with SettingsStore() as store:
            for number in range(ops):
                user, kind = random_.choice(USERS), random_.choice(list(SUFFIXES))
                token = seed * 100_000_000 + number
                try:
                    note = await _operate(store, random_, user, kind, token, latest.get((user, kind), 0), rogue)
                except StoreError as error:
                    note = f"error {type(error).__name__}"
                    await asyncio.sleep(0.005)
                file.write(note + "\n")
                if note.startswith("saved"):
                    latest[user, kind] = max(latest.get((user, kind), 0), int(note.split()[3]))


async def _operate(
    store: SettingsStore, random_: random.Random, user: str, kind: str, token: int, latest: int, rogue: bool
) -> str:
    choice = random_.random()
    if choice < 0.3:
        saved = await store.save(user, kind, {"n": token, "pad": "x" * random_.randrange(200)})
        return f"saved {user} {kind} {saved.version} {token}"
    if choice < 0.45:
        saved = await store.patch(user, kind, {"n": token})
        return f"saved {user} {kind} {saved.version} {token}"
    if choice < 0.55:  # another program, which knows nothing of Redis
        rows = await store._connections.database.fetch(Call(RAW_UPDATE, {"user": user, "kind": kind, "n": token}))
        return f"saved {user} {kind} {rows[0]['version']} {token}" if rows else "nothing"
    if choice < 0.57:
        await store.delete(user, kind)
        return "deleted"
    if choice < 0.6:
        saved = await store.rollback(user, kind, random_.randrange(max(1, latest - 5), latest + 2))
        return f"saved {user} {kind} {saved.version} {saved.settings['n']}" if "n" in saved.settings else "rolled back"
    if choice < 0.61:
        saved = await store.restore(user, kind)
        return f"saved {user} {kind} {saved.version} {saved.settings['n']}" if "n" in saved.settings else "restored"
    if choice < 0.65:
        keyed = await store.save_credentials(user, f"key-{token}", "secret", "passphrase")
        return f"keyed {user} {keyed.version} {token}"
    if choice < 0.67:
        return "read keys" if await store.get_credentials(user) else "no keys"
    if choice < 0.7 and rogue:
        key = f"user:{user}:{SUFFIXES[kind]}"
        with contextlib.suppress(redis_py.RedisError, OSError):
            if kind == "params":
                await store._connections.mirror.redis.set(key, f'{{"n": {-token}}}')
            else:
                await store._connections.mirror.redis.hset(key, "n", str(-token))
        return "rogue"
    found = await store.get(user, kind, min_version=latest)  # none: deleted, which is a newer version
    return f"less {user} {kind} {latest} {found.version}" if found and found.version < latest else "read"
