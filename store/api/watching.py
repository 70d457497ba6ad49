"""Changes: watched, or told to handlers, with what was there before and who wrote why."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Literal, overload

from store.api.base import Core, Row, check_type
from store.api.watch import RETRY, Change, SettingChange, watch
from store.arguments import flag
from store.ending import end
from store.errors import DatabaseUnavailable, InvalidArgument, StoreError, UnknownUser, UnknownVersion
from store.models import Document, SettingTypeName
from store.postgres import functions

Handler = Callable[[SettingChange], Awaitable[None] | None]

ABSENT = object()

log = logging.getLogger("store.watching")


class Watching(Core):
    """The part of the store that tells of changes."""

    @overload
    def watch(
        self, identifier: str | None = None, *, values: Literal[False] = False, halts: bool = False
    ) -> AsyncGenerator[Change]: ...
    @overload
    def watch(self, identifier: str | None = None, *, values: Literal[True]) -> AsyncGenerator[SettingChange]: ...
    async def watch(
        self, identifier: str | None = None, *, values: bool = False, halts: bool = False
    ) -> AsyncGenerator[Change]:
        """Yield changes of a user's settings, or of everybody's (of the one that the store is confined to), as they
        reach Redis; never ends.

        Each key's come in order; after a lost connection the newest version of what changed meanwhile. With `values`
        as SettingChange, from the history: every version, those between, too, but what was pruned; while PostgreSQL is
        away it waits. `halts`: also when any halt of trading began or ended, whoever's (Change.is_of_halts): halted()
        says what is in force. Raises UnknownUser, BadIdentifier, NotPermitted, InvalidArgument (`values` with `halts`),
        RedisUnavailable (only at the beginning).
        """
        if flag(halts, "halts") and values:
            raise InvalidArgument("halts have no values to be watched: call halted()")
        okx_uid = await self._watched(identifier)
        found: AsyncGenerator[Change] = (
            self._values(okx_uid) if values else watch(self._connections, okx_uid, halts=halts)
        )
        async with aclosing(found) as changes:
            async for change in changes:
                yield change

    async def on_change(
        self,
        setting_type: SettingTypeName | str | None,
        handler: Handler,
        *,
        identifier: str | None = None,
        symbol: str | None = None,
    ) -> None:
        """Call a function, or await a coroutine function, with each change of these documents from now on, as watch()
        with `values` yields them, one after the other; until off_change() or close().

        `setting_type`: with those of every symbol, or of `symbol` only; None: of every type. `identifier`: of one user;
        None: of everybody. An exception of the handler is logged, and the next change is told all the same. Each
        on_change() has a connection to Redis and a task of its own: a slow handler holds up itself only. Returns when
        it listens. Raises UnknownSettingType, UnknownUser, BadIdentifier, InvalidArgument, NotPermitted,
        RedisUnavailable.
        """
        if not callable(handler):
            raise InvalidArgument("handler must be a function")
        name = None if setting_type is None else (await self._type(check_type(setting_type, symbol))).name
        if name is None and symbol is not None:
            raise InvalidArgument("a symbol is of a setting type")

        def is_wanted(change: Change) -> bool:
            own = change.setting_type if symbol is not None else change.setting_type.partition(":")[0]
            return name in (None, own)

        listening = asyncio.Event()
        changes = self._values(await self._watched(identifier), is_wanted, listening)
        task = asyncio.create_task(self._tell(changes, handler, listening))
        begun = asyncio.create_task(listening.wait())
        self._listeners[task] = handler
        try:
            await asyncio.wait((task, begun), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(begun, *(() if listening.is_set() else (task,)))
        if task.done():
            if task.cancelled():
                raise StoreError("the store was closed")
            task.result()

    async def off_change(self, handler: Handler) -> int:
        """Tell a handler of no more changes, and end it if it runs; return how often on_change() had it."""
        return await self._end_listeners(handler)

    async def _watched(self, identifier: str | None) -> str | None:
        """Return whose changes are watched; None: everybody's."""
        if identifier is not None:
            return str((await self._user(identifier))["okx_uid"])
        return await self._connections.confinement.known() or None

    async def _tell(self, changes: AsyncGenerator[SettingChange], handler: Handler, listening: asyncio.Event) -> None:
        task = asyncio.current_task()
        assert task
        try:
            async with aclosing(changes):
                async for change in changes:
                    try:
                        done = handler(change)
                        if inspect.isawaitable(done):
                            await done
                    except (Exception, asyncio.CancelledError) as error:
                        if isinstance(error, asyncio.CancelledError) and task.cancelling():
                            raise
                        log.exception("a handler failed at %s", _named(change))
                    if task not in self._listeners:  # by the handler itself
                        return
        except StoreError as error:
            if not listening.is_set():
                raise
            log.error("a handler is told of no more changes: %s", error)
        finally:
            self._listeners.pop(task, None)

    async def _values(
        self,
        okx_uid: str | None,
        is_wanted: Callable[[Change], bool] = lambda _: True,
        listening: asyncio.Event | None = None,
    ) -> AsyncGenerator[SettingChange]:
        """Yield the versions that watch() yields, and those between."""
        seen: dict[tuple[str, str], int] = {}
        async with aclosing(watch(self._connections, okx_uid, seen=seen, listening=listening)) as changes:
            async for change in changes:
                if is_wanted(change):
                    # Where Redis had none, it may have lost it: what came before isn't news.
                    before = seen.get((change.okx_uid, change.setting_type)) or change.version - 1
                    async for told in self._from_history(change, before):
                        yield told

    async def _from_history(self, change: Change, before: int) -> AsyncGenerator[SettingChange]:
        """Yield the versions after one up to that of a change, without those that were pruned."""
        try:
            old = await self._version(change, before) if before else None
            is_known = old is not None or not before
            for version in range(before + 1, change.version + 1):
                new = await self._version(change, version)
                if new is not None:
                    yield _with_values(change, old, new, is_known)
                    old, is_known = new, True
        except UnknownUser:  # erased
            yield SettingChange(change.okx_uid, change.setting_type, change.version, *[None] * 7)

    async def _version(self, change: Change, version: int) -> Row | None:
        """Read a version from the history; None if it was pruned. Waits for PostgreSQL. Raises UnknownUser."""
        call = functions.history.user_setting_version(change.okx_uid, change.setting_type, version)
        while True:
            try:
                (row,) = await self._fetch(call)
            except UnknownVersion:
                return None
            except DatabaseUnavailable as error:
                log.warning("the change of %s waits: %s", _named(change), error)
                await asyncio.sleep(RETRY)
            else:
                return row


def _with_values(change: Change, old: Row | None, new: Row, is_known: bool) -> SettingChange:
    before, after = _document(old), _document(new)
    changed = sorted(
        key
        for key in {*(before or {}), *(after or {})}
        if _told_apart((before or {}).get(key, ABSENT)) != _told_apart((after or {}).get(key, ABSENT))
    )
    return SettingChange(
        change.okx_uid, change.setting_type, new["version"], before, after, changed if is_known else None,
        new["updated_at"], new["changed_by"], new["written_by"], new["change_reason"],
    )  # fmt: skip


def _document(row: Row | None) -> Document | None:
    return None if row is None or row["deleted_at"] else json.loads(row["document"])


def _told_apart(value: Any) -> Any:
    """Return a value that equals another only if their JSON does: in Python, 1 is True."""
    if isinstance(value, dict):
        return {key: _told_apart(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_told_apart(member) for member in value]
    return (value,) if isinstance(value, bool) else value


def _named(change: Change) -> str:
    return f"{change.setting_type} of user {change.okx_uid}, version {change.version}"
