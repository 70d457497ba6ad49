"""Hostile input to `set`: a clear line and an exit code, and nothing is saved."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py

from tests.cli.conftest import Cli
from tests.conftest import OKX_UID
from tests.helpers.hostile import HUGE

FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "not JSON": (b"leverage: 20", "not JSON"),
    "broken off": (b'{"leverage": 20', "line 1 column"),
    "an array": (b'["leverage", 20]', "not a JSON object"),
    "a string": (b'"leverage"', "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "NaN": (b'{"leverage": NaN}', "NaN"),
    "Infinity": (b'{"leverage": -Infinity}', "Infinity"),
    "a number beyond a double": (b'{"a": 1e999}', "number"),
    "a number of 5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "number"),
    "not UTF-8": (b'{"note": "\xff\xfe"}', "UTF-8"),
    "a NUL character": (rb'{"note": "\u0000"}', "U+0000"),
    "half a surrogate pair": (rb'{"note": "\ud800"}', "surrogate"),
    "3 MB": (b'{"note": "' + b"x" * HUGE + b'"}', "1 MiB"),
    "10,000 levels": (b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "deep"),
    "100 levels": (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "64 levels"),
}  # fmt: skip

ARGUMENTS: dict[str, tuple[int, list[str | bytes]]] = {
    "no equals sign": (2, [OKX_UID, "params", "leverage"]),
    "no key": (2, [OKX_UID, "params", "=20"]),
    "nothing to set": (2, [OKX_UID, "params"]),
    "pairs and standard input": (2, [OKX_UID, "params", "leverage=20", "--stdin"]),
    "no such file": (2, [OKX_UID, "params", "--file", "/nonexistent/settings.json"]),
    "a negative version": (2, [OKX_UID, "params", "leverage=20", "--expect-version", "-1"]),
    "a version that is no number": (2, [OKX_UID, "params", "leverage=20", "--expect-version", "two"]),
    "SQL for an identifier": (1, ["1' or '1'='1", "params", "leverage=20"]),
    "a quote in an identifier": (1, [OKX_UID + '"', "params", "leverage=20"]),
    "a newline in an identifier": (1, [OKX_UID + "\n", "params", "leverage=20"]),
    "digits that are not ASCII": (1, ["５８７６６２５０４７６８３４５９２９", "params", "leverage=20"]),
    "an empty identifier": (1, ["", "params", "leverage=20"]),
    "a key for an identifier": (1, ["user:*", "params", "leverage=20"]),
    "SQL for a type": (1, [OKX_UID, "params'; drop table user_settings; --", "leverage=20"]),
    "a newline in a type": (1, [OKX_UID, "params\n", "leverage=20"]),
    "an identifier that is not UTF-8": (1, [b"\xff\xfe", "params", "leverage=20"]),
    "a type that is not UTF-8": (1, [OKX_UID, b"\xff", "leverage=20"]),
    "a value that is not UTF-8": (1, [OKX_UID, "params", b"note=\xff"]),
    "a key that is not UTF-8": (1, [OKX_UID, "params", b"\xff=1"]),
    "a reason that is not UTF-8": (1, [OKX_UID, "params", "leverage=20", "--reason", b"\xff"]),
    "a value beyond a double": (1, [OKX_UID, "params", "a=1e999"]),
}  # fmt: skip


@pytest.fixture
def unchanged(kim: str, db: psycopg.Connection[dict[str, Any]], redis: redis_py.Redis) -> Iterator[None]:
    """After the test, both stores hold what they held before."""

    def everything() -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
        settings = db.execute("select * from user_settings order by id").fetchall()
        marks = db.execute("select * from mirror_pending").fetchall()
        return settings, marks, {str(key): redis.dump(str(key)) for key in redis.scan_iter()}

    before = everything()
    assert len(before[0]) == 3
    yield
    assert everything() == before


@pytest.mark.usefixtures("unchanged")
def test_a_file_that_is_no_settings_document_is_refused(inside: Cli, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    for content, why in FILES.values():
        file.write_bytes(content)
        error = inside.fails(1, "set", OKX_UID, "params", "--file", str(file))
        assert why in error
        assert len(error) < 300
        assert "sys." not in error


@pytest.mark.usefixtures("unchanged")
def test_standard_input_is_judged_like_a_file(cli: Cli) -> None:
    for name in ("nothing", "an array", "not UTF-8", "3 MB"):
        content, why = FILES[name]
        assert why in cli.fails(1, "set", OKX_UID, "params", "--stdin", "--replace", stdin=content)


@pytest.mark.usefixtures("unchanged")
def test_arguments_that_make_no_sense_are_refused(cli: Cli, inside: Cli) -> None:
    for code, arguments in ARGUMENTS.values():
        has_bytes = any(isinstance(word, bytes) for word in arguments)
        (cli if has_bytes else inside).fails(code, "set", *arguments)


@pytest.mark.usefixtures("unchanged")
def test_other_commands_refuse_hostile_identifiers_too(inside: Cli) -> None:
    for command in (
        ["register", "1' or '1'='1"], ["register", "123"], ["register", "1000000000000001", "--telegram-id", "12"],
        ["get", "user:*"], ["get", b"\xff", "params", "--source", "redis"], ["user", "find", "1\n2"],
        ["user", "link", OKX_UID, "12345'"], ["user", "unlink", "' --"], ["user", "delete", "%", "--yes"],
        ["user", "list", "--after", b"\xff"], ["register", "1000000000000001", "--name", b"\xff"],
    ):  # fmt: skip
        inside.fails(1, *command)


def test_text_that_looks_like_code_is_kept_as_text(inside: Cli, kim: str) -> None:
    for text in ("'; drop table user_settings; --", "%(identifier)s %s {0}", "[bold]x[/bold]", "\\", "=", "NaN", "01"):
        saved = inside("set", kim, "params", f"note={text}", "--json").json
        assert saved["settings"]["note"] == text
        row = next(line for line in inside("get", kim, "params").lines if line.startswith("note "))
        assert row.split(maxsplit=1)[1].rstrip().strip('"') == text.replace("\\", "\\\\")


def test_a_key_may_hold_anything_but_an_equals_sign(inside: Cli, kim: str) -> None:
    keys = ["키", "a b", "$.x", "'", "-x", "a:b"]
    saved = inside("set", kim, "preferences", "--replace", "--json", "--", *(f"{key}=1" for key in keys)).json
    assert saved["settings"] == dict.fromkeys(keys, 1)
    assert inside("get", kim, "preferences", "--json", "--source", "redis").json["settings"] == saved["settings"]


def test_the_longest_argument_that_the_system_passes_on_is_saved(inside: Cli, kim: str) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the limit of one argument is Linux's")
    text = "가" * 40_000  # 120 kB of 128
    assert inside("set", kim, "params", f"note={text}", "--json").json["settings"]["note"] == text


def test_a_full_disk_behind_standard_output_is_one_clear_error(cli: Cli, kim: str) -> None:
    for arguments in (["user", "list"], ["get", kim, "params", "--json"], ["export", "--all"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(
                [*cli.command, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=cli.env, check=False
            )
        assert (done.returncode, done.stderr) == (1, "Error: the output can't be written: No space left on device\n")
