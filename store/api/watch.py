"""Changes as they reach Redis. The channel is a hint; the versions in Redis are the truth."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from redis.exceptions import RedisError

from store.coherence.connections import Connections
from store.errors import RedisUnavailable, first_line
from store.mirror.client import Mirror
from store.mirror.entries import HALTS
from store.mirror.keys import OKX_UID, PROBE
from store.models import Document, Scoped

RETRY = 0.5  # seconds
PING = 1.0  # seconds without a message after which the connection is tested
SILENCE = 3.0  # seconds without an answer after which it is given up
BATCH = 1000  # keys a round trip


@dataclass(frozen=True, slots=True)
class Change(Scoped):
    """A version that reached Redis (for a deletion, too). `setting_type`: with its symbol, as in Setting."""

    okx_uid: str
    setting_type: str
    version: int

    @property
    def is_of_halts(self) -> bool:
        """Whether this is no user's document, but all halts of trading."""
        return self.okx_uid == HALTS.owner


@dataclass(frozen=True, slots=True)
class SettingChange(Change):
    """A version that reached Redis, as it is in the history. `old`, `new`: the document before it and of it; None: none
    was in force. `changed_keys`: on the first level, by name. The others as in Version. `changed_keys` is None where
    `old` isn't known, as that version was pruned; of an erased person nothing is known but that the document is gone.
    """

    old: Document | None
    new: Document | None
    changed_keys: list[str] | None
    saved_at: datetime | None
    changed_by: str | None
    written_by: str | None
    change_reason: str | None


async def watch(
    stores: Connections,
    okx_uid: str | None,
    *,
    halts: bool = False,
    seen: dict[tuple[str, str], int] | None = None,
    listening: asyncio.Event | None = None,
) -> AsyncGenerator[Change]:
    """Yield changes of one user, or of all (but the probe), each key's in order, from now on and without end. `halts`:
    also those of the halts of trading.

    After a lost connection, the newest version of every key that changed meanwhile comes first (those
    between are in the history). Holds a version number per key it watches: `seen`, where that of a change is still the
    one before it while the caller has it. `listening` is set when "now" is. Raises RedisUnavailable if Redis can't be
    reached to begin with.
    """
    mirror, started = stores.mirror, False
    seen = {} if seen is None else seen
    clock = asyncio.get_running_loop().time
    while True:
        try:
            async with mirror.subscribed() as pubsub:
                now = await _versions(mirror, okx_uid, halts)
                for key, version in now.items():
                    if started and version > seen.get(key, 0):
                        yield Change(*key, version)
                seen |= {key: max(version, seen.get(key, 0)) for key, version in now.items()}
                started = True
                if listening is not None:
                    listening.set()
                asked = answered = clock()
                while answered >= asked - SILENCE:
                    message = await pubsub.get_message(timeout=PING)
                    if message is not None:
                        answered = clock()
                    elif clock() - asked >= PING:
                        await pubsub.ping()
                        asked = clock()
                    if message is None or message["type"] != "message":
                        continue
                    change = _change(message["data"])
                    if change is None or not _is_wanted(change.okx_uid, okx_uid, halts):
                        continue
                    if change.version > seen.get((change.okx_uid, change.setting_type), 0):
                        yield change
                        seen[change.okx_uid, change.setting_type] = change.version
        except (RedisError, RedisUnavailable, OSError) as error:
            mirror.retry_now()
            if not started:
                raise RedisUnavailable(f"Redis can't be reached: {first_line(error)}") from None
            await asyncio.sleep(RETRY)


def _is_wanted(owner: str, okx_uid: str | None, halts: bool) -> bool:
    if owner == HALTS.owner:
        return halts
    return owner != PROBE if okx_uid is None else owner == okx_uid


async def _versions(mirror: Mirror, okx_uid: str | None, halts: bool) -> dict[tuple[str, str], int]:
    """Read the version of every key from the mirror hashes."""
    if okx_uid is not None:
        return await mirror.versions([okx_uid, *[HALTS.owner] * halts])
    found: dict[tuple[str, str], int] = {}
    async for keys in mirror.scan(BATCH):
        found |= await mirror.versions(
            [
                owner
                for owner, suffix in keys
                if suffix == "mirror" and OKX_UID.fullmatch(owner) and _is_wanted(owner, None, halts)
            ]
        )
    return found


def _change(data: str) -> Change | None:
    try:
        message = json.loads(data)
        return Change(message["okx_uid"], message["setting_type"], message["version"])
    except (ValueError, TypeError, KeyError):
        return None  # someone else's message
