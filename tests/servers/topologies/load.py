"""Writers and readers that go on while servers fail over, a relay as in operation, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Any, Self

import psycopg

from store import Config, DatabaseUnavailable, SettingsStore
from store.coherence.relay import Relay
from store.coherence.verify import verify
from store.postgres.call import Call
from tests.faults.servers import PATIENCE, eventually

USERS = [f"10000000000000{number:02}" for number in range(30)]
KINDS = ("preferences", "params", "dual_side")
RAW_UPDATE = (
    "update user_settings set settings = settings || jsonb_build_object('n', %(n)s::int)"
    " where okx_uid = %(user)s and setting_type = %(kind)s and is_active returning version"
)


class Load:
    """Three writers (saves, patches, raw SQL), a reader and a relay, until the end of its context. Then everything
    acknowledged must be in the history, and both stores equal without a repair."""

    def __init__(self, config: Config) -> None:
        self.config = replace(config, redis_retry_after=0.1, db_timeout=2.0)
        self.saved: dict[tuple[str, str, int], int] = {}  # version -> n, as acknowledged
        self.mirrored = 0
        self.refused = 0  # saves that PostgreSQL didn't acknowledge
        self._latest: dict[tuple[str, str], int] = {}
        self._numbers = count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_over = False

    async def __aenter__(self) -> Self:
        self._stores = [await SettingsStore(self.config).__aenter__() for _ in range(3)]
        first = self._stores[0]
        await asyncio.gather(*(first.register(user, f"{n + 10_000}") for n, user in enumerate(USERS)))
        self._relay = Relay(self._stores[2]._connections)
        self._relaying = asyncio.create_task(self._relay.run())
        writers = [self._save, self._patch, self._update]
        self._tasks = [asyncio.create_task(self._write(n, write)) for n, write in enumerate(writers)]
        self._tasks.append(asyncio.create_task(self._read()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._is_over = True  # not cancelled: each operation ends as it would
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            if kind is None:
                assert ended == [None] * len(ended)
                await eventually(self._is_equal)
                await self._check_history()
        finally:
            self._relay.stopping.set()
            await self._relaying
            for store in self._stores:
                await store.__aexit__()

    async def more(self, number: int, *, mirrored: bool = True) -> None:
        """Wait until so many more saves are acknowledged, and (with `mirrored`) as many have reached Redis at once."""
        until, until_mirrored = len(self.saved) + number, self.mirrored + number * mirrored
        async with asyncio.timeout(PATIENCE):
            while len(self.saved) < until or self.mirrored < until_mirrored:
                for task in (*self._tasks, self._relaying):
                    if task.done():
                        task.result()
                await asyncio.sleep(0.01)

    async def _write(self, writer: int, write: Callable[[str, str, int], Awaitable[int | None]]) -> None:
        for turn in count():
            if self._is_over:
                return
            user, kind = USERS[(turn * 7 + writer) % len(USERS)], KINDS[turn % len(KINDS)]
            number = next(self._numbers)
            try:
                version = await write(user, kind, number)
            except DatabaseUnavailable:
                self.refused += 1
                await asyncio.sleep(0.01)
                continue
            if version is not None:
                self.saved[user, kind, version] = number
                self._latest[user, kind] = max(version, self._latest.get((user, kind), 0))
            await asyncio.sleep(0.002)

    async def _save(self, user: str, kind: str, number: int) -> int:
        saved = await self._stores[0].save(user, kind, {"n": number})
        self.mirrored += saved.mirrored
        return saved.version

    async def _patch(self, user: str, kind: str, number: int) -> int:
        saved = await self._stores[1].patch(user, kind, {"n": number})
        self.mirrored += saved.mirrored
        return saved.version

    async def _update(self, user: str, kind: str, number: int) -> int | None:
        call = Call(RAW_UPDATE, {"user": user, "kind": kind, "n": number})
        rows = await self._stores[2]._connections.database.fetch(call)
        return rows[0]["version"] if rows else None

    async def _read(self) -> None:
        for turn in count():
            if self._is_over:
                return
            user, kind = USERS[turn % len(USERS)], KINDS[turn % len(KINDS)]
            least = self._latest.get((user, kind), 0)
            with contextlib.suppress(DatabaseUnavailable):
                found = await self._stores[turn % 2].get(user, kind, min_version=least)
                assert found is not None
                assert found.version >= least
            await asyncio.sleep(0.002)

    async def _is_equal(self) -> bool:
        report = await verify(self._stores[2]._connections)
        assert report.checked >= len(USERS) * len(KINDS)
        return not report.findings

    async def _check_history(self) -> None:
        with psycopg.connect(self.config.database_url or "") as connection:
            rows: list[tuple[Any, ...]] = connection.execute(
                "select okx_uid, setting_type, version, (settings ->> 'n')::int from user_settings"
            ).fetchall()
        history = {(user, kind, version): number for user, kind, version, number in rows}
        lost = {key: (number, history.get(key)) for key, number in self.saved.items() if history.get(key) != number}
        assert lost == {}
