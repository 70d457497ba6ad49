"""Rollouts: templates that users get step by step, while the results are compared with those of a control group."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from store.api.base import Core, check_identifier, check_type
from store.arguments import amount_or_none, span
from store.errors import InvalidArgument
from store.models import Guard, OnWorse, Rollout, RolloutOutcome, RolloutResult, RolloutTurn, SettingTypeName
from store.postgres import functions
from store.postgres.call import Call

PAUSE = 0.2  # seconds, longer than a turn for fifty users


class Rollouts(Core):
    """The part of the store that knows rollouts. A relay that runs carries them on; watch_rollouts() does, too."""

    async def begin_rollout(
        self,
        name: str,
        template: str,
        setting_type: SettingTypeName | str,
        *,
        steps: Sequence[Decimal | float | str] = (5, 25, 100),
        filter: Mapping[str, Any] | None = None,
        minimum_trades: int = 100,
        guard: Guard = "net_per_trade",
        on_worse: OnWorse = "pause",
        step_time: timedelta | None = None,
        control: Decimal | float | str = 10,
        currency: str | None = "USDT",
        actor: str | None = None,
        reason: str | None = None,
    ) -> Rollout:
        """Begin to give a template to the users whose document contains `filter` (None: who has one), and return when
        those of the first step have it.

        `steps`: percent of the users who have it then; `control`: percent who get nothing before the end. `guard`: by
        which figure both groups are compared, of trades in `currency`, first when each has `minimum_trades`;
        `on_worse`: what happens if who has it does worse beyond chance. `step_time`: advance after that, unless it is
        worse; None: by advance_rollout(). Raises RolloutRefused (the name is taken, another one changes the same keys),
        UnknownTemplate, InvalidArgument, InvalidSettings, UnknownSettingType.
        """
        if not isinstance(steps, list | tuple):
            raise InvalidArgument(f"steps must be a list of numbers, not {type(steps).__name__}")
        call = functions.rollouts.begin_rollout(
            name, template, check_type(setting_type), [_percent(step, "a step") for step in steps], filter or {},
            minimum_trades, guard, on_worse, None if step_time is None else span(step_time, "step_time"),
            _percent(control, "control"), currency,
        )  # fmt: skip
        return await self._decide(call, name, actor, reason)

    async def advance_rollout(self, name: str, *, from_step: int | None = None, actor: str | None = None) -> Rollout:
        """Go on to the next step, and return when its users have it. `from_step`: only if it is at that one. Raises
        RolloutRefused."""
        return await self._decide(functions.rollouts.advance_rollout(name, from_step), name, actor)

    async def pause_rollout(self, name: str, *, actor: str | None = None, reason: str | None = None) -> Rollout:
        """Stop a rollout where it is. Raises RolloutRefused."""
        return await self._decide(functions.rollouts.pause_rollout(name), name, actor, reason)

    async def resume_rollout(self, name: str, *, actor: str | None = None) -> Rollout:
        """Go on with a rollout that is paused. Raises RolloutRefused."""
        return await self._decide(functions.rollouts.resume_rollout(name), name, actor)

    async def end_rollout(
        self, name: str, outcome: RolloutOutcome, *, actor: str | None = None, reason: str | None = None
    ) -> Rollout:
        """End a rollout, and return when its users have what the outcome says.

        `keep`: who has it keeps it; `everybody`: all get it, the control group too; `roll_back`: each key that it
        changed gets back the value it had, user by user, unless it was changed again since; that, too, of one that has
        ended. Raises RolloutRefused, InvalidArgument.
        """
        return await self._decide(functions.rollouts.end_rollout(name, outcome), name, actor, reason)

    async def delete_rollout(self, name: str) -> None:
        """Forget a rollout that has ended, with its results; users keep what they have. Raises RolloutRefused."""
        await self._fetch(functions.rollouts.delete_rollout(name))

    async def watch_rollouts(self, name: str | None = None) -> list[RolloutTurn]:
        """Carry on all rollouts, or one, a turn of at most fifty users each; return what was done. The relay does."""
        turns = [RolloutTurn(**row) for row in await self._fetch(functions.rollouts.watch_rollouts(name))]
        await self._mirror_owners([okx_uid for turn in turns for okx_uid in turn.okx_uids])
        return turns

    async def list_rollouts(self, name: str | None = None) -> list[Rollout]:
        """List rollouts, the newest first, or the one of a name."""
        return [Rollout(**row) for row in await self._fetch(functions.rollouts.list_rollouts(name))]

    async def list_rollout_results(self, name: str) -> list[RolloutResult]:
        """List what each look at a rollout found. Raises RolloutRefused (no such rollout)."""
        return [RolloutResult(**row) for row in await self._fetch(functions.rollouts.list_rollout_results(name))]

    async def _decide(self, call: Call, name: str, actor: str | None, reason: str | None = None) -> Rollout:
        """Decide how a rollout goes on, and carry it on until nobody's document changes any more."""
        await self._write(call, actor, reason)
        waiting = None
        while True:
            is_moving = any(turn.okx_uids for turn in await self.watch_rollouts(name))
            (rollout,) = await self.list_rollouts(name)
            if not is_moving and rollout.waiting in (0, waiting):
                break
            if not is_moving:
                await asyncio.sleep(PAUSE)  # a relay is at it, or others hold those who are left
            waiting = rollout.waiting
        await self._mirror_owners(None)  # the first users got it by the decision itself
        return rollout


def rollout_bucket(name: str, okx_uid: str) -> int:
    """Return into which of the buckets 0 to 9999 of a rollout a user falls, as the SQL function of this name does. A
    step of 5 percent has those below 500."""
    digest = sha256(f"{name}:{check_identifier(okx_uid)}".encode()).hexdigest()
    return int(digest[:8], 16) % 10_000


def _percent(value: object, what: str) -> Decimal:
    number = amount_or_none(value, what)
    if number is None:
        raise InvalidArgument(f"{what} must be a number")
    return number
