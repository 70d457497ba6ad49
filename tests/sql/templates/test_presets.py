"""A user's own templates: nobody else sees them, and they go with the person."""

from __future__ import annotations

import json

import pytest

from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch, refused, value

OTHER, NOBODY = "1000000000000001", "9999999999999999"
LIST = "select name, setting_type, okx_uid from list_setting_templates(p_owner => %s) where name <> 'default'"
SAVE = "select okx_uid from save_setting_template('night', 'params', %s, %s)"
APPLY = "select okx_uid, changes from apply_setting_template('night', 'params', p_owner => %s{})"


@pytest.fixture
def presets(db: Connection, uid: str) -> str:
    """Two users and everybody with a template of the same name; returns the first user."""
    fetch(db, "select from register_user(%s)", (OTHER,))
    for leverage, owner in ((2, uid), (3, OTHER), (4, None)):
        assert value(db, SAVE, (json.dumps({"leverage": leverage}), owner)) == (owner or "")
    return uid


def leverages(db: Connection) -> dict[str, int]:
    rows = fetch(
        db, "select okx_uid, settings -> 'leverage' as n from user_settings where setting_type = 'params' and is_active"
    )
    return {row["okx_uid"]: row["n"] for row in rows}


def test_each_owner_has_templates_of_their_own(db: Connection, presets: str) -> None:
    assert [fetch(db, LIST, (owner,)) for owner in (presets, OTHER, None)] == [
        [{"name": "night", "setting_type": "params", "okx_uid": owner}] for owner in (presets, OTHER, "")
    ]
    assert [row["okx_uid"] for row in fetch(db, APPLY.format(", p_dry_run => true"), (presets,))] == [presets]
    fetch(db, APPLY.format(""), (presets,))
    assert leverages(db) == {presets: 2, OTHER: 10}
    fetch(db, "select from apply_setting_template('night', 'params', p_filter => '{}')")
    assert leverages(db) == {presets: 4, OTHER: 4}
    fetch(db, "select from register_user('1000000000000002', p_template => 'night')")
    assert leverages(db)["1000000000000002"] == 4
    assert value(db, "select delete_setting_template('night', p_owner => %s)", (OTHER,)) == 1
    with refused("US009"):
        fetch(db, APPLY.format(""), (OTHER,))  # not everybody's in its place
    assert leverages(db)[OTHER] == 4


@pytest.mark.parametrize(
    ("call", "state"),
    [
        (f"apply_setting_template('night', 'params', p_filter => '{{}}', p_owner => '{OKX_UID}')", "US010"),
        (f"apply_setting_template('night', 'params', array['{OTHER}'], p_owner => '{OKX_UID}')", "US010"),
        (f"save_setting_template('night', 'params', '{{}}', '{NOBODY}')", "US004"),
        ("save_setting_template('night', 'params', '{}', '')", "US007"),
        (f"list_setting_templates(p_owner => '{NOBODY}')", "US004"),
        (f"delete_setting_template('night', p_owner => '{NOBODY}')", "US004"),
    ],
)
def test_an_owner_is_one_user(db: Connection, presets: str, call: str, state: str) -> None:
    with refused(state):
        fetch(db, f"select from {call}")


@pytest.mark.parametrize("role", [None, "settings_admin"])
def test_a_confined_session_has_its_users_own(db: Connection, presets: str, role: str | None) -> None:
    if role:
        fetch(db, f"set role {role}")
        fetch(db, f"set settings_store.okx_uid = '{presets}'")
        assert {row["okx_uid"] for row in fetch(db, "select okx_uid from setting_templates")} == {presets, ""}
    fetch(db, f"set settings_store.okx_uid = '{presets}'")
    assert [row["okx_uid"] for row in fetch(db, LIST, (presets,))] == [presets]
    for statement in (LIST, APPLY.format(""), "select delete_setting_template('night', p_owner => %s)"):
        with refused("US012"):
            fetch(db, statement, (OTHER,))
    with refused("US012"):
        fetch(db, SAVE, ("{}", OTHER))


def test_they_stay_with_a_deleted_user_and_go_with_an_erased_one(db: Connection, presets: str) -> None:
    fetch(db, "select from delete_user(%s)", (presets,))
    fetch(db, "select from restore_user(%s)", (presets,))
    assert len(fetch(db, LIST, (presets,))) == 1
    fetch(db, "select from erase_user(%s)", (presets,))
    owners = [row["okx_uid"] for row in fetch(db, "select okx_uid from setting_templates order by 1")]
    assert owners == ["", OTHER]
