"""Closed trades: recorded once, with the settings in force at entry; read a page at a time; never changed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.past import hourly
from tests.helpers.sessions import DEADLINE, Connection, Session, at_once, fetch, one, refused, value
from tests.helpers.trades import HOUR, RECORD, RECORD_ALL, T0, array, record, trade
from tests.sql.users.test_search import plans

OTHER = "1000000000000001"
Open = Callable[[], Session]
Connect = Callable[[], Connection]


def problems(error: pytest.ExceptionInfo[psycopg.Error]) -> dict[str, str]:
    found: dict[str, str] = json.loads(error.value.diag.message_detail or "{}")
    return found


def trades(db: Connection) -> list[dict[str, Any]]:
    return fetch(db, "select * from trades order by exit_time, exit_order_id")


# -- recording


def test_a_trade_keeps_every_digit_and_knows_its_net_pnl(db: Connection, bare_uid: str) -> None:
    digits = "0.100000000000000000000000000000000000001"
    given = trade(
        entry_price=digits, entry_fee="0.3", exit_fee=-0.1, realized_pnl="5", leverage=10, is_hedge="True",
        close_type="tp2", dca_count="3", entry_order_id="e1", extra={"why": None}, realized_pnl_percent=1.5,
    )  # fmt: skip
    row = record(db, given)
    assert row["entry_price"] == Decimal(digits)
    assert (row["net_pnl"], row["exit_fee"]) == (Decimal("4.8"), Decimal("-0.1"))
    assert (row["okx_uid"], row["is_hedge"], row["dca_count"]) == (bare_uid, True, 3)
    assert (row["extra"], row["close_type"]) == ({"why": None}, "tp2")
    assert (row["entry_time"], row["exit_time"]) == (T0, T0 + HOUR)
    assert trades(db) == [row]
    assert one(db, "select * from trade_orders") == {
        "user_id": row["user_id"], "exit_order_id": "1", "trade_id": row["id"], "exit_time": row["exit_time"]
    }  # fmt: skip


def test_a_trade_is_recorded_by_any_identifier(db: Connection, bare_uid: str) -> None:
    uuid = value(db, "select id::text from app_users")
    for number, identifier in enumerate((bare_uid, TELEGRAM_ID, uuid)):
        assert record(db, trade(number), identifier)["okx_uid"] == bare_uid
    with refused("US004"):
        record(db, trade(9), OTHER)
    fetch(db, "select from delete_user(%s)", (bare_uid,))
    with refused("US004"):
        record(db, trade(9))


def test_the_same_again_is_the_same_row(db: Connection, bare_uid: str) -> None:
    first = record(db, trade(extra={"a": 1}))
    assert record(db, trade(extra={"a": 1.0}, entry_price="97000.100", entry_fee=0, leverage=None)) == first
    assert trades(db) == [first]
    assert one(db, RECORD_ALL, (array(trade(extra={"a": 1}), trade(2)),)) == {"recorded": 1, "known": 1}


def test_the_same_order_with_other_data_is_refused_and_the_columns_are_named(db: Connection, bare_uid: str) -> None:
    record(db, trade(leverage=10))
    with refused("US010") as error:
        record(db, trade(side="short", entry_price=77777))
    assert set(problems(error)) == {"side", "entry_price", "leverage"}
    assert "77777" not in str(error.value)
    with refused("US010") as error:
        fetch(db, RECORD_ALL, (array(trade(2), trade(leverage=10), trade(exit_time=(T0 + 3 * HOUR).isoformat())),))
    assert set(problems(error)) == {"2.exit_time", "2.leverage"}
    assert len(trades(db)) == 1


def test_an_order_id_is_of_one_user(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER,))
    record(db, trade())
    record(db, trade(side="short"), OTHER)
    assert [row["okx_uid"] for row in trades(db)] == sorted([bare_uid, OTHER], reverse=True)


def test_a_row_of_the_table_is_a_trade(db: Connection, bare_uid: str) -> None:
    row = record(db, trade(entry_time="2026-11-22T10:00:00.000000000Z"))
    text = json.dumps(row, default=str)
    assert one(db, RECORD, (bare_uid, text)) == row
    assert one(db, RECORD_ALL, (f"[{text}]",)) == {"recorded": 0, "known": 1}
    for ours in ("id", "user_id", "net_pnl", "created_at"):  # without one of them it is nothing that the store wrote
        with refused("US010") as error:
            fetch(db, RECORD, (bare_uid, json.dumps({key: row[key] for key in row if key != ours}, default=str)))
        assert len(problems(error)) == 3


def test_many_are_recorded_all_or_none(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER,))
    given = [{"okx_uid": (bare_uid, OTHER)[n % 2], **trade(n)} for n in range(1, 1001)]
    assert one(db, RECORD_ALL, (json.dumps(given),)) == {"recorded": 1000, "known": 0}
    assert one(db, RECORD_ALL, (json.dumps(given[500:]),)) == {"recorded": 0, "known": 500}
    assert value(db, "select count(*) from trades t join trade_orders o on o.trade_id = t.id") == 1000
    with refused("US010") as error:
        fetch(db, RECORD_ALL, (array(trade(2001), trade(2002, side="buy"), trade(2003), uid=bare_uid),))
    assert problems(error) == {"1.side": "must be long or short"}
    assert len(trades(db)) == 1000
    assert one(db, RECORD_ALL, ("[]",)) == {"recorded": 0, "known": 0}


def test_the_same_order_twice_in_an_array_is_one_trade(db: Connection, bare_uid: str) -> None:
    assert one(db, RECORD_ALL, (array(trade(), trade()),)) == {"recorded": 1, "known": 1}
    with refused("US010") as error:
        fetch(db, RECORD_ALL, (array(trade(2), trade(2, symbol="ETH")),))
    assert problems(error) == {"1.symbol": "differs from what was recorded for this exit_order_id"}


# -- what is no trade

BAD: list[tuple[str, Any]] = [
    ("symbol", ""), ("symbol", "a b"), ("symbol", "x" * 65), ("symbol", 1), ("symbol", "a\nb"), ("side", "buy"),
    ("side", "Long"), ("is_hedge", "yes"), ("is_hedge", 1), ("entry_time", "2026-11-22T10:00:00"), ("entry_time", 5),
    ("entry_time", "2026-02-30T10:00:00Z"), ("entry_time", "now"), ("entry_time", "infinity"),
    ("entry_time", "1969-11-22T10:00:00Z"), ("entry_time", "2026-11-22T10:00:00+25:00"), ("exit_time", "2026-11-22"),
    ("exit_time", (T0 - timedelta(microseconds=1)).isoformat()), ("exit_time", "3000-11-22T10:00:00Z"),
    ("entry_price", 0), ("entry_price", -1), ("entry_price", "NaN"), ("entry_price", "Infinity"),
    ("entry_price", "1e30"), ("entry_price", "1e400"), ("entry_price", "0x10"), ("entry_price", True),
    ("entry_price", "1" * 201),
    ("entry_price", "1_000"), ("exit_size", "0b1"), ("exit_price", "0o7"), ("realized_pnl", "0x1"),
    ("entry_time", "2026-11-22T24:00:00Z"), ("entry_time", "2026-11-22T10:59:60Z"),
    ("entry_time", "2026-11-22T09:59:59.9999999Z"), ("dca_count", "1_0"),
    ("entry_price", "1,5"), ("entry_size", "0.0"), ("exit_size", ""), ("exit_price", []), ("entry_fee", "a"),
    ("funding_fee", "1e30"), ("funding_fee", "free"), ("currency", "usdt"), ("currency", ""), ("currency", "U SD"),
    ("currency", "A" * 21), ("currency", 1),
    ("realized_pnl", "-1e30"), ("realized_pnl", {}), ("realized_pnl_percent", "nan"), ("leverage", 0),
    ("close_type", "TP"), ("close_type", "x" * 31), ("dca_count", -1), ("dca_count", 1.5), ("dca_count", "1e3"),
    ("entry_order_id", " "), ("exit_order_id", "x" * 101), ("exit_order_id", 5), ("params_version", 0),
    ("params_version", 1), ("dual_side_version", "one"), ("dual_side_version", 2_000_000_000), ("extra", []),
    ("extra", "{}"), ("extra", {"n": 10**400}), ("net_pnl", 1), ("id", "x"), ("foo", 1), ("okx_uid", OTHER),
]  # fmt: skip


@pytest.mark.parametrize(("key", "bad"), BAD, ids=lambda part: repr(part)[:30])
def test_what_is_wrong_is_named_by_key(db: Connection, bare_uid: str, key: str, bad: Any) -> None:
    with refused("US010") as error:
        record(db, trade(**{key: bad}))
    assert set(problems(error)) == {key}
    with refused("US010") as error:
        fetch(db, RECORD_ALL, (array(trade(5), trade(**{key: bad})),))
    assert set(problems(error)) == {f"1.{key}"}
    assert trades(db) == fetch(db, "select * from trade_orders") == []


@pytest.mark.parametrize("key", ["symbol", "side", "entry_time", "entry_price", "entry_size", "exit_time", "exit_price",
                                 "exit_size", "realized_pnl", "exit_order_id"])  # fmt: skip
def test_what_is_needed_is_missed(db: Connection, bare_uid: str, key: str) -> None:
    for given in ({**trade(), key: None}, {name: got for name, got in trade().items() if name != key}):
        with refused("US010") as error:
            record(db, given)
        assert problems(error) == {key: "is missing"}


def test_all_problems_come_at_once_and_no_value(db: Connection, bare_uid: str) -> None:
    with refused("US010") as error:
        record(db, trade(side="hunter2", entry_price="hunter2", exit_time="hunter2", secret="hunter2", symbol=None))
    assert set(problems(error)) == {"side", "entry_price", "exit_time", "secret", "symbol"}
    assert "hunter2" not in f"{error.value} {error.value.diag.message_detail} {error.value.diag.message_hint}"


@pytest.mark.parametrize("given", [None, "null", "[]", "1", '"x"', "[1]", '[{"symbol": "x"}]'])
def test_what_is_no_object_is_no_trade(db: Connection, bare_uid: str, given: str | None) -> None:
    for query, parameters in ((RECORD, (bare_uid, given)), (RECORD_ALL, (f"[{given or 'null'}]",))):
        with refused("US010"):
            fetch(db, query, parameters)
    for whole in (None, "null", "{}", "1"):
        with refused("US010"):
            fetch(db, RECORD_ALL, (whole,))


def test_a_great_many_problems_are_cut(db: Connection, bare_uid: str) -> None:
    with refused("US010") as error:
        fetch(db, RECORD_ALL, (json.dumps([{}] * 100),))
    assert len(problems(error)) == 20


# -- the settings in force


def test_the_versions_in_force_at_entry_are_noted(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3], T0)
    hourly(db, bare_uid, "dual_side", [1, None, 3], T0)
    second = timedelta(seconds=1)
    expected = {
        -second: (None, None), timedelta(0): (1, 1), HOUR - second: (1, 1), HOUR: (2, None),
        2 * HOUR - second: (2, None), 2 * HOUR: (3, 3), 99 * HOUR: (3, 3),
    }  # fmt: skip
    for number, (since, versions) in enumerate(expected.items()):
        times = {"entry_time": (T0 + since).isoformat(), "exit_time": (T0 + 100 * HOUR).isoformat()}
        row = record(db, trade(number, **times))
        assert (row["params_version"], row["dual_side_version"]) == versions


def test_a_version_that_was_pruned_is_not_known_any_more(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3, 4], T0)
    before = record(db, trade(1))
    assert before["params_version"] == 1
    fetch(db, "select from prune_user_settings(2, '0')")
    times = {"exit_time": (T0 + 10 * HOUR).isoformat()}
    assert record(db, trade(2, entry_time=(T0 + HOUR).isoformat(), **times))["params_version"] is None
    assert record(db, trade(3, entry_time=(T0 + 2 * HOUR).isoformat(), **times))["params_version"] == 3
    assert record(db, trade(1)) == before  # looked up, it would be another


def test_versions_that_the_bot_names_win(db: Connection, bare_uid: str) -> None:
    hourly(db, bare_uid, "params", [1, 2, 3], T0)
    assert record(db, trade(9, params_version="2"))["params_version"] == 2
    with refused("US010") as error:
        record(db, trade(9, params_version=3))
    assert set(problems(error)) == {"params_version"}
    with refused("US010") as error:
        record(db, trade(10, params_version=4))
    assert problems(error) == {"params_version": "is above the newest version there is"}


# -- a record


@pytest.mark.parametrize("table", ["trades", "trade_orders"])
def test_a_recorded_trade_never_changes(db: Connection, bare_uid: str, table: str) -> None:
    record(db, trade())
    before = fetch(db, f"table {table}")
    for role in ("none", "settings_admin"):
        fetch(db, f"set role {role}")
        for statement in (f"update {table} set exit_time = exit_time", f"delete from {table}"):
            with refused("US005"):
                fetch(db, statement)
    fetch(db, "reset role")
    with refused("US005"):
        fetch(db, f"truncate {table}")
    assert fetch(db, f"table {table}") == before


@pytest.mark.parametrize(
    "wrong",
    ["entry_price = 'NaN'", "exit_price = 'Infinity'", "entry_size = 0", "exit_size = -1", "side = 'buy'",
     "exit_time = entry_time - interval '1 us'", "exit_time = 'infinity'", "entry_time = '-infinity'",
     "realized_pnl = 'NaN'", "entry_fee = '-Infinity'", "funding_fee = 'NaN'", "currency = 'usdt'", "currency = ''",
     "close_type = 'A'", "exit_order_id = ''", "entry_order_id = ''",
     "extra = '[]'", "params_version = 0", "dca_count = -1", "leverage = 0", "symbol = ''"],
)  # fmt: skip
def test_the_table_itself_refuses_what_is_no_trade(db: Connection, bare_uid: str, wrong: str) -> None:
    record(db, trade())
    fetch(db, "set session_replication_role = replica")  # without the trigger; a hypertable's can't be disabled
    with refused("23514"):
        fetch(db, f"update trades set {wrong}")


def test_a_deleted_user_keeps_the_trades_and_an_erased_one_has_none(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER,))
    for number in (1, 2):
        record(db, trade(number))
    record(db, trade(), OTHER)
    fetch(db, "select from delete_user(%s)", (bare_uid,))
    assert len(fetch(db, "select * from get_trades(%s)", (bare_uid,))) == 2
    assert value(db, "select trades from erase_user(%s)", (bare_uid,)) == 2
    assert [row["okx_uid"] for row in trades(db)] == [OTHER]
    assert len(fetch(db, "table trade_orders")) == 1
    with refused("US005"):
        fetch(db, "delete from trades")


# -- several at once


def test_of_sessions_that_record_the_same_order_at_once_one_does(
    db: Connection, connect: Connect, bare_uid: str
) -> None:
    rows = at_once(connect, [(RECORD, (bare_uid, json.dumps(trade())))] * 8)
    assert len({row["id"] for (row,) in rows}) == 1
    assert len(trades(db)) == 1
    counts = at_once(connect, [(RECORD_ALL, (array(*(trade(n) for n in range(2, 100))),))] * 4)
    assert sorted(count["recorded"] for (count,) in counts) == [0, 0, 0, 98]


def test_arrays_in_opposite_orders_do_not_deadlock(db: Connection, connect: Connect, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER,))
    given = [{"okx_uid": (bare_uid, OTHER)[n % 2], **trade(n)} for n in range(200)]
    at_once(connect, [(RECORD_ALL, (json.dumps(given[::step]),)) for step in (1, -1, 1, -1)])
    assert len(trades(db)) == 200


def test_a_repeat_that_waits_sees_what_the_other_recorded(db: Connection, session: Open, bare_uid: str) -> None:
    first, second, third = session(), session(), session()
    first.run("begin")
    (row,) = first.run(RECORD, (bare_uid, json.dumps(trade())))
    same = second.run_blocked(RECORD, (bare_uid, json.dumps(trade())))
    other = third.run_blocked(RECORD, (bare_uid, json.dumps(trade(side="short"))))
    first.run("commit")
    assert same.result(DEADLINE) == [row]
    with refused("US010"):
        other.result(DEADLINE)


def test_a_repeat_that_waits_for_one_that_is_rolled_back_records(db: Connection, session: Open, bare_uid: str) -> None:
    first, second = session(), session()
    first.run("begin")
    first.run(RECORD, (bare_uid, json.dumps(trade())))
    waiting = second.run_blocked(RECORD, (bare_uid, json.dumps(trade(side="short"))))
    first.run("rollback")
    assert waiting.result(DEADLINE)[0]["side"] == "short"


@pytest.mark.parametrize("is_bulk", [False, True])
def test_an_erasure_waits_for_a_trade_under_way_and_takes_it_along(
    db: Connection, session: Open, bare_uid: str, is_bulk: bool
) -> None:
    recorder, eraser, late = session(), session(), session()
    query, parameters = (RECORD_ALL, (array(trade()),)) if is_bulk else (RECORD, (bare_uid, json.dumps(trade())))
    recorder.run("begin")
    recorder.run(query, parameters)
    erasing = eraser.run_blocked("select trades from erase_user(%s)", (bare_uid,))
    recorder.run("commit")
    assert erasing.result(DEADLINE) == [{"trades": 1}]
    fetch(db, "select from ensure_user(%s)", (bare_uid,))
    eraser.run("begin")
    eraser.run("select from erase_user(%s)", (bare_uid,))
    waiting = late.run_blocked(query, parameters)
    eraser.run("commit")
    with refused("US010" if is_bulk else "US004"):
        waiting.result(DEADLINE)
    assert trades(db) == fetch(db, "table trade_orders") == []


# -- reading


GET = "select * from get_trades(%s, %s, %s, %s, %s, %s, %s, %s)"


def page(db: Connection, *given: Any) -> list[dict[str, Any]]:
    return fetch(db, GET, (*given, *[None] * (8 - len(given))))


def test_pages_hold_every_trade_once_newest_first(db: Connection, bare_uid: str) -> None:
    """Also those that closed at one moment, across the ends of pages."""
    given = [trade(n, entry_time=T0.isoformat(), exit_time=(T0 + n // 4 * HOUR).isoformat()) for n in range(30)]
    fetch(db, RECORD_ALL, (array(*given),))
    found: list[dict[str, Any]] = []
    last: tuple[datetime | None, UUID | None] = (None, None)
    while rows := page(db, bare_uid, None, None, None, None, *last, 7):
        found += rows
        last = rows[-1]["exit_time"], rows[-1]["id"]
    assert found == page(db, bare_uid)
    assert found == sorted(trades(db), key=lambda row: (-row["exit_time"].timestamp(), row["id"]))
    later = page(db, bare_uid, None, None, None, None, T0 + 2 * HOUR)
    assert max(row["exit_time"] for row in later) == T0 + HOUR


def test_trades_are_found_by_symbol_side_and_time(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER,))
    record(db, trade(), OTHER)
    given = [trade(n, symbol="AB"[n % 2], side=("long", "short")[n // 2 % 2]) for n in range(1, 9)]
    fetch(db, RECORD_ALL, (array(*given),))

    def numbers(*arguments: Any) -> list[int]:
        return [int(row["exit_order_id"]) for row in page(db, bare_uid, *arguments)]

    assert numbers() == [8, 7, 6, 5, 4, 3, 2, 1]
    assert numbers("A") == [8, 6, 4, 2]
    assert numbers(None, "short") == [7, 6, 3, 2]
    assert numbers("B", "long") == [5, 1]
    assert numbers(None, None, T0 + 2 * HOUR, T0 + 4 * HOUR) == [3, 2]  # from then on, before then
    assert numbers("C") == []
    for bad in ("buy", ""):
        with refused("US010"):
            page(db, bare_uid, None, bad)
    with refused("US007"):
        page(db, None)


def test_a_page_is_an_index_scan_that_reads_no_more_than_the_page(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER,))
    query = """
        insert into trades (user_id, okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price,
                            exit_size, realized_pnl, exit_order_id)
        select u.id, u.okx_uid, 'S' || n %% 10, 'long', %s, 1, 1, %s::timestamptz + n * interval '1 s', 1, 1, n, n::text
          from app_users u, generate_series(1, 10000) n"""
    fetch(db, query, (T0, T0))
    fetch(db, "vacuum analyze trades")
    last = fetch(db, GET, (bare_uid, *[None] * 6, 5000))[-1]
    for symbol, index in ((None, "idx_trades_user_exit"), ("S3", "idx_trades_user_symbol_exit")):
        for _ in range(8):
            with plans(db) as found:
                rows = page(db, bare_uid, symbol, None, None, None, last["exit_time"], last["id"], 20)
            assert len(rows) == 20
            (plan,) = [each for each in found if index in each]
            assert re.search(rf"Index Scan using (_hyper_\d+_\d+_chunk_)?{index} on (trades|_hyper_)", plan), plan
            assert "Seq Scan" not in plan
            assert "Index Cond: ((user_id" in plan
            assert "exit_time <=" in plan.split("Filter")[0]


def test_the_moment_of_a_trade_is_the_same_in_every_time_zone(db: Connection, bare_uid: str) -> None:
    first = record(db, trade(entry_time="2026-11-22T10:00:00+09:00", exit_time="2026-11-22 10:00-08"))
    assert first["entry_time"] == datetime(2026, 11, 22, 1, tzinfo=UTC)
    fetch(db, "set timezone = 'America/New_York'")
    fetch(db, "set datestyle = 'German'")
    again = trade(entry_time="2026-11-22T01:00Z", exit_time="2026-11-22T18:00:00.000Z")
    assert value(db, "select id from record_trade(%s, %s)", (bare_uid, json.dumps(again))) == first["id"]


def test_an_okx_uid_given_must_be_that_of_the_user(db: Connection, bare_uid: str) -> None:
    fetch(db, "select from ensure_user(%s)", (OTHER,))
    assert record(db, trade(okx_uid=OKX_UID))["okx_uid"] == OKX_UID
    with refused("US010"):
        record(db, trade(2, okx_uid=OTHER))
