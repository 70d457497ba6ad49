"""An admin changes what steers code (setting types, catalogue, hypertables) by functions, which check."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.helpers.sessions import Connection, fetch, one, refused, value

FORBIDDEN = "42501"


@pytest.fixture
def admin(db: Connection) -> Connection:
    """A session in settings_admin."""
    fetch(db, "set role settings_admin")
    return db


@pytest.mark.parametrize(
    "statement",
    [
        "insert into timeframes values ('2h', '2 hours')",
        "update timeframes set width = '1 hour' where timeframe = '1m'",
        "delete from timeframes",
        "insert into setting_types values ('alerts', 'alerts', 'hash')",
        "update setting_types set redis_suffix = 'x'",
        "delete from setting_types",
        "insert into setting_fields (setting_type, key, json_type) values ('params', 'a', 'number')",
        "update setting_fields set is_secret = false",
        "delete from setting_fields",
        "insert into setting_rules values ('params', 'a', '{leverage}', '$.leverage > 2', 'x')",
        "update setting_rules set message = 'x'",
        "delete from setting_rules",
        "insert into hypertable_settings values ('ohlcv_2h', 'ts', '1 day')",
        "update hypertable_settings set time_column = 'ts; drop table trades'",
        "delete from hypertable_settings",
        "update telegram_links set okx_uid = null",
        "update rollouts set settings = '{}'",
        "delete from rollout_users",
    ],
)
def test_an_admin_writes_no_such_table_by_hand(admin: Connection, statement: str) -> None:
    with refused(FORBIDDEN):
        fetch(admin, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into timeframes values ('1m\"; x', '9 hours')",
        "insert into timeframes values ('0m', '9 hours')",
        "insert into setting_fields (setting_type, key, json_type) values ('params', '$', 'number')",
        "insert into setting_fields (setting_type, key, json_type) values ('params', e'a\\nb', 'number')",
        "insert into setting_rules values ('params', 'A b', '{leverage}', '$.leverage > 2', 'x')",
        "insert into setting_rules values ('params', 'a', '{}', '$.leverage > 2', 'x')",
        "insert into setting_types values ('User:x', 'x', 'hash')",
        "insert into setting_types values ('x', 'mirror', 'hash')",
        "update hypertable_settings set time_column = 'ts, random()'",
    ],
)
def test_names_that_steer_code_are_checked_whoever_writes_them(db: Connection, statement: str) -> None:
    with refused("23514"):
        fetch(db, statement)


def test_an_admin_makes_a_setting_type_with_a_field_and_takes_both_away(admin: Connection, uid: str) -> None:
    for _ in range(2):  # idempotent
        made = one(admin, "select * from save_setting_type('alerts', 'alarms', 'json')")
        assert made == {
            "setting_type": "alerts",
            "redis_suffix": "alarms",
            "redis_encoding": "json",
            "has_symbols": False,
        }
    fetch(admin, "select save_setting_type('alerts', 'alerts', 'hash')")  # nothing is saved under it yet
    field = one(admin, "select * from save_setting_field('alerts', 'loss', 'number', '5', 0, 10)")
    assert (field["default_value"], field["minimum"], field["maximum"], field["is_secret"]) == (5, 0, 10, False)
    fetch(admin, "select save_setting_field('alerts', 'loss', 'integer', '6', p_is_nullable => true)")
    assert value(admin, "select default_user_setting('alerts')") == {"loss": 6}
    assert value(admin, "select is_nullable and maximum is null from setting_fields where key = 'loss'")
    with refused("US003"):
        fetch(admin, "select upsert_user_setting(%s, 'alerts', '{\"loss\": \"x\"}')", (uid,))
    assert value(admin, "select delete_setting_field('alerts', 'loss')")
    assert not value(admin, "select delete_setting_field('alerts', 'loss')")
    fetch(admin, "select save_setting_template('calm', 'alerts', '{}')")
    with refused("US005"):
        fetch(admin, "select delete_setting_type('alerts')")
    fetch(admin, "select delete_setting_template('calm')")
    assert value(admin, "select delete_setting_type('alerts')")
    assert not value(admin, "select delete_setting_type('alerts')")


def test_a_type_in_use_stays_what_it_is(admin: Connection, uid: str) -> None:
    kept = "('params', 'settings', 'json')"
    assert value(admin, f"select (save_setting_type{kept})::text") == "(params,settings,json,f)"
    for call in ("save_setting_type('params', 'other', 'json')", "delete_setting_type('params')"):
        with refused("US005"):
            fetch(admin, f"select {call}")


@pytest.mark.parametrize(
    "call",
    [
        "save_setting_type('a b', 'x', 'hash')", "save_setting_type('x', 'api:keys', 'hash')",
        "save_setting_type('api_keys', 'x', 'hash')", "save_setting_type('x', 'x', 'text')",
        "save_setting_type('x', 'settings', 'hash')", "save_setting_type('x', null, 'hash')",
        "save_setting_type(null, 'x', 'hash')",
        "save_setting_field('params', '$', 'number')", "save_setting_field('params', '', 'number')",
        f"save_setting_field('params', '{'k' * 65}', 'number')", "save_setting_field('params', 'a', 'date')",
        "save_setting_field('params', null, 'number')", "save_setting_field('params', 'a', null)",
        "save_setting_field('params', 'a', 'number', '\"x\"')",
        "save_setting_field('params', 'a', 'number', '9', 0, 5)",
        "save_setting_field('params', 'a', 'number', null, 5, 0)",
        "save_setting_field('params', 'a', 'string', null, 5)",
        "save_setting_field('params', 'a', 'number', null, null, 'NaN')",
        "save_setting_field('params', 'a', 'number', null, null, 1e400)",
        "save_setting_field('params', 'a', 'number', null, null, null, '{x}')",
        "save_setting_field('params', 'a', 'string', null, null, null, '{x, null}')",
        "save_setting_field('params', 'a', 'string', null, null, null, '{}')",
        "save_setting_field('params', 'a', 'string', p_is_secret => null)",
        "save_setting_field('params', 'a', 'string', p_description => e'a\\nb')",
        f"save_setting_field('params', 'a', 'string', p_description_ko => '{'k' * 1001}')",
        "save_setting_rule('params', 'A', '$.leverage > 2', 'x')",
        "save_setting_rule('params', null, '$.leverage > 2', 'x')",
        "save_setting_rule('params', 'a', '$.leverage > 2', '')",
        "save_setting_rule('params', 'a', '$.leverage > 2', null)",
        "save_setting_rule('params', 'a', '$.leverage > 2', 'x', '')",
        "save_setting_rule('params', 'a', '$.leverage > 2', 'x', e'\\u202e\\n')",
        "save_setting_rule('params', 'a', null, 'x')",
        "save_setting_rule('params', 'a', '', 'x')",
        "save_setting_rule('params', 'a', '$.leverage >', 'x')",
        "save_setting_rule('params', 'a', '1 == 1', 'x')",
        "save_setting_rule('params', 'a', '$.leverage', 'x')",
        "save_setting_rule('params', 'a', '$.leverage > 10', 'x')",
        "save_setting_rule('params', 'a', '$.leverage == \"x\"', 'x')",
        "save_setting_rule('params', 'a', '$.nothing > 2', 'x')",
        "save_setting_rule('params', 'a', 'lax $.leverage > 2', 'x')",
        "save_setting_rule('params', 'a', '$.leverage > 2 && $.* != 3', 'x')",
        "save_setting_rule('params', 'a', '$.leverage > 2 && $.** != 3', 'x')",
        "save_setting_rule('params', 'a', '$.leverage > 2 || $.symbol_investments.BTC == 1', 'x')",
        "save_setting_rule('params', 'a', '$.leverage > 2 || exists($.rsi_length)', 'x')",
        "save_setting_rule('params', 'a', '!exists($.leverage ? ($.x > 2))', 'x')",
        "save_setting_rule('params', 'a', '($.leverage > 200) is unknown || $.leverage > 2', 'x')",
        "save_setting_rule('params', 'a', '$.leverage.abs() > 2', 'x')",
        "save_setting_rule('params', 'a', '$.direction like_regex \"(a+)+$\" || $.leverage > 2', 'x')",
        "save_setting_rule('params', 'a', '$.leverage > $x', 'x')",
        "save_setting_rule('params', 'a', '$.leverage[0] > 2', 'x')",
        f"save_setting_rule('params', 'a', '$.leverage > 2{' ' * 4000}', 'x')",
        "save_setting_rule('dual_side:BTC-USDT-SWAP', 'a', '$.use_dual_sl == false', 'x')",
        "save_hypertable_settings('users', '1 day')", "save_hypertable_settings(null, '1 day')",
        "save_hypertable_settings('trades', '0')", "save_hypertable_settings('trades', null)",
        "save_hypertable_settings('trades', '1 day', p_drop_after => '-1 day')",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(admin: Connection, call: str) -> None:
    with refused("US010") as error:
        fetch(admin, f"select {call}")
    assert error.value.diag.message_detail or error.value.diag.message_hint or "above zero" in str(error.value)


def test_a_field_of_no_type_is_refused(admin: Connection) -> None:
    with refused("US002"):
        fetch(admin, "select save_setting_field('nothing', 'a', 'number')")


def test_an_admin_says_how_a_hypertable_is_kept(admin: Connection) -> None:
    saved = one(admin, "select * from save_hypertable_settings('trades', '40 days', p_drop_after => '9 years')")
    assert (saved["chunk_interval"].days, saved["compress_after"]) == (40, None)
    assert saved["drop_after"].days > 3000


FORGERIES = {
    "a version": "insert into public.user_settings (user_id, okx_uid, setting_type, settings, version, is_active)"
    " select id, okx_uid, 'params', '{\"leverage\": 125}', 77, false from public.app_users",
    "credentials": "insert into public.okx_api_info (user_id, okx_uid, version, is_active, deleted_at)"
    " select id, okx_uid, 77, false, now() from public.app_users",
    "a link": "insert into public.telegram_links (telegram_id, okx_uid) values ('55555', '1000000000000001')",
}


@pytest.mark.parametrize("what", FORGERIES)
def test_history_is_not_forged_from_a_trigger_of_ones_own(admin: Connection, uid: str, what: str) -> None:
    """What is done inside a trigger looks like the store's own triggers' work: not who runs it."""
    fetch(admin, "create temporary table t (a integer)")
    fetch(
        admin,
        "create function pg_temp.forge() returns trigger language plpgsql as"
        f" $$begin {FORGERIES[what]}; return null; end$$",
    )
    fetch(admin, "create trigger forge after insert on t for each row execute function pg_temp.forge()")
    with refused(FORBIDDEN):
        fetch(admin, "insert into t values (1)")


def test_a_restore_that_was_not_ended_opens_nothing_to_others(
    admin: Connection, uid: str, connect: Callable[[], psycopg.Connection[dict[str, object]]]
) -> None:
    other = connect()
    fetch(other, "set role settings_admin")
    fetch(other, "set lock_timeout = '100ms'")
    with admin.transaction(force_rollback=True):
        fetch(admin, "select begin_restore(true)")
        fetch(admin, "insert into setting_types values ('alerts', 'alerts', 'hash')")
        with refused("55P03", FORBIDDEN):
            fetch(other, "insert into setting_types values ('alarms', 'alarms', 'hash')")
        fetch(admin, "select end_restore()")
        with refused(FORBIDDEN), admin.transaction():
            fetch(admin, "insert into setting_types values ('alarms', 'alarms', 'hash')")
