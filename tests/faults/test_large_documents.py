"""Documents as large as they may be: no job takes more memory for them, and a slow line is no silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore
from store.sockets import redis_socket
from tests.faults.measured import command
from tests.faults.servers import RedisServer
from tests.faults.slow_line import slow_line

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]
USERS = 110  # with one each, more than a job may hold
LARGE = "jsonb_build_object('note', repeat('x', 1040000))"


def _register(db: Db, count: int) -> None:
    db.execute("select count(*) from generate_series(1, %s) n, register_user((3000000000000000 + n)::text)", (count,))
    db.execute(f"update user_settings set settings = {LARGE} where setting_type = 'params' and is_active")


async def test_many_large_documents_take_no_more_memory_than_a_few(
    store: SettingsStore, config: Config, own_redis: RedisServer, db: Db
) -> None:
    _register(db, USERS)
    with own_redis.client() as redis:
        redis.config_set("appendonly", "no")
        for arguments in (("relay", "--once"), ("verify",), ("sync", "--dry-run"), ("sync",)):
            done = command(config, *arguments)
            assert (done.code, done.is_fair) == (0, True), f"{arguments}: {done.peak:.0f} MB, {done.err[-2000:]}"
        redis.flushall()
        done = command(config, "sync", "--from", "db")
        assert (done.code, done.is_fair) == (0, True), f"{done.peak:.0f} MB, {done.err[-2000:]}"
        for key in redis.scan_iter("user:*:mirror"):  # as if nobody had ever mirrored anything
            redis.delete(key)
        done = command(config, "sync")
        assert (done.code, done.is_fair) == (0, True), f"{done.peak:.0f} MB, {done.err[-2000:]}"
        done = command(config, "verify", "--repair")
        assert (done.code, done.is_fair) == (0, True), f"{done.peak:.0f} MB, {done.err[-2000:]}"


@pytest.mark.parametrize("rate", [1_200_000])
async def test_a_large_document_gets_over_a_slow_line(
    store: SettingsStore, config: Config, own_redis: RedisServer, db: Db, rate: float
) -> None:
    _register(db, 2)
    with slow_line(str(redis_socket(own_redis.home)), rate) as port:
        slow = replace(config, redis_url=f"redis://127.0.0.1:{port}")
        for arguments in (("relay", "--once"), ("verify",), ("sync",)):
            done = command(slow, *arguments)
            assert (done.code, done.is_fair) == (0, True), f"{arguments}: {done.err[-2000:]}"
        db.execute(f"update user_settings set settings = {LARGE} where setting_type = 'dual_side' and is_active")
        done = command(slow, "verify", "--repair")
        assert (done.code, done.is_fair) == (0, True), done.err[-2000:]
