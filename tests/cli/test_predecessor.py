"""The predecessor's three sync commands, on what its bots left in Redis."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
import redis as redis_py

from tests.cli.conftest import Cli
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.credentials import KEY, OTHER, put

Db = psycopg.Connection[dict[str, Any]]

OTHER_TELEGRAM = "77777"
DUAL_SIDE = {
    "use_dual_side_entry": "True", "use_dual_sl": "False", "dual_side_trend_close": "1",
    "dual_side_entry_trigger": "3", "dual_side_entry_tp_value": "0.3", "dual_side_entry_sl_value": "",
}  # fmt: skip
PARAMS = {"leverage": 20, "direction": "롱숏", "use_sl": True, "signal_bot_token": None, "tp1_value": 2.0}


@pytest.fixture
def ours(inside: Cli) -> Cli:
    """The command line with an encryption key, as the API keys need one, and the choice that sync asks for."""
    inside.env.update({"SETTINGS_STORE_KEYS": KEY, "MIRROR_CREDENTIALS": "encrypted"})
    return inside


@pytest.fixture
def bots(redis: redis_py.Redis) -> redis_py.Redis:
    """Redis as the bots of two users left it: str() of every value in a hash, notes beside the API keys."""
    for okx_uid, telegram_id in ((OKX_UID, TELEGRAM_ID), (OTHER, OTHER_TELEGRAM)):
        keys = {"api_key": f"ak-{okx_uid}", "api_secret": "as", "passphrase": "pp", "uid": okx_uid}
        times = {"last_update_time": "1760000000", "last_update_time_kr": "2025-10-09 17:53:20"}
        put(redis, f"user:{okx_uid}:api:keys", {**keys, **times})
        redis.hset(f"user:{okx_uid}:preferences", mapping={"timeframe": "1m", "symbol": "BTC-USDT-SWAP"})
        redis.set(f"user:{okx_uid}:settings", json.dumps(PARAMS))
        put(redis, f"user:{okx_uid}:dual_side", DUAL_SIDE)
        redis.set(f"user:{telegram_id}:okx_uid", okx_uid)
        redis.set(f"user:{okx_uid}:trading:status", "stopped")  # the bots' own, no business of ours
    return redis


def everything(redis: redis_py.Redis) -> dict[str, Any]:
    return {str(key): redis.dump(key) for key in redis.scan_iter()}


def users(db: Db) -> list[tuple[str, str | None]]:
    rows = db.execute("select okx_uid, telegram_id from app_users order by okx_uid desc").fetchall()
    return [(row["okx_uid"], row["telegram_id"]) for row in rows]


def test_sync_dry_run_shows_what_would_come_and_writes_nothing(ours: Cli, bots: redis_py.Redis, db: Db) -> None:
    before = everything(bots)
    assert ours("sync", "--dry-run").lines[-1] == "10 would be new"
    assert everything(bots) == before
    assert users(db) == []


def test_sync_takes_over_everybody(ours: Cli, bots: redis_py.Redis, db: Db) -> None:
    assert ours("sync").lines[-1] == "10 new"
    assert users(db) == [(OKX_UID, TELEGRAM_ID), (OTHER, OTHER_TELEGRAM)]
    rows = db.execute("select setting_type, settings from get_user_settings(%s)", (OKX_UID,)).fetchall()
    assert {row["setting_type"]: row["settings"] for row in rows} == {
        "preferences": {"timeframe": "1m", "symbol": "BTC-USDT-SWAP"},
        "params": PARAMS,
        "dual_side": {
            "use_dual_side_entry": True, "use_dual_sl": False, "dual_side_trend_close": True,
            "dual_side_entry_trigger": 3, "dual_side_entry_tp_value": 0.3,
        },
    }  # fmt: skip
    assert ours("keys", "show", OKX_UID, "--reveal", "--json").json["api_key"] == f"ak-{OKX_UID}"
    notes = {"uid", "last_update_time", "last_update_time_kr"}
    assert set(bots.hgetall(f"user:{OKX_UID}:api:keys")) == {"api_key", "api_secret", "passphrase", *notes}
    assert ours("verify").lines == ["checked 12 keys: no findings"]
    assert ours("sync").lines == ["10 ok"]
    assert bots.get(f"user:{OKX_UID}:trading:status") == "stopped"


def test_sync_of_one_user_leaves_the_others(ours: Cli, bots: redis_py.Redis, db: Db) -> None:
    before = everything(bots)
    assert ours("sync", "--okx-uid", "587662504768345929").lines[-1] == "5 new"
    assert users(db) == [(OKX_UID, TELEGRAM_ID)]
    assert ours("verify", "--okx-uid", "587662504768345929").code == 0
    others = {key for key in before if OTHER in key or OTHER_TELEGRAM in key}
    assert {key: before[key] for key in others} == {
        key: value for key, value in everything(bots).items() if key in others
    }
