"""What an import does: it changes what is given, says so, all in one transaction, and waits for other writers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from store import AlreadyLinked, InvalidSettings, SettingsStore, batches
from store.files import export
from store.files.export import Imported
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.hostile import SECRET
from tests.helpers.sessions import Connection, Session, fetch, one, value
from tests.store.files.export.conftest import OTHER, UIDS, assert_equal_sides, file_of, person, saved_texts, versions


async def test_it_changes_what_is_given_and_nothing_else(store: SettingsStore, user: str, db: Connection) -> None:
    await store.register(OTHER, name="Lee")
    before, others = saved_texts(db, user), versions(db, OTHER)
    await export.import_users(store, file_of(person(settings={"preferences": {"symbol": "x"}})))
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
    report = await export.import_users(store, data)
    assert (report.users, report.documents) == (Counter(new=1), Counter(new=1))
    assert saved_texts(db, user) == {"params": '{"leverage": 3}'}
    assert versions(db)["params"] == 3
    found = await store.find_user(TELEGRAM_ID)
    assert found is not None
    assert (found.okx_uid, found.name) == (user, "Park")
    await assert_equal_sides(store)


async def test_a_telegram_id_that_a_deleted_user_had_can_be_taken(store: SettingsStore, user: str) -> None:
    await store.delete_user(user)
    await export.import_users(store, file_of(person(OTHER, telegram_id=TELEGRAM_ID)))
    found = await store.find_user(TELEGRAM_ID)
    assert found is not None
    assert found.okx_uid == OTHER
    await assert_equal_sides(store)


async def test_versions_say_imported_unless_told_otherwise(store: SettingsStore, user: str, db: Connection) -> None:
    async def reasons(leverage: int) -> dict[str, Any]:
        await export.import_users(store, file_of(person(settings={"params": {"leverage": leverage}})))
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
    await export.import_users(store, data, dry_run=True, tell=told_of.append, progress=progress.append)
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
    report = await export.import_users(store, data, dry_run=True)
    assert (report.users, report.documents) == (Counter(changed=1, new=1), Counter(changed=1))
    assert not report.mirrored


async def test_many_users_come_in_several_queries_of_one_transaction(
    store: SettingsStore, small_pages: None, db: Connection
) -> None:
    people = [person(uid, settings={"params": {"?n": n}}) for n, uid in enumerate(UIDS[:8])]
    report = await export.import_users(store, file_of(*reversed(people)))
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
        await export.import_users(store, file_of(*people), progress=link_at_the_end)
    assert len(compared) == 3 + 2  # written, and taken back
    assert [row["okx_uid"] for row in fetch(db, "select okx_uid from app_users")] == [OKX_UID]


@pytest.mark.parametrize("size", [1, 100_000])
async def test_batches_are_limited_by_their_size(
    store: SettingsStore, monkeypatch: pytest.MonkeyPatch, db: Connection, size: int
) -> None:
    monkeypatch.setattr(batches, "BYTES", size)
    people = [person(uid, settings={"params": {"?": "x" * 30_000}}) for uid in UIDS[:8]]
    progress: list[int] = []
    await export.import_users(store, file_of(*people), progress=progress.append)
    assert sum(progress) == 2 * 8  # compared, then written
    assert max(progress) == (1 if size == 1 else 3)
    assert value(db, "select count(*) from user_settings where is_active") == 8


async def test_it_waits_for_a_writer_of_the_same_document_and_loses_neither(
    store: SettingsStore, user: str, db: Connection, session: Callable[[], Session]
) -> None:
    writer = session()
    writer.run("begin")
    writer.run("select from patch_user_setting(%s, 'params', '{\"leverage\": 7}')", (user,))
    importing = asyncio.create_task(
        export.import_users(store, file_of(person(settings={"params": {"leverage": 5}}))), name="import"
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
            await export.import_users(store, file_of(*(people if n % 2 else reversed(people))))

    await asyncio.gather(write(0), take(1), take(2), write(3))
    await store._mirror_owners(None)
    await assert_equal_sides(store)
    rows = fetch(db, "select count(*) as n, max(version) as last from user_settings group by okx_uid, setting_type")
    assert all(row["n"] == row["last"] for row in rows)
