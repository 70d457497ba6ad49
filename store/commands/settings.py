"""The commands of settings: get, set, search."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from store.api.catalogue import each_masked, masked, mistyped
from store.commands.common import (
    Moment,
    Number,
    Span,
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
from store.commands.listing import JsonList, Printer, Table, print_list
from store.commands.output import (
    moment,
    parse_object,
    parse_pairs,
    print_json,
    print_saved,
    print_scheduled,
    print_setting,
    say,
)

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from store.api.store import SettingsStore
    from store.models import SavedSetting, Setting, Source


@click.command()
@identifier
@some_type
@of_symbol
@click.option("--source", type=click.Choice(["auto", "redis", "db"]), default="auto", show_default=True,
              help="Which store to ask; auto: Redis, then PostgreSQL.")  # fmt: skip
@click.option("--version", "version", type=Number(1), metavar="N", help="This version of the TYPE.")
@click.option("--at", "at", type=Moment(), metavar="TIME", help="What was in force then.")
@click.option("--reveal", is_flag=True, help="Show secrets (signal_bot_token), too.")
@as_json
def get(
    identifier: str, setting_type: str | None, symbol: str | None, source: str, version: int | None,
    at: datetime | None, reveal: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show a user's settings, of one TYPE or of all. Exit code 1 if there are none.

    With --symbol what is in force for it: the symbol's document, or else the user's own; the heading says which. A
    --version, or --at, is of the symbol's document alone.

    \b
    Example:
      settings-store get 587662504768345929 params
      settings-store get 1709556958 --json
      settings-store get 587662504768345929 params --version 3
      settings-store get 587662504768345929 dual_side --symbol BTC-USDT-SWAP
      settings-store get 587662504768345929 --at "2026-11-22 10:00+09:00"
    """
    ask: Source | None = "redis" if source == "redis" else "db" if source == "db" else None
    if version is not None and (setting_type is None or at is not None):
        raise click.UsageError("--version goes with a TYPE, and without --at.")
    if ask == "redis" and (version, at) != (None, None):
        raise click.UsageError("Redis has the active version only.")

    async def read(store: SettingsStore) -> list[Setting]:
        one: Setting | None
        if setting_type is None and at is not None:
            found = [one for one in await store.get_all_at(identifier, at) if symbol in (None, one.symbol)]
        elif setting_type is None:
            found = await store.get_all(identifier, source=ask, symbol=symbol)
        else:
            if version is not None:
                one = await store.get_version(identifier, setting_type, version, symbol=symbol)
            elif at is not None:
                one = await store.get_at(identifier, setting_type, at, symbol=symbol)
            else:
                one = await store.get(identifier, setting_type, source=ask, symbol=symbol)
            found = [one] if one else []
        return found if reveal else [await masked(store, setting) for setting in found]

    found = run(read)
    if as_json and setting_type is None:
        print_json(found)
    if not found:
        where = (
            f" in {ask}" if ask else f": version {version} is a deletion" if version else " at that time" if at else ""
        )
        raise click.ClickException(f"no {named(setting_type, symbol)} of {identifier}{where}")
    if as_json:
        if setting_type is not None:
            print_json(found[0])
        return
    for setting in found:
        print_setting(setting)


@click.command("set", short_help="Change settings, or replace them.")
@identifier
@setting_type
@click.argument("pairs", metavar="KEY=VALUE…", nargs=-1)
@of_symbol
@click.option("--file", "file", type=click.File("rb"), help="Read a JSON object from a file.")
@click.option("--stdin", "stdin", is_flag=True, help="Read a JSON object from standard input.")
@click.option("--replace", is_flag=True, help="Replace the whole document instead of merging.")
@click.option("--for", "span", type=Span(), metavar="TIME", help="Take it back after this time, as 30m, 2h or 1d.")
@expect_version
@who
@as_json
def set_(
    identifier: str, setting_type: str, pairs: Sequence[str], symbol: str | None, file: Any, stdin: bool, replace: bool,
    span: timedelta | None, expect_version: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Change settings: merge KEY=VALUE pairs, or a JSON object, into the document.

    A value is JSON where it parses as JSON, else text. Merging is JSON merge patch (RFC 7396): null puts the default of
    a key that the catalogue lists back, and removes any other; objects merge ({} changes nothing, null clears one that
    is listed). With --replace the document is kept as it is, and keys that it lacks are named. What `get --json` prints
    can be given as it is, but for masked secrets.

    With --for it is a scheduled change for now: a relay takes it back after that time, but for what somebody changed
    since. See `schedule`.

    \b
    Example:
      settings-store set 587662504768345929 params leverage=20 direction=롱 --reason "less risk"
      settings-store set 587662504768345929 params --file params.json --replace --expect-version 3
      settings-store set 587662504768345929 dual_side dual_side_entry_trigger=4 --symbol BTC-USDT-SWAP
      settings-store set 587662504768345929 params leverage=3 --for 30m --reason "news at half past"
    """
    if (len(pairs) > 0) + (file is not None) + stdin != 1:
        raise click.UsageError("Give one of these: KEY=VALUE pairs, --file, --stdin.")
    if replace and span is not None:
        raise click.UsageError("--for goes without --replace: what is taken back is single keys.")
    source: BinaryIO = file or sys.stdin.buffer
    document = parse_pairs(pairs) if pairs else _unwrapped(parse_object(source.read()), setting_type, symbol)
    if span is not None:
        change = run(
            lambda store: store.schedule_change(
                identifier, setting_type, document, symbol=symbol, for_=span, expected_version=expect_version
            )
        )
        print_scheduled(change, as_json)
        return

    async def write(store: SettingsStore) -> tuple[SavedSetting, dict[str, str]]:
        save = store.save if replace else store.patch
        saved = await save(identifier, setting_type, document, expected_version=expect_version, symbol=symbol)
        return await masked(store, saved), await mistyped(store, saved)

    saved, unknown = run(write)
    if not document:
        say("the object given is empty", err=True)
    for key, similar in unknown.items():
        if key in document:
            say(f"{key} is saved as it is: not in the catalogue. Did you mean {similar}?", err=True)
    if as_json:
        print_json(saved)
    else:
        print_saved(saved)


def _unwrapped(document: dict[str, Any], setting_type: str, symbol: str | None) -> dict[str, Any]:
    """Take the settings out of what `get --json` prints; anything else is the settings."""
    if not {"okx_uid", "setting_type", "version", "settings", "updated_at"} <= set(document):
        return document
    name = named(setting_type, symbol)
    if document["setting_type"] not in (name, setting_type) or not isinstance(document["settings"], dict):
        raise click.ClickException(f"the file holds what `get --json` prints, but no {name}")
    return dict(document["settings"])


@click.command(short_help="Find the users whose settings hold these values.")
@setting_type
@click.argument("pairs", metavar="KEY=VALUE…", nargs=-1, required=True)
@of_symbol
@click.option("--after", metavar="OKX_UID", help="Start after this user.")
@click.option("--limit", type=Number(1), metavar="N", default=100, show_default=True, help="Users at most.")
@as_json
def search(
    setting_type: str, pairs: Sequence[str], symbol: str | None, after: str | None, limit: int, as_json: bool
) -> None:
    """Find the users whose active settings hold all these values (by index).

    \b
    Example:
      settings-store search params leverage=10 direction=롱숏
    """
    wanted = parse_pairs(pairs)

    def to_row(setting: Setting) -> tuple[str, ...]:
        return setting.okx_uid, setting.telegram_id or "", str(setting.version), moment(setting.updated_at)

    columns = ("okx_uid", "telegram_id", "version", "updated_at")
    printer: Printer[Setting] = JsonList() if as_json else Table(columns, to_row)

    async def read(store: SettingsStore) -> tuple[int, Setting | None]:
        found = store.iter_search(setting_type, wanted, symbol=symbol, after=after, limit=limit)
        return await print_list(each_masked(store, found), printer)

    count, last = run(read)
    if last is not None and count == limit:
        say(f"more: --after {last.okx_uid}", err=True)
