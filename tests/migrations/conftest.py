"""A predecessor's database, with rows of every kind of disorder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.migrations.predecessor import Connection


@pytest.fixture
def old_url(empty_database_url: str) -> str:
    """The URL of a predecessor's database."""
    with psycopg.connect(empty_database_url) as connection:
        for name in ("predecessor.sql", "predecessor_rows.sql"):
            connection.execute(Path(__file__).with_name(name).read_bytes())
    return empty_database_url


@pytest.fixture
def old(old_url: str) -> Iterator[Connection]:
    """A connection to it."""
    with psycopg.connect(old_url, autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection
