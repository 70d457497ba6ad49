"""pgspot finds nothing in sql/ that lets somebody else's object or operator run with another's rights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from store.postgres import sources

pytestmark = pytest.mark.slow

PGSPOT = Path(sys.executable).with_name("pgspot")

# As `migrate` has it. `create schema` tells pgspot what access/test_roles.py proves: nobody else may create in it.
PREAMBLE = "create schema public; set search_path = public, pg_temp;"

IGNORED = {
    "PS002": "`create or replace` of a function: who made one of this name before would own it. Nobody else can, and"
    " PostgreSQL refuses to replace what isn't the migrating user's.",
    "PS015": "`create or replace` of a view: the same.",
}

# pgspot can't read an SQL expression body (`return …`): it fails on them. Names in such a body are resolved when the
# function is made, so no search_path changes them.
UNREADABLE = {"_writer_note", "_is_valid_value"}


def pgspot(tmp_path: Path, files: Sequence[Path], *options: str) -> str:
    (tmp_path / "preamble.sql").write_text(PREAMBLE)
    paths = [str(file) for file in (tmp_path / "preamble.sql", *files)]
    command = [str(PGSPOT), "--append", *options, *paths]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    return done.stdout + done.stderr


def test_nothing_is_found(tmp_path: Path) -> None:
    files = [file for file in sources.sql_files() if file.stem not in UNREADABLE]
    found = pgspot(tmp_path, files, *(f"--ignore={code}" for code in IGNORED))
    assert found.splitlines()[-1] == "TOTAL: Errors: 0 Warnings: 0 Unknown: 0", found


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_what_it_cannot_read_is_an_expression_body(tmp_path: Path, name: str) -> None:
    (file,) = [file for file in sources.sql_files() if file.stem == name]
    assert "\nreturn " in file.read_text()
    assert "list index out of range" in pgspot(tmp_path, [file])


@pytest.mark.parametrize("code", sorted(IGNORED))
def test_no_exception_is_made_for_nothing(tmp_path: Path, code: str) -> None:
    files = [file for file in sources.sql_files() if file.stem not in UNREADABLE]
    assert f"{code}: " in pgspot(tmp_path, files)


def test_it_would_find_a_function_with_the_owners_rights_and_no_path_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "bad.sql"
    file.write_text("create function f() returns void language sql security definer as $$ select g() $$;")
    found = pgspot(tmp_path, [file])
    assert "PS003" in found
    assert "PS016" in found
