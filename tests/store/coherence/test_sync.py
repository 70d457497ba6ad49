"""Sync from Redis: older encodings, three-way comparison, conflicts, bad data."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, SettingsStore
from store.coherence.sync import Outcome, Sync
from store.coherence.verify import verify
from store.operations import service
from tests.conftest import OKX_UID, TELEGRAM_ID

Db = psycopg.Connection[dict[str, Any]]


async def _sync(store: SettingsStore, **options: Any) -> dict[str, str]:
    told: list[Outcome] = []
    await Sync(store._connections, tell=told.append, **options).run()
    return {outcome.redis_key: outcome.outcome for outcome in told}


def _documents(db: Db, setting_type: str, okx_uid: str = OKX_UID) -> list[dict[str, Any]]:
    rows = db.execute(
        "select settings from user_settings where okx_uid = %s and setting_type = %s order by version",
        (okx_uid, setting_type),
    )
    return [row["settings"] for row in rows]


async def test_users_that_postgresql_has_never_seen_are_imported(
    store: SettingsStore, db: Db, redis: redis_py.Redis
) -> None:
    redis.hset(f"user:{OKX_UID}:preferences", mapping={"timeframe": "5m", "symbol": "ETH-USDT-SWAP"})
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": "20", "use_sl": "True", "trailing_stop_type": "", "extra": 1}')
    redis.hset(
        f"user:{OKX_UID}:dual_side",
        mapping={
            "use_dual_side_entry": "True",
            "use_dual_sl": "0",
            "dual_side_trend_close": "1",
            "close_main_on_hedge_tp": "false",
            "dual_side_entry_trigger": "3",
            "dual_side_entry_tp_value": "0.30",
            "dual_side_entry_sl_value": "",
            "dual_side_entry_ratio_type": "5",
        },
    )
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", OKX_UID)

    outcomes = await _sync(store)
    assert set(outcomes.values()) == {"new"}
    assert len(outcomes) == 4
    assert _documents(db, "preferences") == [{"timeframe": "5m", "symbol": "ETH-USDT-SWAP"}]
    assert _documents(db, "params") == [{"leverage": 20, "use_sl": True, "trailing_stop_type": None, "extra": 1}]
    assert _documents(db, "dual_side") == [
        {
            "use_dual_side_entry": True,
            "use_dual_sl": False,
            "dual_side_trend_close": True,
            "close_main_on_hedge_tp": False,
            "dual_side_entry_trigger": 3,
            "dual_side_entry_tp_value": 0.3,
            "dual_side_entry_ratio_type": "5",
        }
    ]
    found = await store.find_user(TELEGRAM_ID)
    assert found is not None
    assert found.okx_uid == OKX_UID
    assert redis.hget(f"user:{OKX_UID}:dual_side", "use_dual_side_entry") == "true"
    assert not (await verify(store._connections)).findings
    assert await _sync(store) == {}


async def test_an_edit_in_redis_becomes_one_version(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    redis.hset(f"user:{user}:dual_side", "use_dual_side_entry", "True")
    assert await _sync(store, dry_run=True) == {f"user:{user}:dual_side": "edited"}
    assert len(_documents(db, "dual_side")) == 1
    assert redis.hget(f"user:{user}:dual_side", "use_dual_side_entry") == "True"

    assert await _sync(store) == {f"user:{user}:dual_side": "edited"}
    before, after = _documents(db, "dual_side")
    assert after == {**before, "use_dual_side_entry": True}
    assert redis.hget(f"user:{user}:dual_side", "use_dual_side_entry") == "true"
    assert not (await verify(store._connections)).findings


async def test_the_same_value_in_another_encoding_is_no_version(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    redis.hset(f"user:{user}:dual_side", "use_dual_side_entry", "False")
    await _sync(store)
    assert len(_documents(db, "dual_side")) == 1
    assert not (await verify(store._connections, repair=True)).remaining


async def test_a_stale_redis_is_mirrored_again(store: SettingsStore, user: str, db: Db, redis: redis_py.Redis) -> None:
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 99}')", (user,))
    assert await _sync(store) == {f"user:{user}:settings": "stale"}
    found = await store.get(user, "params", source="redis")
    assert found is not None
    assert (found.version, found.settings["leverage"], len(_documents(db, "params"))) == (2, 99, 2)


@pytest.mark.parametrize("prefer", ["redis", "db", None])
async def test_a_conflict_is_decided_by_prefer_and_the_loser_is_kept(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis, prefer: str | None
) -> None:
    await store.save(user, "params", {"leverage": 1})
    db.execute("select upsert_user_setting(%s, 'params', '{\"leverage\": 2}')", (user,))
    redis.set(f"user:{user}:settings", '{"leverage": 3}')

    outcome = (await _sync(store, prefer=prefer))[f"user:{user}:settings"]
    documents = [document.get("leverage") for document in _documents(db, "params")][1:]
    if prefer is None:
        assert (outcome, documents) == ("conflict", [1, 2])
        assert redis.get(f"user:{user}:settings") == '{"leverage": 3}'
        return
    assert outcome == f"conflict, {prefer} wins"
    assert documents == ([1, 2, 3] if prefer == "redis" else [1, 2, 3, 2])
    assert not (await verify(store._connections)).findings


async def test_bad_data_of_one_user_harms_no_other(store: SettingsStore, db: Db, redis: redis_py.Redis) -> None:
    redis.set("user:1000000000000001:settings", "not JSON")
    redis.set("user:1000000000000002:preferences", "a string, not a hash")
    redis.set("user:1000000000000003:settings", '{"leverage": 1000, "direction": "up"}')
    redis.set("user:1000000000000004:settings", '{"note": "\\u0000"}')
    redis.set("user:1000000000000005:settings", '{"note": "\\ud800"}')
    redis.set("user:1000000000000006:settings", b"\xff\xfe")
    redis.set("user:1000000000000007:settings", '{"a":' * 3000 + "1" + "}" * 3000)
    redis.set("user:12345678901234567:okx_uid", OKX_UID)  # 17 digits: no Telegram ID
    redis.set("user:54321:okx_uid", TELEGRAM_ID)  # leads to a Telegram ID
    redis.set(f"user:{TELEGRAM_ID}:settings", "{}")  # an OKX UID that is a Telegram ID
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": 5}')

    told: list[Outcome] = []
    await Sync(store._connections, tell=told.append).run()
    outcomes = {outcome.redis_key: outcome.outcome for outcome in told}
    assert outcomes.pop(f"user:{OKX_UID}:settings") == "new"
    assert [outcomes.pop(f"user:100000000000000{n}:settings") for n in (3, 4, 5)] == ["invalid"] * 3
    assert len(outcomes) == 7
    assert set(outcomes.values()) == {"bad"}
    problems = [set(outcome.problems or {}) for outcome in told if outcome.outcome == "invalid"]
    assert sorted(problems, key=sorted) == [{"direction", "leverage"}, {"note"}, {"note"}]
    assert [row["okx_uid"] for row in db.execute("select okx_uid from app_users")] == [OKX_UID]


async def test_a_report_names_the_first_keys_and_counts_all(
    store: SettingsStore, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "KEYS_NAMED", 3)
    for n in range(5):
        redis.set(f"user:{int(OKX_UID) + n}:settings", '{"leverage": 3}')
    report = await service.sync(store._connections, "redis", None, None, False, lambda _: None)
    assert (report.outcomes, len(report.keys)) == ({"new": 5}, 3)


async def test_only_the_asked_for_user_is_touched(store: SettingsStore, db: Db, redis: redis_py.Redis) -> None:
    for number in (1, 2):
        redis.set(f"user:100000000000000{number}:settings", "{}")
        redis.set(f"user:10000{number}:okx_uid", f"100000000000000{number}")
    outcomes = await _sync(store, okx_uid="1000000000000002")
    assert set(outcomes) == {"user:1000000000000002:settings", "user:100002:okx_uid"}
    assert [row["telegram_id"] for row in db.execute("select telegram_id from app_users")] == ["100002"]


async def test_numbers_keep_every_digit(store: SettingsStore, db: Db, redis: redis_py.Redis) -> None:
    redis.set(f"user:{OKX_UID}:settings", '{"x": 0.1234567890123456789012345}')
    redis.hset(f"user:{OKX_UID}:preferences", "x", "12345678901234567890.123456789012345")
    await _sync(store)
    rows = db.execute("select settings ->> 'x' as x from user_settings order by setting_type").fetchall()
    assert [row["x"] for row in rows] == ["0.1234567890123456789012345", "12345678901234567890.123456789012345"]
    assert not (await verify(store._connections)).findings


async def test_a_telegram_link_changed_in_redis_is_taken_over(
    store: SettingsStore, user: str, redis: redis_py.Redis
) -> None:
    await store.register("1000000000000001")
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", "1000000000000001")
    assert await _sync(store) == {f"user:{TELEGRAM_ID}:okx_uid": "edited"}
    found = await store.find_user(TELEGRAM_ID)
    assert found is not None
    assert found.okx_uid == "1000000000000001"
    assert not (await verify(store._connections)).findings


async def test_registering_takes_over_what_only_redis_has(store: SettingsStore, db: Db, redis: redis_py.Redis) -> None:
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": "33"}')
    await store.register(OKX_UID)
    found = await store.get(OKX_UID, "params", source="redis")
    assert found is not None
    assert (found.version, found.settings["leverage"], len(found.settings)) == (2, 33, 50)  # the rest are defaults
    assert len(_documents(db, "preferences")) == 1
    assert not (await verify(store._connections)).findings


@pytest.mark.parametrize("kind", ["params", "dual_side"])
async def test_a_write_over_an_edit_in_redis_keeps_the_edit_in_the_history(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis, kind: str
) -> None:
    if kind == "params":
        redis.set(f"user:{user}:settings", '{"leverage": 3}')
    else:
        redis.delete(f"user:{user}:dual_side")
        redis.hset(f"user:{user}:dual_side", "leverage", "3")
    saved = await store.save(user, kind, {"leverage": 4})
    assert saved.mirrored
    assert [document.get("leverage") for document in _documents(db, kind)][1:] == [4, 3, 4]
    found = await store.get(user, kind, source="redis")
    assert found is not None
    assert (found.version, found.settings) == (4, {"leverage": 4})
    assert not (await verify(store._connections)).findings


async def test_a_write_over_the_same_value_in_another_encoding_keeps_nothing(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    redis.hdel(
        f"user:{user}:mirror", "dual_side", "dual_side:updated_at", "dual_side:digest"
    )  # as if a bot had written it before the store was there
    redis.hset(f"user:{user}:dual_side", "use_dual_side_entry", "False")
    assert (await store.save(user, "dual_side", _documents(db, "dual_side")[0])).mirrored
    assert len(_documents(db, "dual_side")) == 1
    assert redis.hget(f"user:{user}:dual_side", "use_dual_side_entry") == "false"
    assert not (await verify(store._connections)).findings


async def test_another_formatting_of_the_same_document_is_no_edit(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    await store.save(user, "params", {"leverage": 3, "a": 1})
    redis.set(f"user:{user}:settings", '{"a":1,"leverage":3}')
    await store.save(user, "params", {"leverage": 4})
    assert len(_documents(db, "params")) == 3
    assert not (await verify(store._connections)).findings


async def test_two_syncs_at_once_take_over_each_user_once(
    store: SettingsStore, config: Config, db: Db, redis: redis_py.Redis
) -> None:
    people = range(700)  # several batches
    with redis.pipeline(transaction=False) as pipeline:
        for n in people:
            pipeline.set(f"user:{2_000_000_000 - n}:okx_uid", 5_000_000_000_000_000 + n)
            pipeline.hset(f"user:{5_000_000_000_000_000 + n}:dual_side", "dual_side_entry_trigger", n % 9 + 1)
            pipeline.set(f"user:{5_000_000_000_000_000 + n}:settings", f'{{"leverage": {n % 9 + 1}}}')
        pipeline.set("user:5000000000000699:settings", '{"leverage": -1}')
        pipeline.execute()

    async with SettingsStore(config) as other:
        one, two = await asyncio.gather(Sync(store._connections).run(), Sync(other._connections).run())
    assert one["invalid"] == two["invalid"] == 1
    assert one["new"] + two["new"] == 3 * len(people) - 1
    row = db.execute(
        "select count(*) as documents, count(*) filter (where s.version = 1 and s.telegram_id = u.telegram_id) as fine,"
        " count(distinct u.telegram_id) as linked from user_settings s join app_users u on u.id = s.user_id"
    ).fetchone()
    assert row == {"documents": 2 * len(people) - 1, "fine": 2 * len(people) - 1, "linked": len(people)}
    assert db.execute("select from mirror_pending").fetchall() == []
    found = await verify(store._connections)
    assert dict(found.findings) == {"unmarked": 1}
