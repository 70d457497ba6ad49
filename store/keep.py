"""Puts into the history what somebody else wrote into Redis, before anything overwrites it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from store import calls
from store.connections import Connections
from store.mirror.foreign import Unreadable, read_document
from store.mirror.mirror import Found, Place


async def keep(stores: Connections, finds: Iterable[tuple[Place, Found]]) -> None:
    """Keep documents found in Redis as versions that PostgreSQL's own replace again; those whose content
    is in the history already need nothing. What is no settings document at all is not kept."""
    items = []
    for place, found in finds:
        if place.encoding in ("hash", "json") and found.type in ("hash", "string"):
            try:
                items.append(item(place, found.version, read_document(found.type, found.content, {})))
            except Unreadable:
                continue
    if items:
        await stores.database.fetch(calls.import_documents(f"[{','.join(items)}]", None, True, False))


def item(place: Place, version: int, document: str, as_given: str = "null") -> str:
    """Write an item for import_documents(); the documents are JSON text already."""
    head = json.dumps({"owner": place.owner, "kind": place.kind, "version": version})
    return f'{head[:-1]}, "document": {document}, "as_given": {as_given}}}'
