"""Halts: the kill switch. Who may not trade now, and why; asked before every order, so served as a cached read is."""

from __future__ import annotations

import contextlib
from typing import Any

from store.api.base import Core, check_identifier, identifier_or_none
from store.arguments import symbol_or_none
from store.errors import RedisUnavailable, StoreError
from store.mirror.entries import HALTS, Halts, to_halts
from store.mirror.keys import OKX_UID
from store.models import Halt, HaltRecord, MirrorEntry, SavedHalt
from store.postgres import functions
from store.postgres.call import Call


class TradingHalts(Core):
    """The part of the store that halts trading."""

    async def halted(self, identifier: str, symbol: str | None = None) -> Halt | None:
        """Tell whether a user may not trade now, and why: the widest halt in force, of everybody, the user, the symbol,
        or the user's symbol; None: none is. Without `symbol`, halts of symbols don't count.

        By an OKX UID (whether or not anybody has it) from the cache, else Redis, else PostgreSQL, as get() reads; by
        another identifier PostgreSQL is asked whose it is. What somebody else wrote into Redis doesn't count. Where
        neither store answers, nobody knows: raises DatabaseUnavailable, and who can't know must not trade. Raises
        UnknownUser (not an OKX UID, and nobody's), BadIdentifier, InvalidArgument, NotPermitted.
        """
        okx_uid, symbol = check_identifier(identifier), symbol_or_none(symbol)
        if not OKX_UID.fullmatch(okx_uid) or not await self._may_read_redis(okx_uid):
            okx_uid = (await self._user(identifier))["okx_uid"]
        halts = self._cache.halts()
        if halts is None:
            halts = await self._mirrored_halts()
        if halts is None:
            halts = await self._flights.join(HALTS, self._read_halts)
        if not halts:
            return None
        scopes = ((None, None), (okx_uid, None), (None, symbol), (okx_uid, symbol))
        return next((halts[scope] for scope in scopes if scope in halts), None)

    async def list_halts(self, *, include_ended: bool = False) -> list[HaltRecord]:
        """List the halts in force as PostgreSQL has them, the newest first; with those that ended, if asked."""
        return [HaltRecord(**row) for row in await self._fetch(functions.halts.list_halts(include_ended))]

    async def halt_trading(
        self, reason: str, identifier: str | None = None, *, symbol: str | None = None, actor: str | None = None
    ) -> SavedHalt:
        """Halt the trading of everybody, of one user, of one `symbol`, or of one user's symbol.

        Idempotent: the result is the halt in force, which may be an earlier one. With Redis away it holds all the same,
        and `mirrored` is false: bots that read Redis learn of it from the relay. Raises UnknownUser, BadIdentifier,
        InvalidArgument (no reason, no symbol), NotPermitted, DatabaseUnavailable.
        """
        (saved,) = await self._change_halt(
            functions.halts.halt_trading(reason, identifier_or_none(identifier), symbol), actor
        )
        return saved

    async def resume_trading(
        self, reason: str, identifier: str | None = None, *, symbol: str | None = None, actor: str | None = None
    ) -> SavedHalt | None:
        """End the halt of exactly this scope, as halt_trading() has it; None if there is none. Raises what it does."""
        ended = await self._change_halt(
            functions.halts.resume_trading(reason, identifier_or_none(identifier), symbol), actor
        )
        return ended[0] if ended else None

    async def _change_halt(self, call: Call, actor: str | None) -> list[SavedHalt]:
        rows = await self._write(call, actor, call.params["reason"])
        # A confined session doesn't see everybody's key: the relay brings it.
        mirrored = not await self._connections.confinement.known() and await self._mirror_owners([HALTS.owner])
        return [SavedHalt(**row, mirrored=mirrored) for row in rows]

    async def _mirrored_halts(self) -> Halts | None:
        """Read what Redis has; None if it can't be reached, or doesn't know."""
        page = self._cache.page(HALTS.owner)
        with contextlib.suppress(RedisUnavailable, ValueError, TypeError, LookupError):  # or what nobody of ours wrote
            text = await self._connections.mirror.read_halts()
            if text is not None:
                page.halts = to_halts(text)
        return page.halts

    async def _read_halts(self) -> Halts:
        """Read what PostgreSQL has, and let Redis know."""
        rows = await self._fetch(functions.halts.list_halts(False))
        if not await self._connections.confinement.known():
            with contextlib.suppress(StoreError):  # the relay will find what is missing
                await self._refill_halts()
        return {(row["okx_uid"], row["symbol"]): _halt(row) for row in rows}

    async def _refill_halts(self) -> None:
        mirror = self._connections.mirror
        (found,) = await mirror.inspect([HALTS])
        lives = await mirror.lives([HALTS.owner])
        rows = await self._fetch(functions.mirror.mirror_state([HALTS.owner], [HALTS.kind]))
        if rows:
            await mirror.apply([MirrorEntry(**rows[0])], [found], lives=lives)
        else:
            await mirror.note_absent({HALTS.owner: lives.get(HALTS.owner, "")}, HALTS.kind)


def _halt(row: dict[str, Any]) -> Halt:
    return Halt(**{name: row[name] for name in ("okx_uid", "symbol", "reason", "since")})
