"""SyncSettingsStore: the methods of SettingsStore for code without asyncio. Its types, sync.pyi, `make docs` writes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from store.api.background import Blocking, SyncIterator
from store.api.store import SettingsStore


class SyncSettingsStore(Blocking):
    """SettingsStore for code without asyncio: the same methods, which return when they are done.

    For any number of threads, and also where an event loop runs (a notebook). Use it as a context manager, or open()
    and close() it. All of it happens in one thread in the background, on the connections of one SettingsStore.
    Methods that yield return an iterator. A process that forks (Django, gunicorn) may go on using it: in the child it
    is opened anew. Every method raises exceptions of `store.errors` only.
    """


def _blocking(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method that waits of one that doesn't."""
    signature = inspect.signature(function)
    returned = str(signature.return_annotation)

    @wraps(function)
    def call(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        running = self._running()
        return running.call(function, running.store, *args, **kwargs)

    @wraps(function)
    def stream(self: Blocking, *args: Any, **kwargs: Any) -> Any:
        running = self._running()
        return SyncIterator(self, running, function(running.store, *args, **kwargs))

    if inspect.iscoroutinefunction(function):
        return call
    yielded = re.match(r"Async(Generator|Iterator)\b", returned)
    assert yielded, f"what {name} returns can't be had without asyncio"
    returned = SyncIterator.__name__ + returned[yielded.end() :]
    stream.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
    return stream


for _name in dir(SettingsStore):
    if not _name.startswith("_") and not hasattr(Blocking, _name):
        setattr(SyncSettingsStore, _name, _blocking(_name, getattr(SettingsStore, _name)))
