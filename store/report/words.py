"""How a report writes times, amounts, and text that others wrote. The same everywhere, whatever the locale."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from store.models import MASK, KeyChange, Version
from store.shown import shown

LONGEST = 200  # characters of a value or a reason
WIDTH = 42  # characters of a line that shows beside the pointer, also on a phone


def in_html(text: str) -> str:
    """Write text of anybody's for HTML."""
    return html.escape(shown(text))


def in_picture(text: str) -> str:
    """Write text of anybody's for plotly, which reads tags and knows few names of signs."""
    return html.escape(shown(text), quote=False)


def moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def money(value: Decimal | float) -> str:
    """Write an amount for people: cents, or below one four digits. A true minus sign, thousands by commas."""
    value, digits = float(value), 2
    if 0 < abs(value) < 1:
        digits = min(8, 3 - int(f"{value:.3e}".partition("e")[2]))
    text = f"{value:,.{digits}f}"
    if digits > 2:
        whole, _, fraction = text.partition(".")
        text = f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
    return text.replace("-", "−")


def short_money(value: Decimal | float) -> str:
    """Write an amount for a narrow place: whole from a hundred on."""
    return f"{value:,.0f}".replace("-", "−") if abs(float(value)) >= 100 else money(value)


def ratio(value: Decimal | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def percent(value: Decimal | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def length(time: timedelta | None) -> str:
    """Write a length of time by its two largest units."""
    if time is None:
        return "–"
    left, words = int(time.total_seconds()), []
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= seconds:
            words.append(f"{left // seconds} {unit}")
            left %= seconds
    return " ".join(words[:2]) or "0 s"


def change(one: KeyChange) -> str:
    """Write what became of a key, as `settings-store history` does."""
    if one.old == one.new == MASK:
        return f"{one.key}: another one (secret)"
    old, new = (cut(json.dumps(value, ensure_ascii=False)) for value in (one.old, one.new))
    if one.change == "added":
        return f"+ {one.key}: {new}"
    return f"− {one.key}: {old}" if one.change == "removed" else f"{one.key}: {old} → {new}"


def changes(version: Version, most: int) -> list[str]:
    """Write what a version changed, in so many lines at most."""
    if version.changes is None:
        return ["the version before was pruned"]
    if version.is_deleted:
        return [f"deleted, with {len(version.changes)} keys"]
    if version.version == 1 and len(version.changes) > most:
        return [f"the first one, with {len(version.changes)} keys"]
    lines = [change(one) for one in version.changes[:most]]
    more = len(version.changes) - most
    return [*lines, f"… and {more} more"] if more > 0 else lines


def writer(version: Version) -> str:
    reason = f": {cut(version.change_reason)}" if version.change_reason else ""
    return f"by {version.changed_by}{reason}"


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def beside_pointer(lines: Iterable[str]) -> str:
    """Write lines of anybody's text for what shows beside the pointer."""
    cells = [part for line in lines for part in textwrap.wrap(shown(line), WIDTH if line.isascii() else WIDTH * 2 // 3)]
    return "<br>".join(html.escape(part, quote=False) for part in cells)
