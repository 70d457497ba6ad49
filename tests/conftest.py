"""Real servers for every test: a template database a session, a database and an emptied Redis a test.

TEST_DATABASE_URL and TEST_REDIS_URL (a Redis whose data may be flushed) choose other servers, TEST_POSTGRES_BIN other
programs to start one of; without them, embedded ones are started in a temporary folder. TEST_POOLER=1 has the stores
connect through pgbouncer. tests/servers/stacks/ runs it all on Debian's. Workers of pytest-xdist have servers each:
WORKERS=0 where the URLs are given.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from pytest_postgresql.janitor import DatabaseJanitor

from store import Config, SettingsStore
from store.operations import embedded
from store.postgres import migrate
from tests.helpers.databases import Databases
from tests.servers.stacks import postgres

OKX_UID = "587662504768345929"
TELEGRAM_ID = "1709556958"

PATIENCE = 5.0  # seconds that Redis may take, on a machine where every core is busy

Rows = list[dict[str, Any]]

SLOWEST = (
    "test_hostile_functions", "test_there_and_back", "test_migrate", "test_hostile_calls", "test_run", "test_kill",
    "test_plans", "test_servers", "test_wheel", "test_health",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slowest modules: a worker that got one last would keep the others waiting."""
    items.sort(key=lambda item: SLOWEST.index(item.path.stem) if item.path.stem in SLOWEST else len(SLOWEST))


@pytest.fixture(scope="session")
def servers() -> Iterator[Config]:
    """The URLs of a PostgreSQL where databases may be created and of a Redis that may be flushed."""
    home = Path(tempfile.mkdtemp(prefix="settings-store-test-"))
    given, given_redis = os.environ.get("TEST_DATABASE_URL"), os.environ.get("TEST_REDIS_URL")
    if "PYTEST_XDIST_WORKER" in os.environ and (given or given_redis):
        raise pytest.UsageError("TEST_DATABASE_URL and TEST_REDIS_URL are one server each: WORKERS=0")
    database_url = given or postgres.start(home)
    redis_url = given_redis or embedded.start_redis(home)
    if not given:
        postgres.hurry(database_url)
    yield Config(database_url, redis_url, home=home, redis_timeout=PATIENCE)
    postgres.stop(home)
    embedded.stop(Config(home=home))
    shutil.rmtree(home)


class _Janitor(DatabaseJanitor):
    """Clones by copying files, a fifth of the work of writing every page to the log, and drops by force."""

    def init(self) -> None:
        statement = sql.SQL("create database {} template {} strategy file_copy")
        with self.cursor() as cursor:
            cursor.execute(
                statement.format(sql.Identifier(self.dbname), sql.Identifier(self.template_dbname or "template1"))
            )

    def drop(self) -> None:
        with self.cursor() as cursor:
            cursor.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(self.dbname)))


def janitor(url: str, name: str, template: str | None = None) -> DatabaseJanitor:
    """Make a database, a clone of the template, for as long as the context lasts."""
    at = conninfo_to_dict(url)
    return _Janitor(
        user=str(at.get("user", "postgres")),
        password=at.get("password") and str(at["password"]),  # type: ignore[arg-type]
        host=str(at.get("host", "localhost")),
        port=str(at.get("port", 5432)),
        dbname=name,
        template_dbname=template,
    )


@pytest.fixture(scope="session")
def template(servers: Config) -> Iterator[str]:
    """The name of a migrated database, to be cloned."""
    assert servers.database_url
    with janitor(servers.database_url, f"template_{uuid.uuid4().hex[:12]}") as database:
        url = make_conninfo(servers.database_url, dbname=database.dbname)
        postgres.install_timescaledb(url)
        migrate.migrate(url)
        yield database.dbname


@pytest.fixture
def bare_database_url(servers: Config) -> Iterator[str]:
    """The URL of a database as PostgreSQL makes it, also where TimescaleDB is at hand."""
    assert servers.database_url
    with janitor(servers.database_url, f"test_{uuid.uuid4().hex[:12]}") as database:
        yield make_conninfo(servers.database_url, dbname=database.dbname)


@pytest.fixture
def empty_database_url(bare_database_url: str) -> str:
    """The URL of a database with nothing of ours in it."""
    postgres.install_timescaledb(bare_database_url)
    return bare_database_url


@pytest.fixture(scope="session")
def databases(servers: Config, template: str) -> Iterator[Databases]:
    """Migrated databases. A pooler would keep its connections to those of tests before."""
    assert servers.database_url
    lent = Databases(servers.database_url, template, janitor, is_reusing="TEST_POOLER" not in os.environ)
    yield lent
    lent.drop()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    with databases.one() as url:
        yield url


@pytest.fixture(scope="session")
def pooled_url(servers: Config) -> Iterator[str | None]:
    """The URL of the server through pgbouncer, if TEST_POOLER says so."""
    if "TEST_POOLER" not in os.environ:
        yield None
        return
    from tests.servers.topologies.pooler import pooler

    assert servers.database_url
    with pooler(servers.database_url, 20) as url:
        yield url


@pytest.fixture
def store_url(database_url: str, pooled_url: str | None) -> str:
    """The URL that stores have of the test's database: what tests look at themselves they look at directly."""
    return make_conninfo(pooled_url, dbname=conninfo_to_dict(database_url)["dbname"]) if pooled_url else database_url


@pytest.fixture
def other_database_url(databases: Databases) -> Iterator[str]:
    """The URL of a second migrated database, with nothing in it."""
    with databases.one() as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """An autocommit connection to the test's database; rows are dicts."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def connect(database_url: str) -> Iterator[Callable[..., psycopg.Connection[dict[str, Any]]]]:
    """Open further autocommit connections to the test's database; closed at the end."""
    opened: list[psycopg.Connection[dict[str, Any]]] = []

    def open_connection() -> psycopg.Connection[dict[str, Any]]:
        opened.append(psycopg.connect(database_url, autocommit=True, row_factory=dict_row))
        return opened[-1]

    yield open_connection
    for connection in opened:
        connection.close()


@pytest.fixture
def redis(servers: Config) -> Iterator[redis_py.Redis]:
    """A client of the test's Redis, which is empty."""
    assert servers.redis_url
    with redis_py.Redis.from_url(servers.redis_url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def config(servers: Config, store_url: str, redis: redis_py.Redis) -> Config:
    """The configuration of the test's database and Redis."""
    return replace(servers, database_url=store_url)


@pytest.fixture
async def store(config: Config) -> AsyncIterator[SettingsStore]:
    """An open store on the test's database and Redis."""
    async with SettingsStore(config) as opened:
        yield opened


@pytest.fixture
async def user(store: SettingsStore) -> str:
    """A registered user with the default documents; returns the OKX UID."""
    await store.register(OKX_UID, TELEGRAM_ID, name="Kim")
    return OKX_UID
