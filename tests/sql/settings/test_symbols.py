"""Documents of symbols: each has versions of its own, beside the user's own, whatever is done to either."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, at_once, fetch, one, refused, value

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
OF_BTC = f"dual_side:{BTC}"
KEY = f"symbol:{BTC}:dual_side"
TRADE = {
    "symbol": BTC, "side": "long", "entry_price": 1, "entry_size": 1, "exit_price": 1, "exit_size": 1,
    "realized_pnl": 1,
}  # fmt: skip


def trigger(db: Connection, symbol: str | None = None) -> tuple[str, int]:
    """What get_user_settings() has of dual_side: whose, and its trigger."""
    row = one(db, "select setting_type, settings from get_user_settings(%s, 'dual_side', %s)", (OKX_UID, symbol))
    return row["setting_type"], row["settings"]["dual_side_entry_trigger"]


def save(db: Connection, number: int, symbol: str | None = BTC) -> int:
    query = "select version from upsert_user_setting(%s, 'dual_side', %s, p_symbol => %s)"
    return int(value(db, query, (OKX_UID, json.dumps({"dual_side_entry_trigger": number}), symbol)))


def test_every_function_keeps_the_symbol_apart_from_the_users_own(db: Connection, uid: str) -> None:
    assert trigger(db, BTC) == ("dual_side", 3)  # the user's own, and it says so
    assert (save(db, 5), save(db, 6), save(db, 7, ETH)) == (1, 2, 1)
    assert (trigger(db), trigger(db, BTC), trigger(db, ETH)) == (
        ("dual_side", 3),
        (OF_BTC, 6),
        (f"dual_side:{ETH}", 7),
    )
    named = f"'{uid}', 'dual_side'"
    for statement, expected in (
        (f"select version, settings from user_setting_version({named}, 1, p_symbol => '{BTC}')", [5]),
        (f"select version, settings from user_setting_at({named}, now(), p_symbol => '{BTC}')", [6]),
        (f"select version, settings from user_setting_at({named}, now())", [3]),
        (f"select version, settings from user_setting_at('{uid}', null, now(), '{BTC}')", [6]),
        (f"select version, settings from get_user_settings('{uid}', '{OF_BTC}')", [6]),
        (f"select settings from find_users_by_setting('dual_side', '{{}}', p_symbol => '{BTC}')", [6]),
        ("select settings from find_users_by_setting('dual_side', '{}')", [3]),
        (f"select settings from rollback_user_setting({named}, 1, p_symbol => '{BTC}')", [5]),
        (f"select settings from patch_user_setting({named}, '{{\"x\": 1}}', 3, '{BTC}')", [5]),
    ):
        assert [row["settings"]["dual_side_entry_trigger"] for row in fetch(db, statement)] == expected, statement
    changed = "select key from diff_user_setting(%s, 'dual_side', 1, 4, %s)"
    assert value(db, changed, (uid, BTC)) == "x"
    history = "select setting_type, version from user_setting_history(%s, %s, p_symbol => %s)"
    assert [row["version"] for row in fetch(db, history, (uid, "dual_side", BTC))] == [4, 3, 2, 1]
    assert [row["version"] for row in fetch(db, history, (uid, "dual_side", None))] == [1]
    assert {row["setting_type"] for row in fetch(db, history, (uid, None, None))} == {
        "dual_side", OF_BTC, f"dual_side:{ETH}", "params", "preferences",
    }  # fmt: skip
    assert [row["setting_type"] for row in fetch(db, "select * from get_user_settings(%s, null, %s)", (uid, BTC))] == [
        OF_BTC, "params", "preferences",
    ]  # fmt: skip
    deleted = one(db, f"select version, settings from delete_user_setting({named}, 4, '{BTC}')")
    assert (deleted, trigger(db, BTC)) == ({"version": 5, "settings": {}}, ("dual_side", 3))
    assert value(db, f"select version from restore_user_setting({named}, 5, '{BTC}')") == 6
    assert (trigger(db, BTC), trigger(db)) == ((OF_BTC, 5), ("dual_side", 3))
    assert value(db, f"select version from get_user_settings({named})") == 1


def test_the_first_patch_of_a_symbol_begins_with_what_is_in_force(db: Connection, uid: str) -> None:
    patch = "select version, settings from patch_user_setting(%s, 'dual_side', '{\"x\": 1}', p_symbol => %s)"
    own = value(db, "select settings from get_user_settings(%s, 'dual_side')", (uid,))
    assert one(db, patch, (uid, BTC)) == {"version": 1, "settings": {**own, "x": 1}}
    fetch(db, "select from patch_user_setting(%s, 'dual_side', '{\"dual_side_entry_trigger\": 4}')", (uid,))
    assert trigger(db, BTC) == (OF_BTC, 3)  # it has its own now
    fetch(db, "select from delete_user_setting(%s, 'dual_side', p_symbol => %s)", (uid, BTC))
    assert one(db, patch, (uid, BTC)) == {"version": 3, "settings": {**own, "dual_side_entry_trigger": 4, "x": 1}}
    fetch(db, "select from delete_user_setting(%s, 'dual_side')", (uid,))
    assert one(db, patch, (uid, ETH)) == {"version": 1, "settings": {"x": 1}}


def test_redis_gets_a_key_of_its_own_and_the_catalogue_holds(db: Connection, uid: str) -> None:
    save(db, 5)
    state = "select suffix, encoding, version, document from mirror_state(array[%s], array[%s])"
    assert one(db, state, (uid, OF_BTC)) == {
        "suffix": KEY, "encoding": "hash", "version": 1, "document": {"dual_side_entry_trigger": 5},
    }  # fmt: skip
    assert value(db, "select version from mirror_pending where kind = %s", (OF_BTC,)) == 1
    with refused("US003") as error:
        save(db, "three")  # type: ignore[arg-type]
    assert json.loads(error.value.diag.message_detail or "").keys() == {"dual_side_entry_trigger"}
    missing = "select missing_setting_keys(%s, '{}') = missing_setting_keys('dual_side', '{}')"
    assert value(db, missing, (OF_BTC,))


@pytest.mark.parametrize(
    ("setting_type", "symbol", "state"),
    [
        ("params", BTC, "US010"),
        ("unknown", BTC, "US002"),
        ("user", BTC, "US002"),
        *(("dual_side", symbol, "US010") for symbol in (
            "", "btc-usdt-swap", "BTC", "BTC-", "-BTC", "BTC--USDT", "BTC USDT", "BTC-USDT\n", f"{BTC}:", f"{BTC}:x",
            "A-" + "B" * 63, "*", "ÄB-CD",
        )),
        (OF_BTC, BTC, "US010"),
        (f"{OF_BTC}:", None, "US010"),
        ("dual_side:", None, "US010"),
    ],
)  # fmt: skip
def test_what_is_no_symbol_is_refused_everywhere(
    db: Connection, uid: str, setting_type: str, symbol: str | None, state: str
) -> None:
    for call in (
        "get_user_settings(%s, %s, %s)", "upsert_user_setting(%s, %s, '{}', p_symbol => %s)",
        "patch_user_setting(%s, %s, '{}', p_symbol => %s)", "delete_user_setting(%s, %s, p_symbol => %s)",
        "user_setting_history(%s, %s, p_symbol => %s)", "user_setting_version(%s, %s, 1, %s)",
        "user_setting_at(%s, %s, now(), %s)", "diff_user_setting(%s, %s, 1, 1, %s)",
        "rollback_user_setting(%s, %s, 1, p_symbol => %s)", "restore_user_setting(%s, %s, p_symbol => %s)",
    ):  # fmt: skip
        with refused(state):
            fetch(db, f"select from {call}", (uid, setting_type, symbol))
    insert = "insert into user_settings (user_id, setting_type, settings) select id, {}, '{{}}' from app_users"
    for statement in (
        "select from find_users_by_setting(%s, '{}', p_symbol => %s)",
        insert.format("%s || coalesce(':' || %s, '')"),
    ):
        with refused(state):
            fetch(db, statement, (setting_type, symbol))


def test_many_first_saves_at_once_are_one_sequence(
    db: Connection, connect: Callable[[], Connection], bare_uid: str
) -> None:
    query = "select version from upsert_user_setting(%s, 'dual_side', %s, p_symbol => %s)"
    statements = [(query, (bare_uid, json.dumps({"n": n}), symbol)) for n in range(4) for symbol in (BTC, ETH)]
    found = [rows[0]["version"] for rows in at_once(connect, statements)]
    assert sorted(found) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_whole_users_are_rolled_back_deleted_and_restored_with_their_symbols(db: Connection, uid: str) -> None:
    save(db, 5)
    moment = value(db, "select clock_timestamp()")
    save(db, 6)
    save(db, 7, ETH)
    fetch(db, "select from rollback_user_settings(%s, %s)", (uid, moment))
    assert (trigger(db, BTC), trigger(db, ETH)) == ((OF_BTC, 5), ("dual_side", 3))
    fetch(db, "select from delete_user(%s)", (uid,))
    assert value(db, "select count(*) from user_settings where is_active and deleted_at is null") == 0
    fetch(db, "select from restore_user(%s)", (uid,))
    assert (trigger(db, BTC), trigger(db, ETH)) == ((OF_BTC, 5), ("dual_side", 3))
    pruned = fetch(db, "select * from prune_user_settings(1, '0')")
    assert [tuple(row.values()) for row in pruned] == [("dual_side", 6), ("params", 2), ("preferences", 2)]


def test_registration_takes_and_completes_documents_of_symbols(db: Connection) -> None:
    documents = json.dumps({OF_BTC: {"dual_side_entry_trigger": 5}})
    for version in (1, 2):  # the second fills what the first lacks
        rows = fetch(db, "select * from register_user(%s, p_documents => %s)", (OKX_UID, documents))
        assert {row["setting_type"]: row["version"] for row in rows} == {
            "dual_side": 1, OF_BTC: version, "params": 1, "preferences": 1,
        }  # fmt: skip
    assert trigger(db, BTC) == (OF_BTC, 5)


def test_an_erasure_removes_them_and_marks_every_symbol(db: Connection, uid: str) -> None:
    save(db, 5)
    fetch(db, "select from erase_user(%s)", (uid,))
    assert value(db, "select count(*) from user_settings") == 0
    marks = "select kind, suffix, version from mirror_source where encoding = 'erased' and kind like '%%:%%' order by 1"
    assert fetch(db, marks) == [
        {"kind": "dual_side:*", "suffix": "symbol:*:dual_side", "version": 1},
        {"kind": OF_BTC, "suffix": KEY, "version": 2},
    ]
    # Registered again before Redis lost the old life: what is there of any symbol is no news, and not kept.
    fetch(db, "select from register_user(%s)", (uid,))
    for symbol in (BTC, ETH):
        item = [{"owner": uid, "kind": f"dual_side:{symbol}", "version": 0, "document": {"old": 1}}]
        assert value(db, "select outcome from import_documents(%s)", (json.dumps(item),)) == "deleted"
    save(db, 9, ETH)
    assert value(db, "select discards from mirror_pending where kind = %s", (f"dual_side:{ETH}",))


def test_a_template_is_applied_to_documents_of_a_symbol(db: Connection, uid: str) -> None:
    fetch(db, "select from save_setting_template('eager', 'dual_side', '{\"dual_side_entry_trigger\": 8}')")
    save(db, 5)
    call = "select setting_type, version, changes from apply_setting_template('eager', 'dual_side', {}, p_symbol => %s)"
    for whom, symbol, version in (("p_filter => '{}'", BTC, 2), (f"array['{uid}']", ETH, 1)):
        row = one(db, call.format(whom), (symbol,))
        assert (row["setting_type"], row["version"]) == (f"dual_side:{symbol}", version)
        assert trigger(db, symbol) == (f"dual_side:{symbol}", 8)
    assert trigger(db) == ("dual_side", 3)
    for call in (
        f"save_setting_template('eager', '{OF_BTC}', '{{}}')", f"save_setting_field('{OF_BTC}', 'a', 'string')",
        "apply_setting_template('default', 'params', p_filter => '{}', p_symbol => 'BTC-USDT')",
    ):  # fmt: skip
        with refused("US010"):
            fetch(db, f"select from {call}")


def test_exports_come_back_and_imports_say_what_is_no_symbol(db: Connection, uid: str) -> None:
    save(db, 5)
    exported = value(db, "select document from export_users()")
    fetch(db, "select from delete_user_setting(%s, 'dual_side', p_symbol => %s)", (uid, BTC))
    fetch(db, "select from import_users(%s)", (json.dumps([exported]),))
    assert trigger(db, BTC) == (OF_BTC, 5)
    bad = [{"okx_uid": uid, "settings": {"dual_side:btc": {}, f"params:{BTC}": {}, "none": {}}}]
    rows = fetch(db, "select setting_type, problems from import_users(%s, true)", (json.dumps(bad),))
    assert {row["setting_type"]: row["problems"] for row in rows} == {
        None: None,
        "dual_side:btc": {"$": "not a symbol as OKX writes it"},
        f"params:{BTC}": {"$": "a setting type without documents of symbols"},
        "none": {"$": "unknown setting type"},
    }


def test_a_trade_notes_the_users_own_version_only_where_that_was_in_force(db: Connection, uid: str) -> None:
    save(db, 5)
    noted = {}
    for n, symbol in enumerate((BTC, ETH)):
        times = {"entry_time": "2026-12-31T00:00Z", "exit_time": "2026-12-31T01:00Z", "exit_order_id": str(n)}
        fetch(db, "select from record_trade(%s, %s)", (uid, json.dumps({**TRADE, **times, "symbol": symbol})))
        noted[symbol] = value(db, "select dual_side_version from trades where symbol = %s", (symbol,))
    assert noted == {BTC: None, ETH: 1}


def test_symbols_are_given_to_a_type_and_not_taken_while_there_are_documents(db: Connection, uid: str) -> None:
    call = "select has_symbols from save_setting_type('alerts', 'alerts', 'hash'{})"
    upsert = "select version from upsert_user_setting(%s, 'alerts', '{}', p_symbol => %s)"
    assert not value(db, call.format(""))
    with refused("US010"):
        fetch(db, upsert, (uid, BTC))
    assert value(db, call.format(", true"))
    assert value(db, call.format(""))  # as it is
    assert value(db, upsert, (uid, BTC)) == 1
    for again in (call.format(", false"), "select delete_setting_type('alerts')"):
        with refused("US005"):
            fetch(db, again)
    fetch(db, "select from upsert_user_setting(%s, 'dual_side', '{}')", (uid,))
    assert not value(db, "select has_symbols from save_setting_type('dual_side', 'dual_side', 'hash', false)")
