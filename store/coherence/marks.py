"""Clears marks in mirror_pending once Redis has what they stand for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from store.ending import at_most, end
from store.errors import StoreError
from store.models import MirrorEntry
from store.postgres import functions
from store.postgres.database import Database

DELAY = 0.05  # seconds
LAST = 5.0  # seconds that a store waits for this as it closes


BEGINNING = datetime.min.replace(tzinfo=UTC)


class Marks:
    """Clears marks many at a time, a moment after the save that made them has returned.

    A mark that stays (the process was killed, PostgreSQL is away, another transaction holds it) does no harm: the relay
    finds that Redis has that version already.
    """

    refusal: StoreError | None = None  # why PostgreSQL refused to clear marks the last time, if it did

    def __init__(self, database: Database) -> None:
        self._database = database
        self._done: dict[tuple[str, str, bool], tuple[int, datetime | None]] = {}  # version and its time
        self._task: asyncio.Task[None] | None = None

    def done(self, entry: MirrorEntry, version: int) -> None:
        """Note that Redis has this version of an entry; the mark is cleared soon."""
        mark = (entry.owner, entry.kind, entry.is_erased)
        noted = version, entry.updated_at if version == entry.version else None
        self._done[mark] = max(noted, self._done.get(mark, noted), key=_age)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._clear_soon())

    async def clear(self) -> None:
        """Clear the marks of what was noted, now."""
        done, self._done = self._done, {}
        if done:
            owners, kinds, erased = zip(*done, strict=True)
            versions, moments = zip(*done.values(), strict=True)
            try:
                await self._database.fetch(functions.mirror.clear_pending(owners, kinds, versions, erased, moments))
                self.refusal = None
            except StoreError as error:
                self.refusal = error

    async def close(self) -> None:
        if self._task is not None:
            await end(self._task)
        await at_most(LAST, self.clear())

    async def _clear_soon(self) -> None:
        while self._done:
            await asyncio.sleep(DELAY)
            await self.clear()


def _age(noted: tuple[int, datetime | None]) -> tuple[datetime, int]:
    """Order versions by their time: in a life after an erasure they begin anew."""
    return noted[1] or BEGINNING, noted[0]
