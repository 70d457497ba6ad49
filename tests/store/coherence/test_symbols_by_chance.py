"""Documents of symbols against a model, by chance: whatever is done to one, the others stay, and both stores agree."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from copy import deepcopy
from pathlib import Path

import pytest
import redis as redis_py

from store import SettingsStore
from store.coherence.relay import drain, reconcile
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.files import backup
from store.models import Document
from store.postgres import functions
from tests.helpers.sessions import Connection, fetch, value

USERS = ("1000000000000001", "1000000000000002")
SYMBOLS = (None, "BTC-USDT-SWAP", "ETH-USDT-SWAP", "1INCH-USDT")
STEPS = 60
Name = tuple[str, str | None]


class Model:
    """What should be there: of each document every version, None for a deletion; and a step to do to both."""

    def __init__(self, store: SettingsStore, db: Connection, redis: redis_py.Redis, seed: int) -> None:
        self.store, self.db, self.redis, self.random = store, db, redis, random.Random(seed)
        self.versions: defaultdict[Name, list[Document | None]] = defaultdict(list)
        self.count = 0
        self.steps: list[Callable[[Name], Awaitable[object]]] = [
            self.save, self.patch, self.raw, self.delete, self.restore, self.roll_back, self.apply, self.come_and_go,
            self.move, self.edit_in_redis, self.lose, self.save_behind_redis,
        ]  # fmt: skip

    def new(self) -> Document:
        self.count += 1
        return {"dual_side_entry_trigger": self.count, "use_dual_sl": self.count % 2 == 0, "by": f"chance {self.count}"}

    def active(self, name: Name) -> Document | None:
        return self.versions[name][-1] if self.versions[name] else None

    def names(self, uid: str) -> list[Name]:
        return [(uid, symbol) for symbol in SYMBOLS]

    async def save(self, name: Name) -> None:
        document = self.new()
        saved = await self.store.save(name[0], "dual_side", document, symbol=name[1])
        self.versions[name].append(document)
        assert saved.version == len(self.versions[name])

    async def patch(self, name: Name) -> None:
        self.count += 1
        await self.store.patch(name[0], "dual_side", {"by": self.count}, symbol=name[1])
        begun = self.active(name) or self.active((name[0], None)) or {}  # as the user's own
        self.versions[name].append(begun | {"by": self.count})

    async def raw(self, name: Name) -> None:
        """Change it by plain SQL, as the statements of old do."""
        document, kind = self.new(), "dual_side" + (f":{name[1]}" if name[1] else "")
        where = "okx_uid = %s and setting_type = %s and is_active and deleted_at is null"
        fetch(self.db, f"update user_settings set settings = %s where {where}", (json.dumps(document), name[0], kind))
        if self.active(name) is not None:
            self.versions[name].append(document)

    async def delete(self, name: Name) -> None:
        await self.store.delete(name[0], "dual_side", symbol=name[1])
        if self.active(name) is not None:
            self.versions[name].append(None)

    async def restore(self, name: Name) -> None:
        if self.versions[name]:
            await self.store.restore(name[0], "dual_side", symbol=name[1])
            if self.active(name) is None:
                self.versions[name].append(self.versions[name][-2])

    async def roll_back(self, name: Name) -> None:
        if self.versions[name]:
            number = self.random.randint(1, len(self.versions[name]))
            await self.store.rollback(name[0], "dual_side", number, symbol=name[1])
            if self.versions[name][number - 1] != self.active(name):
                self.versions[name].append(self.versions[name][number - 1])

    async def apply(self, name: Name) -> None:
        document = self.new()
        await self.store.save_template("chance", "dual_side", document)
        await self.store.apply_template("chance", "dual_side", filter={}, replace=True, symbol=name[1])
        for uid in USERS:
            if self.active((uid, name[1])) is not None:
                self.versions[uid, name[1]].append(document)

    async def come_and_go(self, name: Name) -> None:
        await self.store.delete_user(name[0])
        await self.store.restore_user(name[0])
        for each in self.names(name[0]):
            if (active := self.active(each)) is not None:
                self.versions[each] += [None, active]

    async def move(self, name: Name) -> None:
        """Export everything, delete it, and import it again."""
        rows = await self.store._connections.database.fetch(functions.files.export_users(None, True, None, 100))
        await self.delete(name)
        await self.store._connections.database.fetch(
            functions.files.import_users(f"[{','.join(row['document'] for row in rows)}]", False)
        )
        if len(self.versions[name]) > 1 and self.active(name) is None and any(self.versions[name][-2:]):
            there = json.loads(next(row["document"] for row in rows if row["okx_uid"] == name[0]))["settings"]
            kind = "dual_side" + (f":{name[1]}" if name[1] else "")
            if kind in there:
                self.versions[name].append(self.versions[name][-2])

    async def edit_in_redis(self, name: Name) -> None:
        """Write as a bot does, and have that taken over."""
        await drain(self.store._connections)
        document = {key: value for key, value in self.new().items() if key != "by"}
        key = f"user:{name[0]}:" + (f"symbol:{name[1]}:" if name[1] else "") + "dual_side"
        self.redis.delete(key)
        self.redis.hset(key, mapping={name: json.dumps(value) for name, value in document.items()})
        outcomes = await Sync(self.store._connections, prefer="redis").run()
        assert set(outcomes) <= {"ok", "new", "edited"}, outcomes
        self.versions[name].append(document)

    async def lose(self, name: Name) -> None:
        """Have Redis lose one key, or all."""
        key = f"user:{name[0]}:" + (f"symbol:{name[1]}:" if name[1] else "") + "dual_side"
        if self.random.random() < 0.5:
            self.redis.delete(key)
            await verify(self.store._connections, repair=True)
        else:
            self.redis.flushall()
            await reconcile(self.store._connections)

    async def save_behind_redis(self, name: Name) -> None:
        """Save in PostgreSQL alone; the relay brings it."""
        document = self.new()
        query = "select from upsert_user_setting(%s, 'dual_side', %s, p_symbol => %s)"
        fetch(self.db, query, (name[0], json.dumps(document), name[1]))
        await drain(self.store._connections)
        self.versions[name].append(document)

    async def check(self) -> None:
        await drain(self.store._connections)
        for uid in USERS:
            for name in self.names(uid):
                wanted = self.active(name) or self.active((uid, None))
                for _ in range(2):
                    found = await self.store.get(uid, "dual_side", symbol=name[1])
                    assert (found and found.settings) == wanted, name
                    assert found is None or found.symbol == (name[1] if self.active(name) else None), name
                listed = await self.store.history(uid, "dual_side", symbol=name[1])
                assert [v.version for v in listed] == list(range(len(self.versions[name]), 0, -1)), name
                assert [v.is_deleted for v in reversed(listed)] == [d is None for d in self.versions[name]], name
                if self.versions[name]:
                    number = self.random.randint(1, len(self.versions[name]))
                    kept = await self.store.get_version(uid, "dual_side", number, symbol=name[1])
                    assert (kept and kept.settings) == self.versions[name][number - 1], name
        report = await verify(self.store._connections)
        assert report.findings.total() == 0, report.users


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_is_done_to_one_document_the_others_stay(
    store: SettingsStore, db: Connection, redis: redis_py.Redis, tmp_path: Path, seed: int
) -> None:
    model = Model(store, db, redis, seed)
    for uid in USERS:
        await store.ensure_user(uid)
    kept: tuple[Path, dict[Name, list[Document | None]]] | None = None
    for step in range(STEPS):
        name = (model.random.choice(USERS), model.random.choice(SYMBOLS))
        await model.random.choice(model.steps)(name)
        if step % 10 == 9:
            await model.check()
        if step == STEPS // 2:
            path = tmp_path / "backup.zip"
            with path.open("wb") as file:
                await backup.backup(store, file)
            kept = path, deepcopy(dict(model.versions))
    assert kept is not None
    redis.flushall()  # what was saved since is Redis's alone, and sync's
    await backup.restore_backup(store, kept[0], replace=True)
    model.versions = defaultdict(list, kept[1])
    await model.check()
    for uid in USERS:
        assert (await store.erase_user(uid)).mirrored
    assert value(db, "select count(*) from user_settings") == 0
    assert value(db, "select count(*) from mirror_pending") == 0
    assert set(redis.scan_iter("user:*")) == {f"user:{uid}:mirror" for uid in USERS}  # which expire
    assert (await verify(store._connections)).findings == {}
    for uid in USERS:
        await store.register(uid)
        found = await store.get(uid, "dual_side", symbol=SYMBOLS[1])
        assert found is not None
        assert found.symbol is None
        assert len(await store.history(uid)) == 3
