"""The commands of rollouts: begin, status, advance, pause, resume, end, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from store.commands.common import Number, as_json, run, setting_type, who
from store.commands.listing import JsonList, Table
from store.commands.output import amount, counted, moment, parse_pairs, print_json, print_table, say
from store.commands.streams import acts

if TYPE_CHECKING:
    from store.models import Guard, OnWorse, Rollout, RolloutOutcome, RolloutResult

name = click.argument("name")
OUTCOMES = {"keep": "keep", "everybody": "everybody", "roll-back": "roll_back"}
GUARDS = ("net_per_trade", "win_rate", "drawdown")


@click.group()
def rollout() -> None:
    """Give a template to users step by step.

    What they earn is compared with what a control group earns, and a rollout that does worse is stopped.

    \b
    Example:
      settings-store rollout begin careful-first careful params --steps 5,25,100
      settings-store rollout status careful-first
    """


class Steps(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """Percentages, with commas between."""

    name = "percentages"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = Number(0, 100, is_whole=False)
        if isinstance(value, str):
            return [number.convert(part.strip(), param, ctx) for part in value.split(",")]
        return value


@rollout.command("begin")
@name
@click.argument("template")
@setting_type
@click.option("--steps", type=Steps(), default="5,25,100", show_default=True, metavar="PERCENT,…",
              help="How many of the users have it at each step.")  # fmt: skip
@click.option("--where", "pairs", metavar="KEY=VALUE", multiple=True,
              help="Users whose settings hold this value only; may be repeated.")  # fmt: skip
@click.option("--control", type=Number(0, 100, is_whole=False), default=10, show_default=True, metavar="PERCENT",
              help="How many get nothing before the end.")  # fmt: skip
@click.option("--guard", type=click.Choice(GUARDS), default="net_per_trade", show_default=True,
              help="What both groups are compared by.")  # fmt: skip
@click.option("--minimum-trades", type=Number(1), default=100, show_default=True, metavar="N",
              help="Closed trades of each group before the first look.")  # fmt: skip
@click.option("--currency", default="USDT", show_default=True, metavar="CODE",
              help="Of the trades that are compared; empty: of those whose currency isn't known.")  # fmt: skip
@click.option("--on-worse", type=click.Choice(["pause", "roll-back"]), default="pause", show_default=True,
              help="What happens if who has it does worse beyond chance.")  # fmt: skip
@click.option("--step-days", type=Number(0.0001, 36500, is_whole=False), metavar="DAYS",
              help="Advance after so many days, unless it is worse; else by `advance`.")  # fmt: skip
@who
@as_json
def rollout_begin(
    name: str, template: str, setting_type: str, steps: list[float], pairs: Sequence[str], control: float,
    guard: Guard, minimum_trades: int, currency: str, on_worse: str, step_days: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Begin to give a TEMPLATE to users.

    Those of the first step get it now. Users fall into the steps by a hash of their OKX UID and the NAME. Who registers
    later, or has it so already, isn't in it. The relay watches the results, and carries on what is left to do.

    \b
    Example:
      settings-store rollout begin careful-first careful params --where leverage=20 --reason "less risk"
      settings-store rollout begin tight tight-sl params --steps 1,10,50 --step-days 3 --guard drawdown
    """
    from datetime import timedelta

    worse: OnWorse = "pause" if on_worse == "pause" else "roll_back"
    begun = run(
        lambda store: store.begin_rollout(
            name, template, setting_type, steps=steps, filter=parse_pairs(pairs), minimum_trades=minimum_trades,
            guard=guard, on_worse=worse, control=control, currency=currency or None,
            step_time=None if step_days is None else timedelta(days=step_days),
        )
    )  # fmt: skip
    _print(begun, as_json)


@rollout.command("status")
@click.argument("name", required=False)
@as_json
def rollout_status(name: str | None, as_json: bool) -> None:
    """List rollouts, or show one.

    With the NAME of one: what each look at its results found; exit code 1 if there is none. Means are of what the
    rollout's guard says: the net PnL of a trade, the share of wins, a user's deepest drawdown. The difference is above
    `lower` and below `upper`, but for chance.

    \b
    Example:
      settings-store rollout status
      settings-store rollout status careful-first
    """
    if name is None:
        _print_all(run(lambda store: store.list_rollouts()), as_json)
        return
    found = run(lambda store: store.list_rollouts(name))
    if not found:
        raise click.ClickException(f"no rollout {name}")
    results = run(lambda store: store.list_rollout_results(name))
    if as_json:
        print_json({"rollout": found[0], "results": results})
        return
    _print(found[0], False)
    if results:
        _print_results(results)


@rollout.command("advance")
@name
@click.option("--from", "from_step", type=Number(1), metavar="N", help="Only if it is at this step.")
@who
@as_json
def rollout_advance(name: str, from_step: int | None, as_json: bool) -> None:
    """Go on to the next step.

    Whatever the results are.

    \b
    Example:
      settings-store rollout advance careful-first --from 1
    """
    _print(run(lambda store: store.advance_rollout(name, from_step=from_step)), as_json)


@rollout.command("pause")
@name
@who
@as_json
def rollout_pause(name: str, as_json: bool) -> None:
    """Stop a rollout where it is.

    Who has it keeps it; nobody gets it, nobody looks.

    \b
    Example:
      settings-store rollout pause careful-first --reason "the exchange is down"
    """
    _print(run(lambda store: store.pause_rollout(name)), as_json)


@rollout.command("resume")
@name
@who
@as_json
def rollout_resume(name: str, as_json: bool) -> None:
    """Go on with a rollout that is paused.

    At the same step, with the looks that are left of it.

    \b
    Example:
      settings-store rollout resume careful-first
    """
    _print(run(lambda store: store.resume_rollout(name)), as_json)


@rollout.command("end")
@name
@click.argument("outcome", type=click.Choice([*OUTCOMES]))
@who
@as_json
def rollout_end(name: str, outcome: str, as_json: bool) -> None:
    """End a rollout.

    OUTCOME: keep (who has it keeps it), everybody (all get it, the control group too), roll-back.

    Rolled back, each key that it changed gets back the value it had, user by user, unless it was changed again since.
    What has ended otherwise can be rolled back still.

    \b
    Example:
      settings-store rollout end careful-first everybody
      settings-store rollout end careful-first roll-back --reason "no better"
    """
    wanted: RolloutOutcome = OUTCOMES[outcome]  # type: ignore[assignment]
    _print(run(lambda store: store.end_rollout(name, wanted)), as_json)


@rollout.command("delete")
@name
@as_json
@acts
def rollout_delete(name: str, as_json: bool) -> None:
    """Forget a rollout that has ended.

    Its results go with it, and what users had before. Users keep what they have.

    \b
    Example:
      settings-store rollout delete careful-first
    """
    run(lambda store: store.delete_rollout(name))
    if as_json:
        print_json({"name": name})
    else:
        say(f"deleted rollout {name}")


def _print(one: Rollout, as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    outcome = f" ({one.outcome.replace('_', ' ')})" if one.outcome else ""
    steps = ", ".join(amount(step) for step in one.steps)
    say(f"rollout {one.name}: {one.state}{outcome}, step {one.step} of {len(one.steps)} ({steps} %)")
    waiting = f", {one.waiting} waiting" if one.waiting else ""
    back = f", {one.taken_back} taken back" if one.taken_back else ""
    say(f"  {one.given} of {counted(one.users, 'user')} have {one.template} for {one.setting_type}{waiting}{back}")
    for problem, users in one.problems.items():
        say(f"  skipped {counted(users, 'user')}: {problem}")
    trades = f"{one.treated_trades} of who has it, {one.control_trades} of who doesn't"
    say(f"  trades of this step: {trades}; {counted(one.looks, 'look')} so far, by {one.guard}")
    if one.note:
        say(f"  {one.note}")


def _print_all(found: list[Rollout], as_json: bool) -> None:
    def to_row(one: Rollout) -> tuple[str, ...]:
        step = f"{one.step}/{len(one.steps)}"
        return one.name, one.setting_type, one.state, step, str(one.given), one.verdict or "", moment(one.begun_at)

    columns = ("name", "type", "state", "step", "have it", "last look", "begun at")
    printer: JsonList[Rollout] | Table[Rollout] = JsonList() if as_json else Table(columns, to_row)
    for one in found:
        printer.add(one)
    printer.end()


def _print_results(results: list[RolloutResult]) -> None:
    columns = ("step", "look", "at", "have it", "trades", "mean", "control", "trades", "mean", "difference", "lower",
               "upper", "verdict")  # fmt: skip
    rows = [
        (str(one.step), str(one.look), moment(one.looked_at), str(one.treated_users), str(one.treated_trades),
         f"{one.treated_mean:.6g}", str(one.control_users), str(one.control_trades), f"{one.control_mean:.6g}",
         f"{one.difference:.6g}", f"{one.lower:.6g}", f"{one.upper:.6g}", one.verdict)
        for one in results
    ]  # fmt: skip
    print_table(columns, rows)
