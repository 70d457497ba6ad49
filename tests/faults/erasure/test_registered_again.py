"""Who is registered again after an erasure starts from scratch: nothing of the earlier life comes into the new one."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_py

from store import SettingsStore
from store.coherence.mirroring import mirror
from store.coherence.relay import Relay, drain
from store.coherence.verify import verify
from store.postgres import functions
from store.postgres.call import Call
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.erasure.conftest import EARLIER, VALUE, Db, assert_gone, content, marks, rows, state
from tests.faults.servers import eventually

OTHER = "1000000000000002"


async def assert_fresh(store: SettingsStore, db: Db, redis: redis_py.Redis) -> None:
    """The person registered anew: version 1 of the defaults on both sides, nothing else, to stay."""
    report = await verify(store._connections)
    assert not report.findings, report.users
    assert VALUE not in rows(db)
    assert VALUE not in str(content(redis))
    assert {row["version"] for row in db.execute("select version from user_settings").fetchall()} == {1}
    found = await store.get(OKX_UID, "params", source="redis")
    assert found is not None
    assert (found.version, found.settings["leverage"], found.telegram_id) == (1, 10, TELEGRAM_ID)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID
    assert redis.ttl(f"user:{OKX_UID}:mirror") == redis.ttl(f"user:{TELEGRAM_ID}:mirror") == -1
    assert not marks(db)


@pytest.mark.parametrize("is_relayed", [True, False], ids=["after the relay", "before the relay"])
async def test_a_person_registered_again_starts_from_scratch_on_both_sides(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis, is_relayed: bool
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    if is_relayed:
        await Relay(late._connections).once()
    await store.register(person, TELEGRAM_ID)
    await drain(store._connections)
    await store._connections.marks.clear()
    await assert_fresh(store, db, redis)
    assert (await store.patch(person, "params", {"leverage": 3})).mirrored
    await drain(store._connections)
    assert not (await verify(store._connections)).findings


async def test_a_person_registered_again_in_psql_starts_from_scratch(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    await drain(store._connections)
    db.execute("select from register_user(%s, %s)", (person, TELEGRAM_ID))
    assert set((await verify(store._connections)).findings) <= {"pending", "ahead"}
    await drain(store._connections)
    await assert_fresh(store, db, redis)


@pytest.mark.parametrize("of", ["before the erasure", "the erasure"])
async def test_a_read_of_an_earlier_life_changes_nothing_of_the_new_one(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis, of: str
) -> None:
    """A relay or a save that read, then hung while the person was erased and registered again."""
    if of == "the erasure":
        db.execute("select from erase_user(%s)", (person,))
    entries = await state(late)
    assert {entry.is_erased for entry in entries} == {of == "the erasure"}
    await store.erase_user(person) if of == "before the erasure" else await drain(store._connections)
    await store.register(person, TELEGRAM_ID)
    await drain(store._connections)
    await mirror(late._connections, entries)
    await drain(store._connections)
    await assert_fresh(store, db, redis)


async def test_a_user_changed_up_to_the_version_of_the_erasure_is_mirrored_all_the_same(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    (erased,) = (mark["version"] for mark in marks(db) if mark["kind"] == "user")
    await drain(store._connections)
    db.execute("select from register_user(%s)", (person,))
    for number in range(erased - 1):
        db.execute("select from link_telegram(%s, %s)", (person, (EARLIER, TELEGRAM_ID)[number % 2]))
    assert ("user", erased) in {(mark["kind"], mark["version"]) for mark in marks(db)}
    await drain(store._connections)
    assert redis.hget(f"user:{person}:mirror", "telegram_id")
    assert redis.ttl(f"user:{person}:mirror") == -1
    assert not (await verify(store._connections)).findings


async def test_a_version_of_an_earlier_life_is_not_taken_for_the_same_of_the_new_one(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    entries = await state(late)  # params: version 2
    await store.erase_user(person)
    await store.register(person, TELEGRAM_ID)
    await store.patch(person, "params", {"leverage": 5})  # version 2, too
    await mirror(late._connections, entries)
    await late._connections.mirror.apply(entries)
    found = await store.get(person, "params", source="redis")
    assert found is not None
    assert (found.version, found.settings["leverage"]) == (2, 5)
    assert VALUE not in rows(db) + str(content(redis))
    await drain(store._connections)
    assert not (await verify(store._connections)).findings


@pytest.mark.parametrize("kind", ["params", "user", "telegram"])
async def test_what_redis_had_of_an_earlier_life_clears_no_mark_of_the_same_version_of_the_new_one(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, kind: str
) -> None:
    """The clearing of a mark that arrives late."""
    db.execute("select from erase_user(%s)", (person,))
    db.execute("select from register_user(%s, %s)", (person, TELEGRAM_ID))
    (entry,) = (entry for entry in await state(late) if entry.kind == kind and entry.owner != EARLIER)
    late._connections.marks.done(entry, entry.version)
    await store.erase_user(person)
    db.execute("select from register_user(%s, %s)", (person, TELEGRAM_ID))
    await late._connections.marks.clear()
    assert (entry.owner, kind, entry.version) in {(row["owner"], row["kind"], row["version"]) for row in marks(db)}

    async def is_clear() -> bool:  # what was noted may be under way in the background
        await drain(store._connections)
        return not marks(db)

    await eventually(is_clear)
    assert not (await verify(store._connections)).findings


async def test_a_symbols_document_saved_while_those_of_before_are_looked_for_stays(
    store: SettingsStore, late: SettingsStore, person: str, db: Db, redis: redis_py.Redis, monkeypatch: Any
) -> None:
    symbol, saved = "BTC-USDT-SWAP", list[Any]()
    redis.hset(f"user:{person}:symbol:{symbol}:dual_side", "note", VALUE)  # which only Redis had
    db.execute("select from erase_user(%s)", (person,))
    db.execute("select from register_user(%s)", (person,))
    fetch, known = late._connections.database.fetch, functions.mirror.known_keys([], [])

    async def fetched(call: Call) -> Any:
        found = await fetch(call)
        if call.query == known.query and not saved:
            saved.append(await store.patch(person, "dual_side", {"note": "new"}, symbol=symbol))
        return found

    monkeypatch.setattr(late._connections.database, "fetch", fetched)
    await drain(late._connections)
    assert saved[0].mirrored
    found = await store.get(person, "dual_side", symbol=symbol, source="redis")
    assert found is not None
    assert found.settings["note"] == "new"
    await drain(store._connections)
    assert not (await verify(store._connections)).findings


async def test_an_erasure_of_the_new_life_too_leaves_nothing(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis
) -> None:
    for _ in range(2):
        await store.erase_user(person)
        await store.register(person, TELEGRAM_ID)
        await store.patch(person, "params", {"note": VALUE})
    await store.erase_user(person)
    assert_gone(db, redis)


@pytest.mark.parametrize("is_relayed", [True, False], ids=["after the relay", "before the relay"])
async def test_another_user_takes_over_the_freed_telegram_id(
    store: SettingsStore, person: str, db: Db, redis: redis_py.Redis, is_relayed: bool
) -> None:
    db.execute("select from erase_user(%s)", (person,))
    if is_relayed:
        await drain(store._connections)
    await store.register(OTHER, TELEGRAM_ID)
    await drain(store._connections)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OTHER
    assert redis.ttl(f"user:{TELEGRAM_ID}:mirror") == -1
    assert not (await verify(store._connections)).findings
    assert person not in rows(db)
    assert VALUE not in rows(db) + str(content(redis))
    found = await store.get(TELEGRAM_ID, "params", source="redis")
    assert found is not None
    assert found.okx_uid == OTHER
