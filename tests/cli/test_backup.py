"""`backup` and `restore-backup` as their users have them: files, words and exit codes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from store.encryption.vault import generate_key
from store.files import backup
from store.postgres import migrate
from tests.cli.conftest import Cli
from tests.conftest import OKX_UID
from tests.helpers.backups import Db, content, craft, manifest_of, table_rows


@pytest.fixture
def made(inside: Cli, kim: str, tmp_path: Path) -> Path:
    """A backup of one user."""
    inside("backup", str(tmp_path / "b.zip"))
    return tmp_path / "b.zip"


def test_a_backup_comes_back_into_an_empty_database(inside: Cli, made: Path, db: Db, other_database_url: str) -> None:
    before = content(db)
    shown = inside.run("restore-backup", str(made), "--json", DATABASE_URL=other_database_url)
    assert (shown.code, shown.err) == (0, "")
    assert (shown.json["users"], shown.json["versions"], shown.json["mirrored"]) == (1, 3, True)
    assert set(shown.json["manifest"]["tables"]) == set(backup.TABLES)
    assert inside.run("verify", DATABASE_URL=other_database_url).code == 0
    got = inside.run("get", OKX_UID, "params", "--json", DATABASE_URL=other_database_url)
    assert got.code == 0
    assert content(db) == before


def test_the_words_say_what_was_written_and_restored(inside: Cli, made: Path, tmp_path: Path) -> None:
    words = inside("backup", str(tmp_path / "c.zip")).out
    assert words.startswith(f"wrote {tmp_path / 'c.zip'}: ")
    assert "1 app_users" in words
    assert "3 user_settings" in words
    shown = inside("backup", str(tmp_path / "d.zip"), "--json").json
    assert shown["tables"]["user_settings"]["rows"] == 3
    words = inside("restore-backup", str(made), "--replace", "--yes").out
    assert words.startswith("restored 1 user, 3 versions of 20")
    assert "Redis is up to it" in words


def test_the_file_is_the_owners_alone_and_whole(inside: Cli, made: Path, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        inside("backup", str(tmp_path / "c.zip"))
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "c.zip").stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["b.zip", "c.zip"]
    assert backup.check_backup(tmp_path / "c.zip")


def test_a_file_that_is_there_is_never_overwritten(inside: Cli, kim: str, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    for name in ("b.zip", "", "dangling"):
        assert "is there already" in inside.fails(1, "backup", str(tmp_path / name))
    assert (tmp_path / "b.zip").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["b.zip", "dangling"]
    assert (tmp_path / "dangling").is_symlink()


def test_a_place_that_cannot_be_written_is_named(inside: Cli, kim: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (
        tmp_path / "missing" / "b.zip",
        tmp_path / "file" / "b.zip",
        Path("/proc/b.zip"),
        tmp_path / ("a" * 300),
    ):
        error = inside.fails(1, "backup", str(place))
        assert f"{place} can't be written: " in error
    assert os.listdir(tmp_path) == ["file"]


def test_what_cannot_be_restored_is_one_clear_error(inside: Cli, made: Path, tmp_path: Path, db: Db) -> None:
    before, manifest = content(db), manifest_of(made)
    (tmp_path / "hello").write_text("hello")
    (tmp_path / "cut").write_bytes(made.read_bytes()[:-1])
    craft(tmp_path / "newer", made, manifest | {"version": 2})
    craft(tmp_path / "unknown", made, manifest | {"migrations": ["9999_later"]})
    craft(tmp_path / "damaged", made, manifest, {"app_users": b"hello\n"})
    craft(tmp_path / "list", made, manifest | {"tables": []})
    for name, problem in {
        "hello": "no backup of this program", "cut": "no backup of this program", "newer": "newer release",
        "unknown": "9999_later", "list": "no backup of this program", "damaged": "",
        "missing": "No such file", "": "Is a directory", "hello/x": "Not a directory",
    }.items():  # fmt: skip
        for how in (["--replace", "--yes"], ["--merge"], ["--okx-uid", OKX_UID]):
            assert problem in inside.fails(1, "restore-backup", str(tmp_path / name), *how)
    assert content(db) == before


def test_a_pipe_is_refused_without_waiting(inside: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in inside.fails(1, "restore-backup", str(tmp_path / "pipe"))


def test_a_database_that_holds_something_needs_a_word_about_it(inside: Cli, made: Path, db: Db) -> None:
    before = content(db)
    error = inside.fails(1, "restore-backup", str(made))
    assert "the database is not empty" in error
    assert "settings, users" in error
    assert inside.run("restore-backup", str(made), "--replace", stdin="n\n").code == 1
    assert inside.run("restore-backup", str(made), "--replace").code == 1
    for two in (["--replace", "--merge"], ["--merge", "--okx-uid", OKX_UID], ["--okx-uid", "", "--replace"]):
        assert inside.run("restore-backup", str(made), *two).code == 2
    assert content(db) == before
    assert inside.run("restore-backup", str(made), "--replace", stdin="y\n").code == 0


def test_one_user_comes_back_as_new_versions_with_who_and_why(inside: Cli, made: Path, db: Db) -> None:
    inside("set", OKX_UID, "params", "leverage=77")
    inside("restore-backup", str(made), "--okx-uid", OKX_UID, "--actor", "ops", "--reason", "asked for it")
    query = "select changed_by, change_reason from user_settings where setting_type = 'params' and is_active"
    assert table_rows(db, query) == [("ops", "asked for it")]
    inside("set", OKX_UID, "params", "leverage=78")
    inside("restore-backup", str(made), "--merge")
    assert "from the backup of 20" in inside("history", OKX_UID, "params").out
    assert "999999999999999999" in inside.fails(1, "restore-backup", str(made), "--okx-uid", "999999999999999999")
    assert "OKX UID" in inside.fails(1, "restore-backup", str(made), "--okx-uid", "1' or true")


def test_an_unmigrated_or_older_database_is_told_to_migrate(
    inside: Cli, made: Path, empty_database_url: str, other_database_url: str, tmp_path: Path
) -> None:
    migrate.rollback(other_database_url)
    for url in (empty_database_url, other_database_url):
        for words in (["backup", str(tmp_path / "c.zip")], ["restore-backup", str(made)]):
            assert "settings-store migrate" in inside.fails(1, *words, DATABASE_URL=url)
    assert not (tmp_path / "c.zip").exists()


def test_servers_that_cannot_be_reached(inside: Cli, made: Path, tmp_path: Path) -> None:
    nowhere = "postgresql://127.0.0.1:1/x"
    inside.fails(3, "backup", str(tmp_path / "c.zip"), DATABASE_URL=nowhere)
    inside.fails(3, "restore-backup", str(made), DATABASE_URL=nowhere)
    assert not (tmp_path / "c.zip").exists()
    without = inside.run("restore-backup", str(made), "--replace", "--yes", REDIS_URL="redis://127.0.0.1:1")
    assert (without.code, "Redis will be brought up by the relay" in without.out) == (0, True)
    inside("relay", "--once")
    assert inside.run("verify").code == 0


def test_a_restore_says_that_the_encryption_keys_are_missing(inside: Cli, kim: str, tmp_path: Path) -> None:
    ours, other = ({"SETTINGS_STORE_KEYS": generate_key()} for _ in range(2))
    secrets = json.dumps({"api_key": "k", "api_secret": "s", "passphrase": "p"})
    assert inside.run("keys", "set", kim, "--stdin", stdin=secrets, **ours).code == 0
    inside("backup", str(tmp_path / "b.zip"))
    words = ("restore-backup", str(tmp_path / "b.zip"), "--replace", "--yes")
    assert inside.run(*words, **ours).err == ""
    assert "keys that aren't given here" in inside.run(*words, **other).err
