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

Word = str | int
pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # (its types know one argument)
BLOCK = 65_536  # bytes a write


class Command(tuple[Word, ...]):
    """A command and its arguments, which no repr shows: they may hold credentials."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{self[0]}, {len(self) - 1} arguments>"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest Redis knows it by."""

    text: str
    digest: str

    @classmethod
    def load(cls, *names: str) -> Script:
        text = "".join(files("store.mirror").joinpath(name).read_text() for name in names)
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: tuple[str, ...], arguments: Iterable[str]) -> Command:
        """Make a call of the script."""
        return Command(("EVALSHA", self.digest, len(keys), *keys, *arguments))


async def exchange(redis: Redis, commands: Iterable[Command]) -> list[Any]:
    """Send commands and return the replies, among them those that are errors. Raises RedisError, OSError if
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
        if isinstance(error, TimeoutError) and limit.expired():
            raise exceptions.TimeoutError(f"Redis didn't answer for {seconds:g} s") from None
        raise
    finally:
        connection.socket_timeout = seconds
        await redis.connection_pool.release(connection)


def _blocks(commands: Iterable[Command]) -> Iterator[tuple[int, bytes]]:
    """Pack commands and put them together, with how many they are."""
    block: list[bytes] = []
    size = 0
    for command in commands:
        block.append(pack(command))
        size += len(block[-1])
        if size >= BLOCK:
            yield len(block), b"".join(block)
            block, size = [], 0
    if block:
        yield len(block), b"".join(block)
