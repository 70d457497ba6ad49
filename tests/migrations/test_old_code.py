"""Old code on an adopted database: each call of the service that this store replaces goes on working beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.migrations import old_service
from tests.migrations.old_service import KEYS, OldService
from tests.migrations.predecessor import KIM, PARK, Connection, rows
from store.postgres import migrate

KIM_UID, GONE_UID, PARK_UID = "587662504768345929", "687662504768345929", "887662504768345929"
NEW_UID, NEW_ID = "987662504768345929", "4709556958"
PLAIN = dict(zip(KEYS, ("k", "s", "p"), strict=True))


@pytest.fixture
def bot(old_url: str) -> Iterator[OldService]:
    """An old bot whose database was adopted while it ran, without an encryption key."""
    service = OldService(old_url)
    assert service.fetch_user(KIM_UID)
    migrate.migrate(old_url)
    yield service
    service.connection.close()


def test_users_are_read_as_before(old_url: str, old: Connection) -> None:
    service = OldService(old_url)
    identifiers = [KIM_UID, KIM, "3709556958", PARK_UID, "787662504768345929", GONE_UID, "12345", "web@example.com"]
    identifiers += [str(row[0]) for row in rows(old, f"select id from okx_api_info where user_id = '{PARK}'")]
    before = {identifier: service.fetch_user(identifier) for identifier in identifiers}
    migrate.migrate(old_url)
    for identifier, found in before.items():
        now = service.fetch_user(identifier)
        assert (now is None) == (found is None), identifier
        if found and now:
            changed = {key: (value, now[0][key]) for key, value in found[0].items() if value != now[0][key]}
            assert changed.keys() <= {"updated_at", "okx_uid", "telegram_id"}, (identifier, changed)
    service.connection.close()


def test_a_new_user_gets_link_keys_and_settings(bot: OldService, old: Connection) -> None:
    found = bot.ensure_user_exists(NEW_UID, NEW_ID)
    assert found is not None
    user, api = found
    assert (user["okx_uid"], user["telegram_id"], user["telegram_linked"]) == (NEW_UID, NEW_ID, True)
    assert api is not None
    assert (api["telegram_id"], api["telegram_linked"], api["api_key"]) == (NEW_ID, True, None)
    assert bot.save_all_user_settings(NEW_UID, params={"leverage": 7})  # without any keys yet
    found = bot.upsert_api_credentials(NEW_UID, **PLAIN)
    assert found is not None and found[1] is not None
    assert found[1] | PLAIN == found[1]
    assert bot.get_api_keys(NEW_ID) == ("k", "s", "p")
    assert rows(old, "select okx_uid from find_user(%s)", NEW_ID) == [(NEW_UID,)]
    assert [row["settings"] for row in bot.get_user_settings(NEW_ID, "params")] == [{"leverage": 7}]
    assert rows(old, "select api_key, version from get_api_credentials(%s)", NEW_UID) == [("k", 1)]
