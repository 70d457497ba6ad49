"""Rotation: every stored credential under the current encryption key, history and Redis too, while writers write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from store.api.base import Core
from store.encryption.fields import FIELDS, digest, is_due, is_sealed, reseal
from store.encryption.vault import is_ciphertext, key_id_of
from store.errors import StoreError
from store.postgres import functions

PAGE = 200  # versions a query
PASSES = 10  # at most, if somebody goes on saving under another key


@dataclass
class Rotation:
    """What became, or would become, of the versions of credentials. `failures`: OKX UID -> why one of the user's
    can't be decrypted."""

    checked: int = 0
    changed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    mirrored: bool = True


async def rotate(
    store: Core, *, plain: bool = False, dry_run: bool = False, progress: Callable[[int], None] = lambda _: None
) -> Rotation:
    """Encrypt under the current key what another key wrote, an older release (its form doesn't bind the version), or
    what was sealed as another version (and came back as a new one); or, with `plain`, what an older system left in
    plain text.

    No new versions: the credentials stay the same. Each version is replaced on its own, if nobody changed it
    meanwhile, so it may be interrupted and run again. One that can't be decrypted doesn't stop the rest. Goes through
    all versions until none is left to do: a save archives the old value in a row that may lie behind. Raises
    NoEncryptionKey.
    """
    done = await _pass(store, plain, dry_run, progress)
    again = done
    for _ in range(0 if dry_run else PASSES):
        if not again.changed:
            break
        again = await _pass(store, plain, dry_run, lambda _: None)
        done.changed += again.changed
        done.failures, done.mirrored = again.failures, again.mirrored
    return done


async def _pass(store: Core, plain: bool, dry_run: bool, progress: Callable[[int], None]) -> Rotation:
    vault = store._connections.vault
    vault.current_key_id  # noqa: B018  # raises, if there is none
    done = Rotation()
    await store._connections.marks.clear()  # of saves before: what is encrypted anew is marked as the same version
    async for rows in _pages(store):
        for row in rows:
            done.checked += 1
            fields = {name: str(row[name]) for name in FIELDS}
            if is_sealed(fields) if plain else not is_due(vault, fields, row["version"]):
                continue
            try:
                sealed = reseal(vault, row["okx_uid"], fields, row["version"])
            except StoreError as error:
                done.failures[row["okx_uid"]] = str(error)
                continue
            if not dry_run:
                call = functions.credentials.reencrypt_api_credentials(row["id"], digest(fields), sealed)
                await store._connections.database.fetch(call)  # not done: somebody saved; the next pass looks again
            done.changed += 1
        progress(len(rows))
        if not dry_run:  # also what a run that was killed, or found no Redis, left marked
            done.mirrored = await store._mirror_owners(sorted({row["okx_uid"] for row in rows})) and done.mirrored
    return done


async def missing_keys(store: Core) -> list[str]:
    """Return the ids of the encryption keys that stored credentials were written with and that aren't given."""
    found: set[str] = set()
    async for rows in _pages(store):
        found |= {key_id_of(row[name]) for row in rows for name in FIELDS if is_ciphertext(row[name])}
    return sorted(found - set(store._connections.vault.key_ids))


async def seal_table(store: Core) -> int:
    """Make sure that no plain text can get into the table from now on, if none is left; return how many are."""
    (row,) = await store._connections.database.fetch(functions.credentials.seal_api_credentials())
    return int(row["plain"])


async def _pages(store: Core) -> AsyncIterator[Sequence[dict[str, Any]]]:
    """Read all versions of credentials, a page at a time."""
    after: UUID | None = None
    while rows := await store._connections.database.fetch(
        functions.credentials.list_api_credentials(None, after, PAGE)
    ):
        yield rows
        after = rows[-1]["id"]
