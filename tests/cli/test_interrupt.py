"""Ctrl-C ends any command at once, with exit code 130, without a traceback, and with nothing half-written."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis as redis_py

from store.encryption.vault import generate_key
from tests.cli.conftest import Cli
from tests.conftest import OKX_UID, TELEGRAM_ID

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]
NEW = "1000000000000001"
TRADE = {
    "okx_uid": OKX_UID, "symbol": "BTC", "side": "long", "entry_time": "2026-11-22T10:00Z", "entry_price": 1,
    "entry_size": 1, "exit_time": "2026-11-22T11:00Z", "exit_price": 1, "exit_size": 1, "realized_pnl": 1,
    "exit_order_id": "1",
}  # fmt: skip
FILES = {
    "trades": json.dumps(TRADE),
    "candles": "ts,symbol,open,high,low,close,volume\n2026-01-01T00:00Z,BTC,1,3,1,2,9\n",
    "users": json.dumps({"format": "settings-store export", "version": 1, "users": [{"okx_uid": NEW}]}),
}
# The command, and the table that is locked, so that it is caught in the middle of its work.
LONG = {
    "export --all -o out": "user_settings",
    "import users": "app_users",
    "backup out": "user_settings",
    "restore-backup backup --replace --yes": "user_settings",
    "trades import trades": "trade_orders",
    "candles import candles --timeframe 1m": "ohlcv_1m",
    "candles rollup --from-timeframe 1m --to-timeframe 1h": "ohlcv_1h",
    "verify": "user_settings",
    "verify --repair": "user_settings",
    "sync": "user_settings",
    "sync --from db": "user_settings",
    "relay --once": "user_settings",
    "keys rotate": "okx_api_info",
    "template apply default params --all": "user_settings",
    "prune --keep 1 --older-than 0": "user_settings",
    f"set {OKX_UID} params leverage=9": "user_settings",
    "migrate": "setting_types",
    "status": "user_settings",
}


@contextmanager
def running(
    cli: Cli, *words: str, stdin: int = subprocess.DEVNULL, out: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    command = [*cli.command, *words]
    with subprocess.Popen(command, env=cli.env, cwd=cli.cwd, stdin=stdin, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.kill()


def is_waiting(process: subprocess.Popen[bytes]) -> bool:
    return bool(psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING)


def unread(pipe: int) -> int:
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0]  # type: ignore[no-any-return]


def content(db: Db, redis: redis_py.Redis, folder: Path) -> list[Any]:
    tables = ("app_users", "user_settings", "okx_api_info", "trades", "trade_orders", "ohlcv_1m", "ohlcv_1h")
    rows = [db.execute(f"select t::text from {table} t order by 1".encode()).fetchall() for table in tables]
    return [*rows, {key: redis.dump(key) for key in redis.scan_iter("user:*")}, sorted(os.listdir(folder))]


@pytest.fixture
def busy(cli: Cli, inside: Cli, kim: str, tmp_path: Path, db: Db, redis: redis_py.Redis) -> Cli:
    """The command line in a folder with files to import, on stores that leave something to do for each command."""
    cli.env["SETTINGS_STORE_KEYS"] = inside.env["SETTINGS_STORE_KEYS"] = generate_key()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    inside("set", kim, "params", "leverage=3")
    inside("candles", "import", "-", "--timeframe", "1m", stdin=FILES["candles"].replace("00:00Z", "00:01Z"))
    inside("keys", "set", kim, "--stdin", stdin='{"api_key": "a", "api_secret": "b", "passphrase": "c"}')
    inside("backup", str(tmp_path / "backup"))
    db.execute("select patch_user_setting(%s, 'params', '{\"leverage\": 4}')", (kim,))  # marked for the relay
    redis.hset(f"user:{kim}:preferences", "timeframe", "5m")
    return Cli(cli.env, cli.command, tmp_path)


@pytest.mark.parametrize("line", LONG)
def test_a_command_in_the_middle_of_its_work_ends_with_nothing_done(
    busy: Cli, line: str, db: Db, connect: Callable[[], Db], redis: redis_py.Redis, tmp_path: Path
) -> None:
    before = content(db, redis, tmp_path)
    waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    lock = connect()
    with running(busy, *line.split()) as process:
        with lock.transaction():
            lock.execute(f"lock table {LONG[line]} in access exclusive mode".encode())
            while db.execute(waiting.encode()).fetchone() is None:
                assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGINT)
            code = process.wait(60)
            assert code == 130, process.communicate()
        out, err = process.communicate()
    assert (out, err) == (b"", b"")
    assert content(db, redis, tmp_path) == before


@pytest.mark.parametrize("words", [("import", "-"), ("trades", "import", "-"), ("set", OKX_UID, "params", "--stdin"),
                                   ("keys", "set", OKX_UID, "--stdin")])  # fmt: skip
def test_a_command_that_waits_for_its_input_ends(cli: Cli, kim: str, words: tuple[str, ...], db: Db) -> None:
    read, write = os.pipe()
    with running(cli, *words, stdin=read) as process:
        os.close(read)
        os.write(write, b"{" * 1000)
        while unread(write) or not is_waiting(process):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.communicate() == (b"", b"")
    os.close(write)


@pytest.mark.parametrize("words", [("user", "delete", OKX_UID), ("user", "erase", OKX_UID), ("migrate", "rollback")])
def test_ctrl_c_at_a_question_is_a_no(cli: Cli, kim: str, words: tuple[str, ...], inside: Cli) -> None:
    ours, theirs = pty.openpty()
    with running(cli, *words, stdin=theirs, out=theirs) as process:
        os.close(theirs)
        asked = b""
        while b"[y/N]" not in asked:
            asked += os.read(ours, 1000)
        while not is_waiting(process):  # CPython may miss a signal right before it reads
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    os.close(ours)
    assert inside("user", "find", TELEGRAM_ID, "--json").json["okx_uid"] == kim


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_ends_and_a_relay_drains(cli: Cli, kim: str, redis: redis_py.Redis, number: int) -> None:
    with running(cli, "watch") as process:
        while not redis.pubsub_numsub("settings:changes")[0][1]:
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert process.communicate() == (b"", b"")
    with running(cli, "relay") as process:
        assert process.stderr is not None
        process.stderr.readline()  # it has begun
        process.send_signal(number)
        assert process.wait(60) == 0
        assert b"Traceback" not in process.stderr.read()
