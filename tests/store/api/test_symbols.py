"""Documents of symbols by the store: from Redis, from the cache, from PostgreSQL; and what goes through all keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis as redis_py

from store import Config, InvalidArgument, SettingsStore, UnknownVersion
from store.coherence.relay import drain
from store.coherence.sync import Sync
from store.coherence.verify import verify
from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch, value

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
OF_BTC = f"dual_side:{BTC}"
TRIGGER = "dual_side_entry_trigger"
MIRROR = f"user:{OKX_UID}:mirror"


def key(symbol: str = BTC, uid: str = OKX_UID) -> str:
    return f"user:{uid}:symbol:{symbol}:dual_side"


async def number(store: SettingsStore, symbol: str | None, **named: object) -> tuple[str, int, str] | None:
    """Whose dual_side get() returns, its trigger, and which store answered."""
    found = await store.get(OKX_UID, "dual_side", symbol=symbol, **named)  # type: ignore[arg-type]
    return None if found is None else (found.setting_type, found.settings[TRIGGER], found.source)


async def test_a_save_of_a_symbol_reaches_a_key_of_its_own(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    before = redis.hgetall(f"user:{user}:dual_side")
    saved = await store.patch(user, "dual_side", {TRIGGER: 5}, symbol=BTC)
    assert (saved.setting_type, saved.symbol, saved.version, saved.mirrored) == (OF_BTC, BTC, 1, True)
    assert redis.hgetall(key()) == {**before, TRIGGER: "5"}  # it begins as the user's own
    assert redis.hget(MIRROR, OF_BTC) == "1"
    assert redis.hgetall(f"user:{user}:dual_side") == before
    assert await number(store, BTC) == (OF_BTC, 5, "redis")
    for found in (
        await store.get_all(user),
        await store.get_all(user, source="db"),
        (await store.register(user)).settings,
    ):
        assert [each.setting_type for each in found] == ["dual_side", OF_BTC, "params", "preferences"]
    assert [each.symbol for each in await store.get_all(user, symbol=BTC)] == [BTC, None, None]
    assert [each.symbol for each in await store.history(user)].count(BTC) == 1
    assert await store.delete(user, "dual_side", symbol=BTC)
    assert not redis.exists(key())
    assert await number(store, BTC) == ("dual_side", 3, "redis")  # the mirrored deletion says so


async def test_a_read_falls_back_to_the_users_own_and_asks_postgresql_once(
    store: SettingsStore, user: str, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await number(store, BTC, source="redis") == ("dual_side", 3, "redis")
    assert await number(store, BTC) == ("dual_side", 3, "db")
    with monkeypatch.context() as away:
        away.setattr(store._connections, "database", None)
        assert await number(store, BTC) == ("dual_side", 3, "redis")
    assert (await verify(store._connections)).findings.total() == 0
    await store.patch(user, "dual_side", {TRIGGER: 5}, symbol=BTC)  # over the note
    assert await number(store, BTC) == (OF_BTC, 5, "redis")
    redis.delete(MIRROR, key())  # Redis lost the document with what it knew of it
    assert await number(store, BTC) == (OF_BTC, 5, "db")
    assert await number(store, BTC) == (OF_BTC, 5, "redis")


async def test_a_version_to_wait_for_is_the_symbols(store: SettingsStore, user: str, db: Connection) -> None:
    for n in range(3):
        await store.patch(user, "dual_side", {TRIGGER: n})
    await number(store, BTC)  # Redis knows of none
    fetch(db, "select from upsert_user_setting(%s, 'dual_side', '{}', p_symbol => %s)", (user, BTC))
    found = await store.get(user, "dual_side", symbol=BTC, min_version=1)
    assert found is not None
    assert (found.symbol, found.version) == (BTC, 1)
    with pytest.raises(UnknownVersion):
        await store.get(user, "dual_side", symbol=BTC, min_version=2)


async def test_the_cache_serves_symbols_and_forgets_them(config: Config, store: SettingsStore, user: str) -> None:
    async with SettingsStore(config, cache=10) as cached:
        for trigger in range(5, 25):
            symbol = (BTC, ETH)[trigger % 2]
            await store.patch(user, "dual_side", {TRIGGER: trigger}, symbol=symbol)
            for each in (None, BTC, ETH):
                for _ in range(2):
                    found = await cached.get(user, "dual_side", symbol=each, min_version=1 if each == symbol else 0)
                    assert found is not None
                    if each == symbol:
                        assert (found.symbol, found.settings[TRIGGER]) == (symbol, trigger)
                    assert found.symbol in (None, each)
        await cached.delete(user, "dual_side", symbol=BTC)
        for _ in range(2):
            found = await cached.get(user, "dual_side", symbol=BTC)
            assert found is not None
            assert found.symbol is None


@pytest.mark.parametrize("symbol", ["btc", "", "BTC-USDT-SWAP:x", "*", 5, "BTC-\x00"])
async def test_what_is_no_symbol_is_refused(store: SettingsStore, user: str, symbol: str) -> None:
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.get(user, "dual_side", symbol=symbol),
        lambda: store.get_all(user, symbol=symbol),
        lambda: store.get(user, "params", symbol=BTC),
        lambda: store.save(user, "dual_side", {}, symbol=symbol),
        lambda: store.history(user, symbol=symbol),
        lambda: store.search("dual_side", {}, symbol=symbol),
        lambda: store.apply_template("default", "dual_side", identifiers=[user], symbol=symbol),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument):
            await call()


async def test_what_bots_wrote_for_symbols_is_taken_over(store: SettingsStore, redis: redis_py.Redis) -> None:
    alike: dict[str, dict[Any, Any]] = {
        f"user:{OKX_UID}:symbol:btc-usdt:dual_side": {"a": "1"},
        f"user:{OKX_UID}:symbol:{BTC}:settings": {"a": "1"},
        f"user:{OKX_UID}:symbol:{BTC}:dual_side:old": {"a": "1"},
        f"user:{OKX_UID}:symbol:{BTC}": {"a": "1"},
        f"user:{OKX_UID}:symbol:": {"a": "1"},
        f"user:1234567:symbol:{BTC}:dual_side": {"a": "1"},
    }
    for name, fields in alike.items():
        redis.hset(name, mapping=fields)
    redis.hset(key(), mapping={TRIGGER: "5", "use_dual_sl": "True"})
    redis.hset(key(ETH), mapping={TRIGGER: "7"})
    assert (await verify(store._connections)).findings == {"unmarked": 2}
    outcomes = await Sync(store._connections).run()
    assert outcomes == {"new": 2, "bad": 1}  # a Telegram ID's key
    assert await number(store, BTC, source="db") == (OF_BTC, 5, "db")
    assert (await Sync(store._connections).run())["ok"] == 2
    assert (await verify(store._connections, repair=True)).findings == {}
    assert {name: redis.hgetall(name) for name in alike} == alike

    redis.hset(key(), TRIGGER, "6")  # edited by a bot, and lost to a repair: kept
    assert (await verify(store._connections, okx_uid=OKX_UID, repair=True)).findings == {"edited": 1}
    assert [version.change_reason for version in await store.history(OKX_UID, "dual_side", symbol=BTC)] == [
        "put back", "found in Redis, lost against PostgreSQL", "found in Redis",
    ]  # fmt: skip
    assert redis.hget(key(), TRIGGER) == "5"


async def test_a_registration_takes_the_symbols_along(store: SettingsStore, redis: redis_py.Redis) -> None:
    redis.hset(f"user:{OKX_UID}:dual_side", mapping={TRIGGER: "4"})
    redis.hset(key(), mapping={TRIGGER: "5"})
    await store.register(OKX_UID)
    assert await number(store, BTC) == (OF_BTC, 5, "redis")
    assert (await verify(store._connections)).findings == {}


@pytest.mark.parametrize("is_registered_again", [False, True])
async def test_an_erasure_leaves_nothing_of_any_symbol(
    store: SettingsStore, user: str, redis: redis_py.Redis, db: Connection, is_registered_again: bool
) -> None:
    other = "1000000000000001"
    await store.register(other)
    for uid in (user, other):
        await store.patch(uid, "dual_side", {TRIGGER: 5}, symbol=BTC)
        redis.hset(key(ETH, uid), mapping={TRIGGER: "7"})  # PostgreSQL knows nothing of that
    if is_registered_again:  # while Redis has all of it still
        fetch(db, "select from erase_user(%s)", (user,))
        fetch(db, "select from register_user(%s)", (user,))
        fetch(db, "select from upsert_user_setting(%s, 'dual_side', '{}', p_symbol => %s)", (user, ETH))
        assert (await Sync(store._connections, prefer="redis").run())["new"] == 1  # the other's
        await drain(store._connections)
        assert await store.get(user, "dual_side", symbol=ETH) == await store.get(user, f"dual_side:{ETH}")
        assert [version.version for version in await store.history(user, "dual_side", symbol=ETH)] == [1]
    else:
        assert (await store.erase_user(user)).mirrored
        assert not list(redis.scan_iter(f"user:{user}:symbol:*"))
    assert not redis.exists(key())
    assert redis.hgetall(key(ETH, other)) == {TRIGGER: "7"}
    await store._connections.marks.clear()
    assert value(db, "select count(*) from mirror_pending") == 0
    if not is_registered_again:  # an old copy of Redis
        redis.hset(key(ETH), mapping={TRIGGER: "7"})
        assert (await verify(store._connections, repair=True)).findings["erased"] == 1
        redis.hset(key(ETH), mapping={TRIGGER: "7"})
        assert not (await store.erase_user(user)).was_known
        assert not redis.exists(key(ETH))
        with pytest.raises(Exception, match="unknown user"):
            await store.get(user, "dual_side", symbol=ETH)
    assert (await verify(store._connections)).findings in ({}, {"unmarked": 1})


async def test_watch_tells_of_symbols(store: SettingsStore, user: str) -> None:
    async with store._connections.mirror.subscribed() as pubsub:
        await store.patch(user, "dual_side", {TRIGGER: 5}, symbol=BTC)
        while (message := await pubsub.get_message(timeout=5)) is not None and message["type"] != "message":
            pass
    assert message is not None
    assert f'"setting_type": "{OF_BTC}", "version": 1' in message["data"]
    assert (await store._connections.mirror.versions([user]))[user, OF_BTC] == 1
