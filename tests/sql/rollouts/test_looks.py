"""The guard: which trades are compared, when, how often, and that chance is no alarm."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from tests.helpers.sessions import Connection, fetch, one, value
from tests.sql.rollouts.conftest import crowd, look_again, trade

BEGIN = "select from begin_rollout('first', 'careful', 'params', '{50}', p_minimum_trades => %s)"
STATE = "select state, outcome, note, treated_trades, control_trades, verdict from list_rollouts('first')"
BOOTSTRAP = "select * from _bootstrap_difference(%s, %s::float8[], %s, %s, %s, %s)"


def watch(db: Connection) -> Any:
    """Carry on; return the verdict, if there was a look."""
    look_again(db)
    return next((row["verdict"] for row in fetch(db, "select * from watch_rollouts(p_limit => 100000)")), None)


@pytest.fixture
def begun(db: Connection) -> None:
    """A hundred users, half of whom have it."""
    crowd(db, 100)
    fetch(db, BEGIN, (90,))
    watch(db)


def test_of_ten_thousand_users_no_effect_is_no_alarm_and_one_is_found_and_stops_it(db: Connection) -> None:
    crowd(db, 10_000)
    fetch(db, "select from begin_rollout('first', 'careful', 'params', '{20,100}')")
    assert fetch(db, "select * from watch_rollouts(p_limit => 100000)")
    fetch(db, "analyze")
    trade(db, 0.0, 2)
    assert watch(db) == "open"
    found = one(db, "select * from list_rollout_results('first')")
    assert found["lower"] < found["difference"] < found["upper"]
    assert (found["treated_users"] + found["control_users"], found["control_trades"] % 2) == (10_000, 0)
    assert abs(found["treated_users"] - 2000) < 200
    assert 0.3 < found["upper"] - found["lower"] < 0.9  # about 2 * 2.7 * sqrt(1 / 2000 + 1 / 8000) * sqrt(4 + 24 / 2)
    trade(db, -1.0, 6, seed="b")
    assert watch(db) == "worse"
    now = one(db, STATE)
    assert (now["state"], now["outcome"], now["note"]) == (
        "paused", None, "worse than the control group by net_per_trade, step 1",
    )  # fmt: skip
    assert value(db, "select count(*) from rollout_users where version is not null") == found["treated_users"]


def noise(source: random.Random, users: int) -> tuple[list[float], list[float]]:
    """What users earned, and how many trades that took, from distributions with long tails."""
    trades = [1 + int(source.expovariate(0.3)) for _ in range(users)]
    own = [source.gauss(0, 1) / max(abs(source.gauss(0, 1)), 0.3) for _ in range(users)]
    earned = [sum(source.gauss(hand, 5) for _ in range(count)) for hand, count in zip(own, trades, strict=True)]
    return earned, [float(count) for count in trades]


def alarms(db: Connection, rollouts: int, users: tuple[int, int], looks: int) -> int:
    """How many of rollouts without an effect are called worse at any look, each at twice the trades of the last one."""
    source, count = random.Random(f"{rollouts} {users} {looks}"), 0
    for number in range(rollouts):
        groups: list[tuple[list[float], list[float]]] = [([0.0] * size, [0.0] * size) for size in users]
        for look in range(looks):
            for _ in range(2 ** max(look - 1, 0)):
                for earned, weights in groups:
                    for at, (amount, trades) in enumerate(zip(*noise(source, len(earned)), strict=True)):
                        earned[at] += amount
                        weights[at] += trades
            found = one(db, BOOTSTRAP, (number, *groups[0], *groups[1], 0.05 / looks))
            if found["upper"] < 0:
                count += 1
                break
    return count


def test_chance_alarms_few_rollouts(db: Connection) -> None:
    """Two looks each; the share is 5 % at most: of 40, more than 5 would come once in twenty times."""
    assert alarms(db, 40, (20, 20), 2) <= 5


@pytest.mark.slow
def test_chance_alarms_no_more_than_five_percent_of_rollouts(db: Connection) -> None:
    assert alarms(db, 200, (20, 20), 4) <= 10


def test_the_same_seed_gives_the_same_bounds_and_moves_no_session_on(db: Connection) -> None:
    earned, weights = noise(random.Random(1), 30)
    fetch(db, "select setseed(0.5)")
    fetch(db, BOOTSTRAP, (7, earned, weights, weights, weights, 0.01))
    drawn = value(db, "select random()")
    fetch(db, "select setseed(0.5)")
    assert value(db, "select random()") == drawn
    first, again, other = (one(db, BOOTSTRAP, (seed, earned, weights, weights, weights, 0.01)) for seed in (7, 7, 8))
    assert first == again
    assert first["difference"] == other["difference"]
    assert (first["lower"], first["upper"]) != (other["lower"], other["upper"])


def test_the_bounds_are_those_of_a_bootstrap_in_python(db: Connection) -> None:
    """Of many clusters, where nothing is stretched much."""
    source = random.Random(2)
    (earned, weights), (earned_there, weights_there) = noise(source, 100), noise(source, 100)
    found = one(db, BOOTSTRAP, (1, earned, weights, earned_there, weights_there, 0.05))

    def ratio(amounts: Sequence[float], counts: Sequence[float]) -> float:
        drawn = source.choices(range(100), k=100)
        return sum(amounts[at] for at in drawn) / sum(counts[at] for at in drawn)

    resampled = sorted(ratio(earned, weights) - ratio(earned_there, weights_there) for _ in range(2000))
    width = resampled[1900] - resampled[99]
    assert abs(found["upper"] - resampled[1900]) < width / 12
    assert abs(found["lower"] - resampled[99]) < width / 12


def test_looks_come_at_the_minimum_of_trades_and_at_each_doubling(db: Connection, begun: None) -> None:
    assert watch(db) is None
    trade(db, 0.0, 1)
    assert watch(db) is None
    assert 0 < one(db, STATE)["treated_trades"] < 90
    trade(db, 0.0, 1, seed="b")
    assert watch(db) == "open"
    trade(db, 0.0, 1, seed="c")
    assert watch(db) is None
    trade(db, 0.0, 1, seed="d")
    assert watch(db) == "open"
    looks = fetch(db, "select look, treated_trades, control_trades, alpha from list_rollout_results('first')")
    assert [row["look"] for row in looks] == [1, 2]
    assert all(min(row["treated_trades"], row["control_trades"]) >= 90 * row["look"] for row in looks)
    assert {round(row["alpha"] * 6, 12) for row in looks} == {0.05}


def test_a_rollout_is_looked_at_every_five_minutes_at_most(db: Connection, begun: None) -> None:
    trade(db, 0.0, 2)
    assert watch(db) == "open"
    trade(db, -9.0, 9, seed="b")
    fetch(db, "update rollouts set next_look_at = now() + interval '1 minute'")
    assert fetch(db, "select * from watch_rollouts()") == []
    assert watch(db) == "worse"


def test_after_six_looks_a_step_has_had_them(db: Connection, begun: None) -> None:
    fetch(db, "update rollouts set minimum_trades = 1")
    trade(db, 0.0, 2)
    assert [watch(db) for _ in range(7)] == ["open"] * 6 + [None]


@pytest.mark.parametrize(
    ("guard", "effect", "verdict"),
    [("win_rate", -9.0, "worse"), ("win_rate", 9.0, "better"), ("drawdown", -9.0, "worse"), ("drawdown", 9.0, "better"),
     ("net_per_trade", 9.0, "better")],
)  # fmt: skip
def test_every_guard_tells_worse_from_better(
    db: Connection, begun: None, guard: str, effect: float, verdict: str
) -> None:
    fetch(db, "update rollouts set guard = %s", (guard,))
    trade(db, effect, 4)
    assert watch(db) == verdict
    found = one(db, "select * from list_rollout_results('first')")
    figure = {
        "win_rate": "sum((t.net_pnl > 0)::integer) / count(*)::float8",
        "net_per_trade": "sum(t.net_pnl)::float8 / count(*)",
        "drawdown": "avg((select s.max_drawdown from trade_statistics(t.okx_uid) s))::float8",
    }[guard]
    query = f"select {figure} from trades t join rollout_users m using (user_id) where m.version is not null"
    assert found["treated_mean"] == pytest.approx(value(db, query))
    assert one(db, STATE)["state"] == ("paused" if verdict == "worse" else "running")


@pytest.mark.parametrize(
    ("change", "counted"),
    [
        ("currency = 'USDC'", False),
        ("currency = null", False),
        ("params_version = null", False),
        ("params_version = 1", False),  # from before: entered then, closed late
        ("params_version = 9", True),  # changed by hand since
        ("entry_time = entry_time - interval '2 minutes'", False),
        ("exit_time = now() + interval '20 minutes'", False),  # not closed yet
    ],
)
def test_only_trades_entered_since_and_closed_by_now_in_the_currency_count(
    db: Connection, begun: None, change: str, counted: bool
) -> None:
    trade(db, 0.0, 1)
    watch(db)
    all_of_them = one(db, STATE)["treated_trades"]
    one_user = "(select user_id from rollout_users where version is not null limit 1)"
    fetch(db, "set session_replication_role = replica")
    fetch(db, f"update trades set {change} where user_id = {one_user}")
    fetch(db, "reset session_replication_role")
    watch(db)
    assert one(db, STATE)["treated_trades"] == all_of_them - (not counted)


def test_currencies_that_are_not_known_are_compared_if_asked_for(db: Connection, begun: None) -> None:
    fetch(db, "update rollouts set currency = null")
    trade(db, 0.0, 1)
    watch(db)
    assert one(db, STATE)["treated_trades"] == 0


def test_fewer_than_twenty_users_of_a_group_are_not_compared(db: Connection) -> None:
    crowd(db, 30)
    fetch(db, BEGIN, (1,))
    watch(db)
    trade(db, -9.0, 50)
    assert watch(db) is None


def test_what_is_worse_is_rolled_back_if_that_was_said(db: Connection, begun: None) -> None:
    fetch(db, "update rollouts set on_worse = 'roll_back'")
    trade(db, -9.0, 4)
    assert watch(db) == "worse"
    watch(db)
    assert (one(db, STATE)["state"], one(db, STATE)["outcome"]) == ("ended", "roll_back")
    assert value(db, "select count(*) from user_settings where is_active and settings ->> 'leverage' = '3'") == 0


def test_a_step_advances_after_its_time_if_there_was_a_look_and_it_is_not_worse(db: Connection) -> None:
    crowd(db, 100)
    fetch(
        db,
        "select from begin_rollout('first', 'careful', 'params', '{50,60,70}', p_minimum_trades => 50,"
        " p_step_time => '1 hour')",
    )
    watch(db)
    fetch(db, "update rollouts set given_at = given_at - interval '1 day'")
    assert watch(db) is None
    assert value(db, "select step from rollouts") == 1
    trade(db, 0.0, 3)
    watch(db)
    assert value(db, "select step from rollouts") == 2
    watch(db)
    trade(db, -9.0, 3, seed="b")
    assert watch(db) == "worse"
    fetch(db, "update rollouts set minimum_trades = 1000000")
    fetch(db, "select from resume_rollout('first')")
    assert watch(db) is None
    assert one(db, "select state, step from rollouts") == {"state": "running", "step": 2}
