"""The schema that migrate makes is the one in schema.txt, so that every change shows what it does to it."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg

from store.postgres import migrate
from tests.migrations.dump import dump

SCHEMA = Path(__file__).with_name("schema.txt")
UPDATE = "SETTINGS_STORE_UPDATE_SCHEMA"


def test_the_schema_is_the_one_on_record(database_url: str) -> None:
    found = dump(database_url)
    if os.environ.get(UPDATE):
        SCHEMA.write_text(found)
    assert found == SCHEMA.read_text(), f"if this change is meant: {UPDATE}=1 pytest {Path(__file__).name}"


def test_rolling_back_and_migrating_again_makes_the_same_schema(database_url: str) -> None:
    before = dump(database_url)
    for count in (1, None):
        assert migrate.rollback(database_url, count)
        migrate.migrate(database_url)
        assert dump(database_url) == before


def test_the_dump_shows_what_differs(database_url: str) -> None:
    for change in (
        "alter table app_users alter name set not null",
        "alter table mirror_pending alter attempts set default 1",
        "alter table user_settings add check (version < 1000000)",
        "create index on app_users (name)",
        "drop trigger user_settings_changed_update on user_settings",
        "alter table user_settings disable trigger user_settings_changed_insert",
        "alter function _merge_patch(jsonb, jsonb) stable",
        "alter function _merge_patch(jsonb, jsonb) security definer",
        "grant execute on function delete_user(text) to public",
        "grant select on app_users to public",
        "alter policy confinement on app_users using (true)",
        "alter table mirror_pending disable row level security",
        "comment on table app_users is 'other'",
    ):
        before = dump(database_url)
        with psycopg.connect(database_url) as connection:
            connection.execute(change.encode())
        assert dump(database_url) != before, change
