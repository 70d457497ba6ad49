"""Work in batches: cut by bytes and number, some at a time, and halved where one item is refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from store.ending import end
from store.errors import StoreError

T = TypeVar("T")
R = TypeVar("R")

BYTES = 2_000_000  # of documents a batch: what is made of them takes ten times that


def cut(
    items: Iterable[T], size: Callable[[T], int], most: int | None = None, count: int | None = None
) -> Iterator[Sequence[T]]:
    """Cut items into batches of at most so many bytes (None: BYTES) and items; a larger one comes alone."""
    batch: list[T] = []
    total = 0
    for item in items:
        length = size(item)
        if batch and (total + length > (most or BYTES) or len(batch) == count):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += length
    if batch:
        yield batch


async def overlap(batches: AsyncIterator[T], work: Callable[[T], Coroutine[Any, Any, None]], at_once: int) -> None:
    """Work on so many batches at once: while one waits for a server, another is read, compared or encoded."""
    under_way: deque[asyncio.Task[None]] = deque()
    try:
        async for batch in batches:
            if len(under_way) == at_once:
                await under_way[0]
                under_way.popleft()
            under_way.append(asyncio.create_task(work(batch)))
        while under_way:
            await under_way[0]
            under_way.popleft()
    finally:
        await end(*under_way)


async def halve(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
    refused: Callable[[T, StoreError], Sequence[R]],
    catch: type[StoreError] = StoreError,
    unless: tuple[type[StoreError], ...] = (),
) -> list[R]:
    """Work on a batch; if that raises an error to `catch`, on its halves, down to the item that is `refused`."""
    try:
        return list(await work(items))
    except unless:
        raise
    except catch as error:
        if len(items) == 1:
            return list(refused(items[0], error))
    middle = len(items) // 2
    return [
        result
        for half in (items[:middle], items[middle:])
        for result in await halve(half, work, refused, catch, unless)
    ]
