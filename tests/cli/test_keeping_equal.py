"""relay, verify, sync and watch as commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config
from tests.conftest import OKX_UID, TELEGRAM_ID

Db = psycopg.Connection[dict[str, Any]]
UPSERT_1000 = "select count(r) from generate_series(1, 1000) n, lateral register_user((1000000000000000 + n)::text) r"


@pytest.fixture
def environment(config: Config) -> dict[str, str]:
    urls = {"DATABASE_URL": config.database_url or "", "REDIS_URL": config.redis_url or ""}
    return {**os.environ, **urls, "REDIS_TIMEOUT": str(config.redis_timeout)}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli", *arguments]


def run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def test_a_relay_mirrors_what_psql_writes_and_drains_on_sigterm(environment: dict[str, str], db: Db) -> None:
    relay = subprocess.Popen(command("relay"), env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert relay.stderr is not None
        while "reconciled" not in relay.stderr.readline():
            assert relay.poll() is None
        db.execute(UPSERT_1000)
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(30) == 0
    finally:
        relay.kill()
        relay.communicate()
    assert run(environment, "verify") == (0, "checked 4000 keys: no findings\n")


def test_a_flushed_redis_is_found_and_repaired(environment: dict[str, str], redis: redis_py.Redis) -> None:
    run(environment, "register", OKX_UID, "--telegram-id", TELEGRAM_ID)
    redis.flushall()
    code, output = run(environment, "verify", "--json")
    report = json.loads(output)
    assert (code, report["checked"], report["ok"], report["findings"]) == (1, 5, 0, {"missing": 5})
    assert {user["owner"] for user in report["users"]} == {OKX_UID, TELEGRAM_ID}
    assert run(environment, "verify", "--repair")[0] == 0
    assert run(environment, "verify", "--okx-uid", OKX_UID)[0] == 0
    redis.flushall()
    code, output = run(environment, "relay", "--once", "--json")
    assert (code, json.loads(output)["failures"], json.loads(output)["waiting"]) == (0, [], 0)
    assert run(environment, "verify")[0] == 0


def test_an_edit_in_redis_is_shown_then_taken_over(environment: dict[str, str], redis: redis_py.Redis, db: Db) -> None:
    run(environment, "register", OKX_UID)
    redis.hset(f"user:{OKX_UID}:dual_side", "use_dual_side_entry", "True")
    code, output = run(environment, "sync", "--dry-run")
    assert code == 0
    assert output.splitlines()[0] == f"user:{OKX_UID}:dual_side: edited"
    code, output = run(environment, "sync", "--json")
    assert (code, json.loads(output)["outcomes"]["edited"]) == (0, 1)
    rows = db.execute("select settings from user_settings where setting_type = 'dual_side' and is_active").fetchall()
    assert rows[0]["settings"]["use_dual_side_entry"] is True
    assert run(environment, "verify")[0] == 0


def test_bad_data_is_reported_with_its_key(environment: dict[str, str], redis: redis_py.Redis) -> None:
    content = '{"leverage": 1000, "signal_bot_token": "s3cr3t", "\\u001b[2J": NaN}'
    redis.set(f"user:{OKX_UID}:settings", content)
    code, output = run(environment, "sync")
    assert code == 1
    bad = ["  \\u001b[2J: must be a finite number", "  leverage: must be between 1 and 125"]
    assert output.splitlines()[0] == f"user:{OKX_UID}:settings: partial"
    assert sorted(output.splitlines()[1:3]) == bad
    code, shown = run(environment, "verify", "--repair", "--json")
    assert (code, json.loads(shown)["repaired"]) == (1, 0)
    (held,) = json.loads(shown)["held"]
    assert held["error"] == "; ".join(line.strip() for line in bad)
    assert redis.get(f"user:{OKX_UID}:settings") == content
    assert run(environment, "verify", "--repair", "--force")[0] == 0
    assert run(environment, "verify") == (0, "checked 2 keys: no findings\n")
    assert "s3cr3t" not in output + shown
    assert run(environment, "verify", "--force")[0] == 2


def test_redis_is_rebuilt_from_the_database(environment: dict[str, str], redis: redis_py.Redis) -> None:
    run(environment, "register", OKX_UID)
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": 7}')
    redis.delete(f"user:{OKX_UID}:preferences")
    code, _ = run(environment, "sync", "--from", "db", "--dry-run")
    assert (code, redis.exists(f"user:{OKX_UID}:preferences")) == (0, 0)
    assert run(environment, "sync", "--from", "db")[0] == 0
    assert json.loads(str(redis.get(f"user:{OKX_UID}:settings")))["leverage"] == 10
    assert run(environment, "verify")[0] == 0


def test_watch_prints_changes(environment: dict[str, str], redis: redis_py.Redis) -> None:
    run(environment, "register", OKX_UID)
    watch = subprocess.Popen(command("watch", OKX_UID, "--json"), env=environment, stdout=subprocess.PIPE, text=True)
    try:
        while not redis.pubsub_numsub("settings:changes")[0][1]:
            assert watch.poll() is None
        for leverage in (1, 2):  # by the second it has read the versions it starts from
            run(environment, "set", OKX_UID, "params", f"leverage={leverage}")
        assert watch.stdout is not None
        change = json.loads(watch.stdout.readline())
        assert (change["okx_uid"], change["setting_type"]) == (OKX_UID, "params")
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 130
    finally:
        watch.kill()
        watch.communicate()


@pytest.mark.parametrize("arguments", [("verify",), ("sync",), ("relay", "--once")])
def test_a_store_that_cannot_be_reached_is_exit_code_3(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    assert run({**environment, "REDIS_URL": "redis://127.0.0.1:1"}, *arguments)[0] == 3
    assert run({**environment, "DATABASE_URL": "postgresql://127.0.0.1:1/x"}, *arguments)[0] == 3
