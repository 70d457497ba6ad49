"""Credentials: the exchange's API keys, encrypted here, so that neither server ever sees them in plain text
(but for a Redis with MIRROR_CREDENTIALS=plain)."""

from __future__ import annotations

from typing import Any

from store import calls, mirroring
from store.core import Core, check_identifier
from store.errors import RedisUnavailable, StoreError
from store.mirror.found import CREDENTIALS
from store.models import Credentials, CredentialsVersion, MirrorEntry, SavedCredentials
from store.sealed import FIELDS, Secrets, is_same, is_sealed, seal, unseal


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
        okx_uid = (await self._user(check_identifier(identifier))).okx_uid
        sealed = seal(self.stores.vault, okx_uid, plain)
        row = await self._active(okx_uid)
        is_there = row is not None and is_same(self.stores.vault, okx_uid, row, plain)
        if row is None or not is_there or expected_version not in (None, row["version"]):
            (row,) = await self._write(calls.save_api_credentials(okx_uid, sealed, expected_version), actor, reason)
        return await self._mirror_credentials(row)

    async def get_credentials(self, identifier: str) -> Credentials | None:
        """Read and decrypt a user's API credentials; None if there are none.

        From Redis; from PostgreSQL if Redis hasn't got them or can't be reached, or if what it has isn't ours.
        Raises NoEncryptionKey, WrongEncryptionKey, DamagedCredential, UnknownUser, BadIdentifier, and
        DatabaseUnavailable if neither answers.
        """
        found = await self._read_credentials(check_identifier(identifier))
        if found is not None:
            return found
        row = await self._active(identifier)
        if row is None:
            return None
        plain = unseal(self.stores.vault, row["okx_uid"], row)
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
        call = calls.delete_api_credentials(check_identifier(identifier), expected_version)
        (row,) = await self._write(call, actor, reason)
        return None if row["version"] is None else await self._mirror_credentials(row)

    async def credentials_history(self, identifier: str) -> list[CredentialsVersion]:
        """List who changed a user's API credentials and when, newest first. Raises UnknownUser."""
        rows = await self.stores.database.fetch(calls.api_credentials_history(check_identifier(identifier)))
        return [CredentialsVersion(**row) for row in rows]

    async def _active(self, identifier: str) -> dict[str, Any] | None:
        rows = await self.stores.database.fetch(calls.get_api_credentials(identifier))
        return dict(rows[0]) if rows else None

    async def _read_credentials(self, identifier: str) -> Credentials | None:
        try:
            okx_uid = await self._mirrored_uid(identifier)
            found = None if okx_uid is None else await self.stores.mirror.read_credentials(okx_uid)
        except RedisUnavailable:
            return None
        if okx_uid is None or found is None:
            return None
        fields, version, updated_at = found
        # Whoever can write into Redis could put keys of their own there: plain text counts only where it is the mode.
        is_plain = self.config.mirror_credentials == "plain" and set(fields) == set(FIELDS)
        if not is_sealed(fields) and not is_plain:
            return None
        try:
            plain = unseal(self.stores.vault, okx_uid, fields)
        except StoreError:
            return None  # PostgreSQL tells what is wrong
        return Credentials(okx_uid, **plain, version=version, updated_at=updated_at, source="redis")

    async def _mirror_credentials(self, row: dict[str, Any]) -> SavedCredentials:
        """Bring saved credentials to Redis. They are committed: whatever happens here, the caller gets them."""
        mirrored = False
        try:
            entries = await self.stores.database.fetch(calls.mirror_state([row["okx_uid"]], [CREDENTIALS.kind]))
            rows = [MirrorEntry(**entry) for entry in entries]
            results = await mirroring.mirror(self.stores, rows, wait=False, in_hurry=True)
            mirrored = all(result.is_served for result in results)
        except StoreError:
            pass  # what didn't get through stays marked
        deleted = row["deleted_at"] is not None
        return SavedCredentials(row["okx_uid"], row["version"], row["updated_at"], mirrored, deleted)
