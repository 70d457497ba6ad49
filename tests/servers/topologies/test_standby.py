"""A PostgreSQL primary and its standby: it dies, and the standby is promoted. `make test-standby`"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import redis as redis_py

from store import Config, DatabaseUnavailable, SettingsStore
from store.coherence.fresh_marks import FreshMarks
from store.coherence.relay import Relay
from store.coherence.verify import verify
from store.postgres import functions
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually, wait_until
from tests.servers.topologies.load import Load
from tests.servers.topologies.postgres import Pair

pytestmark = [pytest.mark.standby, pytest.mark.usefixtures("redis")]


async def test_nothing_acknowledged_is_lost_in_a_promotion_under_load(servers: Config) -> None:
    with Pair(is_synchronous=True) as pair:
        async with Load(replace(servers, database_url=pair.url)) as load:
            await load.more(100)
            await asyncio.to_thread(pair.primary.stop, "immediate")

            async def is_noticed() -> bool:
                return load.refused > 0

            await eventually(is_noticed)
            await asyncio.to_thread(pair.standby.promote)
            await load.more(100)


async def test_what_an_asynchronous_standby_lacked_is_found_in_redis_and_kept(servers: Config) -> None:
    with Pair(is_synchronous=False) as pair:
        async with SettingsStore(replace(servers, database_url=pair.url)) as store:
            await store.register(OKX_UID, TELEGRAM_ID)
            await Relay(store._connections).once()
            pair.standby.stop()
            for kind in ("params", "preferences"):
                lost = await store.patch(OKX_UID, kind, {"n": "lost"})
                assert (lost.version, lost.mirrored) == (2, True)
            pair.primary.stop("immediate")
            pair.standby.start()
            pair.standby.promote()

            assert dict((await verify(store._connections)).findings) == {"ahead": 2}
            await store.patch(OKX_UID, "preferences", {"n": "later"})  # before the relay has looked
            await Relay(store._connections).once()  # it sees the new timeline
            assert (await verify(store._connections)).findings == {}
            for kind, expected in (("params", None), ("preferences", "later")):
                versions = await store.history(OKX_UID, kind)
                kept = [await store.get_version(OKX_UID, kind, each.version) for each in versions]
                assert "lost" in [each.settings.get("n") for each in kept if each]
                now = await store.get(OKX_UID, kind)
                assert now is not None
                assert now.settings.get("n") == expected


async def test_a_standby_alone_is_one_clear_error(servers: Config) -> None:
    with Pair(is_synchronous=False) as pair:
        wanting = replace(servers, database_url=pair.url, redis_retry_after=0.1)
        careless = replace(servers, database_url=pair.url.replace("read-write", "any"))
        async with SettingsStore(wanting) as store:
            await store.register(OKX_UID)
        wait_until(lambda: pair.standby.ask("select count(*) from app_users") == 1)
        pair.primary.stop("immediate")
        for config, told in ((wanting, "read-only"), (careless, "standby")):
            async with SettingsStore(config) as store:
                with pytest.raises(DatabaseUnavailable, match=told):
                    await store.patch(OKX_UID, "params", {"leverage": 7})
                found = await store.get(OKX_UID, "params")
                assert found is not None
                assert found.source == "redis"


def test_commands_and_shells_find_who_takes_writes(servers: Config, redis: redis_py.Redis) -> None:
    with Pair(is_synchronous=False) as pair:
        cli = Cli(environment(replace(servers, database_url=pair.url)))
        for _ in range(2):
            cli("migrate")
            cli("register", OKX_UID)
            assert cli("psql", "-XAtc", "select pg_is_in_recovery()").lines == ["f"]
            assert cli("status", "--json").json["postgresql"]["pending_migrations"] == []
            if _ == 0:
                pair.primary.stop()
                pair.standby.promote()


async def test_nobody_notifies_on_a_standby_but_from_its_promotion_on(servers: Config) -> None:
    with Pair(is_synchronous=False) as pair:
        async with SettingsStore(replace(servers, database_url=pair.standby.url)) as store:
            obstacles: list[str | None] = []
            marks = FreshMarks(store._connections.database, True, obstacles.append)

            async def is_told_why() -> bool:
                await marks.fetch(functions.mirror.Snapshot("1:1:"), 500)
                return bool(obstacles)

            async def rests() -> bool:
                await marks.fetch(functions.mirror.Snapshot("1:1:"), 500)
                return marks.rests

            await eventually(is_told_why)
            assert obstacles[-1] == "a standby takes no LISTEN"
            pair.primary.stop()
            pair.standby.promote()
            await eventually(rests)
            await marks.close()
