"""What Redis should hold, in parts of bounded size.

Statements that read many keys leave long documents out; complete() reads those, of a few keys at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from store import calls
from store.calls import Call
from store.connections import Connections
from store.models import MirrorEntry

# 8 KB of 500 documents are 4 MB.
SIZED = calls.ENTRY.replace(
    "r.document::text as document",
    "case when octet_length(t.text) <= 8192 then t.text end as document, coalesce(octet_length(t.text), 0) as size",
)
TEXT = "cross join lateral (select r.document::text offset 0) t (text)"


def all_entries() -> Call:
    """Everything that Redis should hold, to be streamed."""
    return Call(f"select {SIZED} from public.mirror_source r {TEXT}", {})


def some_entries(owners: Sequence[str], kinds: Sequence[str]) -> Call:
    """What it should hold in these keys."""
    call = calls.mirror_state(owners, kinds)
    return Call(f"{call.query.replace(calls.ENTRY, SIZED)} {TEXT}", call.params)


async def complete(stores: Connections, entries: Sequence[MirrorEntry]) -> list[MirrorEntry | None]:
    """Return entries with the documents that were left out, these as they are now; None for one that nobody has any
    more. The caller sees to it that it isn't too much together."""
    lacking = [entry for entry in entries if entry.is_partial]
    if not lacking:
        return list(entries)
    call = calls.mirror_state([entry.owner for entry in lacking], [entry.kind for entry in lacking])
    found = {(row["owner"], row["kind"]): MirrorEntry(**row) for row in await stores.database.fetch(call)}
    return [found.get((entry.owner, entry.kind)) if entry.is_partial else entry for entry in entries]
