"""Writes store/api/sync.pyi, the types of SyncSettingsStore, from the source of SettingsStore.

make docs
.venv/bin/python -m tests.store.api.sync_stub > store/api/sync.pyi
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from store.api.background import Blocking
from store.api.store import SettingsStore

HEAD = '''"""Types of store/api/sync.py. Written by `make docs` from those of SettingsStore; a test keeps it so."""

'''
ASYNC = {"AsyncGenerator", "AsyncIterator"}
Method = ast.FunctionDef | ast.AsyncFunctionDef


def stub() -> str:
    """Return store/api/sync.pyi."""
    imports = {"from store.api.background import Blocking, SyncIterator"}
    methods = [text for module, node in _methods() for text in _method(module, node, imports)]
    body = "\n".join(["class SyncSettingsStore(Blocking):", *methods])
    return _formatted(HEAD + "\n".join(sorted(imports)) + "\n\n" + body + "\n")


def _methods() -> Iterator[tuple[ModuleType, Method]]:
    """Find the public methods, overloads too, by class and as they stand there."""
    known = set(dir(Blocking))
    for part in SettingsStore.__mro__[:-1]:
        module = sys.modules[part.__module__]
        classes = [node for node in _tree(module).body if isinstance(node, ast.ClassDef)]
        (found,) = [node for node in classes if node.name == part.__name__]
        nodes = [node for node in found.body if isinstance(node, Method) and not node.name.startswith("_")]
        yield from ((module, node) for node in nodes if node.name not in known)
        known |= {node.name for node in nodes}


def _method(module: ModuleType, node: Method, imports: set[str]) -> Iterator[str]:
    """Write a method's signature, with its docstring; of an overloaded one the overloads only."""
    decorators = {ast.unparse(each) for each in node.decorator_list}
    assert decorators <= {"overload"}, node.name
    if not decorators and any(other.name == node.name for other in _overloads(module)):
        return
    assert node.returns
    for hint in (node.returns, *(each for each in ast.walk(node.args) if isinstance(each, ast.arg))):
        names = {each.id for each in ast.walk(hint) if isinstance(each, ast.Name)} - ASYNC | decorators
        imports |= {_import(module, name) for name in names if not hasattr(builtins, name)}
    defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
    for default in defaults:
        assert isinstance(default, ast.Constant | ast.Tuple | ast.Lambda), node.name
    node.args.kw_defaults = [
        ast.Constant(...) if isinstance(each, ast.Lambda) else each for each in node.args.kw_defaults
    ]
    returns = re.sub(rf"^({'|'.join(ASYNC)})\b", "SyncIterator", ast.unparse(node.returns))
    yield from (f"    @{decorator}" for decorator in decorators)
    yield f"    def {node.name}({ast.unparse(node.args)}) -> {returns}:"
    told = _overloaded(module, node) if decorators else node
    source = inspect.getsource(module)
    yield f"        {ast.get_source_segment(source, told.body[0])}"


def _overloads(module: ModuleType) -> list[Method]:
    nodes = [node for node in ast.walk(_tree(module)) if isinstance(node, Method)]
    return [node for node in nodes if "overload" in map(ast.unparse, node.decorator_list)]


def _overloaded(module: ModuleType, overload: Method) -> Method:
    """Find what an overload is of."""
    return [node for node in ast.walk(_tree(module)) if isinstance(node, Method) and node.name == overload.name][-1]


def _import(module: ModuleType, name: str) -> str:
    """Write the import of what a module calls by a name: as it imports it, or else from there."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            return f"from {node.module} import {name}"
    assert hasattr(module, name), name
    return f"from {module.__name__} import {name}"


@cache
def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _formatted(text: str) -> str:
    """Return a text as the linter wants it."""
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--quiet", "--select", "I", "--fix-only"], ["format"]):
        line = [*ruff, *command, "--stdin-filename", "store/api/sync.pyi", "-"]
        text = subprocess.run(line, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    sys.stdout.write(stub())
