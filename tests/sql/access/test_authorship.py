"""The audit says who: beside what a session says of itself, the login that wrote; and such notes have a length."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch, one, refused, value
from tests.sql.access.test_confinement import CIPHER

FORGED = "set_config('settings_store.actor', 'the boss', false)"


@pytest.fixture
def bot(db: Connection, uid: str) -> Iterator[str]:
    """A login that says it is somebody else, and whose session this is from now on; gone at the end."""
    name = f"bot_{uuid.uuid4().hex[:12]}"
    fetch(db, f"create role {name} login in role settings_admin")
    fetch(db, f"set session authorization {name}")
    fetch(db, f"select {FORGED}")
    yield name
    fetch(db, "reset session authorization")
    fetch(db, f"drop role {name}")


def writers(db: Connection, relation: str) -> list[tuple[str | None, str | None]]:
    return [(row["changed_by"], row["written_by"]) for row in fetch(db, f"select * from {relation}")]


@pytest.mark.parametrize(
    "write",
    [
        "select patch_user_setting('{uid}', 'params', '{{\"leverage\": 20}}')",
        "select upsert_user_setting('{uid}', 'params', '{{}}')",
        "select delete_user_setting('{uid}', 'params')",
        "select apply_setting_template('default', 'params', '{{{uid}}}', p_replace => true) from"
        " (select upsert_user_setting('{uid}', 'params', '{{}}') offset 0) s",
        "update user_settings set settings = '{{}}' where setting_type = 'params' and is_active",
        "update user_settings set settings = '{{}}', written_by = 'x' where setting_type = 'params' and is_active",
        "select delete_user('{uid}')",
        "select keep_documents('[{{\"owner\": \"{uid}\", \"kind\": \"params\", \"version\": 1,"
        " \"document\": {{\"a\": 1}}}}]')",
    ],
)  # fmt: skip
def test_a_version_keeps_the_login_beside_the_note(db: Connection, uid: str, bot: str, write: str) -> None:
    owner = value(db, f"select written_by from user_setting_history('{uid}', 'params')")
    assert owner not in (None, bot)
    db.execute(write.format(uid=uid).encode())
    found = writers(db, f"user_setting_history('{uid}', 'params')")
    assert set(found[:-1]) == {("the boss", bot)}
    assert found[-1] == (owner, owner)  # the archived version keeps its own


def test_a_save_that_changes_nothing_leaves_who_wrote(db: Connection, uid: str, bot: str) -> None:
    fetch(db, "update user_settings set telegram_id = '55555' where is_active")
    assert bot not in {by for _, by in writers(db, "user_settings")}


def test_credentials_keep_the_login(db: Connection, uid: str, bot: str) -> None:
    for _ in range(2):
        fetch(db, f"select save_api_credentials('{uid}', '{CIPHER}', '{CIPHER}', '{CIPHER}')")
        fetch(db, "update okx_api_info set api_key = api_key || 'A', written_by = null where is_active")
    fetch(db, f"select delete_api_credentials('{uid}')")
    assert set(writers(db, f"api_credentials_history('{uid}')")) == {("the boss", bot)}


def test_templates_keep_the_login(db: Connection, uid: str, bot: str) -> None:
    fetch(db, "select save_setting_template('calm', 'params', '{}')")
    assert writers(db, "list_setting_templates('calm')") == [("the boss", bot)]
    fetch(db, "update setting_templates set changed_by = 'nobody', written_by = 'nobody'")
    fetch(db, "insert into setting_templates values ('wild', 'params', '{}', 'nobody', 'epoch', 'nobody')")
    assert writers(db, "setting_templates") == [("the boss", bot)] * 2
    assert writers(db, "list_setting_templates('default')") == [(None, None)] * 3


WRITES = {
    "params": "select patch_user_setting('{uid}', 'params', '{{\"leverage\": 20}}')",
    "raw SQL": "update user_settings set settings = '{{}}' where setting_type = 'params' and is_active",
    "credentials": f"select save_api_credentials('{{uid}}', '{CIPHER}', '{CIPHER}', '{CIPHER}')",
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize(("what", "most"), [("actor", 200), ("reason", 1000)])
def test_a_note_has_a_length(db: Connection, uid: str, what: str, most: int, write: str) -> None:
    statement = WRITES[write].format(uid=uid).encode()
    before = value(db, "select count(*) from user_settings")
    for length in (most + 1, 20_000_000):
        fetch(db, f"select set_config('settings_store.{what}', repeat('x', {length}), false) is null")
        with refused("US010") as error:
            db.execute(statement)
        assert (error.value.diag.message_primary, error.value.diag.message_detail) == (
            f"{what} is too long",
            f"it has {length} characters, {most} are the most",
        )
    assert value(db, "select count(*) from user_settings") == before
    fetch(db, f"select set_config('settings_store.{what}', repeat('롱', {most}), false)")
    db.execute(statement)


def test_a_templates_author_has_a_length(db: Connection) -> None:
    fetch(db, "select set_config('settings_store.actor', repeat('x', 201), false)")
    with refused("US010"):
        fetch(db, "select save_setting_template('calm', 'params', '{}')")


@pytest.mark.parametrize(
    "write",
    [
        "select ensure_user('{uid}', p_name => '{text}')",
        "select ensure_user('1000000000000001', p_name => '{text}')",
        "select ensure_user('{uid}', p_telegram_username => '{text}')",
        "select link_telegram('{uid}', '55555', '{text}')",
        "select register_user('1000000000000001', p_name => '{text}')",
        "update app_users set name = '{text}'",
        "insert into app_users (okx_uid, name) values ('1000000000000001', '{text}')",
    ],
)
def test_a_name_has_a_length(db: Connection, uid: str, write: str) -> None:
    with refused("US010") as error:
        fetch(db, write.format(uid=uid, text="x" * 201))
    assert error.value.diag.message_detail == "it has 201 characters, 200 are the most"
    fetch(db, write.format(uid=uid, text="롱" * 200))


def test_an_import_tells_of_a_name_that_is_too_long(db: Connection) -> None:
    users = "jsonb_build_array(jsonb_build_object('okx_uid', %s::text, 'name', %s::text))"
    call = f"select problems from import_users({users}, true)"
    problem = {"name": "must have at most 200 characters"}
    assert value(db, call, (OKX_UID, "x" * 201)) == problem
    assert value(db, call, (OKX_UID, "x" * 200)) is None


def test_a_name_that_an_older_release_took_stays(db: Connection, uid: str) -> None:
    fetch(db, "set session_replication_role = replica")
    fetch(db, "update app_users set name = repeat('x', 300)")
    fetch(db, "reset session_replication_role")
    fetch(db, "select link_telegram(%s, '55555')", (uid,))
    assert one(db, "select length(name) as length, telegram_id from app_users") == {
        "length": 300,
        "telegram_id": "55555",
    }
