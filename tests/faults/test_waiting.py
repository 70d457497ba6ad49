"""A save that waits for somebody's open transaction gives up in time, says for whom, and leaves nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from store import Config, DatabaseBusy, SettingsStore
from store.encryption.vault import Vault, generate_key
from store.postgres import database, functions, migrate
from store.postgres.call import Call
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID
from tests.faults.servers import eventually

Db = psycopg.Connection[dict[str, Any]]
TABLES = ("app_users", "user_settings", "okx_api_info", "telegram_links", "mirror_pending", "trades")
TRADE = {
    "symbol": "BTC", "side": "long", "entry_time": "2026-11-22T10:00:00Z", "entry_price": 1, "entry_size": 1,
    "exit_time": "2026-11-22T11:00:00Z", "exit_price": 1, "exit_size": 1, "realized_pnl": 1.5, "exit_order_id": "1",
}  # fmt: skip
SAVES: dict[str, Callable[[SettingsStore], Any]] = {
    "save": lambda store: store.save(OKX_UID, "params", {"leverage": 3}),
    "patch": lambda store: store.patch(OKX_UID, "params", {"leverage": 3}),
    "save_all": lambda store: store.save_all(OKX_UID, {"params": {"leverage": 3}}),
    "delete": lambda store: store.delete(OKX_UID, "params"),
    "rollback": lambda store: store.rollback(OKX_UID, "params", 1),
    "restore": lambda store: store.restore(OKX_UID, "params"),
    "register": lambda store: store.register(OKX_UID, "99999"),
    "ensure_user": lambda store: store.ensure_user(OKX_UID, name="Lee"),
    "link": lambda store: store.link(OKX_UID, "99999"),
    "unlink": lambda store: store.unlink(OKX_UID),
    "delete_user": lambda store: store.delete_user(OKX_UID),
    "erase_user": lambda store: store.erase_user(OKX_UID),
    "save_credentials": lambda store: store.save_credentials(OKX_UID, "a", "b", "c"),
    "record_trade": lambda store: store.record_trade(OKX_UID, TRADE),
    "record_trades": lambda store: store.record_trades([{**TRADE, "okx_uid": OKX_UID}]),
}


@pytest.fixture
def config(config: Config) -> Config:
    """The test's configuration, without much patience."""
    return replace(config, db_lock_timeout=0.1, vault=Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()}))


@pytest.fixture
def holder(store: SettingsStore, user: str, connect: Callable[[], Db]) -> Db:
    """A connection with an open transaction that has changed the user and the settings."""
    held = connect()
    held.execute("set application_name = 'a forgotten psql'")
    held.execute("begin")
    held.execute("update app_users set name = 'x' where okx_uid = %s", (OKX_UID,))
    held.execute("update user_settings set change_reason = 'x' where okx_uid = %s and is_active", (OKX_UID,))
    held.execute("select from user_settings where okx_uid = %s for update", (OKX_UID,))
    return held


def content(db: Db) -> list[Any]:
    return [db.execute(f"select t::text from {table} t order by 1".encode()).fetchall() for table in TABLES]


@pytest.mark.parametrize("call", SAVES)
async def test_a_save_gives_up_names_who_it_waited_for_and_leaves_nothing(
    store: SettingsStore, holder: Db, db: Db, call: str
) -> None:
    before = content(db)
    with pytest.raises(DatabaseBusy, match=r"another transaction holds rows of (app_users|user_settings)") as caught:
        await SAVES[call](store)
    assert "nothing was done after 100ms of waiting" in str(caught.value)
    assert f"process {holder.info.backend_pid} (" in str(caught.value)
    assert "a forgotten psql" in str(caught.value)
    assert caught.value.exit_code == 3
    assert "DB_LOCK_TIMEOUT" in (caught.value.hint or "")
    assert content(db) == before
    holder.execute("rollback")
    if call != "restore":
        await SAVES[call](store)
    assert (await store._connections.database.fetch(Call("show lock_timeout", {})))[0]["lock_timeout"] == "0"


async def test_the_command_line_says_it_in_one_line_and_exit_code_3(config: Config, holder: Db) -> None:
    env = {**environment(config), "DB_LOCK_TIMEOUT": "0.1"}
    found = await asyncio.to_thread(Cli(env).fails, 3, "set", OKX_UID, "params", "leverage=4")
    assert "another transaction holds rows of user_settings" in found
    assert "a forgotten psql" in found


async def test_who_has_patience_waits(config: Config, holder: Db, db: Db) -> None:
    """Without a limit, and so do bulk jobs."""

    async def is_waiting() -> bool:
        pid = holder.info.backend_pid
        waiting = "select count(*) as n from pg_stat_activity where %s = any (pg_blocking_pids(pid))"
        row = db.execute(waiting.encode(), (pid,)).fetchone()
        return row is not None and row["n"] >= 1

    async with SettingsStore(replace(config, db_lock_timeout=0)) as patient:
        saving = asyncio.create_task(patient.patch(OKX_UID, "params", {"leverage": 4}))
        await eventually(is_waiting)
        holder.execute("rollback")
        assert (await saving).version == 2
    async with SettingsStore(config) as store, store._connections.database.transaction() as transaction:
        await transaction.fetch(functions.settings.patch_user_setting(OKX_UID, "params", {"leverage": 5}, None))
        assert (await transaction.fetch(Call("show lock_timeout", {})))[0]["lock_timeout"] == "0"


def test_an_interruption_stays_one_whatever_psycopg_makes_of_it() -> None:
    def clean_up() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            psycopg.connect("host=/nowhere")

    with pytest.raises(KeyboardInterrupt), migrate._translated():
        clean_up()
    with pytest.raises(KeyboardInterrupt), database.translated():
        clean_up()
