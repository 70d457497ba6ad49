"""Reads from PostgreSQL that callers share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from store.ending import end

PATIENCE = 0.1  # seconds that a flight waits for the one before it, which may hang; twice as long for each under way

T = TypeVar("T")


class Flights(Generic[T]):
    """Callers who want the same at the same time share one flight, that is, one query. Nobody boards a flight that has
    departed: PostgreSQL may have taken its snapshot before the caller asked. The next one departs when that has landed,
    so that what many want takes one connection at a time; or after a while, if it hangs, and then nobody waits for it
    any more."""

    def __init__(self) -> None:
        self._boarding: dict[Hashable, asyncio.Task[T]] = {}
        self._last: dict[Hashable, asyncio.Task[T]] = {}  # that departed
        self._under_way: Counter[Hashable] = Counter()
        self._all: set[asyncio.Task[T]] = set()

    def __len__(self) -> int:
        return len(self._all)

    async def join(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what a read brings that begins after this call."""
        flight = self._boarding.get(key)
        if flight is None:
            flight = self._boarding[key] = asyncio.create_task(self._fly(key, read))
            self._all.add(flight)
            flight.add_done_callback(self._land)
        return await asyncio.shield(flight)  # a caller who gives up doesn't take it from the others

    async def close(self) -> None:
        """End all of them."""
        await end(*self._all)

    async def _fly(self, key: Hashable, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        flight, before = self._boarding[key], self._last.get(key)
        try:
            if before is not None:
                await asyncio.wait([before], timeout=PATIENCE * 2 ** (self._under_way[key] - 1))
        finally:
            del self._boarding[key]
        self._last[key] = flight
        self._under_way[key] += 1
        try:
            return await read()
        finally:
            if self._last.get(key) is flight:
                del self._last[key]
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]

    def _land(self, flight: asyncio.Task[T]) -> None:
        self._all.discard(flight)
        if not flight.cancelled():
            flight.exception()  # seen, even if every caller has given up
