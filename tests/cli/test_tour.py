"""A tour of all commands in bad weather: another locale, a narrow terminal, closed streams, a home with an odd name.
Each does its work, or says why not.

The commands are those of the click tree, in the order of an ordinary life; one pair of embedded servers for all.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from store import Config
from store.encryption.vault import generate_key
from store.operations import embedded
from tests.cli.conftest import Result
from tests.cli.test_help import LEAVES
from tests.cli.test_json import CANDLES, PAIRS, SECRETS, SHAPES
from tests.conftest import OKX_UID
from tests.helpers.forks import Forks

pytestmark = pytest.mark.slow

NAME = "a b&c'd%20e?f#g$한"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
DOCUMENT = {"direction": "롱", "note": "🚀"}
SHELLS = {"psql", "redis-cli"}
ELSEWHERE = {"watch": "runs until it is stopped", "demo": "has servers of its own: test_manners.py"}
# Before the life that SHAPES tells: starting migrates. Beside it: what prints no JSON, and a document in Korean.
BEFORE = ("embedded stop", "embedded start", "completion bash", "keys generate", f"register {OKX_UID}",
          f"set {OKX_UID} params --stdin", f"get {OKX_UID} params", f"export {OKX_UID}", "psql -XAtc select(1)",
          "redis-cli dbsize", "relay --once", "status --check")  # fmt: skip
GAPS = "candles gaps BTC --timeframe 1m"  # which it finds: exit code 1
LIFE = [*BEFORE, *(line for line in SHAPES if line not in ELSEWHERE)]
LIFE[LIFE.index(GAPS) : LIFE.index(GAPS)] = [
    "candles export BTC --timeframe 1m",
    "schema params",
    "report --all -o report.html",
]
AGAIN = {"embedded stop", "candles rollup --from-timeframe 1m --to-timeframe 1h"}  # say something else the second time
# Whose output is what they are for: they fail where it can't be written.
REPORTS = (
    "get", "user find", "user list", "search", "template list", "template show", "template preview", "history",
    "changes", "diff", "rollout status",
    "keys show", "keys history", "keys generate", "keys rotate --dry-run", "keys encrypt-existing --dry-run", "export",
    "trades list", "trades stats", "trades curve", "candles list", "candles gaps", "candles export", "fields", "schema",
    "schedule list", "status", "embedded status", "migrate status", "migrate quarantine", "migrate apply --dry-run",
    "completion", "halts", "locks",
)  # fmt: skip
VARIES = re.compile(r"\d+|[0-9a-f-]{36}|\S*\d{4}-\d\d-\d\d\S*|[\w-]{43}=|pid|\S*settings-store-\S*")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home of embedded servers with an odd name, short enough for their sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ss-"))
    folder.chmod(0o755)  # root's PostgreSQL runs as another user
    yield folder / NAME
    embedded.stop(Config(home=folder / NAME))
    shutil.rmtree(folder)


def environment(home: Path, **weather: str) -> dict[str, str]:
    ours = ("DATABASE_URL", "REDIS_URL", "DB_", "REDIS_", "MIRROR_", "SETTINGS_STORE_", "PG", "PYTHON", "LC_", "LANG")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**env, "SETTINGS_STORE_HOME": str(home), "SETTINGS_STORE_KEYS": generate_key(), "REDIS_TIMEOUT": "5",
            "DB_TIMEOUT": "30", "PYTHONWARNDEFAULTENCODING": "1", **weather}  # fmt: skip


def korean(folder: Path) -> dict[str, str]:
    """An environment whose encoding is EUC-KR; without localedef that of the streams alone."""
    command = ["localedef", "-f", "EUC-KR", "-i", "ko_KR", str(folder / "ko_KR.euckr")]
    if shutil.which("localedef"):
        subprocess.run(command, check=False, capture_output=True)
    if (folder / "ko_KR.euckr").exists():
        return {"LC_ALL": "ko_KR.euckr", "LOCPATH": str(folder)}
    return {**ASCII, "PYTHONIOENCODING": "cp949"}


def live(run: Forks, folder: Path, *streams: str) -> dict[str, Result]:
    """Run all commands."""
    (folder / "candles").write_text(CANDLES, encoding="utf-8")
    trade = dict(pair.split("=") for pair in PAIRS.split()) | {"okx_uid": OKX_UID}
    (folder / "trades").write_text(json.dumps(trade), encoding="utf-8")
    found = {}
    for line in LIFE:
        stdin = "" if "--stdin" not in line else SECRETS if line.startswith("keys") else json.dumps(DOCUMENT)
        if line.startswith("schedule set"):  # another life counts from 1, too
            run("psql", "-XAtqc", "alter sequence public.scheduled_changes_id_seq restart")
        if line.startswith("import"):
            run(*f"export {OKX_UID} -o export".split())
        found[line] = run(*line.split(), stdin=stdin, streams=("file" if stdin else streams[0], *streams[1:]))
    return found


def in_order(done: Result, code: int, *, is_error: bool = False) -> bool:
    """Whether a command ended with this code, and with one error in words or none."""
    errors = [text for text in done.err.splitlines() if text.startswith("Error: ")]
    python = any(word in done.err for word in ("Traceback", "mistake", "  File ", "Exception ignored"))
    return (done.code, len(errors)) == (code, is_error) and not python and "Error" not in done.out


@pytest.fixture(scope="module")
def in_korean(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """What the commands print in EUC-KR, where lines are as long as they are."""
    folder = tmp_path_factory.mktemp("korean")
    with Forks(environment(home, **korean(tmp_path_factory.mktemp("locale"))), folder) as run:
        assert codecs.lookup(run.encoding).name in ("euc_kr", "cp949")
        return live(run, folder, "file", "file", "file")


def test_the_tour_passes_by_every_command() -> None:
    assert {name for name in LEAVES if not any(f"{line} ".startswith(f"{name} ") for line in LIFE)} == set(ELSEWHERE)


def test_in_another_encoding_every_command_does_its_work(in_korean: dict[str, Result]) -> None:
    assert {line: done for line, done in in_korean.items() if not in_order(done, line == GAPS)} == {}
    assert r'"\U0001f680"' in in_korean[f"get {OKX_UID} params"].out
    exported = json.loads(in_korean[f"export {OKX_UID}"].out)["users"][0]["settings"]["params"]
    assert exported == exported | DOCUMENT


def test_on_a_narrow_terminal_in_ascii_nothing_is_cut(home: Path, tmp_path: Path, in_korean: dict[str, Result]) -> None:
    with Forks(environment(home, **ASCII, COLUMNS="40", TERM="xterm"), tmp_path) as run:
        assert codecs.lookup(run.encoding).name == "ascii"
        found = live(run, tmp_path, "file", "terminal", "file")
    for line, coloured in found.items():
        done = replace(coloured, out=re.sub(r"\x1b\[[\d;]*m", "", coloured.out))
        assert in_order(done, line == GAPS), (line, done)
        assert done.out.isascii() or line.startswith("export"), (line, done)  # which is a file
        if line in AGAIN:
            continue
        wide = in_korean[line].out
        lost = {word for word in wide.split() if word.isascii()} - {*done.out.split()}
        assert {word for word in lost if not VARIES.fullmatch(word) and "\\" not in word} == set(), (line, done.out)
        for form in (r"[0-9a-f]{8}-[0-9a-f-]{27}\b", r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", rf"\b{OKX_UID}\b"):
            assert len(re.findall(form, done.out)) == len(re.findall(form, wide)), (line, done.out)


def test_without_stdin_and_stdout_work_is_done_and_reports_say_why_not(home: Path, tmp_path: Path) -> None:
    with Forks(environment(home, LC_ALL="C.UTF-8"), tmp_path) as run:
        found = live(run, tmp_path, "closed", "closed", "file")
        shells = [found.pop(line) for line in list(found) if line.split()[0] in SHELLS]
        assert not any("Traceback" in done.err for done in shells)
        for line, done in found.items():
            is_report = f"{line} ".startswith(tuple(f"{name} " for name in REPORTS)) and "--check" not in line
            assert in_order(done, is_report, is_error=is_report), (line, done)
            assert ("Error: the output can't be written: it is closed\n" in done.err) == is_report, (line, done)

        run("migrate")
        run("register", OKX_UID)
        reading = ("set {} params --stdin", "set {} params --file -", "keys set {}", "keys set {} --stdin", "import -",
                   "trades import -", "trades add {} --file -", "candles import - --timeframe 1m", "user delete {}",
                   "user erase {}", "template save careful params --file -", "migrate rollback")  # fmt: skip
        for line in reading:
            done = run(*line.format(OKX_UID).split(), streams=("closed", "file", "file"))
            assert done.code == 1, (line, done)
            assert done.err.endswith("\nError: standard input is closed\n") or done.is_one_clear_error(), (line, done)
        assert len(json.loads(run("history", OKX_UID, "--json").out)) == 3

        for line in ("get nobody", "nonsense", f"get {OKX_UID} params --source disk", f"user find {OKX_UID}1", "--x"):
            assert run(*line.split(), streams=("file", "file", "closed")).out == ""
        for line in (f"set {OKX_UID} params leverage=3", "verify", "relay --once", "status --check"):
            done = run(*line.split(), streams=("file", "full", "file"))
            assert (done.code, "Error" in done.err) == (0, False), (line, done)
            assert done.err.endswith("the output can't be written: No space left on device\n"), (line, done)
