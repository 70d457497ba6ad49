"""Many commands at a time: every reply to its command, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha1

import pytest
import redis as redis_py

from store import Config, RedisUnavailable, SettingsStore
from store.coherence.verify import verify
from store.mirror.entries import Place
from store.mirror.pipeline import Command, Script, exchange
from store.models import MirrorEntry
from store.postgres import functions
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.credentials import KEY, secrets, with_keys

INCREMENT = "return redis.call('INCR', KEYS[1])"
PADDING = "x" * 1000
MANY = 300  # of them make several writes


async def test_each_of_many_replies_is_that_of_its_command(store: SettingsStore) -> None:
    texts = [f"{number} {PADDING}" for number in range(MANY)]
    assert await exchange(store._connections.mirror.redis, (Command(("ECHO", text)) for text in texts)) == texts


async def test_a_command_that_is_refused_is_a_reply_and_not_the_end(
    store: SettingsStore, redis: redis_py.Redis
) -> None:
    redis.set("a string", "1")
    commands = [Command(("HGET", "a string", "field")) if n == 100 else Command(("ECHO", n)) for n in range(MANY)]
    replies = await exchange(store._connections.mirror.redis, commands)
    assert "WRONGTYPE" in str(replies.pop(100))
    assert replies == [str(n) for n in range(MANY) if n != 100]


async def test_a_script_that_is_lost_midway_runs_once_for_each_key(store: SettingsStore, redis: redis_py.Redis) -> None:
    script = Script(INCREMENT, sha1(INCREMENT.encode()).hexdigest())
    redis.script_load(INCREMENT)

    def increments() -> Iterator[Command]:
        for number in range(MANY):
            if number == MANY // 2 and redis.get("lost") is None:
                redis.script_flush()
                redis.set("lost", 1)
            yield script.call((f"key {number}",), (PADDING,))

    assert await store._connections.mirror._run(script, increments) == [1] * MANY


async def test_what_is_given_up_midway_leaves_no_reply_for_the_next_one(store: SettingsStore) -> None:
    def commands() -> Iterator[Command]:
        for number in range(MANY):
            yield Command(("ECHO", f"{number} {PADDING}"))
        raise ValueError("not to be sent")

    with pytest.raises(ValueError):
        await exchange(store._connections.mirror.redis, commands())
    assert await exchange(store._connections.mirror.redis, [Command(("ECHO", "next"))]) == ["next"]


async def test_a_batch_may_take_longer_than_the_timeout_if_redis_goes_on_answering(config: Config) -> None:
    slow = [Command(("BLPOP", "nothing", "0.02"))] * 60
    async with SettingsStore(replace(config, redis_timeout=1.0)) as store:
        assert await exchange(store._connections.mirror.redis, slow) == [None] * 60


async def test_a_silent_redis_is_given_up_after_the_timeout(config: Config) -> None:
    async with SettingsStore(replace(config, redis_timeout=0.2)) as store:
        mirror = store._connections.mirror
        with pytest.raises(RedisUnavailable, match=r"0\.2 s"):
            await mirror._call(lambda: exchange(mirror.redis, [Command(("BLPOP", "nothing", "5"))]))
        assert await exchange(mirror.redis, [Command(("ECHO", "next"))]) == ["next"]


async def test_a_look_sees_what_an_inspection_sees(config: Config, user: str, redis: redis_py.Redis) -> None:
    async with SettingsStore(with_keys(config, KEY)) as store:
        await store.save_credentials(user, *secrets(1))
        await store.delete(user, "dual_side")
        redis.delete(f"user:{user}:preferences")
        rows = await store._connections.database.fetch(functions.mirror.mirror_source([user, TELEGRAM_ID]))
        places = [Place.of(MirrorEntry(**row)) for row in rows]
        assert len(places) == 6
        mirror = store._connections.mirror
        assert await mirror.look(places, await mirror.sizes(places)) == await mirror.inspect(places)
        redis.flushall()
        assert await mirror.look(places, await mirror.sizes(places)) == await mirror.inspect(places)


async def test_one_key_too_many_is_found_where_another_is_missing(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    redis.delete(f"user:{user}:settings")
    redis.set(f"user:{OKX_UID[::-1]}:settings", "{}")
    assert (await verify(store._connections)).findings == {"missing": 1, "unmarked": 1}
    assert (await verify(store._connections, repair=True)).findings == {"missing": 1, "unmarked": 1}
    assert (await verify(store._connections)).findings == {"unmarked": 1}
