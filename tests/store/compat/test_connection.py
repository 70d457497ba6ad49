"""The calls of asyncpg on TimescalePool's connections; what is expected here is what asyncpg 0.32 gave."""

from __future__ import annotations

import asyncio
import ipaddress
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from store import DatabaseError, InvalidArgument, SettingsStore, StoreError
from store.compat.connection import Connection, Record
from store.compat.pool import Pool

SEOUL = timezone(timedelta(hours=9))
SOMEBODY = uuid.UUID("587662504768345929".zfill(32))


VALUES: list[tuple[str, list[Any], Any]] = [
    # What a value is
    ("select timestamptz '2026-01-02 03:04:05+09'", [], datetime(2026, 1, 1, 18, 4, 5, tzinfo=UTC)),
    ("select array[timestamptz '2026-01-02 03:04+09']", [], [datetime(2026, 1, 1, 18, 4, tzinfo=UTC)]),
    ("select timestamp '2026-01-02 03:04:05'", [], datetime(2026, 1, 2, 3, 4, 5)),
    ("select timestamptz 'infinity'", [], datetime.max),
    ("select timestamp '-infinity'", [], datetime.min),
    ("select date 'infinity'", [], date.max),
    ("select interval '1 year 2 mons 3 days 04:05'", [], timedelta(days=428, hours=4, minutes=5)),
    ("select '{\"a\": 1}'::json", [], '{"a": 1}'),
    ("select array['{\"a\": 1}'::jsonb]", [], ['{"a": 1}']),
    ("select E'\\\\x00ff'::bytea", [], b"\0\xff"),
    ("select 'a'::\"char\"", [], b"a"),
    ("select pg_sleep(0)", [], None),
    ("select array[[1, 2], [3, null]]", [], [[1, 2], [3, None]]),
    ("select '1.2.3.4'::inet", [], ipaddress.ip_address("1.2.3.4")),
    ("select '100% $1 %s'", [], "100% $1 %s"),
    # What a placeholder takes: its type is told by its place
    ("select $2::text || $1::text || $2", ["a", "b"], "bab"),
    ("select round($1, 2)", [1.5], Decimal("1.50")),
    ("select round($1, 1)", [Decimal("1.25")], Decimal("1.3")),
    ("select pg_typeof($1::bigint)::text || $1", [2**62], "bigint4611686018427387904"),
    ("select $1::int", [True], 1),
    ("select not $1", [False], True),
    ("select coalesce($1, 'd')", [None], "d"),
    ("select $1::uuid", [str(SOMEBODY)], SOMEBODY),
    ("select 'x' = any($1)", [("x", "y")], True),
    ("select 5 = any($1)", [{5}], True),
    ("select $1::uuid[]", [[SOMEBODY, None]], [SOMEBODY, None]),
    ("select $1::numeric[]", [[Decimal("1.5"), 2]], [Decimal("1.5"), Decimal(2)]),
    ("select $1::text[]", [['a,"b\\', ""]], ['a,"b\\', ""]),
    ("select $1::int[]", [[]], []),
    ("select jsonb_set('{}', $1, $2)", [["a"], "5"], '{"a": 5}'),
    ("select '{\"a\": {\"b\": 3}}'::jsonb #>> $1", [["a", "b"]], "3"),
    ("select to_timestamp($1)", [1.5], datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=UTC)),
    ("select make_interval(days => $1)", [3], timedelta(days=3)),
    ("select $1::interval", [timedelta(days=-1, seconds=5, microseconds=7)], timedelta(days=-1, seconds=5.000007)),
    ("select $1::timestamptz", [datetime(2026, 1, 2, 3, tzinfo=SEOUL)], datetime(2026, 1, 1, 18, tzinfo=UTC)),
    ("select $1::timestamptz", [datetime(2026, 1, 2, 3)], datetime(2026, 1, 2, 3).astimezone(UTC)),
    ("select $1::timestamptz", [date(2026, 1, 2)], datetime(2026, 1, 2).astimezone(UTC)),
    ("select $1::timestamp", [datetime(2026, 1, 2, 3)], datetime(2026, 1, 2, 3)),
    ("select $1::date", [datetime(2026, 1, 2, 3)], date(2026, 1, 2)),
    ("select $1::date", [date(2026, 1, 2)], date(2026, 1, 2)),
    ("select $1::timestamp::text", [datetime.max], "infinity"),
    ("select $1::timetz", [time(10, 11, tzinfo=SEOUL)], time(10, 11, tzinfo=SEOUL)),
    ("select $1::bytea", [b"\0\xff"], b"\0\xff"),
]  # fmt: skip

REFUSED: list[tuple[str, list[Any], str]] = [
    ("select $1::int", ["s3cr3t"], "22P02"),
    ("select $1::jsonb", ["s3cr3t"], "22P02"),
    ("select $1::jsonb", [{"a": 1}], "type"),
    ("select * from nowhere", [], '"nowhere" does not exist'),
    ("select nothing(1)", [], "does not exist"),
    ("copy t to stdout", [], "COPY"),
    ("select $1 is null", [None], "could not determine"),
    ("select $1::text", [], "no parameter"),
]


@pytest.fixture
async def pool(store: SettingsStore) -> Pool:
    """A pool of the test's store."""
    return Pool(store)


@pytest.fixture
async def conn(pool: Pool) -> AsyncIterator[Connection]:
    """A connection whose session isn't in UTC, with a table of its own."""
    async with pool.acquire() as connection:
        await connection.execute("set timezone = 'Asia/Seoul'; create temp table t (i int primary key, n numeric)")
        yield connection


async def test_a_row_is_a_sequence_of_values_that_have_names(conn: Connection) -> None:
    row: Any = await conn.fetchrow("select 1 as a, 'x' as b, 2 as a")
    first, second, third = row
    assert (first, second, third) == (1, "x", 2) == row == tuple(row.values())
    assert (row["b"], row["a"], row[0], row[-1], row[:2], len(row)) == ("x", 2, 1, 2, (1, "x"), 3)
    assert (list(row), list(row.keys()), list(row.items())) == (
        [1, "x", 2], ["a", "b", "a"], [("a", 1), ("b", "x"), ("a", 2)],
    )  # fmt: skip
    assert dict(row) == {**row} == {"a": 2, "b": "x"}
    assert ("a" in row, 1 in row, row.get("b"), row.get("z"), row.get("z", 5)) == (True, False, "x", None, 5)
    assert row == await conn.fetchrow("select 1 as c, 'x' as d, 2 as e") != await conn.fetchrow("select 1, 'x', 3")
    assert (hash(row), repr(row)) == (hash((1, "x", 2)), "<Record a=1 b='x' a=2>")
    assert row != {"a": 2, "b": "x"}
    with pytest.raises(KeyError, match="z"):
        _ = row["z"]
    with pytest.raises(IndexError):
        _ = row[3]


async def test_values_are_as_asyncpg_has_them(conn: Connection) -> None:
    def told(value: Any) -> tuple[Any, ...]:
        return value, type(value), getattr(value, "tzinfo", None)

    found = [(query, told(await conn.fetchval(query, *arguments))) for query, arguments, _ in VALUES]
    assert found == [(query, told(expected)) for query, _, expected in VALUES]


async def test_what_postgresql_does_not_take_is_an_error_of_ours(conn: Connection) -> None:
    for query, arguments, why in REFUSED:
        with pytest.raises(StoreError, match=why) as caught:
            await conn.fetch(query, *arguments)
        assert "s3cr3t" not in f"{caught.value!r} {caught.value.detail} {caught.value.hint}"
    assert await conn.fetchval("select 1") == 1


async def test_a_status_is_that_of_the_last_statement(conn: Connection) -> None:
    assert await conn.execute("insert into t values ($1, $2), (2, null)", 1, 0.1) == "INSERT 0 2"
    assert await conn.execute("select 1; update t set i = i where i = 1") == "UPDATE 1"
    assert await conn.fetch("select i, n from t order by i") == [(1, Decimal("0.1")), (2, None)]


async def test_many_are_executed_as_a_whole(conn: Connection) -> None:
    await conn.executemany("insert into t values ($1, $2)", ((i, str(i)) for i in range(3)))
    await conn.executemany("insert into t values ($1, $2)", [])
    with pytest.raises(DatabaseError, match="division by zero"):
        await conn.executemany("insert into t values ($1, 1 / ($1::int - 5))", [(4,), (5,)], timeout=5)
    assert [row["i"] for row in await conn.fetch("select i from t")] == [0, 1, 2]


async def test_a_cursor_reads_in_portions_within_a_transaction(conn: Connection) -> None:
    numbers = "select i from generate_series($1, 9) i"
    async with conn.transaction():
        assert [row["i"] async for row in conn.cursor(numbers, 1, prefetch=4)] == list(range(1, 10))
        first, second = await conn.cursor(numbers, 1), await conn.cursor(numbers, 5)
        assert (await first.fetchrow(), await second.fetch(2), await first.forward(3)) == ((1,), [(5,), (6,)], 3)
        assert (await first.fetchrow(), await first.forward(9), await first.fetchrow()) == ((5,), 4, None)
        assert await first.fetch(1) == []
        with pytest.raises(InvalidArgument):
            await second.fetch(0)
    with pytest.raises(DatabaseError, match="transaction"):
        await conn.cursor(numbers, 1)


async def test_transactions_are_begun_and_ended_one_by_one_too(conn: Connection) -> None:
    for i, end in enumerate(("commit", "rollback", "commit")):
        transaction = conn.transaction()
        await transaction.start()
        with pytest.raises(InvalidArgument, match="before"):
            await transaction.start()
        async with conn.transaction():
            await conn.execute("insert into t values ($1)", i)
        inner = conn.transaction()
        await inner.start()
        await conn.execute("insert into t values (9)")
        await inner.rollback()
        await getattr(transaction, end)()
        with pytest.raises(InvalidArgument, match="not under way"):
            await getattr(transaction, end)()
    assert await conn.fetch("select i from t order by i") == [(0,), (2,)]
    async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
        assert conn.is_in_transaction()
        assert await conn.fetchval("select current_setting('transaction_isolation')") == "serializable"
        assert await conn.fetchval("select current_setting('transaction_read_only')") == "on"
        with pytest.raises(DatabaseError, match="must be called before any query"):
            await conn.transaction(isolation="repeatable_read").start()
    assert not conn.is_in_transaction()
    with pytest.raises(InvalidArgument, match="isolation"):
        conn.transaction(isolation="whatever")


async def test_what_is_refused_as_a_transaction_ends_is_an_error_of_ours(conn: Connection) -> None:
    await conn.execute("create temp table r (i int references t deferrable initially deferred)")
    with pytest.raises(DatabaseError, match="foreign key"):
        async with conn.transaction():
            await conn.execute("insert into r values (1)")
    assert await conn.fetchval("select count(*) from r") == 0


async def test_a_timeout_ends_the_statement_and_nothing_else(conn: Connection) -> None:
    for call in (conn.execute, conn.fetch, conn.fetchrow, conn.fetchval):
        with pytest.raises(asyncio.TimeoutError):
            await call("select pg_sleep(60)", timeout=0.05)
    assert await conn.fetchval("select 1", timeout=60) == 1


async def test_a_connection_is_lent_until_it_is_released(pool: Pool) -> None:
    lent = [await pool.acquire() for _ in range(pool.get_max_size())]
    with pytest.raises(asyncio.TimeoutError):
        await pool.acquire(timeout=0.05)
    await lent[0].execute("begin; set application_name = 'left'")
    pid = await lent[0].fetchval("select pg_backend_pid()")
    await pool.release(lent[0])
    with pytest.raises(InvalidArgument, match="given back"):
        await lent[0].fetch("select 1")
    async with pool.acquire(timeout=60) as again:
        await pool.release(lent[0])  # takes it from nobody
        assert await again.fetchval("select pg_backend_pid()") == pid
        assert await again.fetchval("show application_name") != "left"
        assert not again.is_in_transaction()
    for connection in lent:
        await pool.release(connection)


async def test_the_pool_takes_the_calls_of_a_connection(pool: Pool) -> None:
    await pool.execute("create table numbers (i int)")
    await pool.executemany("insert into numbers values ($1)", [(1,), (2,)])
    rows = await pool.fetch("select i from numbers order by i")
    assert rows == [(1,), (2,)]
    assert isinstance(rows[0], Record)
    assert await pool.fetchrow("select i from numbers where i = $1", 2) == (2,)
    assert await pool.fetchval("select $1::int, i from numbers where i = 1", 7, column=1) == 1
