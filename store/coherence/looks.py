"""One look at a key of both sides, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from store.mirror.encoding import encode_hash
from store.mirror.entries import CREDENTIALS, Found, Place, without_notes
from store.models import MirrorEntry


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a key: what should be there (None: PostgreSQL never had it) and what is."""

    place: Place
    entry: MirrorEntry | None
    found: Found

    def finding(self) -> str | None:
        """Name what is wrong, None if nothing is."""
        version = self.entry.version if self.entry else None
        if self.found.type == "large":
            return "large"
        if (
            self.entry is None
            or self.entry.is_erased
            or (self.entry.document is None and self.place.encoding != "fields")
        ):
            return self._finding_where_nothing_should_be(version)
        if self.found.version > self.entry.version:
            return "ahead"
        if self.found.type == "none" and not (self.found.version == version and self.entry.document == "{}"):
            return "missing"
        if self.found.version == 0:
            return "unmarked"
        if self.found.version < self.entry.version:
            return "stale"
        if self.found.type == "none":
            return None  # an empty hash
        return None if _same_content(self.entry, self.found) else "edited"

    def _finding_where_nothing_should_be(self, version: int | None) -> str | None:
        if self.found.type == "none":
            return None
        if version is None:
            return "orphan" if self.found.version else "unmarked"
        if self.found.version > version:
            return "ahead"
        return "stale" if 0 < self.found.version < version else "orphan"


def _same_content(entry: MirrorEntry, found: Found) -> bool:
    if entry.encoding == "fields":
        return bool(found.content == (json.loads(entry.document or "{}").get("telegram_id") or ""))
    is_hash = entry.encoding in ("hash", CREDENTIALS.encoding)
    if entry.document is None or found.type != ("hash" if is_hash else "string"):
        return False
    if entry.encoding == CREDENTIALS.encoding:
        return bool(without_notes(found.content) == json.loads(entry.document))
    if entry.encoding == "string":
        return bool(found.content == json.loads(entry.document))
    if entry.encoding == "hash":
        return bool(found.content == encode_hash(entry.document))
    return bool(found.content == entry.document) or _parsed(found.content) == _parsed(entry.document)


def _parsed(text: str) -> Any:
    """Read JSON for a comparison that tells 1 from true, and every digit."""
    try:
        return json.loads(text, parse_int=_number, parse_float=_number)
    except (ValueError, RecursionError, ArithmeticError):
        return None


def _number(text: str) -> tuple[str, Decimal]:
    return "number", Decimal(text)
