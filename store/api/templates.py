"""Templates: named documents, applied to many users at once."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import asdict
from tempfile import SpooledTemporaryFile
from typing import Any

from store.api.base import Core, check_identifier, check_identifiers, check_type, identifier_or_none, to_setting
from store.api.catalogue import secret_keys
from store.api.history import key_changes
from store.errors import InvalidArgument, UnknownVersion
from store.models import SettingTypeName, Template, TemplateEffect
from store.postgres import functions

SPOOLED = 1 << 22  # characters held in memory of what is told later


class Templates(Core):
    """The part of the store that knows templates. The name `default` stands for the catalogue's defaults."""

    async def save_template(
        self,
        name: str,
        setting_type: SettingTypeName | str,
        settings: Mapping[str, Any],
        *,
        owner: str | None = None,
        actor: str | None = None,
    ) -> Template:
        """Save a template in place of an earlier one of this name, type and owner; it may hold some keys only.

        `owner`: the user whose own it is. Raises InvalidSettings, UnknownSettingType, InvalidArgument (the name),
        UnknownUser.
        """
        call = functions.templates.save_setting_template(
            name, check_type(setting_type), settings, identifier_or_none(owner)
        )
        return _template(*(await self._write(call, actor)))

    async def save_template_from(
        self,
        name: str,
        setting_type: SettingTypeName | str,
        identifier: str,
        *,
        symbol: str | None = None,
        owner: str | None = None,
        actor: str | None = None,
    ) -> Template:
        """Save a user's active document (of `symbol`, else the own one) as a template, without its secrets.

        Raises UnknownUser, UnknownVersion (the user has none); otherwise as save_template().
        """
        rows = await self._fetch(
            functions.settings.get_user_settings(check_identifier(identifier), check_type(setting_type, symbol))
        )
        if not rows:
            raise UnknownVersion(f"no {check_type(setting_type, symbol)} of {identifier}")
        setting = to_setting(rows[0])
        secrets = (await secret_keys(self)).get(setting_type, set())
        kept = {key: value for key, value in setting.settings.items() if key not in secrets}
        return await self.save_template(name, setting_type, kept, owner=owner, actor=actor)

    async def list_templates(self, name: str | None = None, *, owner: str | None = None) -> list[Template]:
        """List templates, all or those of a name (one per setting type): everybody's, or a user's own."""
        call = functions.templates.list_setting_templates(name, identifier_or_none(owner))
        return [_template(row) for row in await self._fetch(call)]

    def iter_templates(self, name: str | None = None, *, owner: str | None = None) -> AsyncGenerator[Template]:
        """Yield what list_templates() lists, without holding it all."""
        return self._each(functions.templates.list_setting_templates(name, identifier_or_none(owner)), _template)

    async def delete_template(
        self, name: str, setting_type: SettingTypeName | str | None = None, *, owner: str | None = None
    ) -> int:
        """Delete a template, for one setting type or for all; return how many. Raises UnknownTemplate."""
        kind = None if setting_type is None else check_type(setting_type)
        call = functions.templates.delete_setting_template(name, kind, identifier_or_none(owner))
        (row,) = await self._fetch(call)
        return int(row["r"])

    async def apply_template(
        self,
        name: str,
        setting_type: SettingTypeName | str,
        *,
        identifiers: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        replace: bool = False,
        dry_run: bool = False,
        symbol: str | None = None,
        owner: str | None = None,
        tell: Callable[[TemplateEffect], None] | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> list[TemplateEffect]:
        """Apply a template to these users, or to all whose document contains `filter`, in one transaction; one that is
        an `owner`'s own to that user.

        Its keys replace those of the document (of `symbol`, else the own one); with `replace` it becomes that.
        `dry_run`: a preview. `tell` hears of each effect once all is done, in place of the list, which is empty then.
        Raises UnknownTemplate, UnknownUser, InvalidSettings, UnknownSettingType.
        """
        if tell is not None and not callable(tell):
            raise InvalidArgument("tell must be a function")
        whom = None if identifiers is None else check_identifiers(identifiers)
        call = functions.templates.apply_setting_template(
            name, check_type(setting_type), whom, filter, replace, dry_run, symbol, identifier_or_none(owner)
        )
        okx_uids: list[str] = []
        effects: list[TemplateEffect] = []
        with SpooledTemporaryFile(SPOOLED, "w+", encoding="utf-8") as spool:
            async for effect in self._each(self._by(call, actor, reason), _effect):
                okx_uids.append(effect.okx_uid)
                if tell is None:
                    effects.append(effect)
                else:  # who listens may be slow, and the users are locked
                    spool.write(json.dumps(asdict(effect)) + "\n")
            if not dry_run:
                # Of all: a document that comes back from its deletion with nothing in it is a version, too.
                await self._mirror_owners(okx_uids)
            spool.seek(0)
            for line in spool:
                if tell is not None:
                    tell(_effect(json.loads(line)))
        return effects


def _effect(row: Mapping[str, Any]) -> TemplateEffect:
    return TemplateEffect(
        row["okx_uid"], row["setting_type"], row["version"], key_changes(row["changes"]), row["missing_keys"]
    )


def _template(row: dict[str, object]) -> Template:
    rest = {name: value for name, value in row.items() if name != "document"}
    return Template(settings=json.loads(str(row["document"])), **rest)  # type: ignore[arg-type]
