"""Blocks of commands in the README and docs/ do what they say: each is run as it stands, or listed with the reason."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from store.encryption.vault import generate_key
from tests.cli.conftest import CHECKOUT, SCRIPT, Cli
from tests.cli.test_docs import WRITTEN

pytestmark = pytest.mark.slow

PAGES = [*sorted(CHECKOUT.glob("README*.md")), *sorted(WRITTEN)]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LANGUAGES = ("sh", "bash", "sql", "")
DEPLOYMENT = "of a deployment: its servers, logins, files and services"

# By their first line.
NOT_RUN = {
    "psql ─┐": "a picture",
    "make demo": "tests/cli/test_wheel.py, and the suite itself",
    "set -a; . ./settings-store.env": "another program's file",
    "export SETTINGS_STORE_KEYS=…": "of a predecessor's database: tests/cli/test_adopting.py",
    "select version, settings, setting_type from get_user_settings(": "tests/store/mirror/test_vectors.py",
    "settings-store schema params > params.schema.json": "generators: tried by hand, in these versions",
    "select count(*) from hyperrsi_trades": "of a predecessor's database: tests/migrations/test_there_and_back.py",
    "python3 -m venv /opt/settings-store": DEPLOYMENT,
    "create role mirror login": DEPLOYMENT,
    "DATABASE_URL='postgresql://mirror:…": DEPLOYMENT,
    "cp docs/settings-store-relay.service": DEPLOYMENT,
    "MAILTO=ops@example.com": DEPLOYMENT,
    "[ -e .env ] ||": "of Docker",
    ". ./.env": "of Docker",
    'export PATH="$PATH:/opt/settings-store/bin"': DEPLOYMENT,
    "settings-store backup drill.zip": DEPLOYMENT,
    "pg_dump --format custom": DEPLOYMENT,
    "-- of pg_cron": "an extension that the servers of the tests lack",
    "-- of TimescaleDB": "an extension that the servers of the tests lack",
    "begin;\ndo $$": "of TimescaleDB: tests/sql/candles/test_hypertables.py",
    "settings-store register 587662504768345929\nsettings-store set": "on embedded servers: tests/cli/test_servers.py",
}
ANSWERS = {"keys set": "api-key\nsecret\npassphrase\n", "user delete": "y\n", "user erase": "y\n"}


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Yield the language and the text of each block of commands."""
    for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in LANGUAGES:
            yield language, re.sub(r"^ +", "", text, flags=re.MULTILINE)


def to_run(page: Path) -> list[tuple[str, str]]:
    """List those that aren't listed as not run."""
    return [found for found in blocks(page) if not any(found[1].startswith(line) for line in NOT_RUN)]


def run(here: Cli, line: str) -> None:
    """Run a line in a shell, or in this process if it is a command of ours and nothing else."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["settings-store"] and not {">", "|", "&&"} & set(words) and words[1] != "psql":
        stdin = next((text for command, text in ANSWERS.items() if " ".join(words[1:]).startswith(command)), "")
        done = here.run(*words[1:], stdin=stdin)
        assert done.code == 0, (line, done)
    elif words:
        path = f"{here.env['PATH']}:{SCRIPT.parent}"
        subprocess.run(["sh", "-ec", line], env={**here.env, "PATH": path}, cwd=here.cwd, check=True, timeout=60)


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=lambda page: page.name)
def test_the_blocks_of_the_page_run_one_after_the_other(page: Path, inside: Cli, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(CHECKOUT / "docs")
    inside.env["SETTINGS_STORE_KEYS"] = generate_key()
    here = replace(inside, cwd=tmp_path)
    for language, block in to_run(page):
        if language == "sql":
            psql = [str(SCRIPT), "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"]
            subprocess.run(psql, input=block, text=True, env=here.env, check=True, timeout=60)
        else:
            for line in block.replace("\\\n", " ").splitlines():
                run(here, line)


def test_what_is_listed_as_not_run_is_there() -> None:
    found = [block for page in PAGES for _, block in blocks(page)]
    assert [line for line in NOT_RUN if not any(block.startswith(line) for block in found)] == []
