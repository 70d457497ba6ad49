"""The SQL functions of catalogue, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.arguments import text_or_none
from store.json_writer import json_text
from store.postgres.call import Call, _read

TYPE = "r.setting_type as name, r.redis_suffix, r.redis_encoding, r.has_symbols"
FIELD = (
    "r.setting_type, r.key, r.json_type, r.is_nullable, r.default_value is not null as has_default,"
    " r.default_value::text as default, r.minimum, r.maximum, r.choices, r.is_secret,"
    " nullif(r.description, '') as description, nullif(r.description_ko, '') as description_ko,"
    " coalesce(r.is_hot, true) as is_hot"
)
RULE = "r.setting_type, r.name, r.keys, r.rule::text as rule, r.message, r.message_ko"


def list_setting_types() -> Call:
    return _read(TYPE, "list_setting_types")


def check_setting_type(setting_type: str) -> Call:
    return _read(TYPE, "check_setting_type", setting_type=setting_type)


def convert_settings(documents: Mapping[str, Mapping[str, Any]]) -> Call:
    """`documents`: setting type -> document."""
    query = (
        "select d.setting_type, r::text as document"
        " from jsonb_to_recordset(%(items)s::jsonb) as d (setting_type text, document jsonb)"
        " cross join lateral public.convert_settings(d.setting_type, d.document) r"
    )
    items = [{"setting_type": setting_type, "document": document} for setting_type, document in documents.items()]
    return Call(query, {"items": json_text(items)})


def list_setting_fields(setting_type: str) -> Call:
    return _read(FIELD, "list_setting_fields", setting_type=setting_type)


def list_setting_rules(setting_type: str) -> Call:
    return _read(RULE, "list_setting_rules", setting_type=setting_type)


def validate_user_setting(setting_type: str, document: Mapping[str, Any], is_partial: bool) -> Call:
    arguments = {"setting_type": setting_type, "settings": json_text(document), "is_partial": is_partial}
    return _read("r.key, r.problem", "validate_user_setting", **arguments)


def setting_schema(setting_type: str, language: str) -> Call:
    return _read(
        "r::text as document", "setting_schema", setting_type=setting_type, language=text_or_none(language, "language")
    )


def list_secret_fields() -> Call:
    return Call("select r.setting_type, r.key from public.list_setting_fields() r where r.is_secret", {})
