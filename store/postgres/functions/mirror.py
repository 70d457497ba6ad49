"""The SQL functions of mirror, as statements with parameters. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NewType

from store.json_writer import json_text
from store.postgres.call import Call, _import, _read

WAITED = "date_part('epoch', r.waited) as waited"

CHARACTERS = 4_000_000  # of documents, with which a page of marked keys ends

Snapshot = NewType("Snapshot", str)

ENTRY = "r.owner, r.kind, r.suffix, r.encoding, r.version, r.updated_at, r.document::text as document"


def pending_keys(
    owners: Sequence[str] | None, kinds: Sequence[str] | None, limit: int, after: tuple[str, str] = ("", "")
) -> Call:
    """What is marked, behind the owner and kind `after`; of certain owners also what was set aside."""
    wanted = {"owners": owners and list(owners), "kinds": kinds and list(kinds), "limit": limit}
    wanted["include_failed"] = owners is not None
    place = {"after_owner": after[0], "after_kind": after[1], "characters": CHARACTERS}
    return _read(f"{ENTRY}, {WAITED}", "pending_keys", **wanted, **place)


def marked_keys(owners: Sequence[str]) -> Call:
    """What is marked of these owners, also what was set aside; without the documents."""
    return _read(
        "r.owner, r.kind", "pending_keys", owners=list(owners), limit=None, include_failed=True, characters=None
    )


def fresh_keys(since: Snapshot, limit: int, listens: float | None = None) -> Call:
    """What is marked that the snapshot `since` didn't show, the newest first, each row with the snapshot of now; if
    nothing is, one row without an owner. `listens`: for so many seconds others are to notify; why they can't is in each
    row, too."""
    named = "p_since => %(since)s, p_limit => %(limit)s, p_characters => %(characters)s"
    asked = "" if listens is None else "public.await_marks(%(seconds)s) as obstacle"
    query = (
        f"select pg_current_snapshot()::text as seen, {ENTRY}, {WAITED}{asked and ', one.obstacle'}"
        f" from (select {asked} offset 0) one left join public.pending_keys({named}) r on true"
    )
    params = {"since": since, "limit": limit, "characters": CHARACTERS}
    return Call(query, params if listens is None else {**params, "seconds": listens})


def fail_pending(refused: Sequence[tuple[str, str, int, str]]) -> Call:
    """`refused`: owner, kind, version, and why."""
    arrays = {name: [key[i] for key in refused] for i, name in enumerate(("owners", "kinds", "versions", "errors"))}
    return _read("r.owner, r.kind", "fail_pending", **arrays)


def mirror_epoch() -> Call:
    return _read("r.*", "mirror_epoch")


def begin_epoch() -> Call:
    return _read("r.*", "begin_epoch")


def end_epoch(epoch: str) -> Call:
    return _read("r", "end_epoch", epoch=epoch)


def retry_pending() -> Call:
    return _read("r", "retry_pending")


def mirror_state(owners: Sequence[str], kinds: Sequence[str]) -> Call:
    return _read(ENTRY, "mirror_state", owners=list(owners), kinds=list(kinds))


def known_keys(owners: Sequence[str], kinds: Sequence[str]) -> Call:
    """Those of these keys that PostgreSQL has, or had, something for; without the documents."""
    return _read("r.owner, r.kind, r.version, r.updated_at", "mirror_state", owners=list(owners), kinds=list(kinds))


def mirror_source(owners: Sequence[str] | None = None) -> Call:
    """The whole view of what Redis should hold, to be streamed, or what it has of these owners."""
    if owners is None:
        return Call(f"select {ENTRY} from public.mirror_source r", {})
    return _read(ENTRY, "mirror_entries", owners=list(owners))


def import_documents(items: str, prefer: str | None, dry_run: bool, erasures: int | None = None) -> Call:
    return _import("r.*", "import_documents", items, erasures, prefer=prefer, dry_run=dry_run)


def keep_documents(items: str, dry_run: bool = False) -> Call:
    return _read("r.*", "keep_documents", items=items, dry_run=dry_run)


def note_deleted_key(owner: str, kind: str, okx_uid: str) -> Call:
    return _read("r", "note_deleted_key", owner=owner, kind=kind, okx_uid=okx_uid)


def import_links(items: str, prefer: str | None, dry_run: bool, erasures: int | None = None) -> Call:
    return _import("r.*", "import_links", items, erasures, prefer=prefer, dry_run=dry_run)


def clear_pending(
    owners: Sequence[str], kinds: Sequence[str], versions: Sequence[int], erased: Sequence[bool],
    moments: Sequence[datetime | None],
) -> Call:  # fmt: skip
    return _read(
        "r", "clear_pending", owners=list(owners), kinds=list(kinds), versions=list(versions), erased=list(erased),
        moments=list(moments),
    )  # fmt: skip


def pending_lag() -> Call:
    return _read("r.*", "pending_lag")


def key_count() -> Call:
    """How many keys the mirror has or should have."""
    return Call("select count(*) as keys from public.mirror_source", {})


def record_verification(checked: int, findings: Mapping[str, int], repaired: int) -> Call:
    return _read("r.*", "record_verification", checked=checked, findings=json_text(findings), repaired=repaired)


def last_verification() -> Call:
    return _read("r.*", "last_verification")
