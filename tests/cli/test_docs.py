"""The README and docs/ name only commands, options and choices that exist; so do the files to deploy with."""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from store.commands.main import main
from store.operations import metrics
from tests.cli.conftest import CHECKOUT

WRITTEN = [page for page in (CHECKOUT / "docs").rglob("*.md") if page.name not in ("cli.md", "sql.md")]  # by people
PAGES = [*CHECKOUT.glob("README*.md"), CHECKOUT / "CONTRIBUTING.md", CHECKOUT / "sql" / "README.md", *WRITTEN]
ARCHITECTURE = CHECKOUT / "docs" / "architecture.md"
FILE = re.compile(r"\b(?:store|sql|tests|migrations)/[\w/.]*\w\.(?:py|lua|sql)\b")
COMPOSE = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())
RULES = CHECKOUT / "docs" / "settings-store.rules.yaml"
UNIT = CHECKOUT / "docs" / "settings-store-relay.service"
COMMAND = re.compile(r"(?<![-\w])settings-store(?=\s|$)")


def snippets(text: str) -> Iterator[str]:
    """Cut out what is code: lines of fenced blocks, spans between backticks."""
    prose, *rest = re.split(r"^```.*$", text, flags=re.MULTILINE)
    for i, part in enumerate([prose, *rest]):
        if i % 2:
            yield from part.replace("\\\n", " ").splitlines()
        else:
            yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", part))


def commands(code: str) -> Iterator[list[str]]:
    """Read the words of each settings-store command in a line of code, up to what is the shell's or a comment."""
    for line in COMMAND.split(re.split(r"\s-- ", code)[0])[1:]:  # SQL comments are prose
        lexer = shlex.shlex(
            line.partition(")")[0] if "$(settings-store" in code else line, posix=True, punctuation_chars=True
        )
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("();<>|&") or word == "…":
                break
            words.append(word)
        yield words


def complaint(words: list[str]) -> str | None:
    """Say why there is no such command; None if there is."""
    command: click.Command = main
    arguments, waiting = 0, list(words)
    while waiting:
        word = waiting.pop(0)
        if command.context_settings.get("ignore_unknown_options"):
            return None  # another program's
        if word.startswith("-") and len(word) > 1:
            name, equals, value = word.partition("=")
            options = [
                p for p in command.params if isinstance(p, click.Option) and name in (*p.opts, *p.secondary_opts)
            ]
            if not options and name not in ("--help", "-h"):
                return f"no option {name} of {command.name}"
            if options and not options[0].is_flag:
                value = value if equals else (waiting.pop(0) if waiting else "")
                if isinstance(options[0].type, click.Choice) and value not in options[0].type.choices:
                    return f"{name} is none of {options[0].type.choices}"
        elif isinstance(command, click.Group):
            if word not in command.commands:
                return f"no command {word} of {command.name}"
            command = command.commands[word]
        else:
            arguments += 1
    places = [p.nargs for p in command.params if isinstance(p, click.Argument)]
    return "too many arguments" if -1 not in places and arguments > sum(places) else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_page_exists(page: Path) -> None:
    found = [words for code in snippets(page.read_text(encoding="utf-8")) for words in commands(code)]
    wrong = {" ".join(words): why for words in found if (why := complaint(words))}
    assert wrong == {}


def test_the_readme_and_the_pages_have_commands_to_look_at() -> None:
    found = [words for page in PAGES for code in snippets(page.read_text()) for words in commands(code)]
    assert len(found) > 50


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("settings-store nonsense", "no command nonsense"),
        ("settings-store relay --onse", "no option --onse of relay"),
        ("settings-store sync --from disk", "--from is none of"),
        ("settings-store get 1 params more", "too many"),
        ("FOO=1 /opt/settings-store/bin/settings-store user found 1 | less", "no command found of user"),
        ('eval "$(settings-store embedded begin)"', "no command begin of embedded"),
    ],
)
def test_what_does_not_exist_is_noticed(line: str, why: str) -> None:
    ((words),) = commands(line)
    assert why in (complaint(words) or "")


def test_commands_of_the_shell_and_comments_are_left_out() -> None:
    assert list(commands("settings-store status --check || mail ops  # see there")) == [["status", "--check"]]
    assert list(commands("cp docs/settings-store-relay.service /etc/settings-store/")) == []


def test_every_page_that_is_linked_is_there() -> None:
    for page in PAGES:
        links = re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", page.read_text())
        assert [link for link in links if not (page.parent / link).exists()] == [], page.name


def test_every_file_that_a_page_names_is_there() -> None:
    for page in PAGES:
        named = {name for name in FILE.findall(page.read_text()) if "NAME" not in name and "NNNN" not in name}
        assert [name for name in sorted(named) if not (CHECKOUT / name).exists()] == [], page.name


def test_a_walk_passes_through_no_file_twice() -> None:
    walks = re.split(r"^\*\*", ARCHITECTURE.read_text().partition("## Four walks")[2], flags=re.MULTILINE)[1:]
    assert len(walks) == 4
    for walk in walks:
        files = FILE.findall(walk)
        assert len(files) > 10
        assert [name for name in files if files.count(name) > 1] == []


@pytest.mark.parametrize(("page", "lines"), [("README.md", 130), ("README.ko.md", 130), ("docs/architecture.md", 150)])
def test_the_first_pages_stay_short(page: str, lines: int) -> None:
    text = (CHECKOUT / page).read_text().splitlines()
    assert len(text) <= lines
    if page.startswith("README"):
        assert [line for line in text if len(line) > 100] == []


def test_every_decision_is_dated_and_listed() -> None:
    folder = CHECKOUT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    for page in folder.glob("[0-9]*.md"):
        assert re.match(r"# \d+\. .+\n\n\d{4}-\d\d-\d\d", page.read_text()), page.name
        assert f"({page.name})" in listed


def test_the_unit_runs_a_relay_and_names_files_as_the_page_does() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    ((words),) = commands(unit["Service"]["ExecStart"])
    assert complaint(words) is None
    assert words[-3:] == ["relay", "--metrics-port", "9187"]
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    assert unit["Service"]["EnvironmentFile"] in page
    assert unit["Service"]["ExecStart"].split()[0].rpartition("/")[0] in page


def test_compose_runs_commands_that_exist_on_this_machine_only_without_passwords() -> None:
    services: dict[str, Any] = COMPOSE["services"]
    assert complaint(services["relay"]["command"][1:]) is None
    assert complaint(services["relay"]["healthcheck"]["test"][2:]) is None
    run = [words for line in services["migrate"]["command"][2].splitlines() for words in commands(line)]
    assert [words[0] for words in run] == ["migrate", "psql"]
    assert [complaint(words) for words in run] == [None, None]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    text = (CHECKOUT / "compose.yaml").read_text()
    assert set(re.findall(r"PASSWORD\}?(:.)", text)) <= {":?", ": "}  # never a default, :-
    assert set(COMPOSE["volumes"]) == {"postgres", "redis"}
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", services["relay"]["build"]["dockerfile_inline"], re.MULTILINE)
    assert [file for files in copied for file in files.split() if not (CHECKOUT / file).exists()] == []
    assert copied


def test_the_alerts_are_about_metrics_that_exist() -> None:
    shown = metrics.Metrics()
    shown.probing()
    served = {m.name + ("_total" if m.type == "counter" else "") for m in shown.registry.collect()}
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    named = {name for rule in rules for name in re.findall(r"settings_store_\w+", rule["expr"])}
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    assert named <= served | {rule.get("record") for rule in rules}
    assert {name for name in served if name.startswith("settings_store")} <= set(
        re.findall(r"settings_store_\w+", page)
    )
    assert [name for rule in rules for name in [rule.get("alert", rule.get("record"))] if f"`{name}`" not in page] == []


def test_each_guarantee_names_the_test_that_holds_it() -> None:
    rows = re.findall(r"^\| .* \|$", (CHECKOUT / "docs" / "guarantees.md").read_text(), re.MULTILINE)
    for row in [row for row in rows if not row.startswith("| promise")]:
        held_by = re.findall(r"(tests/[\w/]+(?:\.py)?)(?:::(\w+))?", row.rsplit("|", 2)[1])
        assert held_by, row
        for path, name in held_by:
            assert (CHECKOUT / path).exists(), path
            assert not name or f"def {name}(" in (CHECKOUT / path).read_text(), name
