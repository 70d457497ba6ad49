"""Rollouts by the command line: what is printed, exit codes, Redis afterwards."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.helpers.sessions import Connection, fetch, value
from tests.sql.rollouts.conftest import crowd, trade

BEGIN = ("rollout", "begin", "first", "careful", "params", "--steps", "50, 100", "--minimum-trades", "20")


@pytest.fixture
def begun(db: Connection, inside: Cli) -> Cli:
    crowd(db, 60)
    said = inside(*BEGIN, "--actor", "ops", "--reason", "less risk")
    given = value(db, "select count(version) from rollout_users")
    assert said.lines[:2] == [
        "rollout first: running, step 1 of 2 (50, 100 %)",
        f"  {given} of 60 users have careful for params",
    ]
    return inside


def test_a_rollout_from_its_begin_to_its_end(db: Connection, begun: Cli) -> None:
    assert begun("rollout", "status").lines[1].split()[:5] == [
        "first", "params", "running", "1/2", str(value(db, "select count(version) from rollout_users")),
    ]  # fmt: skip
    fetch(db, "select * from watch_rollouts()")
    trade(db, -9.0, 5)
    begun("relay", "--once")
    shown = begun("rollout", "status", "first")
    assert "  worse than the control group by net_per_trade, step 1" in shown.lines
    assert shown.lines[-1].split()[:2] == ["1", "1"]
    assert shown.lines[-1].endswith("worse")
    found = begun("rollout", "status", "first", "--json").json
    assert (found["rollout"]["state"], found["results"][0]["verdict"]) == ("paused", "worse")
    begun.fails(1, "rollout", "advance", "first")
    begun("rollout", "resume", "first", "--json")
    begun("rollout", "advance", "first", "--from", "1")
    begun("rollout", "pause", "first")
    said = begun("rollout", "end", "first", "roll-back", "--reason", "worse")
    assert said.lines[0] == "rollout first: ended (roll back), step 2 of 2 (50, 100 %)"
    assert said.lines[1].startswith("  0 of 60 users have careful for params, ")
    assert value(db, "select count(*) from user_settings where is_active and settings ->> 'leverage' = '3'") == 0
    assert not begun("verify").err


def test_what_makes_no_sense_is_one_clear_error(begun: Cli) -> None:
    assert "another rollout changes the same keys" in begun.fails(1, *BEGIN[:2], "second", *BEGIN[3:])
    for code, words in (
        (1, ("rollout", "status", "nobody")), (1, ("rollout", "end", "nobody", "keep")),
        (1, ("rollout", "begin", "a b", "careful", "params")), (1, ("rollout", "begin", "x", "nobody", "params")),
        (1, ("rollout", "begin", "x", "careful", "params", "--steps", "5,5")),
        (2, ("rollout", "end", "first", "roll_back")), (2, ("rollout", "end", "first")),
    ):  # fmt: skip
        if code == 1:
            begun.fails(code, *words)
        else:
            assert begun.run(*words).code == code
    for steps in ("", "a", "5,", "1e1", "nan", "101", "-1"):
        assert begun.run("rollout", "begin", "x", "careful", "params", "--steps", steps).code == 2, steps


def test_the_examples_of_the_options_are_taken(db: Connection, inside: Cli) -> None:
    crowd(db, 5)
    begun = inside(
        "rollout", "begin", "tight", "careful", "params", "--steps", "0.5,10,50", "--step-days", "1.5", "--guard",
        "drawdown", "--on-worse", "roll-back", "--control", "20", "--currency", "", "--where", "leverage=20", "--json",
    ).json  # fmt: skip
    assert (begun["step_time"], begun["guard"], begun["on_worse"]) == (129600, "drawdown", "roll_back")
    assert (begun["steps"], begun["control"], begun["currency"]) == (["0.5", "10", "50"], "20", None)
    assert begun["filter"] == {"leverage": 20}
