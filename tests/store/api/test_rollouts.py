"""Rollouts from Python: who has what in Redis when a call returns, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from store import InvalidArgument, RolloutRefused, SettingsStore, UnknownTemplate
from store.api.rollouts import rollout_bucket
from store.coherence.relay import Relay
from tests.helpers.sessions import Connection, fetch
from tests.sql.rollouts.conftest import crowd


async def leverages(store: SettingsStore, users: int) -> dict[str, Any]:
    """What Redis has of each user's leverage."""
    found = {}
    for number in range(1, users + 1):
        setting = await store.get(str(10**15 + number), "params", source="redis")
        if setting:
            found[setting.okx_uid] = setting.settings["leverage"]
    return found


async def test_what_a_step_gives_is_in_redis_when_the_call_returns(store: SettingsStore, db: Connection) -> None:
    crowd(db, 150)
    await Relay(store._connections).once()  # nobody's Telegram ID is known to Redis yet
    begun = await store.begin_rollout("first", "careful", "params", steps=(80, 100.0), actor="ops", reason="less risk")
    expected = {uid for n in range(150) if rollout_bucket("first", uid := str(10**15 + n + 1)) < 8000}
    assert 50 < len(expected) == begun.given
    assert (begun.waiting, begun.users, begun.steps, begun.changed_by) == (0, 150, [Decimal(80), Decimal(100)], "ops")
    assert {uid for uid, leverage in (await leverages(store, 150)).items() if leverage == 3} == expected
    (version, _) = await store.history(min(expected), "params")
    assert (version.change_reason, version.changed_by) == ("rollout first: less risk", "ops")
    assert (await store.advance_rollout("first", from_step=1)).given > begun.given
    rolled_back = await store.end_rollout("first", "roll_back")
    assert (rolled_back.state, rolled_back.given, rolled_back.waiting) == ("ended", 0, 0)
    assert set((await leverages(store, 150)).values()) == {20}
    assert await store.list_rollouts() == [rolled_back]
    assert await store.list_rollout_results("first") == []


async def test_it_is_paused_resumed_and_ended_for_everybody(store: SettingsStore, db: Connection) -> None:
    crowd(db, 20)
    await Relay(store._connections).once()
    await store.begin_rollout("first", "careful", "params", filter={"leverage": 20}, step_time=timedelta(days=1))
    paused = await store.pause_rollout("first", reason="a holiday")
    assert (paused.state, paused.note, paused.step_time) == ("paused", "by hand: a holiday", timedelta(days=1))
    assert (await store.resume_rollout("first")).state == "running"
    assert (await store.end_rollout("first", "everybody")).given == 20
    assert list((await leverages(store, 20)).values()) == [3] * 20


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.begin_rollout("x", "nobody", "params"), UnknownTemplate),
        (lambda s: s.begin_rollout("a b", "careful", "params"), InvalidArgument),
        (lambda s: s.begin_rollout("x\n", "careful", "params"), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", steps="5,25"), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", steps=[None]), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", steps=[True]), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", steps=[float("nan")]), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", minimum_trades=1.5), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", step_time=3), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", guard=1), InvalidArgument),
        (lambda s: s.begin_rollout("x", "careful", "params", currency="u s"), InvalidArgument),
        (lambda s: s.begin_rollout("first", "careful", "params"), RolloutRefused),
        (lambda s: s.advance_rollout("first", from_step=2), RolloutRefused),
        (lambda s: s.resume_rollout("first"), RolloutRefused),
        (lambda s: s.end_rollout("first", "panic"), InvalidArgument),
        (lambda s: s.list_rollout_results("nobody"), RolloutRefused),
    ],
)
async def test_what_makes_no_sense_is_refused(
    store: SettingsStore, db: Connection, call: Callable[[SettingsStore], Any], error: type[Exception]
) -> None:
    crowd(db, 3)
    fetch(db, "select begin_rollout('first', 'careful', 'params', '{0.01,100}')")
    with pytest.raises(error):
        await call(store)
    (left,) = await store.list_rollouts()
    assert (left.name, left.state, left.step) == ("first", "running", 1)


async def test_a_reader_reads_results_and_the_relay_watches_and_neither_decides(
    store: SettingsStore, db: Connection
) -> None:
    crowd(db, 3)
    await store.begin_rollout("first", "careful", "params")
    for role, allowed in (("reader", {"list"}), ("writer", {"list"}), ("relay", {"list", "watch"})):
        fetch(db, f"set role settings_{role}")
        for name, query in (("list", "list_rollouts()"), ("watch", "watch_rollouts()"),
                            ("end", "end_rollout('first', 'keep')")):  # fmt: skip
            if name in allowed:
                fetch(db, f"select * from {query}")
            else:
                with pytest.raises(Exception, match="permission denied"):
                    fetch(db, f"select * from {query}")
        fetch(db, "reset role")
