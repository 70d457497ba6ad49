"""The commands of scheduled changes, and `set --for`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.helpers.schedules import pass_time
from tests.helpers.sessions import Connection

AT = "2099-12-01 13:25Z"


def test_a_change_is_scheduled_listed_and_cancelled(inside: Cli, kim: str) -> None:
    done = inside("schedule", "set", kim, "params", "leverage=3", "--at", AT, "--for", "1h30m", "--actor", "ops")
    times = "at 2099-12-01T13:25:00+00:00 until 2099-12-01T14:55:00+00:00"
    assert done.out == f"schedule 1: params of {kim}, waiting, {times}; 0 users changed\n"
    inside(
        "schedule", "set", "params", "--template", "default", "--where", "leverage=20", "--at", "2099-12-01T13:25+09:00"
    )
    (both, mine) = (inside("schedule", "list", *more).lines for more in ((), (kim, "--to-come")))
    assert [line.split()[0] for line in both] == ["number", "2", "1"]
    assert [line.split()[:5] for line in mine[1:]] == [["1", "waiting", kim, "params", "leverage"]]
    assert inside("schedule", "cancel", "1").out.startswith(f"schedule 1: params of {kim}, cancelled")
    assert "it is over: cancelled" in inside.fails(1, "schedule", "cancel", "1")
    assert inside.run("schedule", "list", "--limit", "1").err == "older ones: --before 2\n"


def test_a_change_for_a_while_is_taken_back_by_relay_once(inside: Cli, kim: str, db: Connection) -> None:
    done = inside("set", kim, "params", "leverage=3", "--for", "30m", "--reason", "news")
    assert done.out.startswith(f"schedule 1: params of {kim}, active, at ")
    assert inside("get", kim, "params", "--json").json["settings"]["leverage"] == 3
    pass_time(db, 1)
    inside("relay", "--once")
    assert inside("get", kim, "params", "--json", "--source", "redis").json["settings"]["leverage"] == 10
    newest, *_ = inside("history", kim, "params", "--json").json
    assert newest["change_reason"] == "schedule 1 is over: news"


def test_status_tells_what_failed_and_that_no_relay_runs(inside: Cli, kim: str, db: Connection) -> None:
    inside("schedule", "set", kim, "params", "leverage=3", "--at", AT, "--expect-version", "7")
    assert "scheduled changes     1 to come\n" in inside("status").out
    db.execute("update scheduled_changes set due_at = now() - interval '1 minute'")
    assert "does a relay run?" in inside("status").out
    pass_time(db, 1)
    inside("relay", "--once")
    assert "0 to come, 1 failed or expired" in inside("status").out
    assert "US001" in inside("schedule", "list").out
    assert inside("status", "--json").json["postgresql"]["scheduled"] == {"to_come": 0, "failed": 1, "overdue": 0}


@pytest.mark.parametrize(
    "words",
    [
        f"set params leverage=3 --at '{AT}'",
        f"set 1709556958 params --at '{AT}'",
        f"set 1709556958 params leverage=3 --template default --at '{AT}'",
        f"set 1709556958 params leverage=3 --all --at '{AT}'",
        f"set leverage=3 1709556958 params --at '{AT}'",
        f"set params --version 1 --all --at '{AT}'",
        f"set params leverage=3 --where leverage=20 --expect-version 1 --at '{AT}'",
        "set 1709556958 params leverage=3 --at tomorrow",
        *(f"set 1709556958 params leverage=3 --for '{span}'" for span in ("30", "m", "1.5h", "-1h", "1h 30m", "PT1H",
                                                                          "99999999999999d", "٣m", "1month")),
        "cancel 0",
        "cancel x",
    ],
)  # fmt: skip
def test_words_that_make_no_sense_are_wrong_usage(inside: Cli, words: str) -> None:
    import shlex

    assert inside.run("schedule", *shlex.split(words)).code == 2


def test_set_for_a_while_replaces_nothing(inside: Cli, kim: str) -> None:
    assert inside.run("set", kim, "params", "leverage=3", "--replace", "--for", "30m").code == 2
    assert "36500 days" in inside.fails(1, "set", kim, "params", "leverage=3", "--for", "0s")
