"""The SQL functions of users, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from store.arguments import count_or_none, line, text_or_none
from store.errors import BadIdentifier, InvalidArgument
from store.json_writer import json_text
from store.postgres.call import Call, _read, _write
from store.postgres.functions._columns import SAVED

USER = "r.id, r.okx_uid, r.telegram_id, r.name, r.telegram_username, r.created_at, r.updated_at, r.deleted_at"
NUMBERED = f"{USER}, r.version"  # which counts links and deletions


def register_user(
    okx_uid: str,
    telegram_id: str | None,
    name: str | None,
    telegram_username: str | None,
    documents: Mapping[str, Mapping[str, Any]],
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
        NUMBERED, "ensure_user", "okx_uid", okx_uid,
        telegram_id=None if telegram_id is None else line(telegram_id, "a Telegram ID", BadIdentifier),
        name=text_or_none(name, "name"), telegram_username=text_or_none(telegram_username, "telegram_username"),
    )  # fmt: skip


def find_user(identifier: str) -> Call:
    return _read(NUMBERED, "find_user", identifier=identifier)


def user_record(identifier: str) -> Call:
    return _read("r.*", "user_record", identifier=identifier)


def list_users(after: str | None, limit: int | None) -> Call:
    return _read(USER, "list_users", after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"))


def list_deleted_users(after: str | None, limit: int | None) -> Call:
    return _read(USER, "list_deleted_users", after=text_or_none(after, "after"), limit=count_or_none(limit, "limit"))


def link_telegram(identifier: str, telegram_id: str, telegram_username: str | None) -> Call:
    return _write(
        NUMBERED, "link_telegram", "identifier", identifier,
        telegram_id=line(telegram_id, "a Telegram ID", BadIdentifier),
        telegram_username=text_or_none(telegram_username, "telegram_username"),
    )  # fmt: skip


def unlink_telegram(identifier: str) -> Call:
    return _write(NUMBERED, "unlink_telegram", "identifier", identifier)


def delete_user(identifier: str) -> Call:
    return _write(NUMBERED, "delete_user", "identifier", identifier)


def restore_user(identifier: str) -> Call:
    return _write(NUMBERED, "restore_user", "identifier", identifier)


def erase_user(identifier: str) -> Call:
    return _write("r.*", "erase_user", "identifier", identifier)


def erasures() -> Call:
    """How many people were ever erased."""
    return _read("r", "erasures")


def erase_unknown(owners: Sequence[str]) -> Call:
    return _read("r", "erase_unknown", owners=list(owners))


def erased_owners(owners: Sequence[str]) -> Call:
    return _read("r", "erased_owners", owners=list(owners))


def clear_erased(owners: Sequence[str]) -> Call:
    return _read("r", "clear_erased", owners=list(owners))


def returned_owners(owners: Sequence[str]) -> Call:
    return _read("r", "returned_owners", owners=list(owners))


def clear_former_life(owner: str, given: Mapping[str, tuple[int, datetime]]) -> Call:
    """`given`: kind -> version and moment, as Redis has them."""
    versions, moments = [version for version, _ in given.values()], [moment for _, moment in given.values()]
    return _read("r", "clear_former_life", owner=owner, kinds=list(given), versions=versions, moments=moments)
