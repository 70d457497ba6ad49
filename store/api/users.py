"""Users: register, find, link and delete them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from store.api.base import Core, Row, check_identifier, to_saved
from store.arguments import count_or_none
from store.coherence.mirror_source import setting_keys
from store.coherence.sync import Sync
from store.errors import RedisUnavailable, UnknownUser
from store.mirror.entries import CREDENTIALS, TELEGRAM, Place, SettingKeys
from store.mirror.keys import OKX_UID, TELEGRAM_ID
from store.models import Erasure, Registration, SavedUser, User
from store.postgres import functions

PAGE = 1000  # users a query


class Users(Core):
    """The part of the store that knows users."""

    async def register(
        self,
        okx_uid: str,
        telegram_id: str | None = None,
        *,
        name: str | None = None,
        telegram_username: str | None = None,
        documents: Mapping[str, Mapping[str, Any]] | None = None,
        template: str = "default",
        actor: str | None = None,
        reason: str | None = None,
    ) -> Registration:
        """Register a user and save a first document of every type: of `documents` ({type: document}), else the
        catalogue's defaults with the template's keys over them.

        Idempotent: documents that are there stay, but get the defaults of keys that they lack; those that only Redis
        has (of a user who comes from an older system) are taken over. Raises AlreadyLinked, BadIdentifier,
        InvalidSettings, UnknownTemplate.
        """
        call = functions.users.register_user(
            check_identifier(okx_uid), telegram_id, name, telegram_username, documents or {}, template
        )
        before = await self._before(okx_uid, telegram_id)
        if before is None and OKX_UID.fullmatch(okx_uid):
            with contextlib.suppress(RedisUnavailable):
                await Sync(self._connections).take_over(okx_uid)
        rows = await self._write(call, actor, reason)
        user = await self._mirror_user(await self._user(okx_uid), before)
        return Registration(user, [to_saved(row, user.mirrored) for row in rows], before is None)

    async def ensure_user(
        self,
        okx_uid: str,
        telegram_id: str | None = None,
        *,
        name: str | None = None,
        telegram_username: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedUser:
        """Register a user without saving any document, or change what is given of the one there is; idempotent.

        A deleted user comes back. Raises AlreadyLinked, BadIdentifier.
        """
        call = functions.users.ensure_user(check_identifier(okx_uid), telegram_id, name, telegram_username)
        before = await self._before(okx_uid, telegram_id)
        return await self._mirror_user((await self._write(call, actor, reason))[0], before)

    async def _before(self, okx_uid: str, telegram_id: str | None) -> Row | None:
        """Find who is about to be registered. If nobody is there, what was erased goes from Redis first: it would be
        kept as somebody's edit of the new settings."""
        before = await self._find_user(okx_uid)
        if before is None:
            await self._mirror_owners([owner for owner in (okx_uid, telegram_id) if owner])
        return before

    async def find_user(self, identifier: str) -> User | None:
        """Find a user; None if nobody has the identifier. Raises BadIdentifier, if nobody could have it."""
        row = await self._find_user(identifier)
        return None if row is None else User(**{name: row[name] for name in User.__slots__})

    async def iter_users(
        self, *, deleted: bool = False, after: str | None = None, limit: int | None = None
    ) -> AsyncGenerator[User]:
        """Yield users by OKX UID, or deleted ones, a page a query, without holding them all."""
        call, left = (
            functions.users.list_deleted_users if deleted else functions.users.list_users,
            count_or_none(limit, "limit"),
        )
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            rows = await self._fetch(call(after, size))
            for row in rows:
                yield User(**row)
            if len(rows) < size:
                return
            after, left = rows[-1]["okx_uid"], None if left is None else left - size

    async def list_users(self, *, after: str | None = None, limit: int | None = None) -> list[User]:
        """List users by OKX UID; `after`: the last OKX UID of the page before."""
        return [User(**row) for row in await self._fetch(functions.users.list_users(after, limit))]

    async def list_deleted_users(self, *, after: str | None = None, limit: int | None = None) -> list[User]:
        """List those whom restore_user() would bring back, as list_users() does the others."""
        return [User(**row) for row in await self._fetch(functions.users.list_deleted_users(after, limit))]

    async def link(
        self,
        identifier: str,
        telegram_id: str,
        *,
        telegram_username: str | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> SavedUser:
        """Link a Telegram ID to a user, in place of an earlier one. Raises AlreadyLinked, UnknownUser.

        If the result isn't `mirrored`, a read by the ID may get what it led to before, until the relay has brought it:
        get() with `okx_uid` doesn't.
        """
        call = functions.users.link_telegram(check_identifier(identifier), telegram_id, telegram_username)
        return await self._change_user(identifier, call, actor, reason)

    async def unlink(self, identifier: str, *, actor: str | None = None, reason: str | None = None) -> SavedUser:
        """Take the Telegram ID from a user; with `mirrored` as link() has it. Raises UnknownUser."""
        return await self._change_user(
            identifier, functions.users.unlink_telegram(check_identifier(identifier)), actor, reason
        )

    async def delete_user(self, identifier: str, *, actor: str | None = None, reason: str | None = None) -> SavedUser:
        """Soft-delete a user and the settings; the history stays. Raises UnknownUser."""
        return await self._change_user(
            identifier, functions.users.delete_user(check_identifier(identifier)), actor, reason
        )

    async def restore_user(self, identifier: str, *, actor: str | None = None, reason: str | None = None) -> SavedUser:
        """Bring a deleted user back with the settings deleted then; with the Telegram ID if it is still free.

        By OKX UID or UUID. Idempotent. Raises UnknownUser.
        """
        call = functions.users.restore_user(check_identifier(identifier))
        return await self._mirror_user((await self._write(call, actor, reason))[0], None)

    async def erase_user(self, identifier: str) -> Erasure:
        """Remove everything of a person from both stores, history included. IRREVOCABLE.

        By OKX UID or UUID if the user was deleted; by OKX UID or Telegram ID of whom Redis alone has something, or who
        was erased before (an old copy of Redis came back). That it was this person is remembered by a keyed digest,
        until somebody registers anew. Backups and the servers' logs may hold it longer. Raises UnknownUser.
        """
        try:
            (row,) = await self._write(functions.users.erase_user(check_identifier(identifier)))
        except UnknownUser:
            owners = await self._left_of(identifier)
            if not owners:
                raise
            await self._fetch(functions.users.erase_unknown(owners))
            mirrored = await self._mirror_owners(owners)
            return Erasure(identifier, 0, 0, 0, len(owners) - 1, mirrored, was_known=False)
        owners = [row["okx_uid"], *row.pop("telegram_ids")]
        return Erasure(**row, telegram_links=len(owners) - 1, mirrored=await self._mirror_owners(owners))

    async def _left_of(self, owner: str) -> list[str]:
        """List the owners of Redis keys that are left of a person whom PostgreSQL doesn't know: none, if there is
        nothing and nobody was erased."""
        is_okx_uid = OKX_UID.fullmatch(owner) is not None
        if not is_okx_uid and not TELEGRAM_ID.fullmatch(owner):
            return []
        places, owners = [replace(TELEGRAM, owner=owner)], [owner]
        settings = await setting_keys(self._connections)
        erased = await self._fetch(functions.users.erased_owners([owner]))
        try:
            if is_okx_uid:
                places = await self._setting_places(owner, settings)
                places += [replace(CREDENTIALS, owner=owner), Place(owner, "user", "mirror", "fields")]
            found = await self._connections.mirror.inspect(places)
            linked = found[-1].content if is_okx_uid else ""
            if TELEGRAM_ID.fullmatch(linked) and await self._connections.mirror.okx_uid_of(linked) == owner:
                owners.append(linked)
        except RedisUnavailable:
            return owners if erased else []
        return owners if erased or any(what.type != "none" for what in found) else []

    async def _setting_places(self, owner: str, settings: SettingKeys) -> list[Place]:
        """List the keys of a user's settings, of symbols those that Redis has."""
        suffixes = settings.suffixes
        async for keys in self._connections.mirror.scan(PAGE, "symbol:*", owner):
            suffixes += [suffix for _, suffix in keys]
        return [place for suffix in suffixes if (place := settings.find(suffix, owner))]
