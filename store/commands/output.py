"""What the command line reads and prints: KEY=VALUE pairs, JSON, tables."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import click

from store.commands.streams import is_utf8
from store.json_reader import NotJson, Untakeable, decoded, parse
from store.json_writer import shown_key
from store.shown import shown, shown_json

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from store.models import (
        CredentialsVersion,
        KeyChange,
        SavedSetting,
        ScheduledChange,
        Setting,
        Template,
        User,
        Version,
    )


MANY = 10  # keys that come or go together and are counted only


def say(line: str, *, err: bool = False) -> None:
    """Print a line. Names, reasons and keys in it are other people's text."""
    click.echo(shown(line), err=err)


def print_text(text: str, *, nl: bool = True) -> None:
    """Print lines of our own as they are."""
    click.echo(text, nl=nl)


def counted(number: int, noun: str) -> str:
    """Write how many: 1 user, 2 users."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs: a value is JSON where it parses as JSON, else text."""
    document: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not key or not separator:
            raise click.UsageError("Settings are given as KEY=VALUE.")
        if key in document:
            raise click.UsageError("A key is given twice.")
        try:
            document[key] = parse(text)
        except NotJson:
            document[key] = text
        except Untakeable as error:
            raise click.ClickException(f"{shown_key(key)} can't be taken: {error}") from None
    return document


def parse_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object. The error says where it breaks off, not what is there."""
    try:
        document = parse(decoded(data))
    except NotJson as error:
        raise click.ClickException(f"not JSON: {error}") from None
    except Untakeable as error:
        raise click.ClickException(f"not JSON that can be taken: {error}") from None
    if not isinstance(document, dict):
        raise click.ClickException("not a JSON object")
    return document


def print_setting(setting: Setting) -> None:
    at = moment(setting.updated_at)
    say(f"{setting.setting_type} · version {setting.version} · {at} · from {setting.source}")
    print_setting_values(setting.settings)


def print_setting_values(settings: dict[str, Any]) -> None:
    print_table(None, [(key, json.dumps(value, ensure_ascii=False)) for key, value in settings.items()])


def writer(version: Version | CredentialsVersion | Template) -> str:
    """Write who: as the writer said, and the login, where they differ."""
    if version.written_by in (None, version.changed_by):
        return version.changed_by or ""
    return f"{version.changed_by} (login {version.written_by})"


def print_version(version: Version, whose: str = "") -> None:
    """Print one version: a heading, and a line per key that changed."""
    heading = (
        f"{whose}{version.setting_type} version {version.version} · {moment(version.saved_at)} · {writer(version)}"
    )
    print_styled(heading + (f" · {version.change_reason}" if version.change_reason else ""), "bold")
    if version.changes is None:
        print_styled("  the version before was pruned", "dim")
    elif version.is_deleted:
        print_styled(f"  - deleted, with {len(version.changes)} keys", "red")
    else:
        print_changes(version.changes)


def print_changes(changes: Sequence[KeyChange]) -> None:
    """Print changes: + added, - removed, ~ old -> new. A document that comes or goes as a whole is one line."""
    for word, sign, style in (("added", "+", "green"), ("removed", "-", "red")):
        if len(changes) > MANY and all(change.change == word for change in changes):
            print_styled(f"  {sign} {len(changes)} keys", style)
            return
    for change in changes:
        old, new = (json.dumps(value, ensure_ascii=False) for value in (change.old, change.new))
        if change.change == "added":
            print_styled(f"  + {change.key}: {new}", "green")
        elif change.change == "removed":
            print_styled(f"  - {change.key}: {old}", "red")
        else:
            print_styled(f"  ~ {change.key}: {old} -> {new}", "yellow")


def print_styled(line: str, style: str) -> None:
    """Print a line; in colour on a terminal, unless NO_COLOR is set."""
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(Text(shown(line), style), soft_wrap=True)


def moment(time: datetime) -> str:
    """Write a time, as everywhere: ISO 8601 in UTC, with its offset; --at and --before read it."""
    from datetime import UTC

    return time.astimezone(UTC).isoformat()


def amount(value: Decimal) -> str:
    """Write an amount with every digit; nothing at all as 0, whatever scale it came with."""
    return f"{value:f}" if value else "0"


def print_saved(saved: SavedSetting) -> None:
    """Print what a save left behind: a line, and one more for keys that the document lacks."""
    if saved.is_deleted:
        where = "in PostgreSQL and Redis" if saved.mirrored else "in PostgreSQL; Redis will follow by the relay"
        say(f"{saved.setting_type}: version {saved.version} is a deletion, {where}")
        return
    where = "in PostgreSQL and Redis" if saved.mirrored else "in PostgreSQL; Redis will get it from the relay"
    say(f"{saved.setting_type}: version {saved.version}, {where}")
    if saved.missing_keys:
        more = f" and {len(saved.missing_keys) - MANY} more" if len(saved.missing_keys) > MANY else ""
        named = shown(", ".join(saved.missing_keys[:MANY]))
        say(f"  without {named}{more}, which the catalogue lists: settings-store register fills them")


def print_scheduled(change: ScheduledChange, as_json: bool) -> None:
    """Print what is to become of a scheduled change, or what became of it."""
    if as_json:
        print_json(change)
        return
    when = f"{change.state}, at {moment(change.at)}" + (f" until {moment(change.until)}" if change.until else "")
    whose = change.okx_uid or ("a filter" if change.users is None else counted(change.users, "user"))
    say(f"schedule {change.id}: {change.setting_type} of {whose}, {when}; {counted(change.changed, 'user')} changed")
    if change.note:
        say(f"  {change.note}")


def print_user(user: User, as_json: bool) -> None:
    """Print all there is to know of one user, a line each."""
    if as_json:
        print_json(user)
    else:
        print_table(None, [(name, str(plain(value))) for name, value in plain(user).items() if value is not None])


def print_json(value: Any) -> None:
    print_text(json_text(value))


def json_text(value: Any) -> str:
    """Write JSON for standard output: whatever that is, the text is JSON still."""
    return shown_json(json.dumps(value, ensure_ascii=not is_utf8(), indent=2, default=plain))


def plain(value: Any) -> Any:
    """Write what JSON has no form for in one that it has: a dataclass as its fields (and a document's symbol), a length
    of time in seconds, an amount as a text."""
    from datetime import datetime, timedelta
    from decimal import Decimal
    from uuid import UUID

    from store.models import Scoped

    if is_dataclass(value):
        names = [field.name for field in fields(value)] + ["symbol"] * isinstance(value, Scoped)
        return {name: getattr(value, name) for name in names}
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return amount(value)
    return str(value) if isinstance(value, UUID) else value


def print_table(
    columns: Sequence[str] | None, rows: Iterable[tuple[str, ...]], widths: Sequence[int] | None = None
) -> list[int]:
    """Print columns that line up, also with Korean text, and cut nothing: it may have to be copied. On a terminal that
    is too narrow for columns with headings, each row is a block, a line for each cell. Returns how wide the columns
    are, or nothing for blocks.

    `widths`: what was returned for the rows before, under the same heading, which is not printed again.
    """
    from rich.cells import cell_len

    cells = [[shown(cell) for cell in row] for row in rows]
    headings = columns or [""] * max(map(len, cells), default=0)
    wide = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    is_first = widths is None
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    if columns and cells and not widths and (not is_first or sum(wide) + 2 * len(wide) - 2 > room):
        for number, row in enumerate(cells):
            if number or not is_first:
                say("")
            print_table(None, [pair for pair in zip(headings, row, strict=True) if any(pair)])
        return []
    wide = [max(pair) for pair in zip(wide, widths or wide, strict=True)]
    for row in [*([list(headings)] if columns and is_first else []), *cells]:
        say("  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, wide, strict=True)).rstrip())
    return wide
