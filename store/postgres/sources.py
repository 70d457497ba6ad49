"""The files of sql/ and migrations/, as they lie in the checkout or in an installed package."""

from __future__ import annotations

import re
from pathlib import Path

# Roles before all, with _allow(), by which functions say who may call them. Views before functions, as functions return
# their rows; triggers after them, as they call functions. Then who may do what with tables. roles, policies and grants
# make no object of their name, but installed_definition() knows them.
KINDS = ("roles", "_allow", "view", "function", "trigger", "policies", "grants")


def resources(name: str) -> Path:
    """Find sql/ or migrations/: inside an installed package, else beside it in the checkout."""
    package = Path(__file__).parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def sql_files() -> list[Path]:
    """List the files of sql/ in the order they are applied."""
    return sorted(resources("sql").glob("*/*.sql"), key=lambda file: (KINDS.index(kind_of(file)), file.name))


def name_of(file: Path) -> str:
    """Name the object that a file of sql/ makes."""
    return file.name.partition(".")[0]


def kind_of(file: Path) -> str:
    """Tell what a file of sql/ makes: NAME.view.sql, NAME.trigger.sql, and NAME.sql, a function."""
    name, *kind = file.name.split(".")[:-1]
    return name if name in KINDS else kind[0] if kind else "function"


def rights_of(file: Path) -> list[str] | None:
    """Read from the file of a function which roles may call it. None: it doesn't say so."""
    said = re.search(
        rf"^select _allow\('{name_of(file)}'(, '[a-z ]+')?\);$", file.read_text(encoding="utf-8"), re.MULTILINE
    )
    return re.findall(r"\w+", said[1] or "") if said else None


def table_rights() -> list[tuple[list[str], str, list[str]]]:
    """Read from grants.sql which roles have which privileges on which tables and views."""
    text = re.sub(r"'\s+'", "", (resources("sql") / "access" / "grants.sql").read_text(encoding="utf-8"))
    rows = re.findall(r"^ +\('([a-z ]+)', '([a-z, ]+)', '(\w+(?:, \w+)*)'\)", text, re.MULTILINE)
    return [(roles.split(), privileges, names.split(", ")) for roles, privileges, names in rows]
