"""The SQL functions of settings, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store.arguments import count_or_none, text_or_none, version_or_none
from store.json_writer import json_text
from store.postgres.call import Call, _read, _write
from store.postgres.functions._columns import SAVED, SETTING

ROW = (
    "r.id, r.user_id, r.okx_uid, r.telegram_id, r.setting_type, r.settings, r.version, r.is_active, r.created_at, "
    "r.updated_at"
)


def get_user_settings(identifier: str, setting_type: str | None, symbol: str | None = None) -> Call:
    query = {"identifier": identifier, "setting_type": setting_type, "symbol": symbol}
    return _read(SETTING, "get_user_settings", **query, must_exist=True)


def get_user_settings_of_many(identifiers: Sequence[str], setting_type: str, symbol: str | None) -> Call:
    """A document of each of these users, with the identifier it was asked for by; nothing of those nobody has."""
    function = "public.get_user_settings(i.identifier, %(setting_type)s, %(symbol)s, false)"
    query = f"select i.identifier, {SETTING} from unnest(%(identifiers)s::text[]) i (identifier), lateral {function} r"
    return Call(query, {"identifiers": list(identifiers), "setting_type": setting_type, "symbol": symbol})


def names_of_symbols(identifier: str) -> Call:
    """What the user's documents of symbols are called; without the documents."""
    call = _read("r.setting_type", "get_user_settings", identifier=identifier, must_exist=True)
    return Call(f"{call.query} where r.setting_type like '%%:%%'", call.params)


def user_setting_rows(identifier: str, setting_type: str | None) -> Call:
    """The active documents with every column that callers of the older schema know."""
    return _read(ROW, "get_user_settings", identifier=identifier, setting_type=setting_type, must_exist=True)


def find_users_by_setting(setting_type: str, filter: Mapping[str, Any], after: str | None, limit: int | None) -> Call:
    return _read(
        SETTING, "find_users_by_setting",
        setting_type=setting_type, filter=json_text(filter),
        after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"),
    )  # fmt: skip


def upsert_user_setting(
    identifier: str, setting_type: str, settings: Mapping[str, Any], expected_version: int | None
) -> Call:
    return _write(
        SAVED, "upsert_user_setting", "identifier", identifier,
        setting_type=setting_type, settings=json_text(settings), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def patch_user_setting(
    identifier: str, setting_type: str, patch: Mapping[str, Any], expected_version: int | None
) -> Call:
    return _write(
        SAVED, "patch_user_setting", "identifier", identifier,
        setting_type=setting_type, patch=json_text(patch), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def save_user_settings(identifier: str, documents: Mapping[str, Mapping[str, Any]]) -> Call:
    return _write(SAVED, "save_user_settings", "identifier", identifier, documents=json_text(documents))


def save_settings_of_users(documents: Mapping[str, Mapping[str, Any]], setting_type: str, symbol: str | None) -> Call:
    """The rows come with the `identifier` that the document was given by."""
    saved = SAVED.replace("r.", "(r.setting).")
    return _write(
        f"r.identifier, {saved}", "save_settings_of_users", "documents::jsonb", json_text(documents),
        setting_type=setting_type, symbol=symbol,
    )  # fmt: skip


def delete_user_setting(identifier: str, setting_type: str, expected_version: int | None) -> Call:
    return _write(
        SAVED, "delete_user_setting", "identifier", identifier,
        setting_type=setting_type, expected_version=version_or_none(expected_version),
    )  # fmt: skip
