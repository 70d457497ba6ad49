"""Typed reads: a document as an object of the caller's own class."""

from __future__ import annotations

import asyncio
import json
from typing import TypeVar

from store.api.settings import Documents
from store.api.shapes import Misfit, check_shape, to_shape
from store.errors import DatabaseUnavailable, InvalidSettings
from store.models import Document, Setting, SettingTypeName, Source
from store.postgres import functions

FRESH = 60.0  # seconds that the catalogue's defaults are taken for what they are

T = TypeVar("T")


class Typed(Documents):
    """The part of the store that knows the caller's classes."""

    async def get_as(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        shape: type[T],
        *,
        symbol: str | None = None,
        source: Source | None = None,
        min_version: int = 0,
        okx_uid: str | None = None,
    ) -> Setting[T] | None:
        """Read the active document as get() does, with an object of the class `shape` as its `settings`.

        `shape`: a pydantic model, a dataclass or a TypedDict. Keys that the document lacks have the catalogue's
        defaults (as of at most a minute ago), before those of the class. A dataclass or a TypedDict takes str, int,
        float, Decimal, bool, None, Literal, Enum, list, dict, unions of these, and classes of its kind.
        Raises InvalidSettings if the document isn't one: it names user and type, and `problems` each key, and no value.
        InvalidArgument if the class isn't of these; otherwise as get().
        """
        check_shape(shape)
        found = await self.get(
            identifier, setting_type, symbol=symbol, source=source, min_version=min_version, okx_uid=okx_uid
        )
        if found is None:
            return None
        away: DatabaseUnavailable | None = None
        try:
            document = await self._completed(found)
        except DatabaseUnavailable as error:  # then those of the class have to do
            document, away = found.settings, error
        try:
            settings = to_shape(document, shape)
        except Misfit as misfit:
            problems = misfit.problems
        else:
            return Setting(
                found.okx_uid, found.telegram_id, found.setting_type, found.version, settings,
                found.updated_at, found.source,
            )  # fmt: skip
        if away is not None:
            raise away
        what = f"{found.setting_type} of user {found.okx_uid} can't be read as {shape.__name__}"
        raise InvalidSettings(what, detail=json.dumps(problems))

    async def _completed(self, setting: Setting) -> Document:
        """Return a document with the catalogue's defaults for the keys that it lacks. Raises DatabaseUnavailable if
        they were never asked for, and can't be now."""
        own, now = setting.setting_type.partition(":")[0], asyncio.get_running_loop().time()
        defaults, asked = self._defaults.get(own, (None, 0.0))
        if defaults is None or now - asked > FRESH:
            try:
                rows = await self._fetch(functions.catalogue.list_setting_fields(own))
                defaults = {row["key"]: row["default"] for row in rows if row["has_default"]}
            except DatabaseUnavailable:
                if defaults is None:
                    raise
            self._defaults[own] = defaults, now
        lacking = defaults.keys() - setting.settings.keys()
        return setting.settings | {key: json.loads(defaults[key]) for key in lacking}
