"""The probe: right reads whatever server goes away, and what it is there for: wrong ones that are counted."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest

from store import Config, NotPermitted, SettingsStore
from store.coherence.relay import Relay
from store.coherence.verify import verify
from store.ending import end
from store.mirror.keys import PROBE
from store.operations.probe import PATHS, VIOLATIONS, WRITERS, Prober, Reading
from tests.conftest import OKX_UID
from tests.faults.servers import PostgresServer, RedisServer, eventually
from tests.helpers.roles import in_role

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]
EVERY = 0.02  # seconds
PARAMS = f"user:{PROBE}:settings"


@dataclass
class Told:
    """What a prober told of its reads."""

    readings: list[Reading] = field(default_factory=list)

    def by(self, outcome: str) -> list[str]:
        return [reading.path for reading in self.readings if reading.outcome == outcome]

    @property
    def violations(self) -> list[Reading]:
        return [reading for reading in self.readings if reading.outcome in VIOLATIONS]

    async def until(self, outcome: str, *paths: str, times: int = 6) -> None:
        """Await that many more readings of each of these paths (of documents that take turns, two each)."""
        before = len(self.readings)

        async def come() -> bool:
            new = [reading.path for reading in self.readings[before:] if reading.outcome == outcome]
            return all(new.count(path) >= times for path in paths)

        await eventually(come)


@asynccontextmanager
async def probing(config: Config) -> AsyncIterator[Told]:
    told = Told()
    task = asyncio.create_task(Prober(config, EVERY, told.readings.append).run())
    try:
        yield told
    finally:
        assert not task.done()
        await end(task)


@asynccontextmanager
async def relaying(store: SettingsStore) -> AsyncIterator[None]:
    relay = Relay(store._connections, poll=0.005)
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        relay.stopping.set()
        await task


async def test_every_path_reads_right_whichever_way_it_was_written(config: Config, store: SettingsStore) -> None:
    async with relaying(store), probing(config) as told, probing(config) as another:
        await told.until("right", *PATHS, times=12)
        await another.until("right", *PATHS)
        for name in ("params", "preferences"):
            before = await store.get(PROBE, name, source="redis")

            async def is_newer(name: str = name, than: int = before.version if before else 0) -> bool:
                found = await store.get(PROBE, name, source="redis")
                return found is not None and found.version > than

            await eventually(is_newer)
    assert told.violations == another.violations == []
    assert all(reading.staleness >= 0 for reading in told.readings)
    assert not {*told.by("unanswered")} & {*WRITERS, "db"}
    await Relay(store._connections).once()
    assert not (await verify(store._connections)).findings


async def test_a_value_that_somebody_puts_under_our_version_is_counted(
    config: Config, store: SettingsStore, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Until a relay brings the next version: none runs here but when it is told to."""
    async with probing(config) as told:
        await told.until("right", "db")
        await Relay(store._connections).once()
        await told.until("right", *PATHS)
        with own_redis.client() as client:
            client.set(PARAMS, '{"probe": "hidden", "again": "hidden"}')
        await told.until("content", "redis", "get", "telegram", "all", times=1)
        assert {reading.outcome for reading in told.violations} == {"content"}
        assert "db" not in told.by("content")
        assert "params is wrong (content)" in caplog.text
        assert "hidden" not in caplog.text
        await Relay(store._connections).once()
        await told.until("right", *PATHS)


async def test_a_version_that_comes_back_is_counted(
    config: Config, store: SettingsStore, own_redis: RedisServer
) -> None:
    async with probing(config) as told:
        await told.until("right", "db")
        await Relay(store._connections).once()
        with own_redis.client() as client:
            before = {key: client.dump(key) for key in client.scan_iter(f"user:{PROBE}:*")}
            await told.until("right", "db")
            await Relay(store._connections).once()
            await told.until("right", *PATHS)
            for key, content in before.items():
                client.restore(key, 0, content, replace=True)
        await told.until("stale", "redis", "get", times=1)
    assert {reading.outcome for reading in told.violations} == {"stale"}
    assert max(reading.staleness for reading in told.violations) > 0


async def hold_redis(redis: RedisServer, _: PostgresServer, __: Db, told: Told) -> None:
    with redis.client() as client:
        client.client_pause(2000)
    await told.until("unanswered", "redis", times=1)


async def hang_redis(redis: RedisServer, _: PostgresServer, __: Db, told: Told) -> None:
    redis.pause()
    await told.until("unanswered", "redis", times=1)
    await told.until("right", "db", "get", "min_version", times=1)
    redis.resume()


async def stop_redis(redis: RedisServer, _: PostgresServer, __: Db, told: Told) -> None:
    redis.stop()
    await told.until("unanswered", "redis")
    redis.start()


async def empty_redis(redis: RedisServer, _: PostgresServer, __: Db, ___: Told) -> None:
    with redis.client() as client:
        client.flushall()


async def put_back_redis(redis: RedisServer, _: PostgresServer, __: Db, told: Told) -> None:
    """Start it with the data it had before."""
    folder, kept = redis.home / "redis", redis.home / "kept"
    redis.stop()
    shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.sock", "*.pid"))
    redis.start()
    await told.until("right", *PATHS)
    redis.stop()
    shutil.rmtree(folder)
    kept.rename(folder)
    redis.start()


async def stop_postgres(_: RedisServer, postgres: PostgresServer, __: Db, told: Told) -> None:
    postgres.stop()
    await told.until("unanswered", "db", "sql", "save", times=1)
    postgres.start()


async def erase(_: RedisServer, __: PostgresServer, db: Db, ___: Told) -> None:
    db.execute("select erase_user(probe_okx_uid())")


async def delete(_: RedisServer, __: PostgresServer, db: Db, ___: Told) -> None:
    db.execute("select delete_user(probe_okx_uid())")


@pytest.fixture
def own_config(config: Config, own_postgres: PostgresServer) -> Config:
    """With a PostgreSQL that may be stopped, too."""
    return replace(config, database_url=own_postgres.url, db_timeout=1.0)


@pytest.mark.parametrize(
    "strike", [hold_redis, hang_redis, stop_redis, empty_redis, put_back_redis, stop_postgres, erase, delete]
)
async def test_an_outage_is_no_wrong_read(
    own_config: Config,
    own_redis: RedisServer,
    own_postgres: PostgresServer,
    strike: Callable[[RedisServer, PostgresServer, Db, Told], Awaitable[None]],
) -> None:
    async with SettingsStore(own_config) as store, relaying(store), probing(own_config) as told:
        await told.until("right", *PATHS)
        with psycopg.connect(own_postgres.url, autocommit=True) as db:
            await strike(own_redis, own_postgres, db, told)  # type: ignore[arg-type]
        await told.until("right", *PATHS)
    assert told.violations == []


async def test_who_watches_everybody_hears_nothing_of_it(config: Config, store: SettingsStore) -> None:
    async with relaying(store), probing(config) as told:
        await told.until("right", *PATHS)
        of_all, of_probe = store.watch(), store.watch(PROBE)
        next_of_all, next_of_probe = asyncio.ensure_future(anext(of_all)), asyncio.ensure_future(anext(of_probe))
        assert (await next_of_probe).okx_uid == PROBE
        await told.until("right", *PATHS)
        await store.patch(OKX_UID, "params", {"leverage": 7})
        assert (await next_of_all).okx_uid == OKX_UID


async def test_it_takes_the_rights_of_relay_and_reader(
    config: Config, database_url: str, db: Db, store: SettingsStore
) -> None:
    relay_only = replace(config, database_url=in_role(database_url, "relay"))
    with pytest.raises(NotPermitted) as error:
        await Prober(relay_only, EVERY, lambda _: None).check()
    assert "settings_reader" in (error.value.hint or "")
    db.execute("create role prober in role settings_relay, settings_reader")
    both = replace(config, database_url=in_role(database_url, "relay").replace("settings_relay", "prober"))
    try:
        await Prober(both, EVERY, lambda _: None).check()
        async with relaying(store), probing(both) as told:
            await told.until("right", *PATHS)
        assert told.violations == []
    finally:
        db.execute("drop role prober")


async def test_a_server_that_is_away_doesnt_keep_a_relay_from_its_start(config: Config) -> None:
    await Prober(replace(config, database_url="postgresql://127.0.0.1:1/x"), EVERY, lambda _: None).check()
