"""Documents of many users at once, and changes that begin with a look at the document."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import (
    BadIdentifier,
    Config,
    InvalidArgument,
    InvalidSettings,
    NotPermitted,
    RedisUnavailable,
    SettingsStore,
    UnknownSettingType,
    UnknownUser,
    UnknownVersion,
    VersionConflict,
)
from store.api import bulk
from store.models import Source
from tests.conftest import OKX_UID, TELEGRAM_ID

Db = psycopg.Connection[dict[str, Any]]
Connect = Callable[[], Db]

SYMBOL = "BTC-USDT-SWAP"
USERS = [str(10**15 + n) for n in range(8)]
SOURCES: tuple[Source | None, ...] = (None, "redis", "db")
NOBODY = "9999999999999999"


@pytest.fixture
async def users(store: SettingsStore) -> list[str]:
    """Registered users; the first has a Telegram ID, every third a document of a symbol."""
    for n, okx_uid in enumerate(USERS):
        await store.register(okx_uid, TELEGRAM_ID if n == 0 else None)
        await store.patch(okx_uid, "params", {"leverage": 30 + n})
        if n % 3 == 0:
            await store.save(okx_uid, "dual_side", {"dual_side_entry_trigger": 100 + n}, symbol=SYMBOL)
    return USERS


def calls(redis: redis_py.Redis) -> int:
    """How often Redis was asked to run a script."""
    stats: Any = redis.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", ["params", "preferences"])
async def test_many_are_read_as_one_is(store: SettingsStore, users: list[str], source: Any, kind: str) -> None:
    wanted = [*reversed(users), NOBODY]
    found = await store.get_many(wanted, kind, source=source)
    assert list(found) == wanted[:-1]
    assert found == {each: await store.get(each, kind, source=source) for each in users}
    assert await store.get_many((), kind, source=source) == {}
    assert list(await store.get_many({users[0]: 1}, kind)) == users[:1]


@pytest.mark.parametrize("source", SOURCES)
async def test_many_are_read_by_whatever_identifies_them(store: SettingsStore, users: list[str], source: Any) -> None:
    user = await store.find_user(users[1])
    assert user is not None
    wanted = [TELEGRAM_ID, users[0], "55555", users[2], *([] if source == "redis" else [str(user.id)])]
    found = await store.get_many(wanted, "params", source=source)
    assert list(found) == [each for each in wanted if each != "55555"]
    assert found[TELEGRAM_ID] == found[users[0]]
    assert found[TELEGRAM_ID].telegram_id == TELEGRAM_ID
    if source != "redis":
        assert found[str(user.id)].okx_uid == users[1]


@pytest.mark.parametrize("source", [None, "db"])
async def test_of_a_symbol_or_else_the_users_own(store: SettingsStore, users: list[str], source: Any) -> None:
    for _ in range(2):  # that there is no such document Redis knows from the first look on
        found = await store.get_many(users, "dual_side", symbol=SYMBOL, source=source)
    assert found == {each: await store.get(each, "dual_side", symbol=SYMBOL, source=source) for each in users}
    assert [setting.symbol for setting in found.values()][:4] == [SYMBOL, None, None, SYMBOL]


@pytest.mark.parametrize("symbol", [None, SYMBOL])
async def test_what_redis_lacks_takes_one_query_and_is_there_afterwards(
    store: SettingsStore, users: list[str], redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, symbol: str | None
) -> None:
    before = await store.get_many(users, "dual_side", symbol=symbol, source="db")
    for okx_uid in users[:5]:
        redis.delete(*redis.keys(f"user:{okx_uid}:*"))
    asked: list[str] = []
    fetch = store._connections.database.fetch

    async def noted(call: Any) -> Any:
        asked.append(call.query)
        return await fetch(call)

    monkeypatch.setattr(store._connections.database, "fetch", noted)
    monkeypatch.setattr(bulk, "USERS_PER_REFILL", 3)
    first = await store.get_many(users, "dual_side", symbol=symbol)
    rest = ["redis"] * 3 if symbol is None else ["db", "redis", "db"]  # of two no such document, and nobody had looked
    assert [setting.source for setting in first.values()] == ["db"] * 5 + rest
    assert sum("get_user_settings" in query for query in asked) == 1
    second = await store.get_many([*users, NOBODY], "dual_side", symbol=symbol, source=None)
    assert {setting.source for setting in second.values()} == {"redis"}
    assert second == {each: replace(setting, source="redis") for each, setting in before.items()}
    assert await store.get_many(users, "params", source="redis") != {}  # everything of a user comes back


async def test_what_somebody_put_into_redis_is_not_taken_for_a_document(
    store: SettingsStore, users: list[str], redis: redis_py.Redis
) -> None:
    redis.set(f"user:{users[0]}:settings", "[1]")
    redis.delete(f"user:{users[1]}:settings")
    redis.rpush(f"user:{users[1]}:settings", "x")
    redis.delete(f"user:{users[2]}:mirror")
    redis.set(f"user:{users[2]}:mirror", "x")
    redis.delete(f"user:{TELEGRAM_ID}:okx_uid")
    redis.rpush(f"user:{TELEGRAM_ID}:okx_uid", "x")
    found = await store.get_many([*users, TELEGRAM_ID], "params")
    assert [setting.settings["leverage"] for setting in found.values()] == [*range(30, 38), 30]
    assert [setting.source for setting in found.values()] == ["db"] * 3 + ["redis"] * 5 + ["db"]


async def test_a_version_asked_for_is_never_missed(store: SettingsStore, users: list[str], db: Db) -> None:
    versions = {each: setting.version for each, setting in (await store.get_many(users, "params")).items()}
    row = db.execute("select version from patch_user_setting(%s, 'params', '{\"leverage\": 77}')", (users[3],))
    versions[users[3]] = (row.fetchone() or {})["version"]  # nobody mirrors that
    found = await store.get_many(users, "params", min_versions=versions)
    assert found[users[3]].settings["leverage"] == 77
    assert [setting.source for setting in found.values()].count("db") == 1
    with pytest.raises(UnknownVersion, match=f"params of {users[5]} has no version 9 yet"):
        await store.get_many(users, "params", min_versions={users[5]: 9})
    with pytest.raises(InvalidArgument, match="min_versions"):
        await store.get_many(users, "params", min_versions={users[5]: -1})


async def test_without_redis_postgresql_answers(config: Config, store: SettingsStore, users: list[str]) -> None:
    nowhere = replace(config, redis_url="redis://127.0.0.1:1/0")
    async with SettingsStore(nowhere) as other:
        found = await other.get_many([TELEGRAM_ID, *users], "params")
        assert {setting.source for setting in found.values()} == {"db"}
        assert len(found) == len(users) + 1
        with pytest.raises(RedisUnavailable):
            await other.get_many(users, "params", source="redis")


async def test_the_cache_answers_and_learns(
    config: Config, store: SettingsStore, users: list[str], redis: redis_py.Redis
) -> None:
    async with SettingsStore(config, cache=100) as cached:
        wanted = [*users, TELEGRAM_ID]

        async def is_hit() -> bool:
            before = calls(redis)
            await cached.get_many(wanted, "params")
            return calls(redis) == before

        while not await is_hit():
            await asyncio.sleep(0.005)
        (await cached.get_many(users, "params"))[users[0]].settings["leverage"] = "the caller's own"
        assert (await cached.get_many(users, "params"))[users[0]].settings["leverage"] == 30
        await cached.save_many({each: {"leverage": 3} for each in users}, "params")
        assert {s.settings["leverage"] for s in (await cached.get_many(wanted, "params")).values()} == {3}


async def test_a_confined_store_reads_and_saves_its_own_users_documents_only(
    config: Config, users: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", f"-c settings_store.okx_uid={users[0]}")
    async with SettingsStore(config, cache=10) as confined:
        assert list(await confined.get_many([users[0], TELEGRAM_ID], "params")) == [users[0], TELEGRAM_ID]
        for identifiers in ([users[1]], users, [NOBODY]):
            for source in SOURCES:
                with pytest.raises(NotPermitted):
                    await confined.get_many(identifiers, "params", source=source)
            with pytest.raises(NotPermitted):
                await confined.save_many({each: {"leverage": 1} for each in identifiers}, "params")
        assert (await confined.save_many({users[0]: {"leverage": 1}}, "params"))[users[0]].version == 3
        with pytest.raises(NotPermitted):
            await confined.update(users[1], "params", lambda document: document)


BAD: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"identifiers": OKX_UID, "setting_type": "params"}, BadIdentifier),
    ({"identifiers": None, "setting_type": "params"}, BadIdentifier),
    ({"identifiers": [1], "setting_type": "params"}, BadIdentifier),
    ({"identifiers": ["a\nb"], "setting_type": "params"}, BadIdentifier),
    ({"identifiers": [OKX_UID], "setting_type": "other"}, UnknownSettingType),
    ({"identifiers": [OKX_UID], "setting_type": None}, UnknownSettingType),
    ({"identifiers": [OKX_UID], "setting_type": "params", "symbol": SYMBOL}, InvalidArgument),
    ({"identifiers": [OKX_UID], "setting_type": "dual_side", "symbol": "x"}, InvalidArgument),
    ({"identifiers": [OKX_UID], "setting_type": "params", "source": "disk"}, InvalidArgument),
]


@pytest.mark.parametrize(("arguments", "error"), BAD)
async def test_what_cannot_be_asked_for_is_refused(
    store: SettingsStore, user: str, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await store.get_many(**arguments)


# -- save_many


async def test_many_are_saved_as_one_is(store: SettingsStore, users: list[str], db: Db) -> None:
    documents = {each: {"leverage": 50 + n} for n, each in enumerate(reversed(users))}
    documents[TELEGRAM_ID] = documents.pop(users[0])
    saved = await store.save_many(documents, "params", actor="ops", reason="all at once")
    assert list(saved) == list(documents)
    assert all(setting.mirrored and setting.version == 3 for setting in saved.values())
    assert saved[TELEGRAM_ID].okx_uid == users[0]
    assert {each: setting.settings for each, setting in saved.items()} == documents
    assert {each: found.settings for each, found in (await store.get_many(documents, "params")).items()} == documents
    rows = db.execute("select distinct changed_by, change_reason, xmin from user_settings where version = 3").fetchall()
    assert [(row["changed_by"], row["change_reason"]) for row in rows] == [("ops", "all at once")]
    assert {setting.version for setting in (await store.save_many(documents, "params")).values()} == {3}  # nothing new
    assert await store.save_many({}, "params") == {}
    of_symbol = await store.save_many({users[1]: {"x": 1}}, "dual_side", symbol=SYMBOL)
    assert (of_symbol[users[1]].symbol, of_symbol[users[1]].version) == (SYMBOL, 1)


@pytest.mark.parametrize(
    ("documents", "error", "why"),
    [
        ({USERS[5]: {"leverage": "much"}}, InvalidSettings, f"^invalid settings for params of {USERS[5]}; leverage: "),
        ({USERS[5]: {"leverage": {1}}}, InvalidSettings, f"{USERS[5]}.leverage"),
        ({USERS[5]: [1]}, InvalidSettings, "object"),
        ({NOBODY: {}}, UnknownUser, NOBODY),
        ({"nobody": {}}, BadIdentifier, "not an identifier"),
        ({TELEGRAM_ID: {}}, InvalidArgument, f"user {USERS[0]} is named twice"),
    ],
)
async def test_all_are_saved_or_none(
    store: SettingsStore, users: list[str], documents: dict[str, Any], error: type[Exception], why: str
) -> None:
    before = await store.get_many(users, "params", source="db")
    with pytest.raises(error, match=why):
        await store.save_many({each: {"leverage": 5} for each in users} | documents, "params")
    assert await store.get_many(users, "params", source="db") == before
    for refused in (None, [1], "x"):
        with pytest.raises(InvalidSettings):
            await store.save_many(refused, "params")  # type: ignore[arg-type]
    with pytest.raises(UnknownSettingType):
        await store.save_many({}, "other")
    with pytest.raises(InvalidArgument):
        await store.save_many({users[0]: {}}, "params", symbol=SYMBOL)


async def test_who_saves_the_same_users_in_another_order_waits(store: SettingsStore, users: list[str], db: Db) -> None:
    before = db.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()

    async def save(n: int) -> None:
        order = random.Random(n).sample(users, len(users))
        await store.save_many({each: {"leverage": 1 + n % 7, "n": n} for each in order}, "params")

    await asyncio.gather(*map(save, range(12)))
    found = await store.get_many(users, "params", source="db")
    assert {setting.version for setting in found.values()} == {14}
    assert len({setting.settings["n"] for setting in found.values()}) == 1  # the last one's, of all
    assert db.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone() == before


# -- update


class Counter:
    """A change that counts up, and how often it was asked for."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self, document: dict[str, Any]) -> dict[str, Any]:
        self.tries += 1
        return {**document, "n": document.get("n", 0) + 1}


@pytest.mark.parametrize("stores", [1, 2])
async def test_changes_that_race_are_all_there(
    config: Config, store: SettingsStore, user: str, monkeypatch: pytest.MonkeyPatch, stores: int
) -> None:
    monkeypatch.setattr(bulk, "PATIENCE", 60.0)
    add = Counter()
    async with SettingsStore(config) as other:
        writers = (store, other)[:stores] * (20 // stores)
        saved = await asyncio.gather(*(each.update(OKX_UID, "params", add) for each in writers))
    found = await store.get(user, "params", min_version=max(each.version for each in saved))
    assert found is not None
    assert (found.settings["n"], found.version) == (20, 21)
    assert add.tries == 20 if stores == 1 else add.tries >= 20
    assert not store._updates


async def test_an_update_that_hangs_keeps_no_other_from_going_on(
    store: SettingsStore, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "PATIENCE", 0.01)
    is_held, may_go_on = asyncio.Event(), asyncio.Event()
    read = store._read_database

    async def hangs(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(store, "_read_database", read)
        is_held.set()
        await may_go_on.wait()
        return await read(*arguments, **options)

    monkeypatch.setattr(store, "_read_database", hangs)
    add = Counter()
    hung = asyncio.create_task(store.update(user, "params", add))
    await is_held.wait()
    for _ in range(2):
        await store.update(user, "params", add)
    may_go_on.set()
    assert (await hung).settings["n"] == 3


@pytest.mark.parametrize("identifier", [OKX_UID, TELEGRAM_ID])
async def test_a_document_may_be_changed_in_place_or_replaced(store: SettingsStore, user: str, identifier: str) -> None:
    saved = await store.update(identifier, "params", lambda document: document.update(leverage=33), reason="in place")
    assert (saved.settings["leverage"], saved.version, saved.mirrored) == (33, 2, True)
    assert (await store.update(identifier, "params", lambda _: {"leverage": 3})).settings == {"leverage": 3}
    assert (await store.update(identifier, "params", lambda _: None)).version == 3  # nothing changed
    assert [each.change_reason for each in await store.history(user, "params")][:2] == [None, "in place"]


async def test_an_update_begins_with_what_is_in_force(store: SettingsStore, user: str) -> None:
    seen: list[dict[str, Any]] = []

    def change(document: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(document))
        return {**document, "note": len(seen)}

    own = await store.get(user, "dual_side")
    assert own is not None
    first = await store.update(user, "dual_side", change, symbol=SYMBOL)
    assert (first.symbol, first.version, seen[-1]) == (SYMBOL, 1, own.settings)
    await store.delete(user, "params")
    again = await store.update(user, "params", change)
    assert (again.version, again.settings) == (3, {"note": len(seen)})


async def test_what_changes_may_refuse(store: SettingsStore, user: str) -> None:
    with pytest.raises(ZeroDivisionError):
        await store.update(user, "params", lambda document: {"n": 1 // 0})
    with pytest.raises(InvalidSettings):
        await store.update(user, "params", lambda document: 5)  # type: ignore[arg-type, return-value]
    with pytest.raises(UnknownUser):
        await store.update(NOBODY, "params", lambda document: document)
    with pytest.raises(UnknownUser):
        await store.update("55555", "params", lambda document: document)
    with pytest.raises(UnknownSettingType):
        await store.update(user, "other", lambda document: document)
    assert [each.version for each in await store.history(user, "params")] == [1]


async def test_who_is_always_late_is_told_in_the_end(
    store: SettingsStore, user: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "TRIES", 3)
    monkeypatch.setattr(bulk, "PAUSE", 0.0)
    tries = 0

    def slow(document: dict[str, Any]) -> dict[str, Any]:
        nonlocal tries
        tries += 1
        db.execute("select from patch_user_setting(%s, 'params', jsonb_build_object('n', %s::integer))", (user, tries))
        return {**document, "mine": True}

    with pytest.raises(VersionConflict):
        await store.update(user, "params", slow)
    assert tries == 3
    found = await store.get(user, "params", source="db")
    assert found is not None
    assert "mine" not in found.settings


async def test_a_telegram_id_that_moves_takes_no_document_along(store: SettingsStore, users: list[str], db: Db) -> None:
    def change(document: dict[str, Any]) -> dict[str, Any]:
        db.execute("select from unlink_telegram(%s)", (users[0],))
        db.execute("select from link_telegram(%s, %s)", (users[1], TELEGRAM_ID))
        return {**document, "note": "of the first"}

    saved = await store.update(TELEGRAM_ID, "params", change)
    assert saved.okx_uid == users[0]
    found = await store.get(users[1], "params", source="db")
    assert found is not None
    assert "note" not in found.settings
