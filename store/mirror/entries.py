"""What a key of the mirror is, and what Redis says of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from redis import exceptions

from store.errors import RedisUnavailable, StoreError, first_line
from store.mirror.encoding import decode_hash, encode_hash
from store.mirror.keys import EVERYBODY, SYMBOL
from store.models import Halt, MirrorEntry, Setting, SettingType

LARGEST = 1_048_576  # bytes of a document, as size.lua has it
# For others TYPE says enough.
LOOKS = {"hash": "HGETALL", "credentials": "HGETALL", "json": "GET", "string": "GET", "halts": "GET"}

# Redis says so of itself, not of the key: every other key would be refused too.
# Up to Redis 6.2 a script's error quotes the command's; since 7.0 it is the command's own, and redis-py has classes.
SERVER_REFUSALS = ("OOM", "READONLY", "MISCONF", "LOADING", "BUSY", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH")
SERVER_ERRORS = (
    exceptions.OutOfMemoryError, exceptions.ReadOnlyError, exceptions.MasterDownError, exceptions.ClusterDownError,
    exceptions.TryAgainError, exceptions.AskError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A key of the mirror: whose, which, and how it is laid out."""

    owner: str
    kind: str
    suffix: str
    encoding: str

    @classmethod
    def of(cls, entry: MirrorEntry) -> Place:
        """Return the key of an entry; an erased user's is a field of the mirror hash, too."""
        return cls(entry.owner, entry.kind, entry.suffix, "fields" if entry.kind == "user" else entry.encoding)


class SettingKeys:
    """The keys that hold settings, by the catalogue's types: of users, and of symbols."""

    def __init__(self, types: Iterable[SettingType]) -> None:
        self._types = {kind.redis_suffix: kind for kind in types}

    @property
    def suffixes(self) -> list[str]:
        """The suffixes of the users' own keys."""
        return list(self._types)

    def find(self, suffix: str, owner: str = "") -> Place | None:
        """Return the key with a suffix; None if it holds no settings."""
        kind = self._types.get(suffix)
        if kind is None and suffix.startswith("symbol:"):
            _, symbol, own = suffix.split(":", 2) if suffix.count(":") > 1 else ("", "", "")
            kind = self._types.get(own)
            kind = kind.of(symbol) if kind and kind.has_symbols and SYMBOL.fullmatch(symbol) else None
        return None if kind is None else Place(owner, kind.name, suffix, kind.redis_encoding)


TELEGRAM = Place("", "telegram", "okx_uid", "string")  # of any Telegram ID
CREDENTIALS = Place("", "api_keys", "api:keys", "credentials")  # of any user
HALTS = Place(EVERYBODY, "halts", "halts", "halts")  # of trading: all there are, in one key
# What the predecessor's bots write beside credentials, and what stays there, as digest.lua has it: whose they are, and
# when they were written.
NOTES = {"uid", "last_update_time", "last_update_time_kr"}


def without_notes(content: Mapping[str, str]) -> dict[str, str]:
    """Return a hash of credentials without the notes."""
    return {name: text for name, text in content.items() if name not in NOTES}


@dataclass(frozen=True, slots=True)
class Found:
    """What a key holds, whoever wrote it. `version`: the one we mirrored there, 0 if never. `type`: Redis's;
    'none', 'hash' (content: dict), 'string' (content: str), or another; 'large' for what is larger than a document can
    be (content: dict, a note of its size and digest)."""

    version: int
    type: str
    content: Any = field(repr=False)
    digest: str = field(compare=False)  # of content; '' for what is no settings document, and from look()
    updated_at: str = field(default="?", compare=False)  # of the version, as the mirror hash has it; '?': not looked at


NOTHING = Found(0, "none", "", "")


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one entry. `version`: what Redis has now. `error`: why it isn't there, else None."""

    status: int  # 1 written, 0 there already, -1 Redis has another version, -2 somebody else's content, -3 no guard
    version: int
    foreign: Found | None = None  # what somebody else wrote there
    error: StoreError | None = None
    is_servers: bool = False  # the error is the server's (full, read-only), not this key's
    life: str = ""  # to come back with, once PostgreSQL was read anew: nothing guards this key

    @property
    def is_current(self) -> bool:
        """Whether Redis has exactly this version now."""
        return self.error is None and self.status >= 0

    def serves(self, version: int) -> bool:
        """Whether Redis has this version or a newer one."""
        return self.error is None and self.foreign is None and not self.life and self.version >= version


def refusal(error: Exception) -> RedisUnavailable:
    """Make an error of ours of Redis's refusal."""
    if isinstance(error, exceptions.AskError):  # or MovedError
        return RedisUnavailable("this Redis is a node of a cluster", hint="Begin REDIS_URL with redis+cluster://")
    return RedisUnavailable(f"Redis refused: {first_line(error)}")


def as_found(version: int, kind: str, content: Any, digest: str, updated_at: str) -> Found:
    """Make of a script's reply what it found."""
    return Found(version, kind, pairs(content) if kind in ("hash", "large") else content, digest, updated_at)


def as_setting(okx_uid: str, kind: SettingType, reply: Any) -> Setting | None:
    """Make a setting of the reply of read.lua; None if there is none, or none that we mirrored, or the mirror hash was
    lost and doesn't know any more whether the user has a Telegram ID."""
    if reply is None or reply[2] is None:
        return None
    version, updated_at, telegram_id, content = reply
    try:
        settings = json.loads(content) if kind.redis_encoding == "json" else decode_hash(pairs(content))
        if not isinstance(settings, dict):
            return None
        return Setting(
            okx_uid, telegram_id or None, kind.name, int(version), settings,
            datetime.fromisoformat(updated_at), "redis",
        )  # fmt: skip
    except (TypeError, ValueError, RecursionError):
        return None  # someone else wrote there: PostgreSQL knows better


Halts = dict[tuple[str | None, str | None], Halt]  # by OKX UID (None: everybody) and symbol (None: all)


def to_halts(text: str) -> Halts:
    """Read what Redis has of the halts, as the view mirror_source writes it."""
    halts = [
        Halt(row["okx_uid"], row["symbol"], row["reason"], datetime.fromisoformat(row["since"]))
        for row in json.loads(text)
    ]
    return {(halt.okx_uid, halt.symbol): halt for halt in halts}


def as_read(okx_uid: str, kind: SettingType, own: SettingType, replies: Sequence[Any]) -> tuple[Setting | None, bool]:
    """Make of the replies to Mirror.read_many() what was found (of a symbol, else the user's own), and whether Redis
    knows that this is it. Raises RedisUnavailable."""
    for reply in replies:
        if isinstance(reply, Exception) and (kind is own or not first_line(reply).startswith("WRONGTYPE")):
            raise refusal(reply)
    if kind is own:
        return as_setting(okx_uid, kind, replies[0]), True
    of_symbol, of_user, is_there, length = (None if isinstance(reply, Exception) else reply for reply in replies)
    found = as_setting(okx_uid, kind, of_symbol)
    return (found, True) if found else (as_setting(okx_uid, own, of_user), is_there == 1 and length == 0)


def as_seen(place: Place, content: Any, version: Any) -> Found:
    """Make of the replies to look() what was found."""
    for reply in (content, version):
        if isinstance(reply, Exception) and not first_line(reply).startswith("WRONGTYPE"):
            raise refusal(reply)
    number = integer(version) if isinstance(version, str) else 0
    if isinstance(content, Exception):
        return Found(number, "another", "", "")
    if place.encoding not in LOOKS and place.encoding != "fields":
        return Found(number, content, "", "")
    if isinstance(content, str):
        return Found(number, "string", content, "")
    if not content:
        return Found(number, "none", "", "") if number else NOTHING
    return Found(number, "hash", content if isinstance(content, dict) else pairs(content), "")


def as_applied(reply: Any) -> Applied:
    """Make of the reply to apply.lua what became of the entry."""
    if isinstance(reply, Exception):
        text = first_line(reply)
        is_servers = (
            not isinstance(reply, exceptions.ResponseError)
            or isinstance(reply, SERVER_ERRORS)
            or any(word in text for word in SERVER_REFUSALS)
        )
        return Applied(-1, 0, None, RedisUnavailable(f"Redis refused: {text}"), is_servers)
    status, version, *foreign = reply
    if status == -3:
        return Applied(status, version, life=foreign[0])
    return Applied(status, version, as_found(version, *foreign) if foreign else None)


def integer(text: str) -> int:
    """Read a version; 0 for what is none."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def moment(text: str) -> datetime | None:
    """Read when a version was saved; None for what is no such time."""
    with contextlib.suppress(ValueError):
        if (read := datetime.fromisoformat(text)).tzinfo is not None:
            return read
    return None


def pairs(flat: list[str]) -> dict[str, str]:
    """Make a hash of its names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Guard:
    """By what a write is let through, besides its version; see apply.lua."""

    seen: Found | None
    life: str
    token: str
    version_only: bool


def apply_words(entry: MirrorEntry, channel: str, guard: Guard) -> list[str]:
    """Write the arguments of apply.lua."""
    encoding = entry.encoding if entry.document is not None or entry.encoding in ("fields", "erased") else "none"
    encoding = {CREDENTIALS.encoding: "hash", HALTS.encoding: "json"}.get(encoding, encoding)
    message = ""
    if entry.is_document:
        message = f'{{"okx_uid": "{entry.owner}", "setting_type": {_quoted(entry.kind)}, "version": {entry.version}}}'
    return [
        entry.kind,
        str(entry.version),
        entry.updated_at.astimezone(UTC).isoformat(timespec="microseconds"),  # compared as text
        encoding,
        "" if guard.seen is None else str(guard.seen.version),
        "" if guard.seen is None else guard.seen.updated_at,
        "" if guard.seen is None else guard.seen.digest,
        channel if entry.is_document else "",
        message,
        "version" if guard.version_only else "",
        guard.life,
        guard.token,
        *to_words(entry),
    ]


@cache
def _quoted(kind: str) -> str:
    return json.dumps(kind)


def to_words(entry: MirrorEntry) -> list[str]:
    """Write the content of a key as arguments of apply.lua: names and values, or one text."""
    if entry.encoding == "erased":
        return []
    if entry.encoding == "fields":
        document = json.loads(entry.document or '{"telegram_id": null}')
        return [item for key, value in document.items() for item in (key, value or "")]
    if entry.document is None:
        return []
    if entry.encoding == CREDENTIALS.encoding:  # bare, as existing readers expect
        return [item for pair in json.loads(entry.document).items() for item in pair]
    if entry.encoding == "hash":
        return [item for pair in sorted(encode_hash(entry.document).items()) for item in pair]
    return [json.loads(entry.document) if entry.encoding == "string" else entry.document]
