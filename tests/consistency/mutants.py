"""Negative controls: the product, broken on purpose. Each break must be found by the checker, or the run fails.

A break is old text and new in files of a copy of the checkout; text that isn't there exactly once fails the run, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.consistency.broken import BROKEN, Broken

CHECKOUT = Path(__file__).parents[2]
PARTS = ("store", "sql", "migrations", "tests", "cli.py")
LONGEST = 600  # seconds of a run


@dataclass(frozen=True)
class Outcome:
    """What became of a run on a broken product. `rule`: the wanted one that broke; None: not found."""

    broken: Broken
    rule: str | None
    ops: int
    seconds: float
    said: str


def run_mutants(names: Sequence[str], at_once: int) -> int:
    """Run all, or those of these names; print the table. Returns 1 if one wasn't found."""
    chosen = [broken for broken in BROKEN if broken.name in names or not (names or broken.is_rare)]
    began = time.monotonic()
    print("| break | found by | calls until then | s |\n|---|---|---|---|", flush=True)
    outcomes = []
    with ThreadPoolExecutor(at_once) as pool:
        for done in as_completed([pool.submit(_run, broken) for broken in chosen]):
            outcomes.append(outcome := done.result())
            found = outcome.rule or "**nothing**"
            print(f"| {outcome.broken.what} | {found} | {outcome.ops:,} | {outcome.seconds:.0f} |", flush=True)
    missed = [outcome for outcome in outcomes if outcome.rule is None]
    for outcome in missed:
        print(f"\nnot found: {outcome.broken.name}\n{outcome.said[-3000:]}")
    print(f"\n{len(outcomes) - len(missed)} of {len(outcomes)} found in {time.monotonic() - began:.0f} s")
    return 1 if missed or not chosen else 0


def _run(broken: Broken) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy, verdict = Path(folder) / "checkout", Path(folder) / "verdict"
        if problem := _break(broken, copy):
            return Outcome(broken, None, 0, 0, problem)
        options = {
            "ops": broken.ops, "round": broken.round_ops, "seed": broken.seed,
            "faults": ",".join(broken.faults) or "none",
            "rogues": broken.rogues, "users": broken.users, "pace": broken.pace, "wanted": ",".join(broken.rules),
            "patience": 8, "verdict": verdict, "keep": Path(folder) / "histories",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "tests.consistency", "run", *words]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        with (Path(folder) / "said").open("w+", encoding="utf-8") as file:
            process = subprocess.Popen(command, cwd=copy, env=environment, stdout=file, stderr=file)
            try:
                process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
            file.seek(0)
            said = file.read()
        found: Any = json.loads(verdict.read_text()) if verdict.exists() else {"ops": 0, "rules": {}}
        rule = next((rule for rule in broken.rules if rule in found["rules"]), None)
        return Outcome(broken, rule, found["ops"], time.monotonic() - began, said)


def _break(broken: Broken, copy: Path) -> str:
    """Copy the checkout and break the copy; say why that can't be done."""
    copy.mkdir()
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / part)
    for file, old, new in broken.changes:
        text = (copy / file).read_text(encoding="utf-8")
        if text.count(old) != 1:
            return f"{file} has this {text.count(old)} times: {old}"
        (copy / file).write_text(text.replace(old, new), encoding="utf-8")
    return ""
