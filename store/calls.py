"""The SQL functions, as statements with parameters. The only file that names them; no I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NewType
from uuid import UUID

from store.arguments import count, count_or_none, flag, line, span, text_or_none, time, version_or_none
from store.errors import BadIdentifier, InvalidArgument
from store.jsonwriter import json_text
from store.models import Document
from store.sealed import FIELDS
from store.statements import IMPORTER, _import, _read, _write, seen
from store.statements import Call as Call  # callers find it here

SETTING = (
    "r.okx_uid, r.telegram_id, r.setting_type, r.version, r.settings::text as document, r.updated_at, r.deleted_at"
)
MISSING = "case when r.deleted_at is null then missing_setting_keys(r.setting_type, r.settings) end as missing_keys"
SAVED = f"{SETTING}, {MISSING}"
ROW = (
    "r.id, r.user_id, r.okx_uid, r.telegram_id, r.setting_type, r.settings, r.version, r.is_active, r.created_at, "
    "r.updated_at"
)
USER = "r.id, r.okx_uid, r.telegram_id, r.name, r.telegram_username, r.created_at, r.updated_at, r.deleted_at"
ENTRY = "r.owner, r.kind, r.suffix, r.encoding, r.version, r.updated_at, r.document::text as document"
Snapshot = NewType("Snapshot", str)
CHARACTERS = 4_000_000  # of documents, with which a page of marked keys ends
WAITED = "date_part('epoch', r.waited) as waited"
CREDENTIALS = "r.okx_uid, r.version, r.updated_at, r.deleted_at, r.api_key, r.api_secret, r.passphrase"
TEMPLATE = "r.name, r.setting_type, r.settings::text as document, r.changed_by, r.updated_at, r.written_by"
TYPE = "r.setting_type as name, r.redis_suffix, r.redis_encoding"


def register_user(
    okx_uid: str,
    telegram_id: str | None,
    name: str | None,
    telegram_username: str | None,
    documents: Mapping[str, Document],
    template: str,
) -> Call:
    return _write(
        SAVED, "register_user", "okx_uid", okx_uid,
        telegram_id=None if telegram_id is None else line(telegram_id, "a Telegram ID", BadIdentifier),
        name=text_or_none(name, "name"),
        telegram_username=text_or_none(telegram_username, "telegram_username"), documents=json_text(documents),
        template=line(template, "a template's name", InvalidArgument),
    )  # fmt: skip


def ensure_user(okx_uid: str, telegram_id: str | None, name: str | None, telegram_username: str | None) -> Call:
    return _write(
        USER, "ensure_user", "okx_uid", okx_uid,
        telegram_id=None if telegram_id is None else line(telegram_id, "a Telegram ID", BadIdentifier),
        name=text_or_none(name, "name"), telegram_username=text_or_none(telegram_username, "telegram_username"),
    )  # fmt: skip


def find_user(identifier: str) -> Call:
    return _read(USER, "find_user", identifier=identifier)


def user_record(identifier: str) -> Call:
    return _read("r.*", "user_record", identifier=identifier)


def list_users(after: str | None, limit: int | None) -> Call:
    return _read(USER, "list_users", after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"))


def list_deleted_users(after: str | None, limit: int | None) -> Call:
    return _read(USER, "list_deleted_users", after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"))


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


def restore_user(identifier: str) -> Call:
    return _write(USER, "restore_user", "identifier", identifier)


def erase_user(identifier: str) -> Call:
    return _write("r.*", "erase_user", "identifier", identifier)


def list_setting_types() -> Call:
    return _read(TYPE, "list_setting_types")


def check_setting_type(setting_type: str) -> Call:
    return _read(TYPE, "check_setting_type", setting_type=setting_type)


def get_user_settings(identifier: str, setting_type: str | None) -> Call:
    return _read(SETTING, "get_user_settings", identifier=identifier, setting_type=setting_type)


def user_setting_rows(identifier: str, setting_type: str | None) -> Call:
    """The active documents with every column that callers of the older schema know."""
    return _read(ROW, "get_user_settings", identifier=identifier, setting_type=setting_type)


def find_users_by_setting(setting_type: str, filter: Document, after: str | None, limit: int | None) -> Call:
    return _read(
        SETTING, "find_users_by_setting",
        setting_type=setting_type, filter=json_text(filter),
        after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"),
    )  # fmt: skip


def upsert_user_setting(identifier: str, setting_type: str, settings: Document, expected_version: int | None) -> Call:
    return _write(
        SAVED, "upsert_user_setting", "identifier", identifier,
        setting_type=setting_type, settings=json_text(settings), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def patch_user_setting(identifier: str, setting_type: str, patch: Document, expected_version: int | None) -> Call:
    return _write(
        SAVED, "patch_user_setting", "identifier", identifier,
        setting_type=setting_type, patch=json_text(patch), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def save_user_settings(identifier: str, documents: Mapping[str, Document]) -> Call:
    return _write(SAVED, "save_user_settings", "identifier", identifier, documents=json_text(documents))


def delete_user_setting(identifier: str, setting_type: str, expected_version: int | None) -> Call:
    return _write(
        SAVED, "delete_user_setting", "identifier", identifier,
        setting_type=setting_type, expected_version=version_or_none(expected_version),
    )  # fmt: skip


def user_setting_history(identifier: str, setting_type: str | None, before: datetime | None, limit: int | None) -> Call:
    return _read(
        "r.*", "user_setting_history", identifier=identifier, setting_type=setting_type,
        before=None if before is None else time(before, "before"), limit=count_or_none(limit, "limit"),
    )  # fmt: skip


def user_setting_version(identifier: str, setting_type: str, version: int) -> Call:
    version = count(version, "version")
    return _read(SETTING, "user_setting_version", identifier=identifier, setting_type=setting_type, version=version)


def user_setting_at(identifier: str, setting_type: str | None, at: datetime) -> Call:
    return _read(SETTING, "user_setting_at", identifier=identifier, setting_type=setting_type, at=time(at, "at"))


def diff_user_setting(identifier: str, setting_type: str, from_: int, to: int) -> Call:
    versions = {"from": count(from_, "version"), "to": count(to, "version")}
    return _read("r.*", "diff_user_setting", identifier=identifier, setting_type=setting_type, **versions)


def rollback_user_setting(identifier: str, setting_type: str, version: int, expected_version: int | None) -> Call:
    return _write(
        SAVED, "rollback_user_setting", "identifier", identifier, setting_type=setting_type,
        version=count(version, "version"), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def rollback_user_settings(identifier: str, at: datetime) -> Call:
    return _write(SAVED, "rollback_user_settings", "identifier", identifier, at=time(at, "at"))


def restore_user_setting(identifier: str, setting_type: str, expected_version: int | None) -> Call:
    return _write(
        SAVED, "restore_user_setting", "identifier", identifier,
        setting_type=setting_type, expected_version=version_or_none(expected_version),
    )  # fmt: skip


def prune_user_settings(keep: int, older_than: timedelta, identifier: str | None, dry_run: bool) -> Call:
    return _read(
        "r.*", "prune_user_settings", keep=count(keep, "keep"), older_than=span(older_than, "older_than"),
        identifier=identifier, dry_run=flag(dry_run, "dry_run"),
    )  # fmt: skip


def save_setting_template(name: str, setting_type: str, settings: Document) -> Call:
    return _write(
        TEMPLATE, "save_setting_template", "name", line(name, "a template's name", InvalidArgument),
        setting_type=setting_type, settings=json_text(settings),
    )  # fmt: skip


def list_setting_templates(name: str | None) -> Call:
    return _read(
        TEMPLATE,
        "list_setting_templates",
        name=None if name is None else line(name, "a template's name", InvalidArgument),
    )


def delete_setting_template(name: str, setting_type: str | None) -> Call:
    name = line(name, "a template's name", InvalidArgument)
    return _read("r", "delete_setting_template", name=name, setting_type=setting_type)


def apply_setting_template(
    name: str,
    setting_type: str,
    identifiers: Sequence[str] | None,
    filter: Document | None,
    replace: bool,
    dry_run: bool,
) -> Call:
    return _write(
        "r.*", "apply_setting_template", "name", line(name, "a template's name", InvalidArgument),
        setting_type=setting_type, identifiers=None if identifiers is None else list(identifiers),
        filter=None if filter is None else json_text(filter), replace=flag(replace, "replace"),
        dry_run=flag(dry_run, "dry_run"),
    )  # fmt: skip


def export_users(identifiers: Sequence[str] | None, with_secrets: bool, after: str | None, limit: int) -> Call:
    return _read(
        "r.okx_uid, jsonb_pretty(r.document) as document", "export_users",
        identifiers=None if identifiers is None else list(identifiers), with_secrets=with_secrets,
        after=after, limit=limit,
    )  # fmt: skip


def import_users(users: str, dry_run: bool) -> Call:
    return _write("r.*", "import_users", "users::jsonb", users, dry_run=dry_run)


def save_api_credentials(okx_uid: str, sealed: Mapping[str, str], expected_version: int | None) -> Call:
    """`sealed`: the three fields, encrypted."""
    return _write(
        CREDENTIALS, "save_api_credentials", "identifier", okx_uid,
        **_fields(sealed), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def take_over_credentials(sealed: Mapping[str, Mapping[str, str]], erasures: int | None = None) -> Call:
    """`sealed`: OKX UID -> the three fields, encrypted. One transaction, in the order in which users are locked."""
    items = [{"okx_uid": okx_uid, **_fields(sealed[okx_uid])} for okx_uid in sorted(sealed)]
    columns = ", ".join(f"{name} text" for name in ("okx_uid", *FIELDS))
    named = ", ".join(f"p_{name} => i.{name}" for name in ("okx_uid", *FIELDS))
    query = (
        f"select i.okx_uid, r.version from {IMPORTER}jsonb_to_recordset(writer.identifier::jsonb) as i ({columns})"
        f" cross join lateral public.take_over_credentials({named}) r"
    )
    params = {"identifier": json_text(items), "lock_timeout": "", "erasures": seen(erasures)}
    return Call(query, params).by(None, "found in Redis")


def get_api_credentials(identifier: str) -> Call:
    return _read(CREDENTIALS, "get_api_credentials", identifier=identifier)


def delete_api_credentials(identifier: str, expected_version: int | None) -> Call:
    return _write(
        CREDENTIALS, "delete_api_credentials", "identifier", identifier,
        expected_version=version_or_none(expected_version),
    )  # fmt: skip


def api_credentials_history(identifier: str) -> Call:
    return _read("r.*", "api_credentials_history", identifier=identifier)


def list_api_credentials(okx_uids: Sequence[str] | None, after: UUID | None = None, limit: int | None = None) -> Call:
    whom = None if okx_uids is None else list(okx_uids)
    return _read(f"{CREDENTIALS}, r.id, r.is_active", "list_api_credentials", okx_uids=whom, after=after, limit=limit)


def reencrypt_api_credentials(id: UUID, digest: str, sealed: Mapping[str, str]) -> Call:
    return _read("r as done", "reencrypt_api_credentials", id=id, digest=digest, **_fields(sealed))


def seal_api_credentials() -> Call:
    return _read("r as plain", "seal_api_credentials")


def keep_losing_credentials(okx_uid: str, sealed: Mapping[str, str]) -> Call:
    return _read("r as is_done", "keep_losing_credentials", okx_uid=okx_uid, **_fields(sealed))


def _fields(sealed: Mapping[str, str]) -> dict[str, str | None]:
    return {name: sealed.get(name) for name in FIELDS}


def pending_keys(
    owners: Sequence[str] | None, kinds: Sequence[str] | None, limit: int, after: tuple[str, str] = ("", "")
) -> Call:
    """What is marked, behind the owner and kind `after`."""
    wanted = {"owners": owners and list(owners), "kinds": kinds and list(kinds), "limit": limit}
    place = {"after_owner": after[0], "after_kind": after[1], "characters": CHARACTERS}
    return _read(f"{ENTRY}, {WAITED}", "pending_keys", **wanted, **place)


def marked_keys(owners: Sequence[str]) -> Call:
    """What is marked of these owners, also what was set aside; without the documents."""
    return _read(
        "r.owner, r.kind", "pending_keys", owners=list(owners), limit=None, include_failed=True, characters=None
    )


def fresh_keys(since: Snapshot, limit: int) -> Call:
    """What is marked that the snapshot `since` didn't show, the newest first, each row with the snapshot of now; if
    nothing is, one row without an owner."""
    named = "p_since => %(since)s, p_limit => %(limit)s, p_characters => %(characters)s"
    query = (
        f"select pg_current_snapshot()::text as seen, {ENTRY}, {WAITED}"
        f" from (select) one left join pending_keys({named}) r on true"
    )
    return Call(query, {"since": since, "limit": limit, "characters": CHARACTERS})


def fail_pending(refused: Sequence[tuple[str, str, int, str]]) -> Call:
    """`refused`: owner, kind, version, and why."""
    arrays = {name: [key[i] for key in refused] for i, name in enumerate(("owners", "kinds", "versions", "errors"))}
    return _read("r.owner, r.kind", "fail_pending", **arrays)


def database_identity() -> Call:
    return _read("r", "database_identity")


def retry_pending() -> Call:
    return _read("r", "retry_pending")


def mirror_state(owners: Sequence[str], kinds: Sequence[str]) -> Call:
    return _read(ENTRY, "mirror_state", owners=list(owners), kinds=list(kinds))


def known_keys(owners: Sequence[str], kinds: Sequence[str]) -> Call:
    """Those of these keys that PostgreSQL has, or had, something for; without the documents."""
    return _read("r.owner, r.kind", "mirror_state", owners=list(owners), kinds=list(kinds))


def mirror_source(owners: Sequence[str] | None = None) -> Call:
    """The whole view of what Redis should hold, to be streamed, or what it has of these owners."""
    if owners is None:
        return Call(f"select {ENTRY} from public.mirror_source r", {})
    return _read(ENTRY, "mirror_entries", owners=list(owners))


def list_setting_fields() -> Call:
    return _read("r.setting_type, r.key, r.json_type, r.is_nullable", "list_setting_fields")


def list_secret_fields() -> Call:
    return Call("select r.setting_type, r.key from public.list_setting_fields() r where r.is_secret", {})


def import_documents(items: str, prefer: str | None, dry_run: bool, erasures: int | None = None) -> Call:
    return _import("r.*", "import_documents", items, erasures, prefer=prefer, dry_run=dry_run)


def keep_documents(items: str) -> Call:
    return _read("r.*", "keep_documents", items=items)


def import_links(items: str, prefer: str | None, dry_run: bool, erasures: int | None = None) -> Call:
    return _import("r.*", "import_links", items, erasures, prefer=prefer, dry_run=dry_run)


def erasures() -> Call:
    """How many people were ever erased."""
    return _read("r", "erasures")


def clear_pending(owners: Sequence[str], kinds: Sequence[str], versions: Sequence[int], erased: Sequence[bool]) -> Call:
    return _read(
        "r", "clear_pending", owners=list(owners), kinds=list(kinds), versions=list(versions), erased=list(erased)
    )


def check_confinement(okx_uid: str | None) -> Call:
    return _read("r", "check_confinement", okx_uid=okx_uid)


def begin_restore(replace: bool) -> Call:
    return _read("r", "begin_restore", replace=replace)


def end_restore() -> Call:
    return _read("r", "end_restore")
