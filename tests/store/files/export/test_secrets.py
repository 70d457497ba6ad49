"""Secrets in exports and imports: masked unless asked for, and a mask never takes a secret's place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

import pytest

from store import SettingsStore
from store.files import export as files_export
from store.files.export import Imported
from tests.conftest import OKX_UID
from tests.helpers.hostile import SECRET
from tests.helpers.sessions import Connection, Session
from tests.store.files.export.conftest import OTHER, export, file_of, person, saved_texts, versions

MASK = '"********"'


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
    report = await files_export.import_users(store, masked)
    found = await store.get(user, "params", source="db")
    assert found is not None
    assert (found.settings["signal_bot_token"], found.settings["leverage"]) == ("a newer one", 3)
    assert (report.left_out, report.documents["changed"]) == (0, 1)


async def test_a_masked_secret_alone_is_no_change(store: SettingsStore, user: str, db: Connection) -> None:
    await store.patch(user, "params", {"signal_bot_token": SECRET})
    before = versions(db)
    report = await files_export.import_users(store, await export(store, with_secrets=False))
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
    report = await files_export.import_users(store, data, tell=told_of.append)
    assert report.left_out == 1
    assert [(each.setting_type, each.left_out) for each in told_of] == [(None, 0), ("params", 1)]
    assert saved_texts(db, OKX_UID)["params"] == '{"leverage": 3}'


async def test_a_mask_where_no_secret_belongs_is_a_value(store: SettingsStore, user: str, db: Connection) -> None:
    data = file_of(
        person(settings={"preferences": {"symbol": "********"}, "params": {"x": {"signal_bot_token": "********"}}})
    )
    assert (await files_export.import_users(store, data)).left_out == 0
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
