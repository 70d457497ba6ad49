"""Nothing that a caller makes in pg_temp is ever run, or even looked at, by a function with the owner's rights.

Who may call a function may fill pg_temp with what they like. Here a login does, with objects named like every word in
the functions and every table that dynamic SQL could name, and then calls everything there is.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.conftest import OKX_UID
from tests.helpers.roles import OURS
from tests.helpers.sessions import DEADLINE, Connection, fetch, refused, value

pytestmark = pytest.mark.slow

CANDLE = '[{"ts": "2026-01-01T00:00Z", "symbol": "S", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 1}]'
CANDLES = "null::public.ohlcv_1m[]"
CHANGE = (
    "jsonb_populate_record(null::public.scheduled_changes,"
    """ '{"id": 1, "setting_type": "params", "filter": {}, "patch": {"leverage": 3}, "scheduled_by": "x"}')"""
)
FIELD = "row('params', 'a', 'number', false, null, null, null, null, false, null, null, null)::public.setting_fields"
# Calls of what isn't of a user: see test_confinement.py for those that are.
OTHERS = {
    "arrange_changes": "", "arrange_hypertables": "", "changes_after": "", "changes_held": "",
    "changes_since": "now()", "_feed_state": "",
    "_change_cursor": f"'{'0' * 12}', '1', now(), gen_random_uuid(), 1, 'params'",
    "_candle_lookup": "'1m', '{}'",
    "_candle_table": "'1m'", "changes_as_json": "'params', '{}', '{\"a\": 1}'",
    "_check_candles": "'1m', '{}'", "_check_erasures": "", "check_identifiers": f"'{OKX_UID}', null",
    "_check_length": "'a', 'b', 1", "_check_owner": f"gen_random_uuid(), '{OKX_UID}', null",
    "check_setting_type": "'params'", "_check_settings": "'params', '{\"leverage\": 3}'", "_check_side": "'long'",
    "_check_versioned": "'params'",
    "convert_settings": "'params', '{\"leverage\": \"3\"}'",
    "_convert_settings": "'params', '{\"leverage\": \"3\", \"symbol_investments\": \"{}\"}'",
    "_check_version": "1, 1, 'params', 'x'", "clear_pending": f"array['{OKX_UID}'], '{{params}}', '{{1}}', '{{f}}'",
    "confined_owners": "", "confined_to": "", "database_identity": "",
    "mirror_epoch": "", "begin_epoch": "", "end_epoch": "'x'",
    "await_marks": "1", "_notify_relay": "",
    "default_user_setting": "'params'",
    "delete_setting_field": "'params', 'leverage'", "delete_setting_template": "'careful'",
    "delete_setting_type": "'alerts'", "_document_changes": "'params', '{}', '{\"a\": 1}'", "_document_problem": "'{}'",
    "_erase_predecessor": f"gen_random_uuid(), '{OKX_UID}'", "erasures": "",
    "is_erased": f"'{OKX_UID}'", "erased_owners": f"'{{{OKX_UID}}}'", "clear_erased": f"'{{{OKX_UID}}}'",
    "returned_owners": f"'{{{OKX_UID}}}'", "clear_former_life": f"'{OKX_UID}', '{{params}}', '{{1}}', '{{2020-01-01}}'",
    "_note_return": f"'{OKX_UID}'", "_mark_erased": f"'{{{OKX_UID}}}'", "_erasure_digest": f"'{OKX_UID}'",
    "fail_pending": f"'{OKX_UID}', 'params', 1, 'x'", "get_candles": "'S', '1m'", "_has_predecessor": "'app_users'",
    "_give_access": "null::public.app_users", "_check_numbering": "2, 2",
    "installed_definition": "'grants'",
    "_is_encrypted": "null::public.okx_api_info",
    "_is_permitted": "'restore'", "_is_valid_value": f"{FIELD}, '1'", "last_verification": "", "list_deleted_users": "",
    "list_setting_fields": "", "list_setting_templates": "", "list_setting_types": "", "_mark_pending": "'a', 'b', 1",
    "_normalised_setting": "'params', '{\"leverage\": 4.0, \"direction\": \"x\"}'",
    "_mask_secrets": "'params', '{\"signal_bot_token\": \"x\"}'", "_merge_patch": "'{}', '{\"a\": 1}'",
    "missing_candles": "'S', '1m'", "missing_setting_keys": "'params', '{}'",
    "_patched_setting": "'params', '{\"leverage\": 3}', '{\"leverage\": null}'",
    "_note_reason": "'x'", "_without_change": "'{}', '{}', '{\"a\": 1}'", "pending_lag": "", "probe_okx_uid": "",
    "_restorable_version": "gen_random_uuid(), 'params'", "retry_pending": "",
    "save_hypertable_settings": "'ohlcv_1m', '7 days'", "save_setting_field": "'params', 'a', 'number', '5', 0, 10",
    "save_setting_template": "'calm', 'params', '{\"leverage\": 3}'", "save_setting_type": "'alarms', 'alarms', 'hash'",
    "secret_mask": "", "setting_template": "'careful', 'params'",
    "_setting_version_at": "gen_random_uuid(), 'params', now()", "store_statistics": "", "_telegram_is_free": "'55555'",
    "_suspect_parts": "'params', '{\"leverage\": 99}'",
    "_take_new_documents": f"""'[{{"owner": "{OKX_UID}", "kind": "dual_side:A-B", "document": {{"a": 1}}}}]'""",
    "_take_settings": "'params', '{\"leverage\": \"99\"}', '{}', '{}', '{}'", "_timeframe_width": "'1m'",
    "timescaledb_state": "", "_trade_problems": "gen_random_uuid(), '{}'",
    "_unmask_secrets": "'params', '{\"signal_bot_token\": \"********\"}', '{}'", "_user_problems": "'{}'",
    "validate_user_setting": "'params', '{\"leverage\": 0}'", "_write_candles": "'1m', '{}', false",
    "_writer_note": "'actor'", "_with_symbol": "'dual_side', 'A-B'", "_setting_type_problem": "'dual_side:A-B'",
    "_document_names": "gen_random_uuid(), null, 'A-B'",
    "save_setting_rule": "'params', 'a', '$.leverage > 2 && $.tp1_ratio + 1 < 90', 'x'", "list_setting_rules": "",
    "delete_setting_rule": "'params', 'tame'", "_broken_rules": "'params', '{\"leverage\": 99}'",
    "_rule_tokens": "'$.leverage > 2'", "_rule_schema": "'params', '$.leverage > 2 || !($.use_sl == true)'",
    "_comparison_schema": """'params', '{"key": "leverage"}', '>', '{"literal": 2}'""",
    "rollout_bucket": f"'first', '{OKX_UID}'", "_rollout_share": "null::public.rollouts",
    "_rollout_reason": "null::public.rollouts", "_check_rollout": "null::public.rollouts",
    "_check_overlap": "'params', '{\"leverage\": 3}', 'first'", "_lock_rollout": "'first', '{running}', 'x'",
    "begin_rollout": "'second', 'new', 'params'", "advance_rollout": "'first'", "pause_rollout": "'first'",
    "resume_rollout": "'paused'", "delete_rollout": "'first'", "end_rollout": "'first', 'roll_back'",
    "watch_rollouts": "", "list_rollouts": "", "list_rollout_results": "'first'",
    "_next_of_rollout": "(select r from public.rollouts r where r.name = 'first'), 50",
    "_give_rollout": "(select r from public.rollouts r where r.name = 'first'), 50",
    "_take_back_rollout": "(select r from public.rollouts r where r.name = 'first'), 50",
    "_look_at_rollout": "(select r from public.rollouts r where r.name = 'first')",
    "_carry_on_rollout": "(select r from public.rollouts r where r.name = 'first'), 50",
    "_bootstrap_difference": "1, '{1,2}', '{1,1}', '{1,3}', '{1,1}', 0.01",
    "list_locks": "", "lock_setting": "null, 'params', null, 'x'", "unlock_setting": "null, 'params'",
    "_check_locks": f"'{OKX_UID}', 'params', '{{}}', null",
    "list_halts": "true", "everybody_okx_uid": "",
    "_field_schema": f"{FIELD}, 'ko'", "setting_schema": "'params'", "_describe_fields": "",
    "_check_scheduled_change": CHANGE, "_schedule_change": f"{CHANGE}, null, '{{}}'", "_shown_change": CHANGE,
    "_find_scheduled_users": CHANGE, "_note_progress": "1", "_next_due_change": "", "_work_on_change": f"{CHANGE}, 1",
    "_failure_note": "'US003', 'x', null", "_hand_down_change": f"{CHANGE}, gen_random_uuid()",
    "_erase_scheduled_changes": "null::public.app_users", "_write_as_schedule": f"{CHANGE}, ''",
    "scheduled_change_statistics": "", "run_due_changes": "",
    "_apply_scheduled_change": f"{CHANGE}, gen_random_uuid()", "_take_back_change": f"{CHANGE}, gen_random_uuid()",
}  # fmt: skip
# Of candles again, that there are, and of a timeframe that a row names but nobody has made a table for.
CANDLE_CALLS = [
    f"public.upsert_candles('1m', '{CANDLE}')", "public.rollup_candles('S', '1m', '1h')",
    "public.get_candles('S', '1w')", "public.get_candles('S', '2h')", "public.missing_candles('S', '2h')",
    f"public.upsert_candles('2h', '{CANDLE}')", "public.rollup_candles(null, '2h', '4h')",
    "public.rollup_candles(null, '1m', '2h')", "public.begin_candle_import('2h')", "public.merge_candles('2h')",
    f"public._write_candles('2h', {CANDLES}, false)", "public._check_candles('2h', '{}')",
    "public._candle_lookup('2h', '{}')",
]  # fmt: skip

# Whatever runs of this tells so, unless it runs with the caller's own rights.
SPY = """
create function pg_temp.spy() returns text language plpgsql as $$
begin
    if current_user <> session_user then
        raise warning 'hijacked: ran as %', current_user;
    end if;
    return null;
end $$;
create function pg_temp.spying() returns trigger language plpgsql as $$
begin
    perform pg_temp.spy();
    return new;
end $$;
"""
# Every word of a function or view, every table there is or a timeframe could name, with the columns to be looked for.
NAMES = """
with word as (
    select m[1] as name from pg_proc p, regexp_matches(p.prosrc, '[a-z_][a-z0-9_]{0,62}', 'g') m
     where p.pronamespace = 'public'::regnamespace
    union select c.relname from pg_class c
           where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
    union select t.typname from pg_type t where t.typnamespace = 'public'::regnamespace and t.typname !~ '^_'
    union select 'ohlcv_' || f.timeframe from public.timeframes f
    except select 'candle_import'    -- begin_candle_import() refuses to go on: see test_candles.py
)
select w.name,
       (select string_agg(format('{column}', a.attname, a.atttypid::regtype), ', ' order by a.attnum)
          from pg_attribute a
         where a.attrelid = coalesce(to_regclass('public.' || quote_ident(w.name)), 'public.ohlcv_1m'::regclass)
           and a.attnum > 0 and not a.attisdropped) as columns
  from word w order by w.name
"""
KINDS = {
    "view": ("(pg_temp.spy())::%2$s as %1$I", "create view pg_temp.{name} as select {columns}"),
    "table": (
        "%1$I %2$s default (pg_temp.spy())::%2$s",
        "create table pg_temp.{name} ({columns}); create trigger spy before insert or update on pg_temp.{name}"
        " for each row execute function pg_temp.spying()",
    ),
    "domain": ("%1$I", "create domain pg_temp.{name} as text check (pg_temp.spy() is null)"),
}
OVERLOADS = """
select format('create function pg_temp.%I(%s) returns text language sql as ''select pg_temp.spy()''', p.proname,
              (select string_agg(t::regtype::text, ', ') from unnest(p.proargtypes::oid[]) t)) as statement
  from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype
                   and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
union all
select format('create function pg_temp.%1$I(%2$s, %3$s) returns boolean language sql'
              ' as ''select pg_temp.spy() is null'';'
              ' create operator pg_temp.%4$s (function = pg_temp.%1$I, leftarg = %2$s, rightarg = %3$s)',
              'operator_' || o.oid, o.oprleft::regtype, o.oprright::regtype, o.oprname)
  from pg_operator o
 where o.oprname <> '=>' and o.oprleft = any (v.types) and o.oprright = any (v.types)
"""
OVERLOADS = OVERLOADS.replace("any (v.types)", "any ('{text,jsonb,uuid,integer,timestamptz,boolean}'::regtype[])")
REACHED = """
select c.relname as name from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation
 where l.pid = pg_catalog.pg_backend_pid() and c.relnamespace = pg_catalog.pg_my_temp_schema()
   and pg_catalog.pg_get_userbyid(c.relowner) = session_user    -- not the store's own candle_import
"""
MADE = """
select pg_catalog.format('drop table pg_temp.%I', c.relname) as statement from pg_catalog.pg_class c
 where c.relnamespace = pg_catalog.pg_my_temp_schema() and c.relkind = 'r'
"""


@pytest.fixture
def login(db: Connection, connect: Callable[[], Connection]) -> Iterator[Callable[[str], Connection]]:
    """Open sessions of a login that is in a role; all of one name, gone at the end."""
    name = f"mallory_{uuid.uuid4().hex[:12]}"
    fetch(db, f"create role {name} login")
    opened: list[Connection] = []

    def open_session(role: str) -> Connection:
        fetch(db, f"grant settings_{role} to {name}")
        opened.append(connect())
        fetch(opened[-1], f"set session authorization {name}")
        return opened[-1]

    yield open_session
    for session in opened:  # one by one: all at once they are more than the server has locks for
        for row in session.execute(MADE.encode()).fetchall():
            session.execute(row["statement"].encode())
    pids = [session.info.backend_pid for session in opened]
    for session in opened:
        session.close()
    deadline = time.monotonic() + DEADLINE
    while value(db, "select count(*) from pg_stat_activity where pid = any (%s)", (pids,)):  # with them goes pg_temp
        assert time.monotonic() < deadline
        time.sleep(0.01)
    fetch(db, f"drop owned by {name}")
    fetch(db, f"drop role {name}")


def outcome(session: Connection, call: str) -> tuple[str | None, list[str]]:
    """Make a call and undo it; its SQLSTATE, and which objects of the caller's it reached."""
    with session.transaction(force_rollback=True):
        try:
            with session.transaction():
                session.execute(f"select * from {call}".encode())
                return None, [row["name"] for row in fetch(session, REACHED)]
        except psycopg.Error as error:
            return error.sqlstate, []


def fill(session: Connection, kind: str) -> int:
    """Fill pg_temp; return how many names are taken there."""
    column, statement = KINDS[kind]
    fetch(session, "set search_path = pg_catalog, public, pg_temp")  # else the first objects get in the way of the next
    session.execute(SPY.encode())
    names = session.execute(NAMES.replace("{column}", column).encode()).fetchall()
    for row in names:
        quoted = psycopg.sql.Identifier(row["name"]).as_string(session)
        session.execute(statement.format(name=quoted, columns=row["columns"] or "").encode())
    for row in session.execute(OVERLOADS.encode()).fetchall():
        session.execute(row["statement"].encode())
    fetch(session, "reset search_path")
    return len(names)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_pg_temp_is_reached_by_any_function(
    login: Callable[[str], Connection], calls: list[str], kind: str
) -> None:
    honest = {call: outcome(session, call) for session in (login("admin"),) for call in calls}
    assert sum(state is None for state, _ in honest.values()) > 110, honest  # they come through
    hostile, warnings = login("admin"), []
    hostile.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
    assert fill(hostile, kind) > 500
    found = {call: outcome(hostile, call) for call in calls}
    assert {call: (found[call], honest[call]) for call in calls if found[call] != honest[call]} == {}
    assert [warning for warning in warnings if "hijacked" in (warning or "")] == []


def test_a_timeframe_opens_no_table_but_the_owners(
    db: Connection, login: Callable[[str], Connection], calls: list[str]
) -> None:
    """Not even in the store's schema, where a database may let others make objects."""
    reader = login("reader")
    fetch(reader, "create temporary view ohlcv_2h as table public.ohlcv_1w")
    for _ in range(2):
        for call in ("get_candles('S', '2h')", "missing_candles('S', '2h')"):
            with refused("US010"):
                fetch(reader, f"select * from public.{call}")
        fetch(db, f"grant create on schema public to {value(reader, 'select session_user')}")
        fetch(reader, "create table if not exists public.ohlcv_2h (ts timestamptz)")
    fetch(db, "drop table ohlcv_2h")
    fetch(db, "create table ohlcv_2h (like ohlcv_1m including all)")
    assert fetch(reader, "select * from public.get_candles('S', '2h')") == []


def test_migrate_warns_of_who_may_make_objects_beside_the_stores(
    db: Connection, login: Callable[[str], Connection]
) -> None:
    name = value(login("reader"), "select session_user")
    warnings: list[str] = []
    db.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    grants = (OURS / "grants.sql").read_bytes()
    db.execute(grants)
    assert warnings == []
    fetch(db, f"grant create on schema public to {name}")
    db.execute(grants)
    assert [name in warning and "revoke" in warning for warning in warnings] == [True]


def test_a_schema_that_somebody_else_calls_predecessor_is_not_looked_into(
    db: Connection, login: Callable[[str], Connection], calls: list[str]
) -> None:
    mallory = login("admin")
    fetch(db, f"create schema predecessor authorization {value(mallory, 'select session_user')}")
    mallory.execute(SPY.replace("pg_temp", "predecessor").encode())
    warnings: list[str | None] = []
    mallory.add_notice_handler(lambda notice: warnings.append(notice.message_primary))
    for table in ("app_users", "trades", "user_settings", "okx_api_info", "quarantine"):
        columns = "id uuid, user_id uuid, okx_uid text, row_data jsonb, api_key text, api_secret text, passphrase text"
        fetch(mallory, f"create table predecessor.{table} ({columns})")
        fetch(mallory, f"insert into predecessor.{table} select id, id, okx_uid from public.app_users")
        trigger = f"before update or delete on predecessor.{table} for each row execute function predecessor.spying()"
        fetch(mallory, f"create trigger spy {trigger}")
    fetch(mallory, "select public.seal_api_credentials()")
    fetch(mallory, "select public.erase_user(%s)", (OKX_UID,))
    assert value(mallory, "select count(*) from predecessor.app_users") == 2
    assert warnings == []
