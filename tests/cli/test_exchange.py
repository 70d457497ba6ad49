"""The commands export and import: files that are there as a whole or not at all, and words for what happened."""

from __future__ import annotations

import getpass
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py

from tests.cli.conftest import CHECKOUT, SCRIPT, Cli
from tests.conftest import OKX_UID, TELEGRAM_ID

OTHER = "587662504768340000"
SECRET = "hunter2-secret"
NO_REDIS = "redis://127.0.0.1:1/0"
Db = psycopg.Connection[dict[str, Any]]
INCOMPLETE = "1 document without keys that the catalogue lists\n"


@pytest.fixture
def secret(inside: Cli, kim: str) -> str:
    """The same user, with a secret."""
    inside("set", kim, "params", f"signal_bot_token={SECRET}")
    return kim


def written(path: Path, *users: dict[str, Any]) -> str:
    """Write a file of users; return its path."""
    document = {"format": "settings-store export", "version": 1, "users": users}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    return str(path)


def everything(db: Db, redis: redis_py.Redis) -> list[Any]:
    tables = ("app_users", "user_settings", "mirror_pending", "telegram_links")
    rows = [db.execute(f"select * from {table} order by 1, 2").fetchall() for table in tables]
    return [*rows, {str(key): redis.dump(str(key)) for key in redis.scan_iter()}]


@contextmanager
def unchanged(db: Db, redis: redis_py.Redis) -> Iterator[None]:
    before = everything(db, redis)
    yield
    assert everything(db, redis) == before


def shell(cli: Cli, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script in which $0 is the program."""
    command = ["bash", "-c", script, str(SCRIPT), *arguments]
    env = {**cli.env, "PYTHONDONTWRITEBYTECODE": "1"}  # a limited file size would cut it off
    return subprocess.run(command, env=env, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)


# -- export


def test_an_export_says_how_many_and_is_the_owners_only(inside: Cli, secret: str, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text("an older one")
    file.chmod(0o644)
    result = inside.run("export", "--all", "-o", str(file))
    assert (result.code, result.out, result.err) == (0, "", f"wrote 1 user to {file}\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == inside("export", secret).out == inside("export", "--all").out
    assert os.listdir(tmp_path) == ["out.json"]


def test_secrets_are_masked_unless_asked_for(inside: Cli, secret: str) -> None:
    assert SECRET not in inside("export", "--all").out
    (user,) = inside("export", TELEGRAM_ID).json["users"]
    assert user["settings"]["params"]["signal_bot_token"] == "********"
    (user,) = inside("export", "--all", "--with-secrets").json["users"]
    assert user["settings"]["params"]["signal_bot_token"] == SECRET


def test_somebody_or_all_has_to_be_named(inside: Cli, kim: str) -> None:
    inside.fails(2, "export")
    inside.fails(2, "export", "--all", kim)


def test_an_export_of_somebody_unknown_leaves_nothing_behind(inside: Cli, kim: str, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    for identifier in (OTHER, "x", "a\nb", b"\xff"):
        inside.fails(1, "export", kim, identifier)
        inside.fails(1, "export", kim, identifier, "-o", str(file))
        assert os.listdir(tmp_path) == []
    file.write_text("an older one")
    inside.fails(1, "export", OTHER, "-o", str(file))
    assert (file.read_text(), os.listdir(tmp_path)) == ("an older one", ["out.json"])


def test_an_export_without_a_database_leaves_the_old_file(inside: Cli, tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text("an older one")
    inside.fails(3, "export", "--all", "-o", str(file), DATABASE_URL="postgresql://127.0.0.1:1/x", DB_TIMEOUT="0.5")
    assert (file.read_text(), os.listdir(tmp_path)) == ("an older one", ["out.json"])


def test_a_place_where_no_file_can_be_is_said(inside: Cli, kim: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("missing/out.json", "file/out.json", ".", "", "x" * 300):
        where = str(tmp_path / place) if place else ""
        assert "can't be written" in inside.fails(1, "export", kim, "-o", where)
    assert os.listdir(tmp_path) == ["file"]


def test_what_is_no_file_is_not_replaced(inside: Cli, kim: str, tmp_path: Path) -> None:
    """As root, -o /dev/null would put a file in its place."""
    pipe, folder, link = tmp_path / "pipe", tmp_path / "folder", tmp_path / "link"
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to(pipe)
    for place in (pipe, folder, link):
        assert "can't be written" in inside.fails(1, "export", kim, "-o", str(place))
    assert (pipe.is_fifo(), link.is_symlink(), os.listdir(folder)) == (True, True, [])
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "pipe"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(inside: Cli, kim: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target.json", tmp_path / "link"
    link.symlink_to(target)
    for _ in range(2):
        inside.run("export", kim, "-o", str(link))
        assert (link.is_symlink(), target.is_symlink()) == (True, False)
        assert target.read_text() == inside("export", kim).out
    assert os.listdir(target.parent) == ["target.json"]


def test_a_disk_that_fills_up_leaves_the_old_file(cli: Cli, inside: Cli, kim: str, tmp_path: Path) -> None:
    inside("set", kim, "params", "note=" + "x" * 20_000)
    file = tmp_path / "out.json"
    file.write_text("an older one")
    done = shell(cli, 'ulimit -f 8; exec "$0" export --all -o "$1"', str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {file} can't be written: File too large\n"
    assert (file.read_text(), os.listdir(tmp_path)) == ("an older one", ["out.json"])


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_reader_who_has_enough_is_no_error(cli: Cli, inside: Cli, kim: str, size: int) -> None:
    inside("set", kim, "params", "note=" + "x" * size)
    done = shell(cli, '"$0" export --all | head -1')
    assert (done.stdout, done.stderr) == ("{\n", "")


# -- import


def test_an_export_is_imported_and_exported_again(inside: Cli, secret: str, db: Db, tmp_path: Path) -> None:
    inside("register", OTHER, "--name", "김")
    inside("set", OTHER, "preferences", 'a.b={"$": [1e300, 1.10, {}]}', "quote=\"'\\")
    exported = inside("export", "--all", "--with-secrets").out
    for user in (secret, OTHER):
        inside("user", "erase", user, "--yes")
    assert db.execute("select from app_users").fetchall() == []
    result = inside("import", "-", stdin=exported)
    assert result.lines == ["users: 2 new", "documents: 6 new"]
    assert inside("export", "--all", "--with-secrets").out == exported
    assert inside("verify", "--json").json["findings"] == {}
    assert inside("import", "-", stdin=exported).lines == ["users: 2 unchanged", "documents: 6 unchanged"]


def test_a_masked_secret_without_a_current_one_is_said(inside: Cli, tmp_path: Path) -> None:
    document = {"signal_bot_token": "********", "leverage": 3}
    file = written(tmp_path / "in.json", {"okx_uid": OKX_UID, "settings": {"params": document}})
    for arguments in (["--dry-run"], []):
        result = inside.run("import", file, *arguments)
        assert result.code == 0
        assert result.err == "1 masked secrets without a current value were left out\n" + INCOMPLETE
    assert inside("get", OKX_UID, "params", "--json").json["settings"] == {"leverage": 3}
    assert inside("import", file, "--json").json["left_out"] == 1


def test_a_dry_run_shows_what_would_change_and_writes_nothing(
    inside: Cli, secret: str, db: Db, redis: redis_py.Redis, tmp_path: Path
) -> None:
    inside("set", secret, "preferences", "symbol=A", "timeframe=1m", "gone=1", "--replace")
    inside("set", secret, "params", f"signal_bot_token={SECRET}", "--replace")
    settings = {
        "preferences": {"symbol": "B", "timeframe": "1m", "note": {"k": "롱"}},
        "params": {"signal_bot_token": "y", "note": 1},
    }
    users = [{"okx_uid": OKX_UID, "settings": settings}, {"okx_uid": OTHER, "name": "Lee", "settings": {"params": {}}}]
    file = written(tmp_path / "in.json", *users)
    with unchanged(db, redis):
        result = inside.run("import", file, "--dry-run")
        assert (result.code, result.err) == (0, "2 documents without keys that the catalogue lists\n")
        effects = inside("import", file, "--dry-run", "--json").json
    assert SECRET not in result.out
    assert result.lines == [
        f"{OTHER} user: new",
        f"{OTHER} params: new",
        f"{OKX_UID} params: changed",
        "  + note: 1",
        '  ~ signal_bot_token: "********" -> "********"',
        f"{OKX_UID} preferences: changed",
        "  - gone: 1",
        '  + note: {"k": "롱"}',
        '  ~ symbol: "A" -> "B"',
        "users: 1 would be new, 1 would be unchanged",
        "documents: 2 would be changed, 1 would be new",
    ]
    assert effects["dry_run"] is True
    assert [(each["okx_uid"], each["setting_type"], each["outcome"]) for each in effects["effects"]] == [
        (OTHER, None, "new"), (OTHER, "params", "new"),
        (OKX_UID, "params", "changed"), (OKX_UID, "preferences", "changed"),
    ]  # fmt: skip
    assert SECRET not in json.dumps(effects)


def test_a_problem_is_named_and_nothing_is_written(
    inside: Cli, kim: str, db: Db, redis: redis_py.Redis, tmp_path: Path
) -> None:
    users = [{"okx_uid": OTHER, "settings": {}}, {"okx_uid": OKX_UID, "settings": {"params": {"leverage": SECRET}}}]
    file = written(tmp_path / "in.json", *users)
    with unchanged(db, redis):
        for arguments in ([], ["--dry-run"], ["--json"]):
            error = inside.fails(1, "import", file, *arguments)
            assert error.splitlines() == [
                "Error: the file was rejected as a whole: 1 problem; nothing was changed",
                f"  line 13: {OKX_UID}, params.leverage: must be of type integer, not string",
            ]


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"[]", b"{" * 50_000, b'{"a": NaN}', b'{"\\ud800": 1, "\\ud800": 2}', b"\x1b[2J" * 10_000,
     b"\xef\xbb\xbf"],
    ids=["nothing", "not UTF-8", "a list", "deep", "NaN", "a surrogate twice", "noise", "a byte order mark"],
)  # fmt: skip
def test_what_is_no_export_is_one_clear_error(inside: Cli, kim: str, data: bytes) -> None:
    error = inside.fails(1, "import", "-", stdin=data)
    assert error.startswith("Error: not an export\n  line 1: ")
    assert len(error) < 300
    assert error.replace("\n", "").isprintable()


def test_a_file_that_is_not_there_is_a_usage_error(inside: Cli, tmp_path: Path) -> None:
    for place in (tmp_path / "missing.json", tmp_path):
        inside.fails(2, "import", str(place))


def test_versions_bear_the_user_of_the_system_and_imported_unless_told(
    inside: Cli, kim: str, db: Db, tmp_path: Path
) -> None:
    def imported(leverage: int, *arguments: str, **env: str) -> tuple[str, str]:
        file = written(tmp_path / "in.json", {"okx_uid": kim, "settings": {"params": {"leverage": leverage}}})
        assert inside.run("import", file, *arguments, **env).code == 0
        row = db.execute(
            "select changed_by, change_reason from user_settings where setting_type = 'params' and is_active"
        ).fetchone()
        assert row
        return row["changed_by"], row["change_reason"]

    assert imported(2) == (getpass.getuser(), "imported")
    assert imported(3, SETTINGS_STORE_ACTOR="service") == ("service", "imported")
    assert imported(4, "--actor", "ops", "--reason", "from staging") == ("ops", "from staging")


def test_without_redis_an_import_succeeds_and_says_so(inside: Cli, kim: str, tmp_path: Path) -> None:
    file = written(tmp_path / "in.json", {"okx_uid": kim, "settings": {"params": {"leverage": 3}}})
    result = inside.run("import", file, REDIS_URL=NO_REDIS)
    assert (result.code, result.err) == (0, f"{INCOMPLETE}Redis will get it from the relay\n")
    assert result.lines == ["users: 1 unchanged", "documents: 1 changed"]
    inside("relay", "--once")
    assert inside("get", kim, "params", "--json", "--source", "redis").json["settings"] == {"leverage": 3}
    assert inside("verify", "--json").json["findings"] == {}
