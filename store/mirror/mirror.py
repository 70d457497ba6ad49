"""The Redis side: reads and writes documents through the two scripts, and knows when to leave Redis alone."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import Redis

from store.config import Config
from store.errors import RedisUnavailable, StoreError, first_line
from store.mirror.codec import decode_hash, encode_hash
from store.mirror.keys import Keys
from store.models import MirrorEntry, Setting, SettingType

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest Redis knows it by."""

    text: str
    digest: str

    @classmethod
    def load(cls, name: str) -> Script:
        text = files("store.mirror").joinpath(name).read_text()
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


APPLY = Script.load("apply.lua")
READ = Script.load("read.lua")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one entry. `version`: what Redis has now. `error`: why it isn't there, else None."""

    status: int  # 1 written, 0 there already, -1 refused: Redis has a newer version
    version: int
    error: StoreError | None = None

    @property
    def is_current(self) -> bool:
        """Whether Redis has exactly this version now."""
        return self.error is None and self.status >= 0

    @property
    def is_served(self) -> bool:
        """Whether Redis has this version or a newer one."""
        return self.error is None


class Mirror:
    """Documents in Redis. Every method raises RedisUnavailable, at most one timeout after the call; for
    `redis_retry_after` seconds after a connection failed, at once."""

    def __init__(self, redis: Redis, config: Config) -> None:
        self.redis = redis
        self.keys = Keys(config.key_template)
        self._channel = config.channel
        self._retry_after = config.redis_retry_after
        self._down_until = 0.0

    async def read(self, okx_uid: str, kind: SettingType) -> Setting | None:
        """Read a document; None if it isn't there, or isn't one that we mirrored."""
        keys = (self.keys.of(okx_uid, kind.redis_suffix), self.keys.mirror(okx_uid))
        found = await self._call(lambda: self._run(READ, keys, (kind.name, kind.redis_encoding)))
        if found is None:
            return None
        version, updated_at, telegram_id, content = found
        try:
            settings = json.loads(content) if kind.redis_encoding == "json" else decode_hash(_pairs(content))
            if not isinstance(settings, dict):
                return None
            return Setting(
                okx_uid, telegram_id or None, kind.name, int(version), settings,
                datetime.fromisoformat(updated_at), "redis",
            )  # fmt: skip
        except (TypeError, ValueError, RecursionError):
            return None  # someone else wrote there: PostgreSQL knows better

    async def okx_uid_of(self, telegram_id: str) -> str | None:
        """Find whom a Telegram ID leads to."""
        key = self.keys.of(telegram_id, "okx_uid")
        okx_uid: str | None = await self._call(lambda: self.redis.get(key))
        return okx_uid

    async def apply(self, entries: Sequence[MirrorEntry], seen: Sequence[int] | None = None) -> list[Applied]:
        """Write entries in one round trip, each guarded by its version; one refused by Redis doesn't stop
        the others. `seen`: the versions Redis had when the caller looked, to write older ones (repair)."""
        commands = [self._apply_command(entry, seen[i] if seen else None) for i, entry in enumerate(entries)]
        if len(commands) == 1:
            return [await self._apply_one(*commands[0])]
        replies = await self._call(lambda: self._pipeline(commands))
        return [_applied(reply) for reply in replies]

    def retry_now(self) -> None:
        """Forget that Redis failed a moment ago."""
        self._down_until = 0.0

    async def ping(self) -> dict[str, Any]:
        """Return the server's INFO section `server`."""
        info: dict[str, Any] = await self._call(lambda: self.redis.info("server"))
        return info

    def _apply_command(self, entry: MirrorEntry, seen: int | None) -> tuple[tuple[str, str], list[str]]:
        data_key, mirror_key = self.keys.of(entry.owner, entry.suffix), self.keys.mirror(entry.owner)
        encoding = entry.encoding if entry.document is not None or entry.encoding == "fields" else "none"
        message = ""
        if entry.encoding in ("hash", "json"):
            message = json.dumps({"okx_uid": entry.owner, "setting_type": entry.kind, "version": entry.version})
        return (data_key, mirror_key), [
            entry.kind,
            str(entry.version),
            entry.updated_at.astimezone(UTC).isoformat(),
            encoding,
            "" if seen is None else str(seen),
            self._channel if message else "",
            message,
            *_content(entry),
        ]

    async def _apply_one(self, keys: tuple[str, str], arguments: list[str]) -> Applied:
        try:
            return _applied(await self._call(lambda: self._run(APPLY, keys, arguments)))
        except RedisUnavailable as error:
            if isinstance(error.__cause__, exceptions.ResponseError):
                return _applied(error.__cause__)
            raise

    async def _pipeline(self, commands: Sequence[tuple[tuple[str, str], list[str]]]) -> list[Any]:
        replies = await self._evalsha(commands)
        lost = [i for i, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if lost:  # Redis restarted, or its scripts were flushed
            await self.redis.script_load(APPLY.text)
            for i, reply in zip(lost, await self._evalsha([commands[i] for i in lost]), strict=True):
                replies[i] = reply
        return replies

    async def _evalsha(self, commands: Sequence[tuple[tuple[str, str], list[str]]]) -> list[Any]:
        async with self.redis.pipeline(transaction=False) as pipeline:
            for keys, arguments in commands:
                pipeline.execute_command("EVALSHA", APPLY.digest, 2, *keys, *arguments)
            return list(await pipeline.execute(raise_on_error=False))

    async def _run(self, script: Script, keys: tuple[str, str], arguments: Sequence[str]) -> Any:
        try:
            return await self.redis.execute_command("EVALSHA", script.digest, 2, *keys, *arguments)
        except exceptions.NoScriptError:
            return await self.redis.execute_command("EVAL", script.text, 2, *keys, *arguments)

    async def _call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command unless Redis failed just now; translate its errors."""
        if time.monotonic() < self._down_until:
            raise RedisUnavailable("Redis can't be reached: it failed a moment ago")
        try:
            return await command()
        except exceptions.ResponseError as error:
            raise RedisUnavailable(f"Redis refused: {first_line(error)}") from error
        except (exceptions.RedisError, OSError) as error:
            self._down_until = time.monotonic() + self._retry_after
            raise RedisUnavailable(f"Redis can't be reached: {first_line(error)}") from error


def _content(entry: MirrorEntry) -> list[str]:
    if entry.encoding == "fields":
        document = json.loads(entry.document or '{"telegram_id": null}')
        return [item for key, value in document.items() for item in (key, value or "")]
    if entry.document is None:
        return []
    if entry.encoding == "hash":
        return [item for pair in encode_hash(entry.document).items() for item in pair]
    return [json.loads(entry.document) if entry.encoding == "string" else entry.document]


def _applied(reply: Any) -> Applied:
    if isinstance(reply, Exception):
        return Applied(-1, 0, RedisUnavailable(f"Redis refused: {first_line(reply)}"))
    status, version = reply
    return Applied(int(status), int(version))


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
