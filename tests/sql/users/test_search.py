"""Searches and look-ups go by index, whatever the number of users. Plans are read, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.sessions import Connection, fetch, value

pytestmark = pytest.mark.slow

USERS = 20_000
RARE = '{"leverage": 77}'
SEARCH = "select okx_uid from find_users_by_setting('params', %s::jsonb)"


@pytest.fixture
def crowd(db: Connection, uid: str) -> Connection:
    """A database of many users; one in 2,000 of them has the rare document."""
    fetch(db, "set session_replication_role = replica")  # 20,000 users in a second: no triggers
    fetch(
        db,
        "insert into app_users (okx_uid, telegram_id)"
        " select (2000000000000000 + n)::text, (5000000 + n)::text from generate_series(1, %s) n",
        (USERS,),
    )
    fetch(
        db,
        "insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)"
        " select id, okx_uid, telegram_id, 'params', jsonb_build_object('leverage',"
        " case when okx_uid::numeric %% 2000 = 0 then 77 else 1 + okx_uid::numeric %% 50 end, 'direction', '롱')"
        " from app_users where okx_uid > %s and okx_uid < '3'",
        ("2000000000000000",),
    )
    fetch(db, "insert into telegram_links select telegram_id, okx_uid from app_users on conflict do nothing")
    fetch(db, "reset session_replication_role")
    fetch(db, "vacuum analyze app_users, user_settings, mirror_pending, telegram_links")
    return db


@contextmanager
def plans(connection: Connection) -> Iterator[list[str]]:
    """Collect the plans of all statements inside functions, as auto_explain tells them."""
    try:
        fetch(connection, "load 'auto_explain'")
    except psycopg.Error:
        pytest.skip("this server has no auto_explain")
    collected: list[str] = []

    def collect(notice: psycopg.errors.Diagnostic) -> None:
        if "plan:" in (notice.message_primary or ""):
            collected.append(str(notice.message_primary))

    fetch(connection, "set auto_explain.log_min_duration = 0")
    fetch(connection, "set auto_explain.log_nested_statements = on")
    fetch(connection, "set client_min_messages = log")
    connection.add_notice_handler(collect)
    yield collected
    connection.remove_notice_handler(collect)
    fetch(connection, "reset client_min_messages")


def test_a_search_uses_the_gin_index(crowd: Connection) -> None:
    for _ in range(12):  # from the sixth on, PL/pgSQL may take a plan for any filter
        with plans(crowd) as found:
            rows = fetch(crowd, SEARCH, (RARE,))
        searching = [plan for plan in found if ("@>" in plan and "Filter" in plan) or "Index Cond" in plan]
        assert any("Bitmap Index Scan on idx_user_settings_jsonb" in plan for plan in searching), "\n".join(found)
        assert not any("Seq Scan on user_settings" in plan for plan in found)
        assert len(rows) == USERS // 2000
        assert rows == sorted(rows, key=lambda row: str(row["okx_uid"]))


def test_a_page_of_a_search_is_read_by_index(crowd: Connection) -> None:
    query = "select okx_uid from find_users_by_setting('params', %s::jsonb, p_after => %s, p_limit => 5)"
    first = fetch(crowd, query, (RARE, None))
    for _ in range(12):
        with plans(crowd) as found:
            second = fetch(crowd, query, (RARE, first[-1]["okx_uid"]))
        assert not any("Seq Scan on user_settings" in plan for plan in found), "\n".join(found)
        assert [row["okx_uid"] for row in first + second] == [
            str(2_000_000_000_000_000 + n) for n in range(2000, USERS + 1, 2000)
        ]


@pytest.mark.parametrize(
    "query",
    [
        "select owner from mirror_state(array[%(uid)s], array['params'])",
        "select owner from mirror_entries(array[%(uid)s])",
        "select okx_uid from erase_user(%(uid)s)",
    ],
)
def test_what_redis_should_hold_is_looked_up_by_index(crowd: Connection, query: str) -> None:
    for n in range(1, 9):
        with plans(crowd) as found:
            assert fetch(crowd, query, {"uid": str(2_000_000_000_000_000 + n)})
        assert found
        for table in ("app_users", "user_settings", "telegram_links"):
            assert not any(f"Seq Scan on {table}" in plan for plan in found), "\n".join(found)


@pytest.mark.parametrize(
    ("kind", "index"),
    [
        ("okx_uid", "app_users_okx_uid_unique"),
        ("telegram_id", "app_users_telegram_id_unique"),
        ("id", "app_users_pkey"),
    ],
)
def test_every_identifier_is_looked_up_by_its_index(crowd: Connection, kind: str, index: str) -> None:
    identifier = {"okx_uid": OKX_UID, "telegram_id": TELEGRAM_ID}.get(kind) or str(
        value(crowd, "select id from app_users where okx_uid = %s", (OKX_UID,))
    )
    for function in ("find_user", "get_user_settings"):
        for _ in range(8):
            with plans(crowd) as found:
                rows = fetch(crowd, f"select okx_uid from {function}(%s)", (identifier,))
            assert any(f"using {index} on app_users" in plan for plan in found), "\n".join(found)
            assert not any("Seq Scan on app_users" in p or "Seq Scan on user_settings" in p for p in found), "\n".join(
                found
            )
            assert {row["okx_uid"] for row in rows} == {OKX_UID}


@pytest.mark.parametrize(
    "statement",
    [
        "select from upsert_user_setting(%s, 'params', jsonb_build_object('n', random()))",
        "select from patch_user_setting(%s, 'params', jsonb_build_object('n', random()))",
        "select from pending_keys(array[%s])",
    ],
    ids=["upsert", "patch", "pending"],
)
def test_writing_and_mirroring_read_no_table_of_users_as_a_whole(crowd: Connection, statement: str) -> None:
    fetch(crowd, "insert into mirror_pending select okx_uid, 'params', 1 from user_settings on conflict do nothing")
    fetch(crowd, "vacuum analyze mirror_pending")
    for _ in range(8):
        with plans(crowd) as found:
            fetch(crowd, statement, (OKX_UID,))
        assert found
        for table in ("app_users", "user_settings", "mirror_pending", "telegram_links"):
            assert not any(f"Seq Scan on {table}" in plan for plan in found), "\n".join(found)
