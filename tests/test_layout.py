"""The rooms of store/: no circle of imports, and each talks to those it is for. See docs/architecture.md."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
STORE = CHECKOUT / "store"
MODULES = {
    ".".join(file.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in STORE.rglob("*.py")
}
LEAVES = ("store.errors", "store.models", "store.batches", "store.ending", "store.json_reader", "store.json_writer",
          "store.shown")  # fmt: skip


def imports(module: str, *, at_start: bool) -> set[str]:
    """List what a module imports: as it is loaded itself, or ever (in functions; not for the type checker alone)."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    hints = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    unseen = {id(node) for hint in hints for node in ast.walk(hint)}
    if at_start:
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        unseen |= {id(node) for function in functions for node in ast.walk(function)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & set(MODULES)) or {node.module}
    return found


def test_there_is_no_circle_of_imports() -> None:
    graph = {module: imports(module, at_start=True) & set(MODULES) - {module} for module in MODULES}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("room", "stranger"),
    [
        ("postgres", "redis"),
        ("mirror", "psycopg"),
        ("encryption", "redis"),
        ("commands", "psycopg"),
        ("commands", "redis"),
    ],
)
def test_a_room_talks_to_what_it_is_for(room: str, stranger: str) -> None:
    inside = {module: imports(module, at_start=False) for module in MODULES if module.startswith(f"store.{room}.")}
    assert inside
    assert [
        module for module, found in inside.items() if any(f"{name}.".startswith(f"{stranger}.") for name in found)
    ] == []


@pytest.mark.parametrize("module", LEAVES)
def test_what_everything_stands_on_stands_on_nothing_but_that(module: str) -> None:
    assert {name for name in imports(module, at_start=True) if name.startswith("store")} <= set(LEAVES)


def test_every_folder_of_sql_has_a_subject_and_its_functions_are_called_in_a_module_of_its_name() -> None:
    folders = {folder.name for folder in (CHECKOUT / "sql").iterdir() if folder.is_dir()}
    modules = {file.stem for file in (STORE / "postgres" / "functions").glob("[a-z]*.py")}
    assert modules <= folders
    internal = {file.name.partition(".")[0] for file in (CHECKOUT / "sql").glob("*/_*.sql")}
    code = "\n".join(file.read_text(encoding="utf-8") for file in STORE.rglob("*.py") if file.name != "sources.py")
    assert [name for name in internal if f"{name}(" in code or f'"{name}"' in code] == []
