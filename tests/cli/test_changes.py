"""The command `changes`, and the consumer that docs/changes.md shows."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHECKOUT, SCRIPT, Cli
from tests.conftest import OKX_UID
from tests.helpers.sessions import Connection, fetch

CONSUMER = re.search(r"^```python\n(.*?)^```$", (CHECKOUT / "docs/changes.md").read_text(), re.MULTILINE | re.DOTALL)
SAVED = [("dual_side", 1), ("params", 1), ("preferences", 1)]


@pytest.fixture
def kim(inside: Cli) -> str:
    """The OKX UID of a registered user."""
    inside("register", OKX_UID)
    return OKX_UID


def lines(found: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in found.splitlines()]


def names(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(change["setting_type"], change["version"]) for change in found]


def test_changes_are_objects_a_line_and_go_on_behind_a_cursor(inside: Cli, kim: str) -> None:
    inside("set", kim, "params", "leverage=20", "signal_bot_token=hunter2", "--actor", "kim", "--reason", "위험")
    found = lines(inside("changes", "--json").out)
    assert sorted(names(found)) == sorted([*SAVED, ("params", 2)])
    last = found[-1]
    assert (last["okx_uid"], last["changed_by"], last["change_reason"]) == (kim, "kim", "위험")
    assert {"key": "leverage", "change": "changed", "old": 10, "new": 20} in last["changes"]
    assert "hunter2" not in str(found)
    assert lines(inside("changes", "--json", "--after", found[1]["cursor"]).out) == found[2:]
    assert lines(inside("changes", "--json", "--limit", "2").out) == found[:2]
    assert lines(inside("changes", "--json", "--since", last["saved_at"]).out) == [last]
    assert inside("changes", "--json", "--after", last["cursor"]).out == ""


def test_changes_are_read_by_people_who_are_told_how_to_go_on(inside: Cli, kim: str) -> None:
    done = inside.run("changes", "--limit", "2")
    assert sum(line.startswith(f"{kim} ") for line in done.lines) == 2
    told = re.fullmatch(r"go on: (--after \S+)\n", done.err)
    assert told
    assert inside.run("changes", *told[1].split()).lines[0].startswith(f"{kim} ")
    assert "not a cursor" in inside.fails(1, "changes", "--after", "nonsense")
    assert inside.run("changes", "--since", "later").code == 2
    assert inside.run("changes", "--limit", "0").code == 2


def test_it_is_told_that_changes_are_held_back_and_by_whom(
    inside: Cli, kim: str, db: Connection, connect: Callable[[], Connection]
) -> None:
    writer = connect()
    with writer.transaction():
        fetch(writer, "select pg_current_xact_id()")
        fetch(db, "update user_settings set settings = '{}' where setting_type = 'params' and is_active")
        done = inside.run("changes", "--json")
        assert len(lines(done.out)) == 3
        assert re.fullmatch(r"held back for \d+\.\d s, .* process (\d+)\n", done.err)
        assert f" {writer.info.backend_pid}\n" in done.err
    assert len(lines(inside("changes", "--json").out)) == 4


@contextmanager
def running(inside: Cli, cwd: Path, *command: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, env={**inside.env, **env}, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_following_prints_each_change_as_it_is_committed_until_it_is_ended(inside: Cli, kim: str, number: int) -> None:
    with running(inside, CHECKOUT, str(SCRIPT), "changes", "--follow", "--json") as process:
        assert process.stdout
        found = lines("".join(process.stdout.readline() for _ in range(3)))
        inside("set", kim, "params", "leverage=20")
        found += lines(process.stdout.readline())
        assert names(found)[-1] == ("params", 2)
        process.send_signal(number)
        assert process.wait(10) == 128 + number
        assert process.communicate() == ("", "")


def test_following_ends_when_nobody_reads(inside: Cli, kim: str) -> None:
    with running(inside, CHECKOUT, str(SCRIPT), "changes", "--follow", "--json") as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        inside("set", kim, "params", "leverage=20")
        assert process.wait(10) == 1
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted; refuses the next post if it is told to."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.refusing = threading.Event()
        self.enough = threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Answer(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(500 if self.server.refusing.is_set() else 204)
        self.end_headers()
        self.server.enough.release()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """An HTTP server on this machine."""
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_consumer_of_the_page_posts_each_change_and_resumes_after_a_crash(
    inside: Cli, kim: str, webhook: Webhook, tmp_path: Path
) -> None:
    assert CONSUMER
    (tmp_path / "consumer.py").write_text(CONSUMER[1])
    here = [inside, tmp_path, sys.executable, "consumer.py"]

    def start() -> Any:
        return running(*here, WEBHOOK=webhook.url, NO_PROXY="*")  # type: ignore[arg-type]

    def wait(posts: int) -> None:
        assert all(webhook.enough.acquire(timeout=30) for _ in range(posts))

    with start():
        wait(3)  # and is killed
    inside("set", kim, "params", "leverage=20")
    webhook.refusing.set()
    with start() as process:
        assert process.wait(30) != 0  # the webhook doesn't take it
    webhook.refusing.clear()
    with start():
        wait(1)
        inside("set", kim, "params", "leverage=30")
        while names(webhook.posted)[-1] != ("params", 3):
            wait(1)
    found = names(webhook.posted)
    assert sorted(found[:3]) == sorted(SAVED)
    new = [name for n, name in enumerate(found) if name not in found[:n]]
    assert new == [*found[:3], ("params", 2), ("params", 3)]  # what comes again doesn't come late
    assert len(found) > len(new)  # at least what was refused
