"""The local cache: documents kept in this process for as long as Redis doesn't say that they changed.

Redis tells the name of every key of the mirror that changes (client tracking, broadcasting), whoever changed it and
however: saves, rogue writes, evictions, flushes. The one connection that tracks is also the one that is told (it
redirects to itself, which RESP2 allows): either both work or neither does. Its replies come in order, so whoever has
the answer to a ping has seen every change made before that ping was sent. That bounds what a hit can miss.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedConnection

from store.ending import end
from store.errors import first_line
from store.mirror.client import Mirror
from store.mirror.entries import Halts
from store.mirror.keys import EVERYBODY
from store.models import Setting, SettingView, changeable

STALE = 2.0  # seconds: a hit is what Redis held that long ago, or later
PING = 1.0  # seconds between pings, well below STALE
RETRY = 0.5  # seconds until a lost connection is made again
CHANNEL = "__redis__:invalidate"  # Redis's name for it

log = logging.getLogger("store.cache")


@dataclass(slots=True)
class Page:
    """What was read of one owner. Whoever reads takes the page first and writes on it afterwards: if a change was
    told meanwhile, the page isn't in the cache any more, and what was read is lost with it."""

    okx_uid: str | None = None  # of a Telegram ID: whom it leads to
    halts: Halts | None = None  # of EVERYBODY's
    # By setting type, and the symbol whose document was asked for; with their nested keys.
    documents: dict[tuple[str, str | None], tuple[SettingView, list[str]]] = field(default_factory=dict)
    is_loose: bool = False  # never to be in the cache

    def keep(self, setting: Setting, setting_type: str, symbol: str | None) -> None:
        """Keep what was found (of a symbol: perhaps the user's own document, which is not the one of that name), unless
        another reader brought a newer one."""
        if self.is_loose:
            return
        there = self.documents.get((setting_type, symbol))
        if there is None or there[0].setting_type != setting.setting_type or there[0].version <= setting.version:
            nested = [key for key, value in setting.settings.items() if isinstance(value, dict | list)]
            with contextlib.suppress(RecursionError):
                self.documents[setting_type, symbol] = (SettingView.of(setting), nested)


class Cache:
    """The documents of at most `size` users, those used last, and the halts; without a size, of nobody.

    A hit is never older than STALE seconds, however the network hangs: hits are served while the last ping that
    was answered was sent within that time. When the connection breaks, everything is forgotten at once, and nothing
    is kept until there is another one. Normally a change is told within a millisecond.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._pages: OrderedDict[str, Page] = OrderedDict()  # of OKX UIDs and Telegram IDs
        self._is_told = False  # of changes: what is read may be kept
        self._fresh_until = 0.0  # and may be served until then
        self._follower: asyncio.Task[None] | None = None

    def start(self, mirror: Mirror) -> None:
        """Begin to follow the changes of the mirror's keys."""
        if self._size and not mirror.is_tracking:
            log.warning("nothing is cached: the nodes of a Redis Cluster aren't followed")
        elif self._size:
            self._follower = asyncio.create_task(self._follow(mirror))

    async def close(self) -> None:
        """Stop following; forget everything."""
        if self._follower is not None:
            await end(self._follower)
            self._follower = None

    def find(self, identifier: str, setting_type: str, symbol: str | None = None) -> Setting | None:
        """Return a document that is kept here, as a copy: the caller may do with it what he likes."""
        kept = self.kept(identifier, setting_type, symbol)
        return None if kept is None else _copied(*kept)

    def kept(self, identifier: str, setting_type: str, symbol: str | None) -> tuple[SettingView, list[str]] | None:
        """Return a document that is kept here, and which of its keys are nested."""
        if time.monotonic() > self._fresh_until:
            return None
        pages = self._pages
        page = pages.get(identifier)
        if page is None:
            return None
        pages.move_to_end(identifier)
        if page.okx_uid is not None:
            page = self._used(page.okx_uid)
            kept = None if page is None else page.documents.get((setting_type, symbol))
            return kept if kept is not None and kept[0].telegram_id == identifier else None
        return page.documents.get((setting_type, symbol))

    def halts(self) -> Halts | None:
        """Return the halts of trading that are kept here."""
        page = None if time.monotonic() > self._fresh_until else self._used(EVERYBODY)
        return None if page is None else page.halts

    def page(self, owner: str) -> Page:
        """Return the page to write on what will now be read of an OKX UID or a Telegram ID."""
        if not self._is_told:
            return Page(is_loose=True)
        page = self._used(owner)
        if page is None:
            page = self._pages[owner] = Page()
            if len(self._pages) > self._size + (EVERYBODY in self._pages):
                self._pages.popitem(last=False)
        return page

    def forget(self, owners: Iterable[str] | None) -> None:
        """Drop what is kept of these owners, or everything; what is being read of them isn't kept either."""
        if owners is None:
            self._pages.clear()
        else:
            for owner in owners:
                self._pages.pop(owner, None)

    def _used(self, owner: str) -> Page | None:
        page = self._pages.get(owner)
        if page is not None:
            self._pages.move_to_end(owner)
        return page

    # -- following Redis

    async def _follow(self, mirror: Mirror) -> None:
        pool, known = mirror.redis.connection_pool, ""
        while True:
            connection = pool.connection_class(**pool.connection_kwargs)
            try:
                await _track(connection, mirror.keys.prefix)
                self._is_told, known = True, ""
                await self._listen(connection, mirror)
            except Exception as error:  # whatever it is: reads go on without the cache
                if first_line(error) != known:  # once an outage
                    known = first_line(error)
                    log.warning("nothing is cached: %s", known)
            finally:
                self._is_told, self._fresh_until = False, 0.0
                self._pages.clear()
                with contextlib.suppress(exceptions.RedisError, OSError):
                    await connection.disconnect()
            await asyncio.sleep(RETRY)

    async def _listen(self, connection: AbstractConnection, mirror: Mirror) -> None:
        asked, is_answered = 0.0, True
        while True:
            now = time.monotonic()
            if is_answered and now >= asked + PING:
                await _check_master(connection, mirror)
                asked, is_answered = now, False
                await connection.send_command("PING", check_health=False)
            elif now >= asked + STALE:
                raise exceptions.TimeoutError(f"Redis didn't answer for {STALE:g} s")
            due = asked + (PING if is_answered else STALE)
            reply = await connection.read_response(timeout=max(due - now, 0.0))
            if reply is None:
                continue
            if reply[0] == "pong":
                is_answered, self._fresh_until = True, asked + STALE
            elif reply[0] == "message":
                self._forget_keys(mirror, reply[2])

    def _forget_keys(self, mirror: Mirror, names: list[str] | None) -> None:
        """Forget the owners of these keys; None: Redis was flushed."""
        if names is None:
            self.forget(None)
        elif self._pages:
            self.forget(parts[0] for name in names if (parts := mirror.keys.parse(name)) is not None)


async def _check_master(connection: AbstractConnection, mirror: Mirror) -> None:
    """Leave a Redis that Sentinel doesn't call the master any more. Raises ConnectionError."""
    pool = mirror.redis.connection_pool
    if isinstance(pool, SentinelConnectionPool) and isinstance(connection, SentinelManagedConnection):
        master = await pool.get_master_address()  # type: ignore[no-untyped-call]
        if master != (connection.host, connection.port):
            raise exceptions.ConnectionError("another Redis is the master now")


async def _track(connection: AbstractConnection, prefix: str) -> None:
    """Have Redis tell this connection of every change of a key with this prefix."""

    async def ask(*command: Any) -> Any:
        await connection.send_command(*command)
        return await connection.read_response()

    await connection.connect()  # type: ignore[no-untyped-call]
    own = await ask("CLIENT", "ID")
    await ask("CLIENT", "TRACKING", "ON", "REDIRECT", own, "BCAST", "PREFIX", prefix)
    await ask("SUBSCRIBE", CHANNEL)


def _copied(view: SettingView, nested: list[str]) -> Setting:
    """Copy a setting with its document, of which only these keys are more than a number, text or the like."""
    settings = view.settings.copy()  # type: ignore[attr-defined]  # of the dict that it shows
    for key in nested:
        settings[key] = changeable(settings[key])
    return Setting(
        view.okx_uid, view.telegram_id, view.setting_type, view.version, settings, view.updated_at, view.source
    )
