"""Fields: what the catalogue says of the keys of a setting type, and of a document before it is saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from store.api.base import Core, check_type
from store.arguments import flag
from store.errors import InvalidSettings
from store.models import Language, SettingField, SettingRule, SettingTypeName
from store.postgres import functions


class Fields(Core):
    """The part of the store that knows the catalogue."""

    async def fields(self, setting_type: SettingTypeName | str) -> list[SettingField]:
        """List the keys of a setting type that the catalogue knows, by name. Raises UnknownSettingType."""
        rows = await self._fetch(functions.catalogue.list_setting_fields(check_type(setting_type)))
        return [SettingField(**{**row, "default": json.loads(row["default"] or "null")}) for row in rows]

    async def rules(self, setting_type: SettingTypeName | str) -> list[SettingRule]:
        """List what several keys of a setting type must keep to together, by name. Raises UnknownSettingType."""
        rows = await self._fetch(functions.catalogue.list_setting_rules(check_type(setting_type)))
        return [SettingRule(**row) for row in rows]

    async def validate(
        self, setting_type: SettingTypeName | str, document: Mapping[str, Any], *, partial: bool = False
    ) -> dict[str, str]:
        """Tell why a document can't be saved, as InvalidSettings.problems of a save would; {} if it can. Saves nothing.

        Of a rule that it breaks, the key is `$` and the rule's name. `partial`: it has some keys only, as a template;
        rules are asked that it has all keys of. Raises UnknownSettingType, InvalidArgument.
        """
        name, is_partial = check_type(setting_type), flag(partial, "partial")
        try:
            rows = await self._fetch(functions.catalogue.validate_user_setting(name, document, is_partial))
        except InvalidSettings as error:  # what isn't JSON, or what PostgreSQL doesn't take as such
            return error.problems
        return {row["key"]: row["problem"] for row in rows}

    async def schema(self, setting_type: SettingTypeName | str, *, language: Language = "en") -> dict[str, Any]:
        """Return JSON Schema (draft 2020-12) of a setting type's documents, with descriptions in English or Korean.

        Its `$comment` names what it can't say. Raises UnknownSettingType, InvalidArgument (the language).
        """
        (row,) = await self._fetch(functions.catalogue.setting_schema(check_type(setting_type), language))
        schema: dict[str, Any] = json.loads(row["document"])
        return schema
