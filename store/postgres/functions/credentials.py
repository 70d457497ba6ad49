"""The SQL functions of credentials, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from store.arguments import version_or_none
from store.encryption.fields import FIELDS
from store.json_writer import json_text
from store.postgres.call import Call, _import, _read, _write

CREDENTIALS = "r.okx_uid, r.version, r.updated_at, r.deleted_at, r.api_key, r.api_secret, r.passphrase"


def save_api_credentials(okx_uid: str, sealed: Mapping[str, str], expected_version: int | None) -> Call:
    """`sealed`: the three fields, encrypted."""
    return _write(
        CREDENTIALS, "save_api_credentials", "identifier", okx_uid,
        **_fields(sealed), expected_version=version_or_none(expected_version),
    )  # fmt: skip


def import_credentials(sealed: Mapping[str, Mapping[str, str]], erasures: int | None = None) -> Call:
    """`sealed`: OKX UID -> the three fields, encrypted, and a `reason`."""
    items = json_text([{"okx_uid": okx_uid, **fields} for okx_uid, fields in sealed.items()])
    return _import("r.okx_uid, r.version", "import_credentials", items, erasures)


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


def seal_plain_credentials(id: UUID, digest: str, sealed: Mapping[str, str]) -> Call:
    return _read("r as done", "seal_plain_credentials", id=id, digest=digest, **_fields(sealed))


def seal_api_credentials() -> Call:
    return _read("r as plain", "seal_api_credentials")


def keep_losing_credentials(okx_uid: str, sealed: Mapping[str, str], newest: int) -> Call:
    """`newest`: the version up to which they were compared with those there are."""
    return _read("r as is_done", "keep_losing_credentials", okx_uid=okx_uid, **_fields(sealed), newest=newest)


def _fields(sealed: Mapping[str, str]) -> dict[str, str | None]:
    return {name: sealed.get(name) for name in FIELDS}
