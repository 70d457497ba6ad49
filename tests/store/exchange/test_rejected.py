"""Export and import: every digit comes back, the same data make the same bytes, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg.conninfo import make_conninfo

from store import AlreadyLinked, Config, InvalidSettings, NotMigrated, SettingsStore, StoreError, UnknownUser, exchange
from store.errors import BadIdentifier
from store.exchange import Imported, ImportRejected, ImportReport
from store.verify import verify
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.sql.sessions import Connection, Session, fetch, one, value
from tests.store.documents import object_texts
from tests.store.hostile import SECRET, TEXTS, told

UIDS = [f"58766250476834{n:04}" for n in range(30)]
OTHER = UIDS[0]
MASK = '"********"'
HEAD = b'{"format": "settings-store export", "version": 1, "users": '
EMPTY = b'{\n    "format": "settings-store export",\n    "version": 1,\n    "users": []\n}\n'

# Documents of keys that the catalogue doesn't know, as text: Python couldn't hold all of these numbers.
HOSTILE = (
    '{"?long": 1234567890123456789012345678901234567890, "?huge": 1e300, "?price": 1.10, "?tiny": 0.'
    + "0" * 30 + '1234567890123456789, "?zero": -0.00, "?empty": {}, "?list": [], "?null": null, "": "",'
    + '"?a.b": {"$": {"\\"": {"c.d": [[[{}]], ""]}}}, "$": 1, "?line\\nbreak": "\\r\\n\\u2028", "?한글": "롱숏 🚀",'
    + '"?tricky": ["true", "null", "1", " 1 ", "\\\\u0041", "{", "********"]}'
)  # fmt: skip


def file_of(*users: dict[str, Any]) -> bytes:
    return HEAD + json.dumps(users, ensure_ascii=False, indent=1).encode() + b"}"


def person(okx_uid: str = OKX_UID, /, **fields: Any) -> dict[str, Any]:
    """A user of a file; `settings` unless given: none."""
    return {"okx_uid": okx_uid, "settings": {}, **fields}


async def export(store: SettingsStore, *identifiers: str, with_secrets: bool = True) -> bytes:
    file = io.BytesIO()
    await exchange.export_users(store, file, identifiers or None, with_secrets=with_secrets)
    return file.getvalue()


async def rejection(store: SettingsStore, data: bytes) -> list[str]:
    """Import something that must be rejected; return the problems, line by line."""
    with pytest.raises(ImportRejected) as error:
        await exchange.import_users(store, data)
    assert "hunter2" not in told(error.value)
    return (error.value.detail or "").splitlines()


async def assert_equal_sides(store: SettingsStore) -> None:
    report = await verify(store.stores)
    assert (dict(report.findings), report.remaining) == ({}, 0)


def saved_texts(db: Connection, okx_uid: str) -> dict[str, str]:
    rows = fetch(
        db,
        "select setting_type, settings::text from user_settings"
        " where okx_uid = %s and is_active and deleted_at is null",
        (okx_uid,),
    )
    return {row["setting_type"]: row["settings"] for row in rows}


def versions(db: Connection, okx_uid: str = OKX_UID) -> dict[str, int]:
    rows = fetch(db, "select setting_type, version from user_settings where okx_uid = %s and is_active", (okx_uid,))
    return {row["setting_type"]: row["version"] for row in rows}


def put(db: Connection, okx_uid: str, kind: str, document: str) -> None:
    """Save a document given as text."""
    fetch(db, "select from ensure_user(%s)", (okx_uid,))
    fetch(db, "select from upsert_user_setting(%s, %s, %s::jsonb)", (okx_uid, kind, document))


@pytest.fixture
async def second(servers: Config, config: Config, template: str, second_url: str) -> AsyncIterator[SettingsStore]:
    """A store with an empty database of its own; of Redis only other keys are shared."""
    async with SettingsStore(replace(config, database_url=second_url, key_template="second:{id}:{suffix}")) as opened:
        yield opened


@pytest.fixture
def second_url(servers: Config, template: str) -> Iterator[str]:
    """The URL of another migrated database."""
    from tests.conftest import janitor

    assert servers.database_url
    with janitor(servers.database_url, f"second_{template[9:]}", template) as database:
        yield make_conninfo(servers.database_url, dbname=database.dbname)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "PAGE", 3)


# -- what comes back


async def test_what_is_imported_into_an_empty_store_is_exported_byte_by_byte(
    store: SettingsStore, second: SettingsStore, second_url: str, db: Connection
) -> None:
    await store.register(OKX_UID, TELEGRAM_ID, name="김 'Kim' \"K\"\n$1", telegram_username="kim{0}%s")
    await store.patch(OKX_UID, "params", {"signal_bot_token": SECRET})
    await store.register(OTHER)
    await store.delete(OTHER, "dual_side")
    put(db, UIDS[1], "params", HOSTILE)
    put(db, UIDS[1], "preferences", HOSTILE)
    put(db, UIDS[2], "params", "{}")
    put(db, UIDS[3], "params", json.dumps({"?" + text: {text: [text]} for text in hostile_texts()}))
    fetch(db, "select from ensure_user(%s)", (UIDS[4],))

    written = await export(store)
    report = await exchange.import_users(second, written)
    assert await export(second) == written
    assert (report.users["new"], report.left_out, report.mirrored) == (6, 0, True)
    await assert_equal_sides(second)
    with psycopg.connect(second_url, row_factory=psycopg.rows.dict_row) as there:
        for uid in (OKX_UID, OTHER, *UIDS[1:5]):
            assert saved_texts(there, uid) == saved_texts(db, uid)

    again = await exchange.import_users(second, written)
    assert (set(again.users), set(again.documents)) == ({"unchanged"}, {"unchanged"})


def hostile_texts() -> list[str]:
    return [text for name, text in TEXTS.items() if name not in ("nul", "surrogate", "huge")]


async def test_numbers_keep_every_digit(store: SettingsStore, db: Connection) -> None:
    numbers = ["1234567890123456789012345678901234567890", "1.10", "0.1234567890123456789012345", "100.00", "1e300"]
    data = HEAD + f'[{{"okx_uid": "{OKX_UID}", "settings": {{"params": {{"?n": [{", ".join(numbers)}]}}}}}}]}}'.encode()
    await exchange.import_users(store, data)
    exported = json.loads(await export(store), parse_int=str, parse_float=str)
    found = exported["users"][0]["settings"]["params"]["?n"]
    assert found == [*numbers[:-1], "1" + "0" * 300]


async def test_any_document_comes_back(store: SettingsStore, db: Connection) -> None:
    """Exported, imported over another document and exported again, it is the same text."""
    put(db, OKX_UID, "params", '{"?": 0}')
    loop = asyncio.get_running_loop()

    async def round_trip(text: str) -> None:
        try:
            put(db, OKX_UID, "params", text)
        except psycopg.Error:
            return  # no document
        written = await export(store)
        saved = saved_texts(db, OKX_UID)
        put(db, OKX_UID, "params", '{"?": 0}')
        await exchange.import_users(store, written)
        assert await export(store) == written
        assert saved_texts(db, OKX_UID) == saved

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(text=object_texts)
    def check(text: str) -> None:
        asyncio.run_coroutine_threadsafe(round_trip(text), loop).result()

    await asyncio.to_thread(check)


async def test_the_same_data_make_the_same_bytes_whatever_the_order(
    store: SettingsStore, second: SettingsStore
) -> None:
    document = {"b": 1, "aa": {"y": 1, "x": [2, 1]}, "a": "롱"}
    backwards = {"a": "롱", "aa": {"x": [2, 1], "y": 1}, "b": 1}
    for uid in UIDS[:7]:
        await store.register(uid)
        await store.save_all(uid, {"params": document, "preferences": {"timeframe": "5m", "symbol": "x"}})
    for uid in reversed(UIDS[:7]):
        await second.register(uid)
        await second.save(uid, "preferences", {"symbol": "y"})
        await second.save(uid, "preferences", {"symbol": "x", "timeframe": "5m"})
        await second.save(uid, "params", backwards)
    assert await export(store) == await export(second)
    assert await export(store, *UIDS[:3]) == await export(second, *reversed(UIDS[:3]), UIDS[1])


async def test_an_empty_store_is_an_export_too(store: SettingsStore) -> None:
    assert await export(store) == EMPTY
    report = await exchange.import_users(store, EMPTY)
    assert report == ImportReport(Counter(), Counter(), 0, True)


async def test_it_holds_live_users_and_their_active_settings_only(store: SettingsStore, user: str) -> None:
    await store.save(user, "preferences", {"timeframe": "1h"})
    await store.save(user, "preferences", {"timeframe": "5m"})
    await store.delete(user, "params")
    await store.register(OTHER)
    await store.delete_user(OTHER)
    (exported,) = json.loads(await export(store))["users"]
    assert set(exported) == {"okx_uid", "telegram_id", "name", "telegram_username", "settings"}
    assert set(exported["settings"]) == {"preferences", "dual_side"}
    assert exported["settings"]["preferences"] == {"timeframe": "5m"}


async def test_an_export_of_pages_misses_and_repeats_nobody(store: SettingsStore, small_pages: None) -> None:
    for n, uid in enumerate(UIDS[:7], 1):
        await store.register(uid)
        exported = json.loads(await export(store))["users"]
        assert [each["okx_uid"] for each in exported] == UIDS[:n]
    exported = json.loads(await export(store, *UIDS[:6]))["users"]
    assert [each["okx_uid"] for each in exported] == UIDS[:6]


async def test_users_are_exported_by_any_identifier_and_once(store: SettingsStore, user: str) -> None:
    await store.register(OTHER)
    found = await store.find_user(user)
    assert found is not None
    exported = json.loads(await export(store, TELEGRAM_ID, user, str(found.id)))["users"]
    assert [each["okx_uid"] for each in exported] == [user]


@pytest.mark.parametrize(("identifier", "error"), [(OTHER, UnknownUser), ("x", BadIdentifier), ("a\nb", BadIdentifier)])
async def test_nothing_is_written_for_somebody_unknown(
    store: SettingsStore, user: str, identifier: str, error: type[StoreError]
) -> None:
    file = io.BytesIO()
    with pytest.raises(error):
        await exchange.export_users(store, file, [user, identifier])
    assert file.getvalue() == b""


async def test_an_export_shows_one_moment_while_writers_write(
    store: SettingsStore, small_pages: None, db: Connection
) -> None:
    for uid in UIDS[:8]:
        put(db, uid, "params", '{"?n": 0}')
    before = await export(store)
    pages = []

    def write_behind_it(count: int) -> None:
        pages.append(count)
        for uid in UIDS[:8]:
            put(db, uid, "params", json.dumps({"?n": len(pages)}))
        fetch(db, "select from ensure_user(%s)", (UIDS[8 + len(pages)],))
        if len(pages) == 1:
            fetch(db, "select from delete_user(%s)", (UIDS[7],))
            fetch(db, "select from restore_user(%s)", (UIDS[7],))

    file = io.BytesIO()
    await exchange.export_users(store, file, None, with_secrets=True, progress=write_behind_it)
    assert pages == [3, 3, 2]
    assert file.getvalue() == before


# -- secrets


async def test_secrets_are_masked_unless_asked_for(store: SettingsStore, user: str) -> None:
    await store.patch(user, "params", {"signal_bot_token": SECRET, "note": "x"})
    masked = await export(store, with_secrets=False)
    assert SECRET.encode() not in masked
    assert MASK.encode() in masked
    assert SECRET.encode() in await export(store)


async def test_a_masked_secret_keeps_the_current_one(store: SettingsStore, user: str) -> None:
    await store.patch(user, "params", {"signal_bot_token": SECRET, "leverage": 3})
    masked = await export(store, with_secrets=False)
    await store.patch(user, "params", {"signal_bot_token": "a newer one", "leverage": 4})
    report = await exchange.import_users(store, masked)
    found = await store.get(user, "params", source="db")
    assert found is not None
    assert (found.settings["signal_bot_token"], found.settings["leverage"]) == ("a newer one", 3)
    assert (report.left_out, report.documents["changed"]) == (0, 1)


async def test_a_masked_secret_alone_is_no_change(store: SettingsStore, user: str, db: Connection) -> None:
    await store.patch(user, "params", {"signal_bot_token": SECRET})
    before = versions(db)
    report = await exchange.import_users(store, await export(store, with_secrets=False))
    assert (report.documents, versions(db)) == (Counter(unchanged=3), before)


@pytest.mark.parametrize("had", ["nobody", "a user without it", "a deleted document", "a deleted user"])
async def test_a_masked_secret_is_left_out_where_there_is_none(store: SettingsStore, db: Connection, had: str) -> None:
    data = file_of(person(settings={"params": {"signal_bot_token": "********", "leverage": 3}}))
    if had != "nobody":
        await store.register(OKX_UID)
        await store.save(OKX_UID, "params", {"leverage": 9} if "without" in had else {"signal_bot_token": SECRET})
    if had == "a deleted document":
        await store.delete(OKX_UID, "params")
    if had == "a deleted user":
        await store.delete_user(OKX_UID)
    told_of: list[Imported] = []
    report = await exchange.import_users(store, data, tell=told_of.append)
    assert report.left_out == 1
    assert [(each.setting_type, each.left_out) for each in told_of] == [(None, 0), ("params", 1)]
    assert saved_texts(db, OKX_UID)["params"] == '{"leverage": 3}'


async def test_a_mask_where_no_secret_belongs_is_a_value(store: SettingsStore, user: str, db: Connection) -> None:
    data = file_of(
        person(settings={"preferences": {"symbol": "********"}, "params": {"x": {"signal_bot_token": "********"}}})
    )
    assert (await exchange.import_users(store, data)).left_out == 0
    assert saved_texts(db, user)["preferences"] == f'{{"symbol": {MASK}}}'
    assert saved_texts(db, user)["params"] == f'{{"x": {{"signal_bot_token": {MASK}}}}}'


async def test_a_secret_saved_during_an_import_of_masked_ones_stays(
    store: SettingsStore, user: str, db: Connection, session: Callable[[], Session]
) -> None:
    await store.register(OTHER)
    await store.patch(user, "params", {"signal_bot_token": "old", "leverage": 3})
    data = file_of(
        person(OTHER, name="Lee"), person(settings={"params": {"signal_bot_token": "********", "leverage": 5}})
    )
    blocker, importer = session(), session()
    blocker.run("begin")
    blocker.run("select from app_users where okx_uid = %s for update", (OTHER,))
    users = json.dumps(json.loads(data)["users"])
    waiting = importer.run_blocked("select * from import_users(%s::jsonb)", (users,))
    await store.patch(user, "params", {"signal_bot_token": SECRET})
    blocker.run("commit")
    waiting.result(30)
    found = await store.get(user, "params", source="db")
    assert found is not None
    assert (found.settings["signal_bot_token"], found.settings["leverage"]) == (SECRET, 5)


# -- what an import does


async def test_it_changes_what_is_given_and_nothing_else(store: SettingsStore, user: str, db: Connection) -> None:
    await store.register(OTHER, name="Lee")
    before, others = saved_texts(db, user), versions(db, OTHER)
    await exchange.import_users(store, file_of(person(settings={"preferences": {"symbol": "x"}})))
    assert saved_texts(db, user) == before | {"preferences": '{"symbol": "x"}'}
    assert versions(db) == {"preferences": 2, "params": 1, "dual_side": 1}
    assert versions(db, OTHER) == others
    found = await store.find_user(user)
    assert found is not None
    assert (found.telegram_id, found.name) == (TELEGRAM_ID, "Kim")
    await assert_equal_sides(store)


async def test_a_deleted_user_comes_back_with_what_is_given(store: SettingsStore, user: str, db: Connection) -> None:
    await store.delete_user(user)
    data = file_of(person(name="Park", settings={"params": {"leverage": 3}}))
    report = await exchange.import_users(store, data)
    assert (report.users, report.documents) == (Counter(new=1), Counter(new=1))
    assert saved_texts(db, user) == {"params": '{"leverage": 3}'}
    assert versions(db)["params"] == 3
    found = await store.find_user(TELEGRAM_ID)
    assert found is not None
    assert (found.okx_uid, found.name) == (user, "Park")
    await assert_equal_sides(store)


async def test_a_telegram_id_that_a_deleted_user_had_can_be_taken(store: SettingsStore, user: str) -> None:
    await store.delete_user(user)
    await exchange.import_users(store, file_of(person(OTHER, telegram_id=TELEGRAM_ID)))
    found = await store.find_user(TELEGRAM_ID)
    assert found is not None
    assert found.okx_uid == OTHER
    await assert_equal_sides(store)


async def test_versions_say_imported_unless_told_otherwise(store: SettingsStore, user: str, db: Connection) -> None:
    async def reasons(leverage: int) -> dict[str, Any]:
        await exchange.import_users(store, file_of(person(settings={"params": {"leverage": leverage}})))
        query = "select changed_by, change_reason from user_settings where setting_type = 'params' and is_active"
        return one(db, query)

    database_user = value(db, "select session_user::text")
    assert await reasons(2) == {"changed_by": database_user, "change_reason": "imported"}
    async with store.acting_as("ops"):
        assert await reasons(3) == {"changed_by": "ops", "change_reason": "imported"}
    async with store.acting_as("ops", reason="from staging"):
        assert await reasons(4) == {"changed_by": "ops", "change_reason": "from staging"}
    await store.patch(user, "params", {"leverage": 5})
    row = one(db, "select change_reason from user_settings where setting_type = 'params' and is_active")
    assert row == {"change_reason": None}


async def test_the_reason_given_by_an_import_ends_with_it(db: Connection) -> None:
    users = json.dumps([person(settings={"params": {"leverage": 2}})])
    with db.transaction():
        fetch(db, "select from import_users(%s::jsonb)", (users,))
        fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (OKX_UID,))
    rows = fetch(db, "select change_reason from user_settings order by version")
    assert [row["change_reason"] for row in rows] == ["imported", None]


async def test_it_is_told_of_every_user_and_document(store: SettingsStore, user: str) -> None:
    await store.save(user, "preferences", {"symbol": "x", "timeframe": "1m", "gone": 1})
    told_of: list[Imported] = []
    progress: list[int] = []
    data = file_of(
        person(name="Park", settings={"preferences": {"symbol": "y", "timeframe": "1m", "note": 1}}),
        person(OTHER, settings={"params": {"signal_bot_token": SECRET}}),
    )
    await exchange.import_users(store, data, dry_run=True, tell=told_of.append, progress=progress.append)
    assert [(each.okx_uid, each.setting_type, each.outcome) for each in told_of] == [
        (OTHER, None, "new"), (OTHER, "params", "new"), (user, None, "changed"), (user, "preferences", "changed"),
    ]  # fmt: skip
    assert [(c.key, c.change, c.old, c.new) for c in told_of[3].changes] == [
        ("gone", "removed", 1, None), ("note", "added", None, 1), ("symbol", "changed", "x", "y"),
    ]  # fmt: skip
    assert SECRET not in repr(told_of)
    assert sum(progress) == 2


async def test_a_dry_run_writes_nothing(store: SettingsStore, user: str, untouched: None) -> None:
    data = file_of(person(name="Park", settings={"params": {"leverage": 3}}), person(OTHER, telegram_id="123456"))
    report = await exchange.import_users(store, data, dry_run=True)
    assert (report.users, report.documents) == (Counter(changed=1, new=1), Counter(changed=1))
    assert not report.mirrored


async def test_many_users_come_in_several_queries_of_one_transaction(
    store: SettingsStore, small_pages: None, db: Connection
) -> None:
    people = [person(uid, settings={"params": {"?n": n}}) for n, uid in enumerate(UIDS[:8])]
    report = await exchange.import_users(store, file_of(*reversed(people)))
    assert (report.users, report.documents) == (Counter(new=8), Counter(new=8))
    assert value(db, "select count(distinct created_at) from app_users") == 1  # the transaction's beginning
    assert [json.loads(saved_texts(db, uid)["params"])["?n"] for uid in UIDS[:8]] == list(range(8))
    await assert_equal_sides(store)


async def test_what_postgresql_refuses_in_the_last_batch_takes_back_the_first(
    store: SettingsStore, small_pages: None, db: Connection
) -> None:
    """A rival links the Telegram ID between the comparison and the writing."""
    people = [person(uid, telegram_id=f"10000{n}") for n, uid in enumerate(UIDS[:8])]

    compared: list[int] = []

    def link_at_the_end(count: int) -> None:
        compared.append(count)
        if sum(compared) == len(people):
            fetch(db, "select from ensure_user(%s, '100007')", (OKX_UID,))

    with pytest.raises((AlreadyLinked, InvalidSettings)):
        await exchange.import_users(store, file_of(*people), progress=link_at_the_end)
    assert len(compared) == 3
    assert [row["okx_uid"] for row in fetch(db, "select okx_uid from app_users")] == [OKX_UID]


@pytest.mark.parametrize("size", [1, 100_000])
async def test_batches_are_limited_by_their_size(
    store: SettingsStore, monkeypatch: pytest.MonkeyPatch, db: Connection, size: int
) -> None:
    monkeypatch.setattr(exchange, "BATCH", size)
    people = [person(uid, settings={"params": {"?": "x" * 30_000}}) for uid in UIDS[:8]]
    progress: list[int] = []
    await exchange.import_users(store, file_of(*people), progress=progress.append)
    assert sum(progress) == 8
    assert max(progress) == (1 if size == 1 else 3)
    assert value(db, "select count(*) from user_settings where is_active") == 8


async def test_it_waits_for_a_writer_of_the_same_document_and_loses_neither(
    store: SettingsStore, user: str, db: Connection, session: Callable[[], Session]
) -> None:
    writer = session()
    writer.run("begin")
    writer.run("select from patch_user_setting(%s, 'params', '{\"leverage\": 7}')", (user,))
    importing = asyncio.create_task(
        exchange.import_users(store, file_of(person(settings={"params": {"leverage": 5}}))), name="import"
    )
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while not value(db, query):
            await asyncio.sleep(0.005)
    writer.run("commit")
    assert (await importing).mirrored
    rows = fetch(
        db,
        "select settings -> 'leverage' as leverage from user_settings where setting_type = 'params' order by version",
    )
    assert [row["leverage"] for row in rows] == [10, 7, 5]
    await assert_equal_sides(store)


async def test_imports_and_writers_at_once_keep_both_sides_equal(store: SettingsStore, db: Connection) -> None:
    for uid in UIDS[:4]:
        await store.register(uid)

    async def write(n: int) -> None:
        for round_ in range(10):
            await store.patch(UIDS[(n + round_) % 4], "params", {f"?{n}": round_})

    async def take(n: int) -> None:
        for round_ in range(5):
            people = [person(uid, settings={"params": {"?n": n, "?round": round_}}) for uid in UIDS[:4]]
            await exchange.import_users(store, file_of(*(people if n % 2 else reversed(people))))

    await asyncio.gather(write(0), take(1), take(2), write(3))
    await store.mirror_owners(None)
    await assert_equal_sides(store)
    rows = fetch(db, "select count(*) as n, max(version) as last from user_settings group by okx_uid, setting_type")
    assert all(row["n"] == row["last"] for row in rows)


# -- what is rejected


def broken(user_text: str) -> bytes:
    """A file of two users; the second begins in line 6."""
    text = HEAD.decode() + f'[\n  {{\n    "okx_uid": "{OTHER}",\n    "settings": {{}}\n  }},\n  {user_text}\n]}}'
    return text.encode()


def second_user(**lines: str) -> bytes:
    """The same, each field in a line of its own: okx_uid is in line 7, the next in line 8, …"""
    fields = {"okx_uid": f'"{OKX_UID}"'} | lines
    return broken("{\n" + ",\n".join(f'    "{key}": {text}' for key, text in fields.items()) + "\n  }")


PROBLEMS: dict[str, tuple[bytes, str]] = {
    "a bad key": (
        second_user(name='"x"', settings='{"params": {\n"note": 1,\n"leverage": "hunter2"}}'),
        f"line 11: {OKX_UID}, params.leverage: must be of type integer, not string",
    ),
    "a bad key of the second document": (
        second_user(settings='{"preferences": {"symbol": "x"},\n\n"dual_side":\n{\n"use_dual_sl": "hunter2"}}'),
        f"line 12: {OKX_UID}, dual_side.use_dual_sl: must be of type boolean, not string",
    ),
    "a key out of range": (
        second_user(settings='{\n"params": {"note": {"leverage": 3}, \n"leverage": 126}}'),
        f"line 10: {OKX_UID}, params.leverage: must be between 1 and 125",
    ),
    "a document that is a list": (
        second_user(settings='{\n"params": ["hunter2"]}'),
        f"line 9: {OKX_UID}, params.$: must be an object",
    ),
    "a document of null": (
        second_user(settings='{"params":\n null}'),
        f"line 9: {OKX_UID}, params.$: must be an object",
    ),
    "an unknown type": (
        second_user(settings='{"params": {},\n"alerts": {"a": "hunter2"}}'),
        f"line 9: {OKX_UID}, alerts.$: unknown setting type",
    ),
    "an unknown field": (
        second_user(settings="{}", api_key='"hunter2"'),
        f"line 9: {OKX_UID}, api_key: is no field of a user",
    ),
    "settings that are a list": (
        second_user(settings='["hunter2"]'),
        f"line 8: {OKX_UID}, settings: must be an object of documents by setting type",
    ),
    "a name that is a number": (second_user(name="1709"), f"line 8: {OKX_UID}, name: must be a string or null"),
    "a Telegram ID of letters": (
        second_user(name='"x"', telegram_id='"hunter2"'),
        f"line 9: {OKX_UID}, telegram_id: must be a Telegram ID: a string of 5-15 digits",
    ),
    "a Telegram ID that is a number": (
        second_user(telegram_id="1709556958"),
        f"line 8: {OKX_UID}, telegram_id: must be a string or null",
    ),
    "a Telegram ID and a line break": (
        second_user(telegram_id='"1709556958\\n"'),
        f"line 8: {OKX_UID}, telegram_id: must be a Telegram ID: a string of 5-15 digits",
    ),
    "an OKX UID of letters": (
        second_user(okx_uid='"hunter2-secret"'),
        "line 7: a user, okx_uid: must be an OKX UID: a string of 16-20 digits",
    ),
    "an OKX UID that is a number": (
        second_user(okx_uid=OKX_UID),
        f"line 7: {OKX_UID}, okx_uid: must be an OKX UID: a string of 16-20 digits",
    ),
    "no OKX UID": (broken('{"settings": {}}'), "line 6: a user, okx_uid: must be an OKX UID: a string of 16-20 digits"),
    "an OKX UID of null": (
        second_user(okx_uid="null"),
        "line 7: a user, okx_uid: must be an OKX UID: a string of 16-20 digits",
    ),
    "a user that is a string": (broken('"hunter2"'), "line 6: a user, $: must be an object"),
    "a user there twice": (broken(f'{{"okx_uid": "{OTHER}"}}'), f"line 6: {OTHER} is there twice"),
    "a key there twice in a user": (
        second_user(settings='{"params": {"a": 1,\n"a": "hunter2"}}'),
        "line 9: the key a is there twice in one object",
    ),
    "a key there twice deep inside": (
        second_user(settings='{"params": {"a": [\n1, {"k.$": 1,\n"b": {}, \n"k.$": "hunter2"}]}}'),
        "line 11: the key k.$ is there twice in one object",
    ),
    "NaN": (second_user(name='"hunter2"', settings='{"params":\n{"a": NaN}}'), "line 10: NaN is no JSON number"),
    "-Infinity": (second_user(settings='{"params": {\n"a": -Infinity}}'), "line 9: -Infinity is no JSON number"),
    "a lone surrogate": (
        second_user(settings='{"params":\n{"a": "hunter2\\ud800"}}'),
        "line 6: invalid settings; $: is not valid JSON for PostgreSQL (a lone surrogate?)",
    ),
    "a null character": (
        second_user(settings='{"params":\n{"a": "hunter2\\u0000"}}'),
        "line 6: invalid settings; $: must not contain the character U+0000",
    ),
    "a number beyond a double": (
        second_user(settings='{"params":\n{"a": 1e309}}'),
        f"line 9: {OKX_UID}, params.$: must not hold a number outside the range of a double",
    ),
    "a number beyond everything": (
        second_user(settings='{"params":\n{"a": 1e999999}}'),
        "outside the range of a double",
    ),
    "a number of 5,000 digits": (
        second_user(settings='{"params":\n{"a": ' + "7" * 5000 + "}}"),
        f"line 9: {OKX_UID}, params.$: must not hold a number",
    ),
    "100 levels": (
        second_user(settings='{"params":\n{"a": ' + "[" * 100 + "]" * 100 + "}}"),
        f"line 9: {OKX_UID}, params.$: must be nested at most 64 levels deep",
    ),
    "10,000 levels": (
        second_user(settings='{"params": {"a": ' + "[" * 10_000 + "]" * 10_000 + "}}"),
        "line 6: nested too deep",
    ),
    "10,000 levels above": (b"[" * 10_000 + b"]" * 10_000, "line 1: "),
    "a document beyond 1 MiB": (
        second_user(settings='{"params":\n{"a": "' + "x" * 1_100_000 + '"}}'),
        f"line 9: {OKX_UID}, params.$: must be at most 1 MiB",
    ),
    "a comma too many": (second_user(settings='{"params": {\n},\n}'), "line 10: "),
    "text after it": (file_of(person()) + b"\n\nhunter2", "line 8: Extra data"),
    "nothing": (b"", "line 1: Expecting '{'"),
    "space": (b"\n\n \n", "line 4: Expecting '{'"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "line 1: Expecting '{'"),
    "two byte order marks": (b"\xef\xbb\xbf" * 2 + file_of(), "line 1: Expecting '{'"),
    "a list": (b'[\n"hunter2"]', "line 1: Expecting '{'"),
    "a string": (b'"hunter2"', "line 1: Expecting '{'"),
    "users that are an object": (HEAD + b'{"hunter2": 1}}', "line 1: Expecting '['"),
    "not UTF-8": (HEAD + b'[\n"hunter2\xff"]}', "line 2: not UTF-8 text"),
    "UTF-16": (file_of().decode().encode("utf-16"), "line 1: not UTF-8 text"),
    "another format": (file_of().replace(b"settings-store export", b"hunter2"), '"format" must be'),
    "another version": (file_of().replace(b": 1,", b": 2,"), '"format" must be'),
    "no version": (b'{"format": "settings-store export", "users": []}', '"format" must be'),
    "no users": (b'{"format": "settings-store export", "version": 1}', '"format" must be'),
    "more at the top": (b'{"hunter": 2, ' + file_of()[1:], '"format" must be'),
    "users there twice": (file_of()[:-1] + b',\n"users": []}', "line 2: the key users is there twice in one object"),
    "a format there twice": (
        b'{"format": "x",\n' + file_of()[1:],
        "line 2: the key format is there twice in one object",
    ),
    "noise": (b"\x00\x01{[\"'" * 20_000, "line 1: "),
}


@pytest.mark.usefixtures("untouched")
async def test_a_problem_is_named_by_line_and_key_and_rejects_everything(store: SettingsStore, db: Connection) -> None:
    wrong = {}
    for name, (data, problem) in PROBLEMS.items():
        lines = await rejection(store, data)
        if len(lines) != 1 or problem not in lines[0] or len(lines[0]) > 300:
            wrong[name] = [line[:300] for line in lines]
    assert wrong == {}


@pytest.mark.usefixtures("untouched")
async def test_a_file_cut_at_any_byte_is_rejected(store: SettingsStore) -> None:
    whole = file_of(person(name="김", settings={"params": {"leverage": 3, "롱": [1.5, None, "\n"]}}))
    for end in range(len(whole)):
        lines = await rejection(store, whole[:end])
        assert len(lines) == 1
        assert lines[0].startswith("line ")


@pytest.mark.usefixtures("untouched")
async def test_noise_anywhere_in_a_file_is_taken_or_rejected(store: SettingsStore) -> None:
    whole = file_of(person(settings={"params": {"leverage": 3}}))
    outcomes = Counter[bool]()
    for at in range(0, len(whole), 4):
        for noise in (b"hunter2", b"\xff", b"}", b"\\u0000"):
            try:
                await exchange.import_users(store, whole[:at] + noise + whole[at + 1 :], dry_run=True)
            except ImportRejected:
                outcomes[False] += 1
            else:
                outcomes[True] += 1
    assert outcomes[False] > 10 * outcomes[True]


@pytest.mark.usefixtures("untouched")
async def test_all_problems_are_told_by_line_up_to_fifty(store: SettingsStore) -> None:
    people = [person(uid, settings={"params": {"leverage": 0, "direction": "x"}}, z=1) for uid in UIDS]
    lines = await rejection(store, file_of(*reversed(people)))
    numbers = [int(line.split(":")[0].removeprefix("line ")) for line in lines[:50]]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 50
    assert lines[50:] == ["and 40 more"]


@pytest.mark.usefixtures("untouched")
async def test_a_telegram_id_of_somebody_else_is_rejected(store: SettingsStore) -> None:
    lines = await rejection(store, file_of(person(OTHER, telegram_id=TELEGRAM_ID)))
    assert lines == [f"line 5: {OTHER}, telegram_id: is linked to another user"]


@pytest.mark.usefixtures("untouched")
async def test_a_telegram_id_there_twice_is_rejected_and_on_a_dry_run_too(store: SettingsStore) -> None:
    data = file_of(person(OTHER, telegram_id="123456"), person(UIDS[1]), person(UIDS[2], telegram_id="123456"))
    for dry_run in (True, False):
        with pytest.raises(ImportRejected) as error:
            await exchange.import_users(store, data, dry_run=dry_run)
        assert (error.value.detail or "").splitlines() == [f"line 14: {UIDS[2]}, telegram_id: is there twice"]


@pytest.mark.usefixtures("untouched")
async def test_a_name_that_is_no_name_cant_fill_the_screen(store: SettingsStore) -> None:
    """Keys are named as they can be read: short and in one line."""
    for key in ("x" * 100_000, "a\nb", "a\x1b[2Jb", "a\ud800b"):
        text = json.dumps({key: 1})[1:-1]
        for data in (
            second_user(**{json.dumps(key)[1:-1]: "1"})
            if "\ud800" not in key
            else broken("{" + text + "," + text + "}"),
            broken(f'{{"okx_uid": "{OKX_UID}", "settings": {{{text}}}}}') if "\ud800" not in key else b"",
            broken("{" + text + ", " + text + "}"),
            broken(f'{{"okx_uid": {json.dumps(key)}}}'),
            broken(f'{{"okx_uid": {json.dumps(key)}}}, {{"okx_uid": {json.dumps(key)}}}'),
        ):
            lines = await rejection(store, data)
            for line in lines:
                assert line.isprintable()
                assert line.startswith("line ")
                assert len(line) < 300


async def test_a_telegram_id_swapped_between_two_users_is_rejected_as_a_whole(
    store: SettingsStore, db: Connection
) -> None:
    await store.register(OTHER, "111111")
    await store.register(UIDS[1], "222222")
    lines = await rejection(store, file_of(person(OTHER, telegram_id="222222"), person(UIDS[1], telegram_id="111111")))
    assert [line.split(", ")[1] for line in lines] == ["telegram_id: is linked to another user"] * 2
    rows = fetch(db, "select telegram_id from app_users order by okx_uid")
    assert [row["telegram_id"] for row in rows] == ["111111", "222222"]


async def test_a_problem_in_sql_refuses_the_whole_list(db: Connection) -> None:
    users = [person(OTHER, settings={"params": {}}), person(settings={"params": {"leverage": SECRET}})]
    for bad in (users, {"okx_uid": OTHER}, [person(OTHER), "x"], [person(OTHER), person(x=1)]):
        with pytest.raises(psycopg.Error) as error:
            fetch(db, "select from import_users(%s::jsonb)", (json.dumps(bad),))
        assert error.value.sqlstate == "US003"
        assert SECRET not in str(error.value)
    assert fetch(db, "select from app_users") == []


async def test_a_store_that_is_not_migrated_is_said_once_and_not_of_every_user(
    config: Config, empty_database_url: str
) -> None:
    async with SettingsStore(replace(config, database_url=empty_database_url)) as empty:
        with pytest.raises(NotMigrated):
            await exchange.import_users(empty, file_of(person(), person(OTHER)))


async def test_a_byte_order_mark_and_line_ends_of_windows_are_taken(store: SettingsStore, db: Connection) -> None:
    data = file_of(person(settings={"params": {"leverage": 3}})).replace(b"\n", b"\r\n")
    await exchange.import_users(store, b"\xef\xbb\xbf" + data)
    assert saved_texts(db, OKX_UID) == {"params": '{"leverage": 3}'}
    lines = await rejection(store, b"\xef\xbb\xbf" + data.replace(b" 3", b" 0"))
    assert lines[0].startswith("line 6: ")
