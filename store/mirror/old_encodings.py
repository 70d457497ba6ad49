"""Reads what other writers put into Redis: the older encodings, by the catalogue's types.

Booleans came as `True`/`False`, `true`/`false`, `1`/`0`; null as an empty text; numbers as text. What isn't
in the catalogue is read as our own encoding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from store.json_reader import refuse_constant
from store.mirror.encoding import decode_value
from store.models import Document

_quote = json.encoder.encode_basestring_ascii  # json.dumps() of a text, at a fraction of what that costs
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
NULLS = ("", "null", "None")
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Field:
    """A key of the catalogue."""

    json_type: str
    is_nullable: bool


class Unreadable(ValueError):
    """The content of a Redis key is no settings document. The message holds no value."""


def read_document(kind: str, content: Any, fields: Mapping[str, Field]) -> str:
    """Read a document from a hash's fields (kind 'hash') or from a text (kind 'string'); return it as JSON
    text, in which numbers keep every digit.

    Raises Unreadable. A key whose null the catalogue doesn't allow is left out: it was never set.
    """
    if kind == "hash":
        texts = dict(content)
        values = {key: _typed_text(text, fields.get(key)) for key, text in texts.items()}
    else:
        texts = {}
        try:
            found = json.loads(content, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            raise Unreadable("not JSON") from None
        if not isinstance(found, dict):
            raise Unreadable("not a JSON object")
        values = {
            key: _typed_member(value, fields[key]) if isinstance(value, str) and key in fields else value
            for key, value in found.items()
        }
        if values == found and _well_formed(values):
            return str(content)
    kept = {key: value for key, value in values.items() if value is not None or _nullable(fields.get(key))}
    if not _well_formed(kept):
        raise Unreadable("not UTF-8 text, or a character or number that PostgreSQL doesn't know")
    members = [f"{_quote(key)}: {_as_json(value, texts.get(key))}" for key, value in kept.items()]
    return "{" + ", ".join(members) + "}"


def _as_json(value: Any, text: str | None) -> str:
    """Write a value as JSON; a number as the text it was read from."""
    if isinstance(value, str):
        return _quote(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return text.strip() if is_number and text is not None else json.dumps(value)


def _nullable(field: Field | None) -> bool:
    return field is None or field.is_nullable


def _well_formed(document: Document) -> bool:
    """Tell whether PostgreSQL can take the document: no lone surrogates, no U+0000, no NaN."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        return False
    return "\\u0000" not in text or not NUL.search(text)


def _typed_text(text: str, field: Field | None) -> Any:
    """Read a hash's field as the catalogue's type."""
    if field is None:
        return decode_value(text)
    if field.json_type != "string":
        return _typed_member(text, field)
    quoted = decode_value(text) if text.startswith('"') else None
    return quoted if isinstance(quoted, str) else _typed_member(text, field)


def _typed_member(text: str, field: Field) -> Any:
    """Read a text that stands for a value of the catalogue's type; what doesn't fit stays a text, which
    validation then refuses."""
    if field.json_type == "string":
        return None if field.is_nullable and text in NULLS else text
    if text in NULLS:
        return None
    if field.json_type == "boolean":
        return BOOLEANS.get(text.lower(), text)
    read = decode_value(text)
    return text if isinstance(read, bool) else read
