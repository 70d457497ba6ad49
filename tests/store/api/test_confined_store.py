"""A store confined to one user gets nobody else's, also where Redis or the cache would answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from store import Config, NotPermitted, SettingsStore
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.postgres.confinement import told
from tests.conftest import OKX_UID, TELEGRAM_ID, Rows
from tests.helpers.credentials import KEY, OTHER, secrets, with_keys

OTHER_TELEGRAM = "77777"
KINDS = ["dual_side", "params", "preferences"]
Db = psycopg.Connection[dict[str, Any]]
Confine = Callable[[], Config]


@pytest.fixture
async def both(config: Config) -> Config:
    """Two users with documents, links and credentials, all of it in Redis."""
    config = with_keys(config, KEY)
    async with SettingsStore(config) as store:
        for okx_uid, telegram_id in ((OKX_UID, TELEGRAM_ID), (OTHER, OTHER_TELEGRAM)):
            await store.register(okx_uid, telegram_id)
            await store.save_credentials(okx_uid, *secrets(okx_uid))
    return config


@pytest.fixture(params=["URL", "PGOPTIONS", "role"])
def confine(request: pytest.FixtureRequest, both: Config, db: Db, monkeypatch: pytest.MonkeyPatch) -> Confine:
    """Make the configuration of a store that is confined to the first user, by this way."""

    def confined() -> Config:
        assert both.database_url
        if request.param == "URL":
            return replace(both, database_url=make_conninfo(both.database_url, options=option(OKX_UID)))
        if request.param == "PGOPTIONS":
            monkeypatch.setenv("PGOPTIONS", option(OKX_UID))
        else:
            name = conninfo_to_dict(both.database_url)["dbname"]
            db.execute(f"alter role current_user in database {name} set settings_store.okx_uid = '{OKX_UID}'")
        return both

    return confined


def option(okx_uid: str) -> str:
    return f"-c statement_timeout=60s -csettings_store.okx_uid={okx_uid}"


@asynccontextmanager
async def confined(confine: Confine, cache: int = 0) -> AsyncIterator[SettingsStore]:
    async with SettingsStore(confine(), cache=cache) as store:
        yield store


@pytest.mark.parametrize("cache", [0, 10])
async def test_reads_are_of_its_user_only(confine: Confine, cache: int) -> None:
    async with confined(confine, cache) as store:
        for whom in (OTHER, OTHER_TELEGRAM):
            for read in (
                store.get(whom, "params"),
                store.get(whom, "params", source="redis"),
                store.get(whom, "params", source="db"),
                store.get_all(whom),
                store.get_all(whom, source="redis"),
                store.get_credentials(whom),
                store.credentials_history(whom),
                anext(store.watch(whom)),
            ):
                with pytest.raises(NotPermitted, match="confined to one user"):
                    await read
        assert [found.okx_uid for found in await store.search("params", {})] == [OKX_UID]


async def test_its_own_user_is_read_from_redis_as_ever(confine: Confine) -> None:
    async with confined(confine) as store:
        for kind in KINDS:
            found = await store.get(OKX_UID, kind)
            assert found is not None
            assert found.source == "redis"
            found = await store.get(TELEGRAM_ID, kind)  # in Redis anybody could have led that elsewhere
            assert found is not None
            assert (found.okx_uid, found.source) == (OKX_UID, "db")
        with pytest.raises(NotPermitted, match="confined to one user"):
            await store.get(TELEGRAM_ID, "params", source="redis")
        keys = await store.get_credentials(OKX_UID)
        assert keys is not None
        assert keys.source == "redis"


async def test_a_telegram_id_led_elsewhere_in_redis_does_not_lead_there(confine: Confine, redis: Any) -> None:
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", OTHER)
    async with confined(confine) as store:
        found = await store.get(TELEGRAM_ID, "params")
        assert found is not None
        assert found.okx_uid == OKX_UID


async def test_jobs_are_of_its_user_only(confine: Confine, both: Config, redis: Any) -> None:
    redis.set(f"user:{OTHER}:settings", "not JSON")
    redis.hset(f"user:{OKX_UID}:dual_side", "use_dual_sl", "odd")
    async with confined(confine) as store:
        report = await verify(store._connections)
        assert {finding.owner for finding in report.users} == {OKX_UID}
        told_of: list[Any] = []
        for job in (
            verify(store._connections, okx_uid=OTHER),
            Sync(store._connections, tell=told_of.append).run(),
            Sync(store._connections, okx_uid=OTHER, dry_run=True, tell=told_of.append).run(),
        ):
            with pytest.raises(NotPermitted, match="confined to one user"):
                await job
        assert told_of == []


async def test_it_watches_its_user_only(confine: Confine, both: Config) -> None:
    async with SettingsStore(both) as writing:
        await writing.find_user(OTHER)  # by a connection made before anything confines it
        async with confined(confine) as store:
            waiting = asyncio.ensure_future(anext(store.watch()))
            while not (await writing._connections.mirror.redis.pubsub_numsub(writing._connections.mirror.channel))[0][
                1
            ]:
                await asyncio.sleep(0.01)
            for okx_uid in (OTHER, OKX_UID):
                await writing.patch(okx_uid, "params", {"leverage": 33})
            assert (await asyncio.wait_for(waiting, 60)).okx_uid == OKX_UID


async def test_the_server_is_asked_once_and_not_with_every_read(both: Config, db: Db) -> None:
    """By the statistics of the server itself: reads from Redis make no transaction there."""
    async with SettingsStore(both) as store:
        await store.get(OKX_UID, "params")
        before = sessions(db)
        for _ in range(50):
            found = await store.get(OKX_UID, "params")
            assert found is not None
            assert found.source == "redis"
        assert sessions(db) == before


def sessions(db: Db) -> Rows:
    """The store's sessions, and when each of them began its last statement."""
    query = (
        "select pid, query_start from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    )
    return db.execute(f"{query} order by pid").fetchall()


async def test_a_session_that_the_server_did_not_confine_is_refused(
    both: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a pooler that drops the options."""
    assert both.database_url
    async with SettingsStore(both) as store:
        monkeypatch.setattr(store._connections.confinement, "_told", OKX_UID)
        with pytest.raises(NotPermitted, match="doesn't confine"):
            await store.get(OTHER, "params", source="db")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", ""),
        ("-c statement_timeout=5", ""),
        ("-c settings_store.okx_uid=1", "1"),
        ("-csettings_store.okx_uid=1", "1"),
        ("--settings_store.okx_uid=1", "1"),
        ("-c  SETTINGS_STORE.OKX_UID=1", "1"),
        ("-c settings_store.okx_uid=1 -c settings_store.okx_uid=2", "2"),
        ("-c settings_store.okx_uid=1 -c settings_store.okx_uid=", ""),
        (r"-c settings_store.actor=a\ -c\ settings_store.okx_uid=1", ""),
        ("-c settings_store.okx_uid=typo", "typo"),
    ],
)
def test_options_are_read_as_the_server_reads_them(options: str, expected: str, db: Db, database_url: str) -> None:
    assert told(make_conninfo(database_url, options=options), {"PGOPTIONS": "-c settings_store.okx_uid=9"}) == expected
    assert told("host=x", {"PGOPTIONS": options}) == expected
    with psycopg.connect(make_conninfo(database_url, options=options)) as connection:
        found = connection.execute("select coalesce(current_setting('settings_store.okx_uid', true), '')").fetchone()
    assert found == (expected,)
