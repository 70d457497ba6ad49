"""Hypothesis strategies: JSON in every form, above all the forms that could be mistaken for one another."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

# Strings that some reader could take for another kind of value, or for the end of something.
TRICKY = [
    "", " ", "true", "True", "TRUE", "false", "False", "null", "None", "1", "0", "-0", "01", "1.0", "1e5", "1E400",
    " 1 ", "\t1", "1\n", "0x10", "1_000", "+1", ".5", "5.", "\uff11", '"x"', '"', '"x', "'x'", "[1", "[1]", "[]", "{}",
    "{", '{"a":1}', "NaN", "Infinity", "-Infinity", "nan", "9" * 5000, "[" * 2000, "\\", "\\u0041", '\\"', "\u200f",
    "\u202etxet", "\ufeff1", "\u00a01", "\u2028", "\x01", "\x7f", "\r\n", "*1\r\n$4\r\nPING\r\n", "롱숏", "🚀", "{0}",
    "%s", "a: 1, b", ', "b": 2',
]  # fmt: skip

texts = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.text(" \t\n\"'\\[]{}:,.-+eE0123456789truefalsn", max_size=12),
)

NUMBERS = [
    "0", "-0", "0.0", "-0.0", "1", "1.0", "1.10", "1e5", "1E-7", "-1.5e+3", "0.1234567890123456789012345",
    "12345678901234567890123", "1e23", "9007199254740993", "1e308", "-1.7976931348623157e308", "5e-324", "1e-400",
    "100.00",
]  # fmt: skip

number_texts = st.one_of(
    st.sampled_from(NUMBERS),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
)

_scalar_texts = st.one_of(st.sampled_from(["true", "false", "null"]), number_texts, texts.map(json.dumps))


def _object_text(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in members.items()) + "}"


def _object_texts(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.dictionaries(texts, values, max_size=6).map(_object_text)


def _inner(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.lists(values, max_size=4).map(lambda items: "[" + ",".join(items) + "]"), _object_texts(values))


# A JSON object as text, which can hold numbers that Python can't.
object_texts = _object_texts(st.recursive(_scalar_texts, _inner, max_leaves=12))

_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-(10**300), 10**300),
        st.floats(allow_nan=False, allow_infinity=False), texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip

# A document of keys the catalogue doesn't know, so that any value passes.
unknown_documents = st.dictionaries(texts.map("?".__add__), _values, min_size=1, max_size=6)


def exact(value: Any) -> Any:
    """Make values comparable by what JSON says: 1e23 is 10**23 exactly, and true isn't 1."""
    if isinstance(value, dict):
        return {key: exact(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [exact(inner) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(value if isinstance(value, int) else repr(value))
    return (type(value).__name__, value)
