"""What the tests of the store share."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import redis as redis_py

from tests.sql.conftest import session  # noqa: F401

TABLES = ("app_users", "user_settings", "mirror_pending", "telegram_links")


@pytest.fixture
def left_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let go with the test what it leaves open on purpose: else Python tells of it in one of the next tests."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    yield
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


@pytest.fixture
def untouched(user: str, db: psycopg.Connection[dict[str, Any]], redis: redis_py.Redis) -> Iterator[None]:
    """Check at the end that nothing was written on either side."""

    def everything() -> list[Any]:
        rows = [db.execute(f"select * from {table} order by 1, 2").fetchall() for table in TABLES]
        return [*rows, {key: redis.dump(key) for key in redis.scan_iter()}]

    before = everything()
    yield
    assert everything() == before
