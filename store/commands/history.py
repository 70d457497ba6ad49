"""The commands of versions: history, changes, diff, rollback, delete, restore, prune."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from store.api.catalogue import masked
from store.commands.common import (
    Moment,
    Number,
    as_json,
    expect_version,
    identifier,
    named,
    of_symbol,
    run,
    setting_type,
    some_type,
    who,
)
from store.commands.listing import Each, JsonList, Printer, print_list
from store.commands.output import (
    counted,
    moment,
    plain,
    print_changes,
    print_json,
    print_saved,
    print_table,
    print_version,
    say,
)
from store.commands.streams import acts

HELD = 10.0  # seconds after which it is told that changes are held back, and told again

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime

    from store.api.store import SettingsStore
    from store.models import CommittedChange, HeldChanges, SavedSetting, Version


@click.command(short_help="Show who changed what, when and why.")
@identifier
@some_type
@of_symbol
@click.option("--before", type=Moment(), metavar="TIME", help="Versions saved before then: the next page.")
@click.option("--limit", type=Number(1), metavar="N", default=20, show_default=True, help="Versions at most.")
@as_json
def history(
    identifier: str, setting_type: str | None, symbol: str | None, before: datetime | None, limit: int, as_json: bool
) -> None:  # fmt: skip
    """Show every version, newest first: when, who, why, and what it changed.

    A deleted user by OKX UID or UUID. Exit code 1 if nothing was ever saved.

    \b
    Example:
      settings-store history 587662504768345929 params
      settings-store history 587662504768345929 --limit 5 --json
    """
    printer: Printer[Version] = JsonList() if as_json else Each(print_version)
    count, last = run(
        lambda store: print_list(
            store.iter_history(identifier, setting_type, symbol=symbol, before=before, limit=limit), printer
        )
    )
    if last is None:
        raise click.ClickException(f"no versions of {named(setting_type, symbol)} of {identifier}")
    if count >= limit and (setting_type is None or last.version > 1):
        say(f"older ones: --before '{moment(last.saved_at)}'", err=True)


@click.command(short_help="Print every committed change, and go on from there later.")
@click.option("--after", metavar="CURSOR", help="Behind the change that has this cursor.")
@click.option(
    "--since", type=Moment(), metavar="TIME", help="Without a cursor: from the first change saved then or later."
)
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C or SIGTERM.")
@click.option("--limit", type=Number(1), metavar="N", help="Changes at most.")
@as_json
def changes(after: str | None, since: datetime | None, follow: bool, limit: int | None, as_json: bool) -> None:
    """Print committed changes of everybody's settings in the order of their transactions, none left out.

    Each has a cursor, with which --after goes on behind it; without one it begins with the oldest version there is.
    With --json an object a line, as soon as it is committed. An open transaction that has written anything, in any
    database of the server, holds back what was committed since: how long is told on standard error. Asks PostgreSQL
    only; with --follow it goes on when that was away.

    \b
    Example:
      settings-store changes --since 2026-11-22
      settings-store changes --follow --json --after "$CURSOR"
    """
    run(lambda store: _print_changes(store, store.changes(after, since=since, follow=follow), limit, follow, as_json))


async def _print_changes(
    store: SettingsStore, found: AsyncGenerator[CommittedChange], limit: int | None, follow: bool, as_json: bool
) -> None:
    import asyncio
    from contextlib import aclosing
    from json import dumps

    printed, last = 0, None
    telling = asyncio.create_task(_tell_of_held(store)) if follow else None
    try:
        async with aclosing(found):
            async for change in found:
                if as_json:
                    say(dumps(plain(change), default=plain))
                else:
                    print_version(change, f"{change.okx_uid} ")
                sys.stdout.flush()
                printed, last = printed + 1, change
                if printed == limit:
                    break
    finally:
        if telling:
            telling.cancel()
    if last and not as_json:
        say(f"go on: --after {last.cursor}", err=True)
    if printed != limit and (held := await store.changes_held()):
        say(_held(held), err=True)


async def _tell_of_held(store: SettingsStore) -> None:
    import asyncio
    from contextlib import suppress
    from datetime import timedelta

    from store.errors import StoreError

    while True:
        await asyncio.sleep(HELD)
        with suppress(StoreError):
            held = await store.changes_held()
            if held and held.waited > timedelta(seconds=HELD):
                say(_held(held), err=True)


def _held(held: HeldChanges) -> str:
    whose = f"that of process {held.process}" if held.process else "a prepared one, or not known which"
    return f"held back for {held.waited.total_seconds():.1f} s, until an open transaction ends: {whose}"


@click.command()
@identifier
@setting_type
@click.argument("a", type=Number(1))
@click.argument("b", type=Number(1))
@of_symbol
@as_json
def diff(identifier: str, setting_type: str, a: int, b: int, symbol: str | None, as_json: bool) -> None:
    """Show what differs between two versions, A and B. Nothing is printed if nothing does.

    \b
    Example:
      settings-store diff 587662504768345929 params 3 5
    """
    changes = run(lambda store: store.diff(identifier, setting_type, a, b, symbol=symbol))
    if as_json:
        print_json(changes)
    else:
        print_changes(changes)


@click.command(short_help="Save an earlier version again, as a new one.")
@identifier
@some_type
@click.argument("version", metavar="[VERSION]", type=Number(1), required=False)
@click.option("--at", type=Moment(), metavar="TIME", help="All types, to what was in force then.")
@of_symbol
@expect_version
@who
@as_json
def rollback(
    identifier: str, setting_type: str | None, version: int | None, at: datetime | None, symbol: str | None,
    expect_version: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Save an earlier VERSION of a TYPE again, as a new version; or with --at, all types at once.

    History is never rewritten. What wasn't there at that time is deleted; nothing happens where nothing differs.

    \b
    Example:
      settings-store rollback 587662504768345929 params 3 --reason "as before the weekend"
      settings-store rollback 587662504768345929 --at "2026-11-22 10:00"
    """
    if (version is None) == (at is None) or (
        at is not None and (setting_type, symbol, expect_version) != (None, None, None)
    ):
        raise click.UsageError("Give a TYPE and a VERSION, or --at for all types.")

    async def write(store: SettingsStore) -> list[SavedSetting]:
        if at is not None:
            saved = await store.rollback_all(identifier, at)
        else:
            assert setting_type is not None
            assert version is not None
            saved = [
                await store.rollback(identifier, setting_type, version, symbol=symbol, expected_version=expect_version)
            ]
        return [await masked(store, setting) for setting in saved]

    _print_saved(run(write), as_json, one=at is None)


@click.command()
@identifier
@setting_type
@of_symbol
@expect_version
@who
@as_json
def delete(identifier: str, setting_type: str, symbol: str | None, expect_version: int | None, as_json: bool) -> None:
    """Delete settings, from Redis too. A version of its own: `restore` brings them back.

    Exit code 1 if there are none.

    \b
    Example:
      settings-store delete 587662504768345929 dual_side --reason "not used"
    """
    saved = run(lambda store: store.delete(identifier, setting_type, symbol=symbol, expected_version=expect_version))
    if saved is None:
        raise click.ClickException(f"no {named(setting_type, symbol)} of {identifier}")
    _print_saved([saved], as_json)


@click.command()
@identifier
@setting_type
@of_symbol
@expect_version
@who
@as_json
def restore(identifier: str, setting_type: str, symbol: str | None, expect_version: int | None, as_json: bool) -> None:
    """Bring deleted settings back, as a new version. What isn't deleted stays as it is.

    \b
    Example:
      settings-store restore 587662504768345929 dual_side
    """

    async def write(store: SettingsStore) -> SavedSetting:
        saved = await store.restore(identifier, setting_type, symbol=symbol, expected_version=expect_version)
        return await masked(store, saved)

    _print_saved([run(write)], as_json)


@click.command()
@click.option("--keep", type=Number(1), required=True, metavar="N", help="Newest versions to keep of each.")
@click.option("--older-than", type=Number(0, 36500), required=True, metavar="DAYS",
              help="Remove only what went out of force more than so many days ago.")  # fmt: skip
@click.option("--okx-uid", metavar="U", help="This user only.")
@click.option("--dry-run", is_flag=True, help="Remove nothing; tell how many would go.")
@as_json
@acts
def prune(keep: int, older_than: int, okx_uid: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove old versions. Besides `user erase` the only command that removes any.

    Never the active version, nor the one that `restore` would bring back; version numbers are not used again. Versions
    of API credentials stay.

    \b
    Example:
      settings-store prune --keep 100 --older-than 365 --dry-run
    """
    from datetime import timedelta

    age = timedelta(days=older_than)
    gone = run(lambda store: store.prune(keep, age, identifier=okx_uid, dry_run=dry_run))
    if as_json:
        print_json({"dry_run": dry_run, "versions": gone})
        return
    if gone:
        print_table(None, [(name, str(number)) for name, number in gone.items()])
    say(f"{counted(sum(gone.values()), 'version')} {'would be ' if dry_run else ''}removed")


def _print_saved(saved: list[SavedSetting], as_json: bool, one: bool = True) -> None:
    if as_json:
        print_json(saved[0] if one else saved)
        return
    for setting in saved:
        print_saved(setting)
