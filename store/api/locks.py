"""Locks: keys of settings that nobody may change for a while, and those that a bot keeps while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from store.api.base import Core, check_identifier, check_type, identifier_or_none
from store.models import SettingLock, SettingTypeName
from store.postgres import functions
from store.postgres.call import Call


class Locks(Core):
    """The part of the store that knows locks of settings."""

    async def lock_setting(
        self,
        identifier: str | None,
        setting_type: SettingTypeName | str,
        keys: Sequence[str] | None = None,
        *,
        reason: str,
        until: datetime | None = None,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Lock keys (None: the whole document) of a user's settings, or of everybody's (None), in place of earlier
        locks of these: whoever changes them gets SettingLocked, until then or until unlock_setting().

        A type's lock holds for its symbols' documents, too; `symbol`: for that one only. Takes the role settings_admin.
        Raises UnknownUser, BadIdentifier, UnknownSettingType, InvalidArgument, NotPermitted, DatabaseUnavailable.
        """
        call = functions.locks.lock_setting(
            identifier_or_none(identifier), check_type(setting_type), keys, reason, until, symbol
        )
        return await self._locks(call, actor, reason)

    async def unlock_setting(
        self,
        identifier: str | None,
        setting_type: SettingTypeName | str,
        keys: Sequence[str] | None = None,
        *,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Remove locks of exactly this scope, of these keys (None: all of them); return those that there were. Not what
        a bot locked. Raises what lock_setting() does."""
        call = functions.locks.unlock_setting(identifier_or_none(identifier), check_type(setting_type), keys, symbol)
        return await self._locks(call, actor)

    async def lock_cold_keys(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        until: datetime,
        *,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Lock the keys that the catalogue calls changeable only while the bot is stopped: by the bot, when it starts,
        and again before `until` for as long as it runs. Raises what lock_setting() does; any writer may."""
        call = functions.locks.lock_cold_keys(check_identifier(identifier), check_type(setting_type), until, symbol)
        return await self._locks(call, actor)

    async def unlock_cold_keys(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        actor: str | None = None,
    ) -> list[SettingLock]:
        """Remove what lock_cold_keys() has locked: by the bot, when it stops. Returns it."""
        call = functions.locks.unlock_cold_keys(check_identifier(identifier), check_type(setting_type), symbol)
        return await self._locks(call, actor)

    async def list_locks(
        self, identifier: str | None = None, setting_type: SettingTypeName | str | None = None
    ) -> list[SettingLock]:
        """List the locks in force: all, or those that hold for a user (everybody's, too), or of a type and its symbols.
        Raises UnknownUser, BadIdentifier, NotPermitted."""
        kind = None if setting_type is None else check_type(setting_type)
        rows = await self._fetch(functions.locks.list_locks(identifier_or_none(identifier), kind))
        return [SettingLock(**row) for row in rows]

    async def _locks(self, call: Call, actor: str | None, reason: str | None = None) -> list[SettingLock]:
        return [SettingLock(**row) for row in await self._write(call, actor, reason)]
