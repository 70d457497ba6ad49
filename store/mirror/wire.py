"""Commands to Redis, many at a time.

redis-py's own asynchronous pipeline packs in Python and makes a timer per reply, which is most of what a bulk job
costs. Here hiredis packs, and Redis works on the first commands while the next are still being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any

import hiredis
from redis import exceptions
from redis.asyncio import Redis

pack: Callable[[tuple[str | int, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # (its types know one argument)
BLOCK = 65_536  # bytes a write


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest Redis knows it by."""

    text: str
    digest: str

    @classmethod
    def load(cls, *names: str) -> Script:
        text = "".join(files("store.mirror").joinpath(name).read_text() for name in names)
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: tuple[str, ...], arguments: Iterable[str]) -> bytes:
        """Pack a call of the script."""
        return pack(("EVALSHA", self.digest, len(keys), *keys, *arguments))


async def exchange(redis: Redis, commands: Iterable[bytes]) -> list[Any]:
    """Send packed commands and return the replies, among them those that are errors. Raises RedisError, OSError if
    the connection breaks, or Redis is silent for the timeout."""
    connection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    seconds, connection.socket_timeout = connection.socket_timeout, None  # one for many replies instead
    clock = asyncio.get_running_loop().time
    replies: list[Any] = []

    def go_on() -> None:  # it said something; a new timer each time would cost more than the reply
        if seconds is not None and clock() + 0.9 * seconds > (limit.when() or 0.0):
            limit.reschedule(clock() + seconds)

    try:
        async with asyncio.timeout(seconds) as limit:
            sent = 0
            for number, block in _blocks(commands):
                go_on()
                await connection.send_packed_command(block, check_health=False)
                sent += number
            while len(replies) < sent:
                go_on()
                try:
                    replies.append(await connection.read_response())
                except exceptions.ResponseError as error:
                    replies.append(error)
        return replies
    except BaseException as error:
        await connection.disconnect(nowait=True)  # replies not read would be taken for those of the next commands
        if isinstance(error, TimeoutError):
            raise exceptions.TimeoutError(f"Redis didn't answer for {seconds:g} s") from None
        raise
    finally:
        connection.socket_timeout = seconds
        await redis.connection_pool.release(connection)


async def run(redis: Redis, script: Script, calls: Callable[[], Iterable[bytes]]) -> list[Any]:
    """Run a script's calls as exchange() does. `calls` makes the same ones again if Redis doesn't know the script."""
    replies = await exchange(redis, calls())
    lost = {i for i, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)}
    if lost:  # Redis restarted, or its scripts were flushed
        await exchange(redis, [pack(("SCRIPT", "LOAD", script.text))])
        again = iter(await exchange(redis, (call for i, call in enumerate(calls()) if i in lost)))
        replies = [next(again) if i in lost else reply for i, reply in enumerate(replies)]
    return replies


def _blocks(commands: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Put commands together, with how many they are."""
    block: list[bytes] = []
    size = 0
    for command in commands:
        block.append(command)
        size += len(command)
        if size >= BLOCK:
            yield len(block), b"".join(block)
            block, size = [], 0
    if block:
        yield len(block), b"".join(block)
