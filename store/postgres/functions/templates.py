"""The SQL functions of templates, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.arguments import flag, line, symbol_or_none
from store.errors import InvalidArgument
from store.json_writer import json_text
from store.postgres.call import Call, _read, _write

TEMPLATE = (
    "r.name, r.setting_type, r.settings::text as document, r.changed_by, r.updated_at, r.written_by,"
    " nullif(r.okx_uid, '') as okx_uid"
)


def save_setting_template(name: str, setting_type: str, settings: Mapping[str, Any], owner: str | None) -> Call:
    return _write(
        TEMPLATE, "save_setting_template", "name", line(name, "a template's name", InvalidArgument),
        setting_type=setting_type, settings=json_text(settings), owner=owner,
    )  # fmt: skip


def list_setting_templates(name: str | None, owner: str | None) -> Call:
    return _read(
        TEMPLATE,
        "list_setting_templates",
        name=None if name is None else line(name, "a template's name", InvalidArgument),
        owner=owner,
    )


def delete_setting_template(name: str, setting_type: str | None, owner: str | None) -> Call:
    name = line(name, "a template's name", InvalidArgument)
    return _read("r", "delete_setting_template", name=name, setting_type=setting_type, owner=owner)


def apply_setting_template(
    name: str,
    setting_type: str,
    identifiers: Sequence[str] | None,
    filter: Mapping[str, Any] | None,
    replace: bool,
    dry_run: bool,
    symbol: str | None = None,
    owner: str | None = None,
) -> Call:
    return _write(
        "r.*", "apply_setting_template", "name", line(name, "a template's name", InvalidArgument),
        setting_type=setting_type, identifiers=None if identifiers is None else list(identifiers),
        filter=None if filter is None else json_text(filter), replace=flag(replace, "replace"),
        dry_run=flag(dry_run, "dry_run"), symbol=symbol_or_none(symbol), owner=owner,
    )  # fmt: skip
