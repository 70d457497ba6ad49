"""What the command line reads and prints: KEY=VALUE pairs, JSON, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from unicodedata import category

import click

from store.json_reader import DuplicateKey, refuse_constant, unique

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from store.models import CredentialsVersion, KeyChange, SavedSetting, Setting, Template, User, Version


MANY = 10  # keys that come or go together and are counted only


def counted(number: int, noun: str) -> str:
    """Write how many: 1 user, 2 users."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs: a value is JSON where it parses as JSON, else text."""
    from decimal import Decimal

    document = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not key or not separator:
            raise click.UsageError("Settings are given as KEY=VALUE.")
        if key in document:
            raise click.UsageError("A key is given twice.")
        try:
            document[key] = json.loads(text, parse_float=Decimal, parse_constant=refuse_constant)
        except (ValueError, ArithmeticError, RecursionError):
            document[key] = text
    return document


def parse_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object. The error says where it breaks off, not what is there."""
    from decimal import Decimal

    try:
        document = json.loads(
            data, parse_float=Decimal, parse_constant=refuse_constant, object_pairs_hook=unique
        )  # every digit
    except DuplicateKey:
        raise click.ClickException("not JSON that can be taken: a key is there twice in one object") from None
    except json.JSONDecodeError as error:
        raise click.ClickException(f"not JSON: {error.msg}, line {error.lineno} column {error.colno}") from None
    except UnicodeDecodeError:
        raise click.ClickException("not JSON: the text is not UTF-8") from None
    except RecursionError:
        raise click.ClickException("not JSON: nested too deep") from None
    except (ValueError, ArithmeticError):
        raise click.ClickException("not JSON: it holds NaN, Infinity or a number of thousands of digits") from None
    if not isinstance(document, dict):
        raise click.ClickException("not a JSON object")
    return document


def setting_json(setting: Setting) -> dict[str, Any]:
    result: dict[str, Any] = {
        "okx_uid": setting.okx_uid,
        "telegram_id": setting.telegram_id,
        "setting_type": setting.setting_type,
        "version": setting.version,
        "settings": setting.settings,
        "updated_at": setting.updated_at,
        "source": setting.source,
    }
    if hasattr(setting, "mirrored"):
        result |= {name: getattr(setting, name) for name in ("mirrored", "is_deleted", "missing_keys")}
    return result


def print_setting(setting: Setting) -> None:
    at = moment(setting.updated_at)
    click.echo(f"{setting.setting_type} · version {setting.version} · {at} · from {setting.source}")
    print_setting_values(setting.settings)


def print_setting_values(settings: dict[str, Any]) -> None:
    print_table(None, [(key, json.dumps(value, ensure_ascii=False)) for key, value in settings.items()])


def change_json(change: KeyChange) -> dict[str, Any]:
    return {"key": change.key, "change": change.change, "old": change.old, "new": change.new}


def version_json(version: Version) -> dict[str, Any]:
    return {
        "okx_uid": version.okx_uid,
        "setting_type": version.setting_type,
        "version": version.version,
        "saved_at": version.saved_at,
        "changed_by": version.changed_by,
        "written_by": version.written_by,
        "change_reason": version.change_reason,
        "is_deleted": version.is_deleted,
        "changes": None if version.changes is None else [change_json(change) for change in version.changes],
    }


def writer(version: Version | CredentialsVersion | Template) -> str:
    """Write who: as the writer said, and the login, where they differ."""
    if version.written_by in (None, version.changed_by):
        return version.changed_by or ""
    return f"{version.changed_by} (login {version.written_by})"


def print_version(version: Version) -> None:
    """Print one version: a heading, and a line per key that changed."""
    heading = f"{version.setting_type} version {version.version} · {moment(version.saved_at)} · {writer(version)}"
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

    Console(highlight=False).print(Text(printable(line), style), soft_wrap=True)


def printable(text: str) -> str:
    """Escape what would steer a terminal or begin a line: names, reasons and keys are other people's text."""
    return "".join(
        sign if sign.isprintable() or category(sign) == "Zs" else sign.encode("unicode_escape").decode()
        for sign in text
    )


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
        click.echo(f"{saved.setting_type}: version {saved.version} is a deletion, {where}")
        return
    where = "in PostgreSQL and Redis" if saved.mirrored else "in PostgreSQL; Redis will get it from the relay"
    click.echo(f"{saved.setting_type}: version {saved.version}, {where}")
    if saved.missing_keys:
        more = f" and {len(saved.missing_keys) - MANY} more" if len(saved.missing_keys) > MANY else ""
        named = printable(", ".join(saved.missing_keys[:MANY]))
        click.echo(f"  without {named}{more}, which the catalogue lists: settings-store register fills them")


def print_user(user: User, as_json: bool) -> None:
    """Print all there is to know of one user, a line each."""
    found = asdict(user)
    if as_json:
        print_json(found)
    else:
        print_table(None, [(name, str(plain(value))) for name, value in found.items() if value is not None])


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=plain))


def plain(value: Any) -> Any:
    """Make what JSON has no form for a text or a number: a length of time is seconds, an amount a text."""
    from datetime import datetime, timedelta
    from decimal import Decimal
    from uuid import UUID

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
    """Print columns that line up, also with Korean text; a pipe gets the rows unwrapped. Returns how wide they are.

    `widths`: of the rows printed before, under the same heading, which is not printed again.
    """
    from rich.cells import cell_len

    cells = [[printable(cell) for cell in row] for row in rows]
    headings = columns or [""] * max(map(len, cells), default=0)
    wide = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    wide = [max(pair) for pair in zip(wide, widths or wide, strict=True)]
    is_headed = columns is not None and widths is None
    if sys.stdout.isatty():
        _print_on_terminal(headings, cells, wide, is_headed=is_headed, is_continued=widths is not None)
        return wide
    for row in [list(headings), *cells] if is_headed else cells:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, wide, strict=True))
        click.echo("  ".join(padded).rstrip())
    return wide


def _print_on_terminal(
    headings: Sequence[str], cells: Sequence[Sequence[str]], wide: Sequence[int], *, is_headed: bool, is_continued: bool
) -> None:
    """Print columns as wide as a terminal has room; its own lines wrap what is wider."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    has_room = sum(wide) + 2 * len(wide) <= console.width
    table = Table(box=None, pad_edge=False, show_header=is_headed)
    for heading, width in zip(headings, wide, strict=True):
        table.add_column(heading, min_width=width if is_continued and has_room else None)
    for row in cells:
        table.add_row(*map(Text, row))
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())
