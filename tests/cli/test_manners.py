"""What people expect of any command line: no tracebacks, completion, pipes, words that help."""

from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import redis as redis_py

from store import SettingsStore
from tests.cli.conftest import Cli
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.roles import in_role

MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d\S*")


def test_a_mistake_of_the_program_is_one_line_and_a_traceback_only_on_demand(
    inside: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(*_: object) -> None:
        raise LookupError("s3cr3t")

    monkeypatch.setattr(SettingsStore, "find_user", mistake)
    found = inside.run("user", "find", OKX_UID)
    assert (found.code, found.out, found.err.count("\n")) == (1, "", 1)
    assert "unexpected LookupError" in found.err
    assert "--debug" in found.err
    assert "s3cr3t" not in found.err
    assert 'raise LookupError("s3cr3t")' in inside.run("--debug", "user", "find", OKX_UID).err


def test_debug_shows_where_an_error_comes_from(inside: Cli) -> None:
    assert "Traceback" not in inside.fails(1, "get", OKX_UID, "--source", "db")
    for found in (
        inside.run("--debug", "get", OKX_UID, "--source", "db"),
        inside.run("get", OKX_UID, "--source", "db", SETTINGS_STORE_DEBUG="1"),
    ):
        assert found.code == 1
        assert "Traceback" in found.err
        assert found.err.splitlines()[-3].startswith("Error: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(inside: Cli, shell: str) -> None:
    assert "_SETTINGS_STORE_COMPLETE" in inside("completion", shell).out


@pytest.mark.parametrize(
    ("line", "words"),
    [("settings-store ver", {"verify"}), ("settings-store user l", {"list", "link"}),
     ("settings-store get 1 p", {"preferences", "params"}), ("settings-store get --so", {"--source"})],
)  # fmt: skip
def test_words_are_completed(cli: Cli, line: str, words: set[str]) -> None:
    count = len(line.split()) - 1
    found = cli.run(_SETTINGS_STORE_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(count))
    assert {entry.split(",")[1] for entry in found.out.split()} == words


@pytest.mark.parametrize("line", ["--help", "user list", "history {uid}", "export --all", "verify", "trades stats",
                                  "template list", "diff {uid} params 1 2", "status"])  # fmt: skip
def test_a_pipe_that_nobody_reads_is_no_traceback(cli: Cli, inside: Cli, kim: str, line: str) -> None:
    inside("set", kim, "params", "leverage=2")
    read, write = os.pipe()
    os.close(read)
    words = line.format(uid=kim).split()
    done = subprocess.run([*cli.command, *words], stdout=write, stderr=subprocess.PIPE, env=cli.env, check=False)
    os.close(write)
    assert (done.returncode in (0, 1), done.stderr) == (True, b"")


def test_every_time_is_written_in_one_form(inside: Cli, kim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    inside.env["PGTZ"] = "Asia/Kathmandu"
    inside("template", "save", "careful", "params", "leverage=3")
    trade = (
        "symbol=BTC side=long entry_time=2026-11-22T10:00+09:00 entry_price=1 entry_size=1 exit_price=2 exit_size=1"
        " exit_time=2026-11-22T11:00+09:00 realized_pnl=0.0 exit_order_id=1"
    )
    inside("trades", "add", kim, *trade.split())
    stamps = []
    for line in ("get {}", "history {}", "search params leverage=10", "template list", "user find {}", "trades list {}",
                 "trades stats {}"):  # fmt: skip
        for form in ([], ["--json"]):
            found = MOMENT.findall(inside(*line.format(kim).split(), *form).out)
            assert found, line
            stamps += [text.rstrip('",') for text in found]
    for text in stamps:
        assert datetime.fromisoformat(text).isoformat() == text
        assert datetime.fromisoformat(text).utcoffset() == timedelta(0)
    figures = dict(line.split(maxsplit=1) for line in inside("trades", "stats", kim).lines if " " in line.strip())
    assert (figures["max_drawdown"].strip(), figures["net_pnl"].strip()) == ("0", "0")


def test_a_user_who_is_there_already_is_not_said_to_be_registered_anew(inside: Cli) -> None:
    assert inside("register", OKX_UID).lines[0] == f"registered {OKX_UID}"
    assert inside("register", OKX_UID, "--telegram-id", TELEGRAM_ID).lines[0] == (
        f"registered already: {OKX_UID} (Telegram {TELEGRAM_ID})"
    )
    assert inside("register", OKX_UID, "--json").json["is_new"] is False


def test_deleted_users_are_listed_until_they_are_restored(inside: Cli, kim: str) -> None:
    assert inside("user", "list", "--deleted", "--json").json == []
    inside("user", "delete", kim, "--yes")
    assert inside("user", "list", "--json").json == []
    (gone,) = inside("user", "list", "--deleted", "--json").json
    assert (gone["okx_uid"], gone["deleted_at"] is not None) == (kim, True)
    assert inside("user", "list", "--deleted").lines[1].split()[0] == kim
    assert inside("user", "list", "--deleted", "--after", kim, "--json").json == []
    inside("user", "restore", kim)
    assert inside("user", "list", "--deleted", "--json").json == []


@pytest.mark.parametrize(
    ("role", "line", "needed"),
    [("relay", "set {} params leverage=2", "settings_writer"), ("reader", "user delete {} --yes", "settings_writer"),
     ("relay", "user list", "settings_reader"), ("writer", "prune --keep 1 --older-than 0", "settings_admin"),
     ("reader", "relay --once", "settings_relay")],
)  # fmt: skip
def test_who_lacks_a_role_is_told_which(inside: Cli, kim: str, role: str, line: str, needed: str) -> None:
    inside.env["DATABASE_URL"] = in_role(inside.env["DATABASE_URL"], role)
    assert f"grant {needed} to the login" in inside.fails(1, *line.format(kim).split())


def test_what_was_pruned_is_told_from_what_never_was(
    inside: Cli, kim: str, db: psycopg.Connection[dict[str, object]]
) -> None:
    registered = db.execute("select updated_at from user_settings where setting_type = 'params'").fetchone()
    assert registered is not None
    for leverage in (2, 3, 4):
        inside("set", kim, "params", f"leverage={leverage}")
    inside("prune", "--keep", "1", "--older-than", "0")
    then = inside.fails(1, "get", kim, "params", "--at", str(registered["updated_at"]))
    assert "was pruned" in then
    assert re.search(r"kept from then on: params version 4 of \d{4}-\d\d-\d\dT\S+\+00:00$", then.strip(), re.MULTILINE)
    before = inside.fails(1, "get", kim, "params", "--at", "2020-01-01")
    assert "pruned" not in before
    assert re.search(r"the oldest version there is was saved at \d{4}-\d\d-\d\dT\S+\+00:00", before)


def test_what_names_no_way_out_is_told_or_refused(inside: Cli, kim: str, redis: redis_py.Redis, tmp_path: Path) -> None:
    redis.set(f"user:{kim}:settings", '{"leverage": 1000}')
    assert "put back by: settings-store verify --repair" in inside.run("sync").err
    assert "put back" not in inside.run("sync", "--json").err
    assert "name a file" in inside.fails(2, "backup", "-")
    assert "--log-format json" in inside.fails(2, "relay", "--json")
    assert inside("export", kim, "-o", "-").json["users"][0]["okx_uid"] == kim


def test_a_key_that_looks_mistyped_is_saved_and_told(
    inside: Cli, kim: str, db: psycopg.Connection[dict[str, object]]
) -> None:
    note = "leverag is saved as it is: not in the catalogue. Did you mean leverage?\n"
    assert inside.run("set", kim, "params", "leverag=20").err == note
    assert inside.run("set", kim, "params", "leverag=21", "--json").err == note
    assert inside.run("set", kim, "params", "leverage=20", "strategy=mine").err == ""
    assert inside.run("set", kim, "params", "leverag=null").err == ""
    db.execute("insert into setting_types values ('extra', 'extra', 'json')")
    assert inside.run("set", kim, "extra", "leverag=20").err == ""


def test_sync_says_how_many_keys_it_does_not_name(
    inside: Cli, kim: str, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.operations.service.KEYS_NAMED", 1)
    for kind, key in (("preferences", "timeframe"), ("dual_side", "dual_side_entry_trigger")):
        redis.hset(f"user:{kim}:{kind}", key, "5m" if key == "timeframe" else "5")
    found = json.loads(inside.run("sync", "--dry-run", "--json").out)
    assert (len(found["keys"]), found["unnamed"]) == (1, 1)
    assert "… and 1 more" in inside("sync", "--dry-run").lines
