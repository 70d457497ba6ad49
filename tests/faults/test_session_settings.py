"""No setting of a session, whoever made it, changes what the store does: each is made hostile in each way there is."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from store import Config, NotPermitted, SettingsStore, TimescalePool, TimescaleUserService
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.encryption.vault import Vault, generate_key
from store.files.backup import backup, restore_backup
from store.postgres import migrate
from store.postgres.call import Call
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.servers.topologies.pooler import pooler

pytestmark = pytest.mark.slow

HOSTILE = {
    "datestyle": "German, DMY",
    "intervalstyle": "iso_8601",
    "client_encoding": "EUC_KR",
    "bytea_output": "escape",
    "timezone": "Asia/Seoul",
    "search_path": "pg_catalog",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "idle_in_transaction_session_timeout": "200",
}
TEXT = "🚀 한국어 \\d+ 'quoted'"
MOMENT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
TRADE = {
    "symbol": "BTC", "side": "long", "entry_time": "2026-11-22T10:00:00Z", "entry_price": 1, "entry_size": 1,
    "exit_time": "2026-11-22T11:00:00Z", "exit_price": 1, "exit_size": 1, "realized_pnl": 1.5, "exit_order_id": "1",
}  # fmt: skip
CANDLES = b"ts,symbol,open,high,low,close,volume\n2026-01-02T00:00Z,BTC,1,3,1,2,9\n"
Db = psycopg.Connection[dict[str, Any]]


async def tour(config: Config, redis: redis_py.Redis, db: Db, folder: Path) -> list[Any]:
    """Use every part of the store; return what it says, but for what differs from run to run."""
    async with SettingsStore(replace(config, vault=Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()}))) as store:
        await store.register(OKX_UID, TELEGRAM_ID, name=TEXT)
        await store.save(OKX_UID, "params", {"leverage": 3, "note": TEXT}, actor=TEXT, reason=TEXT)
        await asyncio.gather(*(store.patch(OKX_UID, "params", {f"k{n}": n}) for n in range(10)))
        found = await store.get(OKX_UID, "params", source="db")
        assert found is not None
        assert abs(datetime.now(UTC) - found.updated_at) < timedelta(minutes=5)
        versions = await store.history(OKX_UID, "params")
        now = await store.get_at(OKX_UID, "params", datetime.now(UTC))
        assert now is not None
        await store.rollback(OKX_UID, "params", 2)
        await store.rollback_all(OKX_UID, versions[-2].saved_at)
        await store.save_credentials(OKX_UID, "a", "b", "c")
        for _ in range(2):
            await store.record_trade(OKX_UID, TRADE)
        (trade,) = [trade async for trade in store.trades(OKX_UID)]
        (figures,) = await store.trade_statistics(OKX_UID)
        await store.import_candles(io.BytesIO(CANDLES), "1m")
        candles = [candle.ts async for candle in store.candles("BTC", "1m")]
        redis.hset(f"user:{OKX_UID}:preferences", "note", TEXT)
        await Sync(store._connections).run()
        db.execute("select patch_user_setting(%s, 'params', %s)", (OKX_UID, json.dumps({"note": TEXT * 2})))
        await Relay(store._connections).once()
        report = await verify(store._connections)
        await store.prune(keep=1, older_than=timedelta(0))
        with (folder / "backup").open("wb") as file:
            await backup(store, file)
        restored = await restore_backup(store, folder / "backup", replace=True)
        return [
            (found.settings, found.version, len(versions), versions[-2].changed_by, now.settings, restored.versions),
            (trade.entry_time, figures.average_holding, figures.net_pnl, candles),
            (report.findings, (await verify(store._connections)).findings),
            [hit.settings for hit in await store.search("params", {"note": TEXT * 2})],
        ]


@pytest.fixture
async def expected(servers: Config, other_database_url: str, redis: redis_py.Redis, tmp_path: Path) -> list[Any]:
    """What the tour says on another database, whose settings are as PostgreSQL has them."""
    with psycopg.connect(other_database_url, autocommit=True, row_factory=dict_row) as db:
        found = await tour(replace(servers, database_url=other_database_url), redis, db, tmp_path)
    redis.flushall()
    return found


def by_pgoptions(url: str, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> str:
    """By the environment; what libpq has variables for, by these."""
    variables = {"datestyle": "PGDATESTYLE", "timezone": "PGTZ", "client_encoding": "PGCLIENTENCODING"}
    for name, variable in variables.items():
        if name in settings:
            monkeypatch.setenv(variable, settings[name])
    monkeypatch.setenv("PGOPTIONS", options({k: v for k, v in settings.items() if k not in variables}))
    return url


def by_url(url: str, _: pytest.MonkeyPatch, settings: dict[str, str]) -> str:
    encoding = settings.get("client_encoding", "UTF8")
    return make_conninfo(url, options=options(settings), client_encoding=encoding)


def by_database(url: str, _: pytest.MonkeyPatch, settings: dict[str, str]) -> str:
    alter(url, f"alter database {conninfo_to_dict(url)['dbname']}", settings)
    return url


def by_role(url: str, _: pytest.MonkeyPatch, settings: dict[str, str]) -> str:
    name = f"hostile_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"create role {name} superuser login".encode())
    alter(url, f"alter role {name} in database {conninfo_to_dict(url)['dbname']}", settings)  # goes with the database
    return make_conninfo(url, user=name)


def alter(url: str, whom: str, settings: dict[str, str]) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        for name, value in settings.items():
            value = value if name == "datestyle" else f"'{value}'"
            db.execute(f"{whom} set {name} = {value}".encode())


def options(settings: dict[str, str]) -> str:
    return " ".join(f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items())


WAYS = [by_pgoptions, by_url, by_database, by_role]


@pytest.mark.parametrize("way", WAYS)
async def test_everything_works_whatever_is_set(
    way: Callable[..., str],
    config: Config,
    db: Db,
    redis: redis_py.Redis,
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    url = way(config.database_url, monkeypatch, HOSTILE)
    assert migrate.migrate(url) == []
    assert migrate.status(url).is_current
    assert await tour(replace(config, database_url=url), redis, db, tmp_path) == expected


@pytest.mark.pgbouncer
@pytest.mark.parametrize("is_by_database", [True, False], ids=["alter database", "PGDATESTYLE and PGTZ"])
async def test_everything_works_behind_a_pooler_whatever_is_set(
    is_by_database: bool,
    config: Config,
    db: Db,
    redis: redis_py.Redis,
    expected: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if is_by_database:
        by_database(config.database_url or "", monkeypatch, HOSTILE)
    else:
        by_pgoptions("", monkeypatch, {name: HOSTILE[name] for name in ("datestyle", "timezone", "client_encoding")})
        monkeypatch.delenv("PGOPTIONS")  # which pgbouncer refuses
    with pooler(config.database_url or "", 3) as url:
        assert migrate.migrate(url) == []
        assert migrate.status(url).is_current
        assert await tour(replace(config, database_url=url), redis, db, tmp_path) == expected
        with psycopg.connect(url, autocommit=True) as other:  # nothing of ours is left for others on these connections
            for name, value in (("lock_timeout", "0"), ("search_path", HOSTILE["search_path"])):
                found = other.execute("select current_setting(%s)", (name,)).fetchone()
                assert found is not None
                assert found[0] == (value if is_by_database or name == "lock_timeout" else '"$user", public')


@pytest.mark.parametrize("name", HOSTILE)
async def test_each_setting_by_itself_changes_nothing(
    name: str, config: Config, db: Db, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = by_database(config.database_url or "", monkeypatch, {name: HOSTILE[name]})
    await tour(replace(config, database_url=url), redis, db, tmp_path)
    assert migrate.status(url).is_current


COMMANDS = [
    f"get {OKX_UID}", f"set {OKX_UID} params leverage=4", f"history {OKX_UID} params", f"user find {OKX_UID}",
    "user list",
    f"export {OKX_UID}", "search params leverage=4", "status", "status --check", "migrate status", "migrate", "verify",
    "sync", "relay --once", "prune --keep 1 --older-than 0 --dry-run",
    f"trades list {OKX_UID}", f"trades stats {OKX_UID}",
    f"diff {OKX_UID} params 1 2", f"rollback {OKX_UID} params 1", f"delete {OKX_UID} params",
]  # fmt: skip


def test_every_command_works_whatever_is_set(
    config: Config, monkeypatch: pytest.MonkeyPatch, redis: redis_py.Redis
) -> None:
    cli = Cli(environment(config), is_inside=True)
    cli("register", OKX_UID, "--telegram-id", TELEGRAM_ID, "--name", "Kim")
    cli("relay", "--once")
    cli.env["DATABASE_URL"] = by_role(config.database_url or "", monkeypatch, HOSTILE)
    for line in COMMANDS:
        result = cli.run(*line.split())
        assert (result.code, "Error" in result.err) == (0, False), (line, result)


async def test_the_predecessors_calls_work_whatever_is_set(
    config: Config, monkeypatch: pytest.MonkeyPatch, redis: redis_py.Redis
) -> None:
    settings = HOSTILE | {"search_path": "public"}  # the caller's SQL has the caller's settings
    monkeypatch.setenv("DATABASE_URL", by_role(config.database_url or "", monkeypatch, settings))
    monkeypatch.setenv("REDIS_URL", config.redis_url or "")
    try:
        assert await TimescaleUserService().ensure_user_exists(OKX_UID) is not None
        async with TimescalePool.acquire() as conn:
            row = await conn.fetchrow("select created_at, interval '90 minutes' as a from app_users")
            assert row is not None
            assert (row["a"], row["created_at"].tzname()) == (timedelta(minutes=90), "UTC")  # as asyncpg has it
            level = await conn.fetchval("show transaction_isolation")
            assert level == "serializable"
    finally:
        await TimescalePool.close_pool()


async def test_the_options_of_the_user_stay(config: Config, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    """A confinement comes by them."""
    monkeypatch.setenv("PGOPTIONS", f"-c settings_store.okx_uid={OKX_UID} -c settings_store.actor=ops")
    async with SettingsStore(config) as store:
        assert (await store.patch(OKX_UID, "params", {"leverage": 3})).version == 2
        with pytest.raises(NotPermitted):
            await store.get("1000000000000001", "params", source="db")
        rows = await store._connections.database.fetch(
            Call("select current_setting('settings_store.okx_uid') as uid", {})
        )
        assert rows[0]["uid"] == OKX_UID


NAMES = (
    "select application_name as name from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
)


async def test_who_is_connected_shows(config: Config, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    async def shown(url: str | None, application: str) -> str:
        given = replace(config, database_url=url, application=application)
        async with SettingsStore(given) as store:
            await store.find_user(OKX_UID)
            (row,) = db.execute(NAMES.encode()).fetchall()
            return str(row["name"])

    assert await shown(config.database_url, Config.application) == "settings-store python"
    assert await shown(config.database_url, "settings-store relay") == "settings-store relay"
    assert await shown(make_conninfo(config.database_url or "", application_name="bot 7"), "x") == "bot 7"
    monkeypatch.setenv("PGAPPNAME", "bot 8")
    assert await shown(config.database_url, "x") == "bot 8"
