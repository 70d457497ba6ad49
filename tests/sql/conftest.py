"""A registered user, and sessions that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.sessions import Connection, Session, fetch


@pytest.fixture
def uid(db: Connection) -> str:
    """The OKX UID of a registered user with the default documents, all at version 1."""
    fetch(db, "select from register_user(%s, %s, 'Kim')", (OKX_UID, TELEGRAM_ID))
    return OKX_UID


@pytest.fixture
def bare_uid(db: Connection) -> str:
    """The OKX UID of a user without any document."""
    fetch(db, "select from ensure_user(%s, %s)", (OKX_UID, TELEGRAM_ID))
    return OKX_UID


@pytest.fixture
def session(db: Connection, connect: Callable[[], Connection]) -> Iterator[Callable[[], Session]]:
    """Open sessions whose statements may wait for each other's locks; given up at the end."""
    opened: list[Session] = []

    def open_session() -> Session:
        opened.append(Session(connect(), db))
        return opened[-1]

    yield open_session
    for each in opened:
        each.close()
