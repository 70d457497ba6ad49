"""The four walks of docs/architecture.md: each file they name is passed through."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import psycopg
import pytest
import redis as redis_py
from psycopg import sql

from tests.cli.conftest import CHECKOUT, Cli
from tests.cli.test_docs import ARCHITECTURE, FILE
from tests.conftest import OKX_UID, PATIENCE
from tests.helpers.credentials import KEY

Db = psycopg.Connection[dict[str, Any]]

WALKS = re.split(r"^\*\*", ARCHITECTURE.read_text().partition("## Four walks")[2], flags=re.MULTILINE)[1:]
TRADE = (
    "symbol=BTC-USDT-SWAP", "side=long", "entry_price=97000.1", "entry_time=2026-11-22T10:00Z", "entry_size=1",
    "exit_time=2026-11-22T11:00Z", "exit_price=97500", "exit_size=1", "realized_pnl=4.999", "exit_order_id=42",
)  # fmt: skip


@contextmanager
def recorded(files: set[str]) -> Iterator[None]:
    """Note the files of store/ whose functions are called."""

    def note(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(f"{CHECKOUT}/store/") and frame.f_code.co_name != "<module>":
            files.add(name.removeprefix(f"{CHECKOUT}/"))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def called(db: Db) -> set[str]:
    """List the SQL functions that sessions have called so far, as far as they have told."""
    db.execute("select pg_stat_clear_snapshot()")
    return {row["funcname"] for row in db.execute("select funcname from pg_stat_user_functions").fetchall()}


def steps(inside: Cli, redis: redis_py.Redis, walk: str) -> None:
    """Do what a walk tells of."""
    if walk.startswith("One setting"):
        inside("set", OKX_UID, "params", "leverage=20")
    elif walk.startswith("A rogue"):
        redis.set(f"user:{OKX_UID}:settings", '{"leverage": 77}')
        inside("verify", "--repair")
    elif walk.startswith("A trade"):
        inside("trades", "add", OKX_UID, *TRADE)
        inside("trades", "stats", OKX_UID)
    else:
        keyed = replace(inside, env={**inside.env, "SETTINGS_STORE_KEYS": KEY})
        keyed("keys", "set", OKX_UID, "--stdin", stdin='{"api_key": "a", "api_secret": "b", "passphrase": "c"}')


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.split(",")[0].split(" (")[0].strip("*"))
def test_a_walk_is_what_the_data_pass_through(inside: Cli, redis: redis_py.Redis, db: Db, walk: str) -> None:
    inside("register", OKX_UID)
    database = sql.Identifier(db.info.dbname)
    db.execute(sql.SQL("alter database {} set track_functions = 'all'").format(database))
    files: set[str] = set()
    with recorded(files):
        steps(inside, redis, walk)

    named = FILE.findall(walk)
    assert {name for name in named if name.endswith(".py")} - files == set()
    functions = {
        name.rpartition("/")[2].partition(".")[0]
        for name in named
        if name.endswith(".sql") and not name.endswith(".view.sql")
    }
    until = time.monotonic() + PATIENCE
    while missing := functions - called(db):  # sessions tell as they end
        assert time.monotonic() < until, missing
        time.sleep(0.05)
