"""Documents to Redis hashes and back, without loss.

A field of a hash holds `true`, `false`, `null`, a JSON number, array or object; a string is bare, unless
the bare text would read back as something else: then it is JSON-quoted. So `value.lower() == "true"`,
`json.loads(value)` and `value == "false"`, which is how existing readers look at it, all come out right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from store.models import Document


class _Number(str):
    """A number as it is written: it is only passed on, and Python limits the digits of an int."""


_decoder = json.JSONDecoder(parse_int=_Number, parse_float=_Number)
_scan = _decoder.raw_decode
_WORDS = {True: "true", False: "false", None: "null"}
_READS = {"true": True, "false": False, "null": None}
_BEGINS = frozenset('-0123456789{["tfnNI \t\n\r')  # how JSON begins
_short_number = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(\.[0-9]{1,17})?").fullmatch

# How all begins that json.loads() takes; what isn't like this needn't be tried.
_MAYBE_JSON = re.compile(
    r"""[ \t\n\r]* (?: [{["] | (?: [0-9.eE+-]+ | true | false | null | NaN | -?Infinity ) [ \t\n\r]* \Z )""",
    re.VERBOSE,
)


def encode_hash(document: str) -> dict[str, str]:
    """Encode a JSON object, as PostgreSQL prints a jsonb, for a Redis hash. Numbers keep every digit."""
    fields = _decoder.decode(document)
    for key, value in fields.items():
        kind = type(value)
        if kind is str:
            if _reads_as_json(value):
                return {key: _encode(raw) for key, raw in _members(document)}
        elif kind is not _Number:
            if kind is dict or kind is list:  # to be cut out of the text
                return {key: _encode(raw) for key, raw in _members(document)}
            fields[key] = _WORDS[value]
    return fields  # type: ignore[no-any-return]


def decode_hash(fields: Mapping[str, str]) -> Document:
    """Read a Redis hash that encode_hash() made. Most fields take a look-up or two; whatever isn't surely a text, a
    short number or one of three words is json.loads()'s to judge."""
    document: Document = dict(fields)
    for key, text in fields.items():
        if text in _READS:
            document[key] = _READS[text]
        elif text[:1] in _BEGINS:
            if number := _short_number(text):
                document[key] = float(text) if number.lastindex else int(text)
            elif _MAYBE_JSON.match(text):
                document[key] = _decode(text)
    return document


def _decode(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _members(document: str) -> Iterator[tuple[str, str]]:
    """Split `{"a": 1, "b": "x"}` into keys and the JSON text of their values."""
    position = 1
    while document[position] != "}":
        key, position = _scan(document, position)
        start = position + 2  # past ': '
        _, end = _scan(document, start)
        yield key, document[start:end]
        position = end + 2 if document[end] == "," else end


def _encode(raw: str) -> str:
    if raw[0] != '"':
        return raw
    text: str = json.loads(raw)
    return raw if _reads_as_json(text) else text


def _reads_as_json(text: str) -> bool:
    if not _MAYBE_JSON.match(text):
        return False
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        # A number with too many digits for Python is JSON all the same, but reads back as this very text.
        return False
    return True
