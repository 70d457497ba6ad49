"""The SQL functions, as statements with parameters. The only file that names them; no I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from store.arguments import count_or_none, json_text, line, text_or_none, version_or_none
from store.errors import BadIdentifier
from store.models import Document

SETTING = (
    "r.okx_uid, r.telegram_id, r.setting_type, r.version, r.settings::text as document, r.updated_at, r.deleted_at"
)
USER = "r.id, r.okx_uid, r.telegram_id, r.name, r.telegram_username, r.created_at, r.updated_at"
ENTRY = "r.owner, r.kind, r.suffix, r.encoding, r.version, r.updated_at, r.document::text as document"
TYPE = "r.setting_type as name, r.redis_suffix, r.redis_encoding"

# Who writes and why, set in the statement that writes, for its transaction only. The function takes its
# identifier from here: by that dependency the settings are made before it runs.
WRITER = """(
    select %(identifier)s::text as identifier,
           set_config('settings_store.actor', %(actor)s, true), set_config('settings_store.reason', %(reason)s, true)
    offset 0) writer cross join lateral """


@dataclass(frozen=True, slots=True)
class Call:
    """A statement and its parameters."""

    query: str
    params: Mapping[str, Any]

    def by(self, actor: str | None, reason: str | None) -> Call:
        """Say who writes and why."""
        who = {"actor": text_or_none(actor, "actor") or "", "reason": text_or_none(reason, "reason") or ""}
        return replace(self, params={**self.params, **who})


def _read(columns: str, function: str, **arguments: Any) -> Call:
    named = ", ".join(f"p_{name} => %({name})s" for name in arguments)
    return Call(f"select {columns} from {function}({named}) r", arguments)


def _write(columns: str, function: str, first: str, identifier: str, **arguments: Any) -> Call:
    named = "".join(f", p_{name} => %({name})s" for name in arguments)
    query = f"select {columns} from {WRITER}{function}(p_{first} => writer.identifier{named}) r"
    return Call(query, {"identifier": identifier, **arguments}).by(None, None)


def register_user(
    okx_uid: str,
    telegram_id: str | None,
    name: str | None,
    telegram_username: str | None,
    documents: Mapping[str, Document],
) -> Call:
    return _write(
        SETTING, "register_user", "okx_uid", okx_uid,
        telegram_id=telegram_id and line(telegram_id, "a Telegram ID", BadIdentifier), name=text_or_none(name, "name"),
        telegram_username=text_or_none(telegram_username, "telegram_username"), documents=json_text(documents),
    )  # fmt: skip


def find_user(identifier: str) -> Call:
    return _read(USER, "find_user", identifier=identifier)


def list_users(after: str | None, limit: int | None) -> Call:
    return _read(USER, "list_users", after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"))


def link_telegram(identifier: str, telegram_id: str, telegram_username: str | None) -> Call:
    return _write(
        USER, "link_telegram", "identifier", identifier,
        telegram_id=line(telegram_id, "a Telegram ID", BadIdentifier),
        telegram_username=text_or_none(telegram_username, "telegram_username"),
    )  # fmt: skip


def unlink_telegram(identifier: str) -> Call:
    return _write(USER, "unlink_telegram", "identifier", identifier)


def delete_user(identifier: str) -> Call:
    return _write(USER, "delete_user", "identifier", identifier)


def list_setting_types() -> Call:
    return _read(TYPE, "list_setting_types")


def check_setting_type(setting_type: str) -> Call:
    return _read(TYPE, "check_setting_type", setting_type=setting_type)


def get_user_settings(identifier: str, setting_type: str | None) -> Call:
    return _read(SETTING, "get_user_settings", identifier=identifier, setting_type=setting_type)


def find_users_by_setting(setting_type: str, filter: Document, after: str | None, limit: int | None) -> Call:
    return _read(
        SETTING, "find_users_by_setting",
        setting_type=setting_type, filter=json_text(filter),
        after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"),
    )  # fmt: skip


def upsert_user_setting(identifier: str, setting_type: str, settings: Document, expected_version: int | None) -> Call:
    return _write(
        SETTING, "upsert_user_setting", "identifier", identifier,
        setting_type=setting_type, settings=json_text(settings), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def patch_user_setting(identifier: str, setting_type: str, patch: Document, expected_version: int | None) -> Call:
    return _write(
        SETTING, "patch_user_setting", "identifier", identifier,
        setting_type=setting_type, patch=json_text(patch), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def save_user_settings(identifier: str, documents: Mapping[str, Document]) -> Call:
    return _write(SETTING, "save_user_settings", "identifier", identifier, documents=json_text(documents))


def delete_user_setting(identifier: str, setting_type: str, expected_version: int | None) -> Call:
    return _write(
        SETTING, "delete_user_setting", "identifier", identifier,
        setting_type=setting_type, expected_version=version_or_none(expected_version),
    )  # fmt: skip


def pending_keys(
    owners: Sequence[str] | None, kinds: Sequence[str] | None, limit: int, include_failed: bool = False
) -> Call:
    wanted = {"owners": owners and list(owners), "kinds": kinds and list(kinds)}
    return _read(ENTRY, "pending_keys", **wanted, limit=limit, include_failed=include_failed)


def fail_pending(owner: str, kind: str, version: int, error: str) -> Call:
    return _read("r", "fail_pending", owner=owner, kind=kind, version=version, error=error)


def database_identity() -> Call:
    return _read("r", "database_identity")


def retry_pending() -> Call:
    return _read("r", "retry_pending")


def pending_lag() -> Call:
    return _read("r.*", "pending_lag")


def mirror_state(owners: Sequence[str], kinds: Sequence[str]) -> Call:
    return _read(ENTRY, "mirror_state", owners=list(owners), kinds=list(kinds))


def mirror_source(owners: Sequence[str] | None = None) -> Call:
    """The view of what Redis should hold; of these owners, or all of it, to be streamed."""
    if owners is None:
        return Call(f"select {ENTRY} from mirror_source r", {})
    return Call(f"select {ENTRY} from mirror_source r where r.owner = any (%(owners)s)", {"owners": list(owners)})


def list_setting_fields() -> Call:
    return _read("r.setting_type, r.key, r.json_type, r.is_nullable", "list_setting_fields")


def import_documents(items: str, prefer: str | None, dry_run: bool, keep_only: bool = False) -> Call:
    return _read("r.*", "import_documents", items=items, prefer=prefer, keep_only=keep_only, dry_run=dry_run)


def import_links(items: str, prefer: str | None, dry_run: bool) -> Call:
    return _read("r.*", "import_links", items=items, prefer=prefer, dry_run=dry_run)


def clear_pending(owners: Sequence[str], kinds: Sequence[str], versions: Sequence[int]) -> Call:
    return _read("r", "clear_pending", owners=list(owners), kinds=list(kinds), versions=list(versions))


def store_statistics() -> Call:
    return _read("r.*", "store_statistics")
