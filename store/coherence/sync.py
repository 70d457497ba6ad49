"""Sync from Redis to PostgreSQL: takes over what only Redis has, three ways.

The comparison and the writing are SQL's (import_documents, import_links); here keys are read, and what
Redis should hold afterwards is written back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from store.arguments import check_okx_uid
from store.batches import cut, halve, overlap
from store.coherence import relay
from store.coherence.connections import Connections
from store.coherence.mirror_source import complete, setting_keys, some_entries
from store.coherence.preserve import found_item
from store.coherence.relay import BATCH
from store.coherence.sync_credentials import UNCHOSEN, import_credentials, is_plain, require_mode
from store.errors import DatabaseUnavailable, NotPermitted, StoreError, VersionConflict
from store.json_writer import shown_key
from store.mirror.entries import CREDENTIALS, TELEGRAM, Found, Place, SettingKeys
from store.mirror.keys import OKX_UID, TELEGRAM_ID
from store.mirror.old_encodings import Unreadable
from store.models import MirrorEntry
from store.postgres import functions
from store.postgres.call import Call
from store.postgres.confinement import refusal

Prefer = Literal["redis", "db"]

# Outcomes after which Redis gets PostgreSQL's current state.
TO_MIRROR = {"same", "stale", "missing", "new", "edited"}
# Outcomes that leave Redis as it is, though it differs.
NOTHING_DONE = ("conflict", "deleted", "partial", "invalid", "bad", "busy", "refused")

# What is to be written to Redis: the content, or (a version) of what was taken in part only that.
Settled = tuple[Place, int | None]

OTHERS = {place.suffix: place for place in (TELEGRAM, CREDENTIALS)}  # keys that hold no settings

# Batches under way: while PostgreSQL takes one over, the next is read, and the one before is written back.
UNDER_WAY = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes (or would become) of one Redis key; see import_documents, and `bad`: not a user's key, or
    no document; `refused`: Redis doesn't take what PostgreSQL has now. `problems`: setting key -> why it can't be
    taken."""

    redis_key: str
    outcome: str
    problems: dict[str, str] | None = None


class Sync:
    """One run. Raises RedisUnavailable, DatabaseUnavailable, ConfigError (MIRROR_CREDENTIALS must be chosen first); bad
    data of one user never stops another's."""

    def __init__(
        self,
        stores: Connections,
        *,
        okx_uid: str | None = None,
        prefer: Prefer | None = None,
        dry_run: bool = False,
        tell: Callable[[Outcome], None] = lambda _: None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._stores = stores
        self._okx_uid = okx_uid
        self._prefer = prefer
        self._dry_run = dry_run
        self._tell = tell
        self._progress = progress
        self._settings = SettingKeys(())
        self._outcomes: Counter[str] = Counter()
        # One batch at a time: two would wait for each other's users, in PostgreSQL and for good.
        self._writing = asyncio.Lock()

    async def run(self) -> Counter[str]:
        """Go through all keys of Redis (or those of one user); return how many had which outcome. `tell`
        hears of each that isn't equal, `progress` how many keys were looked at since."""
        if self._okx_uid is not None:
            check_okx_uid(self._okx_uid)
        if await self._stores.confinement.known() not in ("", self._okx_uid):
            raise refusal()
        await require_mode(self._stores, self._okx_uid)
        self._settings = await setting_keys(self._stores)
        # Links first: a user who comes with the link comes at once, and a link that comes later changes the documents.
        await overlap(self._found_keys(TELEGRAM.suffix), self._batch, UNDER_WAY)
        await overlap(self._found_keys(), self._batch, UNDER_WAY)
        if not self._dry_run:
            # What came with new users and links. Not documents: one left in conflict would be overwritten.
            done = await relay.drain(self._stores, kinds=("user", TELEGRAM.kind))
            for (owner, kind), why in (done.failures | done.held).items():
                suffix = TELEGRAM.suffix if kind == TELEGRAM.kind else "mirror"
                self._count(Place(owner, kind, suffix, ""), "refused", {"$": why})
        return self._outcomes

    async def take_over(self, okx_uid: str) -> None:
        """Take over the documents of one user, without searching Redis for anything but symbols; the marks of the
        user stay for the caller."""
        self._settings = await setting_keys(self._stores)
        await self._batch([(okx_uid, suffix) for suffix in (*self._settings.suffixes, CREDENTIALS.suffix)])
        if self._outcomes:  # there is somebody: perhaps with symbols, which takes a look at the names of all keys
            async for keys in self._stores.mirror.scan(BATCH, "symbol:*", okx_uid):
                await self._batch([key for key in keys if self._form(key[1])])

    def _form(self, suffix: str) -> Place | None:
        """Return what keys with a suffix hold, of anybody; None for what isn't ours."""
        return OTHERS.get(suffix) or self._settings.find(suffix)

    async def _found_keys(self, suffix: str | None = None) -> AsyncIterator[list[tuple[str, str]]]:
        """List the keys of Redis with this suffix, or all but the links, in batches; a key may come twice."""
        batch: dict[tuple[str, str], None] = {}
        async for keys in self._stores.mirror.scan(BATCH, suffix):
            listed = [key for key in keys if suffix or key[1] != TELEGRAM.suffix]
            self._progress(len(listed))
            batch |= dict.fromkeys(key for key in listed if self._form(key[1]))
            if len(batch) >= BATCH:
                yield list(batch)
                batch = {}
        yield list(batch)

    async def _batch(self, keys: Sequence[tuple[str, str]]) -> None:
        """Take over these keys, no more at a time than can be held."""
        places = []
        for owner, suffix in keys:
            form = self._form(suffix)
            if form and (self._okx_uid in (None, owner) or form is TELEGRAM):
                places.append(Place(owner, form.kind, suffix, form.encoding))
        sizes = await self._stores.mirror.sizes(places)
        for part in cut(zip(places, sizes, strict=True), itemgetter(1)):
            await self._part([place for place, _ in part], sum(size for _, size in part))

    async def _part(self, places: Sequence[Place], size: int) -> None:
        """Take over what these hold; if somebody was erased since it was read, as it is now."""
        while True:
            with contextlib.suppress(VersionConflict):
                return await self._attempt(places, size)

    async def _attempt(self, places: Sequence[Place], size: int) -> None:
        documents, links, finds, credentials, unreadable = {}, {}, {}, {}, {}
        erasures = None if self._dry_run else (await self._stores.database.fetch(functions.users.erasures()))[0]["r"]
        for place, found in zip(places, await self._stores.mirror.inspect(places, size), strict=True):
            if self._okx_uid not in (None, place.owner, found.content):
                continue  # another user's Telegram ID
            if found.type == "none":
                continue  # gone since
            finds[place] = found
            try:
                if found.type == "large":
                    raise Unreadable("larger than a document can be (1 MiB)")
                if place.kind == TELEGRAM.kind:
                    links[place] = self._link(place, found)
                elif place.kind == CREDENTIALS.kind:
                    if is_plain(found) and not self._stores.mirror.is_mode_chosen:  # written since the run began
                        raise Unreadable(UNCHOSEN)
                    credentials[place] = self._checked_owner(place, found)
                else:
                    documents[place] = self._document(place, found)
            except Unreadable as error:
                unreadable[place] = str(error)
        async with self._writing:
            settled = await self._import(functions.mirror.import_links, links, erasures)
            settled += await self._import(functions.mirror.import_documents, documents, erasures)
            if credentials:
                rows = await import_credentials(self._stores, credentials, self._prefer, self._dry_run, erasures)
                settled += self._settle(credentials, rows)
        for place, why in unreadable.items():
            self._count(place, "bad", {"$": why})
        if settled and not self._dry_run:
            await self._write_back({place: finds[place] for place, version in settled if version is None}, size)
            partial = {place: version for place, version in settled if version is not None}
            await self._write_back({place: finds[place] for place in partial}, size, partial)

    def _checked_owner(self, place: Place, found: Found) -> Found:
        if not OKX_UID.fullmatch(place.owner):
            raise Unreadable("not an OKX UID (16-20 digits)")
        return found

    def _document(self, place: Place, found: Found) -> str:
        self._checked_owner(place, found)
        expected = "hash" if place.encoding == "hash" else "string"
        if found.type != expected:
            raise Unreadable(f"not a Redis {expected}")
        return found_item(place, found)

    def _link(self, place: Place, found: Found) -> str:
        if not TELEGRAM_ID.fullmatch(place.owner):
            raise Unreadable("not a Telegram ID (5-15 digits)")
        if found.type != "string" or not OKX_UID.fullmatch(found.content):
            raise Unreadable("doesn't lead to an OKX UID (16-20 digits)")
        return json.dumps({"owner": place.owner, "version": found.version, "okx_uid": found.content})

    async def _import(
        self,
        call: Callable[[str, Prefer | None, bool, int | None], Call],
        items: dict[Place, str],
        erasures: int | None,
    ) -> list[Settled]:
        """Have PostgreSQL compare and take over; what it refuses is bad. Return what is to be written back to Redis."""

        async def take_over(places: Sequence[Place]) -> list[Settled]:
            text = f"[{','.join(items[place] for place in places)}]"
            rows = await self._stores.database.fetch(call(text, self._prefer, self._dry_run, erasures))
            return self._settle(places, rows)

        def refused(place: Place, error: StoreError) -> list[Settled]:
            self._count(place, "bad", {"$": str(error)})
            return []

        ours = (DatabaseUnavailable, NotPermitted, VersionConflict)
        return await halve(list(items), take_over, refused, unless=ours) if items else []

    def _settle(self, places: Iterable[Place], rows: Sequence[dict[str, Any]]) -> list[Settled]:
        """Count the outcomes; return what is to be written back to Redis."""
        by_key = {(place.owner, place.kind): place for place in places}
        settled: list[Settled] = []
        for row in rows:
            place, outcome = by_key[row["owner"], row.get("kind", TELEGRAM.kind)], row["outcome"]
            is_decided = outcome == "conflict" and self._prefer is not None
            if outcome in TO_MIRROR or is_decided or row.get("version") is not None:
                settled.append((place, row.get("version")))
            self._count(place, f"conflict, {self._prefer} wins" if is_decided else outcome, row.get("problems"))
        return settled

    async def _write_back(
        self, finds: Mapping[Place, Found], size: int, partial: Mapping[Place, int] | None = None
    ) -> None:
        """Write what PostgreSQL has now over what was looked at; of what was taken in part, these versions only. What
        somebody has written there since stays, for the next run."""
        if not finds:
            return
        lives = await self._stores.mirror.lives(place.owner for place in finds)
        call = some_entries([place.owner for place in finds], [place.kind for place in finds])
        listed = [MirrorEntry(**row) for row in await self._stores.database.fetch(call)]
        by_key = {(place.owner, place.kind): found for place, found in finds.items()}
        for part in cut(listed, lambda entry: entry.length):
            entries = [entry for entry in await complete(self._stores, part) if entry]
            if partial:  # of a version that somebody saved since, Redis is to get the content
                entries = [entry for entry in entries if partial[Place.of(entry)] == entry.version]
            seen = [by_key[entry.owner, entry.kind] for entry in entries]
            results = await self._stores.mirror.apply(
                entries, seen, size, version_only=partial is not None, lives=lives
            )
            for entry, result in zip(entries, results, strict=True):
                if result.is_current:
                    self._stores.marks.done(entry, entry.version)
                elif result.error is not None:
                    self._count(Place.of(entry), "refused", {"$": str(result.error)})
        await self._stores.marks.clear()

    def _count(self, place: Place, outcome: str, problems: dict[str, str] | None = None) -> None:
        self._outcomes[outcome] += 1
        if outcome != "ok":
            shown = problems and {shown_key(key): why for key, why in problems.items()}
            self._tell(Outcome(self._stores.mirror.keys.of(place.owner, place.suffix), outcome, shown))
