"""CSV that a spreadsheet opens: hostile texts leave as texts, and come back as they were."""

from __future__ import annotations

import csv
import io
from typing import Any

import psycopg

from tests.cli.conftest import Cli
from tests.helpers.trades import trade

Db = psycopg.Connection[dict[str, Any]]
HOSTILE = ("=cmd|'/C'!A0", "+1+1", "-2+3", "@SUM(1)", "'=x", "''-x", "'x", '=A1,"b"', "-5", "BTC")


def cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def runs(cell: str) -> bool:
    """Whether a spreadsheet would take this for a formula."""
    try:
        float(cell)
    except ValueError:
        return cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return False


def orders(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        query = "select symbol, entry_order_id, exit_order_id, realized_pnl, extra from trades order by exit_order_id"
        return connection.execute(query).fetchall()


def test_trades_are_guarded_and_come_back(inside: Cli, kim: str, database_url: str, other_database_url: str) -> None:
    for number, text in enumerate(HOSTILE, 1):
        order = {"symbol": text, "entry_order_id": text, "exit_order_id": text, "realized_pnl": "-1.5"}
        given = trade(number, **order, extra='{"=a": "=b"}')
        inside("trades", "add", kim, *(f"{key}={value}" for key, value in given.items()))
    listed = inside("trades", "list", kim, "--csv").out
    assert not [cell for cell in cells(listed) if runs(cell)]
    assert "-1.5" in cells(listed)
    inside.env["DATABASE_URL"] = other_database_url
    inside("register", kim)
    assert inside("trades", "import", "-", stdin=listed).lines == [f"recorded {len(HOSTILE)} trades, 0 known already"]
    assert orders(other_database_url) == orders(database_url)
    assert {row[0] for row in orders(other_database_url)} == set(HOSTILE)


def test_candles_are_guarded_and_come_back(inside: Cli, db: Db) -> None:
    for text in HOSTILE:
        candle = "ts,open,high,low,close,volume\n2026-11-22T00:00:00Z,1,2,1,2,5\n"
        inside("candles", "import", "-", "--timeframe", "1m", "--symbol", text, stdin=candle)
    listed = [inside("candles", "list", "--timeframe", "1m", "--csv", "--", text).out for text in HOSTILE]
    assert not [cell for text in listed for cell in cells(text) if runs(cell)]
    db.execute("delete from ohlcv_1m")
    for text in listed:
        inside("candles", "import", "-", "--timeframe", "1m", stdin=text)
    found = db.execute("select symbol from ohlcv_1m").fetchall()
    assert {row["symbol"] for row in found} == set(HOSTILE)
