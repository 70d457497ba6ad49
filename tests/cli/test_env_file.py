"""A file .env in the current directory, and one that --env-file names."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from store.commands.env_file import take_variables
from store.encryption.vault import Vault, generate_key
from tests.cli.conftest import CHECKOUT, Cli

SECRET = "s3cr3t-p4ss"


def test_a_env_file_gives_what_the_environment_does_not(inside: Cli, kim: str, tmp_path: Path) -> None:
    urls = {name: inside.env.pop(name) for name in ("DATABASE_URL", "REDIS_URL")}
    lines = [f"export DATABASE_URL='{urls['DATABASE_URL']}'", f"REDIS_URL={urls['REDIS_URL']}", "PATH=/nowhere", ""]
    (tmp_path / ".env").write_text("\n".join(["# ours", *lines]))
    here = replace(inside, cwd=tmp_path)
    assert here.run("user", "find", kim, "--json").json["okx_uid"] == kim
    assert replace(here, is_inside=False).run("psql", "-XAtc", "select 1").lines == ["1"]  # by PATH, which isn't ours
    elsewhere = replace(inside, cwd=CHECKOUT)
    assert elsewhere("--env-file", str(tmp_path / ".env"), "user", "list", "--json").json[0]["okx_uid"] == kim
    assert here.run("user", "find", kim, DATABASE_URL="postgresql://127.0.0.1:1/x", DB_TIMEOUT="0.5").code == 3


def test_a_env_file_that_leads_elsewhere_is_told_once_and_without_values(inside: Cli, kim: str, tmp_path: Path) -> None:
    given = {"MIRROR_CREDENTIALS": "plain", "SETTINGS_STORE_KEYS": generate_key(), "DB_TIMEOUT": "7",
             "SETTINGS_STORE_KEYS_FILE": "/nowhere", "REDIS_URL": inside.env.pop("REDIS_URL")}  # fmt: skip
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in {**given, "DATABASE_URL": SECRET}.items()))
    here = replace(inside, cwd=tmp_path)
    done = here.run("get", kim, "--json")
    assert done.code == 0
    names = "REDIS_URL, SETTINGS_STORE_KEYS, SETTINGS_STORE_KEYS_FILE, MIRROR_CREDENTIALS=plain"
    assert done.err.splitlines() == [f"{file} sets {names}"]
    assert not any(value in done.err for value in (given["SETTINGS_STORE_KEYS"], given["REDIS_URL"], "nowhere", SECRET))
    assert here("--env-file", ".env", "get", kim, "--json").json == done.json
    assert here.run("get", kim, "--json", SETTINGS_STORE_ENV_FILE=".env").err == ""
    file.write_text("MIRROR_CREDENTIALS=encrypted\nDB_TIMEOUT=7\nDATABASE_URL=\nELSE=1\n")
    assert here.run("get", kim, REDIS_URL=given["REDIS_URL"]).err == ""


def test_in_a_env_file_that_is_another_programs_too_ours_have_the_prefix(inside: Cli, kim: str, tmp_path: Path) -> None:
    urls = {name: inside.env.pop(name) for name in ("DATABASE_URL", "REDIS_URL")}
    theirs = {"DATABASE_URL": "mysql://x", "REDIS_URL": "memory://", "DB_TIMEOUT": "30s", "DB_POOL_SIZE": "1"}
    ours = {**urls, "DB_TIMEOUT": "7", "DB_POOL_SIZE": "7", "MIRROR_CREDENTIALS": "plain"}
    lines = [f"{name}={value}" for name, value in theirs.items()]
    lines += [f"SETTINGS_STORE_{name}='{value}'" for name, value in ours.items()]
    (tmp_path / ".env").write_text("\n".join(lines))
    here = replace(inside, cwd=tmp_path)
    found = here.run("status", "--json", DATABASE_URL="mysql://x")
    told = ("DATABASE_URL", "REDIS_URL", "MIRROR_CREDENTIALS=plain")
    assert found.err == f"{tmp_path}/.env sets {', '.join(f'SETTINGS_STORE_{name}' for name in told)}\n"
    assert found.json["config"].items() >= {"DB_TIMEOUT": "7", "MIRROR_CREDENTIALS": "plain"}.items()
    assert found.json["prefixed"] == sorted(f"SETTINGS_STORE_{name}" for name in (*ours, "HOME"))
    assert "SETTINGS_STORE_DB_TIMEOUT" in here.run("status").out
    prefixed = {f"SETTINGS_STORE_{name}": value for name, value in urls.items()}
    (tmp_path / ".env").write_text("DATABASE_URL=mysql://x\nREDIS_URL=memory://\n")
    assert here.run("get", kim, **prefixed).err == ""  # a bare name doesn't count where the other one is set


def test_a_env_file_that_cannot_be_used_is_named_without_its_values(inside: Cli, tmp_path: Path) -> None:
    here = replace(inside, cwd=tmp_path)
    file = tmp_path / ".env"
    file.write_text("A=1\nDATABASE_URL='s3cr3t\n")
    error = here.fails(1, "status")
    assert ".env, line 2: not NAME=VALUE" in error
    assert "s3cr3t" not in error
    file.write_text("another: program's\n[section]\n")
    assert here.run("status").code == 0
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in here.fails(1, "status")
    assert here.run("--env-file", "missing", "status").code == 1
    if os.geteuid() == 0:
        file.write_text("DATABASE_URL=postgresql://elsewhere/x\n")
        os.chown(file, 12345, 12345)
        assert "another user's" in here.fails(1, "status")
        assert here.run("--env-file", ".env", "user", "list").code == 0


@pytest.mark.parametrize("what", ["group", "others", "link", "pipe"])
def test_a_env_file_that_others_can_have_written_is_refused(inside: Cli, tmp_path: Path, what: str) -> None:
    file, other = tmp_path / ".env", tmp_path / "other"
    other.write_text(f"SETTINGS_STORE_KEYS={SECRET}\n")
    problem = {"group": "written by others", "others": "written by others", "link": "symbolic link",
               "pipe": "not a regular file"}[what]  # fmt: skip
    if what == "link":
        file.symlink_to(other)
    elif what == "pipe":
        os.mkfifo(file, 0o600)
    else:
        other.rename(file)
        file.chmod({"group": 0o620, "others": 0o602}[what])
    error = replace(inside, cwd=tmp_path).fails(1, "user", "list")
    assert problem in error
    assert "--env-file .env takes it all the same" in error
    assert SECRET not in error


def test_the_documented_file_is_read_alike_by_a_shell_and_by_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ +((?:DATABASE|REDIS)_URL='.*')$", page, re.MULTILINE)
    keys = [generate_key(), generate_key()]
    file = tmp_path / "ops.env"
    file.write_text("\n".join([*lines, f"SETTINGS_STORE_KEYS='{','.join(keys)}'", ""]))
    names = ("DATABASE_URL", "REDIS_URL", "SETTINGS_STORE_KEYS")
    shown = [
        "sh",
        "-euc",
        f'set -a; . "$0"; set +a; printf "%s\\n" {" ".join(f"${name}" for name in names)}',
        str(file),
    ]
    by_shell = subprocess.run(shown, env={}, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert take_variables(file, file.read_text()) == {name: name for name in names}
    ours = [os.environ.pop(name) for name in names]
    assert (len(lines), ours) == (2, by_shell)
    assert not Vault.from_env({"SETTINGS_STORE_KEYS": ours[2]}).is_empty


def test_a_folder_of_that_name_is_nothing(inside: Cli, tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()  # a virtual environment, as some name it
    assert replace(inside, cwd=tmp_path)("user", "list", "--json").json == []
