"""Commands to Redis, many at a time.

redis-py's own asynchronous pipeline packs in Python and makes a timer per reply, which is most of what a bulk job
costs. Here hiredis packs, and Redis works on the first commands while the next are still being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from inspect import signature
from typing import Any

import hiredis
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool, DefaultParser

from store.batches import cut

Word = str | int
pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]  # (its types know one argument)
BLOCK = 65_536  # bytes a write
SLOWEST = 500_000  # bytes a second, of a line and of a script that goes through a large key on a busy machine


# Before 5.3 redis-py wants a command's name for a connection, of which it makes nothing; later it warns if it gets one.
_NAME = () if signature(ConnectionPool.get_connection).parameters["command_name"].default is None else ("EVALSHA",)


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
        text = "".join(files("store.mirror").joinpath(name).read_text(encoding="utf-8") for name in names)
        return cls(text, sha1(text.encode(), usedforsecurity=False).hexdigest())

    def call(self, keys: tuple[str, ...], arguments: Iterable[str]) -> Command:
        """Make a call of the script."""
        return Command(("EVALSHA", self.digest, len(keys), *keys, *arguments))


class Listener(DefaultParser):  # type: ignore[misc, valid-type]
    """A connection's parser that tells of every piece that arrives: on a slow line a large reply takes longer than
    Redis may be silent."""

    async def read_from_socket(self) -> bool:
        is_read: bool = await super().read_from_socket()
        _heard.get()()
        return is_read


_heard: ContextVar[Callable[[], None]] = ContextVar("heard", default=lambda: None)


async def exchange(redis: Redis, commands: Iterable[Command], there: int = 0) -> list[Any]:
    """Send commands and return the replies, among them those that are errors. `there`: bytes that Redis has to go
    through. Raises RedisError, OSError if the connection breaks, or Redis is silent for the timeout and as long as it
    may take to work on these bytes, and on those sent."""
    connection = await redis.connection_pool.get_connection(*_NAME)  # type: ignore[no-untyped-call]
    seconds, connection.socket_timeout = connection.socket_timeout, None  # one for many replies instead
    clock = asyncio.get_running_loop().time
    replies: list[Any] = []
    sent, size = 0, there

    def go_on() -> None:  # something arrived; a new timer each time would cost more than the reply
        if seconds is not None:
            patience = seconds + size / SLOWEST
            if clock() + 0.9 * patience > (limit.when() or 0.0):
                limit.reschedule(clock() + patience)

    token = _heard.set(go_on)
    try:
        async with asyncio.timeout(seconds) as limit:
            for block in cut(map(pack, commands), len, BLOCK):
                go_on()
                await connection.send_packed_command(b"".join(block), check_health=False)
                sent += len(block)
                size += sum(map(len, block))
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
        _heard.reset(token)
        connection.socket_timeout = seconds
        await redis.connection_pool.release(connection)
