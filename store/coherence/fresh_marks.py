"""The looks of the relay's first lane at what was marked, and when the next is due: after a while, or as PostgreSQL
tells of a mark.

A look finds whatever was committed since the last, told or not; a notification only has it come sooner. While writers
notify, looks are further apart. Each has them do so for LEASE seconds more: so nobody notifies a relay that is gone,
that hangs, or that has much to do, as a NOTIFY has commits wait for each other.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from store.ending import end
from store.errors import StoreError
from store.postgres import functions
from store.postgres.database import Database, Listener

CHANNEL = "settings_store_marks"
REST = 0.25  # seconds between looks while writers notify
LEASE = 1.0  # seconds for which they do after a look; the next may take as long
MARKS = 50.0  # marks a second: with more, polling costs less, and nobody waits for another's NOTIFY
AGAIN = 5.0  # seconds between tries to connect for that

Row = dict[str, Any]
TellObstacle = Callable[[str | None], None]


class FreshMarks:
    """Looks through the pool, every `poll` seconds; with `notify` through a connection that also listens, if one can.

    `rests`: writers notify, so that the next look may come after REST seconds. `tell` hears why they can't."""

    def __init__(self, database: Database, notify: bool, tell: TellObstacle) -> None:
        self._database = database
        self._tell = tell
        self._listener: Listener | None = None
        self._connecting: asyncio.Task[Listener | None] | None = None
        self._connect_at = 0.0 if notify else math.inf
        self._left, self._at = MARKS, time.monotonic()  # marks to be told of, and when that was counted
        self._has_asked = False  # the last look has asked writers to notify, and they can
        self.rests = False

    async def fetch(self, since: functions.mirror.Snapshot, limit: int) -> Sequence[Row]:
        """Do as fresh_keys() says."""
        now = time.monotonic()
        self._left, self._at = min(MARKS, self._left + (now - self._at) * MARKS), now
        had_asked, self._has_asked, self.rests = self._has_asked, False, False
        listener = self._listening(now)
        if listener is not None:
            try:
                rows = await self._ask_and_fetch(listener, since, limit)
                self.rests = self._has_asked and had_asked
                return rows
            except StoreError as error:
                await self._hang_up()
                self._tell(str(error))
            except BaseException:
                await self._hang_up()
                raise
        return await self._database.fetch(functions.mirror.fresh_keys(since, limit))

    @contextmanager
    def told(self) -> Iterator[asyncio.Event]:
        """While nothing else is done here: an event that is set when PostgreSQL tells of a mark."""
        if self._listener is None:
            yield asyncio.Event()
        else:
            with self._listener.hearing() as told:
                yield told

    async def close(self) -> None:
        if self._connecting is not None:
            await end(self._connecting)
            self._take()
        await self._hang_up()

    async def _ask_and_fetch(self, listener: Listener, since: functions.mirror.Snapshot, limit: int) -> Sequence[Row]:
        was_told, asks = listener.told.is_set(), self._left > 0
        listener.told.clear()
        rows = await listener.fetch(functions.mirror.fresh_keys(since, limit, LEASE if asks else None))
        marks = len(rows) if rows[0]["owner"] is not None else int(was_told)
        self._left = max(-MARKS, self._left - marks)
        if asks:
            obstacle = rows[0]["obstacle"]
            if obstacle is None:
                await listener.listen(CHANNEL)
            self._tell(obstacle)
            self._has_asked = obstacle is None
        return rows

    def _listening(self, now: float) -> Listener | None:
        """Return the connection that listens, if there is one; else see to it that there soon is, without waiting."""
        if self._connecting is not None and self._connecting.done():
            self._take()
        elif self._listener is None and self._connecting is None and now >= self._connect_at:
            self._connect_at = now + AGAIN
            self._connecting = asyncio.create_task(self._database.listener())
        return self._listener

    def _take(self) -> None:
        """Take the connection that was made."""
        assert self._connecting is not None
        made, self._connecting = self._connecting, None
        if made.cancelled():
            return
        error = made.exception()
        if error is None:
            self._listener = made.result()
            if self._listener is None:
                self._connect_at = math.inf
                self._tell("a pooler is in between")
        elif isinstance(error, StoreError):
            self._tell(str(error))
        else:
            raise error

    async def _hang_up(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
