"""JSON merge patch: the examples of RFC 7396, appendix A."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.helpers.sessions import Connection, fetch, one, refused, value

EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": [1, None]}, {"a": [None, {"b": None}]}, {"a": [None, {"b": None}]}),  # not the RFC's: arrays are values
]
IDS = [f"{json.dumps(target)} + {json.dumps(patch)}" for target, patch, _ in EXAMPLES]
OF_OBJECTS = [example for example in EXAMPLES if isinstance(example[0], dict) and isinstance(example[1], dict)]
OTHERS = [example for example in EXAMPLES if not isinstance(example[1], dict)]


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES, ids=IDS)
def test_the_examples_of_the_rfc(db: Connection, target: Any, patch: Any, result: Any) -> None:
    merged = value(db, "select _merge_patch(%s, %s)::text", (Jsonb(target), Jsonb(patch)))
    assert json.loads(merged) == result


def test_a_patch_of_a_document_follows_the_examples(db: Connection, bare_uid: str) -> None:
    for target, patch, result in OF_OBJECTS:
        with db.transaction(force_rollback=True):
            fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (bare_uid, Jsonb(target)))
            query = "select version, settings from patch_user_setting(%s, 'params', %s)"
            assert one(db, query, (bare_uid, Jsonb(patch))) == {"version": 2, "settings": result}
    assert len(OF_OBJECTS) == 11


def test_a_first_patch_applies_to_an_empty_document(db: Connection, bare_uid: str) -> None:
    query = "select version, settings from patch_user_setting(%s, 'params', %s)"
    patch = {"a": 1, "b": None, "c": {"d": None, "e": 2}}
    assert one(db, query, (bare_uid, Jsonb(patch))) == {"version": 1, "settings": {"a": 1, "c": {"e": 2}}}


def test_a_patch_that_would_replace_the_document_is_refused(db: Connection, uid: str) -> None:
    for _, patch, _ in OTHERS:
        with refused("US003"):
            fetch(db, "select from patch_user_setting(%s, 'params', %s)", (uid, Jsonb(patch)))
    with refused("US003"):
        fetch(db, "select from patch_user_setting(%s, 'params', null)", (uid,))
    assert value(db, "select version from get_user_settings(%s, 'params')", (uid,)) == 1
    assert len(OTHERS) == 4
