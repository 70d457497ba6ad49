"""What saves and streams what it did: a template, which locks many users."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg

from store import SettingsStore
from tests.conftest import OKX_UID
from tests.faults.servers import eventually

Db = psycopg.Connection[dict[str, Any]]
FIRST = "1000000000000001"
LOCK = "select from app_users where okx_uid = %s for update"
WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def test_a_template_that_lost_in_a_deadlock_is_applied_all_the_same(
    store: SettingsStore, db: Db, connect: Callable[..., Db]
) -> None:
    await store.register(FIRST)
    name = db.info.dbname
    db.execute(f"alter database {name} set deadlock_timeout = '4s'".encode())
    rival = connect()
    rival.execute("set deadlock_timeout = '1min'")  # the other one finds out

    async def waits() -> bool:
        return bool(db.execute(WAITING).fetchall())

    async with SettingsStore(store.config) as other:
        rival.execute("begin")
        rival.execute(LOCK, (OKX_UID,))
        applying = asyncio.create_task(other.apply_template("default", "params", identifiers=[FIRST, OKX_UID]))
        await eventually(waits)
        await asyncio.to_thread(rival.execute, LOCK, (FIRST,))
        rival.execute("commit")
        assert {effect.okx_uid for effect in await applying} == {FIRST, OKX_UID}
