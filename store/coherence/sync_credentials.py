"""Sync of API credentials: compares what Redis has with PostgreSQL, three ways, as import_documents() does settings.

Here and not in SQL, as only this side can decrypt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from store.batches import halve
from store.coherence.connections import Connections
from store.encryption.fields import FIELDS, Secrets, is_same, is_sealed, seal, unseal
from store.errors import DatabaseUnavailable, StoreError, VersionConflict
from store.mirror.entries import CREDENTIALS, Found, Place
from store.models import MirrorEntry
from store.postgres import functions

Row = dict[str, Any]

# What the bots of the predecessor write beside the three: whose they are, and when they were written.
NOTES = {"uid", "last_update_time", "last_update_time_kr"}


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
    for place, found in finds.items():
        owner, outcome = place.owner, "ok"
        problems: dict[str, str] | None = None
        active, user = states.get((owner, CREDENTIALS.kind)), states.get((owner, "user"))
        try:
            if not _is_untouched(found, active):
                plain = _plain(stores, owner, found)
                outcome = _outcome(stores, owner, found, plain, active, user, versions.get(owner, []))
                if owner in erased:
                    outcome = "deleted"
                if outcome == "new" and not dry_run:
                    fresh[owner] = seal(stores.vault, owner, plain, 1)
                elif not dry_run:
                    outcome = await _settle(stores, owner, plain, active, outcome, prefer)
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
        call = functions.credentials.take_over_credentials({owner: fresh[owner] for owner in owners}, erasures)
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
    unknown = len(set(found.content) - set(FIELDS) - NOTES)
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
    stores: Connections, owner: str, plain: Secrets, active: Row | None, outcome: str, prefer: str | None
) -> str:
    """Write what the outcome asks for; return the outcome."""
    if outcome != "edited" and not (outcome == "conflict" and prefer):
        return outcome
    sealed = seal(stores.vault, owner, plain, active["version"] + 1 if active else 1)
    try:
        if active and (outcome == "edited" or prefer == "redis"):
            call = functions.credentials.save_api_credentials(owner, sealed, active["version"]).by(
                None, "edited in Redis"
            )
        else:
            call = functions.credentials.keep_losing_credentials(owner, sealed)
        (row,) = await stores.database.fetch(call)
    except VersionConflict:
        return "busy"
    return outcome if row.get("is_done", True) else "busy"
