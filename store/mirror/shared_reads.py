"""Reads of Redis that callers share an exchange for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from math import inf
from typing import Any

from store.ending import end
from store.errors import RedisUnavailable
from store.mirror.pipeline import Command

AT_ONCE = 2  # exchanges under way that others wait for: while Redis works on one, another is made or taken apart
COMMANDS = 500  # an exchange, at most, unless one reader brings more
PATIENCE = 0.1  # seconds that readers wait for exchanges under way, which may hang; then for these no more

Seat = tuple[Sequence[Command], asyncio.Future[list[Any] | Exception]]


class SharedReads:
    """A reader who finds few exchanges under way sends one of his own, in his own task: alone he pays for no other.
    Whoever comes meanwhile waits for the next exchange, which departs as one lands, and carries all who wait. So nobody
    is served by what was sent before he asked.

    A shared exchange is a task of its own: a reader who gives up leaves his seat empty, and the others aboard."""

    def __init__(self, send: Callable[[Sequence[Command]], Awaitable[list[Any]]]) -> None:
        self._send = send
        self._waiting: deque[Seat] = deque()
        self._under_way: set[int] = set()  # numbers of exchanges that are waited for
        self._departed = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands that are sent after this call. Raises RedisUnavailable."""
        if self._waiting or len(self._under_way) >= AT_ONCE:
            return await self._join(commands)
        number = self._depart()
        try:
            return await self._send(commands)
        finally:
            self._land(number)

    async def close(self) -> None:
        """End all exchanges that are shared."""
        self._leave(self._board(inf), RedisUnavailable("the store was closed"))
        self._set_timer()
        await end(*self._tasks)

    async def _join(self, commands: Sequence[Command]) -> list[Any]:
        seat: asyncio.Future[list[Any] | Exception] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, seat))
        if self._timer is None:
            self._set_timer()
        found = await seat
        if isinstance(found, Exception):
            raise found
        return found

    def _depart(self) -> int:
        self._departed += 1
        self._under_way.add(self._departed)
        return self._departed

    def _land(self, number: int) -> None:
        self._under_way.discard(number)
        if self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        """Send off those who wait, as far as exchanges may be under way."""
        while len(self._under_way) < AT_ONCE and (seats := self._board(COMMANDS)):
            task = asyncio.create_task(self._fly(self._depart(), seats))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._set_timer()

    def _board(self, most: float) -> list[Seat]:
        seats: list[Seat] = []
        commands = 0
        while self._waiting and (not seats or commands + len(self._waiting[0][0]) <= most):
            seat = self._waiting.popleft()
            if not seat[1].done():  # else its reader gave up
                seats.append(seat)
                commands += len(seat[0])
        return seats

    async def _fly(self, number: int, seats: Sequence[Seat]) -> None:
        try:
            replies = iter(await self._send([command for commands, _ in seats for command in commands]))
            for commands, seat in seats:
                found = [next(replies) for _ in commands]
                if not seat.done():
                    seat.set_result(found)
        except Exception as error:  # each reader's to deal with
            self._leave(seats, error)
        except asyncio.CancelledError:
            self._leave(seats, RedisUnavailable("the store was closed"))
            raise
        finally:
            self._land(number)

    def _leave(self, seats: Sequence[Seat], error: Exception) -> None:
        for _, seat in seats:
            if not seat.done():
                seat.set_result(copy(error))  # a raised error notes who raised it

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PATIENCE, self._lose_patience) if self._waiting else None

    def _lose_patience(self) -> None:
        self._timer = None
        self._under_way.clear()
        self._go_on()
