"""Rules about several keys: asked wherever the catalogue is, named without a value; what was saved before stays."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.conftest import OKX_UID, Rows
from tests.helpers.sessions import Connection, fetch, one, refused, value
from tests.sql.catalogue.test_validation import WAYS, assert_no_leak, problems

MESSAGE = "rsi_oversold must be below rsi_overbought"
BROKEN = '{"rsi_oversold": 61.987654321, "rsi_overbought": 61.123456789}'
NAMED = {"$rsi_levels": MESSAGE}
# Defaults: oversold 30, overbought 70, ratios 30, 30 and 40, token null, cooldown 300 s, RSI of 14 candles.
RULES = {
    "rsi_levels": ("$.rsi_oversold < $.rsi_overbought", MESSAGE),
    "ratios": (
        "($.use_tp1 == false || $.use_tp2 == false || $.use_tp3 == false"
        " || $.tp1_ratio + $.tp2_ratio + $.tp3_ratio <= 100)",
        "the ratios of the take-profits in use sum to at most 100",
    ),
    "bot": ('$.execution_mode != "signal_bot" || $.signal_bot_token != null', "a signal bot takes a token"),
    "share": ("$.rsi_length / $.cooldown_time < 1", "x"),
}
JUDGED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()),
    ({"rsi_oversold": 70}, {"$rsi_levels"}),
    ({"rsi_oversold": 69.5, "rsi_overbought": 69.50}, {"$rsi_levels"}),
    ({"rsi_oversold": 80, "rsi_overbought": 90}, set()),
    ({"rsi_oversold": 80, "rsi_overbought": "90"}, {"rsi_overbought"}),  # a bad key: rules are not asked yet
    ({"tp1_ratio": 31}, {"$ratios"}),
    ({"tp1_ratio": 31, "use_tp2": False}, set()),
    ({"execution_mode": "signal_bot"}, {"$bot"}),
    ({"execution_mode": "signal_bot", "signal_bot_token": None, "tp3_ratio": 40.000001}, {"$bot", "$ratios"}),
    ({"execution_mode": "signal_bot", "signal_bot_token": "x"}, set()),
    ({"cooldown_time": 0}, {"$share"}),  # what can't be calculated
    ({"cooldown_time": 14.0}, {"$share"}),
]


@pytest.fixture
def ruled(db: Connection) -> Connection:
    save(db, "rsi_levels")
    return db


def save(db: Connection, *names: str) -> None:
    for name in names:
        fetch(db, "select save_setting_rule('params', %s, %s, %s)", (name, *RULES[name]))


def history(db: Connection) -> Rows:
    return fetch(db, "select setting_type, version, settings from user_settings order by setting_type, version")


def test_documents_are_judged_as_readers_read_them(db: Connection, bare_uid: str) -> None:
    save(db, *RULES)
    for document, broken in JUDGED:
        said = fetch(db, "select key, problem from validate_user_setting('params', %s)", (Jsonb(document),))
        assert {row["key"] for row in said} == broken, document
        assert {row["problem"] for row in said if row["key"][0] == "$"} <= {message for _, message in RULES.values()}
        if broken:
            with refused("US003") as error:
                fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (bare_uid, Jsonb(document)))
            assert problems(error.value) == {row["key"]: row["problem"] for row in said}
        else:
            fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (bare_uid, Jsonb(document)))


@pytest.mark.parametrize("way", [*WAYS, "apply", "dry run", "rollback"])
def test_a_rule_is_kept_whichever_way_a_document_comes(db: Connection, bare_uid: str, way: str) -> None:
    if way not in ("raw insert", "register"):
        fetch(db, "select from upsert_user_setting(%s, 'params', %s::jsonb)", (bare_uid, BROKEN))
        fetch(db, "select from upsert_user_setting(%s, 'params', '{}')", (bare_uid,))
    fetch(db, "insert into setting_templates (name, setting_type, settings) values ('bad', 'params', %s)", (BROKEN,))
    save(db, "rsi_levels")
    before = history(db)
    apply = "select from apply_setting_template('bad', 'params', p_filter => '{}', p_dry_run => %(dry)s)"
    more = {"apply": apply, "dry run": apply, "rollback": "select from rollback_user_setting(%(uid)s, 'params', 1)"}
    with refused("US003") as error:
        fetch(db, (WAYS | more)[way], {"uid": bare_uid, "document": BROKEN, "dry": way == "dry run"})
    assert problems(error.value) == NAMED
    assert_no_leak(error.value, "61.98", "61.12")
    assert history(db) == before


def test_a_template_is_judged_by_the_rules_that_it_has_all_keys_of(ruled: Connection, uid: str) -> None:
    fetch(ruled, "select save_setting_template('part', 'params', '{\"rsi_oversold\": 80}')")
    with refused("US003") as error:
        fetch(ruled, "select from apply_setting_template('part', 'params', array[%s])", (uid,))
    assert problems(error.value) == NAMED
    fetch(ruled, "select patch_user_setting(%s, 'params', '{\"rsi_overbought\": 90}')", (uid,))
    fetch(ruled, "select from apply_setting_template('part', 'params', array[%s])", (uid,))
    partial = "select count(*) from validate_user_setting('params', '{\"rsi_oversold\": 80}', %s)"
    assert [value(ruled, partial, (is_partial,)) for is_partial in (True, False)] == [0, 1]


def test_what_was_saved_before_is_read_told_and_deleted_and_mended_by_a_save(db: Connection, uid: str) -> None:
    fetch(db, "select patch_user_setting(%s, 'params', '{\"rsi_oversold\": 80}')", (uid,))
    save(db, "rsi_levels")
    told = """
        select p.key, p.problem from find_users_by_setting('params', '{}') s
         cross join lateral validate_user_setting(s.setting_type, s.settings) p"""
    assert one(db, told) == {"key": "$rsi_levels", "problem": MESSAGE}
    assert value(db, "select settings -> 'rsi_oversold' from get_user_settings(%s, 'params')", (uid,)) == 80
    fetch(db, "select upsert_user_setting(%s, 'params', (get_user_settings(%s, 'params')).settings)", (uid, uid))
    fetch(db, "select register_user(%s)", (uid,))
    with refused("US003"):
        fetch(db, "select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (uid,))
    fetch(db, "select delete_user_setting(%s, 'params')", (uid,))
    with refused("US003"):
        fetch(db, "select restore_user_setting(%s, 'params')", (uid,))
    fetch(db, "select patch_user_setting(%s, 'params', '{\"leverage\": 3}')", (uid,))
    assert fetch(db, told) == []


def test_a_registration_fills_what_keeps_to_the_rules_and_leaves_the_rest_alone(db: Connection, uid: str) -> None:
    fetch(db, "select upsert_user_setting(%s, 'params', '{\"tp1_ratio\": 80}')", (uid,))
    save(db, "ratios")
    fetch(db, "select register_user(%s)", (uid,))
    assert value(db, "select settings from get_user_settings(%s, 'params')", (uid,)) == {"tp1_ratio": 80}
    fetch(db, "select upsert_user_setting(%s, 'params', '{\"tp1_ratio\": 20}')", (uid,))
    fetch(db, "select register_user(%s)", (uid,))
    assert len(value(db, "select settings from get_user_settings(%s, 'params')", (uid,))) == 50


def test_a_symbols_document_keeps_to_the_rules_of_its_type(db: Connection, uid: str) -> None:
    rule = "$.use_dual_side_entry == false || $.dual_side_entry_ratio_value <= 100"
    fetch(db, "select save_setting_rule('dual_side', 'ratio', %s, 'at most 100')", (rule,))
    save = "select upsert_user_setting(%s, 'dual_side', %s, p_symbol => 'BTC-USDT-SWAP')"
    bad = {"use_dual_side_entry": True, "dual_side_entry_ratio_value": 101}
    with refused("US003") as error:
        fetch(db, save, (uid, Jsonb(bad)))
    assert problems(error.value) == {"$ratio": "at most 100"}
    fetch(db, save, (uid, Jsonb(bad | {"use_dual_side_entry": False})))


def test_a_rule_and_the_catalogue_stay_in_step(ruled: Connection, uid: str) -> None:
    for call in (
        "save_setting_field('params', 'rsi_oversold', 'number', '90')",
        "save_setting_field('params', 'rsi_oversold', 'number')",  # null is below nothing
        "save_setting_field('params', 'rsi_oversold', 'string', '\"30\"')",
    ):
        with refused("US010") as error:
            fetch(ruled, f"select {call}")
        assert "break a rule" in (error.value.diag.message_detail or "")
    fetch(ruled, "select save_setting_field('params', 'rsi_oversold', 'number', '40')")
    with refused("US005") as error:
        fetch(ruled, "select delete_setting_field('params', 'rsi_oversold')")
    assert error.value.diag.message_detail == "by the rules: rsi_levels"
    assert one(ruled, "select name, keys, rule::text from list_setting_rules('params')") == {
        "name": "rsi_levels", "keys": ["rsi_overbought", "rsi_oversold"],
        "rule": 'strict ($."rsi_oversold" < $."rsi_overbought")',
    }  # fmt: skip
    assert fetch(ruled, "select from list_setting_rules('dual_side')") == []
    for was_there in (True, False):
        assert value(ruled, "select delete_setting_rule('params', 'rsi_levels')") is was_there
    assert value(ruled, "select delete_setting_field('params', 'rsi_oversold')")


def test_a_key_of_any_name_can_be_in_a_rule(db: Connection, uid: str) -> None:
    for key in ('a "b".c', "한글", "$.leverage", "is unknown"):
        fetch(db, "select save_setting_field('params', %s, 'number', '5')", (key,))
        rule = f"$.{value(db, 'select to_jsonb(%s::text)::text', (key,))} < 9"
        assert value(db, "select (save_setting_rule('params', 'n', %s, 'x')).keys", (rule,)) == [key]
        with refused("US003"):
            fetch(db, "select upsert_user_setting(%s, 'params', %s)", (uid, Jsonb({key: 9})))


# What Redis has (or the catalogue reads there), what is taken of it over the defaults, and what is told.
EDITED: list[tuple[dict[str, Any], dict[str, Any] | None, set[str]]] = [
    ({"leverage": 33}, {"leverage": 33}, set()),
    ({"leverage": 33, "rsi_oversold": 90}, {"leverage": 33}, {"$rsi_levels"}),
    ({"leverage": 33, "rsi_oversold": "90"}, {"leverage": 33}, {"$rsi_levels"}),
    ({"leverage": 33, "rsi_oversold": 90, "rsi_length": "x"}, {"leverage": 33}, {"$rsi_levels", "rsi_length"}),
    # With the ratios in force again, another rule is broken, and its keys are put back, too.
    (
        {"rsi_oversold": 90, "rsi_overbought": 80, "leverage": 80, "sl_value": 7},
        {"sl_value": 7},
        {"$lead", "$rsi_levels"},
    ),
    ({"rsi_oversold": 90, "rsi_overbought": 80}, None, {"$rsi_levels"}),
]


@pytest.mark.parametrize("is_known", [True, False])
def test_of_a_document_edited_in_redis_what_keeps_to_the_rules_is_taken(db: Connection, is_known: bool) -> None:
    save(db, "rsi_levels")
    lead = "$.leverage <= 50 || $.leverage == $.rsi_overbought"
    fetch(db, "select save_setting_rule('params', 'lead', %s, 'x')", (lead,))
    for given, taken, told in EDITED:
        with db.transaction(force_rollback=True):
            if is_known:
                fetch(db, "select from register_user(%s)", (OKX_UID,))
            defaults = value(db, "select default_user_setting('params')")
            found = {**(defaults if is_known else {}), **given}
            item = {"owner": OKX_UID, "kind": "params", "version": int(is_known), "document": found}
            row = one(db, "select * from import_documents(%s, p_dry_run => false)", (Jsonb([item]),))
            assert set(row["problems"] or ()) == told, given
            saved = fetch(db, "select settings from get_user_settings(%s, 'params', p_must_exist => false)", (OKX_UID,))
            expected = {**(defaults if is_known else {}), **(taken or {})}
            if taken or is_known:
                assert (row["outcome"] == "partial") is bool(told), given
                assert [one["settings"] for one in saved] == [expected], given
            else:
                assert (row["outcome"], saved, fetch(db, "select from app_users")) == ("invalid", [], []), given


def test_an_edit_in_redis_of_a_document_that_itself_breaks_a_rule_is_left_there(db: Connection, uid: str) -> None:
    fetch(db, "select patch_user_setting(%s, 'params', '{\"rsi_oversold\": 80}')", (uid,))
    save(db, "rsi_levels")
    before = history(db)
    document = {**value(db, "select settings from get_user_settings(%s, 'params')", (uid,)), "leverage": 33}
    for edited, outcome in ((document, "invalid"), ({**document, "rsi_overbought": 81}, "edited")):
        item = {"owner": uid, "kind": "params", "version": 2, "document": edited}
        row = one(db, "select * from import_documents(%s, p_dry_run => false)", (Jsonb([item]),))
        assert (row["outcome"], row["problems"]) == (outcome, NAMED if outcome == "invalid" else None)
        assert (history(db) == before) is (outcome == "invalid")


def test_what_loses_is_kept_as_it_was_found_though_it_breaks_a_rule(ruled: Connection, uid: str) -> None:
    item = {"owner": uid, "kind": "params", "version": 1, "document": {"rsi_oversold": 99}}
    fetch(ruled, "select from keep_documents(%s)", (Jsonb([item]),))
    assert [row["settings"].get("rsi_oversold") for row in history(ruled) if row["setting_type"] == "params"] == [
        30, 99, 30,
    ]  # fmt: skip
