"""The kill switch from Python: what halted() says, from the cache, Redis and PostgreSQL, and who may make it say so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha1

import pytest
import redis as redis_py
from psycopg.conninfo import make_conninfo

from store import Config, Halt, InvalidArgument, NotPermitted, SettingsStore, UnknownUser
from store.coherence import relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually
from tests.helpers.sessions import Connection, fetch, value

OTHER = "1000000000000001"
SYMBOL, OTHER_SYMBOL = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
KEY, MIRROR = "user:00000000000000000000:halts", "user:00000000000000000000:mirror"


@pytest.fixture
async def cached(config: Config, user: str) -> AsyncIterator[SettingsStore]:
    """A store with a cache; `store` is another process's."""
    async with SettingsStore(config, cache=10) as opened:
        yield opened


async def reason(store: SettingsStore, identifier: str = OKX_UID, symbol: str | None = None) -> str | None:
    halt = await store.halted(identifier, symbol)
    return None if halt is None else halt.reason


def asked(db: Connection) -> int:
    """How many rows of halts were read in PostgreSQL so far."""
    fetch(db, "select pg_stat_clear_snapshot()")
    return int(value(db, "select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname = 'list_halts'"))


async def test_the_widest_halt_in_force_is_told(store: SettingsStore, user: str) -> None:
    assert await store.halted(OKX_UID, SYMBOL) is None
    await store.halt_trading("both", OKX_UID, symbol=SYMBOL)
    assert (await reason(store, symbol=SYMBOL), await reason(store)) == ("both", None)
    assert await reason(store, OTHER, SYMBOL) is None
    await store.halt_trading("symbol", symbol=SYMBOL)
    assert (await reason(store, OTHER, SYMBOL), await reason(store, OTHER, OTHER_SYMBOL)) == ("symbol", None)
    await store.halt_trading("user", TELEGRAM_ID)
    assert (await reason(store, symbol=OTHER_SYMBOL), await reason(store, TELEGRAM_ID)) == ("user", "user")
    saved = await store.halt_trading("all", actor="kim")
    assert saved.mirrored
    found = await store.halted(OTHER)
    assert found == Halt(None, None, "all", saved.since)
    assert found.scope == "everybody"
    assert await store.resume_trading("fine", symbol=OTHER_SYMBOL) is None
    ended = await store.resume_trading("fine")
    assert ended is not None
    assert (ended.mirrored, ended.halted_by, ended.resume_reason) == (True, "kim", "fine")
    assert [halt.reason for halt in await store.list_halts()] == ["user", "symbol", "both"]
    assert [halt.reason for halt in await store.list_halts(include_ended=True)] == ["all", "user", "symbol", "both"]
    scopes = [halt.scope for halt in await store.list_halts()]
    assert scopes == [f"user {OKX_UID}", SYMBOL.join(("everybody, ", "")), f"user {OKX_UID}, {SYMBOL}"]


async def test_what_is_no_halt_or_nobody_is_refused(store: SettingsStore, user: str) -> None:
    for refused in ("", "x" * 1001, "a\nb"):
        with pytest.raises(InvalidArgument):
            await store.halt_trading(refused)
    with pytest.raises(InvalidArgument):
        await store.halt_trading("x", symbol="btc")
    with pytest.raises(UnknownUser):
        await store.halt_trading("x", OTHER)
    with pytest.raises(UnknownUser):
        await store.halted("77777")
    assert await store.list_halts() == []


async def test_redis_has_one_key_that_any_reader_understands(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    await store.halt_trading("하지 마", symbol=SYMBOL)
    saved = await store.halt_trading("down")
    assert json.loads(str(redis.get(KEY))) == [
        {
            "okx_uid": None,
            "symbol": SYMBOL,
            "reason": "하지 마",
            "since": (await store.list_halts())[1].since.isoformat(),
        },
        {"okx_uid": None, "symbol": None, "reason": "down", "since": saved.since.isoformat()},
    ]
    await store.resume_trading("up")
    await store.resume_trading("up", symbol=SYMBOL)
    assert redis.get(KEY) == "[]"
    assert (await verify(store._connections)).findings == {}


async def test_redis_answers_and_where_it_does_not_know_postgresql_tells_it(
    store: SettingsStore, user: str, redis: redis_py.Redis, db: Connection
) -> None:
    async def is_asked(expected: str | None) -> bool:
        before = redis.info("commandstats").get("cmdstat_hset", {"calls": 0})["calls"]
        assert await reason(store) == expected
        return bool(redis.info("commandstats").get("cmdstat_hset", {"calls": 0})["calls"] != before)

    assert await is_asked(None)
    assert not await is_asked(None)  # that there are none is known now
    await store.halt_trading("down")
    assert not await is_asked("down")
    redis.delete(KEY)
    assert await is_asked("down")
    assert not await is_asked("down")
    redis.flushall()
    assert await is_asked("down")
    assert not await is_asked("down")
    assert redis.hget(MIRROR, "halts") == "1"


@pytest.mark.parametrize("rogue", ["[]", "{}", "", "no JSON", '[{"okx_uid": null}]', "x" * 2_000_000])
async def test_a_rogue_value_is_not_believed_and_put_right_by_whoever_reads_it(
    store: SettingsStore, user: str, redis: redis_py.Redis, rogue: str
) -> None:
    await store.halt_trading("down")
    given = redis.get(KEY)
    redis.set(KEY, rogue)
    assert await reason(store) == "down"
    assert redis.get(KEY) == given
    redis.set(KEY, rogue[:9])
    redis.hset(MIRROR, "halts:digest", sha1(rogue[:9].encode()).hexdigest())  # forged as well
    assert rogue in ("[]", "{}") or await reason(store) == "down"
    redis.delete(KEY)
    redis.hset(KEY, "a", "b")
    assert await reason(store) == "down"
    assert redis.get(KEY) == given


@pytest.mark.parametrize("is_halted", [True, False])
async def test_a_rogue_value_is_found_and_overwritten_by_verify_and_never_taken_over(
    store: SettingsStore, user: str, redis: redis_py.Redis, db: Connection, is_halted: bool
) -> None:
    if is_halted:
        await store.halt_trading("down")
    for _ in range(2):
        redis.set(KEY, '[{"okx_uid": null, "symbol": null, "reason": "rogue", "since": "2026-01-01T00:00:00+00:00"}]')
        await Sync(store._connections, prefer="redis").run()
        assert [halt.reason for halt in await store.list_halts(include_ended=True)] == ["down"] * is_halted
        assert value(db, "select count(*) from app_users") == 1
        found = await verify(store._connections)
        assert list(found.findings) in (["edited"], ["unmarked"], ["orphan"])
        repaired = await verify(store._connections, repair=True)
        assert (repaired.repaired, repaired.failures, repaired.held) == (1, {}, {})
        assert [halt["reason"] for halt in json.loads(str(redis.get(KEY)))] == ["down"] * is_halted
        assert (await verify(store._connections)).findings == {}


async def test_the_relay_brings_what_psql_halts_over_whatever_is_there(
    store: SettingsStore, user: str, redis: redis_py.Redis, db: Connection
) -> None:
    for halted, text in enumerate(("rogue", '{"rogue": 1}', "[]")):
        redis.set(KEY, text)
        fetch(db, "select from halt_trading(%s, null, %s)", (text, f"S-{halted}"))
        done = await relay.drain(store._connections)
        assert (done.failures, done.held) == ({}, {})
        assert len(json.loads(str(redis.get(KEY)))) == halted + 1
    assert value(db, "select count(*) from mirror_pending") == 0
    fetch(db, "select from resume_trading('x', null, 'S-0')")
    await relay.reconcile(store._connections)
    assert len(json.loads(str(redis.get(KEY)))) == 2


async def test_a_cached_store_asks_nobody_and_is_told_at_once(
    cached: SettingsStore, store: SettingsStore, redis: redis_py.Redis
) -> None:
    def gets() -> int:
        return int(redis.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"])

    async def is_hit() -> bool:
        before = gets()
        await cached.halted(OKX_UID, SYMBOL)
        return gets() == before and cached._cache.halts() is not None

    async def tells(expected: str | None) -> bool:
        return await reason(cached) == expected

    await store.halt_trading("down")
    await eventually(lambda: tells("down"))
    await eventually(is_hit)
    await store.resume_trading("up")
    await eventually(lambda: tells(None))
    await eventually(is_hit)
    redis.delete(KEY)
    await eventually(lambda: tells(None))
    saved = await cached.halt_trading("own")
    assert saved.mirrored
    assert await reason(cached) == "own"


async def test_a_watch_that_asks_for_it_is_told_of_halts_and_others_are_not(store: SettingsStore, user: str) -> None:
    watches = [store.watch(OKX_UID, halts=True), store.watch(halts=True), store.watch(OKX_UID)]
    heard = [asyncio.ensure_future(anext(changes)) for changes in watches]

    async def are_watched() -> bool:
        counts = await store._connections.mirror.redis.pubsub_numsub(store._connections.mirror.channel)
        return bool(counts[0][1] == len(watches))

    await eventually(are_watched)
    await store.halt_trading("down")
    for change in await asyncio.gather(*heard[:2]):
        assert (change.is_of_halts, change.setting_type, change.version) == (True, "halts", 1)
    await store.patch(OKX_UID, "params", {"leverage": 20})
    change = await heard[2]
    assert (change.is_of_halts, change.setting_type) == (False, "params")


async def test_a_confined_store_halts_the_own_user_and_the_relay_brings_it(
    config: Config, store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    await store.ensure_user(OTHER)
    await store.halt_trading("other", OTHER)
    assert config.database_url
    only = make_conninfo(config.database_url, options=f"-c settings_store.okx_uid={OKX_UID}")
    async with SettingsStore(replace(config, database_url=only), cache=10) as confined:
        assert await confined.halted(OKX_UID) is None
        saved = await confined.halt_trading("own", OKX_UID)
        assert not saved.mirrored
        await relay.drain(store._connections)
        await eventually(lambda: _is(confined, "own"))
        with pytest.raises(NotPermitted):
            await confined.halted(OTHER)
        for whose in (None, OTHER):
            with pytest.raises(NotPermitted):
                await confined.halt_trading("x", whose)
        redis.flushall()
        assert await reason(confined, TELEGRAM_ID) == "own"
        assert redis.exists(KEY, MIRROR) == 0  # it doesn't know everybody's
        assert [halt.reason for halt in await confined.list_halts()] == ["own"]


async def _is(store: SettingsStore, expected: str) -> bool:
    return await reason(store) == expected


async def test_a_reader_and_a_writer_ask_and_fill_redis_again(
    config: Config, store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    await store.halt_trading("down")
    assert config.database_url
    for role in ("reader", "writer"):
        redis.flushall()
        url = make_conninfo(config.database_url, options=f"-c role=settings_{role}")
        async with SettingsStore(replace(config, database_url=url)) as other:
            assert await reason(other) == "down"
            assert redis.exists(KEY)
            if role == "reader":
                with pytest.raises(NotPermitted):
                    await other.resume_trading("x")
            else:
                assert await other.resume_trading("x") is not None


async def test_halts_take_no_users_place_in_the_cache(config: Config, store: SettingsStore, user: str) -> None:
    async with SettingsStore(config, cache=1) as cached:

        async def is_kept() -> bool:
            await cached.get(OKX_UID, "params")
            await cached.halted(OKX_UID)
            return cached._cache.find(OKX_UID, "params") is not None and cached._cache.halts() is not None

        await eventually(is_kept)
