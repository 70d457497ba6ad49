"""Databases that are handed on from test to test are as new."""

from __future__ import annotations

import psycopg

from store import Config
from tests.conftest import janitor
from tests.helpers.databases import Databases

ROWS = "select register_user('1000000000000001', '12345'); select erase_user('1000000000000001')"
CHANGES = (
    "create table theirs ()",
    "create function theirs() returns int language sql return 1",
    "create schema theirs",
    "create publication theirs",
    "drop function find_user cascade",
    "alter table app_users add column theirs int",
    "alter table app_users disable trigger app_users_version",
    "alter table app_users disable row level security",
    "alter function find_user(text) reset search_path",
    "alter policy confinement on app_users using (true)",
    "comment on table app_users is 'theirs'",
    "grant select on app_users to public",
    "grant create on schema public to public",
    "update setting_fields set maximum = maximum where setting_type = 'params'",
    "delete from timeframes where timeframe = '1m'",
    "analyze app_users",
    "truncate mirror_pending",
    "insert into app_users (okx_uid, name)"
    " select (1000000000000000 + n)::text, repeat('x', 200) from generate_series(1, 600) n",
    "do $$ begin execute format('alter database %I set timezone to ''Asia/Seoul''', current_database()); end $$",
)


def test_a_database_is_handed_on_empty_or_not_at_all(servers: Config, template: str) -> None:
    databases = Databases(servers.database_url or "", template, janitor, is_reusing=True)
    with databases.one() as first, psycopg.connect(first) as connection:
        connection.execute(ROWS.encode())
    with databases.one() as second, psycopg.connect(second) as connection:
        assert connection.execute("select count(*) from app_users").fetchone() == (0,)
        assert connection.execute("select last_value, is_called from erasure_count").fetchone() == (1, False)
    assert second == first
    kept = []
    for change in CHANGES:
        with databases.one() as before, psycopg.connect(before, autocommit=True) as connection:
            connection.execute(change.encode())
        with databases.one() as after:
            kept += [change] if after == before else []
    assert kept == []
    databases.drop()
