"""Anything at all is put into Redis, round after round, and every job must still do its work.

    python -m tests.faults.fuzz --seconds 600 --seed 1

A round changes keys at random (types, sizes, depths, numbers, versions, encodings, fields of mirror hashes, links),
then runs the jobs as processes of their own. Checked: each ends as it should, within its memory; a user nobody touched
is mirrored as ever; reads of the others end in a document or an error of ours; after `verify --repair` both sides are
equal. The seed repeats the choices. Exit code 1 on any violation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import redis as redis_py

from store import Config, SettingsStore, StoreError
from store.postgres import migrate
from tests.faults.measured import command
from tests.faults.servers import PostgresServer, RedisServer

USERS = [f"40000000000000{number:02}" for number in range(12)]
BYSTANDER = "4000000000000099"
STRANGERS = [f"50000000000000{number:02}" for number in range(3)]
KINDS = {"preferences": "preferences", "params": "settings", "dual_side": "dual_side"}
SUFFIXES = (*KINDS.values(), "mirror", "api:keys")
CHANGES = 40  # a round
SAVE = "select upsert_user_setting(%s, %s, %s::jsonb)"

NUMBERS = ("0", "-0", "1e-16383", "1e308", "1e309", "-1e400", "1e999999999", "0." + "0" * 5000 + "1", "9" * 400,
           "9" * 5000, "1E5", "0e-16383", "NaN", "Infinity", "1.", "٣", "0x10")  # fmt: skip
PIECES = (
    b"",
    b"\xff\xfe",
    b"\x00",
    b"{",
    b'"',
    b"\xed\xa0\x80",
    "롱숏🚀".encode(),
    b"null",
    b"True",
    b"\xef\xbb\xbf{}",
)
LENGTHS = (1_048_575, 1_048_576, 1_048_577, 5_000_000, 40_000_000)
VERSIONS = ("0", "-1", "1", "2", "7", "999999999", "9999999999", "1e3", " 1", "1.0", "x", "", "1" * 5000)


def mapping_of(key: str) -> str:
    """The name of the key's user's mirror hash."""
    return ":".join((*key.split(":")[:2], "mirror"))


class Chance:
    """Choices at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> str:
        """JSON, mostly."""
        kind = self.random.randrange(9 if depth < 3 else 6)
        if kind < 2:
            return self.random.choice(NUMBERS)
        if kind < 4:
            return json.dumps(self.random.choice(["", "a", "\ud800", "\0", "true", "1", "********", "x" * 3000]))
        if kind == 4:
            return self.random.choice(["true", "false", "null", "True"])
        if kind == 5:
            levels = self.random.choice([2, 63, 64, 65, 1000, 50_000])
            return "[" * levels + "]" * levels
        if kind == 6:
            return f"[{','.join(self.value(depth + 1) for _ in range(self.random.randrange(4)))}]"
        return self.object(depth + 1)

    def object(self, depth: int = 0) -> str:
        names = ("leverage", "direction", "use_sl", "symbol", "?", "", "$unreadable", "x" * 2000, "a\u0000b")
        members = [f"{json.dumps(self.random.choice(names))}: {self.value(depth)}" for _ in range(4)]
        return "{" + ", ".join(members) + "}"

    def text(self) -> bytes:
        kind = self.random.randrange(6)
        if kind < 3:
            return self.object().encode("utf-8", "surrogatepass")
        if kind == 3:
            return b"".join(self.random.choices(PIECES, k=4))
        if kind == 4:
            return self.random.randbytes(self.random.choice([1, 100, 10_000]))
        length = self.random.choice(LENGTHS)
        return b'{"note": "' + b"x" * (length - 12) + b'"}'

    def fields(self) -> dict[bytes, bytes]:
        kind = self.random.randrange(4)
        if kind == 0:
            return {f"f{number}".encode(): b"1" for number in range(self.random.choice([600, 20_000, 150_000]))}
        if kind == 1:
            return {self.text()[:100_000]: b"1", b"leverage": self.text()[:2_000_000]}
        names = [b"leverage", b"symbol", b"use_sl", b"api_key", b"api_secret", b"passphrase", b"\xff", b""]
        return {name: self.value().encode("utf-8", "surrogatepass") for name in names}


@dataclass
class World:
    """The servers, and what was seen."""

    config: Config
    redis: redis_py.Redis
    db: psycopg.Connection[Any]
    chance: Chance
    violations: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    peaks: dict[str, float] = field(default_factory=dict)

    def change(self) -> str:
        """Change one key; return what was done."""
        choose = self.chance.random
        owner = choose.choice([*USERS, *STRANGERS])
        key = f"user:{owner}:{choose.choice(SUFFIXES)}"
        if choose.random() < 0.15:
            key = f"user:{choose.choice([f'8000{USERS.index(u):02}' for u in USERS])}:okx_uid"
        mirror = mapping_of(key)
        ways: dict[str, Callable[[], Any]] = {
            "text": lambda: self.redis.set(key, self.chance.text()),
            "hash": lambda: self._replace(key, lambda: self._fill(key, self.chance.fields())),
            "more fields": lambda: self._fill(key, self.chance.fields()),
            "list": lambda: self._replace(key, lambda: self.redis.rpush(key, *[b"x"] * choose.choice([1, 100_000]))),
            "set": lambda: self._replace(key, lambda: self.redis.sadd(key, b"x")),
            "sorted set": lambda: self._replace(key, lambda: self.redis.zadd(key, {b"x": 1})),
            "stream": lambda: self._replace(key, lambda: self.redis.xadd(key, {b"x": b"y"})),
            "gone": lambda: self.redis.delete(key),
            "link": lambda: self.redis.set(f"user:8000{choose.randrange(14):02}:okx_uid", choose.choice([*USERS, "x"])),
            "version": lambda: self._note(mirror, choose.choice([*KINDS, "user", "api_keys"]), choose.choice(VERSIONS)),
            "time": lambda: self._note(mirror, f"{choose.choice(list(KINDS))}:updated_at", choose.choice(VERSIONS)),
            "digest": lambda: self._note(mirror, f"{choose.choice(list(KINDS))}:digest", choose.choice(VERSIONS)),
            "telegram": lambda: self._note(mirror, "telegram_id", choose.choice(VERSIONS)),
            "expiring": lambda: self.redis.pexpire(key, 1),
        }
        name = choose.choice(list(ways))
        ways[name]()
        return f"{name} at {key}"

    def _replace(self, key: str, write: Callable[[], Any]) -> None:
        self.redis.delete(key)
        write()

    def _fill(self, key: str, fields: dict[bytes, bytes]) -> None:
        names = list(fields) if self.redis.type(key) in (b"hash", b"none") else []
        for start in range(0, len(names), 10_000):
            self.redis.hset(key, mapping={name: fields[name] for name in names[start : start + 10_000]})

    def _note(self, mirror: str, name: str, value: str) -> None:
        if self.redis.type(mirror) in (b"hash", b"none"):
            self.redis.hset(mirror, name, value)

    def job(self, *arguments: str, codes: tuple[int, ...] = (0, 1)) -> None:
        """Run a command."""
        done = command(self.config, *arguments)
        name = " ".join(arguments)
        self.done[name] += 1
        self.peaks[name] = max(done.peak, self.peaks.get(name, 0.0))
        if not done.is_fair or done.code not in codes:
            self.violations.append(f"{name}: {done.code}, {done.peak:.0f} MB: {done.out[-500:]} {done.err[-1000:]}")

    def save(self, okx_uid: str, kind: str, settings: str) -> None:
        """Save as a program that knows nothing of Redis."""
        self.db.execute(SAVE, (okx_uid, kind, settings))

    async def read(self) -> None:
        """Read everybody: a document, or an error of ours."""
        async with SettingsStore(self.config) as store:
            for owner in (*USERS, *STRANGERS, *(f"8000{number:02}" for number in range(14))):
                for kind in KINDS:
                    try:
                        await store.get(owner, kind)
                    except StoreError:
                        self.done["error of a read"] += 1
                    self.done["read"] += 1

    def _clean(self) -> None:
        """Take away what only Redis has and sync didn't take over: verify names that, and leaves it."""
        known = {row[0] for row in self.db.execute("select distinct owner || ':' || suffix from mirror_source")}
        owners = (*USERS, *STRANGERS, *(f"8000{number:02}" for number in range(14)))
        wanted = [f"{owner}:{suffix}" for owner in owners for suffix in (*SUFFIXES, "okx_uid")]
        self.redis.delete(*(f"user:{name}" for name in wanted if name not in known and not name.endswith(":mirror")))

    def round(self, number: int) -> None:
        """Change keys, run the jobs, look at both sides."""
        changes = [self.change() for _ in range(CHANGES)]
        before = len(self.violations)
        for _ in range(3):
            self.save(self.chance.random.choice(USERS), self.chance.random.choice(list(KINDS)), f'{{"n": {number}}}')
        self.save(BYSTANDER, "params", f'{{"n": {number}}}')
        asyncio.run(self.read())
        jobs = [("relay", "--once"), ("verify",), ("sync", "--dry-run"), ("sync", "--prefer", "db"), ("sync",)]
        for arguments in [("relay", "--once"), *self.chance.random.sample(jobs, 2)]:
            self.job(*arguments)
            if self.redis.get(f"user:{BYSTANDER}:settings") != f'{{"n": {number}}}'.encode():
                self.violations.append(f"after {arguments} the bystander isn't mirrored")
        self._clean()
        self.job("verify", "--repair")
        self.job("verify", codes=(0,))
        if len(self.violations) > before:
            self.violations.append(f"in round {number}, after: {changes}")


def run(seconds: float, seed: int, rounds: int | None = None, say: Callable[[str], Any] = print) -> list[str]:
    """Run rounds for so long, or so many; return the violations."""
    with PostgresServer() as postgres, RedisServer() as server:
        migrate.migrate(postgres.url)
        config = Config(postgres.url, server.url, home=server.home, mirror_credentials="encrypted")
        with (
            psycopg.connect(postgres.url, autocommit=True) as db,
            redis_py.Redis.from_url(server.url, socket_timeout=60) as redis,
        ):
            redis.config_set("appendonly", "no")  # the disk isn't what is tested
            world = World(config, redis, db, Chance(seed))
            for number, user in enumerate((*USERS, BYSTANDER)):
                db.execute("select register_user(%s, %s)", (user, f"8000{number:02}" if user in USERS else None))
            world.job("relay", "--once", codes=(0,))
            began, number = time.monotonic(), 0
            while time.monotonic() - began < seconds and number != rounds:
                number += 1
                world.round(number)
    say(f"{number} rounds, {number * CHANGES} changes: {dict(world.done)}")
    say(f"memory at most: { {name: f'{peak:.0f} MB' for name, peak in world.peaks.items()} }")
    say(f"violations: {len(world.violations)}")
    for violation in world.violations[:20]:
        say(f"  {violation}")
    return world.violations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if run(options.seconds, options.seed):
        sys.exit(1)


if __name__ == "__main__":
    main()
