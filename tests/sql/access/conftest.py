"""Calls of every SQL function."""

from __future__ import annotations

import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.roles import FUNCTIONS
from tests.helpers.sessions import Connection, fetch, value
from tests.sql.access import test_confinement as known
from tests.sql.access.test_hijack import CANDLE_CALLS, OTHERS


@pytest.fixture
def calls(db: Connection) -> list[str]:
    """A call of every function that comes through, in a database where there is something to find."""
    for okx_uid, telegram_id in ((OKX_UID, TELEGRAM_ID), (known.OTHER, known.OTHER_TELEGRAM)):
        fetch(db, "select from register_user(%s, %s)", (okx_uid, telegram_id))
        fetch(db, "select from save_api_credentials(%s, %s, %s, %s)", (okx_uid, *[known.CIPHER] * 3))
        fetch(db, "select from record_trade(%s, %s)", (okx_uid, "{" + known.TRADE.format(order="1") + "}"))
    fetch(db, "select save_setting_template('careful', 'params', '{}')")
    for number, name in enumerate(("first", "paused", "new")):
        fetch(db, "select save_setting_template(%s, 'params', %s)", (name, f'{{"own {number}": 1}}'))
    fetch(db, "select begin_rollout('first', 'first', 'params', '{0.01,90}')")
    fetch(db, "select begin_rollout('paused', 'paused', 'params', '{0.01,90}')")
    fetch(db, "select pause_rollout('paused')")
    fetch(db, "select save_setting_rule('params', 'tame', '$.leverage < 50 || $.use_sl == true', 'x')")
    fetch(db, "insert into timeframes values ('2h', '2 hours')")  # as an admin of 1.0.0 could
    fetch(db, "insert into setting_types values ('alerts', 'alerts', 'hash')")
    found = CANDLE_CALLS.copy()
    for listed in (known.OF_A_USER, known.OF_ALL, {name: a for name, (_, a) in known.LISTS.items()}, OTHERS):
        for name, arguments in listed.items():
            text = arguments.format(who=OKX_UID, telegram="55555") if listed is known.OF_A_USER else arguments
            for table, more in (
                ("app_users", ""),
                ("okx_api_info", ""),
                ("user_settings", " and setting_type = 'params'"),
            ):
                subselect = f"(select id from {table} where okx_uid = '{OKX_UID}'{more})"
                text = text.replace(subselect, f"'{value(db, subselect[1:-1])}'")
            found.append(f"public.{name}({text})")
    assert {call.split(".")[1].split("(")[0] for call in found} == set(FUNCTIONS)
    return found
