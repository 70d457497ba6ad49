"""The main job by the command line: schema, users, settings; what is printed and the exit codes."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py

from tests.cli.conftest import Cli
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.roles import in_role

OTHER = "1000000000000001"
DOCUMENT_KEYS = {"okx_uid", "telegram_id", "setting_type", "symbol", "version", "settings", "updated_at", "source"}


def test_an_empty_database_is_brought_up_told_about_and_rolled_back(inside: Cli, empty_database_url: str) -> None:
    inside.env["DATABASE_URL"] = empty_database_url
    pending = inside.run("migrate", "status", "--json")
    assert (pending.code, pending.json["applied"], pending.err) == (1, [], "")
    assert "settings-store migrate" in inside.fails(1, "get", OKX_UID, "params", "--source", "db")

    applied = inside("migrate", "apply")
    assert [line.removeprefix("applied ") for line in applied.lines[:-1]] == pending.json["pending"]
    assert inside("migrate").lines == ["the database is up to date"]
    assert inside("migrate", "status", "--json").json == {
        "applied": pending.json["pending"],
        "pending": [],
        "drifted": {},
    }

    refused = inside.run("migrate", "rollback", stdin="n\n")
    assert (refused.code, refused.err.strip()) == (1, "Aborted!")
    newest = pending.json["pending"][-1]
    assert inside("migrate", "rollback", "--yes").lines == [f"rolled back {newest}"]
    half = inside.run("migrate", "status")
    assert (half.code, half.lines[-1].split()) == (1, [newest, "pending"])
    inside.run("register", OKX_UID)
    asked = inside.run("migrate", "rollback", "--all", stdin="n\n").out
    assert "Database host=" in asked
    assert f"Rolled back: {', '.join(reversed(pending.json['pending'][:-1]))}\n" in asked
    assert "Rows lost: app_users: 0" in asked
    rolled_back = inside("migrate", "rollback", "--all", "--yes").lines
    assert rolled_back == [f"rolled back {name}" for name in reversed(pending.json["pending"][:-1])]
    assert inside("migrate").lines[-1] == "the database is up to date"


def test_an_object_changed_in_the_database_is_told_by_migrate_status(
    inside: Cli, db: psycopg.Connection[dict[str, Any]]
) -> None:
    db.execute("drop function find_user cascade")
    drifted = inside.run("migrate", "status")
    assert drifted.code == 1
    assert [line.split(maxsplit=1) for line in drifted.lines if "find_user" in line] == [
        ["users/find_user.sql", "changed in the database since it was applied"]
    ]
    inside("migrate")
    assert inside("migrate", "status", "--json").json["drifted"] == {}


def test_register_saves_the_defaults_once(cli: Cli, redis: redis_py.Redis) -> None:
    said = cli("register", OKX_UID, "--telegram-id", TELEGRAM_ID, "--name", "김", "--telegram-username", "kim")
    assert said.lines == [
        f"registered {OKX_UID} (Telegram {TELEGRAM_ID})",
        *(f"{name}: version 1, in PostgreSQL and Redis" for name in ("dual_side", "params", "preferences")),
    ]
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID
    cli("set", OKX_UID, "params", "leverage=3")
    again = cli("register", OKX_UID, "--json").json
    assert (again["user"]["name"], again["user"]["telegram_username"]) == ("김", "kim")
    assert [(s["setting_type"], s["version"], len(s["settings"])) for s in again["settings"]] == [
        ("dual_side", 1, 13), ("params", 2, 50), ("preferences", 1, 2),
    ]  # fmt: skip


def test_get_prints_one_object_of_a_type_and_a_list_of_all(inside: Cli, kim: str) -> None:
    setting = inside("get", kim, "preferences", "--json").json
    assert set(setting) == DOCUMENT_KEYS
    assert datetime.fromisoformat(setting.pop("updated_at")).tzinfo is not None
    assert setting == {
        "okx_uid": kim, "telegram_id": TELEGRAM_ID, "symbol": None, "setting_type": "preferences", "version": 1,
        "settings": {"timeframe": "1m", "symbol": "BTC-USDT-SWAP"}, "source": "redis",
    }  # fmt: skip
    every = inside("get", TELEGRAM_ID, "--json").json
    assert [s["setting_type"] for s in every] == ["dual_side", "params", "preferences"]
    assert all(set(s) == DOCUMENT_KEYS for s in every)


def test_get_asks_the_store_that_it_is_told_to(inside: Cli, kim: str, redis: redis_py.Redis) -> None:
    sources = [inside("get", kim, "params", "--json", "--source", s).json["source"] for s in ("auto", "redis", "db")]
    assert sources == ["redis", "redis", "db"]
    redis.flushall()
    assert "no params" in inside.fails(1, "get", kim, "params", "--source", "redis")
    assert redis.keys("*") == []
    assert inside("get", kim, "params", "--json").json["source"] == "db"
    assert inside("get", kim, "params", "--json").json["source"] == "redis"


def test_get_in_words_shows_every_value_as_json(cli: Cli, kim: str) -> None:
    head, *rows = cli("get", kim, "preferences").lines
    assert head.startswith("preferences · version 1 · ")
    assert head.endswith(" · from redis")
    assert sorted(row.split() for row in rows) == [["symbol", '"BTC-USDT-SWAP"'], ["timeframe", '"1m"']]


def test_what_is_piped_has_no_colour_no_wrapping_and_no_trailing_blanks(inside: Cli, kim: str) -> None:
    inside("set", kim, "params", "note=" + "가나다 " * 100 + "끝")
    for command in (
        ["get", kim],
        ["user", "list"],
        ["search", "params", "leverage=10"],
        ["status"],
        ["migrate", "status"],
    ):
        out = inside(*command).out
        assert "\x1b" not in out
        assert [line for line in out.splitlines() if line != line.rstrip()] == []
    assert len([line for line in inside("get", kim, "params").lines if "끝" in line]) == 1


def test_nothing_found_is_exit_code_1_with_a_line_on_stderr(inside: Cli, kim: str) -> None:
    assert OTHER in inside.fails(1, "get", OTHER, "params")
    assert OTHER in inside.fails(1, "get", OTHER)
    assert OTHER in inside.fails(1, "user", "find", OTHER)
    assert OTHER in inside.fails(1, "set", OTHER, "params", "leverage=1")
    assert "dual_side, params, preferences" in inside.fails(1, "get", kim, "nonsense")
    nobody = inside.run("search", "params", "leverage=99", "--json")
    assert (nobody.code, nobody.json) == (0, [])


def test_set_takes_values_as_json_where_they_parse_else_as_text(inside: Cli, kim: str) -> None:
    said = inside("set", kim, "params", "leverage=20", "direction=롱", "use_sl=true", 'symbol_investments={"BTC": 1.5}',
               "note=a=b c", 'quoted="20"', "list=[1, null]")  # fmt: skip
    assert said.lines == ["params: version 2, in PostgreSQL and Redis"]
    settings = inside("get", kim, "params", "--json").json["settings"]
    assert len(settings) == 53
    expected = {"leverage": 20, "direction": "롱", "use_sl": True, "symbol_investments": {"BTC": 1.5}, "note": "a=b c",
                "quoted": "20", "list": [1, None]}  # fmt: skip
    assert {key: settings[key] for key in expected} == expected


def test_null_removes_a_key_but_puts_the_default_of_a_listed_one_back(inside: Cli, kim: str) -> None:
    inside("set", kim, "preferences", "symbol=ETH-USDT-SWAP", "note=1")
    saved = inside("set", kim, "preferences", "symbol=null", "note=null", "--json").json
    assert (saved["version"], saved["settings"]) == (3, {"timeframe": "1m", "symbol": "BTC-USDT-SWAP"})
    assert (saved["mirrored"], saved["missing_keys"]) == (True, [])


def test_a_document_without_listed_keys_is_saved_and_told_and_filled_by_register(inside: Cli, kim: str) -> None:
    lines = inside("set", kim, "preferences", "--replace", "symbol=ETH-USDT-SWAP").lines
    assert lines == [
        "preferences: version 2, in PostgreSQL and Redis",
        "  without timeframe, which the catalogue lists: settings-store register fills them",
    ]
    assert "and 39 more, which" in inside("set", kim, "params", "--replace", "leverage=3").lines[1]
    saved = inside("set", kim, "params", "--replace", "leverage=2", "--json").json
    assert (saved["settings"], len(saved["missing_keys"])) == ({"leverage": 2}, 49)
    found = {one["setting_type"]: one for one in inside("register", kim, "--json").json["settings"]}
    assert (found["params"]["version"], len(found["params"]["settings"])) == (4, 50)
    assert (found["params"]["settings"]["leverage"], found["preferences"]["missing_keys"]) == (2, [])


def test_a_number_keeps_every_digit(inside: Cli, kim: str, db: psycopg.Connection[dict[str, Any]]) -> None:
    digits = "0.123456789012345678901234567890"
    inside("set", kim, "params", f"?a={digits}")
    inside("set", kim, "params", "--stdin", stdin=f'{{"?b": [{digits}]}}')
    row = db.execute(
        "select settings ->> '?a' as a, settings #>> '{?b,0}' as b from get_user_settings(%s, 'params')", (kim,)
    )
    assert row.fetchall() == [{"a": digits, "b": digits}]


def test_set_reads_an_object_from_a_file_or_standard_input(inside: Cli, kim: str, tmp_path: Path) -> None:
    file = tmp_path / "설정.json"
    file.write_text('{"direction": "숏", "symbol_investments": {"ETH": 2}}')
    merged = inside("set", kim, "params", "--file", str(file), "--json").json
    assert (len(merged["settings"]), merged["settings"]["direction"]) == (50, "숏")
    replaced = inside("set", kim, "params", "--stdin", "--replace", "--json", stdin='{"direction": "롱숏"}').json
    assert (replaced["version"], replaced["settings"]) == (3, {"direction": "롱숏"})
    assert inside("set", kim, "params", "--file", "-", "--json", stdin='{"leverage": 2}').json["version"] == 4


def test_what_get_prints_can_be_saved_again(cli: Cli, kim: str) -> None:
    printed = json.dumps(cli("get", kim, "params", "--json").json["settings"])
    assert cli("set", kim, "params", "--stdin", "--replace", "--json", stdin=printed).json["version"] == 1


def test_an_expected_version_that_is_not_the_current_one_saves_nothing(inside: Cli, kim: str) -> None:
    assert inside("set", kim, "params", "leverage=2", "--expect-version", "1", "--json").json["version"] == 2
    for extra in ([], ["--replace"]):
        conflict = inside.fails(1, "set", kim, "params", "leverage=3", "--expect-version", "1", *extra)
        assert "version conflict" in conflict
        assert "current version 2" in conflict
    assert inside("get", kim, "params", "--json", "--source", "db").json["settings"]["leverage"] == 2


def test_who_and_why_are_kept_with_the_version(inside: Cli, kim: str, db: psycopg.Connection[dict[str, Any]]) -> None:
    inside("set", kim, "params", "leverage=2", "--reason", "위험 줄이기", "--actor", "ops")
    assert inside.run("set", kim, "params", "leverage=3", SETTINGS_STORE_ACTOR="night-shift").code == 0
    rows = db.execute(
        "select changed_by, change_reason from user_settings where version > 1 order by version"
    ).fetchall()
    assert [tuple(row.values()) for row in rows] == [("ops", "위험 줄이기"), ("night-shift", None)]


def test_who_writes_is_the_option_else_the_variable_else_the_user_of_the_system(
    inside: Cli, kim: str, db: psycopg.Connection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def written_by(*options: str, **env: str) -> tuple[str, str | None, bool]:
        result = inside.run("set", kim, "params", f"leverage={next(leverage)}", *options, **env)
        assert result.code == 0, result
        row = db.execute("select *, session_user from user_settings order by updated_at desc limit 1").fetchone()
        assert row is not None
        return row["changed_by"], row["change_reason"], row["changed_by"] == row["session_user"]

    leverage = iter(range(2, 10))
    system = {"LOGNAME": "os-kim"}
    assert written_by(**system) == ("os-kim", None, False)
    assert written_by(**system, SETTINGS_STORE_ACTOR="night-shift") == ("night-shift", None, False)
    assert written_by("--actor", "ops", **system, SETTINGS_STORE_ACTOR="night-shift") == ("ops", None, False)
    assert written_by("--reason", "less risk", **system) == ("os-kim", "less risk", False)

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert written_by()[1:] == (None, True)


def test_every_command_that_writes_keeps_who_and_why(inside: Cli, db: psycopg.Connection[dict[str, Any]]) -> None:
    who = ("--actor", "ops", "--reason", "a request")
    for words in (
        ("register", OKX_UID),
        ("user", "link", OKX_UID, TELEGRAM_ID),
        ("user", "unlink", OKX_UID),
        ("user", "delete", OKX_UID, "--yes"),
    ):
        inside(*words, *who)
    rows = db.execute("select changed_by, change_reason, deleted_at is null as alive from user_settings").fetchall()
    assert {tuple(row.values()) for row in rows} == {("ops", "a request", True), ("ops", "a request", False)}


def test_every_bad_key_is_named_with_the_reason_and_without_the_value(inside: Cli, kim: str) -> None:
    error = inside.fails(
        1, "set", kim, "params", "leverage=987654", "direction=sideways", "use_sl=1", "cooldown_time=5"
    )
    lines = error.splitlines()
    assert lines[0] == "Error: invalid settings for params"
    assert sorted(line.split(":")[0].strip() for line in lines[1:]) == ["direction", "leverage", "use_sl"]
    assert not any(value in error for value in ("987654", "sideways"))


def test_users_are_found_listed_linked_unlinked_and_deleted(inside: Cli, kim: str, redis: redis_py.Redis) -> None:
    inside("register", OTHER)
    found = inside("user", "find", TELEGRAM_ID, "--json").json
    assert (found["okx_uid"], found["telegram_id"], found["name"]) == (kim, TELEGRAM_ID, "Kim")
    assert inside("user", "find", found["id"], "--json").json == found
    assert [row.split()[0] for row in inside("user", "list").lines] == ["okx_uid", OTHER, kim]
    assert [u["okx_uid"] for u in inside("user", "list", "--after", OTHER, "--json").json] == [kim]
    assert [u["okx_uid"] for u in inside.run("user", "list", "--limit", "1", "--json").json] == [OTHER]

    assert "linked" in inside.fails(1, "user", "link", OTHER, TELEGRAM_ID)
    assert inside("user", "link", kim, "99999", "--json").json["telegram_id"] == "99999"
    assert (redis.get("user:99999:okx_uid"), redis.get(f"user:{TELEGRAM_ID}:okx_uid")) == (kim, None)
    assert inside("user", "unlink", "99999", "--json").json["telegram_id"] is None
    assert inside("user", "link", OTHER, "99999", "--json").json["okx_uid"] == OTHER

    kept = inside.run("user", "delete", kim, stdin="n\n")
    assert (kept.code, kept.err.strip()) == (1, "Aborted!")
    deleted = inside("user", "delete", kim, "--yes").lines
    assert deleted == [f"deleted {kim}; back again: settings-store user restore {kim}"]
    assert inside("user", "list", "--deleted", "--json").json[0]["okx_uid"] == kim
    assert kim in inside.fails(1, "user", "find", kim)
    assert redis.exists(f"user:{kim}:settings") == 0


def test_search_finds_who_holds_all_the_values(inside: Cli, kim: str) -> None:
    inside("register", OTHER)
    inside("set", kim, "params", "leverage=33", "direction=롱")
    assert [s["okx_uid"] for s in inside("search", "params", "leverage=33", "direction=롱", "--json").json] == [kim]
    assert inside("search", "params", "leverage=33", "direction=숏", "--json").json == []
    head, row = inside("search", "params", "leverage=33").lines
    assert head.split() == ["okx_uid", "telegram_id", "version", "updated_at"]
    assert row.split()[:3] == [kim, TELEGRAM_ID, "2"]
    both = ["search", "preferences", "timeframe=1m", "--json"]
    assert [s["okx_uid"] for s in inside.run(*both, "--limit", "1").json] == [OTHER]
    assert [s["okx_uid"] for s in inside(*both, "--after", OTHER).json] == [kim]


def test_each_login_needs_its_role_only_and_is_told_if_it_lacks_one(inside: Cli, kim: str) -> None:
    url = inside.env["DATABASE_URL"]
    inside.env["DATABASE_URL"] = in_role(url, "relay")
    inside("relay", "--once")
    inside("verify")
    assert "pending" in inside("status").out
    error = inside.fails(1, "set", kim, "params", "leverage=20")
    assert error.splitlines()[0] == "Error: not permitted: permission denied for function patch_user_setting"
    assert "settings_writer" in error
    inside.env["DATABASE_URL"] = in_role(url, "writer", confined_to=kim)
    inside("set", kim, "params", "leverage=20")
    assert "confined to one user" in inside.fails(1, "get", OTHER, "params", "--source", "db")
    assert [user["okx_uid"] for user in inside("user", "list", "--json").json] == [kim]


def test_what_get_prints_as_json_can_be_given_to_set_as_it_is(inside: Cli, kim: str, tmp_path: Path) -> None:
    file = tmp_path / "params.json"
    file.write_text(inside("get", kim, "params", "--json").out.replace('"leverage": 10', '"leverage": 11'))
    saved = inside("set", kim, "params", "--file", str(file), "--replace", "--json").json
    assert (saved["version"], saved["settings"]["leverage"], len(saved["settings"])) == (2, 11, 50)
    assert "no dual_side" in inside.fails(1, "set", kim, "dual_side", "--file", str(file), "--replace")


def test_a_key_given_twice_is_a_wrong_usage(inside: Cli, kim: str) -> None:
    result = inside.run("set", kim, "params", "leverage=1", "leverage=2")
    assert (result.code, "twice" in result.err) == (2, True)


def test_watch_tells_that_redis_can_not_be_reached(inside: Cli) -> None:
    found = inside.run("watch", REDIS_URL="redis://127.0.0.1:1")
    assert (found.code, found.is_one_clear_error()) == (3, True)
