"""Files that are no whole backup: cut, changed, of others, packed to burst; all of them refused, and nothing else."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import SettingsStore
from store.errors import InvalidArgument
from store.files import backup
from store.files.backup import BadBackup, check_backup, restore_backup
from tests.conftest import OKX_UID
from tests.helpers.backups import Db, back_up, content, craft, manifest_of, member

pytestmark = pytest.mark.slow


def same_rows(path: Path, of: Path) -> bool:
    return all(member(path, name) == member(of, name) for name in backup.TABLES)


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
    await store._connections.marks.clear()
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
        for name in backup.TABLES:
            new.writestr(name, old.read(name))
        new.writestr(backup.MANIFEST, manifest + b" " * (64 << 20))
    with pytest.raises(BadBackup):
        check_backup(tmp_path / "b.zip")


def test_a_member_that_unpacks_into_very_much_is_refused(tmp_path: Path, small: Path) -> None:
    with zipfile.ZipFile(small) as old, zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as new:
        for name in backup.TABLES:
            new.writestr(name, b"\0" * (64 << 20) if name == "user_settings" else old.read(name))
        new.writestr(backup.MANIFEST, json.dumps(manifest_of(small)))
    with pytest.raises(BadBackup, match="damaged: user_settings"):
        check_backup(tmp_path / "b.zip")


_json = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**4000),
        st.sampled_from(["0001-01-01T00:00:00", "9999-12-31T23:59:59-14:00", "2026-01-01", "id", "1", backup.FORMAT]),
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


def test_what_is_no_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("missing.zip", "", "file/inside.zip", "a" * 300):
        with pytest.raises(InvalidArgument, match="can't be read"):
            check_backup(tmp_path / name)
