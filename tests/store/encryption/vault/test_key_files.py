"""Key files: read if they are the user's alone, made once, and never overwritten."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from store.encryption import vault
from store.encryption.vault import Vault
from store.errors import ConfigError
from tests.store.encryption.vault.conftest import KEY, OTHER, SLASHED, assert_silent, from_file, key_file, opened


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_the_user_alone_is_read(mode: int, tmp_path: Path) -> None:
    assert from_file(key_file(tmp_path, KEY, mode)).key_ids == opened(KEY).key_ids


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o700, 0o610, 0o666, 0o4600])
def test_a_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = key_file(tmp_path, KEY, mode)
    for environ in ({"SETTINGS_STORE_KEYS_FILE": str(path)}, {}):
        with pytest.raises(ConfigError, match=f"keys.txt has mode {mode:04o}") as caught:
            Vault.from_env(environ, path)
        assert caught.value.hint == f"Run: chmod 600 {path}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, KEY)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        from_file(path)
    assert caught.value.hint == f"Run: chown 0 {path}"


def test_a_file_of_root_is_read_by_a_user_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_file(tmp_path, KEY)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if owner == 0:
        assert from_file(path).key_ids == opened(KEY).key_ids
    else:
        with pytest.raises(ConfigError, match="belongs to another user"):
            from_file(path)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt", 0o600)
    (tmp_path / "dangling.txt").symlink_to(tmp_path / "gone.txt")
    for name, problem in [
        ("pipe.txt", "is not a regular file"),
        ("", "directory"),
        ("missing.txt", "can't be read: No such file"),
        ("dangling.txt", "can't be read: No such file"),
        ("a\0b.txt", "can't be read: not a file name"),
        ("a\ud800.txt", "can't be read: not a file name"),
    ]:
        with pytest.raises(ConfigError, match=problem) as caught:
            from_file(tmp_path / name)
        assert str(tmp_path) in str(caught.value)
    with pytest.raises(ConfigError, match="No such file"):
        Vault.from_env({}, tmp_path / "dangling.txt")


def test_a_link_to_a_good_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to(key_file(tmp_path, KEY))
    assert from_file(tmp_path / "link.txt").key_ids == opened(KEY).key_ids


@pytest.mark.parametrize("named", [KEY, KEY.rstrip("="), SLASHED, f"{KEY},{OTHER}"])
def test_a_key_in_place_of_the_file_name_is_not_shown(named: str) -> None:
    with pytest.raises(ConfigError, match="looks like a key") as caught:
        from_file(named)
    assert_silent(caught.value, named[:20])


def test_a_file_may_have_a_name_that_looks_like_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    key_file(tmp_path, OTHER).rename(KEY)
    assert from_file(KEY).key_ids == opened(OTHER).key_ids


def test_a_new_key_file(tmp_path: Path) -> None:
    path = tmp_path / "home" / "keys.txt"
    umask = os.umask(0)
    try:
        assert vault.create_key_file(path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["keys.txt"]  # nothing is left over
    keys = from_file(path)
    assert len(keys.key_ids) == 1

    content, touched = path.read_bytes(), path.parent.stat().st_mtime_ns
    assert not vault.create_key_file(path)
    assert (path.read_bytes(), path.parent.stat().st_mtime_ns) == (content, touched)
    assert opened(KEY).key_ids != keys.key_ids


def test_whatever_has_the_name_is_left_alone(tmp_path: Path) -> None:
    path = key_file(tmp_path, "mine", 0o644)
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert not vault.create_key_file(path)
    assert not vault.create_key_file(tmp_path / "dangling")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("mine", 0o644)
    assert not (tmp_path / "gone").exists()


def test_of_many_that_make_the_file_one_does(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"

    def make(_: int) -> tuple[bool, tuple[str, ...]]:
        return vault.create_key_file(path), from_file(path).key_ids  # whoever finds it finds it complete

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(make, range(64)))
    assert [mine for mine, _ in made].count(True) == 1
    assert {key_ids for _, key_ids in made} == {from_file(path).key_ids}
    assert os.listdir(tmp_path) == ["keys.txt"]


def test_a_key_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"keys\.txt can't be made"):
        vault.create_key_file(tmp_path / "file" / "keys.txt")
