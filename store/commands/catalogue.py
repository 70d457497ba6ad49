"""The commands of the catalogue: fields, schema."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from store.commands.common import as_json, run, setting_type
from store.commands.output import print_json, print_table, say

if TYPE_CHECKING:
    from store.api.store import SettingsStore
    from store.models import Language, SettingField, SettingRule

in_language = click.option("--language", type=click.Choice(["en", "ko"]), default="en", show_default=True,
                           help="Of descriptions.")  # fmt: skip


@click.command(short_help="Show what the keys of a TYPE may hold, and what they are for.")
@setting_type
@in_language
@as_json
def fields(setting_type: str, language: Language, as_json: bool) -> None:
    """Show what the catalogue says of the keys of a TYPE: what they may hold, the default, what they are for; and which
    rules several of them keep together. Other keys are saved as they come.

    \b
    Example:
      settings-store fields params
      settings-store fields dual_side --language ko
    """

    async def read(store: SettingsStore) -> tuple[list[SettingField], list[SettingRule]]:
        return await store.fields(setting_type), await store.rules(setting_type)

    found, rules = run(read)
    found = [_masked(field) for field in found]
    if as_json:
        print_json({"fields": found, "rules": rules})
        return
    rows = [(field.key, _allowed(field), _default(field), _told(field, language)) for field in found]
    print_table(("key", "holds", "default", "what it is for"), rows)
    for rule in rules:
        say(f"rule {rule.name}: {rule.message_ko or rule.message if language == 'ko' else rule.message}")


@click.command(short_help="Print JSON Schema of a TYPE.")
@setting_type
@in_language
def schema(setting_type: str, language: Language) -> None:
    """Print JSON Schema (draft 2020-12) of the documents of a TYPE, for editors, forms and generators of code.

    Its $comment names what JSON Schema can't say.

    \b
    Example:
      settings-store schema params > params.schema.json
    """
    print_json(run(lambda store: store.schema(setting_type, language=language)))


def _masked(field: SettingField) -> SettingField:
    from store.models import MASK

    return replace(field, default=MASK) if field.is_secret and field.default is not None else field


def _allowed(field: SettingField) -> str:
    limits = [f"{sign} {limit:f}" for sign, limit in (("≥", field.minimum), ("≤", field.maximum)) if limit is not None]
    words = [field.json_type, *limits, *(["or null"] if field.is_nullable else [])]
    return " ".join(words) + (f": {', '.join(field.choices)}" if field.choices else "")


def _default(field: SettingField) -> str:
    return json.dumps(field.default, ensure_ascii=False) if field.has_default else ""


def _told(field: SettingField, language: Language) -> str:
    return (language == "ko" and field.description_ko) or field.description or ""
