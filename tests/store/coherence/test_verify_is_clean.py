"""What verify finds can be mended until nothing is left: keys of deleted users; older encodings are no finding."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, SettingsStore
from store.coherence.sync import Outcome, Sync
from store.coherence.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.credentials import KEY, OTHER, secrets, versions, with_keys
from tests.helpers.sessions import Connection

Db = psycopg.Connection[dict[str, Any]]

OTHER_TELEGRAM = "1709556959"
NEVER_SAVED = "3000000000000001"


async def synced(store: SettingsStore, **options: Any) -> dict[str, str]:
    told: list[Outcome] = []
    await Sync(store._connections, tell=told.append, **options).run()
    return {outcome.redis_key: outcome.outcome for outcome in told}


def fill(redis: redis_py.Redis, okx_uid: str, telegram_id: str, leverage: Any) -> set[str]:
    """Every key that the predecessor has of a user; returns their names."""
    redis.hset(f"user:{okx_uid}:preferences", mapping={"timeframe": "5m"})
    redis.set(f"user:{okx_uid}:settings", json.dumps({"leverage": leverage}))
    redis.hset(f"user:{okx_uid}:dual_side", mapping={"use_dual_sl": "True"})
    redis.hset(
        f"user:{okx_uid}:api:keys",
        mapping=dict(zip(("api_key", "api_secret", "passphrase"), secrets(okx_uid), strict=True)),
    )
    redis.set(f"user:{telegram_id}:okx_uid", okx_uid)
    return {f"user:{okx_uid}:{suffix}" for suffix in ("preferences", "settings", "dual_side", "api:keys")} | {
        f"user:{telegram_id}:okx_uid"
    }


@pytest.mark.parametrize("had", ["nothing", "everything"])
@pytest.mark.parametrize("leverage", [33, float("nan")])
async def test_repair_removes_what_is_of_deleted_users_and_the_history_has_it(
    config: Config, db: Db, redis: redis_py.Redis, had: str, leverage: float
) -> None:
    async with SettingsStore(with_keys(config, KEY)) as store:
        if had == "everything":
            await store.register(OKX_UID, TELEGRAM_ID)
            await store.save_credentials(OKX_UID, *secrets("old"))
        else:
            await store.ensure_user(OKX_UID)
        await store.ensure_user(OTHER, OTHER_TELEGRAM)
        await store.delete_user(OKX_UID)
        keys = fill(redis, OKX_UID, TELEGRAM_ID, leverage)
        assert await synced(store) == dict.fromkeys(keys, "deleted")
        report = await verify(store._connections)
        assert dict(report.findings) == ({"orphan": 5} if had == "everything" else {"deleted": 5})
        report = await verify(store._connections, repair=True)
        assert (report.findings.total(), report.repaired, report.failures, report.held) == (5, 5, {}, {})
        assert not redis.exists(*keys)
        assert not (await verify(store._connections)).findings
        assert await synced(store) == {}

        rows = db.execute("select setting_type, settings from user_settings where is_active is false").fetchall()
        kept = {row["setting_type"]: row["settings"] for row in rows if len(row["settings"]) == 1}
        assert kept["preferences"] == {"timeframe": "5m"}
        assert kept["dual_side"] == {"use_dual_sl": "True"}
        text = json.dumps({"leverage": leverage})
        assert kept["params"] == ({"leverage": 33} if leverage == 33 else {"$unreadable": text})
        saved = versions(db, store.config, OKX_UID)
        assert (secrets(OKX_UID) in saved, saved[-1]) == (True, None)
        link = db.execute("select * from telegram_links where telegram_id = %s", (TELEGRAM_ID,)).fetchone()
        assert link is not None
        assert (link["okx_uid"], link["last_okx_uid"]) == (None, OKX_UID)

        restored = await store.restore_user(OKX_UID)  # as the user went, not as Redis had it
        assert restored.deleted_at is None
        settings = {setting.setting_type: setting.settings for setting in await store.get_all(OKX_UID, source="db")}
        credentials = await store.get_credentials(OKX_UID)
        if had == "everything":
            assert {"preferences", "params", "dual_side"} == set(settings)
            assert settings["params"]["leverage"] == 10
            assert credentials is not None
            assert credentials.api_key == secrets("old")[0]
        else:
            assert (settings, credentials) == ({}, None)
        assert not (await verify(store._connections)).findings


async def test_odd_content_of_deleted_users_goes_too(store: SettingsStore, db: Db, redis: redis_py.Redis) -> None:
    await store.ensure_user(OKX_UID)
    await store.delete_user(OKX_UID)
    redis.rpush(f"user:{OKX_UID}:preferences", "x")
    redis.set(f"user:{OKX_UID}:settings", "not JSON")
    redis.sadd(f"user:{OKX_UID}:dual_side", "x")
    redis.set(f"user:{OKX_UID}:api:keys", "junk")
    report = await verify(store._connections, repair=True)
    assert (dict(report.findings), report.remaining) == ({"deleted": 4}, 0)
    assert not (await verify(store._connections)).findings


async def test_a_key_is_left_while_another_transaction_holds_the_user(
    store: SettingsStore, db: Db, redis: redis_py.Redis, connect: Any
) -> None:
    await store.ensure_user(OKX_UID)
    await store.delete_user(OKX_UID)
    redis.set(f"user:{OKX_UID}:settings", "{}")
    holder: Connection = connect()
    with holder.transaction():
        holder.execute("select from app_users where okx_uid = %s for update", (OKX_UID,))
        report = await verify(store._connections, repair=True)
        assert (report.repaired, report.failures) == (0, {(OKX_UID, "params"): "another transaction holds it"})
    assert (await verify(store._connections, repair=True)).remaining == 0


async def test_a_link_that_loses_a_conflict_goes_where_postgresql_never_had_it(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    redis.set(f"user:{OTHER_TELEGRAM}:okx_uid", user)  # who has another Telegram ID
    assert await synced(store) == {f"user:{OTHER_TELEGRAM}:okx_uid": "conflict"}
    assert await synced(store, prefer="db") == {f"user:{OTHER_TELEGRAM}:okx_uid": "conflict, db wins"}
    assert not redis.exists(f"user:{OTHER_TELEGRAM}:okx_uid")
    assert not (await verify(store._connections)).findings
    assert (await store.find_user(TELEGRAM_ID)) is not None
    await store.register(NEVER_SAVED, OTHER_TELEGRAM)
    assert redis.get(f"user:{OTHER_TELEGRAM}:okx_uid") == NEVER_SAVED
    assert not (await verify(store._connections)).findings


# What is in force, and how a bot writes it at each start.
OLD_ENCODINGS: list[tuple[str, dict[str, Any], Any]] = [
    ("dual_side", {"use_dual_side_entry": False, "use_dual_sl": True},
     {"use_dual_side_entry": "0", "use_dual_sl": "1"}),
    ("dual_side", {"use_dual_side_entry": False}, {"use_dual_side_entry": "False"}),
    ("dual_side", {"dual_side_entry_tp_trigger_type": None, "use_dual_sl": True},
     {"dual_side_entry_tp_trigger_type": "None", "use_dual_sl": "TRUE"}),
    ("dual_side", {"dual_side_entry_ratio_type": "5"}, {"dual_side_entry_ratio_type": "5"}),
    ("params", {"use_dual_side_entry": True, "leverage": 30}, '{"use_dual_side_entry": 1, "leverage": 30}'),
    ("params", {"use_sl": False, "leverage": 30}, '{"use_sl": "False", "leverage": "30"}'),
]  # fmt: skip


@pytest.mark.parametrize("by", ["sync", "repair"])
async def test_an_older_encoding_of_what_is_in_force_is_no_finding(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis, by: str
) -> None:
    suffixes = {"dual_side": "dual_side", "params": "settings"}
    for kind, settings, content in OLD_ENCODINGS:
        await store.save(user, kind, settings)
        key = f"user:{user}:{suffixes[kind]}"
        ours = redis.dump(key)
        redis.set(key, content) if isinstance(content, str) else redis.hset(key, mapping=content)
        count = db.execute("select from user_settings").rowcount
        report = await verify(store._connections)
        assert (dict(report.findings), report.ok) == ({}, report.checked), content
        if by == "sync":
            assert set((await synced(store)).values()) == {"same"}, content
        else:
            assert (await verify(store._connections, repair=True)).findings.total() == 0, content
        assert redis.dump(key) == ours, content
        assert db.execute("select from user_settings").rowcount == count, content


async def test_another_value_in_an_older_encoding_is_one(
    store: SettingsStore, user: str, redis: redis_py.Redis, config: Config
) -> None:
    redis.hset(f"user:{user}:dual_side", "use_dual_side_entry", "1")
    assert dict((await verify(store._connections)).findings) == {"edited": 1}
    async with SettingsStore(replace(config)) as other:
        assert await synced(other, dry_run=True) == {f"user:{user}:dual_side": "edited"}
