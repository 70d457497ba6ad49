"""Figures by hand: streaks, the drawdown's duration, a capital, currencies, values of settings, the equity curve."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import OKX_UID
from tests.helpers.past import hourly
from tests.helpers.sessions import Connection, fetch, one, refused
from tests.helpers.trades import HOUR, RECORD_ALL, T0, array, record, trade
from tests.sql.trades.test_trade_statistics import OTHER, closed_daily

DAY = timedelta(days=1)
BY_VALUE = "select value, currency, users, trades, net_pnl from trade_statistics_by_setting_value('params', %s)"


def record_all(db: Connection, *given: dict[str, Any]) -> None:
    fetch(db, "select from ensure_user(%s)", (OKX_UID,))
    fetch(db, RECORD_ALL, (array(*given),))


def statistics(db: Connection, arguments: str = "") -> dict[str, Any]:
    return one(db, f"select * from trade_statistics({arguments})")


# -- along the curve


def test_streaks_end_with_what_broke_even_and_go_by_exit_then_entry(db: Connection) -> None:
    record_all(db, *closed_daily(1, 1, 0, 1, -1, -2, -3, 4, 5, 6, 7))
    figures = statistics(db)
    assert (figures["longest_win_streak"], figures["longest_loss_streak"]) == (4, 3)
    # At one moment, by entry and then by the order that closed them: + - + + -.
    end = T0 + 20 * DAY
    tied = [(1, 0, "c10"), (-1, 0, "c9"), (1, -1, "c7"), (-1, -2, "c8"), (1, -3, "c9")]
    fetch(db, RECORD_ALL, (array(*(
        trade(exit_order_id=f"{order}:{entry}", realized_pnl=pnl, entry_time=(end + entry * HOUR).isoformat(),
              exit_time=end.isoformat())
        for pnl, entry, order in tied
    )),))  # fmt: skip
    figures = one(db, "select * from trade_statistics(p_from => %s)", (end,))
    assert (figures["longest_win_streak"], figures["longest_loss_streak"]) == (2, 1)


DAYS_BELOW_THE_HIGH = {
    (1, 2, 3): 0,
    (5, -1, 1): 2,  # reached again, not passed
    (5, -1, 3, -4, 1, 1): 3,  # from the new high, never reached again
    (5, -1, 0, 0, 2, -1, 1): 4,
    (-1, 0, 0, 1): 3,  # from the first exit, as nothing was higher than 0
    (-1,): 0,
    (0, 0): 0,
}


def test_a_drawdown_lasts_until_its_high_is_reached_again(db: Connection) -> None:
    for pnls, days in DAYS_BELOW_THE_HIGH.items():
        with db.transaction(force_rollback=True):
            record_all(db, *closed_daily(*pnls))
            assert statistics(db)["max_drawdown_duration"] == days * DAY, pnls


def test_the_equity_curve_has_a_step_per_moment_and_the_version_in_force(db: Connection) -> None:
    fetch(db, "select from ensure_user(%s)", (OKX_UID,))
    hourly(db, OKX_UID, "params", [1, 2], T0)
    times = {"exit_time": (T0 + 3 * HOUR).isoformat()}
    record_all(
        db, trade(1, realized_pnl=5, currency="USDT"), trade(2, realized_pnl=-9, currency="USDT", **times),
        trade(1, exit_order_id="9", realized_pnl=2, currency="USDT", **times), trade(4, realized_pnl=1, currency="BTC"),
    )  # fmt: skip
    points = fetch(db, "select * from equity_curve(%s)", (OKX_UID,))
    assert [tuple(point.values()) for point in points] == [
        ("BTC", T0 + 4 * HOUR, 1, 1, 1, 0, 2),
        ("USDT", T0 + HOUR, 1, 5, 5, 0, 1),
        ("USDT", T0 + 3 * HOUR, 2, -7, -2, 7, 2),
    ]
    assert {point["version"] for point in fetch(db, "select * from equity_curve()")} == {None}
    assert fetch(db, "select * from equity_curve(%s, p_from => now() + interval '1 year')", (OKX_UID,)) == []
    for arguments in ("p_side => 'up'", "p_setting_type => 'preferences'", "p_setting_type => null"):
        with refused("US010"):
            fetch(db, f"select from equity_curve({arguments})")


# -- a capital


def test_percents_are_of_the_highest_value_so_far(db: Connection) -> None:
    record_all(db, *closed_daily(-50, 950, -60, -30))  # 50 of 100 are deeper than 90 of 1000
    figures = statistics(db, "p_capital => 100, p_year_days => 8")
    assert (figures["max_drawdown"], figures["max_drawdown_percent"]) == (90, 50)
    assert float(figures["cagr_percent"]) == pytest.approx(100 * (9.1**2 - 1))
    assert float(figures["calmar"]) == pytest.approx(2 * (9.1**2 - 1))


# Is a growth told, and which is the deepest fall of a capital of 100, in percent?
OF_A_HUNDRED = {
    (-150, 20): (False, 150),  # there was less than nothing
    (-50, -50): (False, 100),
    (5,): (False, 0),  # a day is no rate
    (Decimal("1e28"), 1): (False, 0),  # beyond all measure
    (1, 1): (True, 0),
    (0, 0): (True, 0),
}


def test_growth_that_cannot_be_told_is_not(db: Connection) -> None:
    for pnls, expected in OF_A_HUNDRED.items():
        with db.transaction(force_rollback=True):
            record_all(db, *closed_daily(*pnls))
            figures = statistics(db, "p_capital => 100")
            assert (figures["cagr_percent"] is not None, figures["max_drawdown_percent"]) == expected, pnls
            assert figures["calmar"] is None


def test_a_capital_is_an_amount(db: Connection) -> None:
    for capital in ("0", "-1", "'NaN'", "'Infinity'", "1e30"):
        with refused("US010"):
            statistics(db, f"p_capital => {capital}")


# -- currencies


def test_amounts_of_several_currencies_are_never_summed(db: Connection) -> None:
    record_all(
        db, trade(1, realized_pnl=100, currency="USDT"), trade(2, realized_pnl="0.01", currency="BTC"),
        trade(3, realized_pnl=7), trade(4, realized_pnl=-1, currency="USDT", funding_fee="-0.5"),
    )  # fmt: skip
    query = "select currency, trades, net_pnl, funding_fees from {} order by currency"
    expected = [("BTC", 1, Decimal("0.01"), None), ("USDT", 2, Decimal("99.5"), Decimal("-0.5")), (None, 1, 7, None)]
    for figures in (
        "trade_statistics()",
        "trade_statistics(p_group_by => '{side}')",
        "trade_statistics_by_setting_version()",
        "trade_statistics_by_setting_value('params', 'n')",
    ):
        assert [tuple(row.values()) for row in fetch(db, query.format(figures))] == expected
    assert statistics(db, "p_currency => 'USDT', p_capital => 1000")["trades"] == 2
    for arguments in ("p_capital => 1000", "p_capital => 1000, p_group_by => '{day}'"):
        with refused("US010"):
            statistics(db, arguments)
    assert statistics(db, "p_currency => 'EUR', p_capital => 1000")["trades"] == 0


# -- values of settings


def test_a_value_earned_what_all_users_did_with_it(db: Connection) -> None:
    documents = {
        OKX_UID: ['{"leverage": 20, "a.b": "x"}', '{"leverage": 20.0, "n": 1}', '{"leverage": 5, "a.b": null}'],
        OTHER: ['{"leverage": 20, "signal_bot_token": "secret"}', "{}"],
    }
    number = 0
    for okx_uid, versions in documents.items():
        fetch(db, "select from ensure_user(%s)", (okx_uid,))
        for version, document in enumerate(versions, 1):
            fetch(db, "select from upsert_user_setting(%s, 'params', %s)", (okx_uid, document))
            number += 1
            record(db, trade(number, realized_pnl=10**number, params_version=version), okx_uid)
    record(db, trade(9, realized_pnl=-7), OTHER)  # before any version

    def earned(key: str) -> list[tuple[Any, ...]]:
        return [(row["value"], row["users"], row["trades"], row["net_pnl"]) for row in fetch(db, BY_VALUE, (key,))]

    assert earned("leverage") == [(5, 1, 1, 1000), (20, 2, 3, 10110), (None, 1, 2, 99993)]
    assert earned("a.b") == [
        (None, 1, 1, 1000),
        ("x", 1, 1, 10),
        (None, 2, 4, 110093),
    ]  # null in the document, and none
    assert earned("signal_bot_token") == [("********", 1, 1, 10000), (None, 2, 5, 101103)]
    fetch(db, "select from prune_user_settings(1, '0')")
    assert earned("leverage") == [(5, 1, 1, 1000), (None, 2, 5, 110103)]


def test_what_is_no_setting_of_a_trade_is_refused(db: Connection) -> None:
    for arguments in (
        "'preferences', 'a'",
        "null, 'a'",
        "'params', ''",
        "'params', null",
        "'params', 'a', p_side => 'x'",
    ):
        with refused("US010"):
            fetch(db, f"select from trade_statistics_by_setting_value({arguments})")
