"""History: every version can be looked at, compared and brought back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from store.api.base import Core, check_identifier, check_type, identifier_or_none, to_setting
from store.models import KeyChange, SavedSetting, Setting, SettingTypeName, Version
from store.postgres import functions


class History(Core):
    """The part of the store that knows versions."""

    async def history(
        self,
        identifier: str,
        setting_type: SettingTypeName | str | None = None,
        *,
        symbol: str | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> list[Version]:
        """List versions of one type or of all, newest first, deleted users' too (by OKX UID or UUID).

        `before`: the `saved_at` of the last one of the page before; what was saved at one moment is never torn
        apart, so a page may be a little longer than `limit`. `symbol`: of its documents only; else of one type the
        user's own, of all those of every symbol, too. Raises UnknownUser, UnknownSettingType, InvalidArgument.
        """
        kind = None if setting_type is None else check_type(setting_type)
        call = functions.history.user_setting_history(check_identifier(identifier), kind, before, limit, symbol)
        return [to_version(row) for row in await self._fetch(call)]

    def iter_history(
        self,
        identifier: str,
        setting_type: SettingTypeName | str | None = None,
        *,
        symbol: str | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[Version]:
        """Yield what history() lists, as of one moment, without holding it all."""
        kind = None if setting_type is None else check_type(setting_type)
        call = functions.history.user_setting_history(check_identifier(identifier), kind, before, limit, symbol)
        return self._each(call, to_version)

    async def get_version(
        self, identifier: str, setting_type: SettingTypeName | str, version: int, *, symbol: str | None = None
    ) -> Setting | None:
        """Read one version (of the document of `symbol`, else of the user's own); None if it is a deletion.

        Raises UnknownVersion, UnknownUser.
        """
        name = check_type(setting_type, symbol)
        call = functions.history.user_setting_version(check_identifier(identifier), name, version)
        (row,) = await self._fetch(call)
        return None if row["deleted_at"] else to_setting(row)

    async def get_at(
        self, identifier: str, setting_type: SettingTypeName | str, at: datetime, *, symbol: str | None = None
    ) -> Setting | None:
        """Read what was in force at a moment (of the document of `symbol`, else of the user's own); None if it was
        deleted then. Raises UnknownVersion (nothing had been saved by then), UnknownUser."""
        call = functions.history.user_setting_at(check_identifier(identifier), check_type(setting_type, symbol), at)
        rows = await self._fetch(call)
        return to_setting(rows[0]) if rows else None

    async def get_all_at(self, identifier: str, at: datetime) -> list[Setting]:
        """Read the documents of every type that were in force at a moment. Raises as get_at().

        Documents saved together (register, save_all) have moments of their own: the last one's has them all.
        """
        rows = await self._fetch(functions.history.user_setting_at(check_identifier(identifier), None, at))
        return [to_setting(row) for row in rows]

    async def diff(
        self, identifier: str, setting_type: SettingTypeName | str, from_: int, to: int, *, symbol: str | None = None
    ) -> list[KeyChange]:
        """Compare two versions, key by key. Raises UnknownVersion, UnknownUser."""
        name = check_type(setting_type, symbol)
        call = functions.history.diff_user_setting(check_identifier(identifier), name, from_, to)
        rows = await self._fetch(call)
        return [KeyChange(row["key"], row["change"], row["old_value"], row["new_value"]) for row in rows]

    async def rollback(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        version: int,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Save the document of an earlier version again, as a new version (a deletion, if it was one).

        Raises UnknownVersion, InvalidSettings (the catalogue has changed since); otherwise as save().
        """
        call = functions.history.rollback_user_setting(
            check_identifier(identifier), check_type(setting_type, symbol), version, expected_version
        )
        return (await self._save(call, actor, reason))[0]

    async def rollback_all(
        self, identifier: str, at: datetime, *, actor: str | None = None, reason: str | None = None
    ) -> list[SavedSetting]:
        """Bring all documents of a user back to what was in force at a moment, in one transaction.

        A type that wasn't there then is deleted; of documents saved together (register, save_all) the last one's
        `saved_at` has them all. Returns one per type, also where nothing had to change.
        Raises UnknownVersion (nothing had been saved by then); otherwise as rollback().
        """
        return await self._save(
            functions.history.rollback_user_settings(check_identifier(identifier), at), actor, reason
        )

    async def restore(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        *,
        symbol: str | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedSetting:
        """Bring a deleted document back, as a new version; what isn't deleted stays as it is.

        Raises UnknownVersion (nothing was ever saved); otherwise as save().
        """
        call = functions.history.restore_user_setting(
            check_identifier(identifier), check_type(setting_type, symbol), expected_version
        )
        return (await self._save(call, actor, reason))[0]

    async def prune(
        self, keep: int, older_than: timedelta, *, identifier: str | None = None, dry_run: bool = False
    ) -> dict[str, int]:
        """Remove versions beyond the newest `keep` of each document that went out of force longer ago than
        `older_than`; never the active one. Returns how many, by setting type.

        Raises InvalidArgument, UnknownUser.
        """
        call = functions.history.prune_user_settings(keep, older_than, identifier_or_none(identifier), dry_run)
        rows = await self._fetch(call)
        return {row["setting_type"]: row["versions"] for row in rows}


def to_version(row: dict[str, Any]) -> Version:
    """Make a version of a row of user_setting_history()."""
    return Version(**{**row, "changes": None if row["changes"] is None else key_changes(row["changes"])})


def key_changes(changes: Iterable[Mapping[str, Any]]) -> list[KeyChange]:
    """Make changes of the array that the SQL function changes_as_json() returns."""
    return [KeyChange(change["key"], change["change"], change["old"], change["new"]) for change in changes]
