"""The commands of scheduled changes: set, list, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from store.commands.common import Moment, Number, Span, as_json, expect_version, of_symbol, run, who
from store.commands.listing import JsonList, Printer, Table, print_list
from store.commands.output import counted, moment, parse_pairs, print_scheduled, say
from store.commands.streams import acts

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from store.api.store import SettingsStore
    from store.models import ScheduledChange


@click.group()
def schedule() -> None:
    """Change settings at a moment, for good or for a while. A relay does it, by PostgreSQL's clock.

    \b
    Example:
      settings-store schedule set 587662504768345929 params leverage=3 --at "2099-12-01 13:25Z" --for 2h
      settings-store schedule list --to-come
    """


@schedule.command("set", short_help="Have settings changed at a moment.")
@click.argument("words", metavar="[IDENTIFIER]… TYPE [KEY=VALUE]…", nargs=-1, required=True)
@click.option("--at", type=Moment(), metavar="TIME", help="When; without, now.")
@click.option("--until", type=Moment(), metavar="TIME", help="When it is taken back.")
@click.option("--for", "span", type=Span(), metavar="TIME", help="After what time it is, as 30m, 2h or 1d (24 hours).")
@click.option("--not-after", type=Moment(), metavar="TIME", help="It expires if no relay could apply it by then.")
@click.option("--template", metavar="NAME", help="Apply this template.")
@click.option("--version", type=Number(1), metavar="N", help="Roll back to this version.")
@click.option("--where", "pairs", metavar="KEY=VALUE", multiple=True,
              help="Of everybody whose settings hold this value then; may be repeated.")  # fmt: skip
@click.option("--all", "everybody", is_flag=True, help="Of everybody who has such settings then.")
@of_symbol
@expect_version
@who
@as_json
def schedule_set(
    words: Sequence[str], at: datetime | None, until: datetime | None, span: timedelta | None,
    not_after: datetime | None, template: str | None, version: int | None, pairs: Sequence[str], everybody: bool,
    symbol: str | None, expect_version: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Have settings changed at a moment: by KEY=VALUE pairs, merged as `set` merges them, by a --template, or by a
    rollback to a --version.

    It is checked now and again when it is due, and done within a second then, or as soon as a relay runs. What is taken
    back are the keys that it changed, but for those that somebody changed since. Several users, or those of --where,
    are changed each for itself; without --at all or none of them.

    A TIME without an offset is this computer's: write one, as in 13:25Z or 13:25+09:00.

    \b
    Example:
      settings-store schedule set 587662504768345929 params leverage=3 --at "2099-12-01 13:25Z" --for 2h
      settings-store schedule set params --template careful --where leverage=20 --at "2099-12-01 13:25Z"
      settings-store schedule set 587662504768345929 params --version 1 --at "2099-12-01 13:25Z" --expect-version 1
    """
    plain = [word for word in words if "=" not in word]
    changes = words[len(plain) :]
    if not plain or any("=" not in word for word in changes):
        raise click.UsageError("First IDENTIFIERs, then a TYPE, then KEY=VALUE pairs.")
    *identifiers, setting_type = plain
    if (len(identifiers) > 0) + (len(pairs) > 0) + everybody != 1:
        raise click.UsageError("Give one of these: IDENTIFIERs, --where, --all.")
    if (len(changes) > 0) + (template is not None) + (version is not None) != 1:
        raise click.UsageError("Give one of these: KEY=VALUE pairs, --template, --version.")
    if len(identifiers) != 1 and (version, expect_version) != (None, None):
        raise click.UsageError("--version and --expect-version are of one user.")
    what: dict[str, Any] = {"template": template, "symbol": symbol}
    when: dict[str, Any] = {"at": at, "until": until, "for_": span, "not_after": not_after}
    patch = parse_pairs(changes) if changes else None

    async def write(store: SettingsStore) -> ScheduledChange:
        if len(identifiers) == 1:
            return await store.schedule_change(
                identifiers[0], setting_type, patch, version=version, expected_version=expect_version, **what, **when
            )
        wanted = None if identifiers else parse_pairs(pairs)
        return await store.schedule_changes(
            setting_type, patch, identifiers=identifiers or None, filter=wanted, **what, **when
        )

    print_scheduled(run(write), as_json)


@schedule.command("list")
@click.argument("identifier", required=False)
@click.option("--to-come", is_flag=True, help="Only what isn't over.")
@click.option("--before", type=Number(1), metavar="N", help="Before this number: the next page.")
@click.option("--limit", type=Number(1), metavar="N", default=100, show_default=True, help="So many at most.")
@as_json
def schedule_list(identifier: str | None, to_come: bool, before: int | None, limit: int, as_json: bool) -> None:
    """List scheduled changes, newest first, of a user or of all.

    Their states: waiting, to be applied; active, applied and to be taken back; done; failed, for one user at least;
    expired; cancelled.

    \b
    Example:
      settings-store schedule list --to-come
      settings-store schedule list 587662504768345929 --json
    """

    def to_row(one: ScheduledChange) -> tuple[str, ...]:
        what = one.template or (f"version {one.version}" if one.version else ", ".join(one.patch or {}))
        whose = one.okx_uid or ("filter" if one.users is None else counted(one.users, "user"))
        until = moment(one.until) if one.until else ""
        return (
            str(one.id), one.state, whose, one.setting_type, what, moment(one.at), until, one.scheduled_by,
            one.note or "",
        )  # fmt: skip

    columns = ("number", "state", "whose", "type", "what", "at", "until", "by", "note")
    printer: Printer[ScheduledChange] = JsonList() if as_json else Table(columns, to_row)

    async def read(store: SettingsStore) -> tuple[int, ScheduledChange | None]:
        found = store.iter_scheduled_changes(identifier, to_come=to_come, before=before, limit=limit)
        return await print_list(found, printer)

    count, last = run(read)
    if last is not None and count == limit:
        say(f"older ones: --before {last.id}", err=True)


@schedule.command("cancel")
@click.argument("number", type=Number(1))
@click.option("--take-back", is_flag=True, help="Take back what it did, now.")
@as_json
@acts
def schedule_cancel(number: int, take_back: bool, as_json: bool) -> None:
    """Have nothing more happen of a scheduled change. What it did already stays, unless --take-back.

    \b
    Example:
      settings-store schedule cancel 7
    """
    print_scheduled(run(lambda store: store.cancel_scheduled_change(number, take_back=take_back)), as_json)
