"""Exports: what is imported again is the same to the last digit, and the same data make the same bytes."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from store import SettingsStore, StoreError, UnknownUser
from store.errors import BadIdentifier
from store.files import export as files_export
from store.files.export import ImportReport
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.documents import object_texts
from tests.helpers.hostile import SECRET, TEXTS
from tests.helpers.sessions import Connection, fetch
from tests.store.files.export.conftest import HEAD, OTHER, UIDS, assert_equal_sides, export, saved_texts

EMPTY = b'{\n    "format": "settings-store export",\n    "version": 1,\n    "users": []\n}\n'

# Documents of keys that the catalogue doesn't know, as text: Python couldn't hold all of these numbers.
HOSTILE = (
    '{"?long": 1234567890123456789012345678901234567890, "?huge": 1e300, "?price": 1.10, "?tiny": 0.'
    + "0" * 30 + '1234567890123456789, "?zero": -0.00, "?empty": {}, "?list": [], "?null": null, "": "",'
    + '"?a.b": {"$": {"\\"": {"c.d": [[[{}]], ""]}}}, "$": 1, "?line\\nbreak": "\\r\\n\\u2028", "?한글": "롱숏 🚀",'
    + '"?tricky": ["true", "null", "1", " 1 ", "\\\\u0041", "{", "********"]}'
)  # fmt: skip


def put(db: Connection, okx_uid: str, kind: str, document: str) -> None:
    """Save a document given as text."""
    fetch(db, "select from ensure_user(%s)", (okx_uid,))
    fetch(db, "select from upsert_user_setting(%s, %s, %s::jsonb)", (okx_uid, kind, document))


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
    report = await files_export.import_users(second, written)
    assert await export(second) == written
    assert (report.users["new"], report.left_out, report.mirrored) == (6, 0, True)
    await assert_equal_sides(second)
    with psycopg.connect(second_url, row_factory=psycopg.rows.dict_row) as there:
        for uid in (OKX_UID, OTHER, *UIDS[1:5]):
            assert saved_texts(there, uid) == saved_texts(db, uid)

    again = await files_export.import_users(second, written)
    assert (set(again.users), set(again.documents)) == ({"unchanged"}, {"unchanged"})


def hostile_texts() -> list[str]:
    return [text for name, text in TEXTS.items() if name not in ("nul", "surrogate", "huge")]


async def test_numbers_keep_every_digit(store: SettingsStore, db: Connection) -> None:
    numbers = ["1234567890123456789012345678901234567890", "1.10", "0.1234567890123456789012345", "100.00", "1e300"]
    data = HEAD + f'[{{"okx_uid": "{OKX_UID}", "settings": {{"params": {{"?n": [{", ".join(numbers)}]}}}}}}]}}'.encode()
    await files_export.import_users(store, data)
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
        await files_export.import_users(store, written)
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
    report = await files_export.import_users(store, EMPTY)
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
        await files_export.export_users(store, file, [user, identifier])
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
    await files_export.export_users(store, file, None, with_secrets=True, progress=write_behind_it)
    assert pages == [3, 3, 2]
    assert file.getvalue() == before
