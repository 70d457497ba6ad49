"""Writes documents as JSON: Decimals with every digit, any Mapping. What JSON can't hold is named by its path."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring

from store.errors import document_error
from store.shown import shown

KEY_SHOWN = 80  # characters of a key in a problem


class _Unwritable(Exception):
    """A value that can't be written. `steps` lead from it up to the document."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        self.steps: list[str] = []


def json_text(document: object) -> str:
    """Write a document as JSON. Raises InvalidSettings, which names the key (as tp.levels[2]) and no value."""
    try:
        return _text(document, set())
    except _Unwritable as error:
        problem, path = error.problem, "".join(reversed(error.steps)).removeprefix(".") or "$"
    except RecursionError:
        problem, path = "must be nested at most 64 levels deep", "$"
    raise document_error(problem, path)  # out here, where nothing that quotes the document is its context


def shown_key(key: str) -> str:
    """Write a key, or its beginning."""
    text = shown(key)
    return text if len(text) <= KEY_SHOWN else f"{text[:KEY_SHOWN]}…"


def _text(value: object, outer: set[int]) -> str:
    """Write a value. `outer`: the containers that it is in."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None or value is True or value is False:
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if not isinstance(value, Mapping | list | tuple):
        kind = type(value).__name__
        raise _Unwritable(f"must be an object, array, string, number, true, false or null, not of type {kind}")
    if id(value) in outer:
        raise _Unwritable("must not contain itself")
    outer.add(id(value))
    text = _object(value, outer) if isinstance(value, Mapping) else _array(value, outer)
    outer.remove(id(value))
    return text


def _object(value: Mapping[object, object], outer: set[int]) -> str:
    members = []
    for key, member in value.items():
        if not isinstance(key, str):
            shown = f"{key!r}, of " if key is None or isinstance(key, int | float) else ""
            raise _Unwritable(f"must have keys of text only, not {shown}type {type(key).__name__}")
        try:
            members.append(f"{_quoted(key)}: {_text(member, outer)}")
        except _Unwritable as error:
            error.steps.append(f".{shown_key(key)}")
            raise
    return f"{{{', '.join(members)}}}"


def _array(value: list[object] | tuple[object, ...], outer: set[int]) -> str:
    members: list[str] = []
    try:
        for member in value:
            members.append(_text(member, outer))
    except _Unwritable as error:
        error.steps.append(f"[{len(members)}]")
        raise
    return f"[{', '.join(members)}]"


def _number(value: float | Decimal) -> str:
    problem = "must be a finite number"
    try:
        if isinstance(value, Decimal):
            if value.is_finite():
                return Decimal.__str__(value)
        elif isinstance(value, int):
            return int.__repr__(value)
        elif math.isfinite(value):
            return float.__repr__(value)
    except ValueError:
        problem = "must not be a number outside the range of a double"  # of more digits than Python writes
    raise _Unwritable(problem)


def _quoted(text: str) -> str:
    problem = "must not contain the character U+0000"
    if "\0" not in text:
        try:
            text.isascii() or text.encode()
            return encode_basestring(text)
        except UnicodeEncodeError:
            problem = "must not contain a lone surrogate"
    raise _Unwritable(problem)
