"""What relay, verify and sync ask PostgreSQL is fast whatever the statistics say: by the rows that plans handle.

Nobody analyzes a table between a bulk import and the relay's next look; an empty table that keeps its pages counts as
one without rows, however many come. A plan that is right for no rows may read a table anew for each row of another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from store import Config
from store.encryption.fields import FIELDS
from store.postgres import functions
from store.postgres.call import Call
from tests.conftest import janitor
from tests.helpers import crowd, plans
from tests.helpers.crowd import okx_uid, telegram_id
from tests.helpers.sessions import Connection

pytestmark = pytest.mark.slow

USERS = 10_000
SOME = [okx_uid(n) for n in range(1000)]
LINKED = [telegram_id(n) for n in range(1000)]
SEALED = dict.fromkeys(FIELDS, "v1.01234567.other")
# Rows that the nodes of one statement handle: PostgreSQL 15 compares each document with the catalogue ten times. What
# is read anew for each row makes millions, one for each of a list a million.
ENOUGH = 600 * len(SOME)

TABLES = ("app_users", "user_settings", "telegram_links", "okx_api_info", "mirror_pending")
ROWS = [
    "app_users (id, okx_uid, telegram_id) select md5(n::text)::uuid, pg_temp.okx_uid(n), pg_temp.telegram_id(n)",
    "telegram_links (telegram_id, okx_uid, last_okx_uid)"
    " select pg_temp.telegram_id(n), pg_temp.okx_uid(n), pg_temp.okx_uid(n)",
    "user_settings (user_id, okx_uid, setting_type, settings)"
    " select md5(n::text)::uuid, pg_temp.okx_uid(n), t.setting_type, jsonb_build_object('n', n)",
    "okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)"
    " select md5(n::text)::uuid, pg_temp.okx_uid(n), 'v1.01234567.x', 'v1.01234567.x', 'v1.01234567.x'",
    "mirror_pending (owner, kind, version) select pg_temp.okx_uid(n), t.setting_type, 1",
]
OURS = f"relname in ({', '.join(repr(table) for table in TABLES)})"
STATISTICS = {
    name: f"update pg_class set {counts} where {OURS}"
    for name, counts in {
        "of tables that kept their pages": "reltuples = 0, relpages = pg_relation_size(oid) / 8192",
        "of few rows": "reltuples = 10, relpages = 1",
        "none": "reltuples = -1, relpages = 0",
    }.items()
}
STATISTICS["none"] += f"; delete from pg_statistic where starelid in (select oid from pg_class where {OURS})"


def documents(version: int) -> str:
    one = {"kind": "params", "version": version, "document": {"leverage": 7}, "as_given": None}
    return json.dumps([{"owner": uid, **one} for uid in SOME])


def links() -> str:
    fresh = [(telegram_id(USERS + n), 0, okx_uid(USERS + n)) for n in range(len(SOME))]
    known = [(telegram, 1, uid) for telegram, uid in zip(LINKED, SOME, strict=True)]
    return json.dumps([{"owner": owner, "version": n, "okx_uid": uid} for owner, n, uid in fresh + known])


CALLS: list[tuple[Callable[..., Call], tuple[Any, ...]]] = [
    (functions.mirror.pending_keys, (None, None, len(SOME))),
    (functions.mirror.pending_keys, (None, None, len(SOME), (SOME[7], "params"))),
    (functions.mirror.pending_keys, (None, ["user", "telegram"], len(SOME))),
    (functions.mirror.pending_keys, (SOME, None, len(SOME))),
    (functions.mirror.fresh_keys, (functions.mirror.Snapshot("1:1:"), len(SOME))),
    (functions.mirror.marked_keys, (SOME,)),
    (
        functions.mirror.clear_pending,
        (SOME, ["params"] * len(SOME), [1] * len(SOME), [False] * len(SOME), [None] * len(SOME)),
    ),
    (
        functions.mirror.fail_pending,
        ([(uid, kind, 1, "refused") for uid in SOME[:500] for kind in ("params", "api_keys")],),
    ),
    (functions.mirror.mirror_state, (SOME + LINKED, ["params"] * len(SOME) + ["telegram"] * len(SOME))),
    (functions.mirror.known_keys, (SOME, ["params"] * len(SOME))),
    (functions.mirror.mirror_source, (SOME,)),
    (functions.credentials.list_api_credentials, (SOME,)),
    (functions.users.find_user, (SOME[0],)),
    (functions.credentials.keep_losing_credentials, (SOME[0], SEALED, 1)),
]
# Sync's, and what shares its code: not yet proof against statistics of tables that were emptied and filled again.
IMPORTS: list[tuple[Callable[..., Call], tuple[Any, ...]]] = [
    (functions.mirror.keep_documents, (json.dumps(json.loads(documents(1))[:1]),)),
    (functions.mirror.import_documents, (documents(1), None, False)),
    (functions.mirror.import_documents, (documents(1), None, True)),
    (functions.mirror.import_documents, (documents(0), "db", False)),
    (functions.mirror.import_links, (links(), None, False)),
    (functions.credentials.import_credentials, ({okx_uid(USERS + n): SEALED for n in range(len(SOME))},)),
]


@pytest.fixture(scope="module")
def url(servers: Config, template: str) -> Iterator[str]:
    """The URL of a database with users whose every key is marked; no test changes it."""
    assert servers.database_url
    with janitor(servers.database_url, f"test_{template}_s", template) as database:
        found = make_conninfo(servers.database_url, dbname=database.dbname)
        with psycopg.connect(found, autocommit=True) as connection:
            connection.execute(crowd.SETTINGS)
            connection.execute(crowd.FUNCTIONS.encode())
            for table in TABLES:
                connection.execute(f"alter table {table} set (autovacuum_enabled = off)".encode())
            for rows in ROWS:
                types = ", setting_types t" if "t.setting_type" in rows else ""
                connection.execute(f"insert into {rows} from generate_series(0, {USERS - 1}) n{types}".encode())
            connection.execute(b"analyze")
        yield found


@pytest.fixture
def explained(url: str) -> Iterator[Connection]:
    with plans.explaining(url) as connection:
        yield connection


@pytest.mark.parametrize("mode", plans.MODES)
@pytest.mark.parametrize(
    ("function", "arguments", "statistics"),
    [(*call, name) for call in CALLS for name in STATISTICS]
    + [(*call, name) for call in IMPORTS for name in ("none", "of few rows")],
)
def test_no_plan_depends_on_statistics(
    explained: Connection, function: Callable[..., Call], arguments: tuple[Any, ...], statistics: str, mode: str
) -> None:
    handled = plans.rows_handled(explained, function(*arguments), mode, STATISTICS[statistics])
    assert handled
    assert {query: rows for query, rows in handled.items() if rows > ENOUGH} == {}


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("call", [functions.mirror.retry_pending(), functions.mirror.pending_lag()])
def test_what_is_about_all_marks_reads_them_once(explained: Connection, call: Call, statistics: str) -> None:
    marks = 3 * USERS
    before = f"{STATISTICS[statistics]}; update mirror_pending set last_error = 'refused'"
    handled = plans.rows_handled(explained, call, plans.MODES[1], before)
    assert marks <= max(handled.values()) <= 10 * marks
