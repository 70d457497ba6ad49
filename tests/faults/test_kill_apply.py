"""A command that changes much at once, killed in the midst of it: all of it was done, or nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from store import Config
from tests.cli.conftest import CHECKOUT, Cli, environment
from tests.conftest import OKX_UID
from tests.faults.servers import wait_until

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]
Connect = Callable[[], Db]

OTHERS = "datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
Block = tuple[str, tuple[Any, ...]]

USERS = [f"1{n:015}" for n in range(300)]

END = pytest.mark.parametrize("ends_session", [False, True], ids=["the command", "its session, too"])


@pytest.fixture
def cli(config: Config) -> Cli:
    """The command line on the test's database and Redis."""
    return Cli(environment(config))


@pytest.fixture
def inside(cli: Cli) -> Cli:
    """The same, run in this process."""
    return replace(cli, is_inside=True)


def documents(db: Db) -> list[Any]:
    """Every version there is, and every mark."""
    versions = db.execute("select to_jsonb(s) as row from user_settings s order by id").fetchall()
    marks = db.execute("select to_jsonb(m) as row from mirror_pending m order by owner, kind").fetchall()
    return [row["row"] for row in versions + marks]


def is_waiting(db: Db) -> bool:
    return bool(db.execute(f"select from pg_stat_activity where {OTHERS} and wait_event_type = 'Lock'").fetchall())


def is_busy(db: Db) -> bool:
    return bool(db.execute(f"select from pg_stat_activity where {OTHERS} and state = 'active'").fetchall())


def kill_while_it_waits(cli: Cli, db: Db, connect: Connect, block: Block, ends_session: bool, *words: str) -> None:
    """Hold a lock that the command comes to when it has done much, kill it there, and let the lock go. Its session
    doesn't notice, and goes on to the end of the statement, unless it is ended, too."""
    blocker = connect()
    blocker.execute("begin")
    blocker.execute(*block)
    with subprocess.Popen(
        [*cli.command, *words], cwd=CHECKOUT, env=cli.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        wait_until(lambda: is_waiting(db) or command.poll() is not None)
        assert command.poll() is None, "it came to its end: the test tried nothing"
        command.kill()
        assert command.stdout is not None
        assert command.stdout.read() == b""
    assert is_waiting(db)
    if ends_session:
        db.execute(
            f"select pg_terminate_backend(pid) from pg_stat_activity where {OTHERS} and wait_event_type = 'Lock'"
        )
        wait_until(lambda: not is_waiting(db))
    blocker.execute("rollback")
    wait_until(lambda: not is_busy(db))


@END
def test_a_template_killed_midway_has_changed_everybody_or_nobody(
    cli: Cli, inside: Cli, db: Db, connect: Connect, ends_session: bool
) -> None:
    db.execute("select ensure_user(u) from unnest(%s::text[]) u", (USERS,))
    db.execute("select upsert_user_setting(u, 'params', '{\"leverage\": 20}') from unnest(%s::text[]) u", (USERS,))
    db.execute("select save_setting_template('careful', 'params', '{\"leverage\": 3}')")
    inside("relay", "--once")
    before = documents(db)
    mark = ("insert into mirror_pending (owner, kind, version) values (%s, 'params', 1)", (USERS[150],))
    kill_while_it_waits(cli, db, connect, mark, ends_session, "template", "apply", "careful", "params", "--all")
    changed = len(db.execute("select from user_settings where settings = '{\"leverage\": 3}'").fetchall())
    assert changed in ((0,) if ends_session else (0, len(USERS)))  # a session may notice when it sends the rows
    if changed == 0:
        assert documents(db) == before
        inside("verify")
        said = inside("template", "apply", "careful", "params", "--all").lines
        assert said[0] == "300 users changed, 0 have it so already"
    inside("relay", "--once")
    inside("verify")


@END
def test_a_rollback_of_all_settings_killed_midway_is_done_or_not(
    cli: Cli, inside: Cli, db: Db, connect: Connect, ends_session: bool
) -> None:
    inside("register", OKX_UID)
    row = db.execute("select max(updated_at) as at from user_settings").fetchone()
    assert row is not None
    for pair in ("params leverage=20", "preferences timeframe=5m", "dual_side use_dual_sl=true"):
        inside("set", OKX_UID, *pair.split())
    wait_until(lambda: db.execute("select from mirror_pending").fetchall() == [])
    before = documents(db)
    mark = ("insert into mirror_pending (owner, kind, version) values (%s, 'preferences', 1)", (OKX_UID,))
    words = ("rollback", OKX_UID, "--at", row["at"].isoformat())
    kill_while_it_waits(cli, db, connect, mark, ends_session, *words)
    if ends_session:
        assert documents(db) == before
        inside("verify")
    else:
        active = db.execute("select version, change_reason from user_settings where is_active").fetchall()
        assert [each["version"] for each in active] == [3, 3, 3]
        assert all(each["change_reason"].startswith("rollback to ") for each in active)
    inside(*words)
    inside("relay", "--once")
    inside("verify")
    assert len(db.execute("select from user_settings").fetchall()) == 9


@END
def test_pruning_killed_midway_has_removed_all_that_it_would_or_nothing(
    cli: Cli, inside: Cli, db: Db, connect: Connect, ends_session: bool
) -> None:
    inside("register", OKX_UID)
    for n in range(50):
        db.execute("select patch_user_setting(%s, 'params', jsonb_build_object('n', %s::int))", (OKX_UID, n))
    inside("relay", "--once")
    before = documents(db)
    words = ("prune", "--keep", "1", "--older-than", "0")
    kill_while_it_waits(cli, db, connect, ("lock table user_settings in share mode", ()), ends_session, *words)
    if ends_session:
        assert documents(db) == before
        assert inside(*words).lines[-1] == "50 versions removed"
    left = db.execute("select version from user_settings where setting_type = 'params'").fetchall()
    assert [each["version"] for each in left] == [51]
    inside("verify")
