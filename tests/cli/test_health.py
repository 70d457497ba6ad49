"""status --check, as a health probe calls it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from typing import Any

import psycopg
import pytest
import redis as redis_py

from tests.cli.conftest import CHECKOUT, FAILED_JOB, Cli

Db = psycopg.Connection[dict[str, Any]]
NOWHERE = "127.0.0.1:1"


def problems(cli: Cli, code: int, *arguments: str, **env: str) -> dict[str, str]:
    """Check, which must end with this exit code; return what is wrong with what."""
    result = cli.run("status", "--check", "--json", *arguments, **env)
    assert (result.code, result.err) == (code, ""), result
    assert result.json["healthy"] == (code == 0)
    assert list(result.json["checks"]) == ["postgresql", "redis", "relay"]
    return {name: check["problem"] for name, check in result.json["checks"].items() if check["problem"]}


@pytest.fixture
def healthy(inside: Cli, kim: str) -> Cli:
    """A store with a user, and a Redis that a relay has filled."""
    inside("relay", "--once")
    return inside


def test_all_is_well(healthy: Cli) -> None:
    assert problems(healthy, 0) == {}
    assert healthy("status", "--check").lines == ["postgresql  ok", "redis       ok", "relay       ok"]


def test_a_relay_that_is_stuck_fails_the_check_until_it_goes_on(healthy: Cli, kim: str, db: Db) -> None:
    relay = subprocess.Popen(
        [*healthy.command, "relay"], cwd=CHECKOUT, env=healthy.env, stderr=subprocess.PIPE, text=True
    )
    try:
        assert relay.stderr is not None
        while "reconciled" not in relay.stderr.readline():
            assert relay.poll() is None
        os.kill(relay.pid, signal.SIGSTOP)
        db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 7}')", (kim,))
        db.execute("update mirror_pending set marked_at = now() - interval '61 seconds'")
        assert "keys waiting: 1, the oldest for 6" in problems(healthy, 1)["relay"]
        assert problems(healthy, 0, "--max-age", "3600") == {}
        os.kill(relay.pid, signal.SIGCONT)
        deadline = time.monotonic() + 30
        while db.execute("select from mirror_pending").fetchone() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert problems(healthy, 0) == {}
    finally:
        relay.kill()
        relay.communicate()


def test_a_key_that_redis_refuses_fails_the_check(healthy: Cli, refused_user: str, db: Db) -> None:
    db.execute("select ensure_user(%s)", (refused_user,))
    assert healthy.run("relay", "--once").code == 1
    assert "set aside, as Redis can't get them: 1" in problems(healthy, 1)["relay"]


def test_a_redis_that_lost_its_data_fails_the_check_until_a_relay_has_filled_it(
    healthy: Cli, redis: redis_py.Redis
) -> None:
    redis.flushall()
    assert "no relay has brought everything" in problems(healthy, 1)["relay"]
    healthy("relay", "--once")
    assert problems(healthy, 0) == {}


def test_a_schema_that_is_behind_fails_the_check(healthy: Cli, db: Db) -> None:
    db.execute("drop function last_verification()")
    assert "mirror/last_verification.sql" in problems(healthy, 1)["postgresql"]
    db.execute("delete from _yoyo_migration where migration_id = '0012_verifications'")
    assert "0012_verifications is pending" in problems(healthy, 1)["postgresql"]


@pytest.mark.timescale
def test_a_failed_job_and_chunks_that_cannot_be_read_fail_the_check(healthy: Cli, db: Db) -> None:
    """As TimescaleDB's catalogue has them: the Apache edition makes neither itself."""
    db.execute(
        "insert into ohlcv_1m select ts, 'S', 1, 1, 1, 1, 1"
        " from generate_series(timestamptz '2026-01-01Z', '2026-01-15Z', '7 days') ts"
    )
    assert problems(healthy, 0) == {}
    db.execute(FAILED_JOB)
    db.execute("update _timescaledb_catalog.chunk set status = 1")
    found = problems(healthy, 1)["postgresql"]
    assert "TimescaleDB's jobs failed: policy_compression of ohlcv_1m (job 1234): " in found
    assert "can't read 3 compressed chunks" in found
    assert found in healthy("status").out
    told = healthy("status", "--json").json["postgresql"]["timescaledb"]
    assert (told["failed_jobs"], told["unreadable_chunks"]) == (["policy_compression of ohlcv_1m (job 1234)"], 3)


def test_a_database_that_was_never_migrated_fails_the_check(healthy: Cli, empty_database_url: str) -> None:
    found = problems(healthy, 1, DATABASE_URL=empty_database_url)
    assert "0001_users is pending" in found["postgresql"]
    assert "and " in found["postgresql"]
    assert len(found["postgresql"]) < 300


def test_a_redis_that_is_away_is_exit_code_3(healthy: Cli) -> None:
    found = problems(healthy, 3, REDIS_URL=f"redis://:s3cr3t@{NOWHERE}")
    assert set(found) == {"redis", "relay"}
    assert "can't be reached" in found["redis"]
    assert "s3cr3t" not in str(found)


def test_a_postgresql_that_is_away_is_exit_code_3(healthy: Cli) -> None:
    found = problems(healthy, 3, DATABASE_URL=f"postgresql://bot:s3cr3t@{NOWHERE}/x")
    assert set(found) == {"postgresql", "relay"}
    assert "s3cr3t" not in str(found)


def test_servers_that_hang_are_away_when_the_time_is_up(healthy: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        at = f"127.0.0.1:{mute.getsockname()[1]}"
        urls = {"DATABASE_URL": f"postgresql://{at}/x", "REDIS_URL": f"redis://{at}"}
        found = problems(healthy, 3, "--timeout", "2", **urls)
    assert set(found) == {"postgresql", "redis", "relay"}
    assert found["postgresql"] == "no answer within 2 s"


def test_what_verify_found_is_shown_by_status(healthy: Cli, redis: redis_py.Redis, kim: str) -> None:
    assert "never, of all keys" in healthy("status").out
    redis.delete(f"user:{kim}:settings")
    healthy("verify", "--repair", "--okx-uid", kim)
    assert healthy("status", "--json").json["postgresql"]["last_verify"] is None  # that was one user's
    redis.delete(f"user:{kim}:settings")
    healthy.run("verify")
    found = healthy("status", "--json").json["postgresql"]["last_verify"]
    assert (found["checked"], found["findings"], found["repaired"], found["remaining"]) == (5, {"missing": 1}, 0, 1)
    healthy("verify", "--repair")
    assert ": 1 missing, 1 repaired" in healthy("status").out
