"""An event loop in a thread of its own, and what a store is that works in one: opened, closed, forked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, Generic, Self, TypeVar

from store.api.base import acting
from store.api.store import SettingsStore
from store.api.watch import SettingChange
from store.config import Config
from store.ending import end
from store.errors import InvalidArgument, StoreError
from store.models import SettingTypeName
from store.operations.threads import in_thread

T = TypeVar("T")

END = object()


class Background:
    """A store at work in an event loop of its own, whose thread the end of the process doesn't wait for."""

    def __init__(self, store: SettingsStore) -> None:
        self.store = store
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: weakref.WeakSet[AsyncGenerator[Any]] = weakref.WeakSet()
        self._gate = threading.Lock()  # what comes in before the end is there when that begins
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="settings-store", daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Call a coroutine function in the loop, in a copy of the caller's context, and return its result; its
        exceptions, too, are the caller's. Ctrl-C cancels it. Raises StoreError if the store is or gets closed."""
        self.refuse_itself()
        with self._gate:
            if self._is_closed or sys.is_finalizing():
                raise StoreError("the store was closed")
            done = asyncio.run_coroutine_threadsafe(self._call(function, args, kwargs), self._loop)
        try:
            return done.result()
        except concurrent.futures.CancelledError:
            raise StoreError(
                "the store was closed during this call", hint="Of a save: whether it was committed is unknown."
            ) from None
        finally:
            done.cancel()  # unless it is done
            del done  # it has the exception, and that this frame

    def stream(self, found: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """Have a stream closed with the store, and return it."""
        self._streams.add(found)
        return found

    def close(self) -> None:
        """Close the store, and wait for its end: calls under way end with StoreError."""
        if not sys.is_finalizing():  # then the thread is at a standstill
            done = self.close_soon()
            self._thread.join()
            if done is not None:
                done.result()

    def close_soon(self) -> concurrent.futures.Future[None] | None:
        """Begin to close the store; None if that has begun already."""
        with self._gate:
            if self._is_closed:
                return None
            self._is_closed = True
            return asyncio.run_coroutine_threadsafe(self._close(), self._loop)

    def refuse_itself(self) -> None:
        """Refuse what would wait for its own thread. Raises StoreError."""
        if threading.current_thread() is self._thread:
            raise StoreError(
                "a call of the store from its own thread would wait for itself",
                hint="What the store calls back (progress=, tell=) can't call it.",
            )

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._ended.wait()

    async def _call(self, function: Callable[..., Awaitable[T]], args: Any, kwargs: Any) -> T:
        task = asyncio.current_task()
        assert task
        self._calls.add(task)
        try:
            return await function(*args, **kwargs)
        finally:
            self._calls.discard(task)

    async def _close(self) -> None:
        try:
            await end(*self._calls)
            for stream in list(self._streams):
                with suppress(StoreError):
                    await stream.aclose()
            await self.store.close()
        finally:
            self._ended.set()


class SyncIterator(Iterator[T], Generic[T]):
    """What a method of the store yields, one after the other. To be closed (close(), or `with`), or let go, where it
    isn't read to its end: it may hold a connection."""

    def __init__(self, store: Blocking, background: Background, found: AsyncGenerator[T]) -> None:
        self._store = store  # which lives as long as this
        self._background = background
        self._found = background.stream(found)

    def __next__(self) -> T:
        found: Any = self._background.call(anext, self._found, END)
        if found is END:
            raise StopIteration
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        """Give back what it holds. Harmless if it was read to its end, or the store was closed."""
        if not self._background._is_closed:
            self._background.call(self._found.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class _InThread:
    """A handler that may wait, and call the store: it is called in a thread of its own."""

    handler: Callable[[SettingChange], object]

    async def __call__(self, change: SettingChange) -> None:
        context = copy_context()
        await in_thread(lambda: context.run(self.handler, change))


class Blocking:
    """What SyncSettingsStore does otherwise than SettingsStore."""

    def __init__(self, config: Config | None = None, *, cache: int = 0) -> None:
        self._cache_size = cache
        self._store = SettingsStore(config, cache=cache)
        self._background: Background | None = None
        self._opening = threading.RLock()
        self._was_forked = False
        _stores.add(self)

    @property
    def config(self) -> Config:
        """The configuration; of an open store with the URLs of the embedded servers, if it uses them."""
        return self._store.config

    def open(self) -> Self:
        """Open the store, as `with` does, and return it: a thread begins, in which all of it happens. Harmless if it is
        open; a store that was closed may be opened again. Connections are made when first used."""
        with self._opening:
            if self._background is None:
                store = SettingsStore(self.config, cache=self._cache_size)
                background = Background(store)
                try:
                    background.call(store.open)
                except BaseException:
                    background.close_soon()
                    raise
                self._store, self._background, self._was_forked = store, background, False
                self._let_go = weakref.finalize(self, background.close_soon)
                self._let_go.atexit = False
        return self

    def close(self) -> None:
        """Close the store, from any thread: calls under way end with StoreError, handlers are told no more, and the
        thread ends. Harmless if it isn't open."""
        with self._opening:
            background = self._background
            if background is not None:
                background.refuse_itself()
                self._let_go.detach()
            self._background, self._was_forked = None, False
        if background is not None:  # out here: it may be waiting for somebody who closes it, too
            background.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def acting_as(self, actor: str | None = None, *, reason: str | None = None) -> Iterator[Self]:
        """Say who writes and why for every write of this thread (or context: contextvars) that doesn't say so itself.

        Nests: None leaves what the outer one says.
        """
        with acting(actor, reason):
            yield self

    def on_change(
        self,
        setting_type: SettingTypeName | str | None,
        handler: Callable[[SettingChange], object],
        *,
        identifier: str | None = None,
        symbol: str | None = None,
    ) -> None:
        """Call a function with each change of these documents from now on, as watch() with `values` yields them, one
        after the other; until off_change() or close().

        Each call is made in a thread of its own, and may call the store. `setting_type`: with those of every symbol, or
        of `symbol` only; None: of every type. `identifier`: of one user; None: of everybody. An exception of the
        handler is logged, and the next change is told all the same; a slow handler holds up itself only. Returns when
        it listens. Raises UnknownSettingType, UnknownUser, BadIdentifier, InvalidArgument, NotPermitted,
        RedisUnavailable.
        """
        if not callable(handler) or iscoroutinefunction(handler):
            raise InvalidArgument("handler must be a function, and no coroutine function")
        running = self._running()
        running.call(running.store.on_change, setting_type, _InThread(handler), identifier=identifier, symbol=symbol)

    def off_change(self, handler: Callable[[SettingChange], object]) -> int:
        """Tell a handler of no more changes; return how often on_change() had it. What it is doing it ends."""
        running = self._running()
        return running.call(running.store.off_change, _InThread(handler))

    def _running(self) -> Background:
        background = self._background
        if background is None and self._was_forked:
            background = self.open()._background
        if background is None:
            raise StoreError("the store is not open: use `with SyncSettingsStore(…) as store`, or `store.open()`")
        return background


_stores: weakref.WeakSet[Blocking] = weakref.WeakSet()


def _forked() -> None:
    """Have the stores of the process that forked opened anew by the first call in this one: threads aren't forked, and
    connections can't be shared. Nothing of theirs may ever be cleaned up here: that would disconnect the other process,
    whose sockets and epoll these are. Nor is it: the frame of the thread that wasn't forked keeps it, for good."""
    for store in list(_stores):
        store._opening = threading.RLock()
        if store._background is not None:
            store._let_go.detach()
            store._background, store._was_forked = None, True


os.register_at_fork(after_in_child=_forked)
