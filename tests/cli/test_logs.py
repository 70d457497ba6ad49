"""Logs as JSON: whatever a command writes to stderr is an object a line, and holds no secret."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from store.operations.logs import without_passwords
from tests.cli.conftest import CHECKOUT, Cli

PROGRAM = "import logging, sys, warnings; from store.operations import logs; logs.configure('json'); "


def entries(text: str) -> list[dict[str, Any]]:
    """Read an object from each line; each has what all have."""
    found = [json.loads(line) for line in text.splitlines()]
    for entry in found:
        assert {"time", "level", "logger", "message"} <= set(entry)
        assert datetime.fromisoformat(entry["time"]).utcoffset() == timedelta(0)
    return found


def program(code: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + code], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return entries(done.stderr)


def test_an_error_is_one_object_with_its_details(cli: Cli) -> None:
    result = cli.run("--log-format", "json", "get", "12345")
    (entry,) = entries(result.err)
    assert (result.code, result.out) == (1, "")
    assert (entry["level"], entry["logger"]) == ("error", "settings-store")
    assert "unknown user" in entry["message"]
    assert entry["details"]


@pytest.mark.parametrize(("code", "words"), [(2, ["get"]), (2, ["nonsense"]), (3, ["user", "list"])])
def test_exit_codes_are_the_same_and_usage_is_an_object_too(cli: Cli, code: int, words: list[str]) -> None:
    result = cli.run(*words, SETTINGS_STORE_LOG_FORMAT="json", DATABASE_URL="postgresql://u:s3cr3t@127.0.0.1:1/x")
    assert result.code == code
    assert [entry["level"] for entry in entries(result.err)] == ["error"]
    assert "s3cr3t" not in result.err


def test_a_note_is_an_object_and_the_output_is_as_ever(cli: Cli, kim: str, tmp_path: Path) -> None:
    result = cli.run("export", "--all", "-o", str(tmp_path / "out.json"), SETTINGS_STORE_LOG_FORMAT="json")
    (entry,) = entries(result.err)
    assert (result.code, entry["level"]) == (0, "info")
    assert "wrote 1 user" in entry["message"]
    shown = cli.run("get", kim, "params", "--json", SETTINGS_STORE_LOG_FORMAT="json")
    assert (shown.json["setting_type"], shown.err) == ("params", "")


def test_the_relay_logs_objects(cli: Cli) -> None:
    command = [*cli.command, "--log-format", "json", "relay"]
    relay = subprocess.Popen(command, cwd=CHECKOUT, env=cli.env, stderr=subprocess.PIPE, text=True)
    try:
        assert relay.stderr is not None
        lines = [relay.stderr.readline()]
        while "reconciled:" not in lines[-1]:
            assert relay.poll() is None
            lines.append(relay.stderr.readline())
        relay.send_signal(signal.SIGTERM)
        lines.append(relay.communicate(timeout=30)[0] or "")
        assert relay.returncode == 0
    finally:
        relay.kill()
        relay.communicate()
    found = entries("".join(lines))
    assert {entry["logger"] for entry in found} == {"store.relay"}
    assert {entry["level"] for entry in found} == {"info"}


def test_an_unknown_format_is_refused(inside: Cli) -> None:
    assert inside.run("status", SETTINGS_STORE_LOG_FORMAT="xml").code == 2


def test_an_error_that_nobody_caught_is_one_object_with_its_traceback() -> None:
    (entry,) = program("raise ValueError('no luck with postgresql://bot:s3cr3t@db/x')")
    assert entry["level"] == "critical"
    assert "Traceback" in entry["exception"]
    assert "no luck with postgresql://bot:***@db/x" in entry["exception"]


def test_warnings_and_whatever_is_printed_are_objects() -> None:
    printed, warned, logged = program(
        "print('two', file=sys.stderr, end=' '); print('words\\n\\n', file=sys.stderr);"
        "warnings.warn('careful'); logging.getLogger('x').error('100 %% of %s', '한글\\nline')"
    )
    assert printed["message"] == "two words"
    assert "careful" in warned["message"]
    assert (logged["logger"], logged["message"]) == ("x", "100 % of 한글\nline")


def test_a_stderr_that_is_gone_stops_nobody(cli: Cli, kim: str) -> None:
    for redirection in ("2>&-", "2>/dev/full"):
        words = ["sh", "-c", f'"$@" {redirection}', "sh", *cli.command, "--log-format", "json"]
        for arguments, code in ((["get", "12345"], 1), (["get", kim, "params", "--json"], 0)):
            done = subprocess.run([*words, *arguments], cwd=CHECKOUT, env=cli.env, capture_output=True, check=False)
            assert (done.returncode, bool(done.stdout)) == (code, code == 0), (redirection, arguments)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://bot:p%40ss:word@db:5432/x", "at postgresql://bot:***@db:5432/x"),
        ("rediss://:s3cr3t@redis:6379/0 and unix://u:pw@/run/x", "rediss://:***@redis:6379/0 and unix://u:***@/run/x"),
        ("host=db password=s3cr3t user=bot", "host=db password=*** user=bot"),
        ("http://127.0.0.1:9187/metrics", "http://127.0.0.1:9187/metrics"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
