"""Users and their Telegram links, and the marks that tell Redis of every change."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.sessions import Connection, fetch, one, refused, value

OTHER_UID = "1000000000000001"
ENSURE = "select * from ensure_user(%s, %s)"
LINK = "select * from link_telegram(%s, %s)"
UNLINK = "select * from unlink_telegram(%s)"
DELETE = "select * from delete_user(%s)"


def marks(db: Connection, owner: str) -> dict[str, int]:
    """The marks of an owner: kind -> version."""
    rows = fetch(db, "select kind, version from mirror_pending where owner = %s", (owner,))
    return {row["kind"]: row["version"] for row in rows}


def mirrored(db: Connection, owner: str) -> dict[str, Any]:
    """What Redis should hold for an owner: kind -> document."""
    rows = fetch(db, "select kind, document from mirror_source where owner = %s", (owner,))
    return {row["kind"]: row["document"] for row in rows}


def link_of_settings(db: Connection, okx_uid: str) -> set[str | None]:
    query = "select telegram_id from user_settings where okx_uid = %s and is_active"
    return {row["telegram_id"] for row in fetch(db, query, (okx_uid,))}


@pytest.mark.parametrize("kind", ["okx_uid", "telegram_id", "id", "upper case id"])
def test_an_identifier_leads_to_its_user(db: Connection, uid: str, kind: str) -> None:
    fetch(db, ENSURE, (OTHER_UID, "99999"))
    user = one(db, "select * from app_users where okx_uid = %s", (uid,))
    identifier = str(user["id"]).upper() if kind == "upper case id" else str(user[kind])
    assert one(db, "select * from find_user(%s)", (identifier,)) == user
    found = fetch(db, "select okx_uid from get_user_settings(%s)", (identifier,))
    assert [row["okx_uid"] for row in found] == [uid] * 3


MALFORMED = (
    None,
    "",
    "1",
    "1234",
    " 1709556958",
    "1709556958\n",
    "x" * 36,
    "9" * 21,
    "１７０９５５６９５８",
    "{}",
    "' or 1=1",
)


@pytest.mark.parametrize(
    "call",
    [
        "find_user(%s)",
        "get_user_settings(%s)",
        "delete_user(%s)",
        "link_telegram(%s, '77777')",
        "upsert_user_setting(%s, 'params', '{}')",
    ],
)
def test_what_cannot_be_an_identifier_is_told_so(db: Connection, uid: str, call: str) -> None:
    for identifier in MALFORMED:
        with refused("US007"):
            fetch(db, f"select from {call}", (identifier,))


def test_nobody_is_told_from_malformed(db: Connection, uid: str) -> None:
    for identifier in (OTHER_UID, "99999", str(uuid.uuid4())):
        assert fetch(db, "select okx_uid from find_user(%s)", (identifier,)) == []
        for call in (
            "get_user_settings(%s)",
            "upsert_user_setting(%s, 'params', '{}')",
            "patch_user_setting(%s, 'params', '{}')",
            "save_user_settings(%s, '{\"params\": {}}')",
            "delete_user_setting(%s, 'params')",
            "link_telegram(%s, '77777')",
            "unlink_telegram(%s)",
            "delete_user(%s)",
        ):
            with refused("US004"):
                fetch(db, f"select from {call}", (identifier,))
    assert value(db, "select count(*) from app_users") == 1


def test_a_malformed_registration_is_refused(db: Connection) -> None:
    bad_uids = (None, "", "1" * 15, "1" * 21, "1" * 17 + "x")
    bad_links = ("", "1234", "1" * 16, "12345x", "-12345")
    for arguments in [(bad, None) for bad in bad_uids] + [(OTHER_UID, bad) for bad in bad_links]:
        for function in ("ensure_user", "register_user"):
            with refused("US007"):
                fetch(db, f"select from {function}(%s, %s)", arguments)
    assert value(db, "select count(*) from app_users") == 0


def test_registering_again_updates_what_is_given_and_keeps_the_rest(db: Connection, uid: str) -> None:
    again = one(db, "select * from ensure_user(%s, p_telegram_username => 'kim')", (uid,))
    assert (again["telegram_id"], again["name"], again["telegram_username"]) == (TELEGRAM_ID, "Kim", "kim")
    assert again["version"] == 1
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (uid,))
    rows = fetch(db, "select version, settings from register_user(%s, p_documents => '{\"params\": {}}')", (uid,))
    assert sorted(row["version"] for row in rows) == [1, 1, 2]


def test_a_registration_saves_the_documents_it_is_given(db: Connection) -> None:
    documents = '{"params": {"leverage": 7}}'
    rows = fetch(db, "select * from register_user(%s, p_documents => %s::jsonb)", (OKX_UID, documents))
    by_type = {row["setting_type"]: row["settings"] for row in rows}
    assert by_type["params"] == {"leverage": 7}
    assert len(by_type["dual_side"]) == 13
    for bad, state in (('{"nonsense": {}}', "US002"), ('{"params": {"leverage": 999}}', "US003")):
        with refused(state):
            fetch(db, "select from register_user(%s, p_documents => %s::jsonb)", (OTHER_UID, bad))
    assert value(db, "select count(*) from app_users") == 1


def test_a_link_is_carried_to_where_it_is_read(db: Connection, uid: str) -> None:
    assert one(db, LINK, (uid, "99999"))["version"] == 2
    assert link_of_settings(db, uid) == {"99999"}
    assert (mirrored(db, "99999"), mirrored(db, TELEGRAM_ID)) == ({"telegram": uid}, {"telegram": None})
    assert mirrored(db, uid)["user"] == {"telegram_id": "99999"}
    assert one(db, LINK, (uid, "99999"))["version"] == 2  # idempotent

    assert one(db, UNLINK, (uid,))["telegram_id"] is None
    assert link_of_settings(db, uid) == {None}
    assert mirrored(db, "99999") == {"telegram": None}
    assert mirrored(db, uid)["user"] == {"telegram_id": None}
    assert one(db, UNLINK, (uid,))["version"] == 3
    assert value(db, "select count(*) from user_settings where not is_active") == 0  # a link is no new version


def test_a_telegram_id_leads_to_one_live_user_only(db: Connection, uid: str) -> None:
    fetch(db, ENSURE, (OTHER_UID, None))
    for statement in (LINK, ENSURE, "select from register_user(%s, %s)"):
        with refused("US008"):
            fetch(db, statement, (OTHER_UID, TELEGRAM_ID))
    with refused("23505"):
        fetch(db, "update app_users set telegram_id = %s where okx_uid = %s", (TELEGRAM_ID, OTHER_UID))
    assert value(db, "select okx_uid from find_user(%s)", (TELEGRAM_ID,)) == uid
    assert mirrored(db, TELEGRAM_ID) == {"telegram": uid}


def test_a_deleted_user_is_gone_and_comes_back_without_settings(db: Connection, uid: str) -> None:
    deleted = one(db, DELETE, (uid,))
    assert deleted["deleted_at"] is not None
    assert mirrored(db, uid) == {"user": None, "params": None, "preferences": None, "dual_side": None}
    assert mirrored(db, TELEGRAM_ID) == {"telegram": None}
    for identifier in (uid, TELEGRAM_ID, str(deleted["id"])):
        with refused("US004"):
            fetch(db, DELETE, (identifier,))

    back = one(db, ENSURE, (uid, None))
    assert (back["id"], back["telegram_id"], back["deleted_at"]) == (deleted["id"], TELEGRAM_ID, None)
    assert fetch(db, "select version from get_user_settings(%s)", (uid,)) == []
    assert mirrored(db, TELEGRAM_ID) == {"telegram": uid}
    rows = fetch(db, "select version, telegram_id from register_user(%s)", (uid,))
    assert [(row["version"], row["telegram_id"]) for row in rows] == [(3, TELEGRAM_ID)] * 3


def test_a_telegram_id_taken_over_from_a_deleted_user_stays_with_the_new_one(db: Connection, uid: str) -> None:
    fetch(db, DELETE, (uid,))
    fetch(db, ENSURE, (OTHER_UID, TELEGRAM_ID))
    back = one(db, ENSURE, (uid, None))
    assert back["telegram_id"] is None
    assert value(db, "select okx_uid from find_user(%s)", (TELEGRAM_ID,)) == OTHER_UID
    assert mirrored(db, TELEGRAM_ID) == {"telegram": OTHER_UID}
    saved = one(db, "select * from upsert_user_setting(%s, 'params', '{\"n\": 1}')", (uid,))
    assert saved == one(db, "select * from get_user_settings(%s)", (uid,))
    assert saved["telegram_id"] is None
    fetch(db, DELETE, (uid,))  # a second deletion must not take the link from the other user
    assert mirrored(db, TELEGRAM_ID) == {"telegram": OTHER_UID}
    with refused("US008"):
        fetch(db, ENSURE, (uid, TELEGRAM_ID))


def test_a_document_cannot_come_to_be_for_a_deleted_or_another_user(db: Connection, uid: str) -> None:
    user_id = value(db, "select id from app_users where okx_uid = %s", (uid,))
    fetch(db, ENSURE, (OTHER_UID, None))
    insert = "insert into user_settings (user_id, okx_uid, setting_type, settings) values (%s, %s, %s, '{}')"
    fetch(db, "insert into setting_types values ('alerts', 'alerts', 'hash')")
    with refused("US004"):
        fetch(db, insert, (user_id, OTHER_UID, "alerts"))
    fetch(db, DELETE, (uid,))
    with refused("US004"):
        fetch(db, insert, (user_id, uid, "alerts"))
    with refused("US004"):
        fetch(db, "update user_settings set deleted_at = null, settings = '{\"n\": 1}' where is_active")
    assert value(db, "select count(*) from user_settings where is_active and deleted_at is null") == 0


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select from patch_user_setting(%s, 'params', '{\"leverage\": 3}')", {"params": 2}),
        ("update user_settings set settings = '{}' where okx_uid = %s and setting_type = 'params'", {"params": 2}),
        ("select from delete_user_setting(%s, 'dual_side')", {"dual_side": 2}),
        ("select from link_telegram(%s, '99999')", {"user": 2, "telegram": 2, "new telegram": 1}),
        ("select from unlink_telegram(%s)", {"user": 2, "telegram": 2}),
        ("select from delete_user(%s)", {"user": 2, "telegram": 2, "params": 2, "dual_side": 2, "preferences": 2}),
        ("update app_users set telegram_id = null where okx_uid = %s", {"user": 2, "telegram": 2}),
        ("select from ensure_user(%s, p_name => 'Lee')", {}),
    ],
    ids=["patch", "raw update", "delete setting", "link", "unlink", "delete user", "raw unlink", "rename"],
)
def test_every_change_is_marked_in_its_own_transaction(
    db: Connection, uid: str, statement: str, expected: dict[str, int]
) -> None:
    def found() -> dict[str, int]:
        return marks(db, uid) | marks(db, TELEGRAM_ID) | {f"new {k}": v for k, v in marks(db, "99999").items()}

    assert found() == {"user": 1, "params": 1, "dual_side": 1, "preferences": 1, "telegram": 1}
    fetch(db, "delete from mirror_pending")
    with db.transaction(force_rollback=True):
        fetch(db, statement, (uid,))
        assert found() == expected
    assert found() == {}
    fetch(db, statement, (uid,))
    assert found() == expected


def test_clearing_leaves_marks_that_are_newer(db: Connection, uid: str) -> None:
    fetch(db, "select from patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (uid,))
    clear = "select clear_pending(%s::text[], %s::text[], %s::integer[], %s::boolean[])"
    assert value(db, clear, ([uid] * 3, ["params", "dual_side", "user"], [1, 1, 1], [False] * 3)) == 2
    assert marks(db, uid) == {"params": 2, "preferences": 1}
    assert value(db, clear, ([uid, OTHER_UID], ["params", "preferences"], [2, 1], [False] * 2)) == 1
    assert marks(db, uid) == {"preferences": 1}
    assert value(db, clear, ([], [], [], [])) == 0


def test_pending_keys_shows_the_newest_state_and_passes_over_what_was_set_aside(db: Connection, uid: str) -> None:
    fetch(db, "select from delete_user_setting(%s, 'params')", (uid,))
    fetch(db, "select from patch_user_setting(%s, 'preferences', '{\"symbol\": \"X\"}')", (uid,))
    fetch(db, "update mirror_pending set last_error = 'x' where kind = 'dual_side'")
    rows = {row["kind"]: row for row in fetch(db, "select * from pending_keys()")}
    assert set(rows) == {"user", "telegram", "params", "preferences"}
    assert (rows["params"]["version"], rows["params"]["document"]) == (2, None)
    assert rows["preferences"]["document"] == {"symbol": "X", "timeframe": "1m"}
    assert (rows["params"]["suffix"], rows["params"]["encoding"]) == ("settings", "json")
    every = "select count(*) from pending_keys(p_include_failed => true)"
    assert value(db, every) == 5
    assert value(db, "select count(*) from pending_keys(array[%s])", (TELEGRAM_ID,)) == 1
    assert value(db, "select count(*) from pending_keys(p_limit => 2)") == 2
    fetch(db, "select from patch_user_setting(%s, 'dual_side', '{\"n\": 1}')", (uid,))  # a change tries again
    assert value(db, "select count(*) from pending_keys()") == 5


def test_the_older_function_saves_by_uuid_and_returns_the_active_row(db: Connection, uid: str) -> None:
    user_id = value(db, "select id from app_users where okx_uid = %s", (uid,))
    save = "select upsert_user_settings(%s, %s, %s, %s, %s::jsonb)"
    active = value(db, save, (user_id, uid, TELEGRAM_ID, "params", '{"leverage": 3}'))
    row = one(db, "select * from user_settings where id = %s", (active,))
    assert (row["version"], row["settings"], row["is_active"]) == (2, {"leverage": 3}, True)
    assert value(db, save, (user_id, uid, "99999", "params", '{"leverage": 4}')) == active
    assert link_of_settings(db, uid) == {TELEGRAM_ID}
    for arguments, state in (
        ((user_id, OTHER_UID, None, "params", "{}"), "US007"),
        ((uuid.uuid4(), uid, None, "params", "{}"), "US004"),
        ((user_id, uid, None, "nonsense", "{}"), "US002"),
        ((user_id, uid, None, "params", '{"leverage": 999}'), "US003"),
    ):
        with refused(state):
            fetch(db, save, arguments)


def test_users_are_listed_in_pages(db: Connection) -> None:
    uids = [str(10**15 + n) for n in range(5)]
    for okx_uid in reversed(uids):
        fetch(db, ENSURE, (okx_uid, None))
    fetch(db, DELETE, (uids[2],))
    listed = fetch(db, "select okx_uid from list_users()")
    assert [row["okx_uid"] for row in listed] == [*uids[:2], *uids[3:]]
    page = fetch(db, "select okx_uid from list_users(%s, 1)", (uids[1],))
    assert [row["okx_uid"] for row in page] == [uids[3]]


def test_links_are_kept_by_the_trigger_and_not_by_hand(db: Connection, uid: str) -> None:
    for statement in (
        "update telegram_links set telegram_id = '17095570099'",
        "update telegram_links set okx_uid = '999'",
        "insert into telegram_links (telegram_id) values ('17170')",
    ):
        with refused("US005"):
            fetch(db, statement)
    fetch(db, "update app_users set telegram_id = '17170'")
    assert value(db, "select okx_uid from telegram_links where telegram_id = '17170'") == uid
