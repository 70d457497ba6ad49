"""The channel of changes: a server has one set of them for all its databases, so they must tell these apart."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import redis as redis_py

from store import Config, SettingsStore
from store.api.watch import Change
from tests.conftest import OKX_UID
from tests.faults.servers import eventually

TAGGED = "user:{{{id}}}:{suffix}"
OTHER = "bot:{id}:{suffix}"


@pytest.mark.parametrize(
    ("url", "template", "channel"),
    [
        (None, "user:{id}:{suffix}", "settings:changes"),
        ("redis://cache", "user:{id}:{suffix}", "settings:changes"),
        ("redis://cache/0", "user:{id}:{suffix}", "settings:changes"),
        ("redis://cache/15", "user:{id}:{suffix}", "settings:changes:15"),
        ("rediss://cache/3?db=4", "user:{id}:{suffix}", "settings:changes:4"),
        ("unix:///run/redis.sock?db=2", "user:{id}:{suffix}", "settings:changes:2"),
        ("redis+sentinel://one,two/settings", "user:{id}:{suffix}", "settings:changes"),
        ("redis+sentinel://one,two/settings/7", "user:{id}:{suffix}", "settings:changes:7"),
        ("redis://cache", TAGGED, "settings:changes:0:a7d177d9"),
        ("redis://cache/1", OTHER, "settings:changes:1:12867acc"),
        ("redis+cluster://one,two", TAGGED, "settings:changes"),
        ("redis+cluster://one,two", "bot:{{{id}}}:{suffix}", "settings:changes:0:47851789"),
    ],
)
def test_each_database_and_key_template_has_its_own(url: str | None, template: str, channel: str) -> None:
    config = Config("postgresql://db", url, key_template=template)
    assert config.mirror_channel == channel
    assert config.shown()["MIRROR_CHANNEL"] == channel
    assert replace(config, channel="settings:changes").mirror_channel == "settings:changes"
    assert Config.from_env({"MIRROR_CHANNEL": "mine", "REDIS_URL": url or ""}).mirror_channel == "mine"


def test_no_two_share_one() -> None:
    configs = [
        Config("postgresql://db", f"redis://cache/{number}", key_template=template)
        for number in (0, 1, 2, 15)
        for template in ("user:{id}:{suffix}", TAGGED, OTHER, "{suffix}/{id}")
    ]
    assert len({config.mirror_channel for config in configs}) == len(configs)


@pytest.mark.parametrize("beside", ["another database", "other keys"])
async def test_a_watch_hears_of_its_own_store_only(
    config: Config, other_database_url: str, redis: redis_py.Redis, beside: str
) -> None:
    url = config.redis_url or ""
    elsewhere = replace(config, database_url=other_database_url, channel=None)
    if beside == "another database":
        elsewhere = replace(elsewhere, redis_url=f"{url}{'&' if '?' in url else '?'}db=15")
    else:
        elsewhere = replace(elsewhere, key_template=OTHER)
    async with SettingsStore(config) as store, SettingsStore(elsewhere) as other:
        await store.register(OKX_UID)
        await other.register(OKX_UID)
        watches = [store.watch(OKX_UID), other.watch(OKX_UID)]
        heard = [asyncio.ensure_future(anext(changes)) for changes in watches]

        async def are_watched() -> bool:
            channels = [config.mirror_channel, elsewhere.mirror_channel]
            return all(number for _, number in redis.pubsub_numsub(*channels))

        await eventually(are_watched)
        for leverage in range(2, 7):
            assert (await other.patch(OKX_UID, "params", {"leverage": leverage})).mirrored
        for kind in ("params", "dual_side"):
            assert (await store.patch(OKX_UID, kind, {"n": 1})).mirrored
        assert await asyncio.gather(*heard) == [Change(OKX_UID, "params", 2)] * 2
        assert await anext(watches[0]) == Change(OKX_UID, "dual_side", 2)
        for changes in watches:
            await changes.aclose()
