"""Reads what other writers put into Redis, key by key: what can't be read of one key doesn't take the others along.

Which value an older encoding stands for (`True`, `1`, an empty text) is the catalogue's to say, in
sql/catalogue/_convert_settings.sql.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from store.errors import InvalidSettings
from store.json_reader import refuse_constant
from store.json_writer import json_text, shown_key
from store.models import Document

_quote = json.encoder.encode_basestring_ascii  # json.dumps() of a text, at a fraction of what that costs
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
NULLS = ("", "null", "None")
NO_NUMBER = Decimal("NaN")


class Unreadable(ValueError):
    """The content of a Redis key is no settings document. The message holds no value."""


@dataclass(frozen=True, slots=True)
class Read:
    """What could be read. `document`: JSON text, in which numbers keep every digit. `texts`: of a hash, those that may
    mean something else by the catalogue than what they read as. `problems`: key -> why it couldn't be read."""

    document: str
    texts: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def read_document(kind: str, content: Any) -> Read:
    """Read a document from a hash's fields (kind 'hash') or from a text (kind 'string'). Raises Unreadable."""
    return _read_hash(content) if kind == "hash" else _read_text(content)


def _read_text(content: str) -> Read:
    try:
        found = _strict.decode(content)
        if isinstance(found, dict) and _well_formed(found):
            return Read(content)
    except (ValueError, RecursionError):
        pass  # perhaps because of a single member
    try:
        found = _lenient.decode(content)
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("not a JSON object")
    members: list[str] = []
    problems: dict[str, str] = {}
    for key, value in found.items():
        _write(key, value, members, problems)
    return Read(f"{{{', '.join(members)}}}", {}, problems)


def _read_hash(content: Mapping[str, str]) -> Read:
    members: list[str] = []
    texts: dict[str, str] = {}
    problems: dict[str, str] = {}
    for key, text in content.items():
        try:
            value = _strict.decode(text)
            is_plain = key.isascii() and key.isprintable() and (value is None or type(value) in (int, bool))
            if not is_plain and not _well_formed({key: value}):
                raise ValueError("not what PostgreSQL knows")
        except (ValueError, RecursionError):  # not JSON: the text itself
            if _write(key, text, members, problems) and text in NULLS:
                texts[key] = text
        else:
            members.append(f"{_quote(key)}: {text.strip()}")
            if not isinstance(value, str):
                texts[key] = text
    return Read(f"{{{', '.join(members)}}}", texts, problems)


def _write(key: str, value: Any, members: list[str], problems: dict[str, str]) -> bool:
    """Write a member, or why it can't be, which stands under what PostgreSQL can take of the key. Return whether it
    was written."""
    name = shown_key(key)
    try:
        quoted = json_text(key)
        name = key
        members.append(f"{quoted}: {json_text(value)}")
    except InvalidSettings as error:
        ((path, why),) = error.problems.items()
        problems[name] = why if path == "$" else f"{path} {why}"
        return False
    return True


def _number(text: str) -> Decimal:
    """Read a number with every digit; NaN for one that is no double."""
    try:
        number = Decimal(text)
        return number if abs(number) < Decimal("1.8e308") else NO_NUMBER
    except ArithmeticError:
        return NO_NUMBER


_strict = json.JSONDecoder(parse_constant=refuse_constant)  # json.loads() would make one for each text
_lenient = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=lambda _: NO_NUMBER)


def _well_formed(document: Document) -> bool:
    """Tell whether PostgreSQL can take the document: no lone surrogates, no U+0000, no NaN."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        return False
    return "\\u0000" not in text or not NUL.search(text)
