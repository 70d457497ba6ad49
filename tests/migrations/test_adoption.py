"""Adoption: the predecessor's database, as ugly as it gets, is taken over in place, and can be given back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore, Vault, rotation, schema
from store.adoption import Quarantined
from store.errors import MigrationError
from store.sync import Sync
from store.vault import NoEncryptionKey, generate_key
from tests.migrations.dump import dump
from tests.migrations.test_migrate import IDS, MIGRATE, await_

Connection = psycopg.Connection[Any]

KIM = "00000000-0000-0000-0000-000000000001"
KIM_AGAIN = "00000000-0000-0000-0000-000000000002"
WEB_ONLY = "00000000-0000-0000-0000-000000000003"
MIXED_UP = "00000000-0000-0000-0000-000000000004"
GONE = "00000000-0000-0000-0000-000000000005"
GONE_TOO = "00000000-0000-0000-0000-000000000006"
LEE = "00000000-0000-0000-0000-000000000007"
PARK = "00000000-0000-0000-0000-000000000008"
TAKEN = "select string_agg(p::text, '') from predecessor.okx_api_info p join okx_api_info using (id)"


def rows(connection: Connection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), parameters or None).fetchall()


def everything(connection: Connection) -> dict[str, list[str]]:
    """All rows of the predecessor's tables, as text."""
    tables = ("app_users", "user_settings", "okx_api_info", "payments")
    return {name: [r[0] for r in rows(connection, f"select t::text from {name} t order by 1")] for name in tables}


@pytest.fixture
def old_url(empty_database_url: str) -> str:
    """The URL of a predecessor's database."""
    with psycopg.connect(empty_database_url) as connection:
        for name in ("predecessor.sql", "predecessor_rows.sql"):
            connection.execute(Path(__file__).with_name(name).read_bytes())
    return empty_database_url


@pytest.fixture
def old(old_url: str) -> Iterator[Connection]:
    """A connection to it."""
    with psycopg.connect(old_url, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def test_every_row_is_taken_or_named_with_the_reason(old_url: str, old: Connection) -> None:
    assert schema.migrate(old_url) == IDS
    assert schema.status(old_url).is_current
    ids = {
        row[0]: row[1] for row in rows(old, "select settings::text || version, id::text from predecessor.user_settings")
    }
    reasons = {(q.table_name, q.id): q.reason for q in schema.quarantine(old_url) if not q.is_taken}
    taken = {name: {r[0] for r in rows(old, f"select o.id::text from {name} o join predecessor.{name} p using (id)")}
             for name in ("app_users", "user_settings", "okx_api_info")}  # fmt: skip
    assert taken["app_users"] == {KIM, GONE, LEE, PARK}
    assert reasons["app_users", KIM_AGAIN].startswith(f"user {KIM} has the same OKX UID")
    assert reasons["app_users", WEB_ONLY] == "it has no OKX UID"
    assert reasons["app_users", MIXED_UP] == "its OKX UID isn't 16-20 digits but has 10 characters"
    assert reasons["app_users", GONE_TOO].startswith(f"user {GONE} has the same OKX UID")
    assert reasons["user_settings", ids['{"on": true}1']].startswith("its setting type isn't one of dual_side, params")
    assert reasons["user_settings", ids['["junk"]1']] == "its settings aren't an object but array"
    assert reasons["user_settings", ids['{"leverage": 4}1']] == "its user can't be taken"
    for name, found in taken.items():
        all_ids = {row[0] for row in rows(old, f"select id::text from predecessor.{name}")}
        not_taken = {id for table, id in reasons if table == name}
        assert found | not_taken == all_ids
        assert not found & not_taken
    kept = rows(old, "select row_data ->> 'email', reason from predecessor.quarantine where id = %s", WEB_ONLY)
    assert kept == [("web@example.com", "it has no OKX UID")]


def test_versions_go_on_from_where_they_were_and_the_newest_live_one_is_active(old_url: str, old: Connection) -> None:
    schema.migrate(old_url)
    query = """select settings ->> 'leverage', version, is_active, deleted_at is not null from user_settings
                where okx_uid = %s and setting_type = %s order by version"""
    assert rows(old, query, "587662504768345929", "params") == [
        ("5", 6, False, False),
        ("3", 7, False, False),
        ("10", 8, False, False),
        ("500", 9, True, False),
    ]
    assert [row[1:] for row in rows(old, query, "587662504768345929", "dual_side")] == [
        (1, False, False),
        (2, True, True),
    ]
    assert rows(old, query, "687662504768345929", "params") == [
        ("2", 3, False, False),
        ("6", 4, False, False),
        (None, 5, True, True),
    ]
    assert rows(
        old, "select version from patch_user_setting('587662504768345929', 'params', '{\"leverage\": 20}')"
    ) == [(10,)]
    history = rows(old, "select version from user_setting_history('587662504768345929', 'params')")
    assert [row[0] for row in history] == [10, 9, 8, 7, 6]


def test_what_the_catalogue_refuses_is_taken_as_it_is_and_named(old_url: str) -> None:
    schema.migrate(old_url)
    (note,) = [q for q in schema.quarantine(old_url) if q.is_taken and q.table_name == "user_settings"]
    assert note.reason == ("taken as it is, though not what the catalogue wants: leverage must be between 1 and 125")


def test_a_deleted_user_comes_back_with_the_settings_of_then(old_url: str, old: Connection) -> None:
    old.execute("delete from okx_api_info")
    schema.migrate(old_url)
    assert rows(old, "select count(*) from get_user_settings('587662504768345929')") == [(2,)]
    rows(old, "select restore_user('687662504768345929')")
    found = rows(old, "select settings::text, version from get_user_settings('687662504768345929')")
    assert found == [('{"leverage": 6}', 6)]


def test_a_telegram_id_leads_to_the_user_who_was_changed_last(old_url: str, old: Connection) -> None:
    schema.migrate(old_url)
    assert rows(old, "select okx_uid from find_user('1709556958')") == [("587662504768345929",)]
    assert rows(old, "select okx_uid from find_user('3709556958')") == [("787662504768345929",)]
    (note,) = [q for q in schema.quarantine(old_url) if q.id == PARK]
    assert note == Quarantined(
        "app_users", PARK, True, "its Telegram ID is that of another user, too, who was changed later"
    )


def test_columns_of_other_programs_stay_with_their_defaults_and_indexes(old_url: str, old: Connection) -> None:
    schema.migrate(old_url)
    found = rows(old, "select email, has_trading_access from app_users where id = %s", KIM)
    assert found == [("kim@example.com", True)]
    rows(old, "select ensure_user('987662504768345929')")
    assert rows(
        old, "select email, has_trading_access, okx_linked from app_users where okx_uid = '987662504768345929'"
    ) == [(None, True, False)]
    with pytest.raises(psycopg.errors.UniqueViolation):
        old.execute("update app_users set email = 'kim@example.com' where okx_uid = '987662504768345929'")
    old.execute(
        "insert into app_users (email, name, telegram_linked, telegram_id, telegram_userid, okx_uid, okx_linked)"
        " values ('new@example.com', 'New', true, '4709556958', '4709556958', '387662504768345929', true)"
    )
    old.execute("update app_users set telegram_id = null, telegram_linked = false where telegram_id = '4709556958'")
    indexes = [
        row[0]
        for row in rows(old, "select indexname from pg_indexes where schemaname = 'public' and tablename = 'app_users'")
    ]
    assert "app_users_access" in indexes
    assert "app_users_email_key" in indexes


def test_other_tables_refer_to_the_users_taken_and_keep_all_their_rows(old_url: str, old: Connection) -> None:
    schema.migrate(old_url)
    assert rows(old, "select amount::integer from payments order by 1") == [(10,), (20,)]
    (note,) = [q for q in schema.quarantine(old_url) if q.table_name == "public.payments"]
    assert "payments_user_id_fkey" in note.reason
    rows(old, "select ensure_user('987662504768345929')")
    old.execute(
        "insert into payments (user_id, amount) select id, 1 from app_users where okx_uid = '987662504768345929'"
    )
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        old.execute(f"insert into payments (user_id, amount) values ('{WEB_ONLY}', 1)")


def test_what_hangs_on_the_old_tables_is_named(old_url: str, old: Connection) -> None:
    old.execute(
        "create view rich as select name, amount from app_users join payments on payments.user_id = app_users.id"
    )
    old.execute(
        "create trigger audit after insert on app_users for each row execute function update_user_settings_updated_at()"
    )
    old.execute("grant select, update on user_settings to public")
    old.execute("do $$ begin create role settings_reader; exception when duplicate_object then end $$")
    old.execute("grant select on app_users to settings_reader")
    schema.migrate(old_url)
    notes = {(q.table_name, q.reason.split(":")[0]) for q in schema.quarantine(old_url) if q.is_taken and q.id is None}
    assert ("public.rich", "this view reads predecessor.app_users") in notes
    assert ("app_users", "its trigger audit isn't on the store's table") in notes
    assert ("app_users", "settings_reader could select") in notes


def test_old_callers_of_the_functions_go_on(old_url: str, old: Connection) -> None:
    before = rows(old, "select * from get_user_settings('587662504768345929', 'preferences')")
    schema.migrate(old_url)
    after = rows(old, "select * from get_user_settings('587662504768345929', 'preferences')")
    assert [row[:3] + row[4:10] for row in after] == [row[:3] + row[4:10] for row in before]  # but for the Telegram ID
    saved = rows(
        old,
        "select upsert_user_settings(%s, '587662504768345929', '1709556958', 'preferences', '{\"symbol\": \"BTC\"}')",
        KIM,
    )
    assert saved == [(before[0][0],)]
    assert rows(old, "select settings, version from get_user_settings('587662504768345929', 'preferences')") == [
        ({"symbol": "BTC"}, 3)
    ]


def test_a_rehearsal_tells_all_and_changes_nothing(old_url: str, old: Connection) -> None:
    before, shape = everything(old), dump(old_url)
    adoption = schema.rehearse(old_url)
    assert (everything(old), dump(old_url)) == (before, shape)
    assert rows(old, "select nspname from pg_namespace where nspname = 'predecessor'") == []
    schema.migrate(old_url)
    assert adoption is not None
    assert adoption.quarantine == schema.quarantine(old_url)
    assert adoption.taken == {"app_users": 4, "user_settings": 10, "okx_api_info": 5}


def test_a_database_of_this_store_has_nothing_to_adopt(database_url: str, empty_database_url: str) -> None:
    assert schema.rehearse(database_url) is None
    assert schema.rehearse(empty_database_url) is None
    assert schema.quarantine(database_url) == []


def test_the_adopted_schema_is_that_of_a_new_database_but_for_the_extra_columns(
    old_url: str, database_url: str
) -> None:
    schema.migrate(old_url)
    extra = (
        "app_users.",
        "payments",
        "update_user_settings_updated_at",
        "app_users_access",
        "app_users_email_key",
        "not valid",
    )

    def lines(url: str) -> set[str]:
        return {line.lower() for line in dump(url).splitlines() if not any(word in line.lower() for word in extra)}

    new = {line.replace("((0))", "((0)) not valid") for line in lines(database_url)}
    assert {line for line in new if "okx_api_info_ciphertext" not in line} == lines(old_url)


def test_rolling_back_restores_the_old_database_as_it_was(old_url: str, old: Connection) -> None:
    before, shape = everything(old), dump(old_url)
    schema.migrate(old_url)
    assert schema.rollback(old_url, None) == IDS[::-1]
    assert dump(old_url) == shape
    after = everything(old)
    assert {name: len(found) for name, found in after.items()} == {
        "app_users": len(before["app_users"]), "payments": 2,
        "user_settings": len(before["user_settings"]) + 2,  # the deletions that the store makes a version of
        "okx_api_info": len(before["okx_api_info"]) + 1,
    }  # fmt: skip
    for value in ('"leverage": 500', '"leverage": 3}', '["junk"]'):
        assert any(value.replace('"', '""') in row for row in after["user_settings"]), value
    assert [row for row in after["app_users"] if PARK in row] == [row for row in before["app_users"] if PARK in row]
    assert rows(old, "select nspname from pg_namespace where nspname = 'predecessor'") == []
    assert schema.migrate(old_url) == IDS


def test_what_was_saved_since_goes_back_with_the_rest(old_url: str, old: Connection) -> None:
    schema.migrate(old_url)
    rows(old, "select patch_user_setting('587662504768345929', 'preferences', '{\"symbol\": \"SOL\"}')")
    rows(old, "select unlink_telegram('587662504768345929')")
    rows(old, "select ensure_user('987662504768345929', '4709556958', 'New')")
    old.execute("update app_users set email = 'new@example.com' where okx_uid = '987662504768345929'")
    rows(old, "select upsert_user_setting('987662504768345929', 'params', '{\"leverage\": 2}')")
    schema.rollback(old_url, None)
    assert rows(old, "select settings, version from get_user_settings('587662504768345929', 'preferences')") == [
        ({"symbol": "SOL"}, 3)
    ]
    assert rows(old, "select telegram_id, email from app_users where id = %s", KIM) == [(None, "kim@example.com")]
    assert rows(old, "select settings from get_user_settings('4709556958')") == [({"leverage": 2},)]


def test_a_user_whom_the_old_tables_cannot_hold_stops_the_rollback(old_url: str, old: Connection) -> None:
    schema.migrate(old_url)
    rows(old, "select ensure_user('987662504768345929')")
    with pytest.raises(MigrationError, match="email"):
        schema.rollback(old_url, None)
    assert rows(old, "select okx_uid from find_user('987662504768345929')") == [("987662504768345929",)]
    assert schema.status(old_url).is_current


def test_users_settings_and_keys_go_back_only_together(old_url: str) -> None:
    schema.migrate(old_url)
    with pytest.raises(MigrationError, match="adopted together") as caught:
        schema.rollback(old_url, len(IDS) - 1)
    assert "--all" in str(caught.value.hint)
    assert schema.status(old_url).is_current


async def test_keys_are_encrypted_if_there_is_a_key_and_those_of_redis_win_by_sync(
    old_url: str, old: Connection, servers: Config, redis: Any
) -> None:
    redis.hset("user:587662504768345929:api:keys", mapping={"api_key": "new", "api_secret": "s", "passphrase": "p"})
    vault = Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()})
    schema.migrate(old_url, vault)
    for query in ("select string_agg(c::text, '') from okx_api_info c", TAKEN):
        ((text,),) = rows(old, query)
        assert not any(secret in text for secret in ("kim", "gone-"))
    async with SettingsStore(Config(old_url, servers.redis_url, home=servers.home, vault=vault)) as store:
        await Sync(store.stores, prefer="redis").run()
        credentials = await store.get_credentials("587662504768345929")
        assert credentials is not None
        assert (credentials.api_key, credentials.version) == ("new", 4)
    schema.rollback(old_url, None, vault)
    keys = rows(old, "select api_key from okx_api_info where user_id = %s and deleted_at is null", KIM)
    assert ("new",) in keys


async def test_keys_are_encrypted_everywhere_and_come_back_in_plain_text(
    old_url: str, old: Connection, servers: Config, redis: Any
) -> None:
    schema.migrate(old_url)
    vault = Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()})
    config = Config(old_url, servers.redis_url, home=servers.home, vault=vault)
    async with SettingsStore(config) as store:
        credentials = await store.get_credentials("587662504768345929")
        assert credentials is not None
        with pytest.raises(psycopg.DatabaseError, match="invalid credentials"):
            rows(old, "select restore_user('687662504768345929')")  # it would make a version of plain text
        assert (credentials.api_key, credentials.version) == ("kim-key", 3)
        done = await rotation.rotate(store, plain=True)
        assert (done.changed, done.failures) == (4, {})
        assert await rotation.seal_table(store) == 0
        rows(old, "select restore_user('687662504768345929')")
        restored = await store.get_credentials("687662504768345929")
        assert restored is not None
        assert restored.api_key == "gone-key"
    for query in ("select string_agg(c::text, '') from okx_api_info c", TAKEN):
        ((text,),) = rows(old, query)
        assert not any(secret in text for secret in ("kim", "gone-"))
    quarantined = rows(old, "select string_agg(q::text, '') from predecessor.quarantine q")[0][0]
    assert not any(secret in quarantined for secret in ("web-key", "web-secret", "lee-secret"))

    with pytest.raises(NoEncryptionKey):
        schema.rollback(old_url, None)
    schema.rollback(old_url, None, vault)
    keys = rows(
        old, "select api_key, api_secret, passphrase from okx_api_info where user_id = %s and deleted_at is null", KIM
    )
    assert ("kim-key", "kim-secret", "kim-pass") in keys


def test_an_erased_person_is_gone_from_the_old_tables_too(old_url: str, old: Connection) -> None:
    schema.migrate(old_url)
    rows(old, "select erase_user('587662504768345929')")
    for name in ("app_users", "user_settings", "okx_api_info", "quarantine"):
        ((text,),) = rows(old, f"select coalesce(string_agg(t::text, ''), '') from predecessor.{name} t")
        assert not any(trace in text.lower() for trace in ("587662504768345929", KIM, "kim")), name
    assert rows(old, f"select email from predecessor.app_users where id = '{PARK}'") == [("park@example.com",)]


def test_tables_of_neither_are_refused_and_left_alone(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table app_users (id serial primary key, login text)")
    for action in (schema.migrate, schema.rehearse):
        with pytest.raises(MigrationError, match=r"public\.app_users has no okx_uid"):
            action(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("alter table app_users add okx_uid text")
    with pytest.raises(MigrationError, match=r"public\.app_users has no id of the expected type"):
        schema.migrate(empty_database_url)


def test_two_adoptions_at_once_make_one(old_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = sorted(pool.map(schema.migrate, [old_url, old_url]))
    assert applied == [[], IDS]
    assert schema.status(old_url).is_current


def test_a_killed_adoption_leaves_the_old_database_as_it_was(old_url: str, old: Connection) -> None:
    before, shape = everything(old), dump(old_url)
    waiting = "select count(*) from pg_locks where relation = 'public.payments'::regclass and not granted"
    with psycopg.connect(old_url) as holder, psycopg.connect(old_url, autocommit=True) as watcher:
        holder.execute("lock table payments in access exclusive mode")  # the last thing an adoption touches
        process = subprocess.Popen([sys.executable, "-c", MIGRATE, old_url])
        await_(lambda: watcher.execute(waiting.encode()).fetchone() == (1,), "migrate doesn't come to the table")
        process.kill()
        process.wait(30)
    assert (everything(old), dump(old_url)) == (before, shape)
    assert schema.migrate(old_url) == IDS


def test_a_save_of_an_old_bot_that_waits_for_the_adoption_is_not_lost(old_url: str, old: Connection) -> None:
    call = f"select upsert_user_settings('{KIM}', '587662504768345929', null, 'preferences', '{{\"symbol\": \"XRP\"}}')"
    waiting = "select count(*) from pg_locks where not granted and pid = %s"
    with (
        psycopg.connect(old_url) as holder,
        psycopg.connect(old_url, autocommit=True) as bot,
        ThreadPoolExecutor(2) as pool,
    ):
        holder.execute("lock table payments in access exclusive mode")
        bot.execute("select * from get_user_settings('587662504768345929')")  # its plans are made
        migrating = pool.submit(schema.migrate, old_url)
        blocked = "select count(*) from pg_locks where relation = 'payments'::regclass and not granted"
        await_(lambda: rows(old, blocked) == [(1,)], "migrate doesn't come to the table")
        saving = pool.submit(bot.execute, call.encode())
        await_(lambda: rows(old, waiting, bot.info.backend_pid) == [(1,)], "the bot doesn't wait")
        holder.rollback()
        migrating.result(30)
        saving.result(30)
    found = rows(old, "select settings, version from get_user_settings('587662504768345929', 'preferences')")
    assert found == [({"symbol": "XRP"}, 3)]


def test_trades_and_candles_come_along_as_far_as_they_are_some(old_url: str, old: Connection) -> None:
    old.execute(Path(__file__).with_name("predecessor_market.sql").read_bytes())
    schema.migrate(old_url)
    assert schema.status(old_url).is_current
    taken = rows(old, "select exit_order_id, net_pnl::text, params_version, extra from trades order by exit_order_id")
    assert taken == [
        ("a1", "12.50000000", 9, {"id": 1, "session_id": 7}),
        ("predecessor-2", "-3.00000000", 9, {"id": 2}),
    ]
    reasons = [(q.id, q.reason) for q in schema.quarantine(old_url) if q.table_name == "trades"]
    assert [id for id, _ in reasons] == ["3", "4"]
    assert "side" in reasons[0][1]
    candles = rows(old, "select to_char(ts, 'HH24:MI') from ohlcv_1h order by ts")
    assert candles == [("10:00",), ("11:00",)]
    told = [q.id for q in schema.quarantine(old_url) if q.table_name == "ohlcv_1h"]
    assert len(told) == 4  # another of that time, off the grid, not a number, without a time
    (note,) = [q for q in schema.quarantine(old_url) if q.table_name == "ohlcv_1d"]
    assert (note.id, note.is_taken) == (None, False)
    rows(old, "select erase_user('587662504768345929')")
    assert rows(old, "select count(*) from predecessor.trades") == [(1,)]
    schema.rollback(old_url, None)
    assert rows(old, "select count(*) from trades") == [(1,)]
    assert rows(old, "select count(*) from ohlcv_1h") == [(6,)]


@pytest.mark.timescale
def test_candles_of_a_predecessor_on_timescaledb_come_along_and_go_back(old_url: str, old: Connection) -> None:
    old.execute("create table ohlcv_1h (time timestamptz not null, symbol text, open float, high float, low float,"
              " close float, volume float)")  # fmt: skip
    rows(old, "select create_hypertable('ohlcv_1h', 'time', chunk_time_interval => interval '1 day')")
    old.execute("insert into ohlcv_1h select t, 'BTC', 2, 4, 1, 3, 9"
              "  from generate_series(timestamptz '2025-03-05 00:00Z', '2025-03-08 00:00Z', '1 hour') t")  # fmt: skip
    schema.migrate(old_url)
    assert schema.status(old_url).is_current
    where = """
        select hypertable_schema, num_chunks from timescaledb_information.hypertables
         where hypertable_name = 'ohlcv_1h'"""
    assert rows(old, f"{where} order by 1") == [("predecessor", 4), ("public", 1)]
    assert rows(old, "select count(*) from ohlcv_1h where ts >= '2025-03-05 00:00Z'") == [(73,)]
    schema.rollback(old_url, None)
    assert rows(old, where) == [("public", 4)]
    assert rows(old, "select count(*) from ohlcv_1h") == [(73,)]


def test_trades_of_somebody_else_in_a_database_of_this_store_move_aside_and_come_back(database_url: str) -> None:
    before = IDS.index("0008_trades")
    schema.rollback(database_url, len(IDS) - before)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table trades (id integer, what text)")
        connection.execute("insert into trades values (1, 'mine')")
        assert schema.migrate(database_url) == IDS[before:]
        assert schema.status(database_url).is_current
        ((what,),) = connection.execute("select row_data ->> 'what' from predecessor.quarantine").fetchall()
        assert what == "mine"
        assert connection.execute("select count(*) from trades").fetchall() == [(0,)]
        schema.rollback(database_url, len(IDS) - before)
        assert connection.execute("select what from trades").fetchall() == [("mine",)]
        assert connection.execute("select from pg_namespace where nspname = 'predecessor'").fetchall() == []
