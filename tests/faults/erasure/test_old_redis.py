"""An old copy of Redis comes back after an erasure: nobody comes back with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from store import SettingsStore, UnknownUser
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.erasure.conftest import EARLIER, VALUE, Db, assert_gone, content, rows
from tests.faults.servers import RedisServer
from tests.helpers.credentials import KEY, secrets, with_keys

Back = Callable[[], None]


@pytest.fixture
def config(config: Any) -> Any:
    return with_keys(config, KEY)


@pytest.fixture
async def back(store: SettingsStore, person: str, own_redis: RedisServer) -> Back:
    """The person is erased; call it, and Redis is as it was before."""
    await store.save_credentials(person, *secrets(1))
    with redis_py.Redis.from_url(own_redis.url) as raw:
        old = {key: raw.dump(key) for key in raw.scan_iter("user:*")}
    assert (await store.erase_user(person)).mirrored

    def restore() -> None:
        with redis_py.Redis.from_url(own_redis.url) as raw:
            for key, dumped in old.items():
                raw.restore(key, 0, dumped, replace=True)

    return restore


def assert_back(redis: redis_py.Redis) -> None:
    assert VALUE in str(content(redis))
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID


async def test_verify_names_it_and_repair_removes_it(
    store: SettingsStore, db: Db, redis: redis_py.Redis, back: Back
) -> None:
    back()
    assert_back(redis)
    report = await verify(store._connections)
    assert set(report.findings) == {"erased"}
    kinds = {finding.kind for finding in report.users}
    assert kinds == {"params", "preferences", "dual_side", "api_keys", "telegram", "user"}
    report = await verify(store._connections, repair=True)
    assert report.remaining == 0
    assert_gone(db, redis)
    assert not (await verify(store._connections)).findings


@pytest.mark.parametrize("lost", [(), ("mirror",)])
async def test_a_relay_that_finds_an_older_redis_removes_it(
    store: SettingsStore, db: Db, redis: redis_py.Redis, back: Back, lost: tuple[str, ...]
) -> None:
    back()
    for suffix in lost:  # what is left then is found by verify
        redis.delete(f"user:{TELEGRAM_ID}:{suffix}")
    redis.delete(*redis.keys("settings:*:reconciled"))
    await Relay(store._connections).once()
    if lost:
        assert set((await verify(store._connections)).findings) == {"erased"}
        assert (await verify(store._connections, repair=True)).remaining == 0
    assert_gone(db, redis)
    assert not (await verify(store._connections)).findings
    rows_before = db.execute("select count(*) as n from mirror_pending").fetchone()
    redis.delete(*redis.keys("settings:*:reconciled"))
    await Relay(store._connections).once()  # what the erasure leaves in Redis, and expires, is nobody's
    assert db.execute("select count(*) as n from mirror_pending").fetchone() == rows_before


async def test_a_relay_removes_a_document_beside_what_an_erasure_leaves(
    store: SettingsStore, db: Db, redis: redis_py.Redis, person: str
) -> None:
    """Erased, registered, erased: an older Redis has one document of that life, and the rest of the erasure before."""
    mirror = f"user:{person}:mirror"
    document = redis.dump(f"user:{person}:preferences") or b""
    given: Any = {name: text for name, text in redis.hgetall(mirror).items() if str(name).startswith("preferences")}
    await store.erase_user(person)
    redis.restore(f"user:{person}:preferences", 0, document)
    redis.hset(mirror, mapping=given)
    assert redis.ttl(mirror) > 0
    assert set((await verify(store._connections)).findings) == {"erased"}
    redis.delete(*redis.keys("settings:*:reconciled"))
    await Relay(store._connections).once()
    assert_gone(db, redis)
    assert not (await verify(store._connections)).findings


async def test_no_sync_makes_the_person_again(store: SettingsStore, db: Db, redis: redis_py.Redis, back: Back) -> None:
    back()
    for dry_run in (True, False):
        assert set(await Sync(store._connections, prefer="redis", dry_run=dry_run).run()) == {"deleted"}
    await Sync(store._connections, okx_uid=OKX_UID).run()
    await Relay(store._connections).once()
    assert [word for word in (OKX_UID, TELEGRAM_ID, EARLIER, VALUE) if word in rows(db)] == []
    assert await store.find_user(OKX_UID) is None
    # Nor with half of it: a link alone, a document alone, without a version of ours.
    for key in redis.keys("user:*:mirror"):
        redis.delete(key)
    assert set(await Sync(store._connections, prefer="redis").run()) == {"deleted"}
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", "1000000000000001")  # nobody's, but by the erased person's Telegram ID
    assert set(await Sync(store._connections, prefer="redis").run()) == {"deleted"}


@pytest.mark.parametrize("by", [OKX_UID, TELEGRAM_ID])
async def test_erasing_again_clears_redis(
    store: SettingsStore, db: Db, redis: redis_py.Redis, back: Back, by: str
) -> None:
    back()
    receipt = await store.erase_user(by)
    assert (receipt.okx_uid, receipt.versions, receipt.was_known, receipt.mirrored) == (by, 0, False, True)
    assert not redis.exists(f"user:{TELEGRAM_ID}:okx_uid")
    if by == TELEGRAM_ID:
        await store.erase_user(OKX_UID)
    assert VALUE not in str(content(redis))
    await store.erase_user(EARLIER)  # no key of that leads there any more
    assert_gone(db, redis)


async def test_whom_only_redis_knows_is_erased_and_stays_so(
    store: SettingsStore, db: Db, redis: redis_py.Redis
) -> None:
    stranger, telegram_id = "1000000000000001", "77777"
    with pytest.raises(UnknownUser):
        await store.erase_user(stranger)
    redis.set(f"user:{stranger}:settings", json.dumps({"leverage": 5}))
    redis.hset(f"user:{stranger}:mirror", "telegram_id", telegram_id)
    redis.set(f"user:{telegram_id}:okx_uid", stranger)
    redis.hset(f"user:{OKX_UID}:mirror", "telegram_id", telegram_id)
    receipt = await store.erase_user(stranger)
    assert (receipt.telegram_links, receipt.was_known, receipt.mirrored) == (1, False, True)
    assert not redis.exists(f"user:{stranger}:settings", f"user:{telegram_id}:okx_uid")
    redis.set(f"user:{stranger}:settings", json.dumps({"leverage": 5}))
    assert (await Sync(store._connections).run())["deleted"] == 1
    assert await store.find_user(stranger) is None


async def test_a_telegram_id_that_is_somebody_elses_is_left_alone(store: SettingsStore, redis: redis_py.Redis) -> None:
    """Whoever writes into Redis could name any."""
    stranger = "1000000000000001"
    redis.set(f"user:{stranger}:settings", "{}")
    redis.hset(f"user:{stranger}:mirror", "telegram_id", TELEGRAM_ID)
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", stranger)
    await store.erase_user(stranger)
    found = await store.find_user(TELEGRAM_ID)
    assert found is not None
    assert found.okx_uid == OKX_UID
    await verify(store._connections, repair=True)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID


@pytest.mark.parametrize("how", ["store", "psql"])
async def test_who_registers_again_begins_with_nothing(
    store: SettingsStore, db: Db, redis: redis_py.Redis, back: Back, how: str
) -> None:
    back()
    if how == "store":
        await store.register(OKX_UID, TELEGRAM_ID)
    else:
        db.execute("select count(*) from register_user(%s, %s)", (OKX_UID, TELEGRAM_ID))
    await Relay(store._connections).once()
    for kind in ("params", "preferences"):
        found = await store.get(OKX_UID, kind)
        assert found is not None
        assert (found.version, found.source, found.settings.get("note")) == (1, "redis", None)
        assert len(await store.history(OKX_UID, kind)) == 1
    assert await store.get_credentials(OKX_UID) is None
    assert await store.credentials_history(OKX_UID) == []
    assert VALUE not in rows(db)
    assert VALUE not in str(content(redis))
    assert not (await verify(store._connections)).findings
    await store.patch(OKX_UID, "params", {"note": "new"})  # and is a person as any: what is written in Redis counts
    redis.hset(f"user:{OKX_UID}:preferences", "note", "edited")
    assert (await Sync(store._connections).run())["edited"] == 1


async def test_a_relay_takes_away_what_is_of_a_former_life(
    store: SettingsStore, db: Db, redis: redis_py.Redis, own_redis: RedisServer, person: str
) -> None:
    """What PostgreSQL never had of this life, and what was saved in it, stays: sync's."""
    symbol, other, type_ = "BTC-USDT-SWAP", "ETH-USDT-SWAP", "dual_side"
    former = [f"user:{person}:api:keys", f"user:{person}:symbol:{symbol}:{type_}"]
    await store.save_credentials(person, *secrets(1))
    await store.patch(person, type_, {"dual_side_entry_trigger": 4}, symbol=symbol)
    old = {key: redis.dump(key) for key in redis.scan_iter("user:*")}
    for _ in range(2):
        assert (await store.erase_user(person)).mirrored
        await store.register(person, TELEGRAM_ID)
        await Relay(store._connections).once()
    saved = await store.patch(person, type_, {"dual_side_entry_trigger": 5}, symbol=other)
    for key, dumped in old.items():
        redis.restore(key, 0, dumped or b"", replace=True)
    mirror, lost, rogue = f"user:{person}:mirror", f"{type_}:{other}", f"user:{person}:symbol:SOL-USDT-SWAP:{type_}"
    redis.hset(mirror, mapping={lost: 1, f"{lost}:updated_at": saved.updated_at.isoformat()})
    redis.hset(mirror, mapping={"nonsense": 1, "nonsense:updated_at": "now", f"{type_}:SOL-USDT-SWAP": 1})
    redis.hset(f"user:{person}:symbol:{other}:{type_}", "dual_side_entry_trigger", 5)
    redis.hset(rogue, "dual_side_entry_trigger", 6)
    db.execute("alter table user_settings disable trigger user")
    db.execute("delete from user_settings where setting_type = %s", (lost,))  # as a backup restored would
    db.execute("alter table user_settings enable trigger user")
    assert redis.exists(*former) == 2
    redis.delete(*redis.keys("settings:*:reconciled"))
    await Relay(store._connections).once()
    assert redis.exists(*former) == 0
    assert redis.exists(f"user:{person}:symbol:{other}:{type_}", rogue) == 2
    assert await store.get_credentials(person) is None
    assert await store.credentials_history(person) == []
    assert VALUE not in rows(db)
    await Sync(store._connections).run()
    assert not (await verify(store._connections)).findings
    found = await store.get(person, type_, symbol=other)
    assert found is not None
    assert found.settings["dual_side_entry_trigger"] == 5
    await store.save_credentials(person, *secrets(2))
    assert (await store.patch(person, type_, {"dual_side_entry_trigger": 7}, symbol=symbol)).mirrored
    assert not (await verify(store._connections)).findings


async def test_what_is_remembered_is_nobodys_number(db: Db, back: Back) -> None:
    remembered = db.execute("select digest from erased_people").fetchall()
    assert len(remembered) == len({row["digest"] for row in remembered}) == 3  # the OKX UID, two Telegram IDs
    assert {len(row["digest"]) for row in remembered} == {32}
    for owner in (OKX_UID, TELEGRAM_ID, EARLIER):
        found = db.execute("select sha256(%s::text::bytea) as plain, _erasure_digest(%s) as keyed", (owner, owner))
        row = found.fetchone()
        assert row is not None
        assert {"digest": row["plain"]} not in remembered
        assert {"digest": row["keyed"]} in remembered
    db.execute("set role settings_admin")
    for query in ("table erased_people", "table erasure_keys"):
        with pytest.raises(Exception, match="permission denied"):
            db.execute(query)
