"""Schedules: changes of settings that take effect at a moment, for good or for a while."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from store.api.base import Core, check_identifier, check_identifiers, check_type, identifier_or_none
from store.models import ScheduledChange, SettingTypeName
from store.postgres import functions
from store.postgres.call import Call


class Schedules(Core):
    """The part of the store that knows scheduled changes. A relay, or whoever calls run_due_changes(), does them."""

    async def schedule_change(
        self,
        identifier: str,
        setting_type: SettingTypeName | str,
        patch: Mapping[str, Any] | None = None,
        *,
        template: str | None = None,
        version: int | None = None,
        symbol: str | None = None,
        at: datetime | None = None,
        until: datetime | None = None,
        for_: timedelta | None = None,
        not_after: datetime | None = None,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ScheduledChange:
        """Have a user's document changed at a moment by PostgreSQL's clock: by a JSON merge patch, by a template, or by
        a rollback to a version.

        Without `at` now, in this transaction. `until`, or after `for_`: it is taken back, the keys it changed get the
        values they had, unless somebody changed them since. `not_after`: it expires if it couldn't be applied by then.
        It is checked now, and again when it is due, against `expected_version`, too.
        Raises UnknownUser, UnknownSettingType, InvalidSettings, UnknownTemplate, UnknownVersion, InvalidArgument;
        without `at` what patch(), apply_template() or rollback() raise.
        """
        call = functions.schedules.schedule_change(
            check_identifier(identifier), check_type(setting_type, symbol), patch, template, version,
            at, until, for_, not_after, expected_version,
        )  # fmt: skip
        return await self._scheduled(call, actor, reason)

    async def schedule_changes(
        self,
        setting_type: SettingTypeName | str,
        patch: Mapping[str, Any] | None = None,
        *,
        identifiers: Sequence[str] | None = None,
        filter: Mapping[str, Any] | None = None,
        template: str | None = None,
        symbol: str | None = None,
        at: datetime | None = None,
        until: datetime | None = None,
        for_: timedelta | None = None,
        not_after: datetime | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ScheduledChange:
        """Have the documents of these users changed at a moment, or of everybody whose document contains `filter` then,
        each for itself; without `at` now, all or none. Otherwise as schedule_change()."""
        whom = None if identifiers is None else check_identifiers(identifiers)
        call = functions.schedules.schedule_changes(
            check_type(setting_type, symbol), whom, filter, patch, template, at, until, for_, not_after
        )
        return await self._scheduled(call, actor, reason)

    async def list_scheduled_changes(
        self,
        identifier: str | None = None,
        *,
        to_come: bool = False,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[ScheduledChange]:
        """List scheduled changes, newest first, of a user (also those of lists) or of all; with `to_come` those that
        aren't over. `before`: the id of the last one of the page before. Secrets are masked. Raises UnknownUser."""
        return [_scheduled_change(row) for row in await self._fetch(_list(identifier, to_come, before, limit))]

    def iter_scheduled_changes(
        self,
        identifier: str | None = None,
        *,
        to_come: bool = False,
        before: int | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[ScheduledChange]:
        """Yield what list_scheduled_changes() lists, without holding it all."""
        return self._each(_list(identifier, to_come, before, limit), _scheduled_change)

    async def cancel_scheduled_change(
        self, id: int, *, take_back: bool = False, actor: str | None = None
    ) -> ScheduledChange:
        """Have nothing more happen of a scheduled change: what it did stays, or is taken back now. Raises
        UnknownScheduledChange (over, cancelled, or there is none), InvalidArgument."""
        return await self._scheduled(functions.schedules.cancel_scheduled_change(id, take_back), actor, None)

    async def _scheduled(self, call: Call, actor: str | None, reason: str | None) -> ScheduledChange:
        """Write, and bring to Redis what that changed already."""
        (row,) = await self._write(call, actor, reason)
        if row["changed"]:
            await self._mirror_owners([row["okx_uid"]] if row["okx_uid"] else None)
        return _scheduled_change(row)


def _list(identifier: str | None, to_come: bool, before: int | None, limit: int | None) -> Call:
    return functions.schedules.list_scheduled_changes(identifier_or_none(identifier), to_come, before, limit)


def _scheduled_change(row: Mapping[str, Any]) -> ScheduledChange:
    documents = {name: None if row[name] is None else json.loads(row[name]) for name in ("filter", "patch")}
    return ScheduledChange(**{**row, **documents})
