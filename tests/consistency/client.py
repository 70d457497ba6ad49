"""A process that calls the store at random, several calls at once, and records each; or one that watches.

The choices are a seed's; what comes of them isn't.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from store import SettingsStore, StoreError
from store.api import changes
from store.errors import (
    AlreadyLinked,
    BadIdentifier,
    DatabaseBusy,
    DatabaseUnavailable,
    HistoryIsImmutable,
    InvalidArgument,
    InvalidSettings,
    NotPermitted,
    OutOfResources,
    RedisUnavailable,
    UnknownSettingType,
    UnknownUser,
    UnknownVersion,
    VersionConflict,
)
from store.models import SavedSetting, Setting, SettingView, changeable
from tests.consistency.history import Recorder, digest

IDS = 10**9  # of a process
AT_ONCE = 3  # calls under way in a process
CACHED = 100  # users in the cache of every other process
REFUSALS = (  # whoever gets one of these knows that nothing was done
    AlreadyLinked, BadIdentifier, DatabaseBusy, HistoryIsImmutable, InvalidArgument, InvalidSettings, NotPermitted,
    UnknownSettingType, UnknownUser, UnknownVersion, VersionConflict,
)  # fmt: skip
PARTLY = ("register",)  # a refusal may come after the commit, of the steps that follow
SYMBOL = "BTC-USDT-SWAP"
KINDS = ("preferences", "params", "dual_side", f"dual_side:{SYMBOL}")
SUFFIXES = {"preferences": "preferences", "params": "settings", "dual_side": "dual_side",
            f"dual_side:{SYMBOL}": f"symbol:{SYMBOL}:dual_side"}  # fmt: skip


@dataclass(frozen=True)
class Cast:
    """Who there is in a round."""

    users: list[str]
    mortals: list[str]  # those of them who are erased and registered again
    telegrams: list[str]

    @classmethod
    def of(cls, round_: int, users: int) -> Cast:
        names = [str(10**15 + round_ * 1000 + number) for number in range(users)]
        telegrams = [str(10**8 + round_ * 1000 + number) for number in range(max(users // 2, 2))]
        return cls(names, names[: max(users // 4, 1)], telegrams)

    @property
    def beacon(self) -> str:
        """A user whose changes tell whether a watcher is there."""
        return self.users[0][:-3] + "999"

    @property
    def ghost(self) -> str:
        """A user whom the nemesis registers and erases, and whom no client knows."""
        return self.users[0][:-3] + "998"


class Client:
    """An open store and raw connections beside it, with what this process has learnt."""

    def __init__(
        self, store: SettingsStore, recorder: Recorder, number: int, seed: int, cast: Cast, urls: Mapping[str, str]
    ) -> None:
        self.store, self.recorder, self.number, self.cast = store, recorder, number, cast
        self._database_url = urls["RAW_DATABASE_URL"]
        self.random = random.Random(seed * 1009 + number)
        self.latest: dict[tuple[str, str], int] = {}
        self.is_cached = is_cached(number)
        self.redis = Redis.from_url(urls["RAW_REDIS_URL"], decode_responses=True, socket_timeout=1)
        self._postgres: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def call(
        self, f: str, args: dict[str, Any], action: Callable[[int], Awaitable[Any]], shape: Callable[[Any], Any]
    ) -> Any:
        """Make a call and record it. `action` takes its id, which is also the reason that PostgreSQL keeps."""
        op = self.recorder.begin(f, s=self.number, **args)
        try:
            async with self.store.acting_as(reason=f"op:{op}"):
                result = shape(await action(op))
        except asyncio.CancelledError:
            self.recorder.end(op, "err", "CancelledError")
            raise
        except REFUSALS as error:
            self.recorder.end(op, "err" if f in PARTLY else "no", type(error).__name__)
        except psycopg.OperationalError as error:
            self.recorder.end(op, "err", type(error).__name__)
        except psycopg.Error as error:
            self.recorder.end(op, "no", type(error).__name__)
        except (StoreError, RedisError, OSError) as error:
            self.recorder.end(op, "err", type(error).__name__)
            await asyncio.sleep(0.005)  # a server is away: others go on
        else:
            self.recorder.end(op, "ok", result)
            return result
        return None

    def learn(self, owner: str, kind: str, version: int) -> None:
        self.latest[owner, kind] = max(version, self.latest.get((owner, kind), 0))

    def seen(self, setting: Setting | SettingView | None) -> Any:
        """Record what a read returned."""
        if setting is None:
            return None
        self.learn(setting.okx_uid, setting.setting_type, setting.version)
        return [setting.okx_uid, setting.setting_type, setting.version, digest(changeable(setting.settings)),
                setting.source, setting.telegram_id]  # fmt: skip

    def saved(self, setting: SavedSetting | None) -> Any:
        """Record what a save returned: version, mirrored, digest."""
        if setting is None:
            return None
        self.learn(setting.okx_uid, setting.setting_type, setting.version)
        return [setting.setting_type, setting.version, setting.mirrored, digest(setting.settings)]

    @asynccontextmanager
    async def postgres(self) -> AsyncIterator[psycopg.AsyncCursor[Any]]:
        """A transaction on a connection as psql has one, beside the store's; one at a time."""
        async with self._turn:
            if self._postgres is None or self._postgres.closed:
                self._postgres = await psycopg.AsyncConnection.connect(
                    self._database_url, connect_timeout=2, options="-c lock_timeout=3s"
                )
            async with self._postgres.transaction(), self._postgres.cursor() as cursor:
                yield cursor

    async def close(self) -> None:
        await self.redis.aclose()
        if self._postgres is not None:
            await self._postgres.close()


def is_cached(number: int) -> bool:
    """Tell whether a process's store has a cache."""
    return number % 2 == 1


async def work(number: int, ops: int, seed: int, folder: Path, cast: Cast, reads: float, is_rogue: bool) -> None:
    """Make so many calls."""
    from tests.consistency.calls import some_call  # which needs Client

    with (folder / f"client-{number}.jsonl").open("a", encoding="utf-8", buffering=1) as file:
        recorder = Recorder(file, number * IDS)
        async with SettingsStore(cache=CACHED if is_cached(number) else 0) as store:
            client = Client(store, recorder, number, seed, cast, os.environ)
            left = iter(range(ops))

            async def go_on() -> None:
                for _ in left:
                    call = asyncio.create_task(some_call(client, reads, is_rogue))
                    if client.random.random() < 0.03:
                        await asyncio.wait([call], timeout=client.random.uniform(0, 0.01))
                        call.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await call

            await asyncio.gather(*(go_on() for _ in range(AT_ONCE)))
            await client.close()


async def watch(number: int, folder: Path) -> None:
    """Record what a watch yields, and the feed, until SIGTERM."""

    async def listen(store: SettingsStore, recorder: Recorder) -> None:
        while True:  # until Redis can be reached to begin with
            with contextlib.suppress(RedisUnavailable):
                async for change in store.watch():
                    recorder.watched(number, change.okx_uid, change.setting_type, change.version)
            await asyncio.sleep(0.1)

    async def read_on(store: SettingsStore, recorder: Recorder) -> None:
        changes.LOOK, cursor = 0.01, None  # often, so that others are amid their commits
        seen: set[str] = set()
        while True:
            try:
                async for change in store.changes(cursor, follow=True):
                    cursor = change.cursor
                    if (place := cursor.partition(".")[2]) not in seen:
                        seen.add(place)
                        recorder.watched(number, change.okx_uid, change.setting_type, change.version, by="fed")
            except InvalidArgument:  # PostgreSQL was promoted: from the beginning, but for what was read
                cursor = None
            except (DatabaseUnavailable, OutOfResources):
                pass
            await asyncio.sleep(0.1)

    async def follow(recorder: Recorder) -> None:
        async with SettingsStore() as store:
            await asyncio.gather(listen(store, recorder), read_on(store, recorder))

    with (folder / f"client-{number}.jsonl").open("a", encoding="utf-8", buffering=1) as file:
        following = asyncio.create_task(follow(Recorder(file)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, following.cancel)
        await asyncio.wait([following])
        if not following.cancelled():
            following.result()
