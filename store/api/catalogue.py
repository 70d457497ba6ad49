"""What the catalogue says of documents as they are shown: which values are secret, which keys look mistyped."""

from __future__ import annotations

import difflib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from store.errors import DatabaseUnavailable
from store.models import BUILT_IN_SECRETS, MASK, Setting, Template

if TYPE_CHECKING:
    from store.api.base import Core

S = TypeVar("S", bound=Setting | Template)


async def secret_keys(store: Core) -> dict[str, set[str]]:
    """Return the secret keys of each type; those built in, if PostgreSQL can't be asked. An open store asks once."""
    if store._secrets is None:
        from store.postgres import functions

        try:
            rows = await store._fetch(functions.catalogue.list_secret_fields())
        except DatabaseUnavailable:
            return BUILT_IN_SECRETS
        store._secrets = {}
        for row in rows:
            store._secrets.setdefault(row["setting_type"], set()).add(row["key"])
    return store._secrets


async def masked(store: Core, setting: S) -> S:
    """Return a setting or template as it may be shown: with its secrets masked."""
    secrets = (await secret_keys(store)).get(setting.setting_type.partition(":")[0], set())
    shown = {key: MASK if key in secrets and value is not None else value for key, value in setting.settings.items()}
    return replace(setting, settings=shown)


async def each_masked(store: Core, settings: AsyncGenerator[S]) -> AsyncGenerator[S]:
    """Yield settings or templates as masked() returns them."""
    await secret_keys(store)  # before the first is read: a stream may have the only connection
    async with aclosing(settings):
        async for setting in settings:
            yield await masked(store, setting)


async def mistyped(store: Core, setting: Setting) -> dict[str, str]:
    """Return the keys that the catalogue doesn't list, but one much like them: any key is saved as it comes."""
    from store.postgres import functions

    try:
        known = [
            row["key"] for row in await store._fetch(functions.catalogue.list_setting_fields(setting.setting_type))
        ]
    except DatabaseUnavailable:
        return {}
    similar = {key: difflib.get_close_matches(key, known, 1) for key in sorted(setting.settings.keys() - known)}
    return {key: match[0] for key, match in similar.items() if match}
