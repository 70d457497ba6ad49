"""record_verification() and last_verification()."""

from __future__ import annotations

import pytest

from tests.helpers.sessions import Connection, fetch, one, refused, value

RECORD = "select from record_verification(%s, %s, %s)"


def test_the_last_verification_takes_the_place_of_the_one_before(db: Connection) -> None:
    assert fetch(db, "select * from last_verification()") == []
    fetch(db, RECORD, (10, '{"missing": 3, "pending": 2, "edited": 1}', 1))
    fetch(db, RECORD, (20, '{"stale": 5, "pending": 4}', 2))
    last = one(db, "select * from last_verification()")
    assert (last["checked"], last["findings"], last["repaired"]) == (20, {"stale": 5, "pending": 4}, 2)
    assert last["remaining"] == 3  # what is pending is the relay's
    assert value(db, "select finished_at > now() - interval '1 minute' from last_verification()")
    assert value(db, "select count(*) from mirror_verifications") == 1


@pytest.mark.parametrize(
    ("checked", "findings", "repaired"),
    [
        (None, "{}", 0), (-1, "{}", 0), (1, None, 0), (1, "[1]", 0), (1, "null", 0), (1, '"x"', 0), (1, "{}", None),
        (1, "{}", -1), (1, '{"missing": -1}', 0), (1, '{"missing": 0.5}', 0), (1, '{"missing": "1"}', 0),
        (1, '{"missing": null}', 0), (1, '{"missing": 1e300}', 0), (1, '{"missing": {"x": 1}}', 0),
        (1, f'{{"{"x" * 2000}": 1}}', 0),
    ],
)  # fmt: skip
def test_what_is_no_outcome_is_refused(
    db: Connection, checked: int | None, findings: str | None, repaired: int | None
) -> None:
    with refused("US010"):
        fetch(db, RECORD, (checked, findings, repaired))
    assert fetch(db, "select * from mirror_verifications") == []


def test_a_confined_session_neither_records_nor_reads(db: Connection) -> None:
    fetch(db, RECORD, (10, "{}", 0))
    fetch(db, "set settings_store.okx_uid = '587662504768345929'")
    with refused("US012"):
        fetch(db, RECORD, (1, "{}", 0))
    assert fetch(db, "select * from last_verification()") == []


def test_pending_keys_tell_how_long_they_have_waited(db: Connection) -> None:
    fetch(db, "select from register_user('587662504768345929')")
    fetch(db, "update mirror_pending set marked_at = now() - interval '1 hour' where kind = 'params'")
    waited = {
        row["kind"]: row["waited"].total_seconds() for row in fetch(db, "select kind, waited from pending_keys()")
    }
    assert 3600 <= waited.pop("params") < 3700
    assert waited
    assert all(0 <= seconds < 100 for seconds in waited.values())
