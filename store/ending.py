"""Ends tasks, whatever they do with a cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

AGAIN = 0.1  # seconds until a task that goes on is cancelled again
LIMIT = 10.0  # seconds after which it is left to itself

log = logging.getLogger("store.ending")


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until they have ended, whatever comes of them. One cancellation may be lost: up to Python 3.11
    asyncio.wait_for(), which redis-py and psycopg_pool use, goes on if what it waits for is done at the same moment."""
    deadline = asyncio.get_running_loop().time() + LIMIT
    going = {task for task in tasks if not task.done()}
    while going and asyncio.get_running_loop().time() < deadline:
        for task in going:
            task.cancel()
        going = (await asyncio.wait(going, timeout=AGAIN))[1]
    for task in tasks:
        if not task.done():
            log.warning("a task doesn't end: %s", task.get_name())
        elif not task.cancelled():
            task.exception()  # seen


async def at_most(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Do some work, or give it up after some time."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        await end(task)
