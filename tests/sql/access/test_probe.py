"""The relay's probe is no user: in no list and no statistic, whatever function is asked."""

from __future__ import annotations

import json
import re

import psycopg
import pytest

from store.mirror.keys import PROBE
from tests.conftest import OKX_UID, Rows
from tests.helpers import past
from tests.helpers.sessions import Connection, fetch, one, refused, value
from tests.sql.access import test_confinement as known

PROBES = "select * from write_probe(%s, %s)"
# What keeps Redis equal knows its keys, marks and versions; what was asked for by its name is told.
OF_KEYS = {"pending_keys", "pending_lag", "store_statistics", "probe_okx_uid", "write_probe"}
OF_PLACES = {"changes_since", "_change_cursor"}  # a place in the order of all versions, which names nobody


def told(db: Connection, call: str) -> Rows | str | None:
    """Make a call and undo it; what it returned, in whatever order, or why not."""
    with db.transaction(force_rollback=True):
        try:
            with db.transaction():
                return sorted(fetch(db, f"select * from {call}"), key=str)
        except psycopg.Error as error:
            return error.sqlstate


def test_no_function_tells_of_it(db: Connection, calls: list[str]) -> None:
    """All there are, on the data that tests/sql/access/conftest.py makes: what lists or counts, the same without it."""
    query = "select proname as name from pg_proc where pronamespace = 'public'::regnamespace and provolatile <> 'v'"
    stable = {row["name"] for row in fetch(db, query)}
    calls += [
        call.replace(f"'{OKX_UID}'", "null") for call in calls if f"'{OKX_UID}'" in call
    ]  # of everybody, where it may be
    before = {call: told(db, call) for call in calls}
    for setting_type in ("params", "preferences", "dual_side:A-B"):
        fetch(db, PROBES, (setting_type, "the probe's words"))
    fetch(db, "select from record_trade(probe_okx_uid(), %s)", ("{" + known.TRADE.format(order="1") + "}",))
    user = one(db, "select id::text, telegram_id from app_users where okx_uid = probe_okx_uid()")
    words = re.compile(rf"\b({PROBE}|{user['id']}|{user['telegram_id']}|the probe's words)\b")
    found = set()
    for call in calls:
        after, name = told(db, call), call.removeprefix("public.").partition("(")[0]
        if words.search(str(after)) or (name in stable and after != before[call]):
            found.add(name)
    assert found == OF_KEYS | OF_PLACES
    assert {k: n for k, n in one(db, "select * from store_statistics()").items() if n != 0} == {
        "users": 2, "settings": 6, "versions": 6, "pending": value(db, "select count(*) from mirror_pending"),
    }  # fmt: skip


@pytest.mark.parametrize("call", ["register_user(%s)", "ensure_user(%s, '55555')"])
def test_nobody_is_registered_by_its_okx_uid(db: Connection, call: str) -> None:
    with refused("US007"):
        fetch(db, f"select from {call}", (PROBE,))
    outcome = one(db, "select outcome, problems from import_users(%s, true)", (f'[{{"okx_uid": "{PROBE}"}}]',))
    assert (outcome["outcome"], list(outcome["problems"])) == ("invalid", ["okx_uid"])


@pytest.mark.parametrize(
    "before",
    [
        "select delete_user(probe_okx_uid())",
        "select erase_user(probe_okx_uid())",
        "select unlink_telegram(probe_okx_uid())",
        "select unlink_telegram(probe_okx_uid()); select ensure_user('1000000000000001', '000000000000001')",
    ],
)
def test_it_comes_back_whatever_was_done_to_it(db: Connection, before: str) -> None:
    fetch(db, PROBES, ("params", "one"))
    db.execute(before.encode())
    written = one(db, PROBES, ("params", "two"))
    assert written["settings"] == {"probe": "two", "again": "two", "nested": {"text": "two"}}
    assert written["telegram_id"] == (None if "ensure_user" in before else "000000000000001")


def test_a_link_that_somebody_put_into_redis_leads_nobody_to_it(db: Connection) -> None:
    """Nor does it end a sync of others' links."""
    fetch(db, PROBES, ("params", "one"))
    items = [{"owner": "55555", "version": 0, "okx_uid": PROBE}, {"owner": "66666", "version": 0, "okx_uid": OKX_UID}]
    found = fetch(db, "select owner, outcome from import_links(%s, 'redis', false)", (json.dumps(items),))
    assert [row["outcome"] for row in found] == ["deleted", "new"]


def test_its_old_versions_go_and_nobody_elses(db: Connection) -> None:
    fetch(db, "select register_user(%s)", (OKX_UID,))
    past.save(db, OKX_UID, "params", range(2, 5))
    fetch(db, "select write_probe('params', n::text) from generate_series(1, 190) n")
    old = {version: past.T0 + version * past.MICROSECOND for version in range(1, 191)}
    past.move(db, PROBE, "params", old)
    fetch(db, "select write_probe('params', n::text) from generate_series(191, 200) n")
    assert past.versions(db, PROBE) == list(range(101, 201))
    assert past.versions(db, OKX_UID) == [1, 2, 3, 4]
    for pruned in (fetch(db, "select * from prune_user_settings(1, '0')") for _ in range(2)):
        assert pruned in ([{"setting_type": "params", "versions": 3}], [])
    assert len(past.versions(db, PROBE)) == 100


def test_the_python_side_calls_it_the_same(db: Connection) -> None:
    assert value(db, "select probe_okx_uid()") == PROBE
