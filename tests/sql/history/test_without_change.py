"""A change that is taken back: the keys it changed, but for those that somebody changed since."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.helpers.sessions import Connection, fetch

Document = dict[str, Any] | None


@pytest.mark.parametrize(
    ("now", "before", "after", "document", "kept"),
    [
        ({"a": 2}, {"a": 1}, {"a": 2}, {"a": 1}, []),
        ({"a": 3}, {"a": 1}, {"a": 2}, {"a": 3}, ["a"]),
        ({"a": 2, "b": 5}, {"a": 1, "b": 4}, {"a": 2, "b": 4}, {"a": 1, "b": 5}, []),
        ({"a": 2}, {}, {"a": 2}, {}, []),
        ({}, {"a": 1}, {}, {"a": 1}, []),
        ({"a": 7}, {"a": 1}, {}, {"a": 7}, ["a"]),
        ({}, {"a": 1}, {"a": 2}, {}, ["a"]),
        ({"a": {"x": 2, "y": 3}}, {"a": {"x": 1}}, {"a": {"x": 2}}, {"a": {"x": 2, "y": 3}}, ["a"]),
        ({"a": None}, {"a": 1}, {"a": None}, {"a": 1}, []),
        ({"a": 2}, {"a": None}, {"a": 2}, {"a": None}, []),
        ({}, {"a": None}, {}, {"a": None}, []),
        ({"a": 2}, None, {"a": 2}, None, []),
        ({"a": 2, "b": 1}, None, {"a": 2}, {"b": 1}, []),
        ({"a": 3}, None, {"a": 2}, {"a": 3}, ["a"]),
        ({"a": 1}, {"a": 1}, {"a": 1}, {"a": 1}, []),
    ],
)
def test_only_what_is_still_as_the_change_left_it_is_taken_back(
    db: Connection, now: Document, before: Document, after: Document, document: Document, kept: list[str]
) -> None:
    found = fetch(
        db,
        "select * from _without_change(%s, %s, %s)",
        (Jsonb(now), before if before is None else Jsonb(before), Jsonb(after)),
    )
    assert found == [{"document": document, "kept": kept}]
