"""Credentials: the exchange's API keys, encrypted here, so that neither server ever sees them in plain text
(but for a Redis with MIRROR_CREDENTIALS=plain)."""

from __future__ import annotations

import json
import time
from typing import Any

from store.api.base import Core, check_identifier
from store.arguments import count, version_or_none
from store.coherence import mirroring
from store.encryption.fields import FIELDS, Secrets, is_same, seal, sealed_version, unseal
from store.encryption.vault import is_ciphertext
from store.errors import RedisUnavailable, StoreError, UnknownVersion, VersionConflict
from store.mirror.entries import CREDENTIALS
from store.mirror.keys import OKX_UID
from store.models import Credentials, CredentialsVersion, MirrorEntry, SavedCredentials
from store.postgres import functions

REMEMBERED = 10_000  # users whose version of credentials a store remembers
NONE = 2**31  # the version of who has no credentials: Redis isn't asked until PostgreSQL has some


class ApiCredentials(Core):
    """The part of the store that knows API credentials. Every method may raise ConfigError (the encryption keys)."""

    async def save_credentials(
        self,
        identifier: str,
        api_key: str,
        api_secret: str,
        passphrase: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedCredentials:
        """Encrypt and save a user's API credentials, as a new version; the same again makes none.

        Otherwise as save(). Raises NoEncryptionKey, InvalidArgument, VersionConflict, UnknownUser,
        DatabaseUnavailable.
        """
        plain = Secrets(api_key=api_key, api_secret=api_secret, passphrase=passphrase)
        del api_key, api_secret, passphrase  # no traceback shows them with this frame's locals
        expected_version = version_or_none(expected_version)
        okx_uid = (await self._user(identifier))["okx_uid"]
        while True:
            row = await self._current(okx_uid)
            # They are sealed as the version that they will be, which nobody else may have taken by then.
            before = row["version"] if expected_version is None else expected_version
            sealed = seal(self._connections.vault, okx_uid, plain, before + 1)
            if before != row["version"] or not is_same(self._connections.vault, okx_uid, row["fields"], plain):
                try:
                    (row,) = await self._write(
                        functions.credentials.save_api_credentials(okx_uid, sealed, before), actor, reason
                    )
                except VersionConflict:
                    if expected_version is None:
                        continue
                    raise
            return await self._mirror_credentials(row)

    async def get_credentials(self, identifier: str, *, min_version: int = 0) -> Credentials | None:
        """Read and decrypt a user's API credentials; None if there are none.

        By OKX UID from Redis; from PostgreSQL if Redis hasn't got them or can't be reached, if what it has isn't ours,
        isn't the version it is said to be, or is older than `min_version` (what a save returned) or than what this
        store has seen. By any other identifier from PostgreSQL: whoever writes into Redis could lead a Telegram ID to
        somebody else's. Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential, UnknownUser, BadIdentifier,
        UnknownVersion (`min_version` isn't there), and DatabaseUnavailable if neither answers.
        """
        identifier, min_version = check_identifier(identifier), count(min_version, "min_version")
        if OKX_UID.fullmatch(identifier) and await self._may_read_redis(identifier):
            found = await self._read_credentials(identifier, min_version)
            if found is not None:
                return found
        asked = time.monotonic()
        rows = await self._fetch(functions.credentials.get_api_credentials(identifier))
        if not rows and OKX_UID.fullmatch(identifier):
            self._note_version(identifier, NONE, asked)
        if min_version and (not rows or rows[0]["version"] < min_version):
            raise UnknownVersion(f"the credentials of {identifier} have no version {min_version} yet")
        if not rows:
            return None
        row = dict(rows[0])
        self._note_version(row["okx_uid"], row["version"], asked)
        plain = unseal(self._connections.vault, row["okx_uid"], row)
        return Credentials(row["okx_uid"], **plain, version=row["version"], updated_at=row["updated_at"], source="db")

    async def delete_credentials(
        self,
        identifier: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedCredentials | None:
        """Delete a user's API credentials, from Redis too; the history keeps them, encrypted. None if there were
        none. Raises VersionConflict, UnknownUser."""
        call = functions.credentials.delete_api_credentials(check_identifier(identifier), expected_version)
        (row,) = await self._write(call, actor, reason)
        return None if row["version"] is None else await self._mirror_credentials(row)

    async def credentials_history(self, identifier: str) -> list[CredentialsVersion]:
        """List who changed a user's API credentials and when, newest first. Raises UnknownUser."""
        rows = await self._fetch(functions.credentials.api_credentials_history(check_identifier(identifier)))
        return [CredentialsVersion(**row) for row in rows]

    async def _current(self, okx_uid: str) -> dict[str, Any]:
        """Read the active version: 0 if there never was any; no fields, if it is a deletion."""
        rows = await self._fetch(functions.mirror.mirror_state([okx_uid], [CREDENTIALS.kind]))
        for entry in (MirrorEntry(**row) for row in rows):
            if not entry.is_erased:
                fields = json.loads(entry.document or "{}")
                return {"okx_uid": okx_uid, "version": entry.version, "updated_at": entry.updated_at, "fields": fields}
        return {"okx_uid": okx_uid, "version": 0, "fields": {}}

    async def _read_credentials(self, okx_uid: str, min_version: int) -> Credentials | None:
        try:
            found = await self._connections.mirror.read_credentials(okx_uid)
        except RedisUnavailable:
            return None
        if found is None:
            return None
        fields, version, updated_at = found
        # Whoever can write into Redis could put keys of their own there: plain text counts only where it is the mode;
        # old ciphertext beside the number of the current version, or of a version unknown (the old form), never does.
        is_plain = self.config.credentials_mode == "plain" and set(fields) == set(FIELDS)
        if version < max(min_version, self._versions.get(okx_uid, (0, 0.0))[0]) or not (
            sealed_version(fields) == version or (is_plain and not any(map(is_ciphertext, fields.values())))
        ):
            return None
        try:
            plain = unseal(self._connections.vault, okx_uid, fields)
        except StoreError:
            return None  # PostgreSQL tells what is wrong
        self._note_version(okx_uid, version)
        return Credentials(okx_uid, **plain, version=version, updated_at=updated_at, source="redis")

    def _note_version(self, okx_uid: str, version: int, asked: float | None = None) -> None:
        """Remember that there is this version: Redis with an older one isn't asked any further. `asked`: when, if that
        wasn't just now; others may have learnt of a newer one meanwhile."""
        now = time.monotonic()
        known, noted = self._versions.get(okx_uid, (0, 0.0))
        if version < known and asked is not None and asked <= noted:
            return
        if okx_uid not in self._versions and len(self._versions) >= REMEMBERED:
            del self._versions[next(iter(self._versions))]
        self._versions[okx_uid] = (version, now)

    async def _mirror_credentials(self, row: dict[str, Any]) -> SavedCredentials:
        """Bring saved credentials to Redis. They are committed: whatever happens here, the caller gets them."""
        mirrored = False
        try:
            entries = await self._fetch(functions.mirror.mirror_state([row["okx_uid"]], [CREDENTIALS.kind]))
            rows = [MirrorEntry(**entry) for entry in entries]
            results = await mirroring.mirror(self._connections, rows, wait=False, in_hurry=True)
            mirrored = all(result.serves(entry.version) for entry, result in zip(rows, results, strict=True))
        except StoreError:
            pass  # what didn't get through stays marked
        deleted = row.get("deleted_at") is not None
        self._note_version(row["okx_uid"], row["version"])
        return SavedCredentials(row["okx_uid"], row["version"], row["updated_at"], mirrored, deleted)
