"""Several processes write, read and relay while servers and processes are killed; then everything is checked.

    python -m tests.faults.soak --ops 1000000 --processes 6 --seed 1

Every acknowledged save is a line in a file. Checked at the end: each is in the history at its version,
credentials can be decrypted to what was saved; versions are gapless; one row is active; after the faults end
and one relay pass (with rogue writers in Redis: a sync and a repair), verify finds nothing; no read with
min_version ever returned less. Exit code 1 on any violation. The seed repeats the choices, not the interleaving.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import redis as redis_py

from store import Config, SettingsStore, Vault
from store.coherence.relay import Relay
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.encryption.fields import unseal
from store.encryption.vault import generate_key
from store.files.backup import check_backup
from store.operations import embedded
from store.postgres import migrate
from tests.faults.soak_worker import USERS, work
from tests.servers.stacks import postgres

# -- faults


@dataclass
class World:
    """The servers, and the processes that run on them."""

    config: Config
    folder: Path
    rogue: bool
    workers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    todo: dict[int, int] = field(default_factory=dict)
    relays: list[subprocess.Popen[bytes]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    next_seed: int = 1
    keys: list[str] = field(default_factory=lambda: [generate_key(), generate_key()])

    @property
    def home(self) -> Path:
        return self.config.home

    @property
    def environment(self) -> dict[str, str]:
        limits = {"REDIS_TIMEOUT": "0.2", "DB_TIMEOUT": "2"}
        return {**self.config.environment(), **limits, "SETTINGS_STORE_KEYS": " ".join(self.keys)}

    def start_worker(self, ops: int) -> None:
        seed, self.next_seed = self.next_seed, self.next_seed + 1
        command = [sys.executable, "-m", "tests.faults.soak", "--worker", str(seed), "--ops", str(ops)]
        command += ["--notes", str(self.folder / f"notes-{seed}")] + (["--rogue"] if self.rogue else [])
        style = {"PGDATESTYLE": "German"} if seed % 2 == 0 else {}
        self.workers[seed] = subprocess.Popen(command, env=self.environment | style)
        self.todo[seed] = ops

    def start_relay(self) -> None:
        log = (self.folder / "relay.log").open("ab")
        command = [sys.executable, "-m", "cli", "relay", "--poll", "0.01"]
        self.relays.append(subprocess.Popen(command, env=self.environment, stderr=log))
        log.close()

    def done(self, seed: int) -> int:
        """Count the operations that a worker noted."""
        notes = self.folder / f"notes-{seed}"
        return notes.read_bytes().count(b"\n") if notes.exists() else 0

    def redis(self) -> redis_py.Redis:
        return redis_py.Redis.from_url(self.config.redis_url or "", socket_timeout=5)

    # Each fault is a method; the names are printed.

    def redis_restarted(self) -> None:
        embedded.stop_redis(self.home)
        time.sleep(0.2)
        embedded.start_redis(self.home)

    def redis_killed(self) -> None:
        pid = embedded.redis_pid(self.home)
        assert pid
        os.kill(pid, signal.SIGKILL)
        _until(lambda: embedded.redis_pid(self.home) is None)
        embedded.start_redis(self.home)

    def redis_paused(self) -> None:
        pid = embedded.redis_pid(self.home)
        assert pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.6)
        os.kill(pid, signal.SIGCONT)

    def redis_flushed(self) -> None:
        with self.redis() as client:
            client.flushall()

    def redis_from_older_snapshot(self) -> None:
        snapshot = self.folder / "snapshot"
        embedded.stop_redis(self.home)
        if snapshot.exists():
            shutil.rmtree(self.home / "redis")
            snapshot.rename(self.home / "redis")
        else:
            shutil.copytree(self.home / "redis", snapshot)
        embedded.start_redis(self.home)

    def redis_full(self) -> None:
        with self.redis() as client:
            client.config_set("maxmemory", "100kb")
            time.sleep(0.3)
            client.config_set("maxmemory", "0")

    def redis_read_only(self) -> None:
        with self.redis() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            time.sleep(0.3)
            client.execute_command("REPLICAOF", "NO", "ONE")

    def postgres_restarted(self) -> None:
        postgres.stop(self.home)
        postgres.start(self.home)

    def postgres(self) -> psycopg.Connection[tuple[Any, ...]]:
        patient = "-c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0"  # whatever is set meanwhile
        return psycopg.connect(self.config.database_url or "", autocommit=True, options=patient)

    def _postgres_set(self, seconds: float, **settings: str) -> None:
        """Have every connection, of before, too, take these settings for a while."""
        with self.postgres() as connection:
            for change in ("set {} = '{}'", "reset {}"):
                for setting in settings.items():
                    connection.execute(f"alter system {change.format(*setting)}".encode())
                connection.execute("select pg_reload_conf()")
                time.sleep(seconds)

    def postgres_read_only(self) -> None:
        self._postgres_set(0.5, default_transaction_read_only="on")

    def postgres_impatient(self) -> None:
        self._postgres_set(0.5, idle_in_transaction_session_timeout="50ms", idle_session_timeout="50ms")

    def redis_impatient(self) -> None:
        with self.redis() as client:
            client.config_set("timeout", "1")
            time.sleep(1.5)
            client.config_set("timeout", "0")

    def transaction_left_open(self) -> None:
        """Hold the rows that somebody writes, and their marks."""
        with self.postgres() as connection, connection.transaction(force_rollback=True):
            some = random.sample(USERS, 2)
            connection.execute("set local lock_timeout = '5s'")
            with contextlib.suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                connection.execute(
                    "select from user_settings where okx_uid = any (%s) and is_active for update", (some,)
                )
                connection.execute("select from mirror_pending for update")
                time.sleep(1)

    def marks_vacuumed(self) -> None:
        with self.postgres() as connection:
            connection.execute("vacuum (truncate off) mirror_pending")

    def connections_cut(self) -> None:
        with self.postgres() as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )

    def worker_killed(self) -> None:
        alive = [seed for seed, worker in self.workers.items() if worker.poll() is None]
        if alive:
            seed = random.choice(alive)
            self.workers[seed].kill()
            self.workers[seed].wait()
            left = self.todo[seed] - self.done(seed)
            if left > 0:
                self.start_worker(left)

    def relay_killed(self) -> None:
        self.relays[0].kill()
        self.relays.pop(0).wait()
        self.start_relay()

    def synced(self) -> None:
        self._job("sync", "--prefer", random.choice(["redis", "db"]))

    def repaired(self) -> None:
        self._job("verify", "--repair")

    def keys_rotated(self) -> None:
        """Make the other key the one that writes; processes under way go on with theirs."""
        self.keys.reverse()
        self._job("keys", "rotate")

    def template_applied(self) -> None:
        self._job("template", "apply", "soak", "preferences", "--all")

    def backed_up(self) -> None:
        file = self.folder / "backup.zip"
        file.unlink(missing_ok=True)
        self._job("backup", str(file))
        if file.exists():
            check_backup(file)

    def _job(self, *arguments: str) -> None:
        """Run a command amid the faults: it may find something, or a store away, but not fail otherwise."""
        command = [sys.executable, "-m", "cli", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode not in (0, 1, 3) or "Traceback" in done.stderr:
            self.violations.append(f"{arguments} ended with {done.returncode}: {done.stderr[-500:]}")

    def all_faults(self) -> list[Callable[[], None]]:
        return [
            self.redis_restarted, self.redis_killed, self.redis_paused, self.redis_flushed,
            self.redis_from_older_snapshot, self.redis_full, self.redis_read_only, self.postgres_restarted,
            self.connections_cut, self.worker_killed, self.relay_killed, self.synced, self.repaired, self.keys_rotated,
            self.template_applied, self.backed_up, self.postgres_read_only, self.postgres_impatient,
            self.redis_impatient, self.transaction_left_open, self.marks_vacuumed,
        ]  # fmt: skip


def _until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


# -- the run


def run(ops: int, processes: int, seed: int, rogue: bool, say: Callable[[str], Any] = print) -> list[str]:
    """Run it all; return the violations."""
    random.seed(seed)
    folder = Path(tempfile.mkdtemp(prefix="ss-soak-"))
    home = Path(tempfile.mkdtemp(prefix="ss-"))
    config = Config(postgres.start(home), embedded.start_redis(home), home=home)
    world = World(config, folder, rogue)
    try:
        postgres.install_timescaledb(config.database_url or "")
        migrate.migrate(config.database_url or "")
        asyncio.run(_register(config))
        for _ in range(2):
            world.start_relay()
        for _ in range(processes):
            world.start_worker(ops // processes)
        while any(worker.poll() is None for worker in world.workers.values()):
            time.sleep(random.uniform(0.1, 0.8))
            fault = random.choice(world.all_faults())
            fault()
            world.faults[fault.__name__] += 1
        for relay in world.relays:
            relay.terminate()
            relay.wait(30)
        config = replace(config, vault=Vault.from_env({"SETTINGS_STORE_KEYS": " ".join(world.keys)}))
        world.config = config
        violations = world.violations + _check_notes(world) + asyncio.run(_check_stores(config, rogue))
        ends = [worker.returncode for worker in world.workers.values()]
        violations += [f"a worker ended with {code}" for code in ends if code not in (0, -signal.SIGKILL)]
    finally:
        for process in [*world.workers.values(), *world.relays]:
            process.kill()
            process.wait()
        postgres.stop(home)
        embedded.stop(config)
        shutil.rmtree(home)
        shutil.rmtree(folder)
    say(f"operations: {world.notes.total()} {dict(world.notes)}")
    say(f"faults: {world.faults.total()} {dict(world.faults)}")
    say(f"violations: {len(violations)}")
    for violation in violations[:20]:
        say(f"  {violation}")
    return violations


async def _register(config: Config) -> None:
    async with SettingsStore(config) as store:
        for user in USERS:
            await store.register(user)
        await store.save_template("soak", "preferences", {"template": "soak"})


def _check_notes(world: World) -> list[str]:
    """Hold every acknowledged save against the history."""
    violations = []
    with psycopg.connect(world.config.database_url or "") as connection:
        history = {
            (user, kind, version): n
            for user, kind, version, n in connection.execute(
                "select okx_uid, setting_type, version, settings ->> 'n' from user_settings"
            )
        }
        assert world.config.vault
        keyed = {
            (user, version): unseal(world.config.vault, user, {"api_key": key})["api_key"]
            for user, version, key in connection.execute(
                "select okx_uid, version, api_key from okx_api_info where deleted_at is null"
            )
        }
        for user, kind, versions, highest, active in connection.execute(
            "select okx_uid, setting_type, count(*), max(version), count(*) filter (where is_active)"
            " from user_settings group by 1, 2 union all"
            " select okx_uid, 'credentials', count(*), max(version), count(*) filter (where is_active)"
            " from okx_api_info group by 1"
        ):
            if versions != highest or active != 1:
                violations.append(f"{user} {kind}: {versions} versions up to {highest}, {active} active")
    for file in sorted(world.folder.glob("notes-*")):
        for line in file.read_text().split("\n")[:-1]:
            what, *rest = line.split()
            found = expected = None
            world.notes[what] += 1
            if what == "less":
                violations.append(f"a read returned less: {line}")
            elif what == "saved":
                found, expected = history.get((rest[0], rest[1], int(rest[2]))), rest[3]
            elif what == "keyed":
                found, expected = keyed.get((rest[0], int(rest[1]))), f"key-{rest[2]}"
            if found != expected:
                violations.append(f"acknowledged, not in the history: {line}")
    return violations


async def _check_stores(config: Config, rogue: bool) -> list[str]:
    """One relay pass, then both sides must be equal."""
    async with SettingsStore(replace(config, redis_timeout=5.0)) as store:
        await Relay(store._connections).once()
        if rogue:
            await Sync(store._connections, prefer="redis").run()
            await verify(store._connections, repair=True)
        report = await verify(store._connections)
        return [f"verify: {finding}" for finding in report.users]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rogue", action="store_true", help="also write into Redis behind the store's back")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--notes", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        asyncio.run(work(options.worker, options.ops, options.notes, options.rogue))
    elif run(options.ops, options.processes, options.seed, options.rogue):
        sys.exit(1)


if __name__ == "__main__":
    main()
