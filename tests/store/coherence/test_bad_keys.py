"""Documents in Redis that have bad keys: the others are taken over; the bad ones are named, kept, and left there."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import SettingsStore
from store.coherence.relay import Relay, reconcile
from store.coherence.sync import Outcome, Sync
from store.coherence.verify import verify
from tests.conftest import OKX_UID

Db = psycopg.Connection[dict[str, Any]]

KEYS = {"params": f"user:{OKX_UID}:settings", "dual_side": f"user:{OKX_UID}:dual_side"}
# Setting type, content of the Redis key, what is taken over, bad keys.
ROWS: list[tuple[str, str | dict[str, str], dict[str, Any], set[str]]] = [
    ("params", '{"leverage": 33, "tp1_value": NaN}', {"leverage": 33}, {"tp1_value"}),
    ("params", '{"leverage": 33, "sl_value": Infinity, "mine": -Infinity}', {"leverage": 33}, {"sl_value", "mine"}),
    ("params", '{"leverage": 33, "mine": {"a": [1, NaN]}}', {"leverage": 33}, {"mine"}),
    ("params", '{"leverage": 33, "mine": 1e999, "big": 1' + "0" * 5000 + "}", {"leverage": 33}, {"mine", "big"}),
    ("params", '{"leverage": 33, "mine": "\\u0000", "theirs": "\\ud800"}', {"leverage": 33}, {"mine", "theirs"}),
    ("params", '{"leverage": 1000, "use_sl": "True", "x": "1"}', {"use_sl": True, "x": "1"}, {"leverage"}),
    ("params", '{"leverage": "33", "direction": "up", "use_sl": 2}', {"leverage": 33}, {"direction", "use_sl"}),
    ("params", '{"use_dual_side_entry": 1, "rsi_length": 2.5}', {"use_dual_side_entry": True}, {"rsi_length"}),
    ("params", '{"n": 0.1234567890123456789012345, "sl_value": NaN}', {}, {"sl_value"}),
    ("dual_side", {"use_dual_sl": "True", "dual_side_entry_trigger": "nan"}, {"use_dual_sl": True},
     {"dual_side_entry_trigger"}),
    ("dual_side", {"use_dual_sl": "1", "dual_side_entry_tp_value": "NaN", "mine": "\udcff"}, {"use_dual_sl": True},
     {"dual_side_entry_tp_value", "mine"}),
]  # fmt: skip


def put(redis: redis_py.Redis, kind: str, content: str | dict[str, str]) -> None:
    redis.delete(KEYS[kind])
    if isinstance(content, str):
        redis.set(KEYS[kind], content)
    else:
        redis.hset(KEYS[kind], mapping={key: text.encode("utf-8", "surrogateescape") for key, text in content.items()})


def history(db: Db, kind: str) -> list[Any]:
    query = "select settings from user_settings where okx_uid = %s and setting_type = %s order by version"
    return [row["settings"] for row in db.execute(query, (OKX_UID, kind))]


async def synced(store: SettingsStore, **options: Any) -> dict[str, Outcome]:
    told: list[Outcome] = []
    await Sync(store._connections, tell=told.append, **options).run()
    return {outcome.redis_key: outcome for outcome in told}


@pytest.mark.parametrize("is_known", [True, False])
async def test_valid_keys_are_taken_over_and_bad_ones_named_kept_and_left(
    store: SettingsStore, db: Db, redis: redis_py.Redis, is_known: bool
) -> None:
    for kind, content, taken, bad in ROWS:
        redis.flushall()
        db.execute("select erase_user(u.okx_uid) from app_users u")
        db.execute("delete from mirror_pending")
        db.execute("delete from erased_people")
        if is_known:
            await store.register(OKX_UID)
        before = history(db, kind)[0] if is_known else {}
        put(redis, kind, content)
        there = redis.dump(KEYS[kind])
        plan = await synced(store, dry_run=True)
        outcome = (await synced(store))[KEYS[kind]]
        assert plan == {KEYS[kind]: outcome}, content
        assert (outcome.outcome, set(outcome.problems or {})) == ("partial", bad), content
        assert redis.dump(KEYS[kind]) == there, content

        saved = history(db, kind)
        expected = {**taken, **{key: before[key] for key in bad if key in before}}
        assert {key: saved[-1].get(key) for key in expected} == expected, content
        assert not (bad - set(before)) & set(saved[-1]), content
        found = saved[-2]
        text = content if isinstance(content, str) else json.dumps(content)
        assert bad <= set(found) or found == {"$unreadable": text}, content
        assert len(saved) == (4 if is_known else 3), content

        assert (await synced(store))[KEYS[kind]] == outcome, content  # again, to the same end
        assert history(db, kind) == saved, content
        await reconcile(store._connections)
        await Relay(store._connections).once()
        report = await verify(store._connections, repair=True)
        assert (dict(report.findings), report.repaired) == ({"edited": 1}, 0), content
        assert all(key in report.held[OKX_UID, kind] for key in bad), content
        assert redis.dump(KEYS[kind]) == there, content

        report = await verify(store._connections, repair=True, force=True)
        assert (dict(report.findings), report.remaining, report.held) == ({"edited": 1}, 0, {}), content
        assert not (await verify(store._connections)).findings, content
        assert history(db, kind) == saved, content  # the history has it already
        shown = await store.get(OKX_UID, kind, source="redis")
        assert shown is not None
        assert shown.settings == saved[-1], content


@pytest.mark.parametrize("prefer", ["redis", "db", None])
async def test_in_a_conflict_what_is_preferred_wins_key_by_key(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis, prefer: Any
) -> None:
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 2, \"sl_value\": 7}')", (user,))
    put(redis, "params", '{"leverage": 33, "sl_value": NaN}')
    outcome = (await synced(store, prefer=prefer))[KEYS["params"]]
    saved = history(db, "params")[2:]
    if prefer == "redis":
        assert (outcome.outcome, set(outcome.problems or {})) == ("partial", {"sl_value"})
        assert saved[-1] == {"leverage": 33, "sl_value": 7}
        assert len(saved) == 3
    elif prefer == "db":
        assert outcome.outcome == "conflict, db wins"
        assert [document.get("leverage") for document in saved] == [None, 2]
        assert not (await verify(store._connections)).findings
    else:
        assert (outcome.outcome, saved) == ("conflict", [])
    assert (redis.get(KEYS["params"]) == '{"leverage": 33, "sl_value": NaN}') is (prefer != "db")


async def test_a_save_that_comes_in_between_reaches_redis(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(redis, "params", '{"leverage": 33, "sl_value": NaN}')
    write_back = Sync._write_back

    async def late(self: Sync, *arguments: Any) -> None:
        db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 44}')", (user,))
        await write_back(self, *arguments)

    monkeypatch.setattr(Sync, "_write_back", late)
    await synced(store)
    assert redis.get(KEYS["params"]) == '{"leverage": 33, "sl_value": NaN}'
    await Relay(store._connections).once()
    assert json.loads(str(redis.get(KEYS["params"])))["leverage"] == 44
    assert not (await verify(store._connections)).findings


async def test_what_sync_has_not_seen_yet_is_asked_for_by_repair_too(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    """Never mirrored, older, newer, or as it was given but edited: whatever the version says."""
    for version in ("1", "9", None):
        put(redis, "params", '{"leverage": 33, "sl_value": NaN}')
        redis.hdel(f"user:{user}:mirror", "params") if version is None else redis.hset(
            f"user:{user}:mirror", "params", version
        )
        report = await verify(store._connections, repair=True)
        assert (report.findings.total(), report.repaired) == (1, 0), version
        assert report.held == {(user, "params"): "sl_value: must be a finite number"}
        assert redis.get(KEYS["params"]) == '{"leverage": 33, "sl_value": NaN}'
    assert len(history(db, "params")) == 1
    assert (await verify(store._connections, repair=True, force=True)).remaining == 0
    assert history(db, "params")[1:] == [
        {"$unreadable": '{"leverage": 33, "sl_value": NaN}'}, history(db, "params")[0],
    ]  # fmt: skip


@pytest.mark.parametrize("content", ['{"leverage": 33, "a": 1e-500}', '{"a": ' + "[" * 70 + "]" * 70 + "}", "not JSON"])
async def test_what_is_no_document_is_noted_and_overwritten_unasked(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis, content: str
) -> None:
    put(redis, "params", content)
    assert (await synced(store))[KEYS["params"]].outcome in ("bad", "invalid")
    report = await verify(store._connections, repair=True)
    assert (dict(report.findings), report.remaining, report.held) == ({"edited": 1}, 0, {})
    assert list(history(db, "params")[1]) == ["$unreadable"]


async def test_what_was_given_stays_stale_when_the_catalogue_narrows(
    store: SettingsStore, user: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (user,))
    db.execute("update setting_fields set maximum = 5 where key = 'leverage'")  # Redis has 10, as it was given
    report = await verify(store._connections, repair=True)
    assert (report.remaining, report.held) == (0, {})
    assert json.loads(str(redis.get(KEYS["params"])))["leverage"] == 3
