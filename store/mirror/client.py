"""The Redis side: reads and writes documents through the scripts, and knows when to leave Redis alone."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from hashlib import sha1
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from store import sockets
from store.config import Config
from store.encryption.fields import unseal
from store.encryption.vault import Vault
from store.errors import RedisUnavailable, StoreError, first_line
from store.mirror import servers
from store.mirror.entries import (
    CREDENTIALS,
    HALTS,
    LARGEST,
    LOOKS,
    NOTHING,
    Applied,
    Found,
    Guard,
    Place,
    apply_words,
    as_applied,
    as_found,
    as_read,
    as_seen,
    as_setting,
    integer,
    pairs,
    refusal,
    without_notes,
)
from store.mirror.keys import Keys
from store.mirror.pipeline import Command, Script, Word, exchange
from store.mirror.shared_reads import SharedReads
from store.models import MirrorEntry, Setting, SettingType

T = TypeVar("T")


APPLY = Script.load("size.lua", "life.lua", "digest.lua", "apply.lua")
READ = Script.load("size.lua", "read.lua")
INSPECT = Script.load("size.lua", "digest.lua", "inspect.lua")
SIZES = Script.load("size.lua", "sizes.lua")
SCAN = Script.load("scan.lua")
LIVES = Script.load("size.lua", "life.lua", "lives.lua")
VERSIONS = Script.load("size.lua", "versions.lua")

LONGEST_KEY = 512  # bytes
SHORT = 4095  # bytes, less one, of a value that is a name; what is longer is none

AT_ONCE = 50  # calls under way, each on a connection of its own; where redis-py may have fewer, so many

NOTE_ABSENT = """
if redis.call('HGET', KEYS[1], 'life') == ARGV[2] then
    redis.call('HSETNX', KEYS[1], ARGV[1], '')
end
"""


class Mirror:
    """Documents in Redis. Every method raises RedisUnavailable, at most one timeout after the call; for
    `redis_retry_after` seconds after a connection failed, at once."""

    is_tracking = True  # whether one connection can be told of every change
    tries = 2  # of a command whose connection breaks
    spans_nodes = False  # whether a script may find some of its keys elsewhere

    def __init__(self, redis: Redis, config: Config, vault: Callable[[], Vault]) -> None:
        self.redis = redis
        self._config = config
        self.credentials_mode = config.credentials_mode
        self.is_mode_chosen = config.mirror_credentials is not None
        self._vault = vault
        self.keys = Keys(config.key_template)
        self.channel = config.mirror_channel
        self._retry_after = config.redis_retry_after
        self._down_until = 0.0
        self._turns = asyncio.Semaphore(min(AT_ONCE, servers.limit(redis)))
        self._reads: dict[str, SharedReads] = {}  # by lane

    async def close(self) -> None:
        """End the reads under way that callers share."""
        for reads in self._reads.values():
            await reads.close()

    async def read(self, okx_uid: str, kind: SettingType) -> Setting | None:
        """Read a document; None if it isn't there, or isn't one that we mirrored."""
        return as_setting(okx_uid, kind, await self._read(okx_uid, kind.redis_suffix, kind.name, kind.redis_encoding))

    async def read_of_symbol(self, okx_uid: str, kind: SettingType, own: SettingType) -> tuple[Setting | None, bool]:
        """Read a symbol's document, or else the user's own, in one round trip; and whether Redis knows that this is
        it: a deletion was mirrored, or note_absent() said so."""
        replies = await self._shared(okx_uid, self._reading(okx_uid, kind, own))
        return as_read(okx_uid, kind, own, replies)

    async def read_halts(self) -> str | None:
        """Read the halts of trading as Redis has them, JSON; None if Redis doesn't know, or has what isn't ours."""
        keys = self._keys(HALTS.owner, HALTS.suffix)
        calls = [READ.call(keys, (HALTS.kind, "json")), Command(("HGET", keys[1], f"{HALTS.kind}:digest"))]
        found, digest = await self._call(lambda: self._run(READ, lambda: calls))
        for reply in (found, digest):
            if isinstance(reply, Exception):
                raise refusal(reply)
        if found is None:
            return "[]" if digest == "" else None  # see note_absent()
        text = str(found[3])
        written = sha1(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()
        return text if written == digest else None

    async def read_many(
        self, okx_uids: Sequence[str], kind: SettingType, own: SettingType
    ) -> list[tuple[Setting | None, bool] | RedisUnavailable]:
        """Read a document of each user as read() does, or of a symbol as read_of_symbol() does, in one round trip; what
        Redis refused is an error."""
        calls = [command for okx_uid in okx_uids for command in self._reading(okx_uid, kind, own)]
        replies = await self._call(lambda: self._run(READ, lambda: calls))
        each = len(calls) // max(len(okx_uids), 1)
        found: list[tuple[Setting | None, bool] | RedisUnavailable] = []
        for i, okx_uid in enumerate(okx_uids):
            try:
                found.append(as_read(okx_uid, kind, own, replies[i * each : (i + 1) * each]))
            except RedisUnavailable as error:
                found.append(error)
        return found

    def _reading(self, okx_uid: str, kind: SettingType, own: SettingType) -> list[Command]:
        """Make the commands whose replies as_read() takes."""
        kinds = (kind,) if kind is own else (kind, own)
        calls = [READ.call(self._keys(okx_uid, k.redis_suffix), (k.name, k.redis_encoding)) for k in kinds]
        if kind is not own:
            mirror_key, digest = self.keys.mirror(okx_uid), f"{kind.name}:digest"
            calls += [Command((command, mirror_key, digest)) for command in ("HEXISTS", "HSTRLEN")]
        return calls

    async def note_absent(self, lives: Mapping[str, str], kind: str) -> None:
        """Note that PostgreSQL has no such document of these owners, as apply.lua does of a deletion, unless Redis has
        heard of one, or the mirror hash has another life than before PostgreSQL was asked."""
        name = f"{kind}:digest"
        calls = [Command(("EVAL", NOTE_ABSENT, 1, self.keys.mirror(uid), name, life)) for uid, life in lives.items()]
        await self._call(lambda: self._exchange(calls))

    async def read_credentials(self, okx_uid: str) -> tuple[dict[str, str], int, datetime] | None:
        """Read credentials as Redis has them, with version and time; None if we didn't mirror any."""
        found = await self._read(okx_uid, CREDENTIALS.suffix, CREDENTIALS.kind, "hash")
        try:
            if found is None:
                return None
            return without_notes(pairs(found[3])), int(found[0]), datetime.fromisoformat(found[1])
        except (TypeError, ValueError):
            return None

    async def okx_uid_of(self, telegram_id: str) -> str | None:
        """Find whom a Telegram ID leads to."""
        (reply,) = await self._shared(telegram_id, [self._leading(telegram_id)])
        if isinstance(reply, Exception):
            raise refusal(reply)
        return reply or None

    async def okx_uids_of(self, telegram_ids: Sequence[str]) -> dict[str, str]:
        """Find whom Telegram IDs lead to, in one round trip; those of which Redis says that are left out."""
        calls = [self._leading(telegram_id) for telegram_id in telegram_ids]
        replies = await self._call(lambda: self._exchange(calls))
        return {each: uid for each, uid in zip(telegram_ids, replies, strict=True) if uid and isinstance(uid, str)}

    def _leading(self, telegram_id: str) -> Command:
        return Command(("GETRANGE", self.keys.of(telegram_id, "okx_uid"), 0, SHORT))

    async def lives(self, owners: Iterable[str]) -> dict[str, str]:
        """Tell which lives of the owners' mirror hashes these are, for apply(); to be asked before PostgreSQL is."""
        named, token = list(dict.fromkeys(owners)), _token()
        if not named:
            return {}
        keys = [self.keys.mirror(owner) for owner in named]
        lives = await self._several(LIVES, [(key,) for key in keys], lambda _: (token,))
        return {owner: life for owner, life in zip(named, lives, strict=True) if isinstance(life, str)}

    async def apply(
        self, entries: Sequence[MirrorEntry], seen: Sequence[Found] | None = None, size: int = 0, *,
        version_only: bool = False, lives: Mapping[str, str] | None = None,
    ) -> list[Applied]:  # fmt: skip
        """Write entries in one round trip, each guarded by its version; one refused by Redis doesn't stop
        the others. `seen`: what the caller found there and has dealt with, to write over that whatever its
        version, unless it changed. `size`: bytes that are there, see sizes(), to be patient with. `version_only`: Redis
        gets the version, and keeps what the caller saw there. `lives`: what was known of the owners' before the entries
        were read; where nothing guards a key, it is refused without (Applied.life)."""
        refused: dict[int, Applied] = {}
        if not entries:
            return []
        token = _token()

        def commands() -> Iterator[Command]:
            for i, entry in enumerate(entries):
                try:
                    shown = self.shown(entry)
                except StoreError as error:  # credentials that can't be decrypted
                    refused[i] = Applied(-1, 0, None, error)
                else:
                    guard = Guard(seen[i] if seen else None, (lives or {}).get(entry.owner, ""), token, version_only)
                    yield APPLY.call(self._keys(entry.owner, entry.suffix), apply_words(shown, self.channel, guard))

        replies = iter(await self._call(lambda: self._run(APPLY, commands, size)))
        return [refused[i] if i in refused else as_applied(next(replies)) for i in range(len(entries))]

    def shown(self, entry: MirrorEntry) -> MirrorEntry:
        """Return an entry as Redis should hold it: credentials as MIRROR_CREDENTIALS says.

        Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential if they are to be plain and can't.
        """
        assert not entry.is_partial  # it would be taken for deleted
        if entry.encoding != CREDENTIALS.encoding or entry.document is None or self.credentials_mode == "encrypted":
            return entry
        if self.credentials_mode == "off":
            return replace(entry, document=None)
        plain = unseal(self._vault(), entry.owner, json.loads(entry.document))
        return replace(entry, document=json.dumps(plain))

    async def sizes(self, places: Sequence[Place]) -> list[int]:
        """Ask how many bytes look() and inspect() would read of each (of a hash: what it takes in Redis); -1: it isn't
        there."""
        if not places:
            return []
        keys = [self._keys(place.owner, place.suffix) for place in places]
        sizes = await self._several(SIZES, keys, lambda i: (places[i].kind, places[i].encoding))
        return [0 if isinstance(size, Exception) else int(size) for size in sizes]

    async def _several(
        self, script: Script, keys: Sequence[tuple[str, ...]], words: Callable[[int], tuple[str, ...]]
    ) -> list[Any]:
        """Run a script that answers a question for each of some keys, in one call of it, unless they are on several
        nodes, or one of them may not be read: then its own answer is an error."""
        numbers = range(len(keys))
        if not self.spans_nodes:
            call = script.call(
                tuple(key for part in keys for key in part), [word for i in numbers for word in words(i)]
            )
            (reply,) = await self._call(lambda: self._run(script, lambda: [call]))
            if isinstance(reply, list):
                return reply
        calls = [script.call(keys[i], words(i)) for i in numbers]
        replies = await self._call(lambda: self._run(script, lambda: calls))
        return [reply[0] if isinstance(reply, list) else reply for reply in replies]

    async def inspect(self, places: Sequence[Place], size: int = LARGEST) -> list[Found]:
        """Look at keys as they are, in one round trip. `size`: of all, as sizes() has it."""
        if not places:
            return []

        def commands() -> Iterator[Command]:
            for place in places:
                yield INSPECT.call(self._keys(place.owner, place.suffix), (place.kind, place.encoding))

        found = []
        for reply in await self._call(lambda: self._run(INSPECT, commands, size)):
            if isinstance(reply, Exception):
                raise refusal(reply)
            found.append(as_found(*reply))
        return found

    async def look(self, places: Sequence[Place], sizes: Sequence[int]) -> list[Found]:
        """Look at keys of these sizes() by plain commands, at a fraction of what inspect() costs. Somebody may write
        between a key and its version: that finds suspects, no more."""
        if max(sizes, default=-1) < 0:
            return [NOTHING] * len(places)  # as in a Redis that is to be filled
        plain = await self._look([place for place, size in zip(places, sizes, strict=True) if size <= LARGEST])
        large = await self.inspect(
            [place for place, size in zip(places, sizes, strict=True) if size > LARGEST], sum(sizes)
        )
        found = {True: iter(large), False: iter(plain)}
        return [next(found[size > LARGEST]) for size in sizes]

    async def _look(self, places: Sequence[Place]) -> list[Found]:
        if not places:
            return []

        def commands() -> Iterator[Command]:
            for place in places:
                data_key, mirror_key = self._keys(place.owner, place.suffix)
                if place.encoding == "fields":
                    yield Command(("HGET", mirror_key, "telegram_id"))
                else:
                    yield Command((LOOKS.get(place.encoding, "TYPE"), data_key))
                yield Command(("HGET", mirror_key, place.kind))

        replies = iter(await self._call(lambda: self._exchange(commands())))
        return [as_seen(place, next(replies), next(replies)) for place in places]

    async def scan(
        self, batch: int, suffix: str | None = None, owner: str | None = None
    ) -> AsyncIterator[list[tuple[str, str]]]:
        """List the keys of the mirror's form (of a suffix or its pattern, an owner) as (owner, suffix); some twice."""
        cursor, pattern = "0", self.keys.of_pattern(suffix, owner)
        while True:
            call = SCAN.call((), (cursor, pattern, str(batch), str(LONGEST_KEY)))
            (reply,) = await self._call(lambda: self._run(SCAN, lambda: [call]))  # noqa: B023
            if isinstance(reply, Exception):
                raise refusal(reply)
            cursor, names = reply
            yield self._parsed(names)
            if cursor == "0":
                return

    def _parsed(self, names: Iterable[str]) -> list[tuple[str, str]]:
        return [parts for name in names if (parts := self.keys.parse(name)) is not None]

    async def versions(self, okx_uids: Sequence[str]) -> dict[tuple[str, str], int]:
        """Read which versions of their settings Redis has, as (OKX UID, setting type) -> version."""
        return {key: version for key, (version, _) in (await self.given(okx_uids)).items()}

    async def given(self, okx_uids: Sequence[str]) -> dict[tuple[str, str], tuple[int, str]]:
        """Read which versions of their settings Redis was given, and when each was saved, as the mirror hash has it, as
        (OKX UID, setting type) -> version, updated_at."""
        return {
            (okx_uid, kind): (integer(version), fields.get(f"{kind}:updated_at", ""))
            for okx_uid, fields in zip(okx_uids, await self._hashes(okx_uids), strict=True)
            for kind, version in fields.items()
            if kind not in ("user", "telegram_id", "life")
            and not kind.endswith((":updated_at", ":digest"))  # our own fields
        }

    async def is_left_by_erasure(self, owner: str) -> bool:
        """Tell whether a mirror hash is what an erasure leaves: Redis is going to remove it, and it tells of nothing
        that is there."""
        if await self._call(lambda: self.redis.pttl(self.keys.mirror(owner))) < 0:
            return False
        (fields,) = await self._hashes([owner])
        return not any(text for name, text in fields.items() if name == "telegram_id" or name.endswith(":digest"))

    async def _hashes(self, owners: Sequence[str]) -> list[dict[str, str]]:
        """Read mirror hashes; nothing of one that can't be ours."""
        if not owners:
            return []

        def commands() -> Iterator[Command]:
            for owner in owners:
                yield VERSIONS.call((self.keys.mirror(owner),), ())

        replies = await self._call(lambda: self._run(VERSIONS, commands))
        return [{} if isinstance(reply, Exception) else pairs(reply) for reply in replies]

    async def size(self) -> int:
        """Count all keys, whosever."""
        return int(await self._call(lambda: self.redis.dbsize()))

    async def server(self) -> dict[str, Any]:
        """Return the server's INFO section `server`."""
        info: dict[str, Any] = await self._call(lambda: self.redis.info("server"))
        return info

    async def identities(self) -> list[str]:
        """Name the process and the history of its data, of each primary: both are others after a restart or a failover,
        the latter also once the same process has taken over another one's data (REPLICAOF)."""
        return [await self._call(lambda: servers.identity(self.redis.info))]

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[PubSub]:
        """Subscribe to the channel, on a connection beside those for commands, of which there may be few. Raises what
        redis-py raises."""
        client = await self._listener()
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(self.channel)
                yield pubsub
        finally:
            await servers.close(client)

    async def _listener(self) -> Redis:
        """Make a client for a subscription."""
        url = self._config.redis_url or ""
        is_embedded = sockets.is_embedded(url, self._config.home)
        client = servers.connect(url, self._config.redis_timeout, is_embedded)
        assert isinstance(client, Redis)
        return client

    async def at_marks(self, command: Callable[[str], tuple[Word, ...]]) -> list[Any]:
        """Run a command, made of what the key's name begins with, at the relay's mark. It goes when Redis loses its
        data, and there is one for each key template."""
        replies = await self._call(lambda: self._exchange([Command(command(f"settings:{{{self.keys.digest}}}:"))]))
        for reply in replies:
            if isinstance(reply, Exception):
                raise refusal(reply)
        return replies

    def retry_now(self) -> None:
        """Forget that Redis failed a moment ago."""
        self._down_until = 0.0

    async def _read(self, okx_uid: str, suffix: str, kind: str, encoding: str) -> Any:
        call = READ.call(self._keys(okx_uid, suffix), (kind, encoding))
        (reply,) = await self._shared(okx_uid, [call])
        if isinstance(reply, Exception):
            raise refusal(reply)
        return reply

    async def _shared(self, owner: str, calls: Sequence[Command]) -> list[Any]:
        """Read keys of an owner, in an exchange shared with others that read at the same time."""
        lane = self._lane(owner)
        reads = self._reads.get(lane)
        if reads is None:
            reads = self._reads[lane] = SharedReads(self._send_reads)
        return await reads.read(calls)

    def _lane(self, owner: str) -> str:
        """Name those who read an owner's keys at the same server: they share exchanges."""
        return ""

    async def _send_reads(self, calls: Sequence[Command]) -> list[Any]:
        return await self._call(lambda: self._run(READ, lambda: calls))

    async def _run(self, script: Script, calls: Callable[[], Iterable[Command]], there: int = 0) -> list[Any]:
        """Run calls of a script as _exchange() does; `calls` makes them again if Redis does not know the script."""
        replies = await self._exchange(calls(), there)
        lost = {i for i, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)}
        if lost:  # Redis restarted, or its scripts were flushed
            await self.redis.script_load(script.text)
            again = iter(await self._exchange((call for i, call in enumerate(calls()) if i in lost), there))
            replies = [next(again) if i in lost else reply for i, reply in enumerate(replies)]
        return replies

    async def _exchange(self, commands: Iterable[Command], there: int = 0) -> list[Any]:
        """Send commands in one round trip and return the replies, among them those that are errors."""
        return await exchange(self.redis, commands, there)

    def _keys(self, owner: str, suffix: str) -> tuple[str, str]:
        """Name what the scripts take: the data key, and the mirror hash."""
        return self.keys.of(owner, suffix), self.keys.mirror(owner)

    async def _call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command, in its turn, unless Redis failed just now; translate its errors.

        A connection that breaks may have been dead for long, and others with it: Redis restarted, or closed what was
        idle. So the command runs once more, on a new one; whatever it did before, that does no harm (a read, a write
        that its version guards). Only if that fails, too, or Redis is silent, is it left alone.
        """
        async with self._turns:
            tries = self.tries
            while True:
                if time.monotonic() < self._down_until:
                    raise RedisUnavailable("Redis can't be reached: it failed a moment ago")
                try:
                    return await command()
                except exceptions.ResponseError as error:
                    raise refusal(error) from _harmless(error)
                except (exceptions.RedisError, OSError) as error:
                    tries -= 1
                    if not tries or not isinstance(error, exceptions.ConnectionError | ConnectionError):
                        self._down_until = time.monotonic() + self._retry_after
                        why = f"Redis can't be reached: {first_line(error)}"
                        raise RedisUnavailable(why) from _harmless(error)
                await servers.drop_idle(self.redis)


def _harmless(error: Exception) -> Exception:
    """Take from an error what was sent to Redis: its frames hold that, and its text may quote it."""
    error.__cause__ = error.__context__ = None
    error.args = (first_line(error),)
    return error.with_traceback(None)


def _token() -> str:
    return secrets.token_urlsafe(6)
