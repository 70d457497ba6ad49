"""Rounds: clients, watchers and relays at work while things go wrong; then the history is checked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from store import SettingsStore, UnknownUser
from tests.consistency import ledger, nemesis
from tests.consistency.checker import Verdict, check
from tests.consistency.client import KINDS, Cast, Client
from tests.consistency.final_rules import differences
from tests.consistency.history import Recorder, lines, load
from tests.consistency.nemesis import HEALED, Nemesis
from tests.consistency.world import World, until, world

ROUND = 20_000  # calls
CAUGHT_UP = 10.0  # seconds for a watcher


@dataclass(frozen=True)
class Plan:
    """What is to be run. `faults`: names of the nemesis's; `rogues`: in every so manieth round somebody writes into
    Redis; `wanted`: rules, of which one must break before the run ends early (empty: any)."""

    ops: int
    seed: int
    seconds: float = inf  # after which no round begins
    processes: int = 4
    users: int = 12
    round_ops: int = ROUND
    faults: list[str] = field(default_factory=lambda: list(nemesis.ALL))
    pace: float = 0.5  # seconds between faults
    rogues: int = 3
    wanted: frozenset[str] = frozenset()
    patience: float = HEALED  # seconds until both stores must be equal after the last fault
    reads: float = 1  # for each that there is by default
    keep: Path | None = None
    say: Callable[[str], Any] = print

    def is_found(self, verdict: Verdict) -> bool:
        """Tell whether a rule has broken that ends the run."""
        return any(found.rule in self.wanted or not self.wanted for found in verdict.violations)


def run(plan: Plan) -> Verdict:
    """Run rounds until there are enough calls or something is wrong; histories with violations are kept."""
    verdict, end = Verdict(), time.monotonic() + plan.seconds
    folder = plan.keep or Path(tempfile.mkdtemp(prefix="consistency-"))
    folder.mkdir(parents=True, exist_ok=True)
    with world() as servers:
        number = 0
        while verdict.ops.total() < plan.ops and time.monotonic() < end and not plan.is_found(verdict):
            number += 1
            part = folder / f"round-{number:04}"
            part.mkdir()
            ops = min(plan.round_ops, plan.ops - verdict.ops.total())
            found = run_round(servers, replace(plan, ops=ops), number, part)
            verdict.add(found)
            plan.say(f"round {number}: {verdict.ops.total():,} calls, {len(verdict.violations)} violations")
            if found.violations:
                shutil.copy(servers.log, part / "processes.log")
                plan.say(f"kept: {part}")
            elif plan.keep is None:
                shutil.rmtree(part)
    if plan.keep is None and not verdict.violations:
        shutil.rmtree(folder)
    return verdict


def run_round(servers: World, plan: Plan, number: int, folder: Path) -> Verdict:
    """Run one round; its history is in the folder."""
    servers.clean()
    servers.cast, servers.folder, servers.seed = Cast.of(number, plan.users), folder, plan.seed * 1000 + number
    servers.reads = plan.reads
    servers.is_rogue = plan.rogues > 0 and number % plan.rogues == 0
    evil = Nemesis(servers, random.Random(servers.seed))
    for _ in range(2):
        servers.start_relay()
    servers.start_watcher()
    asyncio.run(_begin(servers))
    for _ in range(plan.processes):
        servers.start_client(plan.ops // plan.processes)
    nemesis.haunt(evil, plan.faults, plan.pace, lambda: not servers.is_busy())
    evil.heal()
    asyncio.run(_read(servers, evil.evicted_owners))
    violations = evil.violations + _settle(servers, plan.patience)
    with servers.postgres() as connection, servers.redis() as redis:
        final = ledger.look(connection, redis, servers.vault())
        violations += [("process", end) for end in servers.end()]
        notes = {"is_rogue": servers.is_rogue, "reasons": [nemesis.REASON], "violations": violations}
        ledger.write(folder, connection, final, notes)
    with (folder / "faults.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in evil.lines())
    return check(load(folder))


async def _begin(servers: World) -> None:
    """Register everybody, once the watcher is there."""
    config = replace(servers.config, vault=servers.vault())
    with (servers.folder / "client-0.jsonl").open("a", encoding="utf-8", buffering=1) as file:
        async with SettingsStore(config) as store:
            client = Client(store, Recorder(file, 1), 0, servers.seed, servers.cast, servers.environment())
            await _register(client, servers.cast.beacon)
            for _ in range(600):
                if all(any(_told(servers, by)) for by in ("w", "fed")):
                    break
                await client.call(
                    "save",
                    {"o": servers.cast.beacon, "k": KINDS[0]},
                    lambda op: store.save(servers.cast.beacon, KINDS[0], {"n": op}),
                    client.saved,
                )
                await asyncio.sleep(0.05)
            for user in servers.cast.users:
                await _register(client, user)
            await store.save_template("consistency", KINDS[0], {"template": "consistency"})
            await client.close()


async def _read(servers: World, owners: Iterable[str]) -> None:
    """Read all documents of these users: what was evicted comes back with the next read, not before."""
    async with SettingsStore(replace(servers.config, vault=servers.vault())) as store:
        for owner in owners:
            with contextlib.suppress(UnknownUser):
                for kind in KINDS:
                    setting_type, _, symbol = kind.partition(":")
                    await store.get(owner, setting_type, symbol=symbol or None)
                await store.get_credentials(owner)


async def _register(client: Client, user: str) -> None:
    documents = {kind: {"n": -1, "of": user} for kind in KINDS[:3]}
    await client.call(
        "register",
        {"o": user},
        lambda _: client.store.register(user, documents=documents),
        lambda found: [client.saved(saved) for saved in found.settings],
    )


def _told(servers: World, by: str) -> list[dict[tuple[str, str], int]]:
    """The newest version of every document that each watcher was told of by its watch (w), or by the feed (fed)."""
    files = [servers.folder / f"client-{number}.jsonl" for number in servers.watchers]
    told = [[line for line in lines(file) if by in line] for file in files if file.exists()]
    return [{(line["o"], line["k"]): line["v"] for line in each} for each in told]


def _settle(servers: World, patience: float) -> list[tuple[str, str]]:
    """Wait until both stores are equal and the watchers were told; what an administrator does about rogue writers is
    done. What is wrong then is found by the checker."""
    problems = [servers.job("verify", "--repair")] if servers.is_rogue else []

    def is_equal() -> bool:
        with servers.postgres() as connection, servers.redis() as redis:
            return not differences(ledger.look(connection, redis, servers.vault()))

    def is_told() -> bool:
        with servers.postgres() as connection:
            query = "select okx_uid, setting_type, version from user_settings where is_active"
            versions = {(owner, kind): version for owner, kind, version in connection.execute(query)}
        return all(
            told.get(key) == version
            for by in ("w", "fed")
            for told in _told(servers, by)
            for key, version in versions.items()
            if by == "fed" or key[0] not in (*servers.cast.mortals, servers.cast.ghost)
        )

    if until(is_equal, patience) and servers.is_rogue:
        problems.append(servers.job("verify", may_fail=False))  # which must think so, too
    until(is_told, min(patience, CAUGHT_UP))
    return [("job", problem) for problem in problems if problem]
