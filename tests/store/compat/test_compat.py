"""The Python API of the store's predecessor: shapes, partial arguments, and the pool behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import (
    AlreadyLinked,
    BadIdentifier,
    Config,
    ConfigError,
    DatabaseError,
    InvalidArgument,
    InvalidSettings,
    NoEncryptionKey,
    TimescalePool,
    TimescaleUserRecord,
    TimescaleUserService,
    UnknownSettingType,
    UnknownUser,
)
from store.compat.connection import Connection
from tests.cli.conftest import environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import wait_until
from tests.helpers.credentials import KEY, OTHER

Db = psycopg.Connection[dict[str, Any]]
service = TimescaleUserService

NOBODY = "9999999999999999"
KEYS = {"api_key": "plain-ak", "api_secret": "plain-as", "passphrase": "plain-pp"}


@pytest.fixture(autouse=True)
def environ(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a bot that uses the test's servers."""
    for name in ("TIMESCALE_HOST", "REDIS_HOST", "DB_POOL_SIZE", "MIRROR_CREDENTIALS", "SETTINGS_STORE_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.setenv(name, environment(config)[name])
    monkeypatch.setenv("SETTINGS_STORE_KEYS", KEY)


@pytest.fixture
async def pool() -> AsyncIterator[type[TimescalePool]]:
    """The pool, closed at the end."""
    yield TimescalePool
    await TimescalePool.close_pool()


@pytest.fixture
async def kim(pool: type[TimescalePool]) -> TimescaleUserRecord:
    """A registered user with a Telegram ID, without credentials and settings."""
    record = await service.ensure_user_exists(OKX_UID, TELEGRAM_ID, "Kim", "kim")
    assert record is not None
    return record


# -- users


async def test_a_record_has_the_keys_that_callers_know(kim: TimescaleUserRecord, db: Db) -> None:
    times = {name: kim.user.pop(name) for name in ("created_at", "updated_at")}
    row = db.execute("select id, created_at, updated_at from app_users").fetchone()
    assert row is not None
    assert {name: psycopg_time.isoformat() for name, psycopg_time in row.items() if name != "id"} == {
        name: row[name].fromisoformat(text).astimezone(row[name].tzinfo).isoformat() for name, text in times.items()
    }
    assert kim.user == {
        "id": str(row["id"]), "email": None, "name": "Kim", "okx_uid": OKX_UID, "telegram_linked": True,
        "telegram_id": TELEGRAM_ID, "telegram_userid": TELEGRAM_ID, "telegram_username": "kim",
        "okx_api_connected": False, "okx_linked": True,
    }  # fmt: skip
    assert kim.api == {
        **dict.fromkeys(KEYS), "id": kim.user["id"], "user_id": kim.user["id"], "telegram_id": TELEGRAM_ID,
        "telegram_linked": True, "okx_uid": OKX_UID, "exchange": "okx", **times,
    }  # fmt: skip


async def test_credentials_are_plain_for_callers_and_in_no_repr(kim: TimescaleUserRecord, db: Db) -> None:
    record = await service.upsert_api_credentials(OKX_UID, **KEYS)
    assert record is not None
    assert list(record.api) == [
        "id", "user_id", "api_key", "api_secret", "passphrase", "telegram_id", "telegram_linked", "okx_uid",
        "exchange", "created_at", "updated_at",
    ]  # fmt: skip
    assert record.api.items() >= {**KEYS, "user_id": kim.user["id"], "okx_uid": OKX_UID, "exchange": "okx"}.items()
    assert (record.api["telegram_id"], record.api["telegram_linked"]) == (TELEGRAM_ID, True)
    assert record.user["okx_api_connected"] is True
    assert json.loads(json.dumps(record.api)) == record.api
    keys = await service.get_api_keys(OKX_UID)
    assert keys == KEYS
    assert "plain-" not in f"{record} {record.api} {keys}"
    assert "plain-" not in json.dumps(db.execute("select r::text as text from okx_api_info r").fetchall())


async def test_a_user_is_found_by_every_identifier(kim: TimescaleUserRecord) -> None:
    record = await service.upsert_api_credentials(OKX_UID, **KEYS)
    assert record is not None
    for identifier in (OKX_UID, TELEGRAM_ID, int(TELEGRAM_ID), record.user["id"], record.api["id"]):
        assert await service.fetch_user(identifier) == record  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "identifier", [NOBODY, "99999", "", "kim@example.com", "0" * 21, "00000000-0000-0000-0000-000000000000", "a\0b"]
)
async def test_an_unknown_user_is_none_false_or_empty(kim: TimescaleUserRecord, identifier: str) -> None:
    assert await service.fetch_user(identifier) is None
    assert await service.get_api_keys(identifier) is None
    assert await service.upsert_api_credentials(identifier, **KEYS) is None
    assert await service.get_user_settings(identifier) == []
    assert await service.get_setting_by_type(identifier, "params") is None
    assert await service.save_all_user_settings(identifier, params={"leverage": 3}) is False
    assert await service.unlink_telegram(identifier) is False


@pytest.mark.parametrize("okx_uid", ["", TELEGRAM_ID, "5876625047683459x9", "1" * 21, OKX_UID + "\n"])
async def test_a_bad_okx_uid_is_a_value_error(pool: type[TimescalePool], db: Db, okx_uid: str) -> None:
    with pytest.raises(ValueError) as error:
        await service.ensure_user_exists(okx_uid, TELEGRAM_ID)
    assert isinstance(error.value, BadIdentifier)
    with pytest.raises(ValueError):
        await service.ensure_user_exists(OKX_UID, OKX_UID)  # no Telegram ID
    assert db.execute("select from app_users").fetchall() == []


async def test_who_is_there_stays_as_he_is(kim: TimescaleUserRecord) -> None:
    assert await service.ensure_user_exists(OKX_UID, "99999", "Lee") == kim
    assert await service.get_user_settings(OKX_UID) == []


async def test_a_telegram_id_of_somebody_else_registers_nobody(kim: TimescaleUserRecord, db: Db) -> None:
    assert await service.ensure_user_exists(OTHER, TELEGRAM_ID) is None
    assert await service.set_telegram_link(OTHER, TELEGRAM_ID) is None
    assert len(db.execute("select from app_users").fetchall()) == 1
    await service.ensure_user_exists(OTHER)
    with pytest.raises(AlreadyLinked):
        await service.set_telegram_link(OTHER, TELEGRAM_ID)


async def test_a_telegram_link_is_set_moved_and_taken_away_in_both_stores(
    kim: TimescaleUserRecord, redis: redis_py.Redis
) -> None:
    record = await service.set_telegram_link(OKX_UID, "99999", telegram_username="lee")
    assert record is not None
    assert (record.user["telegram_id"], record.user["telegram_username"]) == ("99999", "lee")
    assert (redis.get("user:99999:okx_uid"), redis.get(f"user:{TELEGRAM_ID}:okx_uid")) == (OKX_UID, None)
    assert await service.unlink_telegram(OKX_UID) is True
    record = await service.fetch_user(OKX_UID)
    assert record is not None
    assert (record.user["telegram_id"], record.user["telegram_userid"], record.user["telegram_linked"]) == (
        None, None, False,
    )  # fmt: skip
    assert redis.get("user:99999:okx_uid") is None


async def test_ten_that_register_one_user_at_once_get_one_user(pool: type[TimescalePool], db: Db) -> None:
    records = await asyncio.gather(*(service.set_telegram_link(OKX_UID, TELEGRAM_ID) for _ in range(10)))
    assert len({record.user["id"] for record in records if record}) == 1
    assert None not in records
    assert len(db.execute("select from app_users").fetchall()) == 1


async def test_fields_of_a_user_are_updated(kim: TimescaleUserRecord) -> None:
    user_id = kim.user["id"]
    await service.update_app_user(
        user_id,
        {"name": "Lee", "telegram_id": "99999", "telegram_userid": "99999", "telegram_linked": True,
         "updated_at": "now()"},
    )  # fmt: skip
    record = await service.fetch_user("99999")
    assert record is not None
    assert (record.user["name"], record.user["telegram_username"]) == ("Lee", "kim")
    await service.update_app_user(
        user_id, {"telegram_id": None, "telegram_userid": None, "telegram_username": None, "telegram_linked": False}
    )
    record = await service.fetch_user(user_id)
    assert record is not None
    assert (record.user["telegram_linked"], record.user["telegram_username"]) == (False, None)
    with pytest.raises(InvalidArgument, match="email"):
        await service.update_app_user(user_id, {"email": "kim@example.com", "name": "Park"})
    with pytest.raises(UnknownUser):
        await service.update_app_user(NOBODY, {"name": "Park"})
    record = await service.fetch_user(user_id)
    assert record is not None
    assert record.user["name"] == "Lee"


# -- credentials


async def test_a_field_that_is_not_given_stays(kim: TimescaleUserRecord) -> None:
    await service.upsert_api_credentials(OKX_UID, **KEYS)
    record = await service.upsert_api_credentials(TELEGRAM_ID, api_key="plain-2")
    assert record is not None
    assert await service.get_api_keys(OKX_UID) == {**KEYS, "api_key": "plain-2"}
    assert await service.upsert_api_credentials(OKX_UID) == record
    await service.update_api_record(record.api["id"], {"passphrase": "plain-3", "telegram_linked": False})
    record = await service.fetch_user(OKX_UID)
    assert record is not None
    assert (record.api["passphrase"], record.api["telegram_id"]) == ("plain-3", None)


async def test_two_that_change_a_field_each_at_once_both_succeed(kim: TimescaleUserRecord, db: Db) -> None:
    await service.upsert_api_credentials(OKX_UID, **KEYS)
    changes = ({"api_key": "plain-k"}, {"api_secret": "plain-s"}, {"passphrase": "plain-p"})
    await asyncio.gather(*(service.upsert_api_credentials(OKX_UID, **change) for change in changes))
    assert await service.get_api_keys(OKX_UID) == {
        "api_key": "plain-k", "api_secret": "plain-s", "passphrase": "plain-p",
    }  # fmt: skip
    rows = db.execute("select version from okx_api_info order by 1").fetchall()
    assert [row["version"] for row in rows] == [1, 2, 3, 4]


async def test_half_of_the_credentials_alone_is_refused(kim: TimescaleUserRecord, db: Db) -> None:
    with pytest.raises(InvalidArgument, match="missing: api_secret, passphrase") as error:
        await service.upsert_api_credentials(OKX_UID, api_key="plain-ak")
    assert "plain-" not in str(error.value)
    assert db.execute("select from okx_api_info").fetchall() == []
    assert await service.upsert_api_credentials(OKX_UID) == kim
    with pytest.raises(InvalidArgument, match="missing: api_secret, passphrase"):
        await service.update_api_record(kim.api["id"], {"api_key": "plain-ak", "telegram_id": "99999"})
    with pytest.raises(UnknownUser):
        await service.update_api_record("00000000-0000-0000-0000-000000000000", {"api_key": "plain-ak"})
    assert await service.fetch_user(OKX_UID) == kim
    assert await service.get_api_keys(OKX_UID) is None


async def test_a_user_without_credentials_has_a_record_to_change(kim: TimescaleUserRecord) -> None:
    await service.update_api_record(
        kim.api["id"], {"telegram_id": "99999", "telegram_linked": True, "updated_at": "now()"}
    )
    record = await service.fetch_user("99999")
    assert record is not None
    assert (record.user["okx_uid"], record.api["telegram_id"], record.api["api_key"]) == (OKX_UID, "99999", None)
    await service.update_api_record(record.api["id"], KEYS)
    assert await service.get_api_keys(OKX_UID) == KEYS


async def test_without_an_encryption_key_only_credentials_are_out_of_reach(
    kim: TimescaleUserRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.upsert_api_credentials(OKX_UID, **KEYS)
    await service.ensure_user_exists(OTHER)
    await TimescalePool.close_pool()
    monkeypatch.delenv("SETTINGS_STORE_KEYS")
    monkeypatch.setenv("SETTINGS_STORE_HOME", "/nonexistent")
    assert await service.save_all_user_settings(OKX_UID, params={"leverage": 3})
    assert await service.fetch_user(OTHER) is not None
    with pytest.raises(NoEncryptionKey):
        await service.get_api_keys(OKX_UID)


# -- settings


async def test_settings_have_the_ten_keys(kim: TimescaleUserRecord, db: Db) -> None:
    for kind, document in (("params", {"leverage": 3}), ("dual_side", {"use_dual_sl": True})):
        await service.upsert_user_settings(kim.user["id"], OKX_UID, TELEGRAM_ID, kind, document)
    first, second = await service.get_user_settings(TELEGRAM_ID)
    assert list(first) == [
        "id", "user_id", "okx_uid", "telegram_id", "setting_type", "settings", "version", "is_active", "created_at",
        "updated_at",
    ]  # fmt: skip
    assert (first["setting_type"], second["setting_type"]) == ("dual_side", "params")  # last saved first
    assert first["updated_at"] > second["updated_at"]
    assert (second["settings"], second["version"], second["is_active"]) == ({"leverage": 3}, 1, True)
    assert (second["user_id"], second["okx_uid"], second["telegram_id"]) == (kim.user["id"], OKX_UID, TELEGRAM_ID)
    assert all(isinstance(second[name], str) for name in ("id", "created_at", "updated_at"))


async def test_an_update_is_a_version_in_the_same_row_and_mirrored(
    kim: TimescaleUserRecord, redis: redis_py.Redis
) -> None:
    ids = [await service.upsert_user_settings(kim.user["id"], OKX_UID, None, "params", {"leverage": n}) for n in (3, 4)]
    (row,) = await service.get_user_settings(OKX_UID, "params")
    assert (row["id"], row["version"]) == (ids[0], 2)
    assert ids[0] == ids[1]
    assert json.loads(str(redis.get(f"user:{OKX_UID}:settings"))) == {"leverage": 4}


async def test_settings_that_cannot_be_saved_raise_and_nothing_is_saved(kim: TimescaleUserRecord) -> None:
    with pytest.raises(InvalidSettings):
        await service.save_all_user_settings(OKX_UID, {"timeframe": "5m"}, {"leverage": 1000})
    assert await service.get_user_settings(OKX_UID) == []
    user_id = kim.user["id"]
    with pytest.raises(ValueError, match="not that of the user"):
        await service.upsert_user_settings(user_id, OTHER, None, "params", {})
    with pytest.raises(UnknownUser):
        await service.upsert_user_settings("00000000-0000-0000-0000-000000000000", OKX_UID, None, "params", {})
    with pytest.raises(UnknownSettingType):
        await service.upsert_user_settings(user_id, OKX_UID, None, "alerts", {})
    assert await service.get_user_settings(OKX_UID) == []
    assert await service.get_setting_by_type(OKX_UID, "alerts") is None


async def test_what_stands_for_a_number_or_a_boolean_is_saved_as_one(kim: TimescaleUserRecord) -> None:
    started = {"use_dual_side_entry": 1, "use_sl": "False", "leverage": "30", "sl_value": "0.10", "symbol": "1"}
    assert await service.save_all_user_settings(OKX_UID, params=started)
    saved = await service.get_setting_by_type(OKX_UID, "params")
    assert json.dumps(saved, sort_keys=True) == (
        '{"leverage": 30, "sl_value": 0.1, "symbol": "1", "use_dual_side_entry": true, "use_sl": false}'
    )
    await service.upsert_user_settings(kim.user["id"], OKX_UID, None, "dual_side", {"use_dual_sl": 0})
    assert json.dumps(await service.get_setting_by_type(OKX_UID, "dual_side")) == '{"use_dual_sl": false}'
    with pytest.raises(InvalidSettings, match="leverage"):
        await service.save_all_user_settings(OKX_UID, params={"leverage": "1000", "use_sl": 1})


async def test_types_that_are_not_given_stay(kim: TimescaleUserRecord) -> None:
    assert await service.save_all_user_settings(OKX_UID, {"timeframe": "5m"}, {"leverage": 3})
    assert await service.save_all_user_settings(OKX_UID, params={"leverage": 4})
    assert await service.save_all_user_settings(OKX_UID)
    assert await service.get_setting_by_type(OKX_UID, "preferences") == {"timeframe": "5m"}
    assert await service.get_setting_by_type(OKX_UID, "params") == {"leverage": 4}
    assert await service.get_setting_by_type(OKX_UID, "dual_side") is None


# -- the pool


async def test_calls_of_asyncpg_work(kim: TimescaleUserRecord, db: Db) -> None:
    await service.save_all_user_settings(OKX_UID, params={"leverage": 3})
    async with TimescalePool.acquire() as conn:
        assert await conn.fetchval("select telegram_id from app_users where okx_uid = $1", OKX_UID) == TELEGRAM_ID
        assert await conn.fetchval("select $1::text as a, $2::text as b", "a", "b", column=1) == "b"
        assert await conn.fetchval("select 1 where false") is None
        assert await conn.fetchrow("select 1 where false") is None
        row = await conn.fetchrow("select id, okx_uid, '100%' as share from app_users where id = $1", kim.user["id"])
        assert row is not None
        assert (row["okx_uid"], list(row.items())[2]) == (OKX_UID, ("share", "100%"))
        found = await conn.fetch("select settings from get_user_settings($1, $2)", OKX_UID, "params")
        assert [json.loads(row["settings"]) for row in found] == [{"leverage": 3}]  # text, as asyncpg has it
        assert await conn.fetch("set application_name = 'bot'") == []
        status = await conn.execute(
            """
            UPDATE app_users
            SET telegram_id = NULL,
                updated_at = now()
            WHERE telegram_id = $1 OR okx_uid = $2
            """,
            TELEGRAM_ID,
            OKX_UID,
        )
        assert status == "UPDATE 1"
    record = await service.fetch_user(OKX_UID)
    assert record is not None
    assert record.user["telegram_linked"] is False


async def test_a_transaction_is_undone_as_a_whole_and_nested_by_itself(kim: TimescaleUserRecord, db: Db) -> None:
    async def fail(conn: Connection, name: str) -> None:
        async with conn.transaction():
            await conn.execute("update app_users set name = $1", name)
            await conn.execute("select 1 / $1::int", 0)

    async with TimescalePool.acquire() as conn:
        with pytest.raises(DatabaseError, match="division by zero"):
            await fail(conn, "Lee")
        assert db.execute("select name from app_users").fetchall() == [{"name": "Kim"}]
        async with conn.transaction():
            await conn.execute("update app_users set name = $1", "Lee")
            with pytest.raises(DatabaseError):
                await fail(conn, "Park")
    assert db.execute("select name from app_users").fetchall() == [{"name": "Lee"}]


async def test_what_a_caller_leaves_in_a_session_harms_no_other(kim: TimescaleUserRecord, db: Db) -> None:
    pids = set()
    for statement in (f"set settings_store.okx_uid = '{NOBODY}'", "begin; update app_users set name = 'Lee'"):
        async with TimescalePool.acquire() as conn:
            pids.add(await conn.fetchval("select pg_backend_pid()"))
            await conn.execute(statement)
    assert len(pids) == 1
    record = await service.fetch_user(OKX_UID)
    assert record is not None
    assert record.user["name"] == "Kim"


async def test_first_calls_at_once_get_one_pool(pool: type[TimescalePool]) -> None:
    pools = await asyncio.gather(*(pool.get_pool() for _ in range(10)))
    assert len(set(pools)) == 1


async def test_a_first_caller_who_gives_up_leaves_the_pool_to_the_others(pool: type[TimescalePool]) -> None:
    first, second = (asyncio.create_task(pool.get_pool()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second) is await pool.get_pool()
    assert first.cancelled()


async def test_a_closed_pool_is_made_anew(kim: TimescaleUserRecord, pool: type[TimescalePool]) -> None:
    before = await pool.get_pool()
    await pool.close_pool()
    await pool.close_pool()
    assert await service.fetch_user(OKX_UID) == kim
    assert await pool.get_pool() is not before


@pytest.mark.usefixtures("left_open")  # as scripts do
def test_event_loops_one_after_the_other_have_a_pool_each(config: Config, db: Db) -> None:
    connections = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"

    async def use() -> object:
        await service.set_telegram_link(OKX_UID, TELEGRAM_ID)
        return await TimescalePool.get_pool()

    pools = [asyncio.run(use()) for _ in range(3)]
    assert len(set(pools)) == 3
    asyncio.run(TimescalePool.close_pool())
    wait_until(lambda: db.execute(connections).fetchall() == [])


async def test_an_environment_that_cannot_be_right_is_told_and_tried_again(
    pool: type[TimescalePool], monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("TIMESCALE_HOST", "db.example.com")
    with pytest.raises(ConfigError, match="DATABASE_URL is not set"):
        await service.fetch_user(OKX_UID)
    monkeypatch.setenv("DATABASE_URL", config.database_url or "")
    assert await service.fetch_user(OKX_UID) is None
