"""Writes entries to Redis: what isn't ours there goes into the history first, and marks are cleared afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from store.batches import cut
from store.coherence.connections import Connections
from store.coherence.mirror_source import complete, current
from store.coherence.preserve import keep
from store.errors import DatabaseReadOnly, DatabaseUnavailable, RedisUnavailable, StoreError
from store.mirror.entries import Applied, Found, Place, SettingKeys, moment
from store.models import MirrorEntry, SettingType
from store.postgres import functions

TRIES = 5  # at a key that somebody else keeps writing
KEYS_PER_SCAN = 500


async def mirror(
    stores: Connections,
    entries: Sequence[MirrorEntry],
    *,
    wait: bool = True,
    marked: Collection[tuple[str, str]] | None = None,
    in_hurry: bool = False,
    lacking: bool = False,
) -> list[Applied]:
    """Write entries to Redis and clear the marks of those it has now (soon, if not to `wait`). `marked`: which (owner,
    kind) have one, if the caller knows. `in_hurry`: a few keys, `lacking`: nothing is there, so it needn't be asked
    how much Redis has to go through.

    What isn't ours in Redis goes into the history first. Raises RedisUnavailable, DatabaseUnavailable.
    """
    if of_symbols := [entry for entry in entries if entry.is_of_every_symbol]:
        erased = dict(zip(of_symbols, await _erase_symbols(stores, of_symbols), strict=True))
        rest = [entry for entry in entries if entry not in erased]
        done = iter(await mirror(stores, rest, wait=wait, marked=marked, in_hurry=in_hurry, lacking=lacking))
        return [erased[entry] if entry in erased else next(done) for entry in entries]
    results = []
    # What is there Redis reads, too, and it may come back.
    sizes = [-1 if lacking else 0] * len(entries)
    if not (in_hurry or lacking):
        sizes = await stores.mirror.sizes(list(map(Place.of, entries)))
    for part in cut(zip(entries, sizes, strict=True), lambda pair: pair[0].length + pair[1]):
        # Where a key is gone, so may be what guarded it.
        lives = await stores.mirror.lives(entry.owner for entry, size in part if size < 0)
        whole = await complete(stores, [entry for entry, _ in part], newer_for=lives)
        chunk = [entry for entry in whole if entry is not None]
        applied = await _apply(stores, chunk, sum(max(size, 0) for _, size in part), lives)
        for i, (entry, result) in enumerate(zip(chunk, applied, strict=True)):
            if result.foreign is not None:
                applied[i] = await overwrite(stores, Place.of(entry), result.foreign, entry)
            elif result.error is None and not result.is_current:
                applied[i] = await _catch_up(stores, entry)
            if applied[i].is_current and (marked is None or (entry.owner, entry.kind) in marked):
                stores.marks.done(entry, applied[i].version)
        if wait:
            await stores.marks.clear()
        there = iter(applied)
        results += [Applied(-1, 0) if entry is None else next(there) for entry in whole]
    return results


async def _apply(
    stores: Connections, entries: Sequence[MirrorEntry], size: int, lives: Mapping[str, str]
) -> list[Applied]:
    """Write entries as Mirror.apply() does; where nothing guards a key, as PostgreSQL has it after that was known."""
    results = await stores.mirror.apply(entries, size=size, lives=lives)
    for _ in range(TRIES):
        lost = {i: result.life for i, result in enumerate(results) if result.life}
        if not lost:
            break
        now = await current(stores, [entries[i] for i in lost])
        lives = {entries[i].owner: life for i, life in lost.items()}
        again = iter(await stores.mirror.apply([entry for entry in now if entry], size=size, lives=lives))
        for i, entry in zip(lost, now, strict=True):
            done = next(again) if entry else Applied(-1, 0)
            is_another = entry is not None and entry.document != entries[i].document
            results[i] = Applied(-1, done.version) if is_another and done.is_current else done
    why = RedisUnavailable("Redis keeps losing what guards this key")
    return [Applied(-1, 0, None, why) if result.life else result for result in results]


async def overwrite(stores: Connections, place: Place, found: Found, entry: MirrorEntry | None = None) -> Applied:
    """Write PostgreSQL's current state over what was found in a key, whatever its version, the history
    having it first. Somebody who writes there meanwhile is kept, too.

    The result is that of `entry`, if given: written also if it was put back as a newer version.
    """
    for _ in range(TRIES):
        try:
            await keep(stores, [(place, found)])
        except DatabaseUnavailable as error:
            if not isinstance(error, DatabaseReadOnly):
                raise
            return Applied(-1, found.version, None, error)
        except StoreError as error:  # credentials that can't be encrypted: they stay where they are; or Held
            return Applied(-1, found.version, None, error)
        lives = await stores.mirror.lives([place.owner])
        rows = await stores.database.fetch(functions.mirror.mirror_state([place.owner], [place.kind]))
        if not rows:
            break  # of nobody PostgreSQL knows: sync's
        now = MirrorEntry(**rows[0])
        (result,) = await stores.mirror.apply([now], [found], lives=lives)
        if result.life:
            continue
        if not result.serves(now.version) and result.foreign is None and result.error is None:
            (found,) = await stores.mirror.inspect([place])  # another write came in between, of an older version
            continue
        if result.foreign is None:
            if result.is_current:
                stores.marks.done(now, now.version)
            is_same = entry is None or now.document == entry.document
            return result if is_same or not result.is_current else Applied(-1, result.version)
        found = result.foreign
    return Applied(-1, found.version, None, RedisUnavailable("somebody else keeps writing there"))


async def _erase_symbols(stores: Connections, entries: Sequence[MirrorEntry]) -> list[Applied]:
    """Remove what Redis has of any symbol of erased people; of one that PostgreSQL knows there is another mark."""
    moving: set[tuple[str, str]] = set()
    for suffix in {entry.suffix for entry in entries}:
        wanted = {entry.owner: entry for entry in entries if entry.suffix == suffix}
        entry = wanted[min(wanted)]
        settings = SettingKeys([SettingType(entry.kind.removesuffix(":*"), suffix.removeprefix("symbol:*:"), "", True)])
        async for keys in stores.mirror.scan(KEYS_PER_SCAN, suffix, entry.owner if len(wanted) == 1 else None):
            places = [place for owner, name in set(keys) if owner in wanted and (place := settings.find(name, owner))]
            lives = await stores.mirror.lives(place.owner for place in places)
            given = await stores.mirror.given(sorted({place.owner for place in places}))  # before PostgreSQL is asked
            call = functions.mirror.known_keys([place.owner for place in places], [place.kind for place in places])
            rows = await stores.database.fetch(call) if places else []
            known = {(row["owner"], row["kind"]) for row in rows}
            unknown = [place for place in places if (place.owner, place.kind) not in known]
            seen = [given.get((place.owner, place.kind), (0, "")) for place in unknown]
            found = [Found(version, "", "", "", at if moment(at) else "?") for version, at in seen]
            gone = [
                replace(wanted[place.owner], kind=place.kind, suffix=place.suffix, version=what.version + 1)
                for place, what in zip(unknown, found, strict=True)
            ]
            results = await stores.mirror.apply(gone, found, lives=lives)
            moving |= {(e.owner, suffix) for e, result in zip(gone, results, strict=True) if not result.is_current}
    results = []
    for entry in entries:
        is_gone = (entry.owner, entry.suffix) not in moving
        error = None if is_gone else RedisUnavailable("somebody else keeps writing there")
        results.append(Applied(1 if is_gone else -1, entry.version, None, error))
        if is_gone:
            stores.marks.done(entry, entry.version)
    return results


async def _catch_up(stores: Connections, entry: MirrorEntry) -> Applied:
    """Deal with a key of which Redis has something newer than the entry: either someone else saved and
    mirrored that just now, or PostgreSQL came back from a backup and Redis is ahead of it."""
    (found,) = await stores.mirror.inspect([Place.of(entry)])
    rows = await stores.database.fetch(functions.mirror.mirror_state([entry.owner], [entry.kind]))
    if not rows:
        return Applied(-1, found.version)
    now = MirrorEntry(**rows[0])
    if now.version < found.version or now == entry:  # read later, yet older
        return await overwrite(stores, Place.of(entry), found, entry)
    return Applied(-1, found.version)
