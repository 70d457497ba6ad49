"""Backup and restore: every row comes back, nothing of a bad file does, and Redis follows."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from store import Config, InvalidSettings, SettingsStore, StoreError, UnknownUser, archive, relay
from store.archive import BadBackup, check_backup, restore_backup
from store.calls import Call
from store.errors import BadIdentifier, InvalidArgument, NotEmpty, NotMigrated
from store.relay import Relay
from store.sync import Sync
from store.verify import verify
from tests.backups import (
    DELETED_UID,
    HOSTILE,
    OTHER_UID,
    Db,
    back_up,
    content,
    craft,
    manifest_of,
    member,
    on,
    populate,
    table_rows,
)  # fmt: skip
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import eventually
from tests.migrations.dump import dump

PARAMS = f"user:{OKX_UID}:settings"


@pytest.fixture
async def other(config: Config, other_database_url: str) -> AsyncIterator[SettingsStore]:
    """A store on an empty migrated database and the same Redis."""
    async with on(config, other_database_url) as opened:
        yield opened


@pytest.fixture
def other_db(other_database_url: str) -> Iterator[Db]:
    with psycopg.connect(other_database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
async def populated(store: SettingsStore, db: Db, tmp_path: Path) -> Path:
    """A backup of data of every sort."""
    await populate(store, db)
    await back_up(store, tmp_path / "full.zip")
    return tmp_path / "full.zip"


@pytest.fixture
async def small(store: SettingsStore, user: str, tmp_path: Path) -> Path:
    """A backup of one user with the default documents."""
    await back_up(store, tmp_path / "small.zip")
    return tmp_path / "small.zip"


async def assert_clean(store: SettingsStore) -> None:
    report = await verify(store.stores)
    assert report.checked
    assert not report.findings


async def leverage(store: SettingsStore, okx_uid: str = OKX_UID) -> Any:
    setting = await store.get(okx_uid, "params", source="db")
    return setting and setting.settings["leverage"]


def history(db: Db, setting_type: str = "params", okx_uid: str = OKX_UID) -> list[tuple[Any, ...]]:
    query = "select version, is_active, change_reason from user_settings where okx_uid = %s and setting_type = %s"
    return table_rows(db, f"{query} order by version", okx_uid, setting_type)


# -- every row


async def test_every_row_comes_back_as_it_was(
    populated: Path, db: Db, redis: redis_py.Redis, other: SettingsStore, other_db: Db, other_database_url: str
) -> None:
    redis.flushall()
    schema = dump(other_database_url)
    restored = await restore_backup(other, populated)
    assert content(other_db) == content(db)
    assert all(content(db)[name] for name in archive.TABLES if name != "okx_api_info")
    versions = content(db)["user_settings"]
    assert (restored.users, restored.versions, restored.mirrored) == (3, len(versions), True)
    await assert_clean(other)
    assert dump(other_database_url) == schema
    triggers = "select distinct tgenabled::text from pg_trigger where tgrelid::regclass::text = any (%s)"
    assert table_rows(other_db, triggers, list(archive.TABLES)) == [("O",)]

    before = await other.get(OKX_UID, "params", source="db")
    assert before is not None
    assert (await other.patch(OKX_UID, "params", {"leverage": 30})).version == before.version + 1
    extra = await other.get(OKX_UID, "extra")
    assert extra is not None
    assert extra.settings == HOSTILE
    await assert_clean(other)


def test_a_backup_has_every_table_that_holds_data(db: Db) -> None:
    query = "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    tables = {name for (name,) in table_rows(db, query) if "yoyo" not in name}
    candles = {name for name in tables if name.startswith("ohlcv_")} | {"timeframes"}  # the exchange has them
    of_the_server = {
        "schema_objects",
        "mirror_pending",
        "trigger_permits",
        "hypertable_settings",
        "mirror_verifications",
    }
    assert tables - candles - of_the_server == set(archive.TABLES)


async def test_restoring_over_what_is_there_again_and_again_changes_nothing(
    populated: Path, store: SettingsStore, db: Db
) -> None:
    before = content(db)
    for _ in range(2):
        await restore_backup(store, populated, replace=True)
        assert content(db) == before
    await assert_clean(store)


async def test_an_empty_database_is_a_backup_too(
    store: SettingsStore, db: Db, tmp_path: Path, other: SettingsStore, other_db: Db
) -> None:
    await back_up(store, tmp_path / "empty.zip")
    restored = await restore_backup(other, tmp_path / "empty.zip")
    assert (restored.users, restored.versions) == (0, 0)
    assert content(other_db) == content(db)


async def test_a_backup_is_of_one_moment_whatever_is_written_meanwhile(
    store: SettingsStore, user: str, db: Db, tmp_path: Path, redis: redis_py.Redis, other: SettingsStore, other_db: Db
) -> None:
    before = content(db)
    written: list[str] = []

    def write(_: int) -> None:
        """Come in between two tables, in a transaction of its own."""
        uid = f"2000000000000000{len(written):02}"
        db.execute("select register_user(%s)", (uid,))
        db.execute('select save_user_settings(%s, \'{"params": {"leverage": 3}}\')', (user,))
        db.execute("select save_setting_template(%s, 'params', '{}')", (f"t{uid}",))
        written.append(uid)

    with (tmp_path / "b.zip").open("wb") as file:
        await archive.backup(store, file, write)
    assert len(written) >= 4
    redis.flushall()
    await restore_backup(other, tmp_path / "b.zip")
    assert content(other_db) == before != content(db)


async def test_version_chains_are_whole_while_several_writers_write(
    store: SettingsStore, db: Db, tmp_path: Path, redis: redis_py.Redis, other: SettingsStore, other_db: Db
) -> None:
    uids = [f"30000000000000000{n}" for n in range(3)]
    for uid in uids:
        await store.register(uid)
    stopping, saves = asyncio.Event(), 0

    async def write(uid: str) -> None:
        nonlocal saves
        n = 0
        while not stopping.is_set():
            n += 1
            await store.save_all(uid, {"params": {"?n": n}, "preferences": {"?n": n}})
            saves += 1

    async def enough(than: int) -> None:
        async def has_saved() -> bool:
            return saves > than

        await eventually(has_saved)

    writers = [asyncio.create_task(write(uid)) for uid in uids]
    for n in range(3):
        await enough(saves + 5)
        await back_up(store, tmp_path / f"{n}.zip")
    stopping.set()
    await asyncio.gather(*writers)
    redis.flushall()
    for n in range(3):
        await restore_backup(other, tmp_path / f"{n}.zip", replace=True)
        chains = table_rows(
            other_db,
            "select count(*), min(version), max(version), max(version) filter (where is_active) as newest,"
            " count(*) filter (where is_active) as active from user_settings group by okx_uid, setting_type",
        )
        assert len(chains) == 9
        assert all((low, high, newest, active) == (1, count, count, 1) for count, low, high, newest, active in chains)
        together = table_rows(
            other_db,
            "select count(distinct (version, settings)) from user_settings"
            " where setting_type <> 'dual_side' and is_active group by okx_uid",
        )
        assert together == [(1,)] * 3
        redis.flushall()


async def test_text_and_times_do_not_depend_on_how_either_session_is_set_up(
    store: SettingsStore, db: Db, config: Config, tmp_path: Path, redis: redis_py.Redis,
    other_database_url: str, other_db: Db,
) -> None:  # fmt: skip
    await store.register(OKX_UID, name="강민")
    await store.save(OKX_UID, "params", {"?text": "롱숏"})
    day_first = make_conninfo(str(config.database_url), options="-c datestyle=SQL,DMY", client_encoding="LATIN1")
    async with on(config, day_first) as unusual:
        await back_up(unusual, tmp_path / "b.zip")
    redis.flushall()
    korean = make_conninfo(
        other_database_url, options="-c datestyle=ISO,MDY -c timezone=Asia/Seoul", client_encoding="EUC_KR"
    )
    async with on(config, korean) as unusual:
        await restore_backup(unusual, tmp_path / "b.zip")
    assert content(other_db) == content(db)


# -- what is refused


def same_rows(path: Path, of: Path) -> bool:
    return all(member(path, name) == member(of, name) for name in archive.TABLES)


@pytest.fixture
async def tiny(store: SettingsStore, db: Db, tmp_path: Path) -> Path:
    """A backup with as few bytes as can be that has rows."""
    db.execute("delete from setting_fields")
    db.execute("select ensure_user(%s)", (OKX_UID,))
    db.execute("select upsert_user_setting(%s, 'params', '{\"leverage\": 3}')", (OKX_UID,))
    await back_up(store, tmp_path / "tiny.zip")
    return tmp_path / "tiny.zip"


def test_a_backup_cut_at_any_byte_is_refused(tiny: Path) -> None:
    assert check_backup(tiny)
    for length in reversed(range(tiny.stat().st_size)):
        os.truncate(tiny, length)
        with pytest.raises(BadBackup):
            check_backup(tiny)


def test_a_backup_with_any_byte_changed_is_refused_or_the_very_same(tiny: Path, tmp_path: Path) -> None:
    data, manifest, chance = tiny.read_bytes(), check_backup(tiny), random.Random(5)
    changed, refused = tmp_path / "changed.zip", 0
    for at in range(len(data)):
        changed.write_bytes(data[:at] + bytes([data[at] ^ chance.randint(1, 255)]) + data[at + 1 :])
        try:
            found = check_backup(changed)
        except BadBackup:
            refused += 1
        else:
            assert found == manifest
            assert same_rows(changed, tiny)
    assert refused > len(data) / 2


async def test_what_a_damaged_file_is_restored_from_stays_as_it_was(
    small: Path, tmp_path: Path, store: SettingsStore, db: Db, redis: redis_py.Redis
) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 7})
    await store.stores.marks.clear()
    before, keys = content(db), {key: redis.dump(key) for key in redis.scan_iter()}
    data, bad = small.read_bytes(), tmp_path / "bad.zip"
    for broken in (data[:-1], data[: len(data) // 2], data[:200] + b"\0" + data[201:]):
        bad.write_bytes(broken)
        for how in ({"replace": True}, {"merge": True}, {"okx_uid": OKX_UID}, {}):
            with pytest.raises(BadBackup):
                await restore_backup(store, bad, **how)
    assert content(db) == before
    assert {key: redis.dump(key) for key in redis.scan_iter()} == keys


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_packed_in_another_way_is_refused(small: Path, tmp_path: Path, method: int) -> None:
    """They would unpack into memory without limit."""
    with zipfile.ZipFile(small) as old, zipfile.ZipFile(tmp_path / "b.zip", "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(BadBackup):
        check_backup(tmp_path / "b.zip")


def test_files_of_others_are_refused(tmp_path: Path, small: Path) -> None:
    def packed(**members: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            for name, data in members.items():
                made.writestr(name.replace("_json", ".json"), data)
        return file.getvalue()

    for data in (
        b"", b"PK", b"hello", b"\0" * 5000, json.dumps(manifest_of(small)).encode(), packed(), packed(readme=b"hello"),
        packed(manifest_json=b""), packed(manifest_json=b"[]"), packed(manifest_json=b"[" * 100_000),
        packed(manifest_json=b"\xff"), packed(manifest_json=json.dumps(manifest_of(small)).encode()),
    ):  # fmt: skip
        (tmp_path / "other.zip").write_bytes(data)
        with pytest.raises(BadBackup):
            check_backup(tmp_path / "other.zip")


def test_a_manifest_that_unpacks_into_very_much_is_not_read(tmp_path: Path, small: Path) -> None:
    manifest = json.dumps(manifest_of(small)).encode()
    with zipfile.ZipFile(small) as old, zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for name in archive.TABLES:
            new.writestr(name, old.read(name))
        new.writestr(archive.MANIFEST, manifest + b" " * (64 << 20))
    with pytest.raises(BadBackup):
        check_backup(tmp_path / "b.zip")


def test_a_member_that_unpacks_into_very_much_is_refused(tmp_path: Path, small: Path) -> None:
    with zipfile.ZipFile(small) as old, zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for name in archive.TABLES:
            new.writestr(name, b"\0" * (64 << 20) if name == "user_settings" else old.read(name))
        new.writestr(archive.MANIFEST, json.dumps(manifest_of(small)))
    with pytest.raises(BadBackup, match="damaged: user_settings"):
        check_backup(tmp_path / "b.zip")


_json = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**4000),
        st.sampled_from(["0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "2026-01-01", "id", "1", archive.FORMAT]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)  # fmt: skip
_paths = st.sampled_from(
    [(key,) for key in ("format", "version", "made_at", "release", "migrations", "tables")]
    + [("tables", "app_users")]
    + [("tables", "user_settings", key) for key in ("columns", "rows", "sha256")]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(path=_paths, value=_json)
def test_whatever_a_manifest_holds_no_other_error_comes_of_it(
    small: Path, tmp_path: Path, path: tuple[str, ...], value: Any
) -> None:
    manifest = manifest_of(small)
    inner = manifest
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    try:
        found = check_backup(craft(tmp_path / "crafted.zip", small, manifest))
    except BadBackup:
        return
    found.made_at.astimezone()
    for table in found.tables.values():
        assert all(isinstance(column, str) for column in table.columns)


async def test_a_backup_made_before_there_were_trades_comes_back(
    populated: Path, tmp_path: Path, other: SettingsStore, other_db: Db
) -> None:
    manifest = manifest_of(populated)
    tables = {name: table for name, table in manifest["tables"].items() if name not in archive.SINCE}
    with zipfile.ZipFile(populated) as full:
        for migrations in (manifest["migrations"], manifest["migrations"][:7]):
            with zipfile.ZipFile(tmp_path / f"{len(migrations)}.zip", "w") as made:
                for name in tables:
                    made.writestr(name, full.read(name))
                made.writestr(archive.MANIFEST, json.dumps(manifest | {"tables": tables, "migrations": migrations}))
    with pytest.raises(BadBackup):  # of today, and the trades are missing
        await restore_backup(other, tmp_path / f"{len(manifest['migrations'])}.zip")
    assert (await restore_backup(other, tmp_path / "7.zip")).users == 3
    assert content(other_db)["trades"] == []


async def test_a_newer_backup_is_refused_by_name(small: Path, tmp_path: Path, store: SettingsStore) -> None:
    manifest = manifest_of(small)
    crafted = craft(tmp_path / "b.zip", small, manifest | {"version": 2})
    with pytest.raises(BadBackup, match="newer release"):
        await restore_backup(store, crafted, replace=True)
    crafted = craft(tmp_path / "b.zip", small, manifest | {"migrations": [*manifest["migrations"], "9999_later"]})
    with pytest.raises(BadBackup, match=r"newer release.*9999_later"):
        await restore_backup(store, crafted, replace=True)


@pytest.mark.parametrize("how", [{"replace": True}, {"merge": True}, {"okx_uid": OKX_UID}])
@pytest.mark.parametrize("column", ["id) from program 'touch {}' --", 'id"', "", "nothing", "ctid", "a" * 5000, "\0"])
async def test_a_column_that_is_sql_is_refused_not_run(
    small: Path, tmp_path: Path, store: SettingsStore, db: Db, column: str, how: dict[str, Any]
) -> None:
    before, manifest = content(db), manifest_of(small)
    manifest["tables"]["app_users"]["columns"][0] = column.format(tmp_path / "ran")
    with pytest.raises(BadBackup, match="columns"):
        await restore_backup(store, craft(tmp_path / "b.zip", small, manifest), **how)
    assert content(db) == before
    assert not (tmp_path / "ran").exists()


async def test_tables_other_than_ours_are_refused(small: Path, tmp_path: Path) -> None:
    for change in ({"pg_authid": {"columns": [], "rows": 0, "sha256": ""}}, {}):
        manifest = manifest_of(small)
        manifest["tables"] |= change
        if not change:
            del manifest["tables"]["setting_templates"]
        with pytest.raises(BadBackup):
            check_backup(craft(tmp_path / "b.zip", small, manifest))


def line(path: Path, name: str, **changes: str) -> bytes:
    """The first row of a table of a backup, with other values."""
    columns = manifest_of(path)["tables"][name]["columns"]
    values = dict(zip(columns, member(path, name).splitlines()[0].decode().split("\t"), strict=True))
    return ("\t".join((values | changes).values()) + "\n").encode()


async def test_rows_that_break_a_rule_undo_the_whole_restore(
    populated: Path, tmp_path: Path, store: SettingsStore, db: Db
) -> None:
    await store.register("900000000000000009")
    await store.stores.marks.clear()
    before, manifest = content(db), manifest_of(populated)
    settings_, users = member(populated, "user_settings"), member(populated, "app_users")
    for name, data in {
        "a user twice": ("app_users", users + users.splitlines(keepends=True)[0]),
        "a bad UID": ("app_users", line(populated, "app_users", okx_uid="1")),
        "settings of nobody": ("app_users", b""),
        "a version twice": ("user_settings", settings_ + line(populated, "user_settings", id=OKX_UID * 2)),
        "no object": ("user_settings", line(populated, "user_settings", settings="[]")),
        "no JSON": ("user_settings", line(populated, "user_settings", settings="{{")),
        "version 0": ("user_settings", line(populated, "user_settings", version="0")),
        "no row": ("user_settings", b"hello\n"),
        "no text": ("user_settings", b"\xff\xfe\n"),
        "a null": ("user_settings", line(populated, "user_settings", settings="\\N")),
    }.items():
        crafted = craft(tmp_path / "b.zip", populated, manifest, dict([data]))
        with pytest.raises(StoreError) as error:
            await restore_backup(store, crafted, replace=True)
        assert "Traceback" not in str(error.value), name
        assert content(db) == before, name
    for columns in ([], ["id"], ["id", "id"]):
        manifest["tables"]["app_users"]["columns"] = columns
        with pytest.raises(StoreError):
            await restore_backup(store, craft(tmp_path / "b.zip", populated, manifest), replace=True)
        assert content(db) == before
    enabled = "select distinct tgenabled::text from pg_trigger where tgrelid::regclass::text = any (%s)"
    assert table_rows(db, enabled, list(archive.TABLES)) == [("O",)]
    assert (await store.patch(OKX_UID, "params", {"leverage": 9})).version == 3
    await assert_clean(store)


async def test_a_database_that_is_not_empty_stays_as_it_is(populated: Path, other: SettingsStore, other_db: Db) -> None:
    for fill in (
        "insert into app_users (okx_uid) values ('900000000000000009')",
        "select save_setting_template('mine', 'params', '{}')",
    ):
        with other_db.transaction(force_rollback=True):
            other_db.execute(fill.encode())
            with pytest.raises(psycopg.Error) as refused:
                other_db.execute("select begin_restore()")
            assert refused.value.sqlstate == "US011"
    await other.register("900000000000000009")
    before = content(other_db)
    with pytest.raises(NotEmpty, match=r"settings, users"):
        await restore_backup(other, populated)
    assert content(other_db) == before


async def test_a_database_that_is_not_migrated_is_told_so(small: Path, config: Config, empty_database_url: str) -> None:
    async with on(config, empty_database_url) as empty:
        with pytest.raises(NotMigrated):
            await restore_backup(empty, small)
        with pytest.raises(NotMigrated):
            await archive.backup(empty, io.BytesIO())


async def test_a_role_without_rights_is_refused_and_writes_nothing(
    small: Path, config: Config, db: Db, store: SettingsStore
) -> None:
    before = content(db)
    db.execute("create role nobody_much login")
    try:
        async with on(config, make_conninfo(str(config.database_url), user="nobody_much")) as poor:
            for attempt in (archive.backup(poor, io.BytesIO()), restore_backup(poor, small, replace=True)):
                with pytest.raises(StoreError, match="permission denied"):
                    await attempt
    finally:
        db.execute("drop role nobody_much")
    assert content(db) == before


# -- as new versions


async def test_replacing_throws_away_what_is_there(small: Path, store: SettingsStore, db: Db) -> None:
    before = content(db)
    await store.register(OTHER_UID, "22222")
    await store.stores.marks.clear()
    await restore_backup(store, small, replace=True)
    assert content(db) == before
    assert await store.find_user(OTHER_UID) is None


async def test_merging_makes_new_versions_only_where_something_differs(
    small: Path, store: SettingsStore, db: Db
) -> None:
    await store.register(OTHER_UID)
    unchanged = content(db)
    restored = await restore_backup(store, small, merge=True)
    assert (restored.users, restored.versions) == (1, 0)
    assert content(db) == unchanged

    was = await leverage(store)
    await store.patch(OKX_UID, "params", {"leverage": 77})
    await store.delete(OKX_UID, "dual_side")
    assert (await restore_backup(store, small, merge=True)).versions == 2
    assert await leverage(store) == was
    for kind in ("params", "dual_side"):
        (_, _, first), (_, _, second), (version, is_active, reason) = history(db, kind)
        assert (first, second, version, is_active) == (None, None, 3, True)
        assert reason.startswith("from the backup of 20")
    assert len(history(db, "preferences")) == 1
    assert len(history(db, "params", OTHER_UID)) == 1
    await assert_clean(store)


async def test_a_reason_given_is_kept_with_the_versions(small: Path, store: SettingsStore, db: Db) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 77})
    async with store.acting_as("ops", reason="asked for it"):
        await restore_backup(store, small, okx_uid=OKX_UID)
    query = "select changed_by, change_reason from user_settings where version = 3"
    assert table_rows(db, query) == [("ops", "asked for it")]


async def test_one_user_alone_comes_back(populated: Path, store: SettingsStore, db: Db) -> None:
    for uid in (OKX_UID, OTHER_UID):
        await store.patch(uid, "params", {"leverage": 77})
    restored = await restore_backup(store, populated, okx_uid=OKX_UID)
    assert (restored.users, await leverage(store), await leverage(store, OTHER_UID)) == (1, 20, 77)
    await assert_clean(store)


async def test_a_user_deleted_since_comes_back_with_link_and_settings(
    small: Path, store: SettingsStore, db: Db
) -> None:
    await store.delete_user(OKX_UID)
    await restore_backup(store, small, okx_uid=OKX_UID)
    user = await store.find_user(TELEGRAM_ID)
    assert user is not None
    assert (user.okx_uid, user.name) == (OKX_UID, "Kim")
    assert len(await store.get_all(OKX_UID)) == 3
    assert [version for version, _, _ in history(db)] == [1, 2, 3]
    await assert_clean(store)


async def test_a_telegram_id_that_is_somebody_elses_by_now_stays_theirs(small: Path, store: SettingsStore) -> None:
    await store.delete_user(OKX_UID)
    await store.register(OTHER_UID, TELEGRAM_ID)
    await restore_backup(store, small, merge=True)
    owner, back = await store.find_user(TELEGRAM_ID), await store.find_user(OKX_UID)
    assert owner is not None
    assert back is not None
    assert (owner.okx_uid, back.telegram_id) == (OTHER_UID, None)
    assert await leverage(store) is not None
    await assert_clean(store)


async def test_a_user_whom_the_backup_does_not_have_is_named(populated: Path, store: SettingsStore, db: Db) -> None:
    before = content(db)
    for uid in ("999999999999999999", DELETED_UID):
        with pytest.raises(UnknownUser, match=uid):
            await restore_backup(store, populated, okx_uid=uid)
    for bad in ("", "' or true --", "１" * 18, OKX_UID + "\n"):
        with pytest.raises(BadIdentifier):
            await restore_backup(store, populated, okx_uid=bad)
    assert content(db) == before


@pytest.mark.parametrize("page", [1, 2, 3, 500])
async def test_pages_miss_nobody(
    store: SettingsStore, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    db.execute("select register_user((1000000000000000 + n)::text) from generate_series(1, 6) n")
    await back_up(store, tmp_path / "b.zip")
    db.execute("update user_settings set settings = settings || '{\"?new\": 1}' where is_active")
    monkeypatch.setattr(archive, "PAGE", page)
    restored = await restore_backup(store, tmp_path / "b.zip", merge=True)
    assert (restored.users, restored.versions) == (6, 18)
    query = "select count(*) from user_settings where is_active and version = 3 and not settings ? '?new'"
    assert table_rows(db, query) == [(18,)]


async def test_two_thousand_users_are_merged(store: SettingsStore, db: Db, tmp_path: Path) -> None:
    db.execute("select register_user((1000000000000000 + n)::text) from generate_series(1, 2000) n")
    await relay.drain(store.stores)
    await back_up(store, tmp_path / "b.zip")
    db.execute("select upsert_user_setting(okx_uid, 'preferences', '{}') from app_users where okx_uid like '%7'")
    restored = await restore_backup(store, tmp_path / "b.zip", merge=True)
    assert (restored.users, restored.versions, restored.mirrored) == (2000, 200, True)
    assert table_rows(db, "select count(*) from user_settings where version = 3") == [(200,)]


async def test_settings_that_are_not_valid_any_more_undo_the_whole_merge(
    populated: Path, store: SettingsStore, db: Db
) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 5})
    await store.patch(OTHER_UID, "params", {"leverage": 5})
    db.execute("update setting_fields set maximum = 15 where key = 'leverage'")
    before = content(db)
    with pytest.raises(InvalidSettings) as error:
        await restore_backup(store, populated, merge=True)
    assert set(error.value.problems) == {"leverage"}
    assert content(db) == before


# -- Redis afterwards


async def test_what_redis_had_newer_goes_into_the_history_and_redis_follows(
    small: Path, store: SettingsStore, db: Db, redis: redis_py.Redis
) -> None:
    was = await leverage(store)
    await store.patch(OKX_UID, "params", {"leverage": 77})
    restored = await restore_backup(store, small, replace=True)
    assert restored.mirrored
    await assert_clean(store)
    assert await leverage(store) == json.loads(str(redis.get(PARAMS)))["leverage"] == was
    query = "select settings ->> %s from user_settings where setting_type = %s and not is_active order by version"
    assert ("77",) in table_rows(db, query, "leverage", "params")


async def test_another_document_of_the_same_version_goes_into_the_history(
    small: Path, store: SettingsStore, db: Db, redis: redis_py.Redis, other: SettingsStore
) -> None:
    was = await leverage(store)
    redis.flushall()
    await other.register(OKX_UID, TELEGRAM_ID, documents={"params": {"leverage": 77}})
    await restore_backup(store, small, replace=True)
    assert json.loads(str(redis.get(PARAMS)))["leverage"] == await leverage(store) == was
    query = "select settings ->> 'leverage' from user_settings where setting_type = 'params' order by version"
    assert table_rows(db, query) == [(str(was),), ("77",), (str(was),)]
    await assert_clean(store)


async def test_keys_of_users_whom_the_backup_does_not_know_stay_for_sync(
    small: Path, store: SettingsStore, redis: redis_py.Redis
) -> None:
    await store.register(OTHER_UID, "22222")
    redis.set(f"user:{DELETED_UID}:settings", '{"leverage": 6}')
    await restore_backup(store, small, replace=True)
    assert (await verify(store.stores)).findings == {"orphan": 4, "unmarked": 1}
    await verify(store.stores, repair=True)
    assert redis.exists(f"user:{OTHER_UID}:settings", f"user:{DELETED_UID}:settings", "user:22222:okx_uid") == 3
    await Sync(store.stores).run()
    found = await store.find_user("22222")
    assert found is not None
    assert (found.okx_uid, await leverage(store, DELETED_UID)) == (OTHER_UID, 6)
    await assert_clean(store)


async def test_a_link_that_the_backup_has_otherwise_is_put_back_in_redis(
    small: Path, store: SettingsStore, redis: redis_py.Redis
) -> None:
    await store.unlink(OKX_UID)
    await store.register(OTHER_UID, TELEGRAM_ID)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OTHER_UID
    await restore_backup(store, small, replace=True)
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID


async def test_a_mark_of_the_restore_outlives_who_mirrored_a_newer_version_before(
    small: Path, store: SettingsStore, config: Config, redis: redis_py.Redis
) -> None:
    await store.patch(OKX_UID, "params", {"leverage": 77})  # its mark is cleared a moment later
    async with SettingsStore(replace(config, redis_url="redis://127.0.0.1:1")) as restoring:
        assert not (await restore_backup(restoring, small, replace=True)).mirrored
    await store.stores.marks.clear()
    await relay.drain(store.stores)
    await assert_clean(store)
    assert json.loads(str(redis.get(PARAMS)))["leverage"] == await leverage(store) != 77


async def test_a_link_of_the_same_version_to_another_user_is_put_right(
    store: SettingsStore, config: Config, other: SettingsStore, redis: redis_py.Redis, tmp_path: Path
) -> None:
    await other.register(OTHER_UID, TELEGRAM_ID)  # another history of the same Telegram ID
    await back_up(other, tmp_path / "b.zip")
    await store.register(OKX_UID, TELEGRAM_ID)
    redis.set(f"user:{TELEGRAM_ID}:okx_uid", OKX_UID)
    assert (await restore_backup(store, tmp_path / "b.zip", replace=True)).mirrored
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OTHER_UID
    assert (await store.get(TELEGRAM_ID, "params") or pytest.fail("none")).okx_uid == OTHER_UID


async def test_who_was_erased_but_is_still_in_redis_goes_from_there_all_the_same(
    store: SettingsStore, config: Config, redis: redis_py.Redis, tmp_path: Path, db: Db
) -> None:
    await store.register(OTHER_UID)
    await back_up(store, tmp_path / "b.zip")
    await store.register(OKX_UID)
    db.execute("select from erase_user(%s)", (OKX_UID,))
    assert redis.exists(PARAMS)
    restored = await restore_backup(store, tmp_path / "b.zip", replace=True)
    assert (restored.users, restored.mirrored, restored.unknown) == (1, True, 0)
    assert not redis.exists(PARAMS)
    assert dict(await Sync(store.stores).run()).keys() == {"ok"}


async def test_an_emptied_redis_is_filled(small: Path, store: SettingsStore, redis: redis_py.Redis) -> None:
    redis.flushall()
    assert (await restore_backup(store, small, replace=True)).mirrored
    await assert_clean(store)
    assert redis.exists(PARAMS)


async def test_a_relay_that_runs_meanwhile_does_no_harm(
    small: Path, store: SettingsStore, config: Config, db: Db, redis: redis_py.Redis
) -> None:
    was = await leverage(store)
    async with on(config, str(config.database_url)) as relaying:
        running = Relay(relaying.stores, poll=0.001)
        task = asyncio.create_task(running.run())

        async def is_mirrored() -> bool:
            return not table_rows(db, "select from mirror_pending")

        for value in range(20, 25):
            await store.patch(OKX_UID, "params", {"leverage": value})
            await store.stores.marks.clear()
            await eventually(is_mirrored)
            await restore_backup(store, small, replace=True)
            await eventually(is_mirrored)
            assert json.loads(str(redis.get(PARAMS)))["leverage"] == was
        running.stopping.set()
        await task
    await assert_clean(store)


# -- files


def test_what_is_no_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing.zip", "", "file/inside.zip", "a" * 300):
        with pytest.raises(InvalidArgument, match="can't be read"):
            check_backup(tmp_path / name)


@pytest.mark.parametrize("is_in_backup", [True, False])
async def test_a_restore_forgets_nobody_who_was_erased_and_is_in_redis_still(
    store: SettingsStore, db: Db, redis: redis_py.Redis, tmp_path: Path, is_in_backup: bool
) -> None:
    await store.register(OKX_UID if is_in_backup else OTHER_UID)
    path = tmp_path / "backup.zip"
    await back_up(store, path)
    await store.register(OKX_UID, TELEGRAM_ID)
    await store.patch(OKX_UID, "params", {"after the backup": 1})
    await store.stores.marks.clear()
    db.execute("select from erase_user(%s)", (OKX_UID,))  # no relay runs
    await restore_backup(store, path, replace=True)
    await Sync(store.stores).run()
    rows = db.execute(
        "select settings ? 'after the backup' as is_erased from user_settings where okx_uid = %s", (OKX_UID,)
    )
    found = rows.fetchall()
    assert len(found) == (3 if is_in_backup else 0)
    assert not any(row["is_erased"] for row in found)
    assert redis.get(PARAMS) is None or "after the backup" not in str(redis.get(PARAMS))
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") is None
    assert (await verify(store.stores)).remaining == 0
    assert db.execute("select from mirror_pending").fetchall() == []


async def test_a_merge_looks_up_each_user_of_the_backup_by_index(store: SettingsStore) -> None:
    users = "select (2000000000000000 + n)::text as okx_uid from generate_series(1, 4000) n"
    async with store.stores.database.transaction() as transaction:
        for name in ("app_users", "user_settings"):
            await transaction.fetch(archive._make_temporary(name))
        await transaction.fetch(Call(f"insert into restored_app_users (okx_uid) {users}", {}))
        rows = f"select gen_random_uuid(), u.okx_uid, 'params', '{{}}' from ({users}) u"
        columns = "(user_id, okx_uid, setting_type, settings)"
        await transaction.fetch(Call(f"insert into restored_user_settings {columns} {rows}", {}))
        for name in ("app_users", "user_settings"):
            await transaction.fetch(archive._index(name))
        page = archive._restored_users(None, "2000000000003990", 5)
        plan = await transaction.fetch(Call(f"explain {page.query}", page.params))
        found = await transaction.fetch(page)
    assert not [row for row in plan if "Seq Scan on restored_user_settings" in row["QUERY PLAN"]], plan
    assert [row["okx_uid"] for row in found] == [str(2_000_000_000_003_990 + n) for n in range(1, 6)]
