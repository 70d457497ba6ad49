"""The commands of the kill switch: halt, resume, halts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from store.commands.common import as_json, by_actor, run
from store.commands.output import moment, print_json, print_table, say

if TYPE_CHECKING:
    from store.models import HaltRecord, SavedHalt

of_user = click.option("--user", "identifier", metavar="IDENTIFIER", help="This user's trading; else everybody's.")
of_symbol = click.option("--symbol", metavar="S", help="That of this symbol, as BTC-USDT-SWAP; else of all.")
why = click.option("--reason", metavar="TEXT", required=True, help="Why; bots get it, and it is kept.")


@click.command(short_help="Halt trading at once: everybody's, a user's, a symbol's.")
@of_user
@of_symbol
@why
@by_actor
@as_json
def halt(identifier: str | None, symbol: str | None, reason: str, as_json: bool) -> None:
    """Halt trading at once: everybody's, or a user's, or that of a symbol, or of both together.

    Bots that ask before every order stop within milliseconds. No setting changes. Idempotent: where it is halted
    already, the first reason stays. Without Redis it holds, too: bots ask PostgreSQL then.

    \b
    Example:
      settings-store halt --reason "the exchange is down"
      settings-store halt --symbol DOGE-USDT-SWAP --reason "delisted"
    """
    _tell("halted", run(lambda store: store.halt_trading(reason, identifier, symbol=symbol)), as_json)


@click.command(short_help="Let trading go on that was halted.")
@of_user
@of_symbol
@why
@by_actor
@as_json
def resume(identifier: str | None, symbol: str | None, reason: str, as_json: bool) -> None:
    """End the halt of exactly this scope. Exit code 1 if there is none.

    Other halts stay: who resumes everybody doesn't resume a user that was halted apart. `halts` lists them.

    \b
    Example:
      settings-store resume --reason "the exchange is back"
    """
    ended = run(lambda store: store.resume_trading(reason, identifier, symbol=symbol))
    if ended is None:
        raise click.ClickException("no such halt is in force: settings-store halts")
    _tell("resumed", ended, as_json)


def _tell(what: str, saved: SavedHalt, as_json: bool) -> None:
    if as_json:
        print_json(saved)
        return
    where = "in PostgreSQL and Redis" if saved.mirrored else "in PostgreSQL; Redis will get it from the relay"
    say(f"{what}: {saved.scope}, {where}")
    if what == "halted":
        say(f"  since {moment(saved.since)}, by {saved.halted_by}: {saved.reason}")


@click.command(short_help="List who is halted, since when and why.")
@click.option("--all", "include_ended", is_flag=True, help="Those that ended, too.")
@as_json
def halts(include_ended: bool, as_json: bool) -> None:
    """List the halts of trading in force, newest first: whose, since when, by whom, why.

    \b
    Example:
      settings-store halts --all
    """
    found = run(lambda store: store.list_halts(include_ended=include_ended))
    if as_json:
        print_json(found)
        return
    columns = ["scope", "since", "halted by", "reason"] + ["resumed at", "resumed by", "why"] * include_ended
    print_table(columns, [_row(one)[: len(columns)] for one in found])


def _row(one: HaltRecord) -> tuple[str, ...]:
    ended = moment(one.resumed_at) if one.resumed_at else ""
    resumed = (ended, one.resumed_by or "", one.resume_reason or "")
    return (one.scope, moment(one.since), one.halted_by, one.reason, *resumed)
