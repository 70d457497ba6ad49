"""Documents and their values as bots look at them on every tick: from the cache without a copy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from store.api.settings import Documents
from store.errors import InvalidArgument, document_error
from store.models import SettingTypeName, SettingView, read_only


class Views(Documents):
    """The part of the store that shows documents which nobody can change."""

    async def view(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        min_version: int = 0,
        okx_uid: str | None = None,
    ) -> SettingView | None:
        """Read a document as get() does, to look at only: from the cache it takes no copy, and all have the same one.
        Its objects are read-only mappings, its arrays tuples."""
        if not min_version and okx_uid is None:
            kept = self._kept(identifier, setting_type, symbol)
            if kept is not None:
                return kept[0]
        found = await self.get(identifier, setting_type, symbol=symbol, min_version=min_version, okx_uid=okx_uid)
        with _not_too_deep():
            return None if found is None else SettingView.of(found)

    async def value(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        key: str,
        default: Any = None,
        *,
        symbol: str | None = None,
    ) -> Any:
        """Read one value of a document, as view() has it; `default` where there is none. Raises what get() does."""
        try:
            kept = self._kept(identifier, setting_type, symbol)
            if kept is not None:
                return kept[0].settings.get(key, default)
        except TypeError:  # what can't be looked up
            pass
        if not isinstance(key, str):
            raise InvalidArgument(f"a key must be a string, not {type(key).__name__}")
        found = await self.get(identifier, setting_type, symbol=symbol)
        with _not_too_deep():
            return default if found is None or key not in found.settings else read_only(found.settings[key])

    def _kept(self, identifier: str, setting_type: str, symbol: str | None) -> tuple[SettingView, list[str]] | None:
        """Find in the cache what get() would; None for whatever is get()'s to judge. Written out: each call more would
        take a tenth of the time."""
        stores = self._opened
        if stores is None or asyncio._get_running_loop() is not self._loop:
            return None
        only = stores.confinement.okx_uid
        if only is None or (only and only != identifier):
            return None
        try:
            return self._cache.kept(identifier, setting_type, symbol)
        except TypeError:  # what can't be looked up
            return None


@contextmanager
def _not_too_deep() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise document_error("is nested too deep") from None
