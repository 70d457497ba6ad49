"""Templates by the command line: what is printed, exit codes, secrets, Redis afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store import Config, InvalidArgument, SettingsStore
from tests.cli.conftest import Cli
from tests.conftest import OKX_UID, TELEGRAM_ID

LEE = "1000000000000001"
NO_REDIS = "unix:///nonexistent/redis.sock"
SECRET = "hush-4711"
MASK = "********"


@pytest.fixture
def lee(inside: Cli, kim: str) -> str:
    """Another user, with a secret; and the template careful."""
    inside("register", LEE)
    inside("set", LEE, "params", f"signal_bot_token={SECRET}")
    inside("template", "save", "careful", "params", "leverage=3", "use_sl=true", "--actor", "ops")
    return LEE


def leverage(inside: Cli, uid: str, source: str = "redis") -> Any:
    return inside("get", uid, "params", "--json", "--source", source).json["settings"]["leverage"]


def test_templates_are_saved_listed_shown_and_deleted(inside: Cli, lee: str) -> None:
    said = inside("template", "save", "careful", "preferences", "timeframe=5m")
    assert said.lines == ["saved template careful for preferences, 1 key"]
    rows = [line.split() for line in inside("template", "list").lines]
    assert rows[0] == ["name", "type", "keys", "saved", "by", "saved", "at"]
    assert [row[:4] for row in rows[1:3]] == [
        ["careful", "params", "2", "ops"],
        ["careful", "preferences", "1", rows[2][3]],
    ]
    assert [row[:3] for row in rows[3:]] == [
        ["default", "dual_side", "13"], ["default", "params", "50"], ["default", "preferences", "2"]
    ]  # fmt: skip
    assert [one["name"] for one in inside("template", "list", "--json").json] == ["careful"] * 2 + ["default"] * 3
    assert inside("template", "show", "careful", "params").lines == [
        "careful for params", "use_sl    true", "leverage  3"
    ]  # fmt: skip
    (shown,) = inside("template", "show", "careful", "params", "--json").json
    assert (shown["settings"], shown["changed_by"]) == ({"leverage": 3, "use_sl": True}, "ops")
    assert inside("template", "delete", "careful", "params").lines == ["deleted template careful (1 setting type)"]
    assert inside("template", "delete", "careful").lines == ["deleted template careful (1 setting type)"]
    for command in (["show", "careful"], ["delete", "careful"], ["apply", "careful", "params", lee],
                    ["preview", "careful", "params", "--all"], ["show", "default", "nonsense"],
                    ["delete", "default"]):  # fmt: skip
        inside.fails(1, "template", *command)


def test_a_template_is_read_from_a_file(inside: Cli, kim: str) -> None:
    saved = inside("template", "save", "x", "params", "--file", "-", "--json", stdin='{"direction": "숏"}').json
    assert saved["settings"] == {"direction": "숏"}
    assert "not JSON" in inside.fails(1, "template", "save", "x", "params", "--file", "-", stdin="direction: 숏")


def test_wrong_combinations_of_arguments_are_usage_errors(inside: Cli, lee: str) -> None:
    for words in (
        ["save", "x", "params"], ["save", "x", "params", "a=1", "--from", lee], ["save", "x", "params", "a"],
        ["apply", "careful", "params"], ["apply", "careful", "params", lee, "--all"],
        ["apply", "careful", "params", lee, "--where", "leverage=10"], ["apply", "careful", "params", "--where", "x"],
        ["apply", "careful", "params", "--all", "--where", "leverage=10"], ["preview", "careful", "params"],
        ["preview", "careful"],
    ):  # fmt: skip
        inside.fails(2, "template", *words)
    assert leverage(inside, lee) == 10


def test_hostile_names_are_refused_with_one_clear_line(inside: Cli, cli: Cli, lee: str) -> None:
    for name in ("", "a b", "x" * 65, "a\nb", "a\x1b[31m", "default", "\u2028"):
        error = inside.fails(1, "template", "save", name, "params", "leverage=3")
        assert "name" in error
        assert "\x1b" not in error
    cli.fails(1, "template", "save", b"\xff", "params", "leverage=3")
    for name in ("a b", "a\nb", "'; --", "x" * 65):
        for words in (["show", name], ["delete", name], ["apply", name, "params", lee]):
            inside.fails(1, "template", *words)
        inside.fails(1, "register", "1000000000000009", "--template", name)
    for name in ("x'y", 'x"y', "%s", "[bold]x[/bold]", "조심", "{}"):
        assert inside("template", "save", name, "params", "leverage=4").lines == [
            f"saved template {name} for params, 1 key"
        ]
        assert inside("template", "show", name).lines[0] == f"{name} for params"
        assert inside("template", "apply", name, "params", lee).lines[-1].endswith("have it so already")
        assert inside("template", "delete", name).lines == [f"deleted template {name} (1 setting type)"]


@pytest.mark.parametrize("name", ["a\0b", "", 5, None])
async def test_what_cannot_be_a_name_is_an_invalid_argument_in_python(config: Config, name: Any) -> None:
    async with SettingsStore(config) as store:
        with pytest.raises(InvalidArgument):
            await store.save_template(name, "params", {})


def test_a_preview_shows_whose_settings_would_change_and_applying_does_that(
    inside: Cli, lee: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    inside("set", lee, "params", "leverage=3", "use_sl=true")
    before = db.execute("select * from user_settings order by id").fetchall()
    preview = inside("template", "preview", "careful", "params", "--all")
    assert preview.lines == [
        f"{OKX_UID} params version 1",
        "  ~ leverage: 10 -> 3",
        "  ~ use_sl: false -> true",
        "1 user would change, 1 have it so already",
    ]
    effects = inside("template", "preview", "careful", "params", lee, TELEGRAM_ID, "--json").json
    assert db.execute("select * from user_settings order by id").fetchall() == before
    assert db.execute("select * from mirror_pending").fetchall() == []

    applied = inside("template", "apply", "careful", "params", lee, TELEGRAM_ID, "--json").json
    assert [(effect["okx_uid"], effect["version"]) for effect in effects] == [(lee, 3), (OKX_UID, 1)]
    assert [(effect["okx_uid"], effect["version"]) for effect in applied] == [(lee, 3), (OKX_UID, 2)]
    assert [effect["changes"] for effect in applied] == [effect["changes"] for effect in effects]
    assert applied[0]["changes"] == []
    assert set(applied[1]) == {"okx_uid", "setting_type", "symbol", "version", "changes", "missing_keys"}
    assert applied[1]["changes"][0] == {"key": "leverage", "change": "changed", "old": 10, "new": 3}


def test_after_applying_redis_has_everything(inside: Cli, lee: str, kim: str) -> None:
    assert inside("template", "apply", "careful", "params", "--where", "leverage=10").lines == [
        "2 users changed, 0 have it so already"
    ]
    assert [leverage(inside, uid) for uid in (lee, kim)] == [3, 3]
    inside("verify")
    assert inside("status", "--json").json["postgresql"]["pending"] == 0


def test_who_and_why_are_kept(inside: Cli, lee: str) -> None:
    inside("template", "apply", "careful", "params", lee, "--actor", "ops", "--reason", "less risk for all")
    inside("template", "apply", "default", "params", lee, "--actor", "kim")
    newest, before, *_ = inside("history", lee, "params", "--json").json
    assert (newest["changed_by"], newest["change_reason"]) == ("kim", "template default")
    assert (before["changed_by"], before["change_reason"]) == ("ops", "less risk for all")


def test_with_redis_down_it_is_applied_and_redis_follows(inside: Cli, lee: str, redis: redis_py.Redis) -> None:
    before = redis.get(f"user:{lee}:settings")
    applied = inside.run("template", "apply", "careful", "params", "--all", REDIS_URL=NO_REDIS)
    assert (applied.code, applied.err) == (0, "")
    assert applied.lines == ["2 users changed, 0 have it so already"]
    assert (leverage(inside, lee, "db"), redis.get(f"user:{lee}:settings")) == (3, before)
    inside("relay", "--once")
    assert leverage(inside, lee) == 3
    inside("verify")


def test_one_bad_user_and_nobody_is_changed(inside: Cli, lee: str, kim: str) -> None:
    nobody = "1999999999999999"
    for command in ("apply", "preview"):
        assert nobody in inside.fails(1, "template", command, "careful", "params", lee, nobody, kim)
        inside.fails(1, "template", command, "careful", "params", lee, "x' or '1'='1")
    assert [leverage(inside, uid, "db") for uid in (lee, kim)] == [10, 10]


def test_nobody_to_apply_it_to_is_exit_code_1(inside: Cli, lee: str) -> None:
    for command in ("apply", "preview"):
        found = inside.run("template", command, "careful", "params", "--where", "leverage=99", "--json")
        assert (found.code, found.json) == (1, [])
        assert found.err == "nobody has such params\n"


def test_secrets_are_masked_wherever_a_template_is_shown(inside: Cli, lee: str) -> None:
    secret = f"signal_bot_token={SECRET}"
    shown = [
        inside("template", "save", "tok", "params", secret),
        inside("template", "save", "tok", "params", secret, "--json"),
        inside("template", "show", "tok"), inside("template", "show", "tok", "--json"),
        inside("template", "list", "--json"),
        inside("template", "preview", "tok", "params", "--all"),
        inside("template", "preview", "tok", "params", "--all", "--json"),
        inside("template", "apply", "tok", "params", "--all", "--json"),
        inside("register", "1000000000000002", "--template", "tok", "--json"),
    ]  # fmt: skip
    assert [result.out for result in shown if SECRET in result.out] == []
    assert MASK in shown[2].out
    (revealed,) = inside("template", "show", "tok", "--reveal", "--json").json
    assert revealed["settings"] == {"signal_bot_token": SECRET}
    assert "mask" in inside.fails(1, "template", "save", "tok", "params", f"signal_bot_token={MASK}")
    assert "mask" in inside.fails(
        1, "template", "save", "tok", "params", "--file", "-", stdin=json.dumps({"signal_bot_token": MASK})
    )


@pytest.mark.parametrize("has_secret", [True, False])
def test_a_template_made_from_a_user_leaves_other_users_secrets_alone(
    inside: Cli, lee: str, kim: str, has_secret: bool
) -> None:
    source, other = (lee, kim) if has_secret else (kim, lee)
    inside("set", source, "params", "leverage=7", "note=mine")
    inside("set", other, "params", "signal_bot_token=other-secret")
    saved = inside("template", "save", "vip", "params", "--from", source, "--json").json
    assert (saved["settings"]["leverage"], saved["settings"]["note"]) == (7, "mine")
    assert "signal_bot_token" not in saved["settings"]
    inside("template", "apply", "vip", "params", other)
    found = inside("get", other, "params", "--reveal", "--json").json["settings"]
    assert (found["signal_bot_token"], found["leverage"]) == ("other-secret", 7)


def test_a_template_cannot_be_made_from_who_has_no_such_settings(inside: Cli, lee: str) -> None:
    inside("delete", lee, "dual_side")
    inside.fails(1, "template", "save", "vip", "dual_side", "--from", lee)
    inside.fails(1, "template", "save", "vip", "params", "--from", "1999999999999999")
    assert {one["name"] for one in inside("template", "list", "--json").json} == {"careful", "default"}


def test_a_registration_starts_with_a_template(inside: Cli, lee: str) -> None:
    inside("register", "1000000000000002", "--template", "careful")
    assert leverage(inside, "1000000000000002") == 3
    assert "carefree" in inside.fails(1, "register", "1000000000000003", "--template", "carefree")
    assert "1000000000000003" in inside.fails(1, "user", "find", "1000000000000003")
    inside("verify")


def test_a_template_for_a_document_that_was_deleted_brings_it_to_redis(
    inside: Cli, lee: str, redis: redis_py.Redis
) -> None:
    inside("delete", lee, "params")
    inside("template", "save", "empty", "params", "--file", "-", stdin="{}")
    (effect,) = inside("template", "apply", "empty", "params", lee, "--json").json
    assert (effect["version"], effect["changes"]) == (4, [])
    assert redis.get(f"user:{lee}:settings") == "{}"
    inside("verify")


def test_it_needs_postgresql(inside: Cli, lee: str) -> None:
    away = replace(inside, env={**inside.env, "DATABASE_URL": "postgresql://127.0.0.1:1/x", "DB_TIMEOUT": "0.5"})
    away.fails(3, "template", "apply", "careful", "params", lee)
    away.fails(3, "template", "list")


def test_a_preset_is_one_users(inside: Cli, lee: str) -> None:
    whose = ("--user", lee)
    inside("template", "save", "night", "params", "leverage=3", *whose)
    assert inside("template", "list", *whose, "--json").json[0]["okx_uid"] == lee
    assert "night" not in inside("template", "list").out
    assert inside("template", "show", "night", *whose, "--json").json[0]["settings"] == {"leverage": 3}
    for command, said in (("preview", "1 user would change"), ("apply", "1 user changed")):
        assert said in inside("template", command, "night", "params", *whose).out
    assert "Usage" in inside.fails(2, "template", "apply", "night", "params", lee, *whose)
    assert "no template" in inside.fails(1, "template", "show", "night")
    assert inside("template", "delete", "night", *whose, "--json").json == {"name": "night", "deleted": 1}
