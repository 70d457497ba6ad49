"""The version guard of the mirror: any order, any repetition of applies ends in the newest state."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_py
from redis.asyncio import Redis as AsyncRedis

from store import Config, RedisUnavailable
from store.coherence.connections import Connections
from store.encryption.vault import Vault
from store.mirror.client import Mirror
from store.mirror.entries import Place
from store.mirror.keys import Keys
from store.models import BUILT_IN_TYPES, MirrorEntry
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.mirror import applied

OTHER = "1000000000000001"
SUFFIXES = {"preferences": ("preferences", "hash"), "params": ("settings", "json")}
KINDS = sorted(SUFFIXES)
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)

# What version n holds: other fields each time, once none at all.
DOCUMENTS = ['{"a": 1, "b": "x"}', '{"b": "y", "c": null}', "{}", '{"a": "1", "d": [1, 2]}', '{"e": true}']


def entry(kind: str, version: int, document: str | None = None, owner: str = OKX_UID) -> MirrorEntry:
    """Make the entry of a version; without a document, the one DOCUMENTS has."""
    suffix, encoding = SUFFIXES[kind]
    return MirrorEntry(
        owner, kind, suffix, encoding, version, EPOCH + timedelta(days=version), document or DOCUMENTS[version - 1]
    )


def deletion(kind: str, version: int) -> MirrorEntry:
    return replace(entry(kind, version), document=None)


def data_key(kind: str, owner: str = OKX_UID) -> str:
    return f"user:{owner}:{SUFFIXES[kind][0]}"


def content(redis: redis_py.Redis) -> dict[str, Any]:
    """Everything that Redis holds, but for the names of lives, which are random."""
    return {
        key: redis.hgetall(key) | {"life": ""} if redis.type(key) == "hash" else redis.get(key)
        for key in redis.scan_iter(count=1000)
    }


@pytest.fixture
async def mirror(servers: Config, redis: redis_py.Redis) -> AsyncIterator[Mirror]:
    """The mirror on the test's Redis, which is empty."""
    stores = Connections(servers)
    yield stores.mirror
    await stores.close()


async def statuses(mirror: Mirror, entries: Sequence[MirrorEntry], seen: Sequence[int] | None = None) -> list[int]:
    """Apply entries; `seen`: as if the caller had found these versions there, and what is there now."""
    if seen is None:
        return [result.status for result in await applied(mirror, entries)]
    found = await mirror.inspect([Place(e.owner, e.kind, e.suffix, e.encoding) for e in entries])
    looked_at = [replace(what, version=version) for what, version in zip(found, seen, strict=True)]
    return [result.status for result in await applied(mirror, entries, looked_at)]


@pytest.mark.parametrize("deleted", [3, 5])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_order_and_repetition_ends_in_the_newest_state(
    mirror: Mirror, redis: redis_py.Redis, kind: str, deleted: int
) -> None:
    versions = [deletion(kind, n) if n == deleted else entry(kind, n) for n in range(1, 6)]
    await applied(mirror, [versions[-1]])
    newest = content(redis)
    marks = newest[f"user:{OKX_UID}:mirror"]
    newest_at = (EPOCH + timedelta(days=5)).isoformat(timespec="microseconds")
    assert (marks[kind], marks[f"{kind}:updated_at"]) == ("5", newest_at)
    assert (data_key(kind) in newest) is (deleted != 5)
    for order in itertools.permutations(versions):
        redis.flushall()
        await applied(mirror, [*order, *order[::-1], order[0], order[0]])
        assert content(redis) == newest
    redis.flushall()
    for version in versions[::-1] + versions:
        await applied(mirror, [version])
    assert content(redis) == newest


@pytest.mark.parametrize("kind", KINDS)
async def test_an_older_version_is_refused_and_says_what_redis_has(
    mirror: Mirror, redis: redis_py.Redis, kind: str
) -> None:
    await applied(mirror, [entry(kind, 4)])
    before = content(redis)
    (refused,) = await applied(mirror, [entry(kind, 2)])
    assert (refused.status, refused.version, refused.is_current, refused.serves(2)) == (-1, 4, False, True)
    assert content(redis) == before


@pytest.mark.parametrize("kind", KINDS)
async def test_an_evicted_key_is_filled_by_its_own_version_but_not_by_an_older_one(
    mirror: Mirror, redis: redis_py.Redis, kind: str
) -> None:
    await applied(mirror, [entry(kind, 4)])
    before = content(redis)
    redis.delete(data_key(kind))
    assert await statuses(mirror, [entry(kind, 2)]) == [-1]
    assert not redis.exists(data_key(kind))
    assert await statuses(mirror, [entry(kind, 4), entry(kind, 4)]) == [1, 0]
    assert content(redis) == before


async def test_fields_that_went_away_are_removed(mirror: Mirror, redis: redis_py.Redis) -> None:
    await applied(mirror, [entry("preferences", 1, '{"stays": 1, "goes": 2, "*": 3}')])
    await applied(mirror, [entry("preferences", 2, '{"stays": 1}')])
    assert redis.hgetall(data_key("preferences")) == {"stays": "1"}


async def test_an_empty_document_empties_the_hash_and_keeps_its_version(mirror: Mirror, redis: redis_py.Redis) -> None:
    await applied(mirror, [entry("preferences", 1)])
    assert await statuses(mirror, [entry("preferences", 2, "{}"), entry("preferences", 2, "{}")]) == [1, 0]
    assert not redis.exists(data_key("preferences"))
    assert redis.hget(f"user:{OKX_UID}:mirror", "preferences") == "2"
    assert await statuses(mirror, [entry("preferences", 1)]) == [-1]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deletion_leaves_its_version_behind(mirror: Mirror, redis: redis_py.Redis, kind: str) -> None:
    await applied(mirror, [entry(kind, 1)])
    assert await statuses(mirror, [deletion(kind, 2), deletion(kind, 2), entry(kind, 1)]) == [1, 0, -1]
    assert content(redis).keys() == {f"user:{OKX_UID}:mirror"}
    assert redis.hget(f"user:{OKX_UID}:mirror", kind) == "2"
    assert await statuses(mirror, [entry(kind, 4)]) == [1]
    assert redis.exists(data_key(kind))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repair_writes_an_older_version_only_over_the_one_it_saw(
    mirror: Mirror, redis: redis_py.Redis, kind: str
) -> None:
    await applied(mirror, [entry(kind, 2)])
    wanted = content(redis)
    await applied(mirror, [entry(kind, 5)])
    assert await statuses(mirror, [entry(kind, 2)], seen=[4]) == [-1]
    assert redis.hget(f"user:{OKX_UID}:mirror", kind) == "5"
    assert await statuses(mirror, [entry(kind, 2)], seen=[5]) == [1]
    assert content(redis) == wanted
    assert await statuses(mirror, [entry(kind, 1), entry(kind, 4)], seen=[5, 2]) == [-1, 1]


USER = MirrorEntry(OKX_UID, "user", "mirror", "fields", 5, EPOCH, json.dumps({"telegram_id": TELEGRAM_ID}))
LINK = MirrorEntry(TELEGRAM_ID, "telegram", "okx_uid", "string", 5, EPOCH, json.dumps(OKX_UID))


@pytest.mark.parametrize("seen", [USER, LINK, deletion("params", 5)], ids=lambda seen: seen.kind)
async def test_a_repair_writes_over_no_version_of_the_same_number_that_is_of_another_life(
    mirror: Mirror, redis: redis_py.Redis, seen: MirrorEntry
) -> None:
    """Who was erased and registered again begins with version 1, and comes to the number that was seen."""
    await applied(mirror, [seen])
    found = await mirror.inspect([Place.of(seen)])
    now = replace(seen, updated_at=EPOCH + timedelta(days=9))
    await applied(mirror, [now])
    wanted = content(redis)
    late = replace(seen, version=2, updated_at=EPOCH + timedelta(days=8), document=seen.document or DOCUMENTS[0])
    (result,) = await applied(mirror, [late], found)
    assert (result.status, result.version) == (-1, 5)
    assert content(redis) == wanted
    assert [each.status for each in await applied(mirror, [late], await mirror.inspect([Place.of(seen)]))] == [1]


async def test_a_repair_of_what_was_never_mirrored(mirror: Mirror, redis: redis_py.Redis) -> None:
    redis.set(data_key("params"), "someone else's")
    assert await statuses(mirror, [entry("params", 1)], seen=[0]) == [1]
    assert redis.get(data_key("params")) == DOCUMENTS[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_mirror_hash_of_another_type_is_replaced(mirror: Mirror, redis: redis_py.Redis, kind: str) -> None:
    await applied(mirror, [entry(kind, 2)])
    wanted = content(redis)
    for evicted in (True, False):
        redis.delete(f"user:{OKX_UID}:mirror", *([data_key(kind)] if evicted else []))
        redis.rpush(f"user:{OKX_UID}:mirror", "someone else's")
        assert await statuses(mirror, [entry(kind, 2)], seen=None if evicted else [0]) == [1]
        assert content(redis) == wanted


@pytest.mark.parametrize("version", ["abc", "", "nan", "1.5", "0x"])
async def test_a_version_that_is_no_number_counts_as_none(mirror: Mirror, redis: redis_py.Redis, version: str) -> None:
    await applied(mirror, [entry("params", 2)])
    wanted = content(redis)
    redis.hset(f"user:{OKX_UID}:mirror", "params", version)
    assert await mirror.read(OKX_UID, BUILT_IN_TYPES["params"]) is None
    assert await statuses(mirror, [entry("params", 2)]) == [1]
    assert content(redis) == wanted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [2, 4])
async def test_a_data_key_of_another_type_is_handed_back_and_replaced_by_a_repair(
    mirror: Mirror, redis: redis_py.Redis, kind: str, version: int
) -> None:
    await applied(mirror, [entry(kind, version)])
    wanted = content(redis)
    redis.flushall()
    await applied(mirror, [entry(kind, 2)])
    redis.delete(data_key(kind))
    redis.rpush(data_key(kind), "someone else's")
    (refused,) = await applied(mirror, [entry(kind, version)])
    assert not refused.is_current
    assert redis.lrange(data_key(kind), 0, -1) == ["someone else's"]
    assert await statuses(mirror, [entry(kind, version)], seen=[2]) == [1]
    assert content(redis) == wanted


@pytest.mark.parametrize("kind", KINDS)
async def test_every_applied_version_is_published_once(
    mirror: Mirror, servers: Config, redis: redis_py.Redis, kind: str
) -> None:
    with redis.pubsub() as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(servers.mirror_channel)
        assert channel.get_message(timeout=5)
        await applied(mirror, [entry(kind, 1), entry(kind, 1), deletion(kind, 4), entry(kind, 2), deletion(kind, 4)])
        await applied(mirror, [entry(kind, 5)])
        await applied(mirror, [entry(kind, 5)])
        await applied(mirror, [MirrorEntry(TELEGRAM_ID, "telegram", "okx_uid", "string", 1, EPOCH, f'"{OKX_UID}"')])
        redis.publish(servers.mirror_channel, "end")
        messages = []
        while (message := channel.get_message(timeout=5)) and message["data"] != "end":
            messages.append(json.loads(message["data"]))
    assert message is not None
    assert messages == [{"okx_uid": OKX_UID, "setting_type": kind, "version": n} for n in (1, 4, 5)]


def whose(owner: str = OKX_UID) -> MirrorEntry:
    """Make the entry of a user without a Telegram ID."""
    return MirrorEntry(owner, "user", "mirror", "fields", 1, EPOCH, '{"telegram_id": null}')


@pytest.mark.parametrize("count", [1, 2, 50])
async def test_scripts_that_redis_forgot_are_sent_again(mirror: Mirror, redis: redis_py.Redis, count: int) -> None:
    entries = [entry("params", 1, owner=str(10**16 + n)) for n in range(count)]
    await applied(mirror, entries)
    redis.flushall()
    redis.script_flush()
    assert await statuses(mirror, entries) == [1] * count
    assert len(content(redis)) == 2 * count
    await applied(mirror, [whose(entries[0].owner)])
    redis.script_flush()
    found = await mirror.read(entries[0].owner, BUILT_IN_TYPES["params"])
    assert found is not None
    assert (found.version, found.settings) == (1, json.loads(DOCUMENTS[0]))


async def test_an_entry_that_redis_refuses_stops_no_other(servers: Config, redis: redis_py.Redis) -> None:
    assert servers.redis_url
    redis.acl_setuser(
        "half", enabled=True, passwords=["+half"], keys=[f"user:{OKX_UID}:*"], channels=["*"], categories=["+@all"]
    )
    client = AsyncRedis.from_url(servers.redis_url, username="half", password="half", decode_responses=True)
    try:
        mirror = Mirror(client, servers, lambda: Vault({}))
        entries = [entry("params", 2), entry("params", 2, owner=OTHER), entry("preferences", 2)]
        first, refused, last = await applied(mirror, entries)
        assert (first.is_current, refused.serves(2), last.is_current) == (True, False, True)
        assert isinstance(refused.error, RedisUnavailable)
        (alone,) = await applied(mirror, [entry("params", 2, owner=OTHER)])
        assert isinstance(alone.error, RedisUnavailable)
    finally:
        await client.aclose()
        redis.acl_deluser("half")
    assert content(redis).keys() == {data_key("params"), data_key("preferences"), f"user:{OKX_UID}:mirror"}


async def test_a_template_with_a_hash_tag(servers: Config, redis: redis_py.Redis) -> None:
    stores = Connections(replace(servers, key_template="user:{{{id}}}:{suffix}"))
    await applied(stores.mirror, [entry("params", 1), entry("preferences", 1), whose()])
    found = await stores.mirror.read(OKX_UID, BUILT_IN_TYPES["preferences"])
    await stores.close()
    assert found is not None
    assert found.settings == json.loads(DOCUMENTS[0])
    assert set(redis.keys()) == {f"user:{{{OKX_UID}}}:{suffix}" for suffix in ("settings", "preferences", "mirror")}


@pytest.mark.parametrize(
    "owner", ["", "1234", "1" * 21, f"{OKX_UID}\n", f" {OKX_UID}", "*", "5876*", "１２３４５６", "{id}", "-1000000"]
)
def test_a_key_is_made_of_digits_only(owner: str) -> None:
    keys = Keys("user:{id}:{suffix}")
    with pytest.raises(ValueError, match="only"):
        keys.of(owner, "settings")
    with pytest.raises(ValueError, match="only"):
        keys.mirror(owner)
    assert keys.of(OKX_UID, "settings") == f"user:{OKX_UID}:settings"
    assert keys.mirror(TELEGRAM_ID) == f"user:{TELEGRAM_ID}:mirror"
