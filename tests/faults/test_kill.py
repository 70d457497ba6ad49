"""A writer killed at any moment loses nothing it acknowledged, and Redis is brought up to PostgreSQL."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore
from store.coherence import relay
from store.models import Source
from tests.conftest import OKX_UID
from tests.faults.saver import KINDS
from tests.faults.servers import wait_until

pytestmark = pytest.mark.slow

KILLS = 20
ROOT = Path(__file__).parents[2]
Db = psycopg.Connection[dict[str, Any]]
Acknowledged = tuple[str, int, int]  # type, version, the number saved


def save_until_killed(config: Config, chance: random.Random, first: int) -> list[Acknowledged]:
    """Run a saver, kill it at some moment, and return everything that it had acknowledged."""
    command = [sys.executable, "-m", "tests.faults.saver", str(config.database_url), str(config.redis_url), OKX_UID]
    with subprocess.Popen([*command, str(first)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as saver:
        assert saver.stdout is not None
        lines = [saver.stdout.readline() for _ in range(chance.randint(1, 30))]
        time.sleep(chance.uniform(0, 0.02))  # anywhere within a save
        saver.kill()
        lines += saver.stdout.readlines()
    acknowledged = [line.split() for line in lines if line.endswith("\n")]
    assert acknowledged
    return [(kind, int(version), int(n)) for kind, version, n in acknowledged]


def is_alone(db: Db) -> bool:
    """Whether no session but this one is left: a killed client's last statement may still run."""
    row = db.execute(
        "select count(*) as n from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    ).fetchone()
    return row is not None and row["n"] == 0


async def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(config: Config, db: Db) -> None:
    async with SettingsStore(config) as store:
        await store.register(OKX_UID)
    chance = random.Random(20240607)
    acknowledged: list[Acknowledged] = []
    marks_left = 0
    for kill in range(KILLS):
        acknowledged += save_until_killed(config, chance, first=1000 * (kill + 1))
        wait_until(lambda: is_alone(db))
        marks_left += len(db.execute("select from mirror_pending where owner = %s", (OKX_UID,)).fetchall())
        await assert_equal_once_drained(config, db)
        wait_until(lambda: is_alone(db))

    history = db.execute(
        "select setting_type, version, settings, is_active from user_settings order by 1, 2"
    ).fetchall()
    saved = {(row["setting_type"], row["version"]): row["settings"].get("?n") for row in history}
    assert len(saved) == len(history)
    for kind, version, n in acknowledged:
        assert saved[kind, version] == n
    for kind in KINDS:
        versions = [row["version"] for row in history if row["setting_type"] == kind]
        assert versions == list(range(1, len(versions) + 1))
        assert [row["version"] for row in history if row["setting_type"] == kind and row["is_active"]] == versions[-1:]
    assert len(acknowledged) >= KILLS
    assert marks_left, "no kill hit between commit and mirroring: the test tried nothing"


async def assert_equal_once_drained(config: Config, db: Db) -> None:
    async with SettingsStore(config) as store:
        await relay.drain(store._connections, [OKX_UID])
        assert db.execute("select from mirror_pending where owner = %s", (OKX_UID,)).fetchall() == []
        for kind in KINDS:
            sides = []
            sources: tuple[Source, ...] = ("redis", "db")
            for source in sources:
                found = await store.get(OKX_UID, kind, source=source)
                assert found is not None
                sides.append((found.version, found.settings, found.updated_at))
            assert sides[0] == sides[1]
