"""What a trade earned: OKX's amounts and ours; funding and a currency that nobody told, or told later."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.helpers.sessions import DEADLINE, Connection, fetch, one, refused
from tests.helpers.trades import RECORD, RECORD_ALL, array, record, trade
from tests.sql.trades.test_trades import Open, problems, trades


@pytest.mark.parametrize(
    ("okx", "net_pnl"),
    [
        ({"pnl": "-0.0213", "fee": "-0.0372", "fundingFee": "-0.008", "liqPenalty": "0"}, "-0.0665"),
        ({"pnl": "12.5", "fee": "0.1", "fundingFee": "0.25", "liqPenalty": "-0.3"}, "12.55"),
    ],
)
def test_the_net_pnl_is_what_okx_calls_realized(
    db: Connection, bare_uid: str, okx: dict[str, str], net_pnl: str
) -> None:
    """OKX: realizedPnl = pnl + fee + fundingFee + liqPenalty, of which what was paid is negative."""
    exit_fee = -Decimal(okx["fee"]) - Decimal(okx["liqPenalty"])
    row = record(db, trade(
        realized_pnl=okx["pnl"], exit_fee=str(exit_fee), funding_fee=str(-Decimal(okx["fundingFee"])), currency="USDT",
    ))  # fmt: skip
    assert row["net_pnl"] == Decimal(net_pnl) == sum(map(Decimal, okx.values()))
    assert row["currency"] == "USDT"


def test_funding_and_a_currency_that_nobody_told_are_not_known(db: Connection, bare_uid: str) -> None:
    row = record(db, trade(exit_fee="0.5"))
    assert (row["funding_fee"], row["currency"], row["net_pnl"]) == (None, None, Decimal("4.499"))


def test_what_was_not_known_can_be_recorded_later_once(db: Connection, bare_uid: str) -> None:
    first = record(db, trade())
    assert record(db, trade(currency="BTC")) == {**first, "currency": "BTC"}
    whole = {**first, "currency": "BTC", "funding_fee": Decimal("0.5"), "net_pnl": Decimal("4.499")}
    assert one(db, RECORD_ALL, (array(trade(funding_fee="0.5"), trade(2)),)) == {"recorded": 1, "known": 1}
    assert record(db, trade()) == record(db, trade(funding_fee=0.50, currency="BTC")) == whole
    for other in ({"currency": "USDT"}, {"funding_fee": 0}):
        with refused("US010") as error:
            record(db, trade(**other))
        assert set(problems(error)) == set(other)
    with refused("US010"):  # nor is anything, if another column differs
        fetch(db, RECORD_ALL, (array(trade(2, currency="BTC"), trade(2, side="short")),))
    with refused("US005"):
        fetch(db, "update trades set currency = 'EUR' where currency is null")
    assert [row["currency"] for row in trades(db)] == ["BTC", None]
    assert fetch(db, "table trigger_permits") == []


def test_who_completes_a_trade_otherwise_at_once_is_refused(db: Connection, session: Open, bare_uid: str) -> None:
    record(db, trade())
    first, second, third = session(), session(), session()
    first.run("begin")
    first.run(RECORD, (bare_uid, json.dumps(trade(currency="BTC"))))
    same = second.run_blocked(RECORD, (bare_uid, json.dumps(trade(currency="BTC", funding_fee=1))))
    other = third.run_blocked(RECORD, (bare_uid, json.dumps(trade(currency="USDT"))))
    first.run("commit")
    assert [(row["currency"], row["funding_fee"]) for row in same.result(DEADLINE)] == [("BTC", 1)]
    with refused("US010"):
        other.result(DEADLINE)
