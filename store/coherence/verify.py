"""Verify: compares every key of both sides, and mends what differs.

Kinds of finding: missing, stale (Redis is older), ahead (Redis is newer: PostgreSQL came back from a
backup), edited (right version, other content), orphan (PostgreSQL has no such document), unmarked (never
mirrored by us), deleted (never mirrored by us, of a deleted user), large (more than a document can be), erased (of a
person who was erased: an old Redis came back), pending (missing or stale, but marked: the relay is about to mend it).

What is in force, in an older encoding, is no finding: as for sync, see judge.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from store.arguments import check_okx_uid
from store.batches import cut, overlap
from store.coherence import mirroring, relay
from store.coherence.connections import Connections
from store.coherence.erased import left_of_erased
from store.coherence.judge import Judgement, judge, owner_of
from store.coherence.looks import Look
from store.coherence.mirror_source import all_entries, complete, setting_keys
from store.coherence.preserve import Held
from store.coherence.relay import BATCH
from store.encryption.vault import DamagedCredential, WrongEncryptionKey
from store.mirror.entries import CREDENTIALS, HALTS, TELEGRAM, Place
from store.mirror.keys import OKX_UID
from store.models import MirrorEntry
from store.postgres import functions

LOOKS = 10  # at a key that keeps changing
BETWEEN_LOOKS = 0.05  # seconds, for a write to get from one store to the other
USERS_NAMED = 100
FAILURES_NAMED = 10_000
FINDINGS = ("missing", "stale", "ahead", "edited", "orphan", "unmarked", "deleted", "large", "erased", "pending")


@dataclass(frozen=True, slots=True)
class Finding:
    """A key that differs. Holds versions only, never content."""

    owner: str
    kind: str
    finding: str
    db_version: int | None
    redis_version: int


@dataclass
class Report:
    """The outcome. `users`: the first findings; `repaired`: how many of all findings are no more; `failures`: why some
    couldn't be mended; `held`: why some weren't, as that must be asked for."""

    checked: int = 0
    ok: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    users: list[Finding] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    held: dict[tuple[str, str], str] = field(default_factory=dict)

    def fail(self, place: Place, why: str, held: bool = False) -> None:
        """Note why a key wasn't mended."""
        noted = self.held if held else self.failures
        if len(noted) < FAILURES_NAMED:
            noted[place.owner, place.kind] = why

    def add(self, findings: Sequence[Finding]) -> None:
        """Count findings, and keep the first."""
        self.findings.update(finding.finding for finding in findings)
        self.users += findings[: max(0, USERS_NAMED - len(self.users))]

    @property
    def remaining(self) -> int:
        return self.findings.total() - self.repaired


async def verify(
    stores: Connections,
    *,
    okx_uid: str | None = None,
    repair: bool = False,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Compare all keys, or those of one user. `progress` is told how many keys were looked at since.

    With `repair`, PostgreSQL wins; a document found only in Redis is kept in the history first. Left as it
    is: what Redis holds of users PostgreSQL doesn't know (unmarked, orphan) — `sync` imports that, but not what is
    left of erased people, which goes; and, without `force`, a document of which sync can't read every key, and plain
    API keys while MIRROR_CREDENTIALS isn't chosen. A confined session: of its user only. Raises NotPermitted,
    RedisUnavailable, DatabaseUnavailable.
    """
    report = Report()
    okx_uid = okx_uid or await stores.confinement.known() or None
    owners = await _owners_of(stores, okx_uid) if okx_uid is not None else None
    expected = 0  # a sum of hashes: of all keys that should be there

    async def compare(rows: Sequence[dict[str, Any]]) -> None:
        nonlocal expected
        listed = [MirrorEntry(**row) for row in rows]
        sizes = await stores.mirror.sizes([Place.of(entry) for entry in listed])
        for part in cut(zip(listed, sizes, strict=True), lambda pair: pair[0].length + pair[1]):
            whole = await complete(stores, [entry for entry, _ in part])
            entries = [(_shown(stores, entry), size) for entry, (_, size) in zip(whole, part, strict=True) if entry]
            places = [Place.of(entry) for entry, _ in entries]
            found = await stores.mirror.look(places, [size for _, size in entries])
            await settle(
                [Look(place, entry, what) for place, (entry, _), what in zip(places, entries, found, strict=True)]
            )
            there = [entry for entry, _ in entries if entry.document is not None and entry.encoding != "fields"]
            expected += sum(hash((entry.owner, entry.suffix)) for entry in there)

    async def settle(looks: Sequence[Look]) -> None:
        report.checked += len(looks)
        suspects = [look for look in looks if look.finding()]
        report.ok += len(looks) - len(suspects)
        if repair:
            suspects = await _fill(stores, suspects, report)
        confirmed = await _confirmed(stores, suspects)
        judgement = await judge(stores, confirmed)
        differing = [look for look in confirmed if look.place not in judgement.same]
        report.ok += len(suspects) - len(differing)
        findings = await _named(stores, differing, judgement)
        report.add(findings)
        if repair and confirmed:
            held = {} if force else judgement.held
            for look in differing:
                if look.place in held:
                    report.fail(look.place, held[look.place], held=True)
            at_hand = [look for look in confirmed if look.place not in held]
            mended = await _repair(stores, at_hand, judgement, report)  # another batch counts meanwhile
            report.repaired += mended
        progress(len(looks))

    listing = all_entries() if owners is None else functions.mirror.mirror_source(owners)
    async with contextlib.aclosing(stores.database.stream(listing, BATCH)) as batches:
        await overlap(batches, compare, 2)
    async for looks in _only_in_redis(stores, owners, expected):
        await settle(looks)
    return report


async def _owners_of(stores: Connections, okx_uid: str) -> list[str]:
    check_okx_uid(okx_uid)
    user = await stores.database.fetch(functions.users.find_user(okx_uid))
    return [okx_uid, *([user[0]["telegram_id"]] if user and user[0]["telegram_id"] else [])]


async def _only_in_redis(stores: Connections, owners: Sequence[str] | None, expected: int) -> AsyncIterator[list[Look]]:
    """Look at keys that PostgreSQL knows nothing of. `expected`: the sum of the hashes of all it knows; normally Redis
    has just those, and PostgreSQL needn't be asked about each."""
    settings, halts = await setting_keys(stores), (HALTS.owner, HALTS.suffix)
    if owners is None:
        others = (CREDENTIALS.suffix, TELEGRAM.suffix)
        async for keys in stores.mirror.scan(BATCH):
            expected -= sum(hash(key) for key in keys if key[1] in others or settings.find(key[1]) or key == halts)
        if expected == 0:
            return
    async for keys in _keys(stores, owners, [*settings.suffixes, CREDENTIALS.suffix]):
        places, mirrors = [], []
        for owner, suffix in set(keys):
            if suffix == "mirror":
                mirrors.append(owner)
            if OKX_UID.fullmatch(owner) and (place := settings.find(suffix, owner)):
                places.append(place)
            elif suffix == CREDENTIALS.suffix and OKX_UID.fullmatch(owner):
                places.append(replace(CREDENTIALS, owner=owner))
            elif (owner, suffix) == halts:
                places.append(HALTS)
            elif suffix == TELEGRAM.suffix and not OKX_UID.fullmatch(owner):
                places.append(Place(owner, TELEGRAM.kind, suffix, TELEGRAM.encoding))
        call = functions.mirror.known_keys([place.owner for place in places], [place.kind for place in places])
        rows = await stores.database.fetch(call) if places else []
        known = {(row["owner"], row["kind"]) for row in rows}
        unknown = [place for place in places if (place.owner, place.kind) not in known]
        sizes = await stores.mirror.sizes(unknown)
        for part in cut(zip(unknown, sizes, strict=True), itemgetter(1)):
            found = await stores.mirror.inspect([place for place, _ in part], sum(size for _, size in part))
            yield [Look(place, None, what) for (place, _), what in zip(part, found, strict=True)]
        if mirrors and (left := await left_of_erased(stores, mirrors)):
            yield [
                Look(place, None, found) for place, found in zip(left, await stores.mirror.inspect(left), strict=True)
            ]


async def _keys(
    stores: Connections, owners: Sequence[str] | None, suffixes: Sequence[str]
) -> AsyncIterator[list[tuple[str, str]]]:
    if owners is not None:
        yield [(owners[0], suffix) for suffix in suffixes]
        async for keys in stores.mirror.scan(BATCH, "symbol:*", owners[0]):
            yield keys
        return
    async for keys in stores.mirror.scan(BATCH):
        yield keys


async def _look_again(stores: Connections, places: Sequence[Place]) -> list[Look]:
    entries = await _entries(stores, places)
    found = await stores.mirror.inspect(places)
    return [
        Look(place, entries.get((place.owner, place.kind)), what) for place, what in zip(places, found, strict=True)
    ]


async def _entries(stores: Connections, places: Sequence[Place]) -> dict[tuple[str, str], MirrorEntry]:
    call = functions.mirror.mirror_state([place.owner for place in places], [place.kind for place in places])
    rows = await stores.database.fetch(call) if places else []
    return {(row["owner"], row["kind"]): _shown(stores, MirrorEntry(**row)) for row in rows}


def _shown(stores: Connections, entry: MirrorEntry) -> MirrorEntry:
    """Return an entry as Redis should hold it; one that can't be decrypted as it is, so that it is found missing or
    edited and the others are looked at, too. Raises NoEncryptionKey."""
    try:
        return stores.mirror.shown(entry)
    except (DamagedCredential, WrongEncryptionKey):
        return entry


async def _confirmed(stores: Connections, suspects: list[Look]) -> list[Look]:
    """Keep the suspects that look the same, and wrong, twice in a row: nobody is writing there right now."""
    confirmed: list[Look] = []
    for _ in range(LOOKS):
        if not suspects:
            break
        await asyncio.sleep(BETWEEN_LOOKS)
        again = await _look_again(stores, [look.place for look in suspects])
        moving: list[Look] = []
        for before, look in zip(suspects, again, strict=True):
            if look.finding():
                (confirmed if look == before else moving).append(look)
        suspects = moving
    return confirmed + await _still_ahead(stores, suspects)


async def _still_ahead(stores: Connections, suspects: Sequence[Look]) -> list[Look]:
    """Drop those that are written all the time and so seem ahead: PostgreSQL, read before Redis, has their version by
    now."""
    entries = await _entries(stores, [look.place for look in suspects])

    def is_caught_up(look: Look) -> bool:
        entry = entries.get((look.place.owner, look.place.kind))
        return look.finding() == "ahead" and entry is not None and entry.version >= look.found.version

    return [look for look in suspects if not is_caught_up(look)]


async def _named(stores: Connections, looks: Sequence[Look], judgement: Judgement | None = None) -> list[Finding]:
    """Put findings in words; tell those apart that the relay has yet to mend, or that are of deleted users."""
    owners = sorted({look.place.owner for look in looks})
    marked = set()
    if owners:
        rows = await stores.database.fetch(functions.mirror.marked_keys(owners))
        marked = {(row["owner"], row["kind"]) for row in rows}
    unknown = sorted({look.place.owner for look in looks if look.entry is None})
    rows = await stores.database.fetch(functions.users.erased_owners(unknown)) if unknown else []
    erased = {row["r"] for row in rows}
    findings = []
    for look in looks:
        place, kind = look.place, look.finding() or ""
        if look.entry is None and place.owner in erased:
            kind = "erased"
        elif judgement is not None and judgement.is_of_deleted(look):
            kind = "deleted"
        if kind in ("missing", "stale") and (place.owner, place.kind) in marked:
            kind = "pending"
        version = look.entry.version if look.entry else None
        findings.append(Finding(place.owner, place.kind, kind, version, look.found.version))
    return findings


async def _fill(stores: Connections, suspects: Sequence[Look], report: Report) -> list[Look]:
    """Bring to Redis what it lacks, and return the other suspects. No second look: what the guard let be written was
    lacking, what was there by then is no finding."""
    lacking: list[Look] = []
    rest: list[Look] = []
    for look in suspects:
        (lacking if look.finding() == "missing" else rest).append(look)
    findings = await _named(stores, lacking)  # before the marks are cleared
    marked = {(finding.owner, finding.kind) for finding in findings if finding.finding == "pending"}
    entries = [look.entry for look in lacking if look.entry is not None]
    results = await mirroring.mirror(stores, entries, marked=marked, lacking=True)
    report.add([finding for finding, result in zip(findings, results, strict=True) if result.status == 1])
    report.repaired += sum(result.status == 1 for result in results)
    report.ok += sum(result.status == 0 for result in results)
    return rest + [look for look, result in zip(lacking, results, strict=True) if result.status < 0]


async def _repair(stores: Connections, looks: Sequence[Look], judgement: Judgement, report: Report) -> int:
    """Mend confirmed findings; return how many are mended. What is of nobody PostgreSQL knows is sync's. What is the
    same in an older encoding is no finding, and is written anew."""
    known = [look for look in looks if look.entry is not None]
    unknown = sorted({look.place.owner for look in looks if look.entry is None})
    if (
        erased := [row["r"] for row in await stores.database.fetch(functions.users.clear_erased(unknown))]
        if unknown
        else []
    ):
        await relay.drain(stores, erased)
    lacking = [look for look in known if look.finding() in ("missing", "stale")]
    rest = [look for look in known if look not in lacking]
    for look in looks:
        # Where nothing was ever halted, what is there is nobody's.
        is_before_halts = look.place == HALTS and look.entry is None
        if is_before_halts or (judgement.is_of_deleted(look) and look.place.owner not in erased):
            call = functions.mirror.note_deleted_key(look.place.owner, look.place.kind, owner_of(look) or "")
            if (await stores.database.fetch(call))[0]["r"]:
                rest.append(look)
            else:
                report.fail(look.place, str(Held()))
    results = await mirroring.mirror(stores, [look.entry for look in lacking if look.entry is not None])
    results += [await mirroring.overwrite(stores, look.place, look.found) for look in rest]
    for look, result in zip(lacking + rest, results, strict=True):
        if result.error is not None:
            report.fail(look.place, str(result.error))
    await stores.marks.clear()
    again = await _look_again(stores, [look.place for look in looks if look.place not in judgement.same])
    # What an erasure leaves of a mirror hash expires.
    return sum(look.finding() is None or look.place.encoding == "mirror" for look in again)
