"""The reader of JSON text takes what json.loads takes, refuses what it refuses, and keeps every character."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store.json_reader import DuplicateKey, Reader
from tests.helpers.documents import object_texts, texts

pytestmark = pytest.mark.slow

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOISE = st.text('{}[]":,0123456789.eE+-truefalsn \\\n\tNaIfiy\u00a0x', max_size=30)
SPACE = st.text(" \t\r\n", max_size=3)
BROKEN = [
    "", " ", "{", "[", '"', "{}x", "[1,]", '{"a":1,}', "{1:2}", '{"a"}', '{"a" 1}', "[1 2]", "\ufeff{}", "\u00a0{}",
    "01", "-", "1.", ".5", "tru", "'a'", '"\x01"', '"\n"', "[NaN]", "[Infinity]", '{"a":-Infinity}', '{"a":1 , "a":2}',
    "{,}", "[,]",
    '"\\x"', '"\\u12"', "}", ":", ",", "\x0b[]", "/**/[]",
]  # fmt: skip


def refuse(name: str) -> None:
    raise ValueError(name)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def strict(text: str) -> Any:
    """What the text says, by the standard library: numbers as text, no NaN, no key twice."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse, object_pairs_hook=unique)


def walked(text: str, at: int = 0, steps: int = 2) -> tuple[Any, int]:
    """What the text says by going through it piece by piece, the first levels member by member, and where it ends."""
    reader = Reader(text, at)
    opening = text[reader.at : reader.at + 1]
    if steps == 0 or opening not in ("{", "["):
        value = reader.value()[0]
        return value, reader.at
    found: Any = {} if opening == "{" else []
    if opening == "{":
        for key in reader.members():
            found[key], reader.at = walked(text, reader.at, steps - 1)
    else:
        for _ in reader.elements():
            value, reader.at = walked(text, reader.at, steps - 1)
            found.append(value)
    return found, reader.at


def read(text: str) -> Any:
    reader = Reader(text)
    found = reader.value()[0]
    reader.end()
    return found


@unhurried
@given(text=object_texts, before=SPACE, after=SPACE)
def test_it_reads_what_json_reads(text: str, before: str, after: str) -> None:
    whole = before + text + after
    assert read(whole) == strict(whole)
    assert walked(whole) == (strict(whole), len(whole))


@unhurried
@given(text=NOISE | object_texts.flatmap(lambda text: st.integers(0, len(text)).map(lambda end: text[:end])))
def test_it_refuses_what_json_refuses(text: str) -> None:
    try:
        expected = strict(text)
    except ValueError:
        with pytest.raises(ValueError):
            read(text)
    else:
        assert read(text) == expected


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_text_is_refused_however_it_is_read(text: str) -> None:
    with pytest.raises(ValueError):
        strict(text)
    with pytest.raises(ValueError):
        read(text)


@pytest.mark.parametrize("text", sorted(set(BROKEN) - {'{"a":1 , "a":2}'}))
def test_a_broken_text_is_refused_member_by_member(text: str) -> None:
    def go_through() -> None:
        reader = Reader(text)
        _, reader.at = walked(text)
        reader.end()

    with pytest.raises(ValueError):
        go_through()


@unhurried
@given(items=st.lists(object_texts, max_size=5), before=SPACE, after=SPACE)
def test_a_piece_is_the_text_itself(items: list[str], before: str, after: str) -> None:
    text = "[" + ",".join(before + item + after for item in items) + "]"
    reader = Reader(text)
    pieces = []
    for _ in reader.elements():
        _, start, end = reader.value()
        pieces.append(text[start:end])
    reader.end()
    assert pieces == items


@unhurried
@given(members=st.dictionaries(texts, object_texts, max_size=5), before=SPACE, after=SPACE)
def test_members_are_named_by_their_keys(members: dict[str, str], before: str, after: str) -> None:
    text = "{" + ",".join(f"{before}{json.dumps(key)}{after}:{before}{value}" for key, value in members.items()) + "}"
    reader = Reader(text)
    found = {}
    for key in reader.members():
        _, start, end = reader.value()
        found[key] = text[start:end]
    reader.end()
    assert found == members


@unhurried
@given(lines=st.lists(st.sampled_from(["1,", "[\n],", '{"a":\n2},', "\r\n 3,"]), max_size=8))
@example(lines=[])
def test_the_line_is_that_of_the_value_it_is_at(lines: list[str]) -> None:
    text = "[\n" + "\n".join(lines) + "\n4]"
    reader = Reader(text)
    for _ in reader.elements():
        assert reader.line == len(text[: reader.at].split("\n"))
        assert not text[reader.at].isspace()
        reader.value()
    assert reader.line == text.count("\n") + 1


@pytest.mark.parametrize(
    ("text", "key"), [('{"a":1,"b":2,"b":3}', "b"), ('[{"x":{"a.b":1,"a.b":1}}]', "a.b"), (r'{"a":1,"\u0061":2}', "a")]
)
def test_a_key_that_is_there_twice_is_named(text: str, key: str) -> None:
    with pytest.raises(DuplicateKey) as error:
        read(text)
    assert error.value.key == key


def test_numbers_of_any_length_are_passed_over() -> None:
    number = "9" * 100_000
    assert read(f"[{number}, -{number}.{number}e{number}]") == [number, f"-{number}.{number}e{number}"]
    assert read("[1.10, 1e300, -0.0]") == ["1.10", "1e300", "-0.0"]


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(RecursionError):
        read("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize("text", ['{"a": 1', '{"a": ', '{"a"', '[1, {"b": 2', "[1,\n2"])
def test_where_the_text_breaks_off_is_told(text: str) -> None:
    with pytest.raises(json.JSONDecodeError) as error:
        walked(text)
    assert error.value.pos == len(text)
