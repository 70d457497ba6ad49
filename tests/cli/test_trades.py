"""Trades by the command line: what is printed, what is read, exit codes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.commands.trades import FORMATS
from store.files.trade_formats import NAMES, NEEDED
from tests.cli.conftest import Cli
from tests.helpers.hostile import NOBODY, SECRET
from tests.helpers.trades import HOUR, T0, trade

Db = psycopg.Connection[dict[str, Any]]


def words(given: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in given.items()]


def lines(uid: str, *given: dict[str, Any]) -> str:
    return "\n".join(json.dumps({"okx_uid": uid, **each}) for each in given)


@pytest.fixture
def traded(inside: Cli, kim: str) -> str:
    """A user with trades: 1 to 4 closed an hour apart, long and short, of two symbols."""
    given = [
        trade(n, side=("long", "short")[n % 2], symbol=("BTC", "ETH")[n > 2], realized_pnl=n - 3, exit_fee="0.10")
        for n in range(1, 5)
    ]
    said = inside("trades", "import", "-", stdin=lines(kim, *given))
    assert said.lines == ["recorded 4 trades, 0 known already"]
    return kim


def test_a_trade_is_added_with_every_digit_and_once(inside: Cli, kim: str) -> None:
    given = words(trade(entry_price="0.12345678901234567890123", extra='{"a": 1}'))
    for _ in range(2):
        said = inside("trades", "add", kim, *given)
        assert said.lines == ["BTC-USDT-SWAP long: net PnL 4.999, params version unknown"]
    (found,) = inside("trades", "list", kim, "--json").json
    assert (found["entry_price"], found["extra"]) == ("0.12345678901234567890123", {"a": 1})
    again = inside("trades", "add", kim, "--file", "-", "--json", stdin=json.dumps(trade(2))).json
    assert (again["exit_order_id"], again["net_pnl"]) == ("2", "4.999")


def test_a_trade_notes_the_version_of_the_settings(inside: Cli, kim: str) -> None:
    inside("set", kim, "params", "leverage=20")
    later = words(trade(entry_time="2999-01-01T00:00Z", exit_time="2999-01-02T00:00Z"))
    assert "params version 2" in inside("trades", "add", kim, *later).out


def test_what_is_wrong_with_a_trade_is_listed(inside: Cli, kim: str) -> None:
    told = inside.fails(1, "trades", "add", kim, *words(trade(side=SECRET, entry_time="2026-11-22T10:00", foo=1)))
    assert [line.split(":")[0].strip() for line in told.splitlines()[1:]] == ["entry_time", "foo", "side"]
    assert SECRET not in told
    inside("trades", "add", kim, *words(trade()))
    told = inside.fails(1, "trades", "add", kim, *words(trade(side="short")))
    assert "side: differs from what was recorded for this exit_order_id" in told
    assert NOBODY in inside.fails(1, "trades", "add", NOBODY, *words(trade()))
    for usage in ([], ["side"], ["side=long", "side=long"], ["--file", "-", "side=long"]):
        assert inside.run("trades", "add", kim, *usage, stdin="{}").code == 2
    inside.fails(1, "trades", "add", kim, "--file", "-", stdin="[]")


def test_a_list_is_newest_first_and_selected(inside: Cli, traded: str) -> None:
    head, *rows = [line.split() for line in inside("trades", "list", traded).lines]
    assert head[:3] == ["exit_time", "symbol", "side"]
    assert [row[1:3] for row in rows] == [["ETH", "long"], ["ETH", "short"], ["BTC", "long"], ["BTC", "short"]]
    for options, numbers in {
        ("--symbol", "ETH"): ["4", "3"],
        ("--side", "long"): ["4", "2"],
        ("--since", (T0 + 3 * HOUR).isoformat()): ["4", "3"],
        ("--until", (T0 + 3 * HOUR).isoformat()): ["2", "1"],
    }.items():
        found = inside("trades", "list", traded, *options, "--json").json
        assert [one["exit_order_id"] for one in found] == numbers


def test_a_page_tells_where_the_next_begins(inside: Cli, traded: str) -> None:
    found: list[str] = []
    options: list[str] = []
    while True:
        page = inside.run("trades", "list", traded, "--limit", "3", "--json", *options)
        assert page.code == 0
        found += [one["exit_order_id"] for one in page.json]
        if not page.err:
            break
        options = ["--before", page.err.strip().removeprefix("more: --before ").strip("'")]
    assert found == ["4", "3", "2", "1"]
    for place in ("x", "2026-11-22/x", "/", "2026-11-22"):
        assert inside.run("trades", "list", traded, "--before", place).code == 2


def test_what_is_listed_as_csv_can_be_imported_elsewhere(inside: Cli, traded: str, tmp_path: Path) -> None:
    before = inside("trades", "list", traded, "--json").json
    (tmp_path / "trades.csv").write_text(inside("trades", "list", traded, "--csv").out)
    inside("user", "erase", traded, "--yes")
    inside("register", traded)
    assert inside("trades", "import", str(tmp_path / "trades.csv"), "--json").json == {"recorded": 4, "known": 0}
    after = inside("trades", "list", traded, "--json").json
    for one in (*before, *after):
        for ours in ("id", "user_id", "created_at"):
            one.pop(ours)
    assert after == before


def test_a_bad_line_rejects_the_file(inside: Cli, kim: str, db: Db, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(lines(kim, trade(1), trade(2, side=SECRET), trade(3, symbol="", foo=1)))
    told = inside.fails(1, "trades", "import", str(tmp_path / "t"))
    assert [line.strip() for line in told.splitlines()[1:]] == [
        "line 2: side: must be long or short",
        "line 3: foo: is no field of a trade; extra takes whatever else is known",
        "line 3: symbol: must be a text of 1-64 characters without blanks",
    ]
    assert db.execute("select from trade_orders").rowcount == 0
    assert inside.run("trades", "import", str(tmp_path / "none")).code == 2


def test_figures_of_a_user_of_all_and_in_groups(inside: Cli, traded: str) -> None:
    shown = dict(line.split(maxsplit=1) for line in inside("trades", "stats", traded).lines if " " in line)
    assert (shown["trades"], shown["wins"], shown["losses"], shown["win_rate"]) == ("4", "1", "3", "0.25")
    assert (shown["net_pnl"], shown["fees"], shown["profit_factor"]) == ("-2.40", "0.40", "0.272727")
    (everybody,) = inside("trades", "stats", "--json").json
    assert (everybody["trades"], everybody["net_pnl"], everybody["average_holding"]) == (4, "-2.40", 3600.0)
    assert everybody["okx_uid"] is None
    by = inside("trades", "stats", "--by", "symbol", "--by", "day", "--json").json
    assert [(one["symbol"], one["period"][:10], one["trades"]) for one in by] == [
        ("BTC", "2026-11-22", 2), ("ETH", "2026-11-22", 2)
    ]  # fmt: skip
    head, *rows = [line.split() for line in inside("trades", "stats", traded, "--by", "side").lines]
    assert head[:4] == ["side", "currency", "trades", "win_rate"]
    assert [row[:2] for row in rows] == [["long", "2"], ["short", "2"]]
    (selected,) = inside("trades", "stats", traded, "--symbol", "ETH", "--side", "long", "--json").json
    assert selected["net_pnl"] == "0.90"


def test_figures_by_version_tell_which_settings_earned_what(inside: Cli, traded: str) -> None:
    inside("set", traded, "params", "leverage=20")
    later = {"entry_time": "2999-01-01T00:00Z", "exit_time": "2999-01-02T00:00Z"}
    inside("trades", "add", traded, *words(trade(9, **later)))
    found = inside("trades", "stats", traded, "--by-version", "--json").json
    assert [(one["version"], one["trades"], one["saved_at"] is None) for one in found] == [
        (2, 1, False), (None, 4, True)
    ]  # fmt: skip
    head, *rows = [line.split() for line in inside("trades", "stats", "--by-version", "--type", "dual_side").lines]
    assert head[:5] == ["okx_uid", "version", "saved_at", "currency", "trades"]
    assert rows[0][:2] == [traded, "1"]
    assert inside.run("trades", "stats", "--by-version", "--by", "side").code == 2
    assert NOBODY in inside.fails(1, "trades", "stats", NOBODY)


def test_figures_by_value_of_a_capital_and_as_csv(inside: Cli, traded: str) -> None:
    head, *rows = [line.split() for line in inside("trades", "stats", "--by-value", "leverage", "--by", "side").lines]
    assert head[:5] == ["side", "value", "currency", "trades", "win_rate"]
    assert [row[:2] for row in rows] == [["long", "2"], ["short", "2"]]  # before any version, without a currency
    shown = inside("trades", "stats", traded, "--capital", "2.5", "--year-days", "1").lines
    figures = dict(line.split(maxsplit=1) for line in shown if " " in line.strip())
    assert (figures["max_drawdown"], figures["max_drawdown_percent"]) == ("3.30", "132")
    assert {"cagr_percent", "calmar"} <= {line.split()[0] for line in shown}
    assert "max_drawdown_percent" not in inside("trades", "stats", traded).out
    (row,) = csv.DictReader(inside("trades", "stats", traded, "--csv").out.splitlines())
    (as_json,) = inside("trades", "stats", traded, "--json").json
    assert row == {key: "" if value is None else str(value) for key, value in as_json.items()}
    inside("trades", "add", traded, *words(trade(9, currency="USDT")))
    assert "Select those of one currency" in inside.fails(1, "trades", "stats", "--capital", "9")
    assert len(inside("trades", "stats", "--capital", "9", "--currency", "USDT", "--json").json) == 1
    for usage in (["--capital", "0"], ["--capital", "x"], ["--year-days", "0"], ["--csv", "--json"],
                  ["--by-value", "leverage", "--by-version"]):  # fmt: skip
        assert inside.run("trades", "stats", *usage).code == 2


def test_the_curve_is_a_table_csv_or_json(inside: Cli, traded: str) -> None:
    head, *rows = [line.split() for line in inside("trades", "curve", traded).lines]
    assert head == ["time", "currency", "trades", "net_pnl", "equity", "drawdown", "version"]
    assert [row[-2:] for row in rows] == [["-2.10", "2.10"], ["-3.20", "3.20"], ["-3.30", "3.30"], ["-2.40", "2.40"]]
    as_json = inside("trades", "curve", "--json", "--side", "long").json
    found = list(csv.DictReader(inside("trades", "curve", "--csv", "--side", "long").out.splitlines()))
    assert found == [{key: "" if value is None else str(value) for key, value in point.items()} for point in as_json]
    assert inside.run("trades", "curve", "--csv", "--json").code == 2
    assert NOBODY in inside.fails(1, "trades", "curve", NOBODY)


def test_no_trades_are_no_error(inside: Cli, kim: str) -> None:
    assert inside("trades", "list", kim).lines[0].startswith("exit_time")
    assert inside("trades", "list", kim, "--json").json == []
    assert inside("trades", "stats", kim, "--json").json[0]["trades"] == 0


SHAPES: dict[str, Callable[[str, str], str]] = {
    "a line each": lambda first, second: f"{first}\n\n{second}\n",
    "an array on a line": lambda first, second: f"[{first},{second}]",
    "an array, indented": lambda first, second: json.dumps([json.loads(first), json.loads(second)], indent=4),
    "objects, indented": lambda first, second: "\n".join(
        json.dumps(json.loads(each), indent=2) for each in (first, second)
    ),
    "Windows": lambda first, second: f"\ufeff\r\n{first}\r\n{second}",
    "an array over lines": lambda first, second: f"\n [\n{first}\n,\n{second}\n]\n",
}  # fmt: skip


def test_a_file_of_json_may_have_many_shapes(inside: Cli, kim: str) -> None:
    for place, (shape, write) in enumerate(SHAPES.items()):
        content = write(lines(kim, trade(2 * place)), lines(kim, trade(2 * place + 1)))
        assert inside("trades", "import", "-", "--json", stdin=content).json == {"recorded": 2, "known": 0}, shape


def test_positions_of_okx_are_recorded_for_the_user_who_is_named(inside: Cli, kim: str) -> None:
    position = {
        "instId": "BTC-USDT-SWAP", "direction": "short", "posSide": "net", "mgnMode": "cross", "ccy": "USDT",
        "openAvgPx": "97000", "closeAvgPx": "96000", "closeTotalPos": "2", "pnl": "20", "fee": "-1.5",
        "fundingFee": "0.25", "realizedPnl": "18.75", "cTime": "1795341600000", "uTime": "1795345200000", "type": "2",
    }  # fmt: skip
    answer = json.dumps({"code": "0", "data": [position, position | {"type": "1", "instId": "ETH-USDT-SWAP"}]})
    done = inside.run("trades", "import", "-", "--user", kim, stdin=answer)
    assert (done.out, done.err) == ("recorded 1 trade, 0 known already\n", "passed over 1 position not closed yet\n")
    (found,) = inside("trades", "list", kim, "--json").json
    assert (found["net_pnl"], found["exit_fee"], found["funding_fee"]) == ("18.75", "1.5", "-0.25")
    assert "--user" in inside.fails(1, "trades", "import", "-", stdin=answer)
    assert inside.run("trades", "import", "-", "--format", "bitmex", stdin=answer).code == 2
    assert FORMATS == NAMES


NO_TRADES = {
    "no column okx_uid, symbol, side, entry_time": "<html>",
    "no column okx_uid, symbol, entry_time": "foo,bar,side\n1,2,3\n",
    "no column okx_uid, symbol, side": "okx_uid;symbol;side\n1;2;3\n",
    "no column okx_uid, symbol": "587662504768345929,BTC-USDT-SWAP,long,2026-11-22T10:00:00Z,1,1",
    "no column exit_order_id": "okx_uid,symbol,side,entry_time,entry_price,entry_size,exit_time,exit_price,exit_size,"
    "realized_pnl,exit_order,foo\n",
    "line 1: the file is empty": "\n \n",
    "line 1: not a JSON object": "[1]",
    "line 2: not a JSON object": "[\n[]]",
    "line 3: Expecting": "[\n{},\n{]",
    "line 2: Expecting": '{"okx_uid": 1,\n"symbol"}',
    "Extra data": "[]x",
}


def test_what_holds_no_trades_is_refused(inside: Cli, kim: str) -> None:
    for problem, content in NO_TRADES.items():
        assert problem in inside.fails(1, "trades", "import", "-", stdin=content)


def test_the_columns_that_a_header_needs_are_those_that_a_trade_needs(db: Db, kim: str) -> None:
    row = db.execute("select _trade_problems(null, '{}') as problems").fetchone()
    assert row is not None
    assert {"okx_uid", *(key for key, why in row["problems"].items() if why == "is missing")} == set(NEEDED)


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_what_is_listed_is_known_when_it_is_imported(inside: Cli, kim: str, option: str) -> None:
    extra = {"note": '",\n\\ 롱 \u001b' * 20_000, "=1": [1, {"a": "\u2028"}]}
    inside("trades", "import", "-", stdin=lines(kim, trade(1, extra=extra), trade(2, entry_price="0.10", leverage=3)))
    listed = inside("trades", "list", kim, option).out
    assert inside("trades", "import", "-", "--json", stdin=listed).json == {"recorded": 0, "known": 2}
    inside("user", "erase", kim, "--yes")
    inside("register", kim)
    assert inside("trades", "import", "-", "--json", stdin=listed).json == {"recorded": 2, "known": 0}
    assert inside("trades", "list", kim, "--json").json[1]["extra"] == extra
