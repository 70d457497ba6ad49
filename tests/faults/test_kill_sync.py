"""A sync that is killed, or loses Redis, at any moment: what it took over stays, the next one does the rest, once."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore
from store.coherence.sync import Sync
from store.coherence.verify import verify
from tests.cli.conftest import CHECKOUT, SCRIPT, environment
from tests.conftest import PATIENCE
from tests.faults.servers import RedisServer, wait_until
from tests.faults.test_kill import is_alone

pytestmark = pytest.mark.slow

USERS = 2000  # several batches
KILLS = 2
Db = psycopg.Connection[dict[str, Any]]


def uid(n: int) -> str:
    return f"58766250476834{n:04}"


@pytest.fixture
def config(config: Config) -> Config:
    """A store that waits for a Redis that is only slow."""
    return replace(config, redis_timeout=PATIENCE)


@pytest.fixture
def left_by_bots(own_redis: RedisServer) -> RedisServer:
    """A Redis with users of whom PostgreSQL knows nothing, as the predecessor's bots wrote them."""
    with own_redis.client() as client, client.pipeline(transaction=False) as pipeline:
        for n in range(USERS):
            pipeline.set(f"user:{uid(n)}:settings", json.dumps({"leverage": n % 125 + 1, "use_sl": "True"}))
            pipeline.hset(f"user:{uid(n)}:preferences", mapping={"timeframe": "5m", "symbol": "BTC-USDT-SWAP"})
            pipeline.set(f"user:{170955 + n}:okx_uid", uid(n))
        pipeline.execute()
    return own_redis


@contextmanager
def syncing(config: Config, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [str(SCRIPT), "sync", *arguments]
    with subprocess.Popen(
        command, env=environment(config), cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def taken_over(db: Db) -> int:
    row = db.execute("select count(*) as n from user_settings").fetchone()
    assert row is not None
    return int(row["n"])


def has_taken_over(db: Db, least: int) -> bool:
    return taken_over(db) >= least


async def assert_taken_over_once(config: Config, db: Db) -> None:
    """Let one sync do the rest; then each user has what the bots left, as version 1, in both stores."""
    async with SettingsStore(config) as store:
        await Sync(store._connections).run()
        outcomes = await Sync(store._connections).run()
        assert outcomes == {"ok": 3 * USERS}
        assert not (await verify(store._connections)).findings
    columns = ("okx_uid", "telegram_id", "version", "settings")
    query = f"select {', '.join(columns)} from user_settings where setting_type = 'params' order by okx_uid"
    assert [tuple(row[column] for column in columns) for row in db.execute(query)] == [
        (uid(n), str(170955 + n), 1, {"leverage": n % 125 + 1, "use_sl": True}) for n in range(USERS)
    ]
    assert taken_over(db) == 2 * USERS


async def test_syncs_killed_at_any_moment_beside_another_take_over_each_document_once(
    config: Config, db: Db, left_by_bots: RedisServer
) -> None:
    chance = random.Random(20261123)
    for _ in range(KILLS):
        with syncing(config) as one, syncing(config) as other:
            for process in (one, other):
                wait_until(partial(has_taken_over, db, taken_over(db) + chance.randint(1, USERS // 5)))
                assert process.poll() is None
                process.kill()
        wait_until(lambda: is_alone(db))
    assert taken_over(db) < 2 * USERS
    await assert_taken_over_once(config, db)


@pytest.mark.parametrize("direction", ["redis", "db"])
async def test_a_sync_that_loses_redis_says_so_and_the_next_one_does_the_rest(
    config: Config, db: Db, left_by_bots: RedisServer, direction: str
) -> None:
    if direction == "db":
        async with SettingsStore(config) as store:
            await Sync(store._connections).run()
        with left_by_bots.client() as client:
            client.flushall()
    with syncing(config, "--from", direction) as process:
        wait_until(lambda: is_under_way(db, left_by_bots, direction) or process.poll() is not None)
        left_by_bots.stop()
        _, shown = process.communicate(timeout=60)
        assert process.returncode == 3
        assert "Redis can't be reached" in shown
        assert "Traceback" not in shown
    left_by_bots.start()
    with syncing(config, "--from", direction) as process:
        process.communicate(timeout=60)
        assert process.returncode == 0
    await assert_taken_over_once(config, db)


def is_under_way(db: Db, redis: RedisServer, direction: str) -> bool:
    with redis.client() as client:
        return taken_over(db) > 0 if direction == "redis" else client.dbsize() > 10
