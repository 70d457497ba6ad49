"""The kill switch in SQL: who is halted, why and by whom, for good; and what Redis should hold of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.sessions import Connection, Session, at_once, fetch, one, refused, value

OTHER = "1000000000000001"
SYMBOL = "BTC-USDT-SWAP"
EVERYBODY = "00000000000000000000"
SCOPES = [(None, None), (OKX_UID, None), (None, SYMBOL), (OKX_UID, SYMBOL)]
MIRRORED = f"select version, document, updated_at from mirror_source where owner = '{EVERYBODY}'"


def in_force(db: Connection) -> set[tuple[str | None, str | None, str]]:
    return {(row["okx_uid"], row["symbol"], row["reason"]) for row in fetch(db, "select * from list_halts()")}


@pytest.mark.parametrize(("whose", "symbol"), SCOPES)
def test_a_halt_says_who_why_and_when_and_so_does_its_end(
    db: Connection, uid: str, whose: str | None, symbol: str | None
) -> None:
    fetch(db, "set settings_store.actor = 'kim'")
    halted = one(db, "select * from halt_trading('down', %s, %s)", (whose, symbol))
    assert (halted["okx_uid"], halted["symbol"], halted["reason"], halted["halted_by"]) == (
        whose,
        symbol,
        "down",
        "kim",
    )
    assert halted["written_by"] == value(db, "select session_user::text")
    assert in_force(db) == {(whose, symbol, "down")}
    for other in SCOPES:
        if other != (whose, symbol):
            assert fetch(db, "select * from resume_trading('x', %s, %s)", other) == []
    fetch(db, "set settings_store.actor = 'lee'")
    ended = one(db, "select * from resume_trading('up again', %s, %s)", (whose, symbol))
    assert (ended["id"], ended["resumed_by"], ended["resume_reason"]) == (halted["id"], "lee", "up again")
    assert ended["resumed_at"] >= halted["halted_at"]
    assert in_force(db) == set()
    assert fetch(db, "select * from resume_trading('up again', %s, %s)", (whose, symbol)) == []
    fetch(db, "select from halt_trading('once more', %s, %s)", (whose, symbol))
    assert [row["reason"] for row in fetch(db, "select * from list_halts(true)")] == ["once more", "down"]


def test_halting_what_is_halted_keeps_the_first_halt_and_changes_nothing(db: Connection, uid: str) -> None:
    first = one(db, "select * from halt_trading('down')")
    before = one(db, MIRRORED)
    assert one(db, "select * from halt_trading('again')") == first
    assert one(db, MIRRORED) == before
    fetch(db, "select from halt_trading('by Telegram', %s)", (TELEGRAM_ID,))
    assert in_force(db) == {(None, None, "down"), (OKX_UID, None, "by Telegram")}


def test_what_redis_should_hold_is_marked_by_whoever_changes_it_and_reads_alike_in_every_session(
    db: Connection, uid: str
) -> None:
    assert fetch(db, MIRRORED) == []
    fetch(db, "delete from mirror_pending")
    halted = one(db, "select * from halt_trading('say \"no\" – 중지', %s, %s)", (OKX_UID, SYMBOL))
    marks = fetch(db, "select owner, kind, version from mirror_pending")
    assert marks == [{"owner": EVERYBODY, "kind": "halts", "version": 1}]
    (row,) = one(db, MIRRORED)["document"]
    since = halted["halted_at"].astimezone(tz=None)
    assert row == {"okx_uid": OKX_UID, "symbol": SYMBOL, "reason": 'say "no" – 중지', "since": row["since"]}
    assert value(db, "select %s::timestamptz", (row["since"],)) == since
    text = value(db, f"select document::text from mirror_source where owner = '{EVERYBODY}'")
    fetch(db, "set timezone = 'Asia/Seoul'; set datestyle = 'SQL, DMY'")
    assert value(db, f"select document::text from mirror_source where owner = '{EVERYBODY}'") == text
    fetch(db, "reset datestyle")
    fetch(db, "update trading_halts set reason = 'by hand'")
    assert one(db, MIRRORED)["version"] == 2
    fetch(db, "select from resume_trading('fine', %s, %s)", (OKX_UID, SYMBOL))
    assert (one(db, MIRRORED)["version"], one(db, MIRRORED)["document"]) == (3, [])


@pytest.mark.parametrize(
    "arguments",
    [
        "''",
        "null",
        "repeat('x', 1001)",
        "E'a\\nb'",
        "'x', null, 'btc'",
        "'x', null, 'BTC'",
        "'x', null, 'A-' || repeat('B', 70)",
    ],
)
def test_what_is_no_halt_is_refused(db: Connection, arguments: str) -> None:
    with refused("US010"):
        fetch(db, f"select * from halt_trading({arguments})")
    assert in_force(db) == set()


def test_resuming_without_a_reason_and_halting_nobody_are_refused(db: Connection, uid: str) -> None:
    fetch(db, "select from halt_trading('down')")
    for reason in (None, ""):
        with refused("US010"):
            fetch(db, "select * from resume_trading(%s)", (reason,))
    with refused("US004"):
        fetch(db, "select * from halt_trading('down', %s)", (OTHER,))
    with refused("US007"):
        fetch(db, "select * from halt_trading('down', 'everybody')")
    assert in_force(db) == {(None, None, "down")}


def test_of_sessions_that_halt_at_once_all_get_the_one_halt(
    db: Connection, uid: str, connect: Callable[[], Connection]
) -> None:
    rows = at_once(connect, [("select * from halt_trading(%s)", (str(n),)) for n in range(8)])
    assert len({row["id"] for (row,) in rows}) == 1
    assert len(in_force(db)) == 1
    ended = at_once(connect, [("select * from resume_trading(%s)", (str(n),)) for n in range(8)])
    assert sum(map(len, ended)) == 1
    at_once(connect, [("select * from halt_trading('x', %s, %s)", scope) for scope in SCOPES])
    assert len(in_force(db)) == 4
    assert (one(db, MIRRORED)["version"], len(one(db, MIRRORED)["document"])) == (6, 4)


def test_who_halts_while_the_other_is_about_to_gets_the_others_halt_or_the_own_if_that_is_taken_back(
    db: Connection, uid: str, session: Callable[[], Session]
) -> None:
    first, second = session(), session()
    for end, expected in (("rollback", "second"), ("commit", "first")):
        fetch(db, "select from resume_trading('next')")
        first.run("begin")
        first.run("select from halt_trading('first')")
        waiting = second.run_blocked("select * from halt_trading('second')")
        first.run(end)
        (row,) = waiting.result()
        assert row["reason"] == expected
        assert in_force(db) == {(None, None, expected)}


def test_a_change_of_the_user_that_is_under_way_holds_no_halt_up(
    db: Connection, uid: str, session: Callable[[], Session]
) -> None:
    busy = session()
    busy.run("begin")
    busy.run("update app_users set name = 'Lee'")
    fetch(db, "set lock_timeout = '1s'")
    fetch(db, "select from halt_trading('now', %s)", (OKX_UID,))
    assert in_force(db) == {(OKX_UID, None, "now")}


def test_a_deleted_user_stays_halted_and_can_be_resumed_and_an_erased_one_leaves_nothing(
    db: Connection, uid: str
) -> None:
    fetch(db, "select from halt_trading('down'), ensure_user(%s)", (OTHER,))
    fetch(db, "select from halt_trading('theirs', %s), halt_trading('others', %s) b", (OKX_UID, OTHER))
    fetch(db, "select from delete_user(%s)", (OKX_UID,))
    assert len(in_force(db)) == 3
    with refused("US004"):
        fetch(db, "select from halt_trading('deleted', %s, %s)", (OKX_UID, SYMBOL))
    fetch(db, "select from resume_trading('fine', %s)", (OKX_UID,))
    version = one(db, MIRRORED)["version"]
    fetch(db, "select from erase_user(%s)", (OKX_UID,))
    assert {row["okx_uid"] for row in fetch(db, "select * from list_halts(true)")} == {None, OTHER}
    assert one(db, MIRRORED)["version"] > version
    assert OKX_UID not in str(one(db, MIRRORED))


def test_halts_are_never_removed(db: Connection) -> None:
    fetch(db, "select from halt_trading('down')")
    for statement in ("delete from trading_halts", "truncate trading_halts"):
        with refused("US005"):
            fetch(db, statement)


def test_nobody_is_registered_by_the_name_of_everybodys_key(db: Connection) -> None:
    with refused("US007"):
        fetch(db, "select from ensure_user(%s)", (EVERYBODY,))
    with refused("23514"):
        fetch(db, "insert into app_users (okx_uid) values (%s)", (EVERYBODY,))
    problems = value(db, "select _user_problems(jsonb_build_object('okx_uid', %s::text))", (EVERYBODY,))
    assert problems == {"okx_uid": "stands for everybody"}


def test_nobody_is_erased_by_the_name_of_everybodys_key(db: Connection) -> None:
    fetch(db, "select from halt_trading('down')")
    assert fetch(db, "select * from erase_unknown(%s)", ([EVERYBODY],)) == []
    assert not value(db, "select is_erased(%s)", (EVERYBODY,))
    assert value(db, "select array_agg(kind) from mirror_pending where owner = %s", (EVERYBODY,)) == ["halts"]


def test_a_confined_writer_halts_the_own_user_only_and_sees_no_others(db: Connection, uid: str) -> None:
    fetch(db, "select from halt_trading('everybody') a, ensure_user(%s)", (OTHER,))
    fetch(db, "select from halt_trading('other', %s), halt_trading('symbol', null, %s) b", (OTHER, SYMBOL))
    fetch(db, f"set role settings_writer; set settings_store.okx_uid = '{OKX_UID}'")
    for arguments in ("'x'", f"'x', null, '{SYMBOL}'", f"'x', '{OTHER}'"):
        for function in ("halt_trading", "resume_trading"):
            with refused("US012"):
                fetch(db, f"select * from {function}({arguments})")
    fetch(db, "select from halt_trading('own', %s)", (OKX_UID,))
    assert in_force(db) == {(None, None, "everybody"), (None, SYMBOL, "symbol"), (OKX_UID, None, "own")}
    assert len(fetch(db, "select * from resume_trading('fine', %s)", (OKX_UID,))) == 1
    fetch(db, "reset role; set role settings_admin")
    assert {row["okx_uid"] for row in fetch(db, "select * from trading_halts")} == {None, OKX_UID}


def test_readers_see_halts_and_make_none_and_admins_insert_none_by_hand(db: Connection) -> None:
    fetch(db, "select from halt_trading('down')")
    for role in ("reader", "relay"):
        fetch(db, f"set role settings_{role}")
        assert in_force(db) == {(None, None, "down")}
        with refused("42501"):
            fetch(db, "select from resume_trading('x')")
        fetch(db, "reset role")
    fetch(db, "set role settings_admin")
    with refused("42501"):
        fetch(db, "insert into trading_halts (reason, halted_by) values ('forged', 'nobody')")
    with refused("42501"):
        fetch(db, "update trading_halts set resumed_at = now()")
