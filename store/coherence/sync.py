"""Sync from Redis to PostgreSQL: takes over what only Redis has, three ways.

The comparison and the writing are SQL's (import_documents, import_links); here keys are read, and what
Redis should hold afterwards is written back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from store.arguments import check_okx_uid
from store.batches import cut, halve
from store.coherence import relay
from store.coherence.connections import Connections
from store.coherence.mirror_source import complete, some_entries
from store.coherence.preserve import item
from store.coherence.relay import BATCH
from store.coherence.sync_credentials import import_credentials
from store.ending import end
from store.errors import DatabaseUnavailable, NotPermitted, StoreError, VersionConflict
from store.mirror.entries import CREDENTIALS, TELEGRAM, Found, Place, SettingKeys
from store.mirror.keys import OKX_UID, TELEGRAM_ID
from store.mirror.old_encodings import Field, Unreadable, read_document
from store.models import MirrorEntry, SettingType
from store.postgres import functions
from store.postgres.call import Call
from store.postgres.confinement import refusal

Prefer = Literal["redis", "db"]

# Outcomes after which Redis gets PostgreSQL's current state.
TO_MIRROR = {"same", "stale", "missing", "new", "edited"}
# Outcomes that leave both sides as they are, though they differ.
NOTHING_DONE = ("conflict", "deleted", "invalid", "bad", "busy", "refused")

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
    """One run. Raises RedisUnavailable, DatabaseUnavailable; bad data of one user never stops another's."""

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
        self._fields: dict[str, dict[str, Field]] = {}
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
        await self._load_catalogue()
        # Links first: a user who comes with the link comes at once, and a link that comes later changes the documents.
        await self._take_over(self._found_keys(TELEGRAM.suffix))
        await self._take_over(self._found_keys())
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
        await self._load_catalogue()
        await self._batch([(okx_uid, suffix) for suffix in (*self._settings.suffixes, CREDENTIALS.suffix)])
        if self._outcomes:  # there is somebody: perhaps with symbols, which takes a look at the names of all keys
            async for keys in self._stores.mirror.scan(BATCH, "symbol:*", okx_uid):
                await self._batch([key for key in keys if self._form(key[1])])

    async def _load_catalogue(self) -> None:
        rows = await self._stores.database.fetch(functions.catalogue.list_setting_types())
        self._settings = SettingKeys(SettingType(**row) for row in rows)
        for row in await self._stores.database.fetch(functions.catalogue.list_setting_fields()):
            fields = self._fields.setdefault(row["setting_type"], {})
            fields[row["key"]] = Field(row["json_type"], row["is_nullable"])

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

    async def _take_over(self, batches: AsyncIterator[list[tuple[str, str]]]) -> None:
        under_way: deque[asyncio.Task[None]] = deque()
        try:
            async for keys in batches:
                if len(under_way) == UNDER_WAY:
                    await under_way[0]
                    under_way.popleft()
                under_way.append(asyncio.create_task(self._batch(keys)))
            while under_way:
                await under_way[0]
                under_way.popleft()
        finally:
            await end(*under_way)

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
                    credentials[place] = self._checked_owner(place, found)
                else:
                    documents[place] = self._document(place, found)
            except Unreadable as error:
                unreadable[place] = str(error)
        async with self._writing:
            to_mirror = await self._import(functions.mirror.import_links, links, erasures)
            to_mirror += await self._import(functions.mirror.import_documents, documents, erasures)
            if credentials:
                rows = await import_credentials(self._stores, credentials, self._prefer, self._dry_run, erasures)
                to_mirror += self._settle(credentials, rows)
        for place, why in unreadable.items():
            self._count(place, "bad", {"$": why})
        if to_mirror and not self._dry_run:
            await self._write_back({place: finds[place] for place in to_mirror}, size)

    def _checked_owner(self, place: Place, found: Found) -> Found:
        if not OKX_UID.fullmatch(place.owner):
            raise Unreadable("not an OKX UID (16-20 digits)")
        return found

    def _document(self, place: Place, found: Found) -> str:
        self._checked_owner(place, found)
        expected = "hash" if place.encoding == "hash" else "string"
        if found.type != expected:
            raise Unreadable(f"not a Redis {expected}")
        document = read_document(found.type, found.content, self._fields.get(place.setting_type, {}))
        # In our own encoding what we wrote reads back exactly; the catalogue's types are for what others wrote.
        as_given = read_document(found.type, found.content, {}) if found.version else "null"
        return item(place, found.version, document, as_given)

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
    ) -> list[Place]:
        """Have PostgreSQL compare and take over; what it refuses is bad. Return what is to be written back to Redis."""

        async def take_over(places: Sequence[Place]) -> list[Place]:
            text = f"[{','.join(items[place] for place in places)}]"
            rows = await self._stores.database.fetch(call(text, self._prefer, self._dry_run, erasures))
            return self._settle(places, rows)

        def refused(place: Place, error: StoreError) -> list[Place]:
            self._count(place, "bad", {"$": str(error)})
            return []

        ours = (DatabaseUnavailable, NotPermitted, VersionConflict)
        return await halve(list(items), take_over, refused, unless=ours) if items else []

    def _settle(self, places: Iterable[Place], rows: Sequence[dict[str, Any]]) -> list[Place]:
        """Count the outcomes; return what is to be written back to Redis."""
        by_key = {(place.owner, place.kind): place for place in places}
        to_mirror = []
        for row in rows:
            place, outcome = by_key[row["owner"], row.get("kind", TELEGRAM.kind)], row["outcome"]
            is_decided = outcome == "conflict" and self._prefer is not None
            if outcome in TO_MIRROR or is_decided:
                to_mirror.append(place)
            self._count(place, f"conflict, {self._prefer} wins" if is_decided else outcome, row.get("problems"))
        return to_mirror

    async def _write_back(self, finds: Mapping[Place, Found], size: int) -> None:
        """Write what PostgreSQL has now over what was looked at. What somebody has written there since stays,
        for the next run."""
        call = some_entries([place.owner for place in finds], [place.kind for place in finds])
        listed = [MirrorEntry(**row) for row in await self._stores.database.fetch(call)]
        by_key = {(place.owner, place.kind): found for place, found in finds.items()}
        for part in cut(listed, lambda entry: entry.length):
            entries = [entry for entry in await complete(self._stores, part) if entry]
            seen = [by_key[entry.owner, entry.kind] for entry in entries]
            results = await self._stores.mirror.apply(entries, seen, size)
            for entry, result in zip(entries, results, strict=True):
                if result.is_current:
                    self._stores.marks.done(entry, entry.version)
                elif result.error is not None:
                    self._count(Place.of(entry), "refused", {"$": str(result.error)})
        await self._stores.marks.clear()

    def _count(self, place: Place, outcome: str, problems: dict[str, str] | None = None) -> None:
        self._outcomes[outcome] += 1
        if outcome != "ok":
            self._tell(Outcome(self._stores.mirror.keys.of(place.owner, place.suffix), outcome, problems))
