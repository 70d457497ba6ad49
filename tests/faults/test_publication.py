"""A publication of all tables, as another program's replication makes one: everything goes on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import SettingsStore, StoreError
from store.coherence.relay import Relay
from store.coherence.verify import verify
from store.files.backup import backup, restore_backup
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import RedisServer

Db = psycopg.Connection[dict[str, Any]]
PUBLISH = "create publication everything for all tables"
EDITED = '{"leverage": 99}'


def edit(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set(f"user:{OKX_UID}:settings", EDITED)


async def test_everything_works_while_all_tables_are_published(
    store: SettingsStore, db: Db, own_redis: RedisServer, tmp_path: Path
) -> None:
    db.execute(PUBLISH)
    for n in range(4):
        db.execute(
            "select upsert_user_setting(%s, 'params', jsonb_build_object('leverage', %s::integer))", (OKX_UID, n + 2)
        )
    edit(own_redis)
    assert (await Relay(store._connections).once()).failures == {}
    edit(own_redis)
    assert (await verify(store._connections, repair=True)).remaining == 0
    assert (await store.prune(1, timedelta(0)))["params"] > 0
    with (tmp_path / "backup").open("wb") as file:
        await backup(store, file)
    await restore_backup(store, tmp_path / "backup", replace=True)
    assert (await store.erase_user(TELEGRAM_ID)).okx_uid == OKX_UID
    assert not (await verify(store._connections)).findings


async def test_what_postgresql_refuses_is_named_by_verify_and_relay(
    store: SettingsStore, db: Db, own_redis: RedisServer
) -> None:
    """As where a table lacks its key all the same."""
    db.execute("alter table trigger_permits replica identity nothing")
    db.execute(PUBLISH)
    await Relay(store._connections).once()
    edit(own_redis)
    report = await verify(store._connections, repair=True)
    assert report.repaired == 0
    assert "replica identity" in report.failures[OKX_UID, "params"]
    db.execute("select upsert_user_setting(%s, 'params', '{}')", (OKX_UID,))
    assert "replica identity" in (await Relay(store._connections).once()).failures[OKX_UID, "params"]
    with pytest.raises(StoreError, match="replica identity"):
        await store.prune(1, timedelta(0))
    with pytest.raises(StoreError, match="replica identity"):
        await store.erase_user(OKX_UID)
