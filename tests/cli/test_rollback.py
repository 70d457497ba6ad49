"""Versions and users brought back or removed by the command line: rollback, delete, restore, prune and erase."""

from __future__ import annotations

from typing import Any

import psycopg
import redis as redis_py

from tests.cli.conftest import Cli
from tests.cli.versions import saved_at, versions
from tests.conftest import TELEGRAM_ID

OTHER = "1000000000000001"


def test_all_settings_go_back_to_a_moment_at_once(inside: Cli, five: str) -> None:
    moment = saved_at(inside, five, 2)
    inside("delete", five, "dual_side")
    inside("set", five, "preferences", "timeframe=5m")
    saved = inside("rollback", five, "--at", moment.isoformat(), "--json", "--actor", "ops").json
    assert [(each["setting_type"], each["version"]) for each in saved] == [
        ("dual_side", 3), ("params", 6), ("preferences", 3)
    ]  # fmt: skip
    assert {each["mirrored"] for each in saved} == {True}
    assert saved[1]["settings"]["leverage"] == 2
    newest = versions(inside, five, "params", "--limit", "1")[0]
    assert newest["changed_by"] == "ops"
    assert newest["change_reason"].startswith("rollback to ")
    inside("verify")
    again = inside("rollback", five, "--at", moment.isoformat()).lines
    assert again == [f"{kind}: version {n}, in PostgreSQL and Redis"
                     for kind, n in (("dual_side", 3), ("params", 6), ("preferences", 3))]  # fmt: skip


def test_rolling_back_to_a_deletion_deletes(inside: Cli, five: str, redis: redis_py.Redis) -> None:
    said = inside("rollback", five, "params", "4").lines
    assert said == ["params: version 6 is a deletion, in PostgreSQL and Redis"]
    assert redis.get(f"user:{five}:settings") is None
    saved = inside("rollback", five, "params", "3", "--json").json
    assert (saved["version"], saved["is_deleted"], saved["settings"]["leverage"]) == (7, False, 3)
    inside("verify")


def test_an_expected_version_guards_rollback_delete_and_restore(inside: Cli, five: str) -> None:
    for command in (["rollback", five, "params", "1"], ["delete", five, "params"], ["restore", five, "params"]):
        error = inside.fails(1, *command, "--expect-version", "4")
        assert "expected version 4, current version 5" in error
    assert len(versions(inside, five, "params")) == 5
    assert inside("rollback", five, "params", "1", "--expect-version", "5", "--json").json["version"] == 6


def test_a_version_that_the_catalogue_no_longer_allows_is_not_rolled_back_to(
    inside: Cli, five: str, db: psycopg.Connection[dict[str, Any]]
) -> None:
    inside("set", five, "params", "leverage=50")
    db.execute("update setting_fields set minimum = 40 where key = 'leverage'")
    for command in (["params", "2"], ["--at", saved_at(inside, five, 2).isoformat()]):
        assert "leverage: must be between 40 and 125" in inside.fails(1, "rollback", five, *command)
    assert len(versions(inside, five, "params")) == 6


def test_deleting_what_is_not_there_is_exit_code_1_and_deleting_twice_is_not(inside: Cli, kim: str) -> None:
    assert inside("delete", kim, "dual_side").lines == ["dual_side: version 2 is a deletion, in PostgreSQL and Redis"]
    assert inside("delete", kim, "dual_side", "--json").json["version"] == 2
    inside.fails(1, "get", kim, "dual_side")
    assert inside("restore", kim, "dual_side").lines == ["dual_side: version 3, in PostgreSQL and Redis"]
    assert inside("restore", kim, "dual_side", "--json").json["version"] == 3
    inside("verify")


def test_what_was_never_saved_cannot_be_deleted_or_restored(
    inside: Cli, db: psycopg.Connection[dict[str, Any]]
) -> None:
    db.execute("select from ensure_user(%s)", (OTHER,))
    assert inside.fails(1, "delete", OTHER, "params") == f"Error: no params of {OTHER}\n"
    assert "nothing was ever saved" in inside.fails(1, "restore", OTHER, "params")
    assert "nothing was ever saved" in inside.fails(1, "get", OTHER, "params", "--version", "1")
    assert "nothing was ever saved" in inside.fails(1, "rollback", OTHER, "--at", "2026-11-22")


def test_old_versions_are_counted_then_removed_and_the_rest_tells_it(inside: Cli, five: str) -> None:
    words = ("prune", "--keep", "2", "--older-than", "0")
    assert inside(*words, "--dry-run").lines == ["params  3", "3 versions would be removed"]
    assert inside(*words, "--dry-run", "--json").json == {"dry_run": True, "versions": {"params": 3}}
    assert len(versions(inside, five, "params")) == 5
    assert inside("prune", "--keep", "2", "--older-than", "1").lines == ["0 versions removed"]
    assert inside(*words, "--okx-uid", five).lines == ["params  3", "3 versions removed"]
    found = versions(inside, five, "params")
    assert [version["version"] for version in found] == [5, 4]
    assert found[-1]["changes"] is None
    assert inside("history", five, "params").lines[-1] == "  the version before was pruned"
    assert "versions 4 to 5 are there" in inside.fails(1, "rollback", five, "params", "1")
    inside("verify")


def test_a_deleted_user_comes_back_with_settings_and_telegram_id(inside: Cli, five: str) -> None:
    inside("delete", five, "dual_side")
    inside("user", "delete", five, "--yes")
    assert five in inside.fails(1, "get", five, "params")
    inside.fails(1, "user", "restore", TELEGRAM_ID)
    back = inside("user", "restore", five, "--json", "--actor", "ops").json
    assert (back["okx_uid"], back["telegram_id"], back["name"]) == (five, TELEGRAM_ID, "Kim")
    assert [one["setting_type"] for one in inside("get", TELEGRAM_ID, "--json").json] == ["params", "preferences"]
    newest = versions(inside, five, "params", "--limit", "1")[0]
    assert (newest["changed_by"], newest["change_reason"]) == ("ops", "user restored")
    assert inside("user", "restore", five, "--json").json == back
    inside("verify")


def test_an_erased_user_leaves_nothing(
    inside: Cli, five: str, redis: redis_py.Redis, db: psycopg.Connection[dict[str, Any]]
) -> None:
    kept = inside.run("user", "erase", five, stdin="n\n")
    assert (kept.code, kept.err.strip()) == (1, "Aborted!")
    receipt = inside("user", "erase", five, "--yes", "--json").json
    assert receipt == {
        "okx_uid": five,
        "settings": 3,
        "versions": 7,
        "trades": 0,
        "telegram_links": 1,
        "mirrored": True,
        "was_known": True,
    }
    for command in (["history", five], ["get", five], ["user", "restore", five]):
        assert five in inside.fails(1, *command)
    again = inside("user", "erase", five, "--yes")
    assert again.out == f"erased {five}, whom PostgreSQL didn't know (any more); cleared from Redis\n"
    assert "1000000000000009" in inside.fails(1, "user", "erase", "1000000000000009", "--yes")
    inside("relay", "--once")  # the marks, if a command that was in a hurry left any
    for table in ("user_settings", "app_users", "telegram_links", "mirror_pending"):
        assert db.execute(f"select from {table}").fetchall() == []
    assert [key for key in redis.scan_iter() if not key.endswith(":mirror") and key.startswith("user:")] == []
    inside("verify")


def test_who_writes_by_default_is_the_user_of_the_system(inside: Cli, kim: str) -> None:
    for words in (["set", kim, "params", "leverage=2"], ["rollback", kim, "params", "1"], ["delete", kim, "params"],
                  ["restore", kim, "params"], ["user", "delete", kim, "--yes"], ["user", "restore", kim]):  # fmt: skip
        assert inside.run(*words, LOGNAME="os-kim").code == 0
        newest = versions(inside, kim, "params", "--limit", "1")[0]
        assert newest["changed_by"] == "os-kim"
    assert versions(inside, kim, "params", "--limit", "1")[0]["version"] == 7
