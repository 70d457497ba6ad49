"""`set settings_store.okx_uid` confines a session to one user, whatever it calls and whatever its role."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import redis as redis_py

from store import Config, NotPermitted, SettingsStore
from store.coherence.connections import Connections
from store.coherence.epochs import is_reconciled
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.files import backup, export
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.roles import FUNCTIONS, in_role
from tests.helpers.sessions import Connection, fetch, one, refused, value

OTHER, OTHER_TELEGRAM = "1000000000000001", "77777"
NOBODY = "9999999999999999"
TRADE = (
    '"symbol": "S", "side": "long", "entry_time": "2026-11-22T10:00Z", "entry_price": 1, "entry_size": 1,'
    ' "exit_time": "2026-11-22T11:00Z", "exit_price": 1, "exit_size": 1, "realized_pnl": 1, "exit_order_id": "{order}"'
)
NEW = TRADE.format(order="2")
CIPHER = "v1.00000000." + "A" * 40
CREDENTIALS = f"'{CIPHER}', '{CIPHER}', '{CIPHER}'"
FIELDS = f"'api_key', '{CIPHER}', 'api_secret', '{CIPHER}', 'passphrase', '{CIPHER}'"
ID = "(select id from {} where okx_uid = '{{who}}'"
FOUND = """'[{{"owner": "{who}", "kind": "params", "version": 1, "document": {{"a": 1}}}}]'"""

# Calls that are of one user: refused for anybody else. {who}: an OKX UID, {telegram}: a Telegram ID.
OF_A_USER = {
    "api_credentials_history": "'{who}'",
    "cancel_scheduled_change": "(select max(id) from scheduled_changes where okx_uid = '{who}')",
    "delete_api_credentials": "'{who}'",
    "delete_user": "'{who}'",
    "delete_user_setting": "'{who}', 'params'",
    "diff_user_setting": "'{who}', 'params', 1, 1",
    "ensure_user": "'{who}'",
    "erase_unknown": "array['{who}']",
    "erase_user": "'{who}'",
    "find_user": "'{who}'",
    "get_api_credentials": "'{who}'",
    "get_trades": "'{who}'",
    "get_user_settings": "'{who}'",
    "halt_trading": "'x', '{who}'",
    "import_documents": f"{FOUND}, null, false, true",
    "import_links": """'[{{"owner": "{telegram}", "version": 0, "okx_uid": "{who}"}}]'""",
    "import_users": """'[{{"okx_uid": "{who}", "name": "Lee"}}]'""",
    "keep_documents": FOUND,
    "_keep_trades": f"""'[{{{{"okx_uid": "{{who}}", {NEW}}}}}]', true""",
    "keep_losing_credentials": f"'{{who}}', {CREDENTIALS}",
    "_keep_losing_document": f"{ID.format('user_settings')} and setting_type = 'params'), '{{{{}}}}'",
    "link_telegram": "'{who}', '{telegram}'",
    "_note_link": "'{telegram}', '{who}'",
    "note_deleted_key": "'{who}', 'params', '{who}'",
    "_put_locks": "'{who}', 'params', '{{a}}', 'x', '2999-01-01', true",
    "patch_user_setting": "'{who}', 'params', '{{\"leverage\": 20}}'",
    "prune_user_settings": "1, '1 day', '{who}'",
    "record_trade": f"'{{who}}', '{{{{{NEW}}}}}'",
    "record_trades": f"""'[{{{{"okx_uid": "{{who}}", {NEW}}}}}]'""",
    "reencrypt_api_credentials": f"{ID.format('okx_api_info')}), '', {CREDENTIALS}",
    "register_user": "'{who}'",
    "seal_plain_credentials": f"{ID.format('okx_api_info')}), '', {CREDENTIALS}",
    "_lock_user": "'{who}'",
    "list_scheduled_changes": "'{who}'",
    "lock_cold_keys": "'{who}', 'params', '2999-01-01'",
    "lock_setting": "'{who}', 'params', null, 'x'",
    "list_locks": "'{who}'",
    "unlock_cold_keys": "'{who}', 'params'",
    "unlock_setting": "'{who}', 'params'",
    "list_setting_templates": "p_owner => '{who}'",
    "save_setting_template": "'calm', 'params', '{{}}', '{who}'",
    "_resolve_user": "'{who}'",
    "restore_user": "'{who}'",
    "resume_trading": "'x', '{who}'",
    "restore_user_setting": "'{who}', 'params'",
    "rollback_user_setting": "'{who}', 'params', 1",
    "rollback_user_settings": "'{who}', now()",
    "save_api_credentials": f"'{{who}}', {CREDENTIALS}",
    "save_settings_of_users": "'{{\"{who}\": {{}}}}', 'params'",
    "save_user_settings": "'{who}', '{{\"params\": {{}}}}'",
    "trade_statistics": "'{who}'",
    "trade_statistics_by_setting_version": "'{who}'",
    "trade_statistics_by_setting_value": "'params', 'leverage', '{who}'",
    "equity_curve": "'{who}'",
    "schedule_change": "'{who}', 'params', '{{\"leverage\": 20}}'",
    "take_over_credentials": f"'{{who}}', {CREDENTIALS}",
    "import_credentials": f"jsonb_build_array(jsonb_build_object('okx_uid', '{{who}}', 'reason', 'x', {FIELDS}))",
    "unlink_telegram": "'{who}'",
    "upsert_user_setting": "'{who}', 'params', '{{}}'",
    "upsert_user_settings": f"{ID.format('app_users')}), '{{who}}', null, 'params', '{{{{}}}}'",
    "user_record": "'{who}'",
    "user_setting_at": "'{who}', 'params', now()",
    "user_setting_history": "'{who}'",
    "user_setting_version": "'{who}', 'params', 1",
    "check_confinement": "'{who}'",
}  # fmt: skip
# Of everybody at once: refused.
OF_ALL = {
    "begin_candle_import": "'1m'",
    "begin_restore": "true",
    "halt_trading": "'x'",
    "lock_setting": "null, 'params', null, 'x'",
    "unlock_setting": "null, 'params'",
    "resume_trading": "'x'",
    "end_restore": "",
    "merge_candles": "'1m'",
    "prune_user_settings": "1, '1 day'",
    "record_verification": "1, '{}'",
    "begin_epoch": "",
    "end_epoch": "'x'",
    "rollup_candles": "null, '1m', '1h'",
    "schedule_changes": "'params', p_filter => '{}', p_patch => '{}'",
    "seal_api_credentials": "",
    "upsert_candles": "'1m', '[]'",
    "write_probe": "'params', 'x'",
    "check_confinement": "null",
    "begin_rollout": "'first', 'careful', 'params'",
    "advance_rollout": "'first'",
    "pause_rollout": "'first'",
    "resume_rollout": "'first'",
    "end_rollout": "'first', 'keep'",
    "delete_rollout": "'first'",
    "list_rollouts": "",
    "list_rollout_results": "'first'",
    "_lock_rollout": "'first', '{running}', 'x'",
    "_look_at_rollout": "null",
    "_carry_on_rollout": "null, 50",
}
# Lists: the confined user's part only. The column that tells whose a row is.
LISTS = {
    "_compare_documents": ("owner", f"{FOUND.format(who=OKX_UID)[:-2]}, {FOUND.format(who=OTHER)[2:]}, false"),
    "changes_after": ("okx_uid", ""),
    "apply_setting_template": ("okx_uid", "'default', 'params', p_filter => '{}'"),
    "export_users": ("okx_uid", ""),
    "find_users_by_setting": ("okx_uid", "'params', '{}'"),
    "list_api_credentials": ("okx_uid", ""),
    "list_users": ("okx_uid", ""),
    "mirror_entries": ("owner", f"array['{OKX_UID}', '{TELEGRAM_ID}', '{OTHER}', '{OTHER_TELEGRAM}']"),
    "mirror_state": ("owner", f"array['{OKX_UID}', '{OTHER}', '{OTHER_TELEGRAM}'], '{{params,params,telegram}}'"),
    "pending_keys": ("owner", ""),
    "trade_statistics": ("okx_uid", "p_group_by => '{user}'"),
    "trade_statistics_by_setting_version": ("okx_uid", ""),
}  # fmt: skip
# Counts, what changes marks, deleted users, rollouts, halts: of the confined user's part only; each has its test below,
# or in ../halts.
COUNTS = {
    "list_deleted_users", "clear_pending", "fail_pending", "pending_lag", "retry_pending", "store_statistics",
    *("last_verification", "clear_erased", "erased_owners", "returned_owners", "clear_former_life"),
    *("changes_held", "scheduled_change_statistics"),
    *("run_due_changes", "watch_rollouts", "list_halts"),
}  # fmt: skip
# Nothing of any user: the catalogue, templates, candles, the schema; and helpers that see no row but through their
# arguments.
OF_NOBODY = {
    *("_check_owner", "_check_version", "_restorable_version", "_check_side", "_check_versioned"),
    *("_setting_version_at", "_trade_problems"),
    *("_candle_table", "_check_length", "_has_predecessor", "_writer_note", "save_hypertable_settings"),
    *("save_setting_type", "delete_setting_type", "save_setting_field", "delete_setting_field"),
    *("arrange_changes", "arrange_hypertables", "timescaledb_state"),
    *("convert_settings", "_convert_settings", "_take_settings"),
    *("check_setting_type", "default_user_setting", "delete_setting_template", "list_setting_fields"),
    *("list_setting_types", "setting_template"),
    *("validate_user_setting", "database_identity", "mirror_epoch", "installed_definition"),
    *("await_marks", "_notify_relay"),
    *("changes_as_json", "check_identifiers", "_check_settings", "confined_owners", "confined_to", "_document_changes"),
    *("_document_problem", "_erase_predecessor", "_give_access", "_is_encrypted", "_is_permitted", "_is_valid_value"),
    *("_check_erasures", "erasures", "_note_return", "_erasure_digest", "is_erased", "_mark_erased"),
    *("_mark_pending", "_mask_secrets", "_merge_patch", "missing_setting_keys", "_normalised_setting", "_note_reason"),
    *("_patched_setting", "probe_okx_uid", "everybody_okx_uid", "secret_mask", "_check_numbering", "_telegram_is_free"),
    *("_with_symbol", "_setting_type_problem", "_document_names"),
    *("_unmask_secrets", "_user_problems", "_check_candles", "get_candles", "missing_candles", "_timeframe_width"),
    *("save_setting_rule", "delete_setting_rule", "list_setting_rules", "_broken_rules", "_rule_tokens"),
    *("_rule_schema", "_comparison_schema", "_field_schema", "setting_schema", "_describe_fields", "_write_candles"),
    *("_candle_lookup", "_without_change", "changes_since", "_feed_state", "_change_cursor"),
    *("_check_scheduled_change", "_schedule_change", "_find_scheduled_users", "_note_progress", "_next_due_change"),
    *("_work_on_change", "_failure_note", "_shown_change", "_hand_down_change", "_erase_scheduled_changes"),
    *("_write_as_schedule", "_apply_scheduled_change", "_take_back_change"),
    *("rollout_bucket", "_rollout_share", "_rollout_reason", "_check_rollout"),
    *("_check_overlap", "_next_of_rollout", "_give_rollout", "_take_back_rollout"),
    *("_bootstrap_difference", "_check_locks", "_suspect_parts", "_take_new_documents"),
}  # fmt: skip


@pytest.fixture
def both(db: Connection) -> None:
    """Two users with settings, links, credentials and marks."""
    for okx_uid, telegram_id in ((OKX_UID, TELEGRAM_ID), (OTHER, OTHER_TELEGRAM)):
        fetch(db, "select from register_user(%s, %s)", (okx_uid, telegram_id))
        fetch(db, "select from save_api_credentials(%s, %s, %s, %s)", (okx_uid, CIPHER, CIPHER, CIPHER))
        fetch(db, "select from record_trade(%s, %s)", (okx_uid, "{" + TRADE.format(order="1") + "}"))
        fetch(db, "select from schedule_change(%s, 'params', '{}', p_at => now() + interval '1 day')", (okx_uid,))


@pytest.fixture(params=["owner", "admin"])
def confined(db: Connection, both: None, request: pytest.FixtureRequest) -> Connection:
    """A session confined to the first user: of the tables' owner, of an admin."""
    if request.param == "admin":
        fetch(db, "set role settings_admin")
    fetch(db, f"set settings_store.okx_uid = '{OKX_UID}'")
    return db


def refuses(session: Connection, function: str, arguments: str) -> None:
    with refused("US012") as error:
        fetch(session, f"select * from {function}({arguments})")
    assert OTHER not in str(error.value)


def test_every_function_is_tried_here() -> None:
    assert {*OF_A_USER, *OF_ALL, *LISTS, *COUNTS, *OF_NOBODY} == set(FUNCTIONS)


def test_nobody_elses_settings_are_read_or_written(confined: Connection) -> None:
    fetch(confined, "reset settings_store.okx_uid")
    subselects = {
        f"(select id from {table} where okx_uid = '{OTHER}'{more})": value(
            confined, f"select id from {table} where okx_uid = '{OTHER}'{more}"
        )
        for table, more in (("app_users", ""), ("okx_api_info", ""), ("user_settings", " and setting_type = 'params'"))
    }
    fetch(confined, f"set settings_store.okx_uid = '{OKX_UID}'")
    for function, arguments in OF_A_USER.items():
        text = arguments.format(who=OTHER, telegram="55555")
        for subselect, found in subselects.items():  # as somebody would who learned the UUID elsewhere
            text = text.replace(subselect, f"'{found}'")
        refuses(confined, function, text)


def test_the_confined_user_may_do_everything(confined: Connection) -> None:
    for function, arguments in OF_A_USER.items():
        with confined.transaction(force_rollback=True):
            if function == "ensure_user":
                fetch(confined, "select from delete_user(%s)", (OKX_UID,))
            has_some = (
                refused("US001") if function in ("take_over_credentials", "import_credentials") else nullcontext()
            )
            with has_some:
                fetch(confined, f"select * from {function}({arguments.format(who=OKX_UID, telegram='55555')})")


@pytest.mark.parametrize("identifier", [OTHER_TELEGRAM, NOBODY, "66666", "00000000-0000-0000-0000-000000000000"])
def test_whether_somebody_else_exists_is_not_told(confined: Connection, identifier: str) -> None:
    refuses(confined, "find_user", f"'{identifier}'")


def test_the_confined_user_is_found_by_every_identifier(confined: Connection) -> None:
    found = one(confined, "select * from find_user(%s)", (TELEGRAM_ID,))
    assert found["okx_uid"] == OKX_UID
    assert one(confined, "select * from find_user(%s)", (str(found["id"]),))["okx_uid"] == OKX_UID


def test_a_user_who_is_not_yet_there_can_be_registered_by_a_session_confined_to_him(db: Connection) -> None:
    fetch(db, f"set settings_store.okx_uid = '{NOBODY}'")
    assert fetch(db, "select * from find_user(%s)", (NOBODY,)) == []
    assert len(fetch(db, "select * from register_user(%s, '55555')", (NOBODY,))) == 3


@pytest.mark.parametrize("function", OF_ALL)
def test_what_is_for_all_users_is_refused(confined: Connection, function: str) -> None:
    refuses(confined, function, OF_ALL[function])


@pytest.mark.parametrize("function", LISTS)
def test_lists_hold_the_confined_users_rows_only(confined: Connection, function: str) -> None:
    owner, arguments = LISTS[function]
    call = f"select {owner} from {function}({arguments})"
    mine = {row[owner] for row in fetch(confined, call)}
    assert OKX_UID in mine
    assert mine <= {OKX_UID, TELEGRAM_ID}
    fetch(confined, "reset settings_store.okx_uid")
    assert OTHER in {row[owner] for row in fetch(confined, call)}


@pytest.mark.parametrize(
    "figures", ["trade_statistics()", "trade_statistics_by_setting_value('params', 'leverage')", "equity_curve()"]
)
def test_figures_of_everybody_are_those_of_the_confined_user(confined: Connection, figures: str) -> None:
    query = f"select sum(trades) from {figures}"
    assert value(confined, query) == 1
    fetch(confined, "reset settings_store.okx_uid")
    assert value(confined, query) == 2


def test_deleted_users_are_those_of_the_confinement_only(confined: Connection) -> None:
    fetch(confined, "reset settings_store.okx_uid")
    for okx_uid in (OKX_UID, OTHER):
        fetch(confined, f"select delete_user('{okx_uid}')")
    deleted = "select okx_uid from list_deleted_users()"
    assert [row["okx_uid"] for row in fetch(confined, deleted)] == sorted([OKX_UID, OTHER])
    fetch(confined, f"set settings_store.okx_uid = '{OKX_UID}'")
    assert [row["okx_uid"] for row in fetch(confined, deleted)] == [OKX_UID]
    fetch(confined, "set settings_store.okx_uid = 'nobody'")
    refuses(confined, "list_deleted_users", "")


def test_erased_people_are_those_of_the_confinement_only(db: Connection) -> None:
    fetch(db, f"select erase_unknown(array['{OKX_UID}', '{OTHER}'])")
    fetch(db, f"set settings_store.okx_uid = '{OKX_UID}'")
    for function in ("erased_owners", "clear_erased"):
        assert fetch(db, f"select {function}(array['{OKX_UID}', '{OTHER}']) as o") == [{"o": OKX_UID}]


def test_who_has_registered_again_is_known_of_the_confinement_only(db: Connection, both: None) -> None:
    for uid in (OKX_UID, OTHER):
        fetch(db, f"select erase_user('{uid}')")
        fetch(db, f"select register_user('{uid}')")
    fetch(db, f"set settings_store.okx_uid = '{OKX_UID}'")
    assert fetch(db, f"select returned_owners(array['{OKX_UID}', '{OTHER}']) as o") == [{"o": OKX_UID}]
    former = "select clear_former_life('{}', '{{params}}', '{{1}}', '{{2020-01-01}}') as kind"
    assert fetch(db, former.format(OKX_UID)) == [{"kind": "params"}]
    assert fetch(db, former.format(OTHER)) == []


def test_no_rollout_goes_on_in_a_confined_session(db: Connection, both: None) -> None:
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 3}')")
    fetch(db, "select begin_rollout('first', 'careful', 'params', '{90}')")
    fetch(db, "select end_rollout('first', 'everybody')")
    fetch(db, "update rollouts set state = 'ending', outcome = 'roll_back'")
    fetch(db, f"set settings_store.okx_uid = '{OKX_UID}'")
    assert fetch(db, "select * from watch_rollouts()") == []
    fetch(db, "reset settings_store.okx_uid")
    assert len(value(db, "select okx_uids from watch_rollouts()")) == 2


def test_counts_and_marks_are_of_the_confined_user_only(confined: Connection) -> None:
    counts = one(confined, "select * from store_statistics()")
    assert value(confined, "select to_come from scheduled_change_statistics()") == 1
    assert (counts["users"], counts["settings"], counts["versions"], counts["pending"]) == (1, 3, 3, 6)
    assert value(confined, "select waiting from pending_lag()") == 6
    fail = f"select fail_pending('{{{OTHER},{OKX_UID}}}', '{{params,params}}', '{{1,1}}', '{{too large,too large}}')"
    assert fetch(confined, fail) == []
    assert value(confined, "select set_aside from pending_lag()") == 1
    fetch(confined, "reset settings_store.okx_uid")
    assert value(confined, "select set_aside from pending_lag()") == 1
    fetch(confined, fail)
    assert value(confined, "select set_aside from pending_lag()") == 2
    fetch(confined, f"set settings_store.okx_uid = '{OKX_UID}'")
    assert value(confined, "select retry_pending()") == 1
    clear = "select clear_pending(array[%s, %s, %s, %s], '{params,params,telegram,telegram}', '{1,1,1,1}', '{f,f,f,f}')"
    assert value(confined, clear, (OKX_UID, OTHER, TELEGRAM_ID, OTHER_TELEGRAM)) == 2
    fetch(confined, "reset settings_store.okx_uid")
    assert value(confined, "select set_aside from pending_lag()") == 1


def test_a_link_of_somebody_else_is_not_taken(confined: Connection) -> None:
    refuses(
        confined, "import_links",
        f"""'[{{"owner": "{OTHER_TELEGRAM}", "version": 1, "okx_uid": "{OKX_UID}"}}]', 'redis', false""",
    )  # fmt: skip
    with refused("US008"):
        fetch(confined, "select from link_telegram(%s, %s)", (OKX_UID, OTHER_TELEGRAM))


def test_the_view_of_what_redis_should_hold_is_confined_too(confined: Connection) -> None:
    owners = {row["owner"] for row in fetch(confined, "select owner from mirror_source")}
    assert owners == {OKX_UID, TELEGRAM_ID}


@pytest.mark.parametrize("setting", ["587662504768345929 ", "%", "1", TELEGRAM_ID, "' or true --"])
def test_a_setting_that_is_no_okx_uid_opens_nothing(confined: Connection, setting: str) -> None:
    fetch(confined, "select set_config('settings_store.okx_uid', %s, false)", (setting,))
    for function, arguments in OF_A_USER.items():
        if "(select" not in arguments:
            refuses(confined, function, arguments.format(who=OTHER, telegram="55555"))
    for function, (_, arguments) in LISTS.items():
        refuses(confined, function, arguments)
    for function in ("pending_lag", "retry_pending", "store_statistics"):
        refuses(confined, function, "")
    assert fetch(confined, "select * from mirror_source") == []


def test_the_confinement_ends_with_the_transaction_it_was_set_for(db: Connection, both: None) -> None:
    with db.transaction():
        fetch(db, f"set local settings_store.okx_uid = '{OKX_UID}'")
        refuses(db, "find_user", f"'{OTHER}'")
        db.execute("rollback")
    assert value(db, "select current_setting('settings_store.okx_uid', true)") == ""
    assert value(db, "select count(*) from list_users()") == 2


# -- raw SQL of an admin


@pytest.fixture
def admin(db: Connection, both: None) -> Connection:
    fetch(db, "set role settings_admin")
    fetch(db, f"set settings_store.okx_uid = '{OKX_UID}'")
    return db


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("app_users", "okx_uid"), ("user_settings", "okx_uid"), ("okx_api_info", "okx_uid"),
        ("telegram_links", "okx_uid"), ("mirror_pending", "owner"),
    ],
)  # fmt: skip
def test_raw_sql_sees_and_changes_the_confined_users_rows_only(admin: Connection, table: str, column: str) -> None:
    found = {row["whose"] for row in fetch(admin, f"select {column} as whose from {table}")}
    assert OKX_UID in found
    assert found <= {OKX_UID, TELEGRAM_ID}
    query = f"update {table} set {column} = {column} where {column} = %s returning 1"
    if table != "telegram_links":  # which no admin writes
        assert fetch(admin, query, (OTHER,)) == []
        assert fetch(admin, query, (OKX_UID,))
    fetch(admin, "set settings_store.okx_uid = 'x'")
    with refused("US012"):
        fetch(admin, f"table {table}")
    fetch(admin, "reset settings_store.okx_uid")
    assert OTHER in {row["whose"] for row in fetch(admin, f"select {column} as whose from {table}")}


@pytest.mark.parametrize("table", ["trades", "trade_orders"])
def test_raw_sql_sees_the_confined_users_trades_only(admin: Connection, table: str) -> None:
    query = f"select user_id from {table}"
    assert fetch(admin, query) == fetch(admin, "select id as user_id from app_users")
    fetch(admin, "set settings_store.okx_uid = 'x'")
    with refused("US012"):
        fetch(admin, query)
    fetch(admin, "reset settings_store.okx_uid")
    assert len(fetch(admin, query)) == 2


def test_raw_sql_makes_no_rows_of_others(admin: Connection) -> None:
    for statement in (
        f"insert into app_users (okx_uid) values ('{NOBODY}')",
        f"insert into mirror_pending (owner, kind, version) values ('{OTHER}', 'other', 1)",
        "insert into trade_orders values (gen_random_uuid(), '3', gen_random_uuid(), now())",
        f"insert into mirror_pending (owner, kind, version) values ('{OTHER_TELEGRAM}', 'other', 1)",
    ):
        with refused("42501"):
            fetch(admin, statement)


def test_raw_sql_on_the_confined_user_fires_every_trigger(admin: Connection) -> None:
    fetch(admin, "update app_users set telegram_id = '55555'")
    fetch(admin, "update user_settings set settings = '{}' where is_active and setting_type = 'params'")
    fetch(admin, "update app_users set deleted_at = now()")
    fetch(admin, "update app_users set deleted_at = null")
    marks = {row["owner"] for row in fetch(admin, "select owner from mirror_pending")}
    assert marks == {OKX_UID, TELEGRAM_ID, "55555"}
    fetch(admin, "reset settings_store.okx_uid")
    assert value(admin, "select count(*) from user_settings where okx_uid = %s and version > 1", (OTHER,)) == 0


# -- the store


def confined_to(config: Config, role: str) -> Config:
    assert config.database_url
    return replace(config, database_url=in_role(config.database_url, role, confined_to=OKX_UID))


async def test_a_confined_store_serves_its_user_and_nobody_else(
    config: Config, store: SettingsStore, redis: redis_py.Redis
) -> None:
    await store.register(OTHER, OTHER_TELEGRAM)
    async with SettingsStore(confined_to(config, "writer")) as mine:
        await mine.register(OKX_UID, TELEGRAM_ID)
        assert (await mine.patch(TELEGRAM_ID, "params", {"leverage": 20})).mirrored
        assert (await mine.link(OKX_UID, "55555")).telegram_id == "55555"
        assert redis.get("user:55555:okx_uid") == OKX_UID
        assert [user.okx_uid for user in await mine.list_users()] == [OKX_UID]
        assert len(await mine.search("params", {})) == 1
        for refused_call in (
            mine.patch(OTHER, "params", {"leverage": 20}),
            mine.get(OTHER_TELEGRAM, "params", source="db"),
            mine.find_user(OTHER),
            mine.history(OTHER),
            mine.register("2000000000000002"),
            Sync(mine._connections).run(),
        ):
            with pytest.raises(NotPermitted, match="confined to one user"):
                await refused_call
        await Sync(mine._connections, okx_uid=OKX_UID).run()


async def test_a_confined_relay_mirrors_and_verifies_its_user_only(
    config: Config, store: SettingsStore, redis: redis_py.Redis
) -> None:
    for okx_uid in (OKX_UID, OTHER):
        await store.register(okx_uid)
    await store._connections.marks.clear()
    redis.flushall()
    relaying = Connections(confined_to(config, "relay"))
    try:
        assert (await Relay(relaying).once()).mirrored == 4
        assert not redis.exists(f"user:{OTHER}:settings")
        assert not await is_reconciled(store._connections)
        assert (await verify(relaying)).checked == (await verify(store._connections, okx_uid=OKX_UID)).checked
    finally:
        await relaying.close()


async def test_a_confined_admin_exports_one_user_and_backs_up_nothing(
    config: Config, store: SettingsStore, tmp_path: Path
) -> None:
    for okx_uid in (OKX_UID, OTHER):
        await store.register(okx_uid)
    with (tmp_path / "backup.zip").open("wb") as file:
        await backup.backup(store, file)
    async with SettingsStore(confined_to(config, "admin")) as mine:
        with (tmp_path / "export.json").open("wb") as file:
            assert await export.export_users(mine, file) == 1
        await export.import_users(mine, (tmp_path / "export.json").read_bytes())
        everybody = json.loads((tmp_path / "export.json").read_text())
        everybody["users"].append({"okx_uid": OTHER, "settings": {}})
        with pytest.raises(NotPermitted):
            await export.import_users(mine, json.dumps(everybody).encode())
        with pytest.raises(NotPermitted):
            await mine.prune(1, timedelta())
        with pytest.raises(NotPermitted), (tmp_path / "other.zip").open("wb") as file:
            await backup.backup(mine, file)
        with pytest.raises(NotPermitted):
            await backup.restore_backup(mine, tmp_path / "backup.zip", replace=True)
        await backup.restore_backup(mine, tmp_path / "backup.zip", okx_uid=OKX_UID)
