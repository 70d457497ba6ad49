"""API credentials in SQL: versions, the history, and that plain text gets in by no way and is never quoted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store.encryption.fields import FIELDS
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.credentials import OTHER, leave_plain_text, sealed, secrets
from tests.helpers.sessions import Connection, Session, at_once, fetch, one, refused, value

SAVE = "select * from save_api_credentials(%s, %s, %s, %s, %s)"
DELETE = "select * from delete_api_credentials(%s, %s)"


def ciphertext(n: int, okx_uid: str = OKX_UID) -> list[str]:
    return list(sealed(okx_uid, secrets(n)).values())


def save(db: Connection, fields: list[str], expected: int | None = None, whom: str = OKX_UID) -> dict[str, Any]:
    return one(db, SAVE, (whom, *fields, expected))


def rows(db: Connection) -> list[dict[str, Any]]:
    return fetch(db, "select * from okx_api_info order by okx_uid, version")


def test_every_change_is_the_next_version_and_the_old_one_stays(db: Connection, uid: str) -> None:
    saved = [ciphertext(n) for n in range(3)]
    assert [save(db, fields)["version"] for fields in saved] == [1, 2, 3]
    found = rows(db)
    assert [[row[name] for name in FIELDS] for row in found] == saved
    assert [row["is_active"] for row in found] == [False, False, True]
    assert len({row["id"] for row in found}) == 3
    times = [row["updated_at"] for row in found]
    assert times == sorted(set(times))


def test_the_same_ciphertext_again_makes_no_version(db: Connection, uid: str) -> None:
    fields = ciphertext(1)
    save(db, fields)
    fetch(db, "select count(clear_pending(array[%s], array['api_keys'], array[1], array[false]))", (uid,))
    assert save(db, fields)["version"] == 1
    assert fetch(db, "select from mirror_pending where kind = 'api_keys'") == []


@pytest.mark.parametrize("identifier", [OKX_UID, TELEGRAM_ID, "uuid"])
def test_a_user_goes_by_any_identifier(db: Connection, uid: str, identifier: str) -> None:
    if identifier == "uuid":
        identifier = str(value(db, "select id from app_users"))
    assert save(db, ciphertext(1), whom=identifier)["okx_uid"] == uid
    assert one(db, "select * from get_api_credentials(%s)", (identifier,))["version"] == 1
    assert len(fetch(db, "select * from api_credentials_history(%s)", (identifier,))) == 1
    assert one(db, DELETE, (identifier, 1))["version"] == 2


def test_who_and_why_are_kept_and_the_history_tells_no_content(db: Connection, uid: str) -> None:
    with db.transaction():
        fetch(db, "set local settings_store.actor = 'ops'")
        fetch(db, "set local settings_store.reason = 'new ones'")
        save(db, ciphertext(1))
    fetch(db, DELETE, (uid, None))
    history = fetch(db, "select * from api_credentials_history(%s)", (uid,))
    assert [(row["version"], row["change_reason"], row["is_deleted"]) for row in history] == [
        (2, None, True),
        (1, "new ones", False),
    ]
    assert history[1]["changed_by"] == "ops"
    assert "v2." not in repr(history)


def test_a_version_other_than_expected_is_a_conflict(db: Connection, uid: str) -> None:
    with refused("US001"):
        save(db, ciphertext(1), expected=1)
    assert save(db, ciphertext(1), expected=0)["version"] == 1
    for expected in (0, 2):
        with refused("US001") as error:
            save(db, ciphertext(2), expected=expected)
        assert error.value.diag.message_detail == f"expected version {expected}, current version 1"
        with refused("US001"):
            fetch(db, DELETE, (uid, expected))
    assert one(db, DELETE, (uid, 1))["version"] == 2
    with refused("US001"):
        save(db, ciphertext(2), expected=1)
    assert save(db, ciphertext(2), expected=2)["version"] == 3


def test_a_deletion_is_a_version_and_deleting_again_is_none(db: Connection, uid: str) -> None:
    assert value(db, "select (delete_api_credentials(%s)).version", (uid,)) is None
    save(db, ciphertext(1))
    assert one(db, DELETE, (uid, None))["version"] == 2
    assert one(db, DELETE, (uid, None))["version"] == 2
    assert fetch(db, "select * from get_api_credentials(%s)", (uid,)) == []
    assert [[row[name] for name in FIELDS] for row in rows(db)] == [ciphertext_of(rows(db)[0]), [None] * 3]
    assert save(db, ciphertext(1))["version"] == 3


def ciphertext_of(row: dict[str, Any]) -> list[str]:
    found = [str(row[name]) for name in FIELDS]
    assert all(text.startswith("v2.") for text in found)
    return found


def test_nobody_unknown_or_deleted_has_credentials(db: Connection, uid: str) -> None:
    save(db, ciphertext(1))
    fetch(db, "select delete_user(%s)", (uid,))
    for whom in (uid, OTHER):
        with refused("US004"):
            save(db, ciphertext(2), whom=whom)
        with refused("US004"):
            fetch(db, "select * from get_api_credentials(%s)", (whom,))
        with refused("US004"):
            fetch(db, DELETE, (whom, None))
    with refused("US007"):
        save(db, ciphertext(1), whom="x")
    with refused("US004"):
        fetch(db, "select * from api_credentials_history(%s)", (OTHER,))
    assert len(fetch(db, "select * from api_credentials_history(%s)", (uid,))) == 2


def test_twenty_sessions_at_once_lose_nothing_and_leave_no_gap(
    db: Connection, connect: Callable[[], Connection], uid: str
) -> None:
    given = [ciphertext(n) for n in range(20)]
    statements = [(SAVE, (uid, *fields, None)) for fields in given]
    results = [found for (found,) in at_once(connect, statements)]
    assert sorted(row["version"] for row in results) == list(range(1, 21))
    found = rows(db)
    assert [row["version"] for row in found] == list(range(1, 21))
    assert [row["is_active"] for row in found] == [False] * 19 + [True]
    assert sorted([row[name] for name in FIELDS] for row in found) == sorted(given)
    for row in results:
        assert [row[name] for name in FIELDS] == [found[row["version"] - 1][name] for name in FIELDS]
    assert one(db, "select version from mirror_pending where kind = 'api_keys'") == {"version": 20}


def test_of_two_who_expect_the_same_version_one_conflicts(
    db: Connection, session: Callable[[], Session], uid: str
) -> None:
    first, second = session(), session()
    save(db, ciphertext(1))
    first.run("begin")
    first.run(SAVE, (uid, *ciphertext(2), 1))
    waiting = second.run_blocked(SAVE, (uid, *ciphertext(3), 1))
    first.run("commit")
    with refused("US001"):
        waiting.result()
    assert len(rows(db)) == 2


def test_who_saves_while_the_user_is_deleted_gets_unknown_user(
    db: Connection, session: Callable[[], Session], uid: str
) -> None:
    deleter, saver = session(), session()
    deleter.run("begin")
    deleter.run("select delete_user(%s)", (uid,))
    waiting = saver.run_blocked(SAVE, (uid, *ciphertext(1), None))
    deleter.run("commit")
    with refused("US004"):
        waiting.result()
    assert rows(db) == []


# Plain text, and what looks a little like ciphertext.
PLAIN = ["plain-secret", "", " ", "v1.", "v1.0011aabb.", "v2.0011aabb.abc", "v1.0011AABB.abc", "v1.0011aabb.abc plain",
         "plain v1.0011aabb.abc", "v1.0011aabb.abc\nplain-secret", "v1.0011aabb.plain-secret!", None]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_plain_text_gets_in_by_no_way_and_is_never_quoted(db: Connection, uid: str, field: str) -> None:
    save(db, ciphertext(2))
    fetch(db, "select ensure_user(%s)", (OTHER,))
    before = rows(db)
    for text in PLAIN:
        for query, parameters in ways_in(uid, field, text):
            with refused("US003") as error:
                fetch(db, query, parameters)
            diagnosis = error.value.diag
            told = f"{error.value} {diagnosis.message_detail} {diagnosis.message_hint} {diagnosis.context}"
            assert "plain-secret" not in told
            assert "v1." not in told
    assert rows(db) == before


def ways_in(okx_uid: str, field: str, text: str | None) -> list[tuple[str, tuple[Any, ...]]]:
    """Statements that would write this text into a field, the others being ciphertext."""
    fields = tuple({**sealed(okx_uid, secrets(1)), field: text}.values())
    return [
        (SAVE, (okx_uid, *fields, None)),
        ("select keep_losing_credentials(%s, %s, %s, %s)", (okx_uid, *fields)),
        (f"update okx_api_info set {field} = %s where is_active", (text,)),
        (
            "insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)"
            " select id, okx_uid, %s, %s, %s from app_users where okx_uid = %s",
            (*fields, OTHER),
        ),
        (
            "insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase, is_active, version)"
            " select id, okx_uid, %s, %s, %s, false, 7 from app_users where okx_uid = %s",
            (*fields, OTHER),
        ),
        (
            "select reencrypt_api_credentials(id, encode(sha256(convert_to(concat_ws(E'\\n', api_key, api_secret,"
            " passphrase), 'utf8')), 'hex'), %s, %s, %s) from okx_api_info",
            fields,
        ),
    ]


def test_without_triggers_the_constraint_refuses(db: Connection, uid: str) -> None:
    fetch(db, "set session_replication_role = replica")
    with refused("23514"):
        fetch(db, "insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)"
                  " select id, okx_uid, 'plain', 'plain', 'plain' from app_users")  # fmt: skip
    assert rows(db) == []


def test_history_changes_by_no_statement(db: Connection, uid: str) -> None:
    for n in (1, 2):
        save(db, ciphertext(n))
    before = rows(db)
    fetch(db, "select ensure_user(%s)", (OTHER,))
    text = ciphertext(3)[0]
    for query in (
        f"update okx_api_info set api_key = '{text}' where not is_active",
        "update okx_api_info set changed_by = 'me' where not is_active",
        "update okx_api_info set is_active = false where is_active",
        "update okx_api_info set id = gen_random_uuid() where is_active",
        f"update okx_api_info set okx_uid = '{OTHER}' where is_active",
        f"update okx_api_info set user_id = (select id from app_users where okx_uid = '{OTHER}') where is_active",
        "update okx_api_info set version = 9 where is_active",
        "delete from okx_api_info",
        "delete from okx_api_info where false",
        "truncate okx_api_info",
        "insert into okx_api_info (user_id, okx_uid, is_active, deleted_at)"
        " select id, okx_uid, false, now() from app_users",
    ):
        with refused("US005"):
            fetch(db, query)
    for query in ("update okx_api_info set changed_by = 'me', updated_at = 'epoch' where is_active",):
        fetch(db, query)  # nothing of it is the writer's to say
    assert rows(db) == before


def test_raw_sql_is_versioned_archived_and_marked(db: Connection, uid: str) -> None:
    save(db, ciphertext(1))
    fetch(db, "delete from mirror_pending")
    with refused("US003") as error:  # of another set than the others
        fetch(db, "update okx_api_info set api_key = %s where is_active", (ciphertext(2)[0],))
    assert "as one set" in (error.value.diag.message_detail or "")
    fields = "api_key = %s, api_secret = %s, passphrase = %s"
    with refused("US005") as error:
        fetch(db, f"update okx_api_info set {fields}, version = 7 where is_active", ciphertext(2))
    assert error.value.diag.message_detail == "This would be version 2."
    fetch(db, f"update okx_api_info set {fields}, changed_by = 'me' where is_active", ciphertext(2))
    assert [(row["version"], row["is_active"]) for row in rows(db)] == [(1, False), (2, True)]
    assert one(db, "select version from mirror_pending where kind = 'api_keys'") == {"version": 2}
    fetch(db, "select ensure_user(%s)", (OTHER,))
    with refused("US004"):  # the row of one user, the OKX UID of another
        fetch(
            db,
            "insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)"
            " select id, %s, %s, %s, %s from app_users where okx_uid = %s",
            (uid, *ciphertext(3), OTHER),
        )


def digest(db: Connection, id_: Any) -> str:
    query = "select encode(sha256(convert_to(concat_ws(E'\\n', api_key, api_secret, passphrase), 'utf8')), 'hex')"
    return str(value(db, f"{query} from okx_api_info where id = %s", (id_,)))


def test_reencryption_changes_any_version_in_place_if_nobody_did_meanwhile(db: Connection, uid: str) -> None:
    for n in (1, 2):
        save(db, ciphertext(n))
    fetch(db, "delete from mirror_pending")
    before = rows(db)
    call = "select reencrypt_api_credentials(%s, %s, %s, %s, %s)"
    for row, n in zip(before, (3, 4), strict=True):
        seen = digest(db, row["id"])
        assert value(db, call, (row["id"], seen, *ciphertext(n))) is True
        assert value(db, call, (row["id"], seen, *ciphertext(5))) is False
    after = rows(db)
    assert len(after) == 2
    for was, row in zip(before, after, strict=True):
        assert {name: row[name] for name in row if name not in FIELDS} == {
            name: was[name] for name in was if name not in FIELDS
        }
        assert row["api_key"] != was["api_key"]
    assert one(db, "select version from mirror_pending where kind = 'api_keys'") == {"version": 2}
    assert fetch(db, "select from trigger_permits") == []


def test_a_deletion_is_not_reencrypted(db: Connection, uid: str) -> None:
    save(db, ciphertext(1))
    row = one(db, DELETE, (uid, None))
    call = "select reencrypt_api_credentials(%s, %s, %s, %s, %s)"
    assert value(db, call, (row["id"], digest(db, row["id"]), *ciphertext(3))) is False


def test_keeping_what_lost_leaves_the_active_ones_in_force(db: Connection, uid: str) -> None:
    keep = "select keep_losing_credentials(%s, %s, %s, %s)"
    fetch(db, keep, (uid, *ciphertext(9)))  # never had any
    assert rows(db) == []
    active, lost = ciphertext(1), ciphertext(2)
    save(db, active)
    fetch(db, keep, (uid, *lost))
    assert [[row[name] for name in FIELDS] for row in rows(db)] == [active, lost, active]
    fetch(db, DELETE, (uid, None))
    fetch(db, keep, (uid, *lost))
    found = rows(db)
    assert [row["deleted_at"] is None for row in found] == [True, True, True, False, True, False]
    assert [found[4][name] for name in FIELDS] == lost
    assert fetch(db, "select * from get_api_credentials(%s)", (uid,)) == []
    fetch(db, "select delete_user(%s)", (uid,))
    fetch(db, keep, (uid, *lost))
    found = rows(db)  # the history has it, of a deleted user, too
    assert [row["deleted_at"] is None for row in found[4:]] == [True, False, True, False]
    assert [found[6][name] for name in FIELDS] == lost


def test_what_was_compared_with_older_versions_only_is_not_kept(db: Connection, uid: str) -> None:
    keep = "select keep_losing_credentials(%s, %s, %s, %s, %s)"
    save(db, ciphertext(1))
    save(db, ciphertext(2))
    before = rows(db)
    assert value(db, keep, (uid, *ciphertext(3), 1)) is False
    assert rows(db) == before
    assert value(db, keep, (uid, *ciphertext(3), 2)) is True
    assert value(db, keep, (uid, *ciphertext(3), 2)) is False
    fetch(db, DELETE, (uid, None))  # has none that they could be
    assert value(db, keep, (uid, *ciphertext(4), 4)) is True
    assert [row["version"] for row in rows(db)] == list(range(1, 8))


def test_credentials_go_and_come_back_with_their_user(db: Connection, uid: str) -> None:
    fields = ciphertext(1)
    save(db, fields)
    fetch(db, "select delete_user(%s)", (uid,))
    assert rows(db)[-1]["deleted_at"] is not None
    fetch(db, "select restore_user(%s)", (uid,))
    found = one(db, "select * from get_api_credentials(%s)", (uid,))
    assert ([found[name] for name in FIELDS], found["version"]) == (fields, 3)


def test_credentials_deleted_before_the_user_stay_deleted(db: Connection, uid: str) -> None:
    save(db, ciphertext(1))
    fetch(db, DELETE, (uid, None))
    fetch(db, "select delete_user(%s)", (uid,))
    fetch(db, "select restore_user(%s)", (uid,))
    assert fetch(db, "select * from get_api_credentials(%s)", (uid,)) == []
    assert len(rows(db)) == 2


def test_erasure_leaves_no_version(db: Connection, uid: str) -> None:
    fetch(db, "select ensure_user(%s)", (OTHER,))
    save(db, ciphertext(1, OTHER), whom=OTHER)
    for n in (1, 2):
        save(db, ciphertext(n))
    fetch(db, "select erase_user(%s)", (uid,))
    assert [row["okx_uid"] for row in rows(db)] == [OTHER]
    mark = one(db, "select version, erased from mirror_pending where owner = %s and kind = 'api_keys'", (uid,))
    assert mark == {"version": 3, "erased": True}


def test_nobody_but_the_owner_sees_or_calls_anything(db: Connection, uid: str) -> None:
    save(db, ciphertext(1))
    with db.transaction(force_rollback=True):
        fetch(db, "create role stranger")
        fetch(db, "grant usage on schema public to stranger")
        fetch(db, "set local role stranger")
        for query in ("select from okx_api_info", f"select get_api_credentials('{uid}')", "table trigger_permits",
                      f"select delete_api_credentials('{uid}')", "select list_api_credentials()"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege), db.transaction():
                fetch(db, query)


def test_the_permit_of_reencryption_cannot_be_forged_by_a_setting(db: Connection, uid: str) -> None:
    save(db, ciphertext(1))
    save(db, ciphertext(2))
    with db.transaction(force_rollback=True):
        for name in ("permit", "re_encrypt", "reencrypt"):
            fetch(db, f"set local settings_store.{name} = 'on'")
        with refused("US005"), db.transaction():
            fetch(db, f"update okx_api_info set api_key = '{ciphertext(3)[0]}' where not is_active")


@pytest.fixture
def old_uid(db: Connection, uid: str) -> str:
    """A user whose credentials an older system left in plain text."""
    save(db, ciphertext(1))
    leave_plain_text(db)
    return uid


def test_a_table_without_plain_text_is_sealed_and_one_with_is_counted(db: Connection, old_uid: str) -> None:
    validated = "select convalidated from pg_constraint where conname = 'okx_api_info_ciphertext'"
    assert value(db, "select seal_api_credentials()") == 1
    assert value(db, validated) is False
    id_ = value(db, "select id from okx_api_info")
    fetch(db, "select reencrypt_api_credentials(%s, %s, %s, %s, %s)", (id_, digest(db, id_), *ciphertext(2)))
    assert value(db, "select seal_api_credentials()") == 0
    assert value(db, validated) is True


CHANGES = [
    "select save_api_credentials(%(uid)s, %(a)s, %(b)s, %(c)s)",
    "select keep_losing_credentials(%(uid)s, %(a)s, %(b)s, %(c)s)",
    "select delete_api_credentials(%(uid)s)",
    "select delete_user(%(uid)s)",
    "update okx_api_info set api_key = %(a)s, api_secret = %(b)s, passphrase = %(c)s",
]


@pytest.mark.parametrize("query", CHANGES)
def test_plain_text_of_an_older_system_is_not_archived_nor_quoted(db: Connection, old_uid: str, query: str) -> None:
    with refused("US003") as error:
        fetch(db, query, {"uid": old_uid, **dict(zip("abc", ciphertext(3), strict=True))})
    diagnosis = error.value.diag
    assert "plain-" not in f"{error.value} {diagnosis.message_detail} {diagnosis.context}"
    assert "encrypt-existing" in str(diagnosis.message_hint)


def test_erasure_takes_plain_text_of_an_older_system_along(db: Connection, old_uid: str) -> None:
    fetch(db, "select erase_user(%s)", (old_uid,))
    assert rows(db) == []
