"""Every version by the command line: told, compared, read as of a moment, and never with a secret in it."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from typing import Any

from tests.cli.conftest import Cli, on_a_terminal
from tests.cli.versions import saved_at, versions
from tests.conftest import OKX_UID, TELEGRAM_ID

NOBODY = "1999999999999999"
SECRET = "hush-4711"
MASK = "********"
VERSION_KEYS = {
    "okx_uid",
    "setting_type",
    "symbol",
    "version",
    "saved_at",
    "changed_by",
    "written_by",
    "change_reason",
    "is_deleted",
    "changes",
}


def leverage(inside: Cli, *words: str) -> Any:
    return inside("get", *words, "--json").json["settings"]["leverage"]


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    """Let this process live in a time zone."""
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = name
        time.tzset()
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def in_colour(cli: Cli, *words: str, **env: str) -> str:
    plain = {name: value for name, value in cli.env.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return on_a_terminal([*cli.command, *words], plain | env)


def test_five_changes_by_two_actors_are_told_read_as_of_then_and_rolled_back(cli: Cli, inside: Cli) -> None:
    inside("register", OKX_UID, "--telegram-id", TELEGRAM_ID, "--actor", "bot")
    inside("set", OKX_UID, "params", "leverage=20", "--actor", "ops", "--reason", "calm market")
    sql = (
        "set settings_store.actor = 'night-shift';"
        "set settings_store.reason = 'spike';"
        f"select from patch_user_setting('{OKX_UID}', 'params', '{{\"leverage\": 5, \"direction\": \"롱\"}}');"
        "update user_settings set settings = settings || '{\"leverage\": 2}'"
        f" where okx_uid = '{OKX_UID}' and setting_type = 'params' and is_active"
    )
    cli("psql", "-X", "-q", "-c", sql)
    inside("set", OKX_UID, "params", "leverage=30", "direction=null", "--actor", "ops")
    gone = f"set settings_store.actor = 'night-shift'; select from delete_user_setting('{OKX_UID}', 'params')"
    cli("psql", "-X", "-q", "-c", gone)

    told = inside("history", OKX_UID, "params").lines
    assert [line for line in told if not line.startswith(" ")] == [
        line for line in told if line.startswith("params version ")
    ]
    without_time = [re.sub(r" · \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", "", line) for line in told]
    assert without_time == [
        "params version 6 · night-shift (login postgres)",
        "  - deleted, with 50 keys",
        "params version 5 · ops (login postgres)",
        '  ~ direction: "롱" -> "롱숏"',
        "  ~ leverage: 2 -> 30",
        "params version 4 · night-shift (login postgres) · spike",
        "  ~ leverage: 5 -> 2",
        "params version 3 · night-shift (login postgres) · spike",
        '  ~ direction: "롱숏" -> "롱"',
        "  ~ leverage: 20 -> 5",
        "params version 2 · ops (login postgres) · calm market",
        "  ~ leverage: 10 -> 20",
        "params version 1 · bot (login postgres)",
        "  + 50 keys",
    ]
    third, fourth = (saved_at(inside, OKX_UID, version) for version in (3, 4))
    between = (third + (fourth - third) / 2).isoformat()
    found = inside("get", OKX_UID, "params", "--at", between, "--json").json
    assert (found["version"], found["settings"]["leverage"], found["settings"]["direction"]) == (3, 5, "롱")

    said = inside("rollback", OKX_UID, "params", "3", "--actor", "ops").lines
    assert said == ["params: version 7, in PostgreSQL and Redis"]
    assert inside("diff", OKX_UID, "params", "3", "7").out == ""
    newest = versions(inside, OKX_UID, "params", "--limit", "1")[0]
    assert (newest["changed_by"], newest["change_reason"]) == ("ops", "rollback to version 3")
    assert leverage(inside, OKX_UID, "params", "--source", "redis") == 5
    inside("relay", "--once")
    assert inside("verify").code == 0


def test_the_json_of_a_history_has_every_version_with_its_changes(inside: Cli, five: str) -> None:
    found = versions(inside, five, "params")
    assert [set(version) for version in found] == [VERSION_KEYS] * 5
    assert [version["version"] for version in found] == [5, 4, 3, 2, 1]
    assert [version["is_deleted"] for version in found] == [False, True, False, False, False]
    assert [version["changed_by"] for version in found][:-1] == ["ops", "ops", "kim", "ops"]
    assert [version["change_reason"] for version in found][:-1] == ["restored", None, None, "less risk"]
    (login,) = {version["written_by"] for version in found}
    assert f" · ops (login {login}) · restored" in inside("history", five, "params").lines[0]
    assert found[2]["changes"] == [
        {"key": "leverage", "change": "changed", "old": 2, "new": 3},
        {"key": "note", "change": "added", "old": None, "new": "new"},
    ]
    assert len({version["okx_uid"] for version in versions(inside, five)}) == 1
    assert {version["setting_type"] for version in versions(inside, five)} == {"params", "preferences", "dual_side"}


def test_paging_by_before_as_it_is_printed_misses_and_repeats_nothing(inside: Cli, five: str) -> None:
    whole = inside.run("history", five, "params")
    assert whole.err == ""
    pages, words = [], ["history", five, "params", "--limit", "2"]
    for zone in ("Asia/Seoul", "America/St_Johns", "UTC", "UTC"):
        with time_zone(zone):
            page = inside.run(*words)
        if page.code == 1:
            break
        pages += [line for line in page.lines if line.startswith("params version")]
        hint = re.fullmatch(r"older ones: --before '(.+)'\n", page.err)
        if hint is None:
            break
        words = ["history", five, "params", "--limit", "2", "--before", hint[1]]
    assert [line.split()[2] for line in pages] == ["5", "4", "3", "2", "1"]


def test_a_history_with_nothing_in_it_is_exit_code_1(inside: Cli, kim: str) -> None:
    assert f"no versions of params of {kim}" in inside.fails(1, "history", kim, "params", "--before", "2001-01-01")
    found = inside.run("history", kim, "params", "--before", "2001-01-01", "--json")
    assert (found.code, found.json) == (1, [])
    assert NOBODY in inside.fails(1, "history", NOBODY)
    assert "dual_side, params, preferences" in inside.fails(1, "history", kim, "nonsense")


def test_the_history_of_a_deleted_user_is_told(inside: Cli, five: str) -> None:
    inside("user", "delete", five, "--yes", "--reason", "left")
    newest = versions(inside, five, "params")[0]
    assert (newest["version"], newest["is_deleted"], newest["change_reason"]) == (6, True, "left")
    assert leverage(inside, five, "params", "--version", "3") == 3


def test_what_differs_between_two_versions_is_told_either_way_round(inside: Cli, five: str) -> None:
    assert inside("diff", five, "params", "1", "3").lines == ["  ~ leverage: 10 -> 3", '  + note: "new"']
    assert inside("diff", five, "params", "3", "1").lines == ["  ~ leverage: 3 -> 10", '  - note: "new"']
    assert inside("diff", five, "params", "3", "5", "--json").json == []
    assert inside("diff", five, "params", "3", "4").lines == ["  - 51 keys"]
    assert inside("diff", five, "params", "1", "2", "--json").json == [
        {"key": "leverage", "change": "changed", "old": 10, "new": 2}
    ]


def test_a_version_is_read_by_number_or_moment(inside: Cli, five: str) -> None:
    assert leverage(inside, five, "params", "--version", "2") == 2
    assert "version 4 is a deletion" in inside.fails(1, "get", five, "params", "--version", "4")
    deleted = saved_at(inside, five, 4)
    assert leverage(inside, five, "params", "--at", (deleted - timedelta(microseconds=1)).isoformat()) == 3
    assert "at that time" in inside.fails(1, "get", five, "params", "--at", deleted.isoformat())
    then = inside("get", five, "--at", deleted.isoformat(), "--json").json
    assert [setting["setting_type"] for setting in then] == ["dual_side", "preferences"]
    assert leverage(inside, five, "params", "--at", "9999-01-01") == 3
    heading = inside("get", five, "params", "--version", "2").lines[0]
    assert heading.startswith("params · version 2 · ")


def test_a_moment_without_an_offset_is_local_time(inside: Cli, five: str) -> None:
    moment = saved_at(inside, five, 2)
    for zone, hours in (("Asia/Seoul", 9), ("UTC", 0), ("Asia/Kathmandu", 5.75)):
        local = (moment.astimezone(UTC) + timedelta(hours=hours)).replace(tzinfo=None)
        with time_zone(zone):
            for separator in (" ", "T"):
                assert leverage(inside, five, "params", "--at", local.isoformat(separator)) == 2
            assert leverage(inside, five, "params", "--at", (local - timedelta(microseconds=1)).isoformat()) == 10
            zulu = moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
            assert leverage(inside, five, "params", "--at", zulu) == 2


def test_wrong_arguments_are_usage_errors(inside: Cli, five: str) -> None:
    for words in (
        "get {} params --at yesterday", "get {} params --at 2026-13-01", "get {} params --at 0001-01-01x",
        "get {} params --version 0", "get {} params --version two", "get {} --version 2",
        "get {} params --version 2 --at 2026-11-22", "get {} params --version 2 --source redis",
        "get {} params --at 2026-11-22 --source redis", "history {} --limit 0", "history {} --before later",
        "diff {} params 1", "diff {} params 0 1", "diff {} params one two",
        "rollback {}", "rollback {} params", "rollback {} params 0", "rollback {} params three",
        "rollback {} params --at 2026-11-22", "rollback {} params 2 --at 2026-11-22",
        "rollback {} --at 2026-11-22 --expect-version 3", "rollback {} --at then",
        "prune", "prune --keep 1", "prune --older-than 1", "prune --keep 0 --older-than 1",
        "prune --keep 1 --older-than -1", "delete {}", "restore {}", "restore {} params --expect-version x",
        "user restore", "user erase",
    ):  # fmt: skip
        inside.fails(2, *words.format(five).split())
    assert len(versions(inside, five, "params")) == 5


def test_versions_and_moments_that_are_not_there_are_one_clear_error(inside: Cli, five: str) -> None:
    for words in ("get {} params --version 6", "diff {} params 1 6", "diff {} params 6 1", "rollback {} params 6"):
        error = inside.fails(1, *words.format(five).split())
        assert "has no version 6" in error
        assert "versions 1 to 5 are there" in error
    for words in ("get {} params --at 2001-01-01", "get {} --at 2001-01-01", "rollback {} --at 2001-01-01"):
        assert "the oldest version there is was saved at" in inside.fails(1, *words.format(five).split())
    for moment in ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"):
        inside.fails(1, "get", five, "params", "--at", moment)
    inside.fails(2, "get", five, "params", "--version", "2147483648")
    for command in (["diff", NOBODY, "params", "1", "2"], ["rollback", NOBODY, "params", "1"],
                    ["rollback", NOBODY, "--at", "2026-11-22"], ["restore", NOBODY, "params"],
                    ["delete", NOBODY, "params"], ["user", "restore", NOBODY], ["user", "erase", NOBODY, "--yes"],
                    ["prune", "--keep", "1", "--older-than", "0", "--okx-uid", NOBODY]):  # fmt: skip
        assert NOBODY in inside.fails(1, *command)


def test_secrets_are_masked_unless_revealed(inside: Cli, kim: str) -> None:
    secret = f"signal_bot_token={SECRET}"
    shown = [
        inside("set", kim, "params", secret), inside("set", kim, "params", secret, "leverage=2", "--json"),
        inside("set", kim, "params", "signal_bot_token=hush-4712"),
        *(inside(*words.split(), *form) for form in ([], ["--json"]) for words in (
            f"get {kim} params", f"get {kim}", f"get {kim} params --version 2", f"get {kim} params --source redis",
            f"get {kim} params --source db", f"search params {secret.replace('11', '12')}",
            f"history {kim}", f"diff {kim} params 1 2", f"diff {kim} params 2 4", f"register {kim}",
            f"rollback {kim} params 2", f"rollback {kim} params 4", f"restore {kim} params",
        )),
    ]  # fmt: skip
    assert [result.out for result in shown if "hush" in result.out] == []
    assert inside("diff", kim, "params", "2", "4").lines[-1] == f'  ~ signal_bot_token: "{MASK}" -> "{MASK}"'
    for source in ("redis", "db"):
        found = inside("get", kim, "params", "--reveal", "--json", "--source", source).json["settings"]
        assert found["signal_bot_token"] == "hush-4712"
    assert leverage_and_token(inside, kim, 2) == (10, SECRET)
    assert f'"{SECRET}"' in inside("get", kim, "params", "--version", "2", "--reveal").out
    at = saved_at(inside, kim, 2).isoformat()
    assert f'"{SECRET}"' in inside("get", kim, "--at", at, "--reveal").out
    assert SECRET not in inside("get", kim, "--at", at).out


def leverage_and_token(inside: Cli, uid: str, version: int) -> tuple[Any, Any]:
    settings = inside("get", uid, "params", "--version", str(version), "--reveal", "--json").json["settings"]
    return settings["leverage"], settings["signal_bot_token"]


def test_a_masked_secret_cannot_be_saved_as_the_secret(inside: Cli, kim: str) -> None:
    inside("set", kim, "params", f"signal_bot_token={SECRET}")
    printed = json.dumps(inside("get", kim, "params", "--json").json["settings"])
    assert MASK in printed
    for words in ([f"signal_bot_token={MASK}"], ["--replace", f"signal_bot_token={MASK}"], ["--stdin", "--replace"]):
        error = inside.fails(1, "set", kim, "params", *words, stdin=printed)
        assert "signal_bot_token: must be the secret itself, not its mask" in error
    assert len(versions(inside, kim, "params")) == 2
    assert leverage_and_token(inside, kim, 2) == (10, SECRET)


def test_colour_is_for_terminals_and_who_wants_it(cli: Cli, five: str) -> None:
    for words in (["history", five, "params"], ["diff", five, "params", "1", "3"]):
        piped = cli(*words).out
        assert "\x1b" not in piped
        assert "\x1b[" in in_colour(cli, *words)
        plain = in_colour(cli, *words, NO_COLOR="1")
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", plain)
        assert re.sub(r"\x1b\[[0-9;]*m", "", plain).replace("\r\n", "\n") == piped


def test_json_on_a_terminal_is_json(cli: Cli, five: str) -> None:
    written = in_colour(cli, "history", five, "params", "--json")
    assert [version["version"] for version in json.loads(written)] == [5, 4, 3, 2, 1]


def test_what_somebody_wrote_cannot_steer_a_terminal(inside: Cli, kim: str) -> None:
    inside("set", kim, "params", "note=\x1b[2J\x07", "--reason", "\x1b[31mred[bold]x[/bold]\nparams version 9")
    out = inside("history", kim, "params").out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
    assert [line for line in out.splitlines() if line.startswith("params version 9")] == []
    assert "[bold]x[/bold]" in out
