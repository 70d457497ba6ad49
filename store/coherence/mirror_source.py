"""What Redis should hold, in parts of bounded size.

Statements that read many keys leave long documents out; complete() reads those, of a few keys at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from store.coherence.connections import Connections
from store.mirror.entries import CREDENTIALS, SettingKeys
from store.models import MirrorEntry, SettingType
from store.postgres import functions
from store.postgres.call import Call
from store.postgres.functions.mirror import ENTRY

# 8 KB of 500 documents are 4 MB.
SIZED = ENTRY.replace(
    "r.document::text as document",
    "case when octet_length(t.text) <= 8192 then t.text end as document, coalesce(octet_length(t.text), 0) as size",
)
TEXT = "cross join lateral (select r.document::text offset 0) t (text)"


async def setting_keys(stores: Connections) -> SettingKeys:
    """Read which keys hold settings."""
    rows = await stores.database.fetch(functions.catalogue.list_setting_types())
    return SettingKeys(SettingType(**row) for row in rows)


def all_entries() -> Call:
    """Everything that Redis should hold, to be streamed."""
    return Call(f"select {SIZED} from public.mirror_source r {TEXT}", {})


def some_entries(owners: Sequence[str], kinds: Sequence[str]) -> Call:
    """What it should hold in these keys."""
    call = functions.mirror.mirror_state(owners, kinds)
    return Call(f"{call.query.replace(ENTRY, SIZED)} {TEXT}", call.params)


async def complete(
    stores: Connections, entries: Sequence[MirrorEntry], newer_for: Collection[str] = ()
) -> list[MirrorEntry | None]:
    """Return entries with the documents that were left out, these as they are now, and so are those of the owners
    `newer_for`; None for one that nobody has any more. The caller sees to it that it isn't too much together."""
    asked = [entry for entry in entries if entry.owner in newer_for and not entry.is_partial]
    call = functions.mirror.known_keys([entry.owner for entry in asked], [entry.kind for entry in asked])
    rows = await stores.database.fetch(call) if asked else []
    known = {(row["owner"], row["kind"]): (row["version"], row["updated_at"]) for row in rows}

    def is_as_it_was(entry: MirrorEntry) -> bool:
        if entry.is_partial or entry.owner not in newer_for:
            return not entry.is_partial
        is_sealed = entry.encoding == CREDENTIALS.encoding  # perhaps anew, as the same version
        return not is_sealed and known.get((entry.owner, entry.kind)) == (entry.version, entry.updated_at)

    found = iter(await current(stores, [entry for entry in entries if not is_as_it_was(entry)]))
    return [entry if is_as_it_was(entry) else next(found) for entry in entries]


async def current(stores: Connections, entries: Sequence[MirrorEntry]) -> list[MirrorEntry | None]:
    """Return entries as they are now; None for one that nobody has any more."""
    if not entries:
        return []
    call = functions.mirror.mirror_state([entry.owner for entry in entries], [entry.kind for entry in entries])
    found = {(row["owner"], row["kind"]): MirrorEntry(**row) for row in await stores.database.fetch(call)}
    return [found.get((entry.owner, entry.kind)) for entry in entries]
