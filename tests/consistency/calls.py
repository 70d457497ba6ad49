"""What the clients call: every kind of read and write, each at random."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from store.models import SavedCredentials, SavedSetting, Source
from tests.consistency.client import KINDS, SUFFIXES, Client
from tests.consistency.history import digest, token

RAW_UPDATE = """
update user_settings set settings = settings || %s::jsonb
 where okx_uid = %s and setting_type = %s and is_active and deleted_at is null returning version"""
RAW_UPSERT = "select (r).version from upsert_user_setting(%s, %s, %s::jsonb, p_symbol => %s) r"
SOURCES: tuple[Source | None, ...] = (None, None, "db", "redis")
NONE: Callable[[Any], Any] = lambda _: None  # noqa: E731


def _document(client: Client, op: int) -> dict[str, Any]:
    """A document that no other call writes, and of which no part is like another's."""
    return {"n": op, "a": op, f"k{op % 4}": op, "p": "x" * client.random.randrange(1, 60)}


def _whose(client: Client, is_telegram: bool = False) -> tuple[str, str, str, dict[str, Any]]:
    """Choose an identifier and a document: its name, and how it is asked for."""
    owner, kind = client.random.choice(client.cast.users), client.random.choice(KINDS)
    if is_telegram:
        owner = client.random.choice(client.cast.telegrams)
    own, _, symbol = kind.partition(":")
    return owner, kind, own, {"symbol": symbol} if symbol else {}


# -- reads


async def get(client: Client, source: Source | None = None, is_least: bool = False, is_telegram: bool = False) -> None:
    owner, kind, own, of = _whose(client, is_telegram)
    least = client.latest.get((owner, kind), 0) if is_least else 0
    args = {"o": owner, "k": kind, "source": source, "min": least, "c": client.is_cached}
    await client.call(
        "get", args, lambda _: client.store.get(owner, own, source=source, min_version=least, **of), client.seen
    )


async def get_db(client: Client) -> None:
    await get(client, "db")


async def get_redis(client: Client) -> None:
    await get(client, "redis")


async def get_least(client: Client) -> None:
    await get(client, is_least=True)


async def get_telegram(client: Client) -> None:
    await get(client, is_telegram=True)


async def get_all(client: Client) -> None:
    owner = client.random.choice(client.cast.users)
    await client.call(
        "get_all",
        {"o": owner, "c": client.is_cached},
        lambda _: client.store.get_all(owner),
        lambda found: [client.seen(setting) for setting in found],
    )


async def get_many(client: Client) -> None:
    _, kind, own, of = _whose(client)
    owners = client.random.sample(client.cast.users, min(5, len(client.cast.users)))
    is_least = client.random.random() < 0.3
    least = {owner: client.latest.get((owner, kind), 0) for owner in owners} if is_least else {}
    source: Source | None = client.random.choice(SOURCES)
    await client.call(
        "get_many",
        {"os": owners, "k": kind, "source": source, "min": least, "c": client.is_cached},
        lambda _: client.store.get_many(owners, own, source=source, min_versions=least, **of),
        lambda found: [client.seen(setting) for setting in found.values()],
    )


async def gets(client: Client) -> None:
    """Read several at once: these share exchanges."""
    await asyncio.gather(*(call(client) for call in (get, get, get_telegram, get_redis, get, get_least)))


async def view(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    args = {"o": owner, "k": kind, "source": None, "min": 0, "c": client.is_cached}
    await client.call("get", args, lambda _: client.store.view(owner, own, **of), client.seen)


async def get_version(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    version = client.random.randint(1, max(client.latest.get((owner, kind), 0), 1))
    await client.call(
        "version",
        {"o": owner, "k": kind, "v": version},
        lambda _: client.store.get_version(owner, own, version, **of),
        lambda found: None if found is None else digest(found.settings),
    )


async def raw_redis(client: Client) -> None:
    """Read as a bot does that knows nothing of the store."""
    owner, kind, _, _ = _whose(client)
    key = f"user:{owner}:{SUFFIXES[kind]}"

    async def read(_: int) -> Any:
        if kind == "params":
            text = await client.redis.get(key)
            return text and digest(json.loads(text))
        fields: Any = await client.redis.hgetall(key)
        return digest(plain(fields)) if fields else None

    await client.call("raw_redis", {"o": owner, "k": kind}, read, lambda found: found)


def plain(fields: dict[str, str]) -> dict[str, Any]:
    """Read a hash as bots do."""
    document: dict[str, Any] = {}
    for name, text in fields.items():
        try:
            document[name] = json.loads(text)
        except ValueError:
            document[name] = text
    return document


async def get_keys(client: Client) -> None:
    owner = client.random.choice(client.cast.users)
    least = client.latest.get((owner, "api_keys"), 0) if client.random.random() < 0.3 else 0
    await client.call(
        "get_keys",
        {"o": owner, "min": least},
        lambda _: client.store.get_credentials(owner, min_version=least),
        lambda found: found and [found.version, found.api_key, found.api_secret, found.source],
    )


# -- writes


async def save(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    await client.call(
        "save",
        {"o": owner, "k": kind},
        lambda op: client.store.save(owner, own, _document(client, op), **of),
        client.saved,
    )


async def cas(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    expected = max(client.latest.get((owner, kind), 0) - client.random.choice((0, 0, 0, 1)), 0)
    await client.call(
        "cas",
        {"o": owner, "k": kind, "v": expected},
        lambda op: client.store.save(owner, own, _document(client, op), expected_version=expected, **of),
        client.saved,
    )


async def patch(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    await client.call(
        "patch", {"o": owner, "k": kind}, lambda op: client.store.patch(owner, own, {"n": op}, **of), client.saved
    )


async def save_all(client: Client) -> None:
    owner = client.random.choice(client.cast.users)
    await client.call(
        "save_all",
        {"o": owner},
        lambda op: client.store.save_all(owner, {kind: _document(client, op) for kind in KINDS[:2]}),
        lambda all_: [client.saved(saved) for saved in all_],
    )


async def save_many(client: Client) -> None:
    _, kind, own, of = _whose(client)
    owners = client.random.sample(client.cast.users, min(3, len(client.cast.users)))

    def shape(saved: dict[str, SavedSetting]) -> list[Any]:
        return [[owner, *client.saved(setting)] for owner, setting in saved.items()]

    await client.call(
        "save_many",
        {"os": owners, "k": kind},
        lambda op: client.store.save_many({owner: _document(client, op) for owner in owners}, own, **of),
        shape,
    )


async def update(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    seen: list[str] = []

    def change(document: dict[str, Any], op: int) -> dict[str, Any]:
        seen.append(str(document.get("n")))
        return _document(client, op)

    await client.call(
        "update",
        {"o": owner, "k": kind},
        lambda op: client.store.update(owner, own, lambda document: change(document, op), **of),
        lambda saved: [*client.saved(saved), seen[-1]],
    )


async def raw_sql(client: Client) -> None:
    """Write as psql does."""
    owner, kind, own, of = _whose(client)
    is_update = client.random.random() < 0.7

    async def write(op: int) -> Any:
        async with client.postgres() as cursor:
            await cursor.execute("select set_config('settings_store.reason', %s, true)", (f"op:{op}",))
            document = json.dumps({"n": op} if is_update else _document(client, op))
            arguments = (document, owner, kind) if is_update else (owner, own, document, of.get("symbol"))
            await cursor.execute(RAW_UPDATE if is_update else RAW_UPSERT, arguments)
            row = await cursor.fetchone()
            return None if row is None else [kind, row[0], False, None]

    await client.call("raw_sql", {"o": owner, "k": kind}, write, lambda found: found)


async def delete(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    await client.call("delete", {"o": owner, "k": kind}, lambda _: client.store.delete(owner, own, **of), client.saved)


async def restore(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    await client.call(
        "restore", {"o": owner, "k": kind}, lambda _: client.store.restore(owner, own, **of), client.saved
    )


async def rollback(client: Client) -> None:
    owner, kind, own, of = _whose(client)
    latest = client.latest.get((owner, kind), 1)
    version = client.random.randint(max(1, latest - 5), latest + 1)
    await client.call(
        "rollback",
        {"o": owner, "k": kind, "v": version},
        lambda _: client.store.rollback(owner, own, version, **of),
        client.saved,
    )


async def save_keys(client: Client) -> None:
    owner = client.random.choice(client.cast.users)

    async def write(op: int) -> SavedCredentials:
        return await client.store.save_credentials(owner, f"{owner}-{op}", f"secret-{op}", "passphrase")

    await client.call("save_keys", {"o": owner}, write, lambda found: _kept(client, owner, found))


async def delete_keys(client: Client) -> None:
    owner = client.random.choice(client.cast.users)
    await client.call(
        "delete_keys",
        {"o": owner},
        lambda _: client.store.delete_credentials(owner),
        lambda found: found and _kept(client, owner, found),
    )


def _kept(client: Client, owner: str, saved: SavedCredentials) -> Any:
    client.learn(owner, "api_keys", saved.version)
    return ["api_keys", saved.version, saved.mirrored, None]


# -- users and links


async def link(client: Client) -> None:
    owner, telegram = client.random.choice(client.cast.users), client.random.choice(client.cast.telegrams)
    await client.call("link", {"o": owner, "to": telegram}, lambda _: client.store.link(owner, telegram), _mirrored)


async def unlink(client: Client) -> None:
    owner = client.random.choice(client.cast.users)
    await client.call("unlink", {"o": owner}, lambda _: client.store.unlink(owner), _mirrored)


async def delete_user(client: Client) -> None:
    owner = client.random.choice(client.cast.mortals)
    await client.call("delete_user", {"o": owner}, lambda _: client.store.delete_user(owner), _mirrored)


async def restore_user(client: Client) -> None:
    owner = client.random.choice(client.cast.mortals)
    await client.call("restore_user", {"o": owner}, lambda _: client.store.restore_user(owner), _mirrored)


async def erase(client: Client) -> None:
    owner = client.random.choice(client.cast.mortals)
    await client.call("erase", {"o": owner}, lambda _: client.store.erase_user(owner), _mirrored)


def _mirrored(result: Any) -> Any:
    """Whether Redis has it, as the result says; None if it doesn't say."""
    return [getattr(result, "mirrored", None)]


async def register(client: Client) -> None:
    owner = client.random.choice(client.cast.mortals)
    await client.call(
        "register",
        {"o": owner},
        lambda op: client.store.register(owner, documents={kind: _document(client, op) for kind in KINDS[:3]}),
        lambda found: [client.saved(saved) for saved in found.settings],
    )


async def find(client: Client) -> None:
    telegram = client.random.choice(client.cast.telegrams)
    await client.call(
        "find", {"o": telegram}, lambda _: client.store.find_user(telegram), lambda user: user and user.okx_uid
    )


# -- others


async def rogue(client: Client) -> None:
    """Write into Redis behind the store's back: a whole document, or one field."""
    owner, kind, _, _ = _whose(client)
    key, is_whole = f"user:{owner}:{SUFFIXES[kind]}", kind == "params" or client.random.random() < 0.5

    async def write(op: int) -> Any:
        document = {"n": -op, "r": -op} if is_whole else {"n": -op}
        if kind == "params":
            await client.redis.set(key, json.dumps(document))
        else:
            async with client.redis.pipeline(transaction=True) as pipe:
                if is_whole:
                    pipe.delete(key)
                pipe.hset(key, mapping={name: str(value) for name, value in document.items()})
                await pipe.execute()
        return token(digest(document))

    await client.call("rogue", {"o": owner, "k": kind}, write, lambda found: found)


READS: list[tuple[float, Callable[[Client], Awaitable[None]]]] = [
    (22, get), (8, get_db), (3, get_redis), (8, get_least), (6, get_telegram), (2, get_all), (1, get_version),
    (8, raw_redis), (4, get_keys), (1, find), (3, get_many), (3, gets), (2, view),
]  # fmt: skip
WRITES: list[tuple[float, Callable[[Client], Awaitable[None]]]] = [
    (11, save), (8, patch), (5, cas), (1, save_all), (1, save_many), (2, update), (6, raw_sql), (1.5, delete),
    (1, restore), (2, rollback), (2, save_keys), (0.3, delete_keys),
    (1, link), (1, unlink), (0.1, delete_user), (0.3, restore_user), (0.4, erase), (1.2, register),
]  # fmt: skip
ROGUE = 0.02


async def some_call(client: Client, reads: float, is_rogue: bool) -> None:
    """Make one call; reads so many times as often as READS says. Every fourth process is a bot, which only reads: what
    its cache has isn't of its own saves."""
    if is_rogue and client.random.random() < ROGUE:
        await rogue(client)
        return
    choices = [(reads * weight, read) for weight, read in READS] + ([] if client.number % 4 == 1 else WRITES)
    (call,) = client.random.choices([call for _, call in choices], [weight for weight, _ in choices])
    await call(client)
