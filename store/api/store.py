"""SettingsStore: all parts of the store in one."""

from __future__ import annotations

from store.api.bulk import Bulk
from store.api.candles import Candles
from store.api.changes import Changes
from store.api.credentials import ApiCredentials
from store.api.fields import Fields
from store.api.halts import TradingHalts
from store.api.history import History
from store.api.locks import Locks
from store.api.reports import Reports
from store.api.rollouts import Rollouts
from store.api.schedules import Schedules
from store.api.templates import Templates
from store.api.trades import Trades
from store.api.typed import Typed
from store.api.users import Users
from store.api.views import Views
from store.api.watching import Watching


class SettingsStore(
    Users, Bulk, Views, Typed, Watching, History, Changes, Templates, Schedules, Rollouts, Fields, Locks, TradingHalts,
    ApiCredentials, Trades, Candles, Reports,
):  # fmt: skip
    """Settings of trading-bot users, in PostgreSQL for good and in Redis for reading.

    Use it as an async context manager. Connections are made when first needed; without a URL in the
    configuration, embedded servers are started. An identifier is an OKX UID, a Telegram ID or the user's
    UUID. Every method raises exceptions of `store.errors` only.

    `cache`: of how many users to keep documents in this process, those used last (a Telegram ID counts as one, too);
    0: none. Redis tells what changes there, whoever changed it, normally within a millisecond; get() serves from the
    cache what Redis held at most 2 seconds ago, and goes to Redis while the connection is broken or silent.
    """
