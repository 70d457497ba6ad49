"""API credentials that old code saved in plain text, in an adopted database: the relay encrypts them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from store.coherence.connections import Connections
from store.encryption.fields import FIELDS, digest, is_sealed, reseal
from store.errors import StoreError
from store.mirror.entries import CREDENTIALS
from store.models import MirrorEntry
from store.postgres import functions

log = logging.getLogger("store.relay")


async def seal_plain_text(stores: Connections, entries: Sequence[MirrorEntry]) -> list[MirrorEntry]:
    """Encrypt what is plain text of the credentials among these entries, all versions of their users, and return the
    entries as they are then. Plain text that is to stay, or that can't be encrypted, stays, and the log tells of
    the latter. Raises DatabaseUnavailable."""
    owners = [entry.owner for entry in entries if _is_plain(entry)]
    if not owners:
        return list(entries)
    for row in await stores.database.fetch(functions.credentials.list_api_credentials(owners)):
        fields = {name: str(row[name]) for name in FIELDS}
        if is_sealed(fields):
            continue
        try:
            sealed = reseal(stores.vault, row["okx_uid"], fields, row["version"])
        except StoreError as error:
            log.warning("the API keys of %s stay plain text: %s", row["okx_uid"], error)
            continue
        call = functions.credentials.seal_plain_credentials(row["id"], digest(fields), sealed)
        if (await stores.database.fetch(call))[0]["done"] is None:
            return list(entries)  # until `keys encrypt-existing`
    call = functions.mirror.mirror_state(owners, [CREDENTIALS.kind] * len(owners))
    now = {row["owner"]: MirrorEntry(**row) for row in await stores.database.fetch(call)}
    return [now.get(entry.owner, entry) if _is_plain(entry) else entry for entry in entries]


def _is_plain(entry: MirrorEntry) -> bool:
    return entry.kind == CREDENTIALS.kind and bool(entry.document) and not is_sealed(json.loads(entry.document or "{}"))
