"""The SQL functions of files, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence

from store.postgres.call import Call, _read, _write


def export_users(identifiers: Sequence[str] | None, with_secrets: bool, after: str | None, limit: int) -> Call:
    return _read(
        "r.okx_uid, jsonb_pretty(r.document) as document", "export_users",
        identifiers=None if identifiers is None else list(identifiers), with_secrets=with_secrets,
        after=after, limit=limit,
    )  # fmt: skip


def import_users(users: str, dry_run: bool) -> Call:
    return _write("r.*", "import_users", "users::jsonb", users, dry_run=dry_run)


def begin_restore(replace: bool) -> Call:
    return _read("r", "begin_restore", replace=replace)


def end_restore() -> Call:
    return _read("r", "end_restore")
