"""Statements are prepared where that is safe, and nothing that happens to them on the server is noticed."""

from __future__ import annotations

from typing import Any

import psycopg

from store import SettingsStore
from store.postgres import functions
from store.postgres.call import Call
from store.postgres.database import PREPARE_AFTER

PREPARED = Call("select statement from pg_prepared_statements", {})
OFTEN = PREPARE_AFTER + 2


async def prepared(store: SettingsStore) -> list[str]:
    return [row["statement"] for row in await store._connections.database.fetch(PREPARED)]


async def test_a_statement_in_use_is_prepared(store: SettingsStore, user: str, pooled_url: str | None) -> None:
    for _ in range(OFTEN):
        await store.get(user, "params", source="db")
    assert any("get_user_settings" in text for text in await prepared(store)) == (pooled_url is None)


async def test_a_function_that_returns_more_after_an_upgrade_goes_on_to_be_called(
    store: SettingsStore, db: psycopg.Connection[dict[str, Any]]
) -> None:
    call = Call("select r.* from upgraded() r", {})
    db.execute("create function upgraded() returns table (a integer) language sql as 'select 1'")
    for _ in range(OFTEN):
        assert await store._connections.database.fetch(call) == [{"a": 1}]
    db.execute("drop function upgraded()")
    db.execute("create function upgraded() returns table (a integer, b integer) language sql as 'select 1, 2'")
    for _ in range(OFTEN):
        assert await store._connections.database.fetch(call) == [{"a": 1, "b": 2}]


async def test_a_lent_connection_comes_back_without_what_was_prepared_on_it(store: SettingsStore, user: str) -> None:
    for _ in range(OFTEN):
        await store.get(user, "params", source="db")
    async with store._connections.database.connection() as connection:  # gone by `discard all`
        await connection.execute("select 1")
    for _ in range(OFTEN):
        assert await store._connections.database.fetch(functions.settings.get_user_settings(user, "params"))
