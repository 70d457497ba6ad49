"""The console script as its users have it: a process of its own, on the test's servers."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import redis as redis_py
from click.testing import CliRunner

from store import Config
from store.commands.main import main
from tests.conftest import OKX_UID, TELEGRAM_ID

CHECKOUT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("settings-store")
# What TimescaleDB notes of a policy that failed.
FAILED_JOB = """
with job as (
    insert into _timescaledb_config.bgw_job (id, application_name, schedule_interval, max_runtime, max_retries,
                                             retry_period, proc_schema, proc_name, hypertable_id)
    select 1234, 'Compression Policy [1234]', '1 day', '0', -1, '1 hour', '_timescaledb_functions',
           'policy_compression', h.id from _timescaledb_catalog.hypertable h where h.table_name = 'ohlcv_1m'
    returning id)
insert into _timescaledb_internal.bgw_job_stat
select id, now(), now(), now(), '-infinity', false, 1, '0', '0', 0, 1, 0, 1, 0 from job
"""
COMMAND_MODULES = [f"store.commands.{file.stem}" for file in (CHECKOUT / "store/commands").glob("[a-z]*.py")]


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def is_one_clear_error(self) -> bool:
        """Whether stderr holds one error in words, with nothing of Python in it, and stdout nothing."""
        errors = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        python = ("Traceback", "  File ", "Exception", "psycopg", "asyncio", "Warning", "unexpected")
        return self.out == "" and len(errors) == 1 and not any(word in self.err for word in python)


@dataclass(frozen=True)
class Cli:
    """Runs `settings-store …` with an environment. Called with arguments, it must succeed."""

    env: dict[str, str]
    command: Sequence[str] = (str(SCRIPT),)
    cwd: Path = CHECKOUT
    is_inside: bool = False  # run in this process: a third of the time, for what a process wouldn't change

    def __call__(self, *arguments: str | bytes, stdin: str | bytes = b"") -> Result:
        result = self.run(*arguments, stdin=stdin)
        assert result.code == 0, result
        assert result.err == ""
        return result

    def run(self, *arguments: str | bytes, stdin: str | bytes = b"", **env: str) -> Result:
        """Run it, whatever comes of it. `env`: variables on top of the environment."""
        if self.is_inside:
            words = [word if isinstance(word, str) else word.decode(errors="surrogateescape") for word in arguments]
            with patch.dict(os.environ, {**inherited(), **self.env, **env}, clear=True), chdir(self.cwd):
                found = CliRunner().invoke(main, words, input=stdin, prog_name="settings-store")
            failure = f"Traceback: {found.exception!r}" if not isinstance(found.exception, SystemExit | None) else ""
            return Result(found.exit_code, found.stdout, found.stderr + failure)
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            check=False,
            cwd=self.cwd,
            env={**self.env, **env},
            timeout=60,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))

    def fails(self, code: int, *arguments: str | bytes, stdin: str | bytes = b"", **env: str) -> str:
        """Run it; it must fail with this exit code and one clear error, which is returned."""
        result = self.run(*arguments, stdin=stdin, **env)
        assert result.is_one_clear_error(), result
        assert result.code == code, result
        return result.err


def inherited() -> dict[str, str]:
    """Our own environment, without what would choose servers or else mean something to a command."""
    ours = ("DATABASE_URL", "REDIS_URL", "DB_", "REDIS_", "MIRROR_", "SETTINGS_STORE_", "PG", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def environment(config: Config) -> dict[str, str]:
    """An environment that leads to these servers and inherits no other choice."""
    assert config.database_url
    assert config.redis_url
    return {
        **inherited(),
        "DATABASE_URL": config.database_url,
        "REDIS_URL": config.redis_url,
        "REDIS_TIMEOUT": str(config.redis_timeout),
        "SETTINGS_STORE_HOME": str(config.home),
        "PYTHONWARNINGS": ",".join(f"error::DeprecationWarning:{module}" for module in COMMAND_MODULES),
    }


def on_a_terminal(
    command: Sequence[str], env: Mapping[str, str], cwd: Path = CHECKOUT, *, has_pipe: bool = False
) -> str:
    """Run a command whose output, or with `has_pipe` whose stderr alone, is a terminal; return what it wrote there."""
    ours, theirs = pty.openpty()
    out = subprocess.DEVNULL if has_pipe else theirs
    process = subprocess.Popen(command, stdout=out, stderr=theirs, cwd=cwd, env={**env, "TERM": "xterm"})
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 65536):
            written += block
    except OSError:  # Linux: nobody has the terminal open any more
        pass
    os.close(ours)
    assert process.wait() == 0, written
    return written.decode()


@pytest.fixture
def cli(config: Config) -> Cli:
    """The command line on the test's migrated database and empty Redis."""
    return Cli(environment(config))


@pytest.fixture
def inside(cli: Cli) -> Cli:
    """The same, run in this process."""
    return replace(cli, is_inside=True)


@pytest.fixture
def refused_user(redis: redis_py.Redis) -> Iterator[str]:
    """The OKX UID of somebody, not registered yet, whose keys Redis refuses to everybody."""
    keys = ["user:5*", "user:1709*", "settings:*"]
    redis.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"], reset_keys=True, keys=keys)
    yield "1000000000000001"
    redis.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"], keys=["*"])


@pytest.fixture
def kim(inside: Cli) -> str:
    """A registered user with the default documents; returns the OKX UID."""
    inside("register", OKX_UID, "--telegram-id", TELEGRAM_ID, "--name", "Kim")
    return OKX_UID


@pytest.fixture
def five(inside: Cli, kim: str) -> str:
    """The user kim, with five versions of params: leverage 10 (default), 2, 3, a deletion, restored."""
    inside("set", kim, "params", "leverage=2", "--actor", "ops", "--reason", "less risk")
    inside("set", kim, "params", "leverage=3", "note=new", "--actor", "kim")
    inside("delete", kim, "params", "--actor", "ops")
    inside("restore", kim, "params", "--actor", "ops")
    return kim
