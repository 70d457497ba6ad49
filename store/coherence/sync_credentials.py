"""Sync of API credentials: compares what Redis has with PostgreSQL, three ways, as import_documents() does settings.

Here and not in SQL, as only this side can decrypt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from store.batches import cut, halve
from store.coherence.connections import Connections
from store.coherence.relay import BATCH
from store.encryption.fields import FIELDS, Secrets, is_same, is_sealed, seal, unseal
from store.encryption.vault import is_ciphertext
from store.errors import ConfigError, DatabaseUnavailable, StoreError, VersionConflict
from store.json_writer import shown_key
from store.mirror.entries import CREDENTIALS, NOTES, Found, Place, without_notes
from store.models import MirrorEntry
from store.postgres import functions

Row = dict[str, Any]

UNCHOSEN = "Redis holds API keys in plain text, and MIRROR_CREDENTIALS isn't set"


async def require_mode(stores: Connections, okx_uid: str | None = None) -> None:
    """Refuse to go on where what becomes of plain text in Redis (of this user, if given) wasn't decided. Raises
    ConfigError."""
    if stores.mirror.is_mode_chosen:
        return
    async for keys in stores.mirror.scan(BATCH, CREDENTIALS.suffix):
        places = [replace(CREDENTIALS, owner=owner) for owner, _ in keys if okx_uid in (None, owner)]
        sizes = await stores.mirror.sizes(places)
        for part in cut(zip(places, sizes, strict=True), itemgetter(1)):
            finds = await stores.mirror.inspect([place for place, _ in part], sum(size for _, size in part))
            if any(map(is_plain, finds)):
                raise ConfigError(
                    UNCHOSEN,
                    hint="plain: bots go on reading them themselves; encrypted: only this store can; off: they leave"
                    " Redis. Set it to the same in every process. Nothing was changed.",
                )


def is_plain(found: Found) -> bool:
    """Tell whether this is a hash of credentials that holds plain text."""
    return found.type == "hash" and any(
        (text := found.content.get(name)) and not is_ciphertext(text) for name in FIELDS
    )


def _reason(what: str, found: Found) -> str:
    """Say where a version came from, and which notes stood beside it: they aren't the store's to keep elsewhere."""
    notes = [f"{name} {shown_key(found.content[name])}" for name in sorted(NOTES & set(found.content))]
    return f"{what}, with {', '.join(notes)}" if notes else what


async def import_credentials(
    stores: Connections, finds: Mapping[Place, Found], prefer: str | None, dry_run: bool, erasures: int | None
) -> list[Row]:
    """Take over credentials that only Redis has, or that were edited there. Returns {owner, kind, outcome, problems}
    of each key, with the outcomes of import_documents(), and `busy`: somebody saved in between, or was
    erased. Raises DatabaseUnavailable."""
    owners = [place.owner for place in finds]
    kinds = [CREDENTIALS.kind] * len(owners) + ["user"] * len(owners)
    states = {
        (row["owner"], row["kind"]): row
        for row in await stores.database.fetch(functions.mirror.mirror_state(owners * 2, kinds))
    }
    unknown = [owner for owner in owners if (owner, "user") not in states]
    erased = (
        {row["r"] for row in await stores.database.fetch(functions.users.erased_owners(unknown))} if unknown else set()
    )
    versions: dict[str, list[Row]] = {}
    for row in await stores.database.fetch(functions.credentials.list_api_credentials(owners)):
        versions.setdefault(row["okx_uid"], []).append(dict(row))
    rows: dict[str, Row] = {}
    fresh: dict[str, dict[str, str]] = {}
    for place, given in finds.items():
        owner, outcome, found = place.owner, "ok", given
        if found.type == "hash":
            found = replace(found, content=Secrets(without_notes(found.content)))
        problems: dict[str, str] | None = None
        active, user = states.get((owner, CREDENTIALS.kind)), states.get((owner, "user"))
        try:
            if not _is_untouched(found, active):
                plain = _plain(stores, owner, found)
                outcome = _outcome(stores, owner, found, plain, active, user, versions.get(owner, []))
                if owner in erased:
                    outcome = "deleted"
                if outcome == "new" and not dry_run:
                    reason = _reason("found in Redis", given)
                    fresh[owner] = {**seal(stores.vault, owner, plain, 1), "reason": reason}
                elif not dry_run:
                    reason = _reason("edited in Redis", given)
                    newest = max((row["version"] for row in versions.get(owner, [])), default=0)
                    outcome = await _settle(stores, owner, plain, active, newest, outcome, prefer, reason)
        except DatabaseUnavailable:
            raise
        except StoreError as error:
            outcome, problems = "bad", {"$": str(error)}
        rows[owner] = {"owner": owner, "kind": CREDENTIALS.kind, "outcome": outcome, "problems": problems}
    await _take_over(stores, fresh, rows, erasures)
    return list(rows.values())


async def _take_over(
    stores: Connections, fresh: Mapping[str, dict[str, str]], rows: Mapping[str, Row], erasures: int | None
) -> None:
    """Save what only Redis has, all in one statement if PostgreSQL refuses none of it."""

    async def take_over(owners: Sequence[str]) -> list[None]:
        call = functions.credentials.import_credentials({owner: fresh[owner] for owner in owners}, erasures)
        for row in await stores.database.fetch(call):
            if row["version"] is None:
                rows[row["okx_uid"]]["outcome"] = "deleted"
        return []

    def refused(owner: str, error: StoreError) -> list[None]:
        is_rival = isinstance(error, VersionConflict)
        rows[owner] |= {"outcome": "busy"} if is_rival else {"outcome": "bad", "problems": {"$": str(error)}}
        return []

    if fresh:
        await halve(list(fresh), take_over, refused, unless=(DatabaseUnavailable,))


def _is_untouched(found: Found, active: Row | None) -> bool:
    """Tell, without a key, whether Redis has what we wrote there."""
    if active is None or active["document"] is None or found.version != active["version"]:
        return False
    return bool(found.content == json.loads(active["document"]))


def _plain(stores: Connections, owner: str, found: Found) -> Secrets:
    """Read what Redis has. Raises StoreError."""
    if found.type != "hash":
        raise StoreError("not a Redis hash")
    lacking = [name for name in FIELDS if not found.content.get(name)]
    if lacking:
        raise StoreError(f"lacks {', '.join(lacking)}")
    unknown = len(set(found.content) - set(FIELDS))
    if unknown:
        raise StoreError(f"holds {unknown} fields besides {', '.join(FIELDS)}")
    return unseal(stores.vault, owner, found.content)


def _outcome(
    stores: Connections, owner: str, found: Found, plain: Secrets, active: Row | None, user: Row | None,
    versions: Sequence[Row],
) -> str:  # fmt: skip
    if (user is not None and user["document"] is None) or (active is not None and active["encoding"] == "erased"):
        return "deleted"
    if active is None:
        return "new"
    known = [row for row in versions if is_same(stores.vault, owner, row, plain)]
    if any(row["is_active"] for row in known):
        shown = stores.mirror.shown(MirrorEntry(**active)).document
        is_ours = shown is not None and found.content == json.loads(shown)  # not plain text, say, over ciphertext
        return "ok" if found.version == active["version"] and is_ours else "same"
    if is_sealed(found.content):
        # Nobody edits ciphertext: it is old, or of a PostgreSQL that came back from a backup, whatever version the
        # mirror hash tells. Put there as an edit, earlier credentials would be in force again.
        return "stale" if known else "conflict"
    if found.version == active["version"]:
        return "edited"
    return "stale" if 0 < found.version < active["version"] and known else "conflict"


async def _settle(
    stores: Connections, owner: str, plain: Secrets, active: Row | None, newest: int, outcome: str, prefer: str | None,
    reason: str,
) -> str:  # fmt: skip
    """Write what the outcome asks for; return the outcome."""
    if outcome != "edited" and not (outcome == "conflict" and prefer):
        return outcome
    sealed = seal(stores.vault, owner, plain, active["version"] + 1 if active else 1)
    try:
        if active and (outcome == "edited" or prefer == "redis"):
            call = functions.credentials.save_api_credentials(owner, sealed, active["version"]).by(None, reason)
        else:
            call = functions.credentials.keep_losing_credentials(owner, sealed, newest)
        (row,) = await stores.database.fetch(call)
    except VersionConflict:
        return "busy"
    return outcome if row.get("is_done", True) else "busy"
