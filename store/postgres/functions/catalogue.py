"""The SQL functions of catalogue, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping

from store.json_writer import json_text
from store.models import Document
from store.postgres.call import Call, _read

TYPE = "r.setting_type as name, r.redis_suffix, r.redis_encoding, r.has_symbols"


def list_setting_types() -> Call:
    return _read(TYPE, "list_setting_types")


def check_setting_type(setting_type: str) -> Call:
    return _read(TYPE, "check_setting_type", setting_type=setting_type)


def convert_settings(documents: Mapping[str, Document]) -> Call:
    """`documents`: setting type -> document."""
    query = (
        "select d.setting_type, r::text as document"
        " from jsonb_to_recordset(%(items)s::jsonb) as d (setting_type text, document jsonb)"
        " cross join lateral public.convert_settings(d.setting_type, d.document) r"
    )
    items = [{"setting_type": setting_type, "document": document} for setting_type, document in documents.items()]
    return Call(query, {"items": json_text(items)})


def list_setting_fields() -> Call:
    return _read("r.setting_type, r.key", "list_setting_fields")


def list_secret_fields() -> Call:
    return Call("select r.setting_type, r.key from public.list_setting_fields() r where r.is_secret", {})
