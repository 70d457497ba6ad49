"""python -m tests.consistency run --ops 1000000 --seed 7: see docs/consistency.md."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path

from tests.consistency import client, nemesis
from tests.consistency.checker import check_folder
from tests.consistency.client import Cast
from tests.consistency.mutants import run_mutants
from tests.consistency.run import ROUND, Plan, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="run clients and faults, and check what came of it")
    running.add_argument("--ops", type=int, default=100_000)
    running.add_argument("--seed", default="random", help="a number, or random (printed)")
    running.add_argument("--seconds", type=float, default=float("inf"), help="after which no round begins")
    running.add_argument("--processes", type=int, default=4)
    running.add_argument("--users", type=int, default=12)
    running.add_argument("--round", type=int, default=ROUND, help="calls until both stores are compared")
    running.add_argument("--faults", default="all", help="names with commas, all, or none")
    running.add_argument("--pace", type=float, default=0.5, help="seconds between faults")
    running.add_argument("--reads", type=float, default=1, help="reads for each that there is by default")
    running.add_argument("--rogues", type=int, default=3, help="every so many rounds; 0: never")
    running.add_argument("--wanted", default="", help="rules, with commas: end when one of these breaks, not any")
    running.add_argument("--patience", type=float, default=nemesis.HEALED, help="seconds until both stores are equal")
    running.add_argument("--verdict", type=Path, help="write what was found there, as JSON")
    running.add_argument("--keep", type=Path, help="keep the histories in this folder")
    checking = commands.add_parser("check", help="check histories that were kept")
    checking.add_argument("folder", type=Path)
    mutating = commands.add_parser("mutants", help="break the product on purpose; each break must be found")
    mutating.add_argument("names", nargs="*")
    mutating.add_argument("--at-once", type=int, default=2)
    for name in ("client", "watch"):  # processes of a run
        child = commands.add_parser(name)
        child.add_argument("--number", type=int)
        child.add_argument("--folder", type=Path)
        if name == "client":
            child.add_argument("--ops", type=int)
            child.add_argument("--seed", type=int)
            child.add_argument("--cast")
            child.add_argument("--reads", type=float)
            child.add_argument("--rogue", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    sys.exit(_do(options))


def _do(options: argparse.Namespace) -> int:
    if options.command == "client":
        cast = Cast.of(*map(int, options.cast.split(",")))
        given = (options.number, options.ops, options.seed, options.folder, cast, options.reads, options.rogue)
        asyncio.run(client.work(*given))
        return 0
    if options.command == "watch":
        asyncio.run(client.watch(options.number, options.folder))
        return 0
    if options.command == "mutants":
        return run_mutants(options.names, options.at_once)
    if options.command == "check":
        verdict = check_folder(options.folder)
    else:
        seed = random.randrange(1_000_000) if options.seed == "random" else int(options.seed)
        print(f"seed: {seed}", flush=True)
        named = {"all": list(nemesis.ALL), "none": []}
        faults = named.get(options.faults) if options.faults in named else options.faults.split(",")
        wanted = frozenset(filter(None, options.wanted.split(",")))
        plan = Plan(
            options.ops, seed, options.seconds, options.processes, options.users,
            options.round, faults or [], options.pace,
            options.rogues, wanted, options.patience, options.reads, options.keep,
        )  # fmt: skip
        verdict = run(plan)
        if options.verdict:
            options.verdict.write_text(verdict.as_json(), encoding="utf-8")
    print(*verdict.lines(), sep="\n", flush=True)
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    main()
