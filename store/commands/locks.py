"""The commands of locks: lock, unlock, locks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from store.commands.common import Moment, as_json, by_actor, of_symbol, run, setting_type
from store.commands.output import counted, moment, print_json, print_table, say

if TYPE_CHECKING:
    from datetime import datetime

    from store.models import SettingLock

of_user = click.option("--user", "identifier", metavar="IDENTIFIER", help="This user's; else everybody's.")
some_keys = click.argument("keys", metavar="[KEY…]", nargs=-1)


@click.command(short_help="Keep keys of settings from being changed, by whomever.")
@setting_type
@some_keys
@of_user
@of_symbol
@click.option("--reason", metavar="TEXT", required=True, help="Why; whoever is refused gets it.")
@click.option("--until", type=Moment(), metavar="TIME", help="It ends then; else with `unlock`.")
@by_actor
@as_json
def lock(
    setting_type: str, keys: Sequence[str], identifier: str | None, symbol: str | None, reason: str,
    until: datetime | None, as_json: bool,
) -> None:  # fmt: skip
    """Lock keys of a TYPE, or without KEYs the whole document: nobody changes them, be it by psql or in Redis.

    In place of earlier locks of these keys. Takes the role settings_admin.

    \b
    Example:
      settings-store lock params leverage --user 587662504768345929 --reason audit --until 2999-12-01
      settings-store lock dual_side --reason "the new release is coming"
    """
    found = run(
        lambda store: store.lock_setting(
            identifier, setting_type, list(keys) or None, reason=reason, until=until, symbol=symbol
        )
    )
    if as_json:
        print_json(found)
    else:
        _print(found)


@click.command(short_help="Let keys of settings be changed again.")
@setting_type
@some_keys
@of_user
@of_symbol
@by_actor
@as_json
def unlock(
    setting_type: str, keys: Sequence[str], identifier: str | None, symbol: str | None, as_json: bool
) -> None:  # fmt: skip
    """Remove locks of exactly this scope: of these KEYs, or of all. Exit code 1 if there is none.

    What a running bot has locked stays, until it stops or the lock ends. Takes the role settings_admin.

    \b
    Example:
      settings-store unlock params --user 587662504768345929
    """
    found = run(lambda store: store.unlock_setting(identifier, setting_type, list(keys) or None, symbol=symbol))
    if not found:
        raise click.ClickException("no such lock: settings-store locks")
    if as_json:
        print_json(found)
    else:
        say(f"removed {counted(len(found), 'lock')}")


@click.command(short_help="List which keys are locked, and until when.")
@click.argument("identifier", required=False)
@as_json
def locks(identifier: str | None, as_json: bool) -> None:
    """List the locks of settings in force: all, or those that hold for a user.

    \b
    Example:
      settings-store locks 587662504768345929
    """
    found = run(lambda store: store.list_locks(identifier))
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: Sequence[SettingLock]) -> None:
    columns = ("whose", "type", "key", "until", "locked by", "reason")
    print_table(columns, [_row(one) for one in found])


def _row(one: SettingLock) -> tuple[str, ...]:
    until = moment(one.until) if one.until else "unlocked"
    return one.okx_uid or "everybody", one.setting_type, one.key or "(all)", until, one.locked_by, one.reason
