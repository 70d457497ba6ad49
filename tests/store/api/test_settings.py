"""The read and write paths, with both servers up."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import InvalidArgument, InvalidSettings, SettingsStore, UnknownSettingType, UnknownUser, VersionConflict
from store.postgres import functions
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually


async def test_a_source_that_is_neither_store_is_refused(store: SettingsStore) -> None:
    with pytest.raises(InvalidArgument, match="redis or db"):
        await store.get(OKX_UID, "params", source="postgres")  # type: ignore[arg-type]


async def test_register_saves_the_defaults_on_both_sides(store: SettingsStore, redis: redis_py.Redis) -> None:
    registration = await store.register(OKX_UID, TELEGRAM_ID, name="Kim")

    assert {s.setting_type: (s.version, len(s.settings), s.mirrored) for s in registration.settings} == {
        "dual_side": (1, 13, True),
        "params": (1, 50, True),
        "preferences": (1, 2, True),
    }
    assert redis.hgetall(f"user:{OKX_UID}:preferences") == {"timeframe": "1m", "symbol": "BTC-USDT-SWAP"}
    assert redis.hget(f"user:{OKX_UID}:dual_side", "use_dual_side_entry") == "false"
    assert json.loads(str(redis.get(f"user:{OKX_UID}:settings")))["direction"] == "롱숏"
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID
    assert redis.hget(f"user:{OKX_UID}:mirror", "params") == "1"


async def test_registering_again_keeps_what_is_there(store: SettingsStore, user: str) -> None:
    await store.patch(user, "params", {"leverage": 20})
    registration = await store.register(user)
    by_type = {s.setting_type: s for s in registration.settings}
    assert (by_type["params"].version, by_type["params"].settings["leverage"]) == (2, 20)
    assert registration.user.telegram_id == TELEGRAM_ID


async def test_a_save_reads_back_the_same_from_either_store(store: SettingsStore, user: str) -> None:
    document = {"leverage": 7, "direction": "롱", "note": 'x"y\\z', "deep": {"a": [1, None, True, 0.1]}}
    saved = await store.save(user, "params", document)
    assert (saved.version, saved.mirrored) == (2, True)
    for source in ("redis", "db"):
        found = await store.get(user, "params", source=source)
        assert found is not None
        assert (found.version, found.settings, found.source) == (2, document, source)
        assert (found.okx_uid, found.telegram_id, found.updated_at) == (OKX_UID, TELEGRAM_ID, saved.updated_at)


@pytest.mark.parametrize("kind", ["telegram_id", "uuid"])
async def test_every_identifier_leads_to_the_same_user(store: SettingsStore, user: str, kind: str) -> None:
    found = await store.find_user(user)
    assert found is not None
    identifier = TELEGRAM_ID if kind == "telegram_id" else str(found.id)
    await store.patch(identifier, "params", {"leverage": 3})
    setting = await store.get(identifier, "params")
    assert setting is not None
    assert (setting.okx_uid, setting.settings["leverage"]) == (user, 3)


async def test_an_unchanged_document_makes_no_version(store: SettingsStore, user: str) -> None:
    first = await store.save(user, "params", {"leverage": 5})
    assert await store.save(user, "params", {"leverage": 5}) == first


async def test_expected_version_guards_a_save(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    await store.save(user, "params", {"leverage": 5}, expected_version=1)
    with pytest.raises(VersionConflict) as conflict:
        await store.save(user, "params", {"leverage": 6}, expected_version=1)
    assert conflict.value.current == 2
    assert json.loads(str(redis.get(f"user:{user}:settings"))) == {"leverage": 5}


async def test_a_patch_merges(store: SettingsStore, user: str) -> None:
    await store.save(user, "params", {"leverage": 5, "symbol_investments": {"BTC": 1, "ETH": 2}, "old": 1})
    saved = await store.patch(user, "params", {"symbol_investments": {"ETH": 3}, "old": None})
    assert saved.settings == {"leverage": 5, "symbol_investments": {"BTC": 1, "ETH": 3}}


async def test_save_all_is_one_transaction(store: SettingsStore, user: str) -> None:
    with pytest.raises(InvalidSettings):
        await store.save_all(user, {"dual_side": {"use_dual_sl": True}, "params": {"leverage": 1000}})
    unchanged = await store.get(user, "dual_side", source="db")
    assert unchanged is not None
    assert unchanged.version == 1
    saved = await store.save_all(user, {"dual_side": {"use_dual_sl": True}, "params": {"leverage": 100}})
    assert [(s.setting_type, s.version, s.mirrored) for s in saved] == [("dual_side", 2, True), ("params", 2, True)]


async def test_get_all_returns_every_type(
    store: SettingsStore, user: str, db: psycopg.Connection[dict[str, Any]], redis: redis_py.Redis
) -> None:
    db.execute("insert into setting_types values ('alerts', 'alerts', 'hash')")
    await store.save(user, "alerts", {"on": True, "text": "true"})
    assert [s.setting_type for s in await store.get_all(user)] == ["alerts", "dual_side", "params", "preferences"]
    assert redis.hgetall(f"user:{user}:alerts") == {"on": "true", "text": '"true"'}


async def test_search_finds_by_containment(store: SettingsStore, user: str) -> None:
    await store.register("1000000000000001")
    await store.patch(user, "params", {"leverage": 33})
    assert [s.okx_uid for s in await store.search("params", {"leverage": 33, "direction": "롱숏"})] == [user]
    assert len(await store.search("params", {"direction": "롱숏"})) == 2
    assert [s.okx_uid for s in await store.search("params", {}, after="1000000000000001")] == [user]
    assert await store.search("params", {"leverage": 34}) == []


async def test_a_deleted_setting_is_gone_from_both_and_comes_back_with_a_higher_version(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    deleted = await store.delete(user, "params")
    assert deleted is not None
    assert (deleted.version, deleted.mirrored) == (2, True)
    assert redis.get(f"user:{user}:settings") is None
    assert await store.get(user, "params") is None
    assert (await store.save(user, "params", {"leverage": 1})).version == 3
    assert json.loads(str(redis.get(f"user:{user}:settings"))) == {"leverage": 1}


async def test_linking_and_unlinking_reach_redis(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    await store.link(user, "99999")
    assert redis.get("user:99999:okx_uid") == user
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") is None
    found = await store.get("99999", "params", source="redis")
    assert found is not None
    assert found.telegram_id == "99999"

    await store.unlink(user)
    assert redis.get("user:99999:okx_uid") is None
    found = await store.get(user, "params", source="redis")
    assert found is not None
    assert found.telegram_id is None


async def test_a_deleted_user_leaves_redis(store: SettingsStore, user: str, redis: redis_py.Redis) -> None:
    await store.delete_user(user)
    assert sorted(redis.keys("user:*")) == [f"user:{TELEGRAM_ID}:mirror", f"user:{user}:mirror"]
    with pytest.raises(UnknownUser):
        await store.get(user, "params")


async def test_a_miss_refills_redis_and_writes_no_default(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    await store.save(user, "params", {"leverage": 5})
    redis.flushall()
    found = await store.get(user, "params")
    assert found is not None
    assert (found.source, found.version) == ("db", 2)
    again = await store.get(user, "params")
    assert again is not None
    assert (again.source, again.settings) == ("redis", {"leverage": 5})

    with pytest.raises(UnknownUser):
        await store.get("1000000000000001", "params")
    assert redis.keys("user:1000000000000001:*") == []


async def test_min_version_passes_over_a_redis_that_is_behind(
    store: SettingsStore, user: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    db.execute("select upsert_user_setting(%s, 'params', '{\"leverage\": 9}')", (user,))
    behind = await store.get(user, "params")
    assert behind is not None
    assert behind.version == 1
    ahead = await store.get(user, "params", min_version=2)
    assert ahead is not None
    assert (ahead.version, ahead.settings) == (2, {"leverage": 9})


async def test_concurrent_misses_make_few_queries(
    store: SettingsStore, user: str, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.flushall()
    database, queries = store._connections.database, []
    fetch = database.fetch

    async def counted(call: Any) -> Any:
        queries.append(call.query)
        return await fetch(call)

    monkeypatch.setattr(database, "fetch", counted)
    found = await asyncio.gather(*(store.get(user, "params") for _ in range(50)))
    assert 1 <= sum("get_user_settings" in query for query in queries) < 10  # one that departs first, one for the rest
    assert {setting.version for setting in found if setting} == {1}


async def test_unknown_type_and_user_are_told_apart(store: SettingsStore, user: str) -> None:
    with pytest.raises(UnknownSettingType):
        await store.save(user, "nonsense", {})
    with pytest.raises(UnknownSettingType):
        await store.get(user, "nonsense")
    with pytest.raises(UnknownUser):
        await store.save("1000000000000001", "params", {})


async def test_who_and_why_are_kept_with_the_version(
    store: SettingsStore, user: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    await store.patch(user, "params", {"leverage": 2}, actor="ops", reason="less risk")
    await store.patch(user, "params", {"leverage": 3})
    rows = db.execute(
        "select version, changed_by, change_reason, session_user from user_settings"
        " where setting_type = 'params' order by version"
    ).fetchall()
    assert (rows[1]["changed_by"], rows[1]["change_reason"]) == ("ops", "less risk")
    assert (rows[2]["changed_by"], rows[2]["change_reason"]) == (rows[2]["session_user"], None)


async def test_more_reads_at_once_than_connections_are_all_served_by_redis(
    store: SettingsStore, db: psycopg.Connection[dict[str, Any]]
) -> None:
    users = [str(10**15 + number) for number in range(250)]
    db.execute("select register_user(u) from unnest(%s::text[]) u", (users,))
    await store._mirror_owners(None)
    found = await asyncio.gather(*(store.get(user, "params") for user in users))
    assert [setting and (setting.okx_uid, setting.source) for setting in found] == [(user, "redis") for user in users]


async def test_a_save_that_waited_for_the_same_one_and_a_link_do_not_fail_in_a_deadlock(
    store: SettingsStore, user: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    """The save keeps the row that it waited for locked, though it has nothing to write, and wants the user's."""

    async def are_waiting(number: int) -> bool:
        waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        return len(db.execute(waiting).fetchall()) == number

    async with store._connections.database.transaction() as rival:
        await rival.fetch(functions.settings.upsert_user_setting(user, "params", {"leverage": 20}, None))
        save = asyncio.create_task(store.save(user, "params", {"leverage": 20}))
        await eventually(lambda: are_waiting(1))
        link = asyncio.create_task(store.link(user, "77777"))
        await eventually(lambda: are_waiting(2))
    assert (await save).version == 2
    assert (await link).telegram_id == "77777"
