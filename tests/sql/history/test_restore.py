"""Restores: a deleted document comes back as a new version, a deleted user as it went."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.conftest import TELEGRAM_ID
from tests.helpers.past import active, save, versions
from tests.helpers.rollbacks import (
    DELETE_USER,
    ENSURE,
    OTHER_UID,
    RESTORE,
    RESTORE_USER,
    TYPES,
    Open,
    everything,
    forbid,
)
from tests.helpers.sessions import DEADLINE, Connection, fetch, one, refused, value

RAW_DELETE_USER = "update app_users set deleted_at = now() where okx_uid = %s"
FOUND_IN_REDIS = "select outcome from import_documents(%s, p_keep_only => true, p_dry_run => false)"


# ---------------------------------------------------------------------------------------- restore of one document


def test_a_deleted_document_comes_back_as_a_new_version(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [1, 2, None])
    back = one(db, RESTORE, (bare_uid,))
    assert (back["version"], back["settings"], back["deleted_at"]) == (4, {"n": 2}, None)
    before = everything(db)
    assert one(db, RESTORE, (bare_uid,)) == back  # what isn't deleted stays
    assert everything(db) == before
    save(db, bare_uid, "params", [None])
    assert one(db, RESTORE, (bare_uid,))["version"] == 6


def test_nothing_to_restore_is_told(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "dual_side", [1])
    with refused("US006"):
        fetch(db, RESTORE, (bare_uid,))


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "live"])
def test_a_restore_can_expect_a_version(db: Connection, bare_uid: str, is_deleted: bool) -> None:
    save(db, bare_uid, "params", [1, None] if is_deleted else [1, 2])
    before = everything(db)
    for expected in (0, 1, 3):
        with refused("US001"):
            fetch(db, "select from restore_user_setting(%s, 'params', %s)", (bare_uid, expected))
    assert everything(db) == before
    found = one(db, "select * from restore_user_setting(%s, 'params', 2)", (bare_uid,))
    assert found["version"] == (3 if is_deleted else 2)


def test_a_document_that_the_catalogue_no_longer_allows_stays_deleted(db: Connection, bare_uid: str) -> None:
    save(db, bare_uid, "params", [99, None])
    forbid(db, "params", 10)
    before = everything(db)
    with refused("US003"):
        fetch(db, RESTORE, (bare_uid,))
    assert everything(db) == before


@pytest.mark.parametrize("document", [{"n": 66}, {"leverage": "invalid"}], ids=["valid", "invalid"])
@pytest.mark.parametrize("restore", [RESTORE, RESTORE_USER], ids=["setting", "user"])
def test_what_was_only_found_in_redis_is_not_brought_back(
    db: Connection, bare_uid: str, restore: str, document: dict[str, Any]
) -> None:
    save(db, bare_uid, "params", [1, 2, None] if restore == RESTORE else [1, 2])
    if restore == RESTORE_USER:
        fetch(db, DELETE_USER, (bare_uid,))
    for n in range(2):  # somebody writes into Redis, twice; `verify --repair` keeps that as history only
        item = {"owner": bare_uid, "kind": "params", "version": 0, "document": document | {"m": n}}
        assert value(db, FOUND_IN_REDIS, (Jsonb([item]),)) == "conflict"
    assert versions(db, bare_uid)[-1] == 7
    fetch(db, "select from prune_user_settings(1, '0')")  # keeps what a restore brings back
    fetch(db, restore, (bare_uid,))
    assert active(db, bare_uid) == {"params": {"n": 2}}


# ---------------------------------------------------------------------------------------------- restore of a user


@pytest.mark.parametrize("delete", [DELETE_USER, RAW_DELETE_USER], ids=["delete_user", "raw update"])
@pytest.mark.parametrize("identifier", ["okx_uid", "id"])
def test_a_user_comes_back_with_exactly_what_went_with_the_user(
    db: Connection, uid: str, delete: str, identifier: str
) -> None:
    fetch(db, "select from delete_user_setting(%s, 'preferences')", (uid,))  # before the user
    before = active(db, uid)
    user = one(db, "select * from app_users")
    fetch(db, delete, (uid,))
    assert value(db, "select count(*) from user_settings where is_active and deleted_at is null") == 0

    back = one(db, RESTORE_USER, (str(user[identifier]),))
    assert (back["deleted_at"], back["telegram_id"], back["name"], back["version"]) == (None, TELEGRAM_ID, "Kim", 3)
    assert active(db, TELEGRAM_ID) == before
    assert sorted(before) == ["dual_side", "params"]
    assert [versions(db, uid, t) for t in TYPES] == [[1, 2, 3], [1, 2, 3], [1, 2]]
    found = fetch(db, "select telegram_id from get_user_settings(%s)", (uid,))
    assert {row["telegram_id"] for row in found} == {TELEGRAM_ID}


def test_restoring_a_user_twice_is_restoring_once(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    back = one(db, RESTORE_USER, (uid,))
    fetch(db, "select from delete_user_setting(%s, 'params')", (uid,))
    before = everything(db)
    assert one(db, RESTORE_USER, (uid,)) == back
    assert everything(db) == before  # what was deleted since stays deleted


def test_only_what_the_last_deletion_took_comes_back(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    fetch(db, ENSURE, (uid, None))  # comes back without settings
    save(db, uid, "params", [5])
    fetch(db, DELETE_USER, (uid,))
    fetch(db, RESTORE_USER, (uid,))
    assert active(db, uid) == {"params": {"n": 5}}


def test_a_second_deletion_by_raw_sql_is_none(db: Connection, uid: str) -> None:
    before = active(db, uid)
    fetch(db, DELETE_USER, (uid,))
    deleted = one(db, "select * from app_users")
    fetch(db, RAW_DELETE_USER, (uid,))
    assert one(db, "select * from app_users") == deleted
    fetch(db, RESTORE_USER, (uid,))
    assert active(db, uid) == before


def test_a_user_without_documents_comes_back(db: Connection, bare_uid: str) -> None:
    fetch(db, DELETE_USER, (bare_uid,))
    assert one(db, RESTORE_USER, (bare_uid,))["telegram_id"] == TELEGRAM_ID
    assert active(db, bare_uid) == {}


def test_a_user_comes_back_without_a_telegram_id_that_somebody_else_has_by_now(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    fetch(db, ENSURE, (OTHER_UID, TELEGRAM_ID))
    assert one(db, RESTORE_USER, (uid,))["telegram_id"] is None
    assert value(db, "select okx_uid from find_user(%s)", (TELEGRAM_ID,)) == OTHER_UID
    assert value(db, "select okx_uid from telegram_links where telegram_id = %s", (TELEGRAM_ID,)) == OTHER_UID
    found = fetch(db, "select telegram_id from get_user_settings(%s)", (uid,))
    assert [row["telegram_id"] for row in found] == [None] * 3


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_a_telegram_id_that_is_being_taken_is_waited_for(db: Connection, session: Open, uid: str, end: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    fetch(db, ENSURE, (OTHER_UID, None))
    taker, restorer = session(), session()
    taker.run("begin")
    taker.run("select from link_telegram(%s, %s)", (OTHER_UID, TELEGRAM_ID))
    waiting = restorer.run_blocked(RESTORE_USER, (uid,))
    taker.run(end)
    if end == "commit":
        with refused("US008"):
            waiting.result(DEADLINE)
        assert fetch(db, "select from find_user(%s)", (uid,)) == []
        assert restorer.run(RESTORE_USER, (uid,))[0]["telegram_id"] is None
    else:
        assert waiting.result(DEADLINE)[0]["telegram_id"] == TELEGRAM_ID
    assert len(active(db, uid)) == 3


def test_a_user_whose_settings_the_catalogue_no_longer_allows_stays_deleted_as_a_whole(
    db: Connection, bare_uid: str
) -> None:
    save(db, bare_uid, "dual_side", [1])
    save(db, bare_uid, "params", [99])
    fetch(db, DELETE_USER, (bare_uid,))
    forbid(db, "params", 10)
    before = everything(db)
    with refused("US003"):
        fetch(db, RESTORE_USER, (bare_uid,))
    assert everything(db) == before


def test_whom_nobody_knows_cannot_be_restored(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (uid,))
    with refused("US007"):
        fetch(db, RESTORE_USER, ("Kim",))
    for nobody in (OTHER_UID, TELEGRAM_ID):
        with refused("US004"):
            fetch(db, RESTORE_USER, (nobody,))


def test_a_deleted_user_cannot_be_deleted_again(db: Connection, uid: str) -> None:
    fetch(db, DELETE_USER, (TELEGRAM_ID,))
    before = everything(db)
    with refused("US004"):
        fetch(db, DELETE_USER, (uid,))
    assert everything(db) == before
