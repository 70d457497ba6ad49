"""Which error of the store an error of PostgreSQL becomes: what can't be reached, and what is reached and can't."""

from __future__ import annotations

import psycopg
import pytest

from store import DatabaseError, DatabaseUnavailable, OutOfResources, StoreError
from store.errors import DatabaseReadOnly
from store.postgres.errors import from_postgres
from tests.helpers.sessions import Connection

RAISE = "do $$ begin raise exception using errcode = '{}', message = 'as it says', hint = 'do that'; end $$"

BECOMES: dict[str, tuple[type[StoreError], str]] = {
    "08006": (DatabaseUnavailable, "PostgreSQL can't be reached: as it says"),
    "57P01": (DatabaseUnavailable, "PostgreSQL can't be reached: as it says"),
    "57P03": (DatabaseUnavailable, "PostgreSQL can't be reached: as it says"),
    "53300": (DatabaseUnavailable, "PostgreSQL can't be reached: as it says"),
    "53100": (DatabaseReadOnly, "PostgreSQL has no room left: as it says"),
    "53000": (OutOfResources, "PostgreSQL lacks resources: as it says"),
    "53200": (OutOfResources, "PostgreSQL lacks resources: as it says"),
    "53400": (OutOfResources, "PostgreSQL lacks resources: as it says"),
    "57014": (DatabaseError, "PostgreSQL: as it says (57014)"),
    "58030": (DatabaseError, "PostgreSQL: as it says (58030)"),
}


@pytest.mark.parametrize("state", BECOMES)
def test_what_answers_is_not_away(db: Connection, state: str) -> None:
    kind, message = BECOMES[state]
    with pytest.raises(psycopg.Error) as raised:
        db.execute(RAISE.format(state).encode())
    error = from_postgres(raised.value)
    assert (type(error), str(error)) == (kind, message)
    assert error.exit_code == (3 if issubclass(kind, DatabaseUnavailable) else 1)
    if kind is OutOfResources:
        assert error.hint == "do that"
