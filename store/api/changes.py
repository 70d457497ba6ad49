"""The feed: every committed change of settings, in an order in which a reader can go on. Reads PostgreSQL only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime

from store.api.base import Core
from store.api.history import key_changes
from store.errors import DatabaseUnavailable
from store.models import CommittedChange, HeldChanges
from store.postgres import functions

PAGE = 1000  # changes a query, fewer where they are large
LOOK = 0.5  # seconds between looks where nothing is new, or PostgreSQL is away


class Changes(Core):
    """The part of the store that knows in which order everything was committed."""

    async def changes(
        self, after: str | None = None, *, since: datetime | None = None, follow: bool = False
    ) -> AsyncGenerator[CommittedChange]:
        """Yield committed changes of everybody's settings (of the user whom the store is confined to), none left out.

        `after`: the `cursor` of the last change that was taken care of; else from the first one saved at `since` or
        later, or from the oldest version there is. `follow`: go on for ever, also when PostgreSQL was away, once it
        was reached; else end where nothing is new. What an open transaction holds back comes as soon as that has
        ended: changes_held(). Raises InvalidArgument (no cursor, or one of another state of the database: of before a
        restore or a failover), DatabaseUnavailable.
        """
        was_reached = False
        while True:
            try:
                if since is not None and not after:
                    after = (await self._fetch(functions.history.changes_since(since)))[0]["cursor"]
                rows = await self._fetch(functions.history.changes_after(after, PAGE))
                was_reached = True
            except DatabaseUnavailable:
                if not (follow and was_reached):
                    raise
                rows = []
            for row in rows:
                after = row["cursor"]
                yield CommittedChange(
                    **{**row, "changes": None if row["changes"] is None else key_changes(row["changes"])}
                )
            if not rows:
                if not follow:
                    return
                await asyncio.sleep(LOOK)

    async def changes_held(self) -> HeldChanges | None:
        """Tell what is committed and changes() can't yield yet, as a transaction that began before it is open, of any
        database of the server; None if nothing is held back."""
        rows = await self._fetch(functions.history.changes_held())
        return HeldChanges(**rows[0]) if rows else None
