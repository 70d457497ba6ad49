"""Trades and candles on TimescaleDB and without: the same tables, the same results. `make test-timescale` runs those
that need the extension; they fail where it is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from store import Config
from store.errors import MigrationError
from store.operations import status
from store.postgres import migrate
from tests.conftest import OKX_UID, Rows
from tests.helpers.sessions import Connection, Session, fetch, one, refused, value
from tests.helpers.trades import T0, record, trade
from tests.migrations.dump import dump

TABLES = ("ohlcv_15m", "ohlcv_1d", "ohlcv_1h", "ohlcv_1m", "ohlcv_30m", "ohlcv_3m", "ohlcv_4h", "ohlcv_5m", "trades")
HYPERTABLES = "select hypertable_name as name from timescaledb_information.hypertables order by 1"
INTERVALS = "select hypertable_name as name, time_interval from timescaledb_information.dimensions"
CHECKOUT = Path(__file__).parents[3]
MIGRATE = "import sys; from store.postgres import migrate; migrate.migrate(sys.argv[1])"

timescale = pytest.mark.timescale


def fill(connection: Connection) -> None:
    """Write daily candles of three years and two symbols, with a gap, a candle a minute for two weeks, and trades."""
    fetch(connection, "select from ensure_user(%s)", (OKX_UID,))
    for number in range(5):
        moment = (T0 - timedelta(days=20 * number)).isoformat()
        record(connection, trade(number, entry_time=moment, exit_time=moment))
    fetch(
        connection,
        """
        insert into ohlcv_1d (ts, symbol, open, high, low, close, volume, complete)
        select t, s, n, n + 2, n - 0.5, n + 1, n * 10, t < '2026-02-01 00:00Z'
          from unnest(array['BTC-USDT-SWAP', 'ETH-USDT-SWAP']) s,
               generate_series(timestamptz '2023-01-04 00:00Z', '2026-02-01 00:00Z', '1 day') with ordinality g (t, n)
         where n not between 100 and 115""",
    )
    fetch(
        connection,
        """
        insert into ohlcv_1m (ts, symbol, open, high, low, close, volume, complete)
        select t, 'BTC-USDT-SWAP', n, n, n, n, n, true
          from generate_series(timestamptz '2026-01-01 00:00Z', '2026-01-15 00:00Z', '1 minute')
               with ordinality g (t, n)""",
    )


def content(connection: Connection) -> list[Rows]:
    """Everything in the tables and in the weekly view."""
    tables = ("ohlcv_1d", "ohlcv_1m", "ohlcv_1w", "trades")
    return [fetch(connection, f"select * from {table} order by 1, 2") for table in tables]


def chunks(connection: Connection, table: str) -> int:
    found = value(
        connection, "select count(*) from timescaledb_information.chunks where hypertable_name = %s", (table,)
    )
    assert isinstance(found, int)
    return found


@pytest.fixture
def bare(bare_database_url: str) -> Iterator[Connection]:
    """A session in a migrated database with data, without the extension."""
    migrate.migrate(bare_database_url)
    with psycopg.connect(bare_database_url, autocommit=True, row_factory=dict_row) as connection:
        fill(connection)
        yield connection


# -- with and without the extension


def test_weeks_begin_on_monday_utc_and_are_complete_with_seven_days(db: Connection) -> None:
    fetch(db, "set timezone = 'America/New_York'")
    for day, (opened, closed, complete) in {
        "2025-12-28": (1, 2, True),  # a Sunday
        **{f"2025-12-{n}": (n, n + 0.5, True) for n in (29, 30, 31)},
        **{f"2026-01-0{n}": (n, n + 0.5, True) for n in (1, 2, 3, 4)},
        "2026-01-05": (7, 8, False),
    }.items():
        row = (f"{day} 00:00Z", "BTC", opened, 40, 0.5, closed, 10, complete)
        fetch(db, "insert into ohlcv_1d (ts, symbol, open, high, low, close, volume, complete)"
                  " values (%s, %s, %s, %s, %s, %s, %s, %s)", row)  # fmt: skip
    fetch(db, "set timezone = 'UTC'")
    rows = fetch(
        db, "select to_char(ts, 'YYYY-MM-DD HH24:MI') as week, open, close, volume, complete from ohlcv_1w order by ts"
    )
    assert [tuple(map(str, row.values())) for row in rows] == [
        ("2025-12-22 00:00", "1", "2", "10", "False"),
        ("2025-12-29 00:00", "29", "4.5", "70", "True"),
        ("2026-01-05 00:00", "7", "8", "10", "False"),
    ]


@pytest.mark.parametrize(
    "row",
    ["('app_users', 'created_at', '1 day')", "('ohlcv_1m; drop', 'ts', '1 day')", "('ohlcv_2m', 'ts', '0')",
     "('ohlcv_2m', 'ts', '-1 day')"],
)  # fmt: skip
def test_only_trades_and_candles_are_arranged_and_only_by_times_above_zero(db: Connection, row: str) -> None:
    with refused("23514"):
        fetch(db, f"insert into hypertable_settings (table_name, time_column, chunk_interval) values {row}")
    for column in ("compress_after", "drop_after"):
        with refused("23514"):
            fetch(db, f"update hypertable_settings set {column} = '0'")


def test_a_table_that_is_not_there_is_passed_over(db: Connection) -> None:
    fetch(
        db,
        "insert into hypertable_settings (table_name, time_column, chunk_interval) values ('ohlcv_2h', 'ts', '1 day')",
    )
    fetch(db, "select arrange_hypertables()")


async def test_status_says_what_is_used_of_timescaledb(
    bare: Connection, config: Config, bare_database_url: str
) -> None:
    found = await status.gather(replace(config, database_url=bare_database_url))
    assert found["postgresql"]["timescaledb"] is None
    assert dict(status.lines(found))["TimescaleDB"] == "not installed; ordinary tables"


# -- with it


@timescale
def test_trades_and_candles_are_hypertables(db: Connection) -> None:
    assert [row["name"] for row in fetch(db, HYPERTABLES)] == sorted(TABLES)
    wanted = {
        row["name"]: row["chunk_interval"] for row in fetch(db, "select table_name as name, * from hypertable_settings")
    }
    assert {row["name"]: row["time_interval"] for row in fetch(db, INTERVALS)} == wanted


@timescale
async def test_status_tells_what_the_licence_leaves_out(config: Config) -> None:
    found = await status.gather(config)
    told = found["postgresql"]["timescaledb"]
    version = told["version"]
    expected = {"version": version, "licence": "apache", "hypertables": 9, "tables": 9}
    assert told == {**expected, "skipped": ["compression", "retention"], "failed_jobs": [], "unreadable_chunks": 0}
    assert dict(status.lines(found))["TimescaleDB"] == (
        f"{version}, licence apache, 9 of 9 hypertables;"
        " compression and retention: skipped, needs the Timescale licence"
    )


@timescale
def test_what_the_licence_leaves_out_is_passed_over(db: Connection, database_url: str) -> None:
    fetch(db, "update hypertable_settings set compress_after = '1 day', drop_after = '2 days'")
    migrate.migrate(database_url)
    assert fetch(db, "select from timescaledb_information.jobs where hypertable_schema = 'public'") == []


@timescale
async def test_the_extension_may_come_later_and_migrate_moves_the_rows(
    bare: Connection, bare_database_url: str, config: Config
) -> None:
    before, shape = content(bare), dump(bare_database_url)
    with psycopg.connect(bare_database_url, autocommit=True) as operator:
        operator.execute("create extension timescaledb")
    found = await status.gather(replace(config, database_url=bare_database_url))
    assert "0 of 9 hypertables — run: settings-store migrate" in dict(status.lines(found))["TimescaleDB"]
    migrate.migrate(bare_database_url)
    assert [row["name"] for row in fetch(bare, HYPERTABLES)] == sorted(TABLES)
    assert (chunks(bare, "ohlcv_1m"), chunks(bare, "trades")) == (3, 4)
    assert value(bare, "select count(*) from only ohlcv_1m") == 0
    assert content(bare) == before
    assert dump(bare_database_url) == shape
    assert migrate.status(bare_database_url).is_current


@timescale
def test_the_extension_may_lie_in_a_schema_of_its_own(bare: Connection, bare_database_url: str) -> None:
    with psycopg.connect(bare_database_url, autocommit=True) as operator:
        operator.execute("create schema elsewhere")
        operator.execute("create extension timescaledb schema elsewhere")
    migrate.migrate(bare_database_url)
    assert [row["name"] for row in fetch(bare, HYPERTABLES)] == sorted(TABLES)
    fetch(bare, "update hypertable_settings set chunk_interval = '1 day' where table_name = 'ohlcv_1m'")
    fetch(bare, "select arrange_hypertables()")
    assert one(bare, f"{INTERVALS} where hypertable_name = 'ohlcv_1m'")["time_interval"].days == 1


@timescale
def test_a_changed_interval_is_of_the_next_chunks(db: Connection, database_url: str) -> None:
    fill(db)
    before, made = content(db), chunks(db, "ohlcv_1m")
    fetch(db, "update hypertable_settings set chunk_interval = '1 day' where table_name = 'ohlcv_1m'")
    migrate.migrate(database_url)
    assert (content(db), chunks(db, "ohlcv_1m")) == (before, made)
    fetch(
        db,
        "insert into ohlcv_1m"
        " select ts + interval '60 days', symbol, open, high, low, close, volume, complete from ohlcv_1m",
    )
    assert chunks(db, "ohlcv_1m") >= made + 14


@timescale
def test_arranging_again_touches_nothing(db: Connection, database_url: str) -> None:
    fill(db)
    query = "select array_agg(xmin::text order by id) as x from _timescaledb_catalog.{}"
    catalog = [query.format(table) for table in ("hypertable", "dimension", "chunk")]
    before = [fetch(db, each) for each in catalog]
    for _ in range(2):
        migrate.migrate(database_url)
    assert [fetch(db, each) for each in catalog] == before


@timescale
def test_two_who_arrange_at_once_go_one_after_the_other(db: Connection, session: Callable[[], Session]) -> None:
    fetch(db, "update hypertable_settings set chunk_interval = '1 day' where table_name = 'ohlcv_1m'")
    first, second = session(), session()
    first.run("begin")
    first.run("select arrange_hypertables()")
    waiting = second.run_blocked("select arrange_hypertables()")
    first.run("commit")
    assert waiting.result(30)
    assert one(db, f"{INTERVALS} where hypertable_name = 'ohlcv_1m'")["time_interval"].days == 1


@timescale
def test_two_migrates_at_once_both_move_to_hypertables(bare: Connection, bare_database_url: str) -> None:
    before = content(bare)
    with psycopg.connect(bare_database_url, autocommit=True) as operator:
        operator.execute("create extension timescaledb")
    running = [subprocess.Popen([sys.executable, "-c", MIGRATE, bare_database_url]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert [row["name"] for row in fetch(bare, HYPERTABLES)] == sorted(TABLES)
    assert content(bare) == before


@timescale
def test_a_hypertable_that_cannot_be_made_is_named_and_migrate_can_be_repeated(
    bare: Connection, bare_database_url: str
) -> None:
    fetch(bare, "update hypertable_settings set time_column = 'nowhere' where table_name = 'ohlcv_3m'")
    with psycopg.connect(bare_database_url, autocommit=True) as operator:
        operator.execute("create extension timescaledb")
    with pytest.raises(MigrationError, match="nowhere"):
        migrate.migrate(bare_database_url)
    assert fetch(bare, HYPERTABLES) == []
    fetch(bare, "update hypertable_settings set time_column = 'ts' where table_name = 'ohlcv_3m'")
    migrate.migrate(bare_database_url)
    assert [row["name"] for row in fetch(bare, HYPERTABLES)] == sorted(TABLES)


@timescale
def test_the_documented_way_back_keeps_every_row_and_leaves_ordinary_tables(
    db: Connection, database_url: str, bare: Connection, bare_database_url: str
) -> None:
    fill(db)
    before = content(db)
    (script,) = re.findall(r"```sql\n(begin;.*?)```", (CHECKOUT / "docs" / "timescaledb.md").read_text(), re.DOTALL)
    with psycopg.connect(database_url, autocommit=True) as operator:
        operator.execute("set client_min_messages = error")
        operator.execute(script)
    assert migrate.migrate(database_url) == []
    assert dump(database_url) == dump(bare_database_url)
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as later:
        assert content(later) == before
        with refused("US005"):
            fetch(later, "delete from trades")


@timescale
def test_an_owner_who_is_no_superuser_arranges_them(db: Connection, bare_database_url: str) -> None:
    database = conninfo_to_dict(bare_database_url)["dbname"]
    name = f"owner_of_{database}"
    fetch(db, f"create role {name} login")
    try:
        with psycopg.connect(bare_database_url, autocommit=True) as operator:
            operator.execute("create extension timescaledb")
            operator.execute(f"alter database {database} owner to {name}".encode())
        migrate.migrate(make_conninfo(bare_database_url, user=name))
        with psycopg.connect(bare_database_url, autocommit=True, row_factory=dict_row) as operator:
            assert [row["name"] for row in fetch(operator, HYPERTABLES)] == sorted(TABLES)
            operator.execute("set role settings_admin")
            operator.execute("select save_hypertable_settings(s.table_name, '1 day') from hypertable_settings s")
            operator.execute("select arrange_hypertables()")
    finally:
        with psycopg.connect(bare_database_url, autocommit=True) as operator:
            operator.execute(f"reassign owned by {name} to current_user".encode())
            operator.execute(f"drop owned by {name}".encode())
        fetch(db, f"drop role {name}")
