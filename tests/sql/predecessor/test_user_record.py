"""user_record(): a user as callers of the older schema see it, whatever columns the tables have."""

from __future__ import annotations

import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.credentials import sealed
from tests.helpers.sessions import Connection, fetch, one, refused

CIPHER = sealed(OKX_UID, ("a", "b", "c"))


@pytest.fixture
def kim(db: Connection) -> str:
    """A user with credentials; returns the UUID."""
    user = one(db, "select id from ensure_user(%s, %s, 'Kim')", (OKX_UID, TELEGRAM_ID))
    fetch(db, "select from save_api_credentials(%s, %s, %s, %s)", (OKX_UID, *CIPHER.values()))
    return str(user["id"])


def test_columns_that_our_tables_lack_are_derived(db: Connection, kim: str) -> None:
    found = one(db, "select * from user_record(%s)", (OKX_UID,))
    derived = {"email": None, "telegram_userid": TELEGRAM_ID, "telegram_linked": True, "okx_linked": True}
    assert found["account"].items() >= {**derived, "okx_api_connected": True, "id": kim}.items()
    api = {"exchange": "okx", "telegram_id": TELEGRAM_ID, "telegram_linked": True, "user_id": kim, **CIPHER}
    assert found["api"].items() >= api.items()


def test_columns_of_an_adopted_table_are_read_but_what_follows_from_ours_is_not(db: Connection, kim: str) -> None:
    for column in ("email text default 'kim@example.com'", "exchange text default 'bitget'",
                   "telegram_linked boolean default false", "telegram_userid text default '1'",
                   "okx_api_connected boolean default false", "okx_linked boolean default false"):  # fmt: skip
        fetch(db, f"alter table app_users add column {column}")
    found = one(db, "select * from user_record(%s)", (OKX_UID,))
    read = {"email": "kim@example.com", "telegram_linked": True, "telegram_userid": TELEGRAM_ID, "okx_linked": True}
    assert found["account"].items() >= {**read, "okx_api_connected": True}.items()
    assert found["api"]["exchange"] == "bitget"
    fetch(db, "select from unlink_telegram(%s)", (OKX_UID,))
    account = one(db, "select account from user_record(%s)", (OKX_UID,))["account"]
    assert (account["telegram_linked"], account["telegram_userid"]) == (False, None)


def test_a_new_user_has_access_where_an_adopted_table_has_columns_for_that(db: Connection) -> None:
    for column in ("has_trading_access", "has_realtime_access"):
        fetch(db, f"alter table app_users add column {column} boolean not null default false")
    user = one(db, "select * from ensure_user(%s)", (OKX_UID,))
    assert (user["has_trading_access"], user["has_realtime_access"], user["version"]) == (True, True, 1)
    fetch(db, "update app_users set has_trading_access = false")
    assert one(db, "select has_trading_access as it from ensure_user(%s)", (OKX_UID,)) == {"it": False}


def test_the_id_of_the_credentials_is_an_identifier_too(db: Connection, kim: str) -> None:
    found = one(db, "select * from user_record(%s)", (TELEGRAM_ID,))
    assert one(db, "select * from user_record(%s)", (found["api"]["id"],)) == found
    fetch(db, f"set settings_store.okx_uid = '{OKX_UID}'")
    assert one(db, "select * from user_record(%s)", (found["api"]["id"],)) == found
    fetch(db, "set settings_store.okx_uid = '9999999999999999'")
    with refused("US012"):
        fetch(db, "select from user_record(%s)", (found["api"]["id"],))


def test_there_is_no_row_of_nobody_and_no_api_without_credentials(db: Connection, kim: str) -> None:
    assert fetch(db, "select from user_record('9999999999999999')") == []
    with refused("US007"):
        fetch(db, "select from user_record('kim@example.com')")
    fetch(db, "select from delete_api_credentials(%s)", (OKX_UID,))
    found = one(db, "select * from user_record(%s)", (OKX_UID,))
    assert (found["api"], found["account"]["okx_api_connected"]) == (None, False)
    fetch(db, "select from delete_user(%s)", (OKX_UID,))
    assert fetch(db, "select from user_record(%s)", (kim,)) == []
