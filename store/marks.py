"""Clears marks in mirror_pending once Redis has what they stand for."""

from __future__ import annotations

import asyncio
import contextlib

from store import calls
from store.database import Database
from store.errors import StoreError

DELAY = 0.05  # seconds


class Marks:
    """Clears marks many at a time, a moment after the save that made them has returned.

    A mark that stays (the process was killed, PostgreSQL is away) does no harm: the relay finds that Redis
    has that version already.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._done: dict[tuple[str, str], int] = {}
        self._task: asyncio.Task[None] | None = None

    def done(self, owner: str, kind: str, version: int) -> None:
        """Note that Redis has this version; the mark is cleared soon."""
        self._done[owner, kind] = max(version, self._done.get((owner, kind), 0))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._clear_soon())

    async def clear(self) -> None:
        """Clear the marks of what was noted, now."""
        done, self._done = self._done, {}
        if done:
            owners, kinds = zip(*done, strict=True)
            with contextlib.suppress(StoreError):
                await self._database.fetch(calls.clear_pending(owners, kinds, list(done.values())))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.clear()

    async def _clear_soon(self) -> None:
        while self._done:
            await asyncio.sleep(DELAY)
            await self.clear()
