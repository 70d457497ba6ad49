"""A view that filters by the confinement lets nobody's function see a row before it does."""

from __future__ import annotations

import pytest

from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.sessions import Connection, fetch

OTHER = "1000000000000001"
LEAK = """
create function pg_temp.leak(p_row text) returns boolean language plpgsql cost 0.0000001 as $$
begin
    raise notice '%%', p_row;
    return true;
end $$
"""


@pytest.mark.parametrize(
    ("role", "relation"),
    [
        ("relay", "mirror_source"),
        *[
            ("admin", name)
            for name in ("mirror_source", "user_settings", "app_users", "telegram_links", "mirror_pending")
        ],
    ],
)
def test_a_cheap_function_in_where_sees_the_confined_users_rows_only(db: Connection, role: str, relation: str) -> None:
    for okx_uid, telegram_id in ((OKX_UID, TELEGRAM_ID), (OTHER, "77777")):
        fetch(db, "select from register_user(%s, %s)", (okx_uid, telegram_id))
    seen: list[str] = []
    db.add_notice_handler(lambda notice: seen.append(notice.message_primary or ""))
    fetch(db, f"set role settings_{role}")
    fetch(db, f"set settings_store.okx_uid = '{OKX_UID}'")
    fetch(db, LEAK)
    fetch(db, f"select from {relation} r where pg_temp.leak(r::text)")
    assert any(OKX_UID in text for text in seen)
    assert [text for text in seen if OTHER in text or "77777" in text] == []


def test_every_view_that_filters_is_a_barrier(db: Connection) -> None:
    query = """
        select relname as name from pg_class
         where relkind = 'v' and relnamespace = 'public'::regnamespace and pg_get_viewdef(oid) ~ 'settings_store'
           and (reloptions @> '{security_barrier=true}') is not true"""
    assert fetch(db, query) == []
