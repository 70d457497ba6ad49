"""Keys that the catalogue lists: a patch puts defaults back, a save tells which it lacks, registering fills them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.conftest import OKX_UID
from tests.helpers.sessions import DEADLINE, Connection, Session, fetch, one, value

Open = Callable[[], Session]

PATCH = "select version, settings from patch_user_setting(%s, %s, %s)"
SAVE = "select version, settings from upsert_user_setting(%s, %s, %s)"
REGISTER = "select setting_type, version, settings, change_reason from register_user(%s)"
MISSING = "select missing_setting_keys(%s, %s)"
WIDTH = "update setting_fields set maximum = 5 where key = 'leverage'"


def defaults(db: Connection, setting_type: str) -> dict[str, Any]:
    found: dict[str, Any] = value(db, "select default_user_setting(%s)", (setting_type,))
    return found


def registered_again(db: Connection) -> dict[str, dict[str, Any]]:
    return {row.pop("setting_type"): row for row in fetch(db, REGISTER, (OKX_UID,))}


@pytest.mark.parametrize("setting_type", ["params", "dual_side", "preferences"])
def test_null_in_a_patch_puts_back_the_default_of_every_listed_key(db: Connection, uid: str, setting_type: str) -> None:
    expected = defaults(db, setting_type)
    fetch(db, SAVE, (uid, setting_type, Jsonb({"?mine": 1})))
    patched = one(db, PATCH, (uid, setting_type, Jsonb(dict.fromkeys([*expected, "?mine"]))))
    assert patched == {"version": 3, "settings": expected}


def test_a_first_patch_with_null_has_the_default(db: Connection, bare_uid: str) -> None:
    patched = one(db, PATCH, (bare_uid, "params", Jsonb({"leverage": None, "?mine": None})))
    assert patched == {"version": 1, "settings": {"leverage": 10}}


def test_the_catalogue_says_what_null_puts_back(db: Connection, uid: str) -> None:
    fetch(db, "update setting_fields set default_value = '\"a\"' where key = 'signal_bot_token'")  # nullable
    fetch(db, "update setting_fields set default_value = null where key = 'sl_value'")
    patch = Jsonb({"signal_bot_token": None, "sl_value": None, "leverage": 20})
    settings = one(db, PATCH, (uid, "params", patch))["settings"]
    assert (settings["signal_bot_token"], settings["leverage"]) == ("a", 20)
    assert "sl_value" not in settings


def test_a_patch_with_null_of_what_is_the_default_makes_no_version(db: Connection, uid: str) -> None:
    assert one(db, PATCH, (uid, "params", Jsonb({"leverage": None})))["version"] == 1


def test_an_object_is_merged_and_cleared_key_by_key_or_by_null(db: Connection, uid: str) -> None:
    fetch(db, PATCH, (uid, "params", Jsonb({"symbol_investments": {"BTC": 1, "ETH": 2}})))
    for patch, left in (({}, {"BTC": 1, "ETH": 2}), ({"BTC": None}, {"ETH": 2})):
        settings = one(db, PATCH, (uid, "params", Jsonb({"symbol_investments": patch})))["settings"]
        assert settings["symbol_investments"] == left
    assert one(db, PATCH, (uid, "params", Jsonb({"symbol_investments": None})))["settings"]["symbol_investments"] == {}


def test_a_type_without_a_catalogue_is_patched_as_ever(db: Connection, bare_uid: str) -> None:
    fetch(db, "insert into setting_types values ('alerts', 'alerts', 'json')")
    fetch(db, SAVE, (bare_uid, "alerts", Jsonb({"leverage": 1, "b": 2})))
    assert one(db, PATCH, (bare_uid, "alerts", Jsonb({"leverage": None})))["settings"] == {"b": 2}
    assert value(db, MISSING, ("alerts", Jsonb({}))) == []
    assert {row["setting_type"] for row in fetch(db, REGISTER, (bare_uid,))} >= {"alerts", "params"}


def test_missing_keys_are_those_of_the_default_document(db: Connection) -> None:
    whole = defaults(db, "params")
    assert value(db, MISSING, ("params", Jsonb(whole))) == []
    assert value(db, MISSING, ("params", Jsonb({}))) == sorted(whole)
    del whole["leverage"], whole["signal_bot_token"]
    assert value(db, MISSING, ("params", Jsonb(whole))) == ["leverage", "signal_bot_token"]
    fetch(db, "update setting_fields set default_value = null where key = 'leverage'")
    assert value(db, MISSING, ("params", Jsonb(whole))) == ["signal_bot_token"]


def test_registering_again_fills_what_is_missing_in_a_version_that_says_so(db: Connection, uid: str) -> None:
    fetch(db, SAVE, (uid, "params", Jsonb({"leverage": 3, "?mine": 1})))
    expected = {**defaults(db, "params"), "leverage": 3, "?mine": 1}
    for _ in range(2):  # idempotent
        rows = registered_again(db)
        assert rows["params"] == {"version": 3, "settings": expected, "change_reason": "missing keys filled"}
        assert {rows[name]["version"] for name in ("preferences", "dual_side")} == {1}
    assert value(db, "select version from mirror_pending where kind = 'params'") == 3


def test_the_reason_of_a_registration_is_the_callers_if_there_is_one(db: Connection, uid: str) -> None:
    fetch(db, SAVE, (uid, "params", Jsonb({})))
    with db.transaction():
        fetch(db, "select set_config('settings_store.reason', 'a new release', true)")
        assert registered_again(db)["params"]["change_reason"] == "a new release"
        assert value(db, "select current_setting('settings_store.reason')") == "a new release"


def test_documents_given_to_a_registration_are_kept_as_they_are(db: Connection, bare_uid: str) -> None:
    given = Jsonb({"params": {"leverage": 3}})
    rows = fetch(db, "select settings from register_user(%s, p_documents => %s)", (bare_uid, given))
    assert {"leverage": 3} in [row["settings"] for row in rows]
    assert len(registered_again(db)["params"]["settings"]) == 50


def test_a_registration_brings_no_deleted_document_back_unless_it_is_given(db: Connection, uid: str) -> None:
    fetch(db, "select from delete_user_setting(%s, 'dual_side')", (uid,))
    assert registered_again(db).keys() == {"params", "preferences"}
    given = Jsonb({"dual_side": {"use_dual_sl": True}})
    rows = fetch(db, "select * from register_user(%s, p_documents => %s)", (uid, given))
    assert {row["setting_type"]: row["version"] for row in rows}["dual_side"] == 3


def test_a_document_that_the_catalogue_refuses_by_now_stops_no_registration(db: Connection, uid: str) -> None:
    fetch(db, SAVE, (uid, "params", Jsonb({"leverage": 50})))
    fetch(db, SAVE, (uid, "dual_side", Jsonb({})))
    fetch(db, WIDTH)
    rows = registered_again(db)
    assert (rows["params"]["version"], rows["params"]["settings"]) == (2, {"leverage": 50})
    assert (rows["dual_side"]["version"], len(rows["dual_side"]["settings"])) == (3, 13)


def test_a_registration_fills_what_a_save_under_way_leaves(db: Connection, session: Open, uid: str) -> None:
    fetch(db, SAVE, (uid, "params", Jsonb({"leverage": 3})))
    saver, registrar = session(), session()
    saver.run("begin")
    saver.run(SAVE, (uid, "params", Jsonb({"leverage": 4})))
    filled = registrar.run_blocked(REGISTER, (uid,))
    saver.run("commit")
    (params,) = [row for row in filled.result(DEADLINE) if row["setting_type"] == "params"]
    assert (params["version"], params["settings"]["leverage"], len(params["settings"])) == (4, 4, 50)


def test_a_registration_and_a_save_of_several_documents_do_not_deadlock(
    db: Connection, session: Open, uid: str
) -> None:
    for setting_type in ("params", "dual_side"):  # the rows lie in the order that nobody locks them in
        fetch(db, SAVE, (uid, setting_type, Jsonb({})))
    saver, registrar = session(), session()
    saver.run("begin")
    saver.run(SAVE, (uid, "dual_side", Jsonb({"use_dual_sl": True})))
    filled = registrar.run_blocked(REGISTER, (uid,))
    saver.run("set lock_timeout = '10s'")
    saver.run(SAVE, (uid, "params", Jsonb({"leverage": 4})))
    saver.run("commit")
    assert {len(row["settings"]) for row in filled.result(DEADLINE)} == {50, 13, 2}


def test_a_template_tells_what_is_missing_afterwards(db: Connection, uid: str) -> None:
    fetch(db, "select save_setting_template('careful', 'params', '{\"leverage\": 3}')")
    apply = "select version, cardinality(missing_keys) as n from apply_setting_template('careful', 'params', %s"
    assert one(db, f"{apply})", ([uid],)) == {"version": 2, "n": 0}
    for dry_run, version in ((True, 2), (False, 3)):
        query = f"{apply}, p_replace => true, p_dry_run => {dry_run})"
        assert one(db, query, ([uid],)) == {"version": version, "n": 49}


def test_an_import_tells_what_is_missing_afterwards(db: Connection, uid: str) -> None:
    users = Jsonb([{"okx_uid": uid, "settings": {"preferences": {"symbol": "ETH"}, "params": {"leverage": 999}}}])
    rows = fetch(db, "select setting_type, missing_keys from import_users(%s, true)", (users,))
    found = {row["setting_type"]: row["missing_keys"] for row in rows}
    assert found == {None: [], "preferences": ["timeframe"], "params": []}
