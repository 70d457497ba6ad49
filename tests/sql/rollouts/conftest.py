"""A crowd of users with params, and a rollout whose step they have."""

from __future__ import annotations

import pytest

from tests.helpers.sessions import Connection, fetch

CROWD = """
    with made as (
        insert into app_users (okx_uid) select (1000000000000000 + n)::text from generate_series(1, {users}) n returning id, okx_uid
    )
    insert into user_settings (user_id, okx_uid, setting_type, settings)
    select id, okx_uid, 'params', '{{"leverage": 20, "note": "own"}}' from made
"""


def crowd(db: Connection, users: int) -> None:
    """Make users with small params, and the template careful: leverage 3."""
    fetch(db, CROWD.format(users=users))
    fetch(db, "select from save_setting_template('careful', 'params', '{\"leverage\": 3}')")


@pytest.fixture
def users(db: Connection) -> int:
    crowd(db, 40)
    return 40
