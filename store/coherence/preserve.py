"""Puts into the history what somebody else wrote into Redis, before anything overwrites it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from store.coherence.connections import Connections
from store.encryption.fields import FIELDS, Secrets, is_same, is_sealed, seal, sealed_version, unseal
from store.encryption.vault import DamagedCredential, NoEncryptionKey, WrongEncryptionKey
from store.errors import DatabaseUnavailable, InvalidArgument, NotPermitted, StoreError
from store.json_writer import json_text
from store.mirror.entries import CREDENTIALS, LARGEST, Found, Place
from store.mirror.old_encodings import Unreadable, read_document
from store.postgres import functions


class Held(StoreError):
    """Another transaction holds a row of it, or has changed it just now: later."""

    def __init__(self) -> None:
        super().__init__("another transaction holds it")


async def keep(stores: Connections, finds: Iterable[tuple[Place, Found]]) -> None:
    """Keep documents found in Redis as versions that PostgreSQL's own replace again; those whose content
    is in the history already need nothing. A text or hash that is no settings document is kept as
    {"$unreadable": …}, of one larger than a document a note, {"$too_large": …}; lists, sets and streams aren't kept.
    Raises DatabaseUnavailable, NotPermitted, Held, and NoEncryptionKey for credentials that must be encrypted first."""
    for place, found in finds:
        if place.encoding == CREDENTIALS.encoding and found.type == "hash":
            await _keep_credentials(stores, place.owner, found.version, Secrets(found.content))
        if place.encoding in ("hash", "json") and found.type in ("hash", "string", "large"):
            await _keep_document(stores, place, found)


async def _keep_document(stores: Connections, place: Place, found: Found) -> None:
    if found.type == "large":
        await _keep(stores, _item(place, found, json.dumps({"$too_large": found.content})))
        return
    try:
        await _keep(stores, found_item(place, found))
    except (DatabaseUnavailable, NotPermitted, Held):
        raise
    except (Unreadable, StoreError):  # not JSON, or JSON that PostgreSQL doesn't take
        await _keep(stores, _item(place, found, _as_text(found)))


def found_item(place: Place, found: Found) -> str:
    """Write a document that was found as an item for import_documents() or keep_documents(). Raises Unreadable."""
    read = read_document(found.type, found.content)
    more = {"texts": json_text(read.texts)} if read.texts else {}
    if read.problems:
        more |= {"problems": json_text(read.problems), "found": _as_text(found)}
    return _item(place, found, read.document, more)


def _item(place: Place, found: Found, document: str, more: Mapping[str, str] | None = None) -> str:
    """Write an item; the document and what there is more are JSON text already."""
    head = json.dumps({"owner": place.owner, "kind": place.kind, "version": found.version})
    rest = "".join(f', "{name}": {text}' for name, text in {"document": document, **(more or {})}.items())
    return f"{head[:-1]}{rest}}}"


def _as_text(found: Found) -> str:
    """Write what isn't a document, all of it, as one that can be kept: its text, or a note if that is too long."""
    text = found.content if found.type == "string" else json.dumps(found.content)
    plain = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    kept = json.dumps({"$unreadable": plain}, ensure_ascii=False)
    if len(kept.encode()) <= LARGEST:
        return kept
    size = len(text.encode("utf-8", "surrogateescape"))
    return json.dumps({"$too_large": {"bytes": str(size), "sha1": found.digest, "type": found.type}})


async def _keep_credentials(stores: Connections, okx_uid: str, version: int, content: Secrets) -> None:
    """Keep credentials that no version has. Nobody's loss: a hash that lacks one of the fields or has what can't be
    one (empty, too long, not UTF-8), ciphertext that isn't this user's or of several sets, and, without the key, that
    of a version that PostgreSQL has had: nobody types ciphertext, it is that version as it was encrypted once."""
    if not all(content.get(name) for name in FIELDS):
        return
    found = Secrets({name: content[name] for name in FIELDS})
    rows = await stores.database.fetch(functions.credentials.list_api_credentials([okx_uid]))
    if any(found == {name: row[name] for name in FIELDS} for row in rows):
        return
    newest = max((row["version"] for row in rows), default=0)
    sealed: dict[str, str] = found
    try:
        plain = unseal(stores.vault, okx_uid, found)
        if any(is_same(stores.vault, okx_uid, row, plain) for row in rows):
            return
        if not is_sealed(found):
            sealed = seal(stores.vault, okx_uid, plain, newest + 1)
    except (DamagedCredential, InvalidArgument):
        return
    except (NoEncryptionKey, WrongEncryptionKey):
        if not is_sealed(found):
            raise
        if (sealed_version(found) or version) <= newest:
            return
    (done,) = await stores.database.fetch(functions.credentials.keep_losing_credentials(okx_uid, sealed, newest))
    if not done["is_done"]:
        raise Held


async def _keep(stores: Connections, one: str) -> None:
    (kept,) = await stores.database.fetch(functions.mirror.keep_documents(f"[{one}]"))
    if kept["outcome"] == "locked":
        raise Held
