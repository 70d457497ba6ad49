"""SettingsStore: all parts of the store in one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from store.api.candles import Candles
from store.api.credentials import ApiCredentials
from store.api.fields import Fields
from store.api.history import History
from store.api.reports import Reports
from store.api.templates import Templates
from store.api.trades import Trades
from store.api.typed import Typed
from store.api.users import Users
from store.api.watch import Change, watch


class SettingsStore(Users, Typed, History, Templates, Fields, ApiCredentials, Trades, Candles, Reports):
    """Settings of trading-bot users, in PostgreSQL for good and in Redis for reading.

    Use it as an async context manager. Connections are made when first needed; without a URL in the
    configuration, embedded servers are started. An identifier is an OKX UID, a Telegram ID or the user's
    UUID. Every method raises exceptions of `store.errors` only.

    `cache`: of how many users to keep documents in this process, those used last (a Telegram ID counts as one, too);
    0: none. Redis tells what changes there, whoever changed it, normally within a millisecond; get() serves from the
    cache what Redis held at most 2 seconds ago, and goes to Redis while the connection is broken or silent.
    """

    async def watch(self, identifier: str | None = None) -> AsyncIterator[Change]:
        """Yield changes of a user's settings, or of everybody's (of the one that the store is confined to), as they
        reach Redis; never ends.

        Each key's come in order; after a lost connection the newest version of what changed meanwhile.
        Raises UnknownUser, BadIdentifier, NotPermitted.
        """
        okx_uid = await self._connections.confinement.known() or None
        if identifier is not None:
            okx_uid = (await self._user(identifier))["okx_uid"]
        async for change in watch(self._connections, okx_uid):
            yield change
