"""The SQL functions of rollouts, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from store.arguments import count_or_none, line, text_or_none
from store.errors import InvalidArgument
from store.json_writer import json_text
from store.postgres.call import Call, _read, _write


def begin_rollout(
    name: str,
    template: str,
    setting_type: str,
    steps: Sequence[Decimal],
    filter: Mapping[str, Any],
    minimum_trades: int,
    guard: str,
    on_worse: str,
    step_time: timedelta | None,
    control: Decimal,
    currency: str | None,
) -> Call:
    return _write(
        "r.name", "begin_rollout", "name", _name(name), template=line(template, "a template's name", InvalidArgument),
        setting_type=setting_type, steps=list(steps), filter=json_text(filter),
        minimum_trades=count_or_none(minimum_trades, "minimum_trades"), guard=text_or_none(guard, "guard"),
        on_worse=text_or_none(on_worse, "on_worse"), step_time=step_time, control=control,
        currency=text_or_none(currency, "currency"),
    )  # fmt: skip


def advance_rollout(name: str, from_step: int | None) -> Call:
    return _write("r.name", "advance_rollout", "name", _name(name), **{"from": count_or_none(from_step, "from_step")})


def pause_rollout(name: str) -> Call:
    return _write("r.name", "pause_rollout", "name", _name(name))


def resume_rollout(name: str) -> Call:
    return _write("r.name", "resume_rollout", "name", _name(name))


def end_rollout(name: str, outcome: str) -> Call:
    return _write("r.name", "end_rollout", "name", _name(name), outcome=text_or_none(outcome, "outcome"))


def delete_rollout(name: str) -> Call:
    return _read("r", "delete_rollout", name=_name(name))


def watch_rollouts(name: str | None) -> Call:
    return _read("r.*", "watch_rollouts", name=None if name is None else _name(name))


def list_rollouts(name: str | None) -> Call:
    return _read("r.*", "list_rollouts", name=None if name is None else _name(name))


def list_rollout_results(name: str) -> Call:
    return _read("r.*", "list_rollout_results", name=_name(name))


def _name(name: str) -> str:
    return line(name, "a rollout's name", InvalidArgument)
