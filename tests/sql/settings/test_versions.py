"""One row a version: every writer makes one, none is ever lost or changed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import Rows
from tests.helpers.sessions import Connection, fetch, one, refused, value

OTHER_UID = "1000000000000001"
HISTORY = "select * from user_settings where okx_uid = %s and setting_type = 'params' order by version"
UPSERT = "select * from upsert_user_setting(%s, 'params', %s::jsonb)"
EXPECTING = "select version from upsert_user_setting(%s, 'params', %s::jsonb, %s)"
RAW_UPDATE = (
    "update user_settings set settings = %s::jsonb where okx_uid = %s and setting_type = 'params' and is_active"
)


def history(db: Connection, uid: str) -> Rows:
    return fetch(db, HISTORY, (uid,))


def everything(db: Connection) -> Rows:
    return fetch(db, "select * from user_settings order by id")


def test_a_raw_update_becomes_a_version(db: Connection, bare_uid: str) -> None:
    fetch(db, UPSERT, (bare_uid, '{"leverage": 5}'))
    fetch(db, RAW_UPDATE, ('{"leverage": 6}', bare_uid))
    assert [(row["version"], row["settings"], row["is_active"]) for row in history(db, bare_uid)] == [
        (1, {"leverage": 5}, False),
        (2, {"leverage": 6}, True),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "select from upsert_user_setting('587662504768345929', 'params', '{\"n\": 2}')",
        "select from patch_user_setting('587662504768345929', 'params', '{\"n\": 2}')",
        "select from delete_user_setting('587662504768345929', 'params')",
        "select from delete_user('587662504768345929')",
        "update user_settings set settings = '{}' where setting_type = 'params'",
        "update user_settings set deleted_at = now() where setting_type = 'params'",
    ],
    ids=["upsert", "patch", "delete", "delete_user", "raw update", "raw delete"],
)
def test_the_old_value_stays_word_for_word(db: Connection, bare_uid: str, change: str) -> None:
    by = "select set_config('settings_store.actor', %s, false), set_config('settings_store.reason', %s, false)"
    fetch(db, by, ("ops", "why"))
    fetch(db, UPSERT, (bare_uid, '{"n": 1.50, "text": "a\\"b\\\\ 롱", "deep": [null, {"x": 1e3}]}'))
    fetch(db, by, ("", ""))
    query = "select *, settings::text as words, ctid::text <> '' as x from user_settings where version = 1"
    before = one(db, query)
    fetch(db, change)
    after = one(db, query)
    assert (before["is_active"], after["is_active"]) == (True, False)
    assert after | {"id": 0, "is_active": 0} == before | {"id": 0, "is_active": 0}
    active = one(db, "select * from user_settings where is_active")
    assert (active["id"], active["version"], active["created_at"]) == (before["id"], 2, before["created_at"])
    assert active["changed_by"] != "ops"


FORBIDDEN = [
    "update user_settings set settings = '{}' where not is_active",
    "update user_settings set changed_by = 'nobody' where not is_active",
    "update user_settings set deleted_at = now() where version = 1",
    "update user_settings set is_active = true where not is_active",
    "update user_settings set is_active = false where is_active",
    "delete from user_settings where not is_active",
    "delete from user_settings",
    "truncate user_settings",
    "truncate app_users cascade",
    "insert into user_settings (user_id, okx_uid, setting_type, settings, version, is_active)"
    " select user_id, okx_uid, setting_type, '{}', 99, false from user_settings where is_active",
    "update user_settings set user_id = (select id from app_users where okx_uid = '1000000000000001'),"
    " okx_uid = '1000000000000001' where is_active",
    "update user_settings set okx_uid = '1000000000000001' where is_active",
    "update user_settings set setting_type = 'dual_side' where is_active",
    "update user_settings set id = gen_random_uuid() where is_active",
    "update app_users set okx_uid = '1000000000000002' where okx_uid = '587662504768345929'",
    "update app_users set id = gen_random_uuid()",
    "update user_settings set version = 99 where is_active",
    "update user_settings set version = version + 1 where is_active",
    "update user_settings set version = 99, settings = '{}' where is_active",
    "update app_users set version = 99",
]


def test_history_and_ownership_cannot_be_changed(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER_UID,))
    for n in range(3):
        fetch(db, UPSERT, (bare_uid, f'{{"n": {n}}}'))
    before = everything(db)
    assert len(before) == 3
    for statement in FORBIDDEN:
        with refused("US005"):
            fetch(db, statement)
        assert everything(db) == before, statement
    fetch(db, "update user_settings set version = version + 1, settings = '{}' where is_active")  # as old code has it
    assert one(db, "select version from user_settings where is_active")["version"] == 4


def test_a_user_with_history_cannot_be_removed_by_hand(db: Connection, uid: str) -> None:
    with refused("US005"):
        fetch(db, "delete from app_users")
    assert value(db, "select count(*) from app_users") == 1


@pytest.mark.parametrize(
    "again", ['{"n": 1, "deep": {"a": [1]}}', '{"deep": {"a": [1.0]}, "n": 1.0}'], ids=["1", "1.0"]
)
def test_an_unchanged_document_makes_no_version(db: Connection, bare_uid: str, again: str) -> None:
    first = fetch(db, UPSERT, (bare_uid, '{"n": 1, "deep": {"a": [1]}}'))
    words = value(db, "select settings::text from user_settings")
    fetch(db, "delete from mirror_pending")
    assert fetch(db, UPSERT, (bare_uid, again)) == first
    fetch(db, RAW_UPDATE, (again, bare_uid))
    fetch(db, "update user_settings set updated_at = now(), changed_by = 'nobody', change_reason = 'x'")
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"n\": 1.00, \"absent\": null}')", (bare_uid,))
    assert history(db, bare_uid) == first
    assert value(db, "select settings::text from user_settings") == words
    assert fetch(db, "select * from mirror_pending") == []


def test_a_deletion_is_a_version_and_the_next_save_continues_the_count(db: Connection, bare_uid: str) -> None:
    saved = one(db, UPSERT, (bare_uid, '{"n": 1}'))
    deleted = one(db, "select * from delete_user_setting(%s, 'params')", (bare_uid,))
    assert (deleted["id"], deleted["version"], deleted["settings"]) == (saved["id"], 2, {})
    assert deleted["deleted_at"] is not None
    assert fetch(db, "select version from get_user_settings(%s)", (bare_uid,)) == []
    assert one(db, "select * from delete_user_setting(%s, 'params')", (bare_uid,)) == deleted

    again = one(db, UPSERT, (bare_uid, '{"n": 1}'))
    assert (again["id"], again["version"], again["deleted_at"]) == (saved["id"], 3, None)
    assert [(row["version"], row["settings"], row["deleted_at"] is None) for row in history(db, bare_uid)] == [
        (1, {"n": 1}, True),
        (2, {}, False),
        (3, {"n": 1}, True),
    ]


def test_a_patch_after_a_deletion_starts_from_nothing(db: Connection, bare_uid: str) -> None:
    fetch(db, UPSERT, (bare_uid, '{"n": 1}'))
    fetch(db, "select from delete_user_setting(%s, 'params')", (bare_uid,))
    patched = one(db, "select * from patch_user_setting(%s, 'params', '{\"m\": 2}')", (bare_uid,))
    assert (patched["version"], patched["settings"]) == (3, {"m": 2})


def test_a_deleted_document_holds_nothing_and_stays_as_it_was_deleted(db: Connection, bare_uid: str) -> None:
    fetch(db, UPSERT, (bare_uid, '{"n": 1}'))
    fetch(db, "select from delete_user_setting(%s, 'params')", (bare_uid,))
    before = history(db, bare_uid)
    fetch(db, "update user_settings set deleted_at = now() + interval '1 day', settings = '{\"n\": 2}' where is_active")
    assert history(db, bare_uid) == before


def test_versions_are_gapless_through_every_way_of_writing(db: Connection, bare_uid: str) -> None:
    with db.transaction():  # one transaction: its now() stands still
        for n in range(5):
            fetch(db, UPSERT, (bare_uid, f'{{"n": {n}}}'))
            fetch(db, RAW_UPDATE, (f'{{"raw": {n}}}', bare_uid))
            fetch(db, "select from patch_user_setting(%s, 'params', '{\"p\": 1}')", (bare_uid,))
            fetch(db, "select from delete_user_setting(%s, 'params')", (bare_uid,))
    with db.transaction(force_rollback=True):
        fetch(db, UPSERT, (bare_uid, '{"lost": 1}'))
    fetch(db, UPSERT, (bare_uid, '{"n": 99}'))

    rows = history(db, bare_uid)
    assert [row["version"] for row in rows] == list(range(1, 22))
    assert [row["version"] for row in rows if row["is_active"]] == [21]
    times = [row["updated_at"] for row in rows]
    assert all(earlier < later for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("versions", "expected", "result"),
    [(0, 0, 1), (0, 1, None), (1, 1, 2), (1, 0, None), (1, 2, None), (3, 3, 4), (3, 2, None), (3, 0, None)],
)
def test_an_expected_version_makes_the_write_conditional(
    db: Connection, bare_uid: str, versions: int, expected: int, result: int | None
) -> None:
    for n in range(versions):
        fetch(db, UPSERT, (bare_uid, f'{{"n": {n}}}'))
    before = everything(db)
    for function in ("upsert_user_setting", "patch_user_setting"):
        query = EXPECTING.replace("upsert_user_setting", function)
        if result is None:
            with refused("US001") as conflict:
                fetch(db, query, (bare_uid, '{"new": 1}', expected))
            detail = f"expected version {expected}, current version {versions}"
            assert conflict.value.diag.message_detail == detail
            assert everything(db) == before
        else:
            with db.transaction(force_rollback=True):
                assert value(db, query, (bare_uid, '{"new": 1}', expected)) == result


def test_an_expected_version_is_checked_for_an_unchanged_document_too(db: Connection, bare_uid: str) -> None:
    fetch(db, UPSERT, (bare_uid, '{"n": 1}'))
    assert value(db, EXPECTING, (bare_uid, '{"n": 1}', 1)) == 1
    with refused("US001"):
        fetch(db, EXPECTING, (bare_uid, '{"n": 1}', 2))


@pytest.mark.parametrize(("saved", "expected"), [(True, 2), (True, 0), (False, 3)])
def test_a_deletion_can_expect_a_version(db: Connection, bare_uid: str, saved: bool, expected: int) -> None:
    if saved:
        fetch(db, UPSERT, (bare_uid, '{"n": 1}'))
    before = everything(db)
    with refused("US001"):
        fetch(db, "select from delete_user_setting(%s, 'params', %s)", (bare_uid, expected))
    assert everything(db) == before


def test_who_and_why_belong_to_the_version(db: Connection, bare_uid: str) -> None:
    rows: list[tuple[Any, ...]] = [("ops", "less risk"), ("", ""), ("bot", "")]
    for n, (actor, reason) in enumerate(rows):
        with db.transaction():
            settings = "set_config('settings_store.actor', %s, true), set_config('settings_store.reason', %s, true)"
            fetch(db, f"select {settings}", (actor, reason))
            fetch(db, UPSERT, (bare_uid, f'{{"n": {n}}}'))
    me = value(db, "select session_user::text")
    found = [(row["changed_by"], row["change_reason"]) for row in history(db, bare_uid)]
    assert found == [("ops", "less risk"), (me, None), ("bot", None)]
