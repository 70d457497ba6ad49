"""relay, verify, sync and watch as commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store.json_writer import shown_key
from tests.cli.conftest import CHECKOUT, Cli
from tests.conftest import OKX_UID, TELEGRAM_ID

Db = psycopg.Connection[dict[str, Any]]
DOOR = (sys.executable, "-m", "cli")  # a checkout's
UPSERT_1000 = "select count(r) from generate_series(1, 1000) n, lateral register_user((1000000000000000 + n)::text) r"


@pytest.mark.parametrize("options", [[], ["--notify"]])
def test_a_relay_mirrors_what_psql_writes_and_drains_on_sigterm(inside: Cli, db: Db, options: list[str]) -> None:
    command = [*DOOR, "relay", *options]
    relay = subprocess.Popen(command, env=inside.env, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)
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
    assert inside("verify").lines == ["checked 4000 keys: no findings"]


def test_a_flushed_redis_is_found_and_repaired(inside: Cli, redis: redis_py.Redis) -> None:
    inside("register", OKX_UID, "--telegram-id", TELEGRAM_ID)
    redis.flushall()
    found = inside.run("verify", "--json")
    report = found.json
    assert (found.code, report["checked"], report["ok"], report["findings"]) == (1, 5, 0, {"missing": 5})
    assert {user["owner"] for user in report["users"]} == {OKX_UID, TELEGRAM_ID}
    inside("verify", "--repair")
    inside("verify", "--okx-uid", OKX_UID)
    redis.flushall()
    report = inside("relay", "--once", "--json").json
    assert (report["failures"], report["waiting"]) == ([], 0)
    inside("verify")


def test_an_edit_in_redis_is_shown_then_taken_over(inside: Cli, redis: redis_py.Redis, db: Db) -> None:
    inside("register", OKX_UID)
    redis.hset(f"user:{OKX_UID}:dual_side", "use_dual_side_entry", "True")
    assert inside("sync", "--dry-run").lines[0] == f"user:{OKX_UID}:dual_side: edited"
    assert inside("sync", "--json").json["outcomes"]["edited"] == 1
    rows = db.execute("select settings from user_settings where setting_type = 'dual_side' and is_active").fetchall()
    assert rows[0]["settings"]["use_dual_side_entry"] is True
    inside("verify")


def test_bad_data_is_reported_with_its_key_and_left_until_asked_for(inside: Cli, redis: redis_py.Redis) -> None:
    content = '{"leverage": 1000, "signal_bot_token": "s3cr3t", "\\u001b[2J": NaN}'
    redis.set(f"user:{OKX_UID}:settings", content)
    bad = [f"  {shown_key(chr(27))}[2J: must be a finite number", "  leverage: must be between 1 and 125"]
    synced = inside.run("sync")
    assert (synced.code, synced.lines[0]) == (1, f"user:{OKX_UID}:settings: partial")
    assert sorted(synced.lines[1:3]) == bad
    repaired = inside.run("verify", "--repair", "--json")
    assert (repaired.code, repaired.json["repaired"]) == (1, 0)
    assert [held["error"] for held in repaired.json["held"]] == ["; ".join(line.strip() for line in bad)]
    assert redis.get(f"user:{OKX_UID}:settings") == content
    assert inside.run("verify", "--force").code == 2  # of what?
    inside("verify", "--repair", "--force")
    assert inside("verify").lines == ["checked 2 keys: no findings"]
    assert "s3cr3t" not in synced.out + synced.err + repaired.out + repaired.err


def test_redis_is_rebuilt_from_the_database(inside: Cli, redis: redis_py.Redis) -> None:
    inside("register", OKX_UID)
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": 7}')
    redis.delete(f"user:{OKX_UID}:preferences")
    inside("sync", "--from", "db", "--dry-run")
    assert redis.exists(f"user:{OKX_UID}:preferences") == 0
    inside("sync", "--from", "db")
    assert json.loads(str(redis.get(f"user:{OKX_UID}:settings")))["leverage"] == 10
    inside("verify")


def test_watch_prints_changes(inside: Cli, redis: redis_py.Redis) -> None:
    inside("register", OKX_UID)
    command = [*DOOR, "watch", OKX_UID, "--json"]
    watch = subprocess.Popen(command, env=inside.env, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        while not redis.pubsub_numsub("settings:changes")[0][1]:
            assert watch.poll() is None
        for leverage in (1, 2):  # by the second it has read the versions it starts from
            inside("set", OKX_UID, "params", f"leverage={leverage}")
        assert watch.stdout is not None
        change = json.loads(watch.stdout.readline())
        assert (change["okx_uid"], change["setting_type"]) == (OKX_UID, "params")
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 130
    finally:
        watch.kill()
        watch.communicate()


@pytest.mark.parametrize("arguments", [("verify",), ("sync",), ("relay", "--once")])
def test_a_store_that_cannot_be_reached_is_exit_code_3(inside: Cli, arguments: tuple[str, ...]) -> None:
    assert inside.run(*arguments, REDIS_URL="redis://127.0.0.1:1").code == 3
    assert inside.run(*arguments, DATABASE_URL="postgresql://127.0.0.1:1/x").code == 3
