"""Adoption rolled back: the predecessor's tables come back with what was saved since, keys, trades and candles too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import Config, SettingsStore, Vault
from store.coherence.sync import Sync
from store.encryption import rotation
from store.encryption.vault import NoEncryptionKey, generate_key
from store.errors import MigrationError
from store.postgres import migrate
from tests.migrations.dump import dump
from tests.migrations.old_service import OldService
from tests.migrations.predecessor import KIM, PARK, WEB_ONLY, Connection, everything, rows
from tests.migrations.test_migrate import IDS

pytestmark = pytest.mark.slow

TAKEN = "select string_agg(p::text, '') from predecessor.okx_api_info p join okx_api_info using (id)"


def test_rolling_back_restores_the_old_database_as_it_was(old_url: str, old: Connection) -> None:
    before, shape = everything(old), dump(old_url)
    migrate.migrate(old_url)
    rows(old, "select write_probe('params', 'no user''s')")
    assert migrate.rollback(old_url, None) == IDS[::-1]
    assert dump(old_url) == shape
    assert everything(old) == before
    kept = "select relname from pg_class where relnamespace = to_regnamespace('predecessor') and relkind = 'r'"
    assert rows(old, kept) == [("kept",)]
    assert migrate.migrate(old_url) == IDS


def test_what_was_saved_since_goes_back_with_the_rest(old_url: str, old: Connection) -> None:
    migrate.migrate(old_url)
    rows(old, "select patch_user_setting('587662504768345929', 'preferences', '{\"symbol\": \"SOL\"}')")
    rows(old, "select unlink_telegram('587662504768345929')")
    rows(old, "select ensure_user('987662504768345929', '4709556958', 'New')")
    old.execute("update app_users set email = 'new@example.com' where okx_uid = '987662504768345929'")
    rows(old, "select upsert_user_setting('987662504768345929', 'dual_side', '{}', p_symbol => 'BTC-USDT-SWAP')")
    rows(old, "select upsert_user_setting('987662504768345929', 'params', '{\"leverage\": 2}')")
    migrate.rollback(old_url, None)
    assert rows(old, "select settings, version from get_user_settings('587662504768345929', 'preferences')") == [
        ({"symbol": "SOL"}, 3)
    ]
    assert rows(old, "select telegram_id, email from app_users where id = %s", KIM) == [(None, "kim@example.com")]
    assert rows(old, "select settings from get_user_settings('4709556958', 'params')") == [({"leverage": 2},)]
    migrate.migrate(old_url)  # a symbol's document comes along again
    found = "select version from user_settings where okx_uid = '987662504768345929' and setting_type like 'dual_side:%'"
    assert rows(old, found) == [(1,)]


def test_a_row_that_the_old_tables_cannot_hold_stops_the_rollback_by_name(old_url: str, old: Connection) -> None:
    old.execute("alter table app_users alter name type varchar(10)")
    migrate.migrate(old_url)
    rows(old, "select ensure_user('987662504768345929', null, 'Much too long')")
    ((id,),) = rows(old, "select id from app_users where okx_uid = '987662504768345929'")
    with pytest.raises(MigrationError, match=f"row {id} of app_users doesn't fit") as caught:
        migrate.rollback(old_url, None)
    assert "of user 987662504768345929" in str(caught.value.hint)
    assert rows(old, "select okx_uid from find_user('987662504768345929')") == [("987662504768345929",)]
    assert migrate.status(old_url).is_current


def test_deleted_keys_stay_deleted_rotated_ones_too(old_url: str, old: Connection) -> None:
    live = "select api_key from okx_api_info where deleted_at is null and api_key <> '' order by 1"
    migrate.migrate(old_url)
    rows(old, "select save_api_credentials('587662504768345929', 'new', 's', 'p')")
    rows(old, "select save_api_credentials('887662504768345929', 'k', 's', 'p')")
    rows(old, "select delete_api_credentials('887662504768345929')")
    migrate.rollback(old_url, None)
    assert rows(old, live) == [("gone-key",), ("kim2-key",), ("lee-key",), ("new",), ("web-key",)]
    all_keys = {key for (key,) in rows(old, "select api_key from okx_api_info")}
    assert {"kim-key", "kim-old-key", "k"} <= all_keys


def test_what_is_in_quarantine_gives_way_to_its_successor(old_url: str, old: Connection) -> None:
    """The older table has its unique index, a document that is none, half of the keys, and a user of no OKX UID."""
    old.execute("""
        delete from user_settings where settings ->> 'leverage' = '10' or settings ->> 'symbol' = 'ETH';
        update user_settings set is_active = true where settings = '["junk"]';
        create unique index on user_settings (user_id, setting_type) where deleted_at is null and is_active;
        update app_users set telegram_id = '6709556958' where name = 'Web'""")
    migrate.migrate(old_url)
    rows(old, "select upsert_user_setting('587662504768345929', 'preferences', '{}')")
    rows(old, "select save_api_credentials('787662504768345929', 'k', 's', 'p')")
    rows(old, "select ensure_user('987662504768345929', '6709556958')")
    old.execute("update app_users set email = 'web@example.com' where okx_uid = '987662504768345929'")
    rows(old, "select ensure_user('487662504768345929')")
    old.execute("update app_users set email = null where okx_uid = '487662504768345929'")
    migrate.rollback(old_url, None)
    found = rows(old, "select settings from user_settings where setting_type = 'preferences' and is_active")
    assert found == [({},)]
    found = rows(
        old, "select api_key, deleted_at is null from okx_api_info where okx_uid = '787662504768345929' order by 1"
    )
    assert found == [("k", True), ("lee-key", False)]
    assert rows(old, "select name, email from app_users where telegram_id = '6709556958'") == [
        (None, "web@example.com")
    ]
    assert rows(old, "select email from app_users where name = 'Web'") == [(f"web@example.com#{WEB_ONLY}",)]
    found = rows(old, "select email from app_users where okx_uid = '487662504768345929'")
    assert found == [("uid_487662504768345929@autogen.tradingboost",)]


def test_a_database_that_an_earlier_release_adopted_gets_all_that(old_url: str, old: Connection) -> None:
    vault, before = Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()}), everything(old)
    migrate.migrate(old_url, vault)
    migrate.rollback(old_url, len(IDS) - IDS.index("0019_predecessor"), vault)
    assert rows(old, "select count(*) from okx_api_info where deleted_at is not null and api_key <> ''") == [(0,)]
    old.execute("""
        insert into predecessor.quarantine
        values ('app_users', 'lee', true, 'its Telegram ID is that of another user, too', '{}');
        -- a version was saved since: the first keys again
        update okx_api_info set version = 4, changed_by = 'bot' where api_key is not null and is_active and version = 3;
        insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase, version, is_active, changed_by)
        select user_id, okx_uid, api_key, api_secret, passphrase, 3, false, 'predecessor'
          from okx_api_info where version = 4;
        update okx_api_info c set (api_key, api_secret, passphrase) = (o.api_key, o.api_secret, o.passphrase)
          from okx_api_info o where o.user_id = c.user_id and o.version = 1 and c.version = 4""")
    migrate.migrate(old_url, vault)
    assert [row.id for row in migrate.quarantine(old_url) if "Telegram" in row.reason] == [PARK]
    service = OldService(old_url)
    assert service.fetch_user(KIM)
    service.ensure_user_exists("987662504768345929", "4709556958")
    assert service.upsert_api_credentials("987662504768345929", api_key="k", api_secret="s", passphrase="p")
    service.connection.close()
    migrate.rollback(old_url, None, vault)
    after = everything(old)
    assert set(before["app_users"]) < set(after["app_users"])
    assert set(before["user_settings"]) == set(after["user_settings"])
    live = "select api_key from okx_api_info where deleted_at is null and okx_uid = %s and api_key <> '' order by 1"
    assert rows(old, live, "587662504768345929") == [("kim-old-key",), ("kim2-key",)]
    assert rows(old, live, "987662504768345929") == [("k",)]


def test_users_settings_and_keys_go_back_only_together(old_url: str) -> None:
    migrate.migrate(old_url)
    with pytest.raises(MigrationError, match="adopted together") as caught:
        migrate.rollback(old_url, len(IDS) - 1)
    assert "--all" in str(caught.value.hint)
    assert migrate.status(old_url).is_current


async def test_keys_are_encrypted_if_there_is_a_key_and_those_of_redis_win_by_sync(
    old_url: str, old: Connection, servers: Config, redis: Any
) -> None:
    redis.hset("user:587662504768345929:api:keys", mapping={"api_key": "new", "api_secret": "s", "passphrase": "p"})
    vault = Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()})
    migrate.migrate(old_url, vault)
    for query in ("select string_agg(c::text, '') from okx_api_info c", TAKEN):
        ((text,),) = rows(old, query)
        assert not any(secret in text for secret in ("kim", "gone-"))
    config = Config(old_url, servers.redis_url, home=servers.home, vault=vault, mirror_credentials="encrypted")
    async with SettingsStore(config) as store:
        await Sync(store._connections, prefer="redis").run()
        credentials = await store.get_credentials("587662504768345929")
        assert credentials is not None
        assert (credentials.api_key, credentials.version) == ("new", 4)
    migrate.rollback(old_url, None, vault)
    keys = rows(old, "select api_key from okx_api_info where user_id = %s and deleted_at is null", KIM)
    assert ("new",) in keys


async def test_keys_are_encrypted_everywhere_and_come_back_in_plain_text(
    old_url: str, old: Connection, servers: Config, redis: Any
) -> None:
    migrate.migrate(old_url)
    vault = Vault.from_env({"SETTINGS_STORE_KEYS": generate_key()})
    config = Config(old_url, servers.redis_url, home=servers.home, vault=vault)
    async with SettingsStore(config) as store:
        credentials = await store.get_credentials("587662504768345929")
        assert credentials is not None
        assert (credentials.api_key, credentials.version) == ("kim-key", 3)
        done = await rotation.rotate(store, plain=True)
        assert (done.changed, done.failures) == (4, {})
        assert await rotation.seal_table(store) == 0
        rows(old, "select restore_user('687662504768345929')")
        restored = await store.get_credentials("687662504768345929")
        assert restored is not None
        assert restored.api_key == "gone-key"
    for query in ("select string_agg(c::text, '') from okx_api_info c", TAKEN):
        ((text,),) = rows(old, query)
        assert not any(secret in text for secret in ("kim", "gone-"))
    quarantined = rows(old, "select string_agg(q::text, '') from predecessor.quarantine q")[0][0]
    assert not any(secret in quarantined for secret in ("web-key", "web-secret", "lee-secret"))

    with pytest.raises(NoEncryptionKey):
        migrate.rollback(old_url, None)
    migrate.rollback(old_url, None, vault)
    keys = rows(
        old, "select api_key, api_secret, passphrase from okx_api_info where user_id = %s and deleted_at is null", KIM
    )
    assert ("kim-key", "kim-secret", "kim-pass") in keys


def test_trades_and_candles_come_along_as_far_as_they_are_some(old_url: str, old: Connection) -> None:
    old.execute(Path(__file__).with_name("predecessor_market.sql").read_bytes())
    migrate.migrate(old_url)
    assert migrate.status(old_url).is_current
    taken = rows(old, "select exit_order_id, net_pnl::text, params_version, extra from trades order by exit_order_id")
    assert taken == [
        ("a1", "12.50000000", 9, {"id": 1, "session_id": 7, "currency": "usdt", "funding_fee": -0.5}),
        ("predecessor-2", "-3.00000000", 9, {"id": 2, "currency": "usdt", "funding_fee": -0.5}),
    ]
    reasons = [(q.id, q.reason) for q in migrate.quarantine(old_url) if q.table_name == "trades"]
    assert [id for id, _ in reasons] == ["3", "4"]
    assert "side" in reasons[0][1]
    candles = rows(old, "select to_char(ts, 'HH24:MI') from ohlcv_1h order by ts")
    assert candles == [("10:00",), ("11:00",)]
    told = [q.id for q in migrate.quarantine(old_url) if q.table_name == "ohlcv_1h"]
    assert len(told) == 4  # another of that time, off the grid, not a number, without a time
    (note,) = [q for q in migrate.quarantine(old_url) if q.table_name == "ohlcv_1d"]
    assert (note.id, note.is_taken) == (None, False)
    rows(old, "select erase_user('587662504768345929')")
    assert rows(old, "select count(*) from predecessor.trades") == [(1,)]
    migrate.rollback(old_url, None)
    assert rows(old, "select count(*) from trades") == [(1,)]
    assert rows(old, "select count(*) from ohlcv_1h") == [(6,)]


@pytest.mark.timescale
def test_candles_of_a_predecessor_on_timescaledb_come_along_and_go_back(old_url: str, old: Connection) -> None:
    old.execute("create table ohlcv_1h (time timestamptz not null, symbol text, open float, high float, low float,"
              " close float, volume float)")  # fmt: skip
    rows(old, "select create_hypertable('ohlcv_1h', 'time', chunk_time_interval => interval '1 day')")
    old.execute("insert into ohlcv_1h select t, 'BTC', 2, 4, 1, 3, 9"
              "  from generate_series(timestamptz '2025-03-05 00:00Z', '2025-03-08 00:00Z', '1 hour') t")  # fmt: skip
    migrate.migrate(old_url)
    assert migrate.status(old_url).is_current
    where = """
        select hypertable_schema, num_chunks from timescaledb_information.hypertables
         where hypertable_name = 'ohlcv_1h'"""
    assert rows(old, f"{where} order by 1") == [("predecessor", 4), ("public", 1)]
    assert rows(old, "select count(*) from ohlcv_1h where ts >= '2025-03-05 00:00Z'") == [(73,)]
    migrate.rollback(old_url, None)
    assert rows(old, where) == [("public", 4)]
    assert rows(old, "select count(*) from ohlcv_1h") == [(73,)]


def test_trades_of_somebody_else_in_a_database_of_this_store_move_aside_and_come_back(database_url: str) -> None:
    before = IDS.index("0008_trades")
    migrate.rollback(database_url, len(IDS) - before)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("create table trades (id integer, what text)")
        connection.execute("insert into trades values (1, 'mine')")
        assert migrate.migrate(database_url) == IDS[before:]
        assert migrate.status(database_url).is_current
        ((what,),) = connection.execute("select row_data ->> 'what' from predecessor.quarantine").fetchall()
        assert what == "mine"
        assert connection.execute("select count(*) from trades").fetchall() == [(0,)]
        migrate.rollback(database_url, len(IDS) - before)
        assert connection.execute("select what from trades").fetchall() == [("mine",)]
        assert connection.execute("select from pg_namespace where nspname = 'predecessor'").fetchall() == []
