"""Adoption: the predecessor's database, as ugly as it gets, is taken over in place."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from store.errors import MigrationError
from store.postgres import migrate
from store.postgres.predecessor import Quarantined
from tests.migrations.dump import dump
from tests.migrations.predecessor import (
    GONE,
    GONE_TOO,
    KIM,
    KIM_AGAIN,
    LEE,
    MIXED_UP,
    PARK,
    WEB_ONLY,
    Connection,
    everything,
    rows,
)
from tests.migrations.test_migrate import IDS, MIGRATE, await_

pytestmark = pytest.mark.slow


def test_every_row_is_taken_or_named_with_the_reason(old_url: str, old: Connection) -> None:
    assert migrate.migrate(old_url) == IDS
    assert migrate.status(old_url).is_current
    ids = {
        row[0]: row[1] for row in rows(old, "select settings::text || version, id::text from predecessor.user_settings")
    }
    reasons = {(q.table_name, q.id): q.reason for q in migrate.quarantine(old_url) if not q.is_taken}
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


def test_every_table_can_be_published(old_url: str, old: Connection) -> None:
    """PostgreSQL refuses updates and deletions in a published table that has neither a primary key nor an identity."""
    migrate.migrate(old_url)
    query = """select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname in ('public', 'predecessor') and c.relkind in ('r', 'p') and c.relreplident <> 'f'
                  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)"""
    assert rows(old, query) == []


def test_versions_go_on_from_where_they_were_and_the_newest_live_one_is_active(old_url: str, old: Connection) -> None:
    migrate.migrate(old_url)
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
    migrate.migrate(old_url)
    (note,) = [q for q in migrate.quarantine(old_url) if q.is_taken and q.table_name == "user_settings"]
    assert note.reason == ("taken as it is, though not what the catalogue wants: leverage must be between 1 and 125")


def test_a_deleted_user_comes_back_with_the_settings_of_then(old_url: str, old: Connection) -> None:
    old.execute("delete from okx_api_info")
    migrate.migrate(old_url)
    assert rows(old, "select count(*) from get_user_settings('587662504768345929')") == [(2,)]
    rows(old, "select restore_user('687662504768345929')")
    found = rows(old, "select settings::text, version from get_user_settings('687662504768345929')")
    assert found == [('{"leverage": 6}', 6)]


def test_a_telegram_id_leads_to_the_user_who_was_changed_last(old_url: str, old: Connection) -> None:
    migrate.migrate(old_url)
    assert rows(old, "select okx_uid from find_user('1709556958')") == [("587662504768345929",)]
    assert rows(old, "select okx_uid from find_user('3709556958')") == [("787662504768345929",)]
    (note,) = [q for q in migrate.quarantine(old_url) if q.id == PARK]
    assert note == Quarantined(
        "app_users", PARK, True, "its Telegram ID is that of another user, too, who was changed later"
    )


def test_columns_of_other_programs_stay_with_their_defaults_and_indexes(old_url: str, old: Connection) -> None:
    migrate.migrate(old_url)
    found = rows(old, "select email, has_trading_access from app_users where id = %s", KIM)
    assert found == [("kim@example.com", True)]
    rows(old, "select ensure_user('987662504768345929')")
    assert rows(
        old, "select email, has_trading_access, okx_linked from app_users where okx_uid = '987662504768345929'"
    ) == [("uid_987662504768345929@autogen.tradingboost", True, True)]
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
    migrate.migrate(old_url)
    assert rows(old, "select amount::integer from payments order by 1") == [(10,), (20,)]
    (note,) = [q for q in migrate.quarantine(old_url) if q.table_name == "public.payments"]
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
    migrate.migrate(old_url)
    notes = {(q.table_name, q.reason.split(":")[0]) for q in migrate.quarantine(old_url) if q.is_taken and q.id is None}
    assert ("public.rich", "this view reads predecessor.app_users") in notes
    assert ("app_users", "its trigger audit isn't on the store's table") in notes
    assert ("app_users", "settings_reader could select") in notes


def test_old_callers_of_the_functions_go_on(old_url: str, old: Connection) -> None:
    before = rows(old, "select * from get_user_settings('587662504768345929', 'preferences')")
    migrate.migrate(old_url)
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
    adoption = migrate.rehearse(old_url)
    assert (everything(old), dump(old_url)) == (before, shape)
    assert rows(old, "select nspname from pg_namespace where nspname = 'predecessor'") == []
    migrate.migrate(old_url)
    assert adoption is not None
    assert adoption.quarantine == migrate.quarantine(old_url)
    assert adoption.taken == {"app_users": 4, "user_settings": 8, "okx_api_info": 5}


def test_a_database_of_this_store_has_nothing_to_adopt(database_url: str, empty_database_url: str) -> None:
    assert migrate.rehearse(database_url) is None
    assert migrate.rehearse(empty_database_url) is None
    assert migrate.quarantine(database_url) == []


def test_the_adopted_schema_is_that_of_a_new_database_but_for_the_extra_columns(
    old_url: str, database_url: str
) -> None:
    migrate.migrate(old_url)
    extra = (
        "app_users.",
        "okx_api_info.",
        "adopted_",
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


def test_an_erased_person_is_gone_from_the_old_tables_too(old_url: str, old: Connection) -> None:
    migrate.migrate(old_url)
    rows(old, "select erase_user('587662504768345929')")
    for name in ("app_users", "user_settings", "okx_api_info", "quarantine"):
        ((text,),) = rows(old, f"select coalesce(string_agg(t::text, ''), '') from predecessor.{name} t")
        assert not any(trace in text.lower() for trace in ("587662504768345929", KIM, "kim")), name
    assert rows(old, f"select email from predecessor.app_users where id = '{PARK}'") == [("park@example.com",)]


def test_tables_of_neither_are_refused_and_left_alone(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table app_users (id serial primary key, login text)")
    for action in (migrate.migrate, migrate.rehearse):
        with pytest.raises(MigrationError, match=r"public\.app_users has no okx_uid"):
            action(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("alter table app_users add okx_uid text")
    with pytest.raises(MigrationError, match=r"public\.app_users has no id of the expected type"):
        migrate.migrate(empty_database_url)


def test_two_adoptions_at_once_make_one(old_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        applied = sorted(pool.map(migrate.migrate, [old_url, old_url]))
    assert applied == [[], IDS]
    assert migrate.status(old_url).is_current


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
    assert migrate.migrate(old_url) == IDS


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
        migrating = pool.submit(migrate.migrate, old_url)
        blocked = "select count(*) from pg_locks where relation = 'payments'::regclass and not granted"
        await_(lambda: rows(old, blocked) == [(1,)], "migrate doesn't come to the table")
        saving = pool.submit(bot.execute, call.encode())
        await_(lambda: rows(old, waiting, bot.info.backend_pid) == [(1,)], "the bot doesn't wait")
        holder.rollback()
        migrating.result(30)
        saving.result(30)
    found = rows(old, "select settings, version from get_user_settings('587662504768345929', 'preferences')")
    assert found == [({"symbol": "XRP"}, 3)]
