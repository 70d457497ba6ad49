"""Documents and their values as bots look at them on every tick: from the cache without a copy."""

from __future__ import annotations

from typing import Any

from store.api.settings import Documents
from store.models import SettingView


class Views(Documents):
    """The part of the store that shows documents which nobody can change."""

    async def view(
        self,
        identifier: str,
        setting_type: str,
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
                return kept
        found = await self.get(identifier, setting_type, symbol=symbol, min_version=min_version, okx_uid=okx_uid)
        return None if found is None else SettingView.of(found)

    async def value(
        self, identifier: str, setting_type: str, key: str, default: Any = None, *, symbol: str | None = None
    ) -> Any:
        """Read one value of a document, as view() has it; `default` where there is none. Raises what get() does."""
        found = self._kept(identifier, setting_type, symbol) or await self.view(identifier, setting_type, symbol=symbol)
        return default if found is None else found.settings.get(key, default)

    def _kept(self, identifier: str, setting_type: str, symbol: str | None) -> SettingView | None:
        """Find in the cache what get() would; None for whatever is get()'s to judge."""
        only = self._connections.confinement.okx_uid
        if only is None or (only and only != identifier):
            return None
        try:
            return self._cache.view(identifier, setting_type if symbol is None else f"{setting_type}:{symbol}")
        except TypeError:  # what can't be looked up
            return None
