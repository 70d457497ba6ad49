"""Judges keys that differ by sync's own rule: what sync would take over, what it can't read, and whose it is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from store.batches import cut, halve
from store.coherence.connections import Connections
from store.coherence.looks import Look
from store.coherence.preserve import found_item
from store.coherence.sync_credentials import UNCHOSEN, is_plain
from store.errors import DatabaseUnavailable, NotPermitted, StoreError
from store.json_writer import shown_key
from store.mirror.entries import CREDENTIALS, TELEGRAM, Place
from store.mirror.keys import OKX_UID
from store.mirror.old_encodings import Unreadable
from store.postgres import functions

OF_TYPE = {"hash": "hash", "json": "string"}  # encoding of a setting type -> Redis type


@dataclass(frozen=True, slots=True)
class Judgement:
    """`same`: keys that hold what is in force, in an older encoding. `held`: key -> why it isn't overwritten unless
    that was asked for. `deleted`: OKX UIDs of deleted users."""

    same: set[Place] = field(default_factory=set)
    held: dict[Place, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)

    def is_of_deleted(self, look: Look) -> bool:
        """Tell whether only Redis has this key, and it is a deleted user's."""
        return look.entry is None and owner_of(look) in self.deleted


def owner_of(look: Look) -> str | None:
    """Return the OKX UID of the user whose key this is: a link is whose it leads to. None for what is nobody's."""
    uid = look.found.content if look.place.kind == TELEGRAM.kind else look.place.owner
    return uid if isinstance(uid, str) and OKX_UID.fullmatch(uid) else None


async def judge(stores: Connections, looks: Sequence[Look]) -> Judgement:
    """Judge looks that found something. Raises DatabaseUnavailable, NotPermitted."""
    judgement = Judgement()
    documents = [look for look in looks if look.found.type == OF_TYPE.get(look.place.encoding)]
    for row in await _compared(stores, documents):
        place, outcome = row["place"], row["outcome"]
        if outcome in ("ok", "same") and row["finding"] == "edited":
            judgement.same.add(place)
        elif outcome in ("partial", "invalid", "conflict") and "$" not in (row["problems"] or "$"):
            problems = sorted(row["problems"].items())
            judgement.held[place] = "; ".join(f"{shown_key(key)}: {why}" for key, why in problems)
    if not stores.mirror.is_mode_chosen:
        for look in looks:
            has_some = look.entry is not None and look.entry.document is not None
            if look.place.kind == CREDENTIALS.kind and has_some and is_plain(look.found):
                judgement.held[look.place] = UNCHOSEN
    judgement.deleted.update(await _deleted(stores, looks))
    return judgement


async def _compared(stores: Connections, looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Ask PostgreSQL what sync would make of these. What isn't a document, or PostgreSQL doesn't take, is left out."""
    by_key = {(look.place.owner, look.place.kind): look for look in looks}
    items: list[tuple[Look, str]] = []
    for look in looks:
        with contextlib.suppress(Unreadable):
            if look.entry is not None:
                items.append((look, found_item(look.place, look.found)))

    async def compare(part: Sequence[tuple[Look, str]]) -> list[dict[str, Any]]:
        text = f"[{','.join(item for _, item in part)}]"
        return [dict(row) for row in await stores.database.fetch(functions.mirror.keep_documents(text, dry_run=True))]

    def refused(_: tuple[Look, str], __: StoreError) -> list[dict[str, Any]]:
        return []

    rows = []
    for part in cut(items, lambda pair: len(pair[1])):
        rows += await halve(part, compare, refused, unless=(DatabaseUnavailable, NotPermitted))
    for row in rows:
        look = by_key[row["owner"], row["kind"]]
        row |= {"place": look.place, "finding": look.finding()}
    return rows


async def _deleted(stores: Connections, looks: Sequence[Look]) -> set[str]:
    owners = sorted({uid for look in looks if look.entry is None and (uid := owner_of(look))})
    if not owners:
        return set()
    rows = await stores.database.fetch(functions.mirror.mirror_state(owners, ["user"] * len(owners)))
    return {row["owner"] for row in rows if row["document"] is None and row["encoding"] == "fields"}
