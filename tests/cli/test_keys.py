"""The commands of API credentials: what goes in by no argument, what comes out masked."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import SCRIPT, Cli
from tests.conftest import OKX_UID
from tests.helpers.credentials import (
    HASH,
    KEY,
    NEW_KEY,
    Db,
    Redis,
    everything,
    is_plain_anywhere,
    key_ids,
    leave_plain_text,
    put,
    secrets,
    vault,
)

FIELDS = ("api_key", "api_secret", "passphrase")


@pytest.fixture
def cli(cli: Cli) -> Cli:
    """The command line with an encryption key."""
    return replace(cli, env={**cli.env, "SETTINGS_STORE_KEYS": KEY})


def given(n: int | str = 1) -> str:
    """Credentials as --stdin takes them."""
    return json.dumps(dict(zip(FIELDS, secrets(n), strict=True)))


def test_credentials_are_asked_for_without_echo(cli: Cli, kim: str) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(SCRIPT), "keys", "set", kim],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=cli.env,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for prompt, value in zip((b"api key: ", b"api secret: ", b"passphrase: "), secrets(1), strict=True):
        while prompt not in shown:
            shown += os.read(ours, 4096)
        os.write(ours, value.encode() + b"\n")
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # the terminal's other end was closed
        pass
    os.close(ours)
    assert process.wait(30) == 0
    assert b"plain-" not in shown
    assert b"credentials: version 1, in PostgreSQL and Redis" in shown
    assert cli("keys", "show", kim, "--json", "--reveal").json["api_secret"] == secrets(1)[1]


@pytest.mark.parametrize("option", ["--api-key", "--api-secret", "--passphrase", None])
def test_there_is_no_argument_for_a_secret(inside: Cli, kim: str, db: Db, option: str | None) -> None:
    result = inside.run("keys", "set", kim, *([option] if option else []), "plain-secret", stdin=given())
    assert result.code == 2
    assert db.execute("table okx_api_info").fetchall() == []


def test_what_was_set_is_shown_masked_unless_revealed(inside: Cli, kim: str) -> None:
    result = inside("keys", "set", kim, "--stdin", "--json", "--reason", "first", stdin=given())
    assert (result.json["okx_uid"], result.json["version"], result.json["mirrored"]) == (kim, 1, True)
    text = inside("keys", "show", kim)
    assert "version 1" in text.lines[0]
    assert "from redis" in text.lines[0]
    shown = inside("keys", "show", kim, "--json").json
    assert (shown["version"], shown["source"]) == (1, "redis")
    for name in FIELDS:
        assert shown[name].startswith("********")
    assert "plain-" not in text.out + json.dumps(shown)
    revealed = inside("keys", "show", kim, "--json", "--reveal").json
    assert tuple(revealed[name] for name in FIELDS) == secrets(1)
    assert all(value in inside("keys", "show", kim, "--reveal").out for value in secrets(1))


def test_short_secrets_are_masked_whole_and_all_masks_are_as_long(inside: Cli, kim: str) -> None:
    values = ("x" * 19, "123456789012345678END1", "y")
    inside("keys", "set", kim, "--stdin", stdin=json.dumps(dict(zip(FIELDS, values, strict=True))))
    shown = inside("keys", "show", kim, "--json").json
    assert [shown[name] for name in FIELDS] == ["********", "********END1", "********"]


MALFORMED = [
    "", "plain-secret", "[]", '"plain-secret"', "null", "{", '{"api_key": "plain-secret"}',
    '{"api_key": "plain-secret", "api_secret": "plain-b", "passphrase": 5}',
    '{"api_key": "plain-secret", "api_secret": "plain-b", "passphrase": ""}',
    '{"api_key": "plain-secret", "api_secret": "plain-b", "passphrase": "c", "plain-more": "d"}',
    '{"api_key": "plain-secret", "api_secret": "plain-b", "passphrase": "\\ud800"}',
    '{"api_key": "plain-secret" "api_secret"', b"\xff\xfe", b'{"api_key": "plain-\xff"}',
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_input_is_refused_and_not_quoted(inside: Cli, kim: str, db: Db, text: str | bytes) -> None:
    assert "plain-" not in inside.fails(1, "keys", "set", kim, "--stdin", stdin=text)
    assert db.execute("table okx_api_info").fetchall() == []


def test_none_are_exit_code_1(inside: Cli, kim: str) -> None:
    for command in ("show", "delete"):
        assert inside.fails(1, "keys", command, kim) == f"Error: no API credentials of {kim}\n"
    assert inside("keys", "history", kim, "--json").json == []
    for words in (("show",), ("delete",), ("history",), ("set", "--stdin")):
        assert "unknown user" in inside.fails(1, "keys", *words, "1000000000000009", stdin=given())


def test_a_version_other_than_expected_is_an_error(inside: Cli, kim: str) -> None:
    inside("keys", "set", kim, "--stdin", "--expect-version", "0", stdin=given(1))
    error = inside.fails(1, "keys", "set", kim, "--stdin", "--expect-version", "0", stdin=given(2))
    assert "version conflict" in error
    assert "plain-" not in error
    inside.fails(1, "keys", "delete", kim, "--expect-version", "2")
    assert inside("keys", "delete", kim, "--expect-version", "1", "--json").json["is_deleted"] is True


def test_the_history_tells_who_and_why_but_not_what(inside: Cli, kim: str) -> None:
    inside("keys", "set", kim, "--stdin", "--actor", "ops", "--reason", "new ones", stdin=given())
    inside("keys", "delete", kim, "--actor", "me")
    found = inside("keys", "history", kim, "--json").json
    assert [(row["version"], row["changed_by"], row["change_reason"], row["is_deleted"]) for row in found] == [
        (2, "me", None, True),
        (1, "ops", "new ones", False),
    ]
    text = inside("keys", "history", kim).out
    assert "new ones" in text
    assert {f"{row['changed_by']} (login {row['written_by']})" in text for row in found} == {True}
    assert not any(word in text + json.dumps(found) for word in ("plain-", "v1.", "v2."))


@pytest.mark.parametrize("keys", ["", "nonsense-key"])
def test_without_a_usable_key_credentials_say_what_to_set_and_all_else_works(
    inside: Cli, kim: str, keys: str, tmp_path: Path
) -> None:
    inside("keys", "set", kim, "--stdin", stdin=given())
    env = {"SETTINGS_STORE_KEYS": keys, "SETTINGS_STORE_HOME": str(tmp_path)}
    code = 2 if keys else 1
    for arguments in (("set", kim, "--stdin"), ("show", kim), ("rotate",), ("encrypt-existing",)):
        error = inside.fails(code, "keys", *arguments, stdin=given(2), **env)
        assert "SETTINGS_STORE_KEYS" in error
        assert "keys generate" in error
        assert not any(word in error for word in ("nonsense", "plain-"))
    for command in (("get", kim), ("set", kim, "params", "leverage=20"), ("verify",), ("verify", "--repair"),
                    ("relay", "--once"), ("status",), ("keys", "history", kim), ("export", "--all"),
                    ("user", "list"), ("history", kim)):  # fmt: skip
        result = inside.run(*command, **env)
        assert result.code == 0, result
    if not keys:
        assert inside.run("sync", **env).code == 0
    assert inside.run("keys", "delete", kim, **env).code == 0


def test_a_generated_key_works(inside: Cli, kim: str) -> None:
    key, other = (inside("keys", "generate").out for _ in range(2))
    assert key != other
    assert inside.run("keys", "set", kim, "--stdin", stdin=given(), SETTINGS_STORE_KEYS=key).code == 0
    error = inside.fails(1, "keys", "show", kim, SETTINGS_STORE_KEYS=other)
    assert vault(key).current_key_id in error
    assert key.strip() not in error


def test_rotation_by_command(inside: Cli, kim: str, db: Db, redis: Redis) -> None:
    for n in (1, 2):
        inside("keys", "set", kim, "--stdin", stdin=given(n))
    env = {"SETTINGS_STORE_KEYS": f"{NEW_KEY},{KEY}"}
    before = everything(db, redis)
    dry = inside.run("keys", "rotate", "--dry-run", "--json", **env)
    assert (dry.code, dry.json["checked"], dry.json["changed"], dry.json["dry_run"]) == (0, 2, 2, True)
    assert everything(db, redis) == before
    assert inside.run("keys", "rotate", **env).out == "2 versions, 2 encrypted under the current key\n"
    assert key_ids(db, redis) == {vault(NEW_KEY).current_key_id}
    assert inside.run("keys", "rotate", **env).out == "2 versions, 0 encrypted under the current key\n"
    lost = inside.run("keys", "rotate", "--json")  # with the old key only
    assert (lost.code, list(lost.json["failures"])) == (1, [kim])


def test_encrypting_what_exists_by_command(inside: Cli, kim: str, db: Db, redis: Redis) -> None:
    inside("keys", "set", kim, "--stdin", stdin=given())
    leave_plain_text(db)
    put(redis, HASH.format(kim), dict(zip(FIELDS, secrets(f"{kim}-1"), strict=True)))
    redis.hdel(f"user:{kim}:mirror", "api_keys")
    dry = inside("keys", "encrypt-existing", "--dry-run")
    assert dry.out == "1 version, 1 would be encrypted under the current key\n"
    assert is_plain_anywhere(db, redis)
    done = inside.run("keys", "encrypt-existing")
    assert (done.code, done.out) == (0, "1 version, 1 encrypted under the current key\n")
    assert "VACUUM FULL" in done.err
    assert "plain-" not in done.err
    assert not is_plain_anywhere(db, redis)
    assert inside("keys", "show", OKX_UID, "--reveal", "--json").json["api_key"] == f"plain-key-{kim}-1-ak"
