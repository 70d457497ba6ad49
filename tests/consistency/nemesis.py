"""What goes wrong in a run. Each fault is a method: it begins, and returns when it is over."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import product
from typing import Any

import psutil
import psycopg
import redis as redis_py

from store.files.backup import check_backup
from store.operations import embedded
from tests.consistency.client import KINDS, SUFFIXES
from tests.consistency.history import Fault, now
from tests.consistency.world import CLOCKS, World, start_postgres, until
from tests.helpers.redis_copies import copy_of, take_over
from tests.servers.stacks import postgres

SYMBOLS = KINDS[-1]
HEALED = 20.0  # seconds until Redis must be right again
KEYS = {**SUFFIXES, "api_keys": "api:keys"}
REASON = "template consistency"  # of versions that jobs make
SHOULD_BE = b"select owner, kind, version, updated_at from mirror_source"
Key = tuple[str, str]  # owner, kind


@dataclass
class Nemesis:
    """Brings about faults, and notes them."""

    world: World
    random: random.Random
    faults: list[Fault] = field(default_factory=list)
    evicted_owners: set[str] = field(default_factory=set)  # of whom Redis may lack what nobody has read since
    violations: list[tuple[str, str]] = field(default_factory=list)

    def strike(self, names: list[str]) -> None:
        """Bring about one fault of these."""
        name = self.random.choice(names)
        start = now()
        try:
            getattr(self, name)()
        except (redis_py.RedisError, psycopg.OperationalError) as error:
            self.violations.append(("nemesis", f"{name}: {error}"))
        is_lossy = name in LOSSY
        if is_lossy and not self._is_right_again():
            why = sorted(self._missing)[:5] + self._left[:5]
            self.violations.append(("healing", f"after {name} at {start}: {why}"))
        self.faults.append(Fault(name, start, now(), is_lossy, name.startswith(("redis", "evict"))))

    def lines(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.faults]

    def heal(self) -> None:
        """Leave nothing behind."""
        for line in (self.world.redis_line, self.world.postgres_line):
            line.heal()

    def _is_right_again(self) -> bool:
        """Wait until Redis has all that PostgreSQL has now, or newer."""
        said = defaultdict[Key, set[tuple[int, datetime]]](set)  # by PostgreSQL since then
        self._missing, self._left = set(self._states()), list[tuple[str, Any]]()
        mortals = {*self.world.cast.mortals, self.world.cast.ghost}

        def is_right() -> bool:
            with self.world.redis() as client:
                states = self._states()
                for key, state in states.items():
                    said[key].add(state)
                self._missing &= states.keys()
                for owner, kind in list(self._missing):
                    version, moment = client.hmget(f"user:{owner}:mirror", kind, f"{kind}:updated_at")
                    if moment and (int(version), datetime.fromisoformat(moment)) in said[owner, kind]:
                        self._missing.discard((owner, kind))
                with self.world.postgres() as connection:
                    known = {uid for (uid,) in connection.execute("select okx_uid from app_users")}
                mirrors = {f"user:{mortal}:mirror" for mortal in mortals - known}
                self._left = [(key, client.hgetall(key)) for key in mirrors if client.ttl(key) == -1]
                if not self.world.is_rogue:  # else they may be somebody's who wrote them just now
                    unknown = [key for key in product(mortals, KEYS) if key not in states]
                    names = [f"user:{owner}:{KEYS[kind]}" for owner, kind in unknown]
                    self._left += [(name, "is of before") for name in names if client.exists(name)]
            return not self._missing and not self._left  # of people since erased

        return until(is_right, HEALED)

    def _states(self) -> dict[Key, tuple[int, datetime]]:
        """What Redis should have: version and time of each key, also of what is deleted."""
        with self.world.postgres() as connection:
            return {(owner, kind): (version, at) for owner, kind, version, at in connection.execute(SHOULD_BE)}

    @contextmanager
    def _stopped(self, *pids: int) -> Iterator[None]:
        """Let processes hang."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _pause(self, least: float = 0.1, most: float = 0.8) -> None:
        time.sleep(self.random.uniform(least, most))

    # -- Redis

    def _redis_pid(self) -> int:
        pid = embedded.redis_pid(self.world.home)
        assert pid
        return pid

    def redis_restarted(self) -> None:
        embedded.stop_redis(self.world.home)
        self._pause(0, 0.3)
        embedded.start_redis(self.world.home)

    def redis_killed(self) -> None:
        self._end_redis()
        embedded.start_redis(self.world.home)

    def redis_restarted_empty(self) -> None:
        self._end_redis()
        shutil.rmtree(self.world.home / "redis")
        embedded.start_redis(self.world.home)

    def redis_restored_old(self) -> None:
        """Take a copy of its files; put the copy of the last time back."""
        copy = self.world.home / "redis-copy"
        embedded.stop_redis(self.world.home)
        if copy.exists() and (copy / "round").read_text() == self.world.cast.beacon:
            shutil.rmtree(self.world.home / "redis")
            copy.rename(self.world.home / "redis")
        else:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.world.home / "redis", copy)
            (copy / "round").write_text(self.world.cast.beacon)
        embedded.start_redis(self.world.home)

    def redis_restored_with_erased(self) -> None:
        """Put back a copy of its files from before somebody was erased, and registered again or not."""
        ghost, copy = self.world.cast.ghost, self.world.home / "redis-with-erased"
        with self.world.postgres() as connection:
            connection.execute("select set_config('settings_store.reason', %s, false)", (REASON,))
            connection.execute("select from register_user(%s)", (ghost,))
            connection.execute("select from upsert_user_setting(%s, %s, '{}')", (ghost, SYMBOLS))
            connection.execute("select from patch_user_setting(%s, %s, '{\"n\": 1}')", (ghost, SYMBOLS))
            self._await_relay(connection, ghost)
            embedded.stop_redis(self.world.home)
            shutil.copytree(self.world.home / "redis", copy)
            embedded.start_redis(self.world.home)
            connection.execute("select from erase_user(%s)", (ghost,))
            if self.random.random() < 0.5:
                connection.execute("select from register_user(%s)", (ghost,))
            self._await_relay(connection, ghost)
        embedded.stop_redis(self.world.home)
        shutil.rmtree(self.world.home / "redis")
        copy.rename(self.world.home / "redis")
        embedded.start_redis(self.world.home)

    def _await_relay(self, connection: psycopg.Connection[Any], owner: str) -> None:
        query = "select from mirror_pending where owner = %s"
        until(lambda: connection.execute(query, (owner,)).fetchone() is None, HEALED)

    def redis_reloaded_old(self) -> None:
        """Load an older state in place, from a replica of then: the process and its run id stay the same."""
        with self.world.redis() as client, copy_of(client) as port:
            self._pause(0.5, 1.0)
            take_over(client, port)

    def _end_redis(self) -> None:
        process = psutil.Process(self._redis_pid())
        process.kill()
        until(lambda: embedded.redis_pid(self.world.home) is None, 30)

    def redis_paused(self) -> None:
        with self._stopped(self._redis_pid()):
            self._pause(0.3, 0.8)

    def redis_paused_long(self) -> None:
        with self._stopped(self._redis_pid()):
            time.sleep(3.5)

    def redis_flushed(self) -> None:
        with self.world.redis() as client:
            client.flushall()

    def redis_scripts_flushed(self) -> None:
        with self.world.redis() as client:
            client.script_flush()

    def redis_connections_cut(self) -> None:
        with self.world.redis() as client:
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub")

    def redis_full(self) -> None:
        self._set_redis("maxmemory", "100kb", "0")

    def redis_impatient(self) -> None:
        self._set_redis("timeout", "1", "0", 1.5)

    def _set_redis(self, name: str, value: str, usual: str, seconds: float = 0.3) -> None:
        with self.world.redis() as client:
            client.config_set(name, value)
            time.sleep(seconds)
            client.config_set(name, usual)

    def redis_read_only(self) -> None:
        with self.world.redis() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            time.sleep(0.3)
            client.execute_command("REPLICAOF", "NO", "ONE")

    def evicted(self) -> None:
        self._evict()

    def _evict(self) -> None:
        """Remove keys as Redis does that has no memory left: of a user some or all, with or without the mirror hash."""
        with self.world.redis() as client:
            for owner in self.random.sample(self.world.cast.users, 2):
                names = [f"user:{owner}:{suffix}" for suffix in (*KEYS.values(), "mirror")]
                self.evicted_owners.add(owner)
                client.delete(*(names if self.random.random() < 0.5 else self.random.sample(names, 2)))

    # -- the lines

    def redis_line_cut(self) -> None:
        self.world.redis_line.cut()
        self._pause(0.2, 1.5)
        self.world.redis_line.heal()

    def redis_line_hung(self) -> None:
        self.world.redis_line.hang()
        self._pause(0.3, 5)
        self.world.redis_line.heal()

    def redis_line_slow(self) -> None:
        self.world.redis_line.delay(0.03, 0.03)
        self._pause(0.3, 1.0)
        self.world.redis_line.heal()

    def evicted_while_late(self) -> None:
        """What is sent to Redis arrives after its sender has given up, and after what others sent since; keys go
        meanwhile."""
        late = self.random.uniform(0.3, 0.8)
        self.world.redis_line.delay(late, 0)
        self._evict_for(0.6)
        self.world.redis_line.heal()
        self._evict_for(late)

    def _evict_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._evict()
            time.sleep(0.05)

    def redis_line_late(self) -> None:
        self.world.redis_line.delay(self.random.uniform(0.25, 0.6), 0)
        self._pause(0.5, 1.5)
        self.world.redis_line.heal()

    def postgres_line_cut(self) -> None:
        self.world.postgres_line.cut()
        self._pause(0.1, 0.6)
        self.world.postgres_line.heal()

    def postgres_line_hung(self) -> None:
        self.world.postgres_line.hang()
        self._pause(0.3, 2.5)
        self.world.postgres_line.heal()

    def postgres_line_slow(self) -> None:
        self.world.postgres_line.delay(0.1, 0.1)
        self._pause(0.5, 2)
        self.world.postgres_line.heal()

    # -- PostgreSQL

    def postgres_restarted(self) -> None:
        postgres.stop(self.world.home)
        start_postgres(self.world.home)

    def postgres_aborted(self) -> None:
        self._end_postgres(signal.SIGQUIT)

    def postgres_killed(self) -> None:
        self._end_postgres(signal.SIGKILL)

    def _end_postgres(self, how: signal.Signals) -> None:
        pid = embedded.postgres_pid(self.world.home)
        assert pid
        os.kill(pid, how)
        until(lambda: embedded.postgres_pid(self.world.home) is None, 30)
        start_postgres(self.world.home)

    def postgres_backends_ended(self) -> None:
        with self.world.postgres() as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )

    def postgres_backend_hung(self) -> None:
        query = "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"
        with self.world.postgres() as connection:
            pids = [pid for (pid,) in connection.execute(query)]
        with self._stopped(*self.random.sample(pids, min(2, len(pids)))):
            self._pause(0.3, 1.5)

    def postgres_read_only(self) -> None:
        self._set_postgres(0.4, default_transaction_read_only="on")

    def postgres_impatient(self) -> None:
        self._set_postgres(0.4, idle_in_transaction_session_timeout="50ms", idle_session_timeout="50ms")

    def _set_postgres(self, seconds: float, **settings: str) -> None:
        """Have every connection, of before, too, take these settings for a while."""
        with self.world.postgres() as connection:
            for change in ("set {} = '{}'", "reset {}"):
                for setting in settings.items():
                    connection.execute(f"alter system {change.format(*setting)}".encode())
                connection.execute("select pg_reload_conf()")
                time.sleep(seconds)

    def postgres_rows_held(self) -> None:
        """Leave a transaction open that holds rows which others write, and their marks."""
        rows = b"select from user_settings where okx_uid = any (%s) and is_active for update"
        with self.world.postgres() as connection, connection.transaction(force_rollback=True):
            connection.execute("set local lock_timeout = '3s'")
            with contextlib.suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                connection.execute(rows, (self.random.sample(self.world.cast.users, 2),))
                connection.execute("select from mirror_pending for update")
                self._pause(0.3, 1.0)

    def postgres_marks_vacuumed(self) -> None:
        with self.world.postgres() as connection:
            connection.execute("vacuum (truncate off) mirror_pending")

    def postgres_promoted(self) -> None:
        """Serve as a standby does, which takes no writes, and be promoted: another timeline, empty unlogged tables."""
        postgres.stop(self.world.home)
        (self.world.home / "postgres" / "standby.signal").touch()
        start_postgres(self.world.home)
        self._pause(0.2, 0.6)
        with self.world.postgres() as connection:
            connection.execute("select pg_promote()")

    # -- clocks

    def clock_stepped(self) -> None:
        self.world.set_clock(self.random.choice([-3600, -60, -2, 0, 2, 60, 3600]))
        self._pause()

    # -- processes

    def client_killed(self) -> None:
        alive = [number for number, client in self.world.clients.items() if client.poll() is None]
        if alive:
            self.world.kill_client(self.random.choice(alive))

    def client_paused(self) -> None:
        alive = [client.pid for client in self.world.clients.values() if client.poll() is None]
        if alive:
            with self._stopped(self.random.choice(alive)):
                self._pause(0.3, 2.5)

    def relay_killed(self) -> None:
        self.world.kill_relay()

    def relay_paused(self) -> None:
        with self._stopped(*(relay.pid for relay in self.world.relays)):
            self._pause(0.3, 1.5)

    # -- jobs

    def _job(self, *arguments: str) -> None:
        if (problem := self.world.job(*arguments)) is not None:
            self.violations.append(("job", problem))

    def synced(self) -> None:
        self._job("sync", "--prefer", self.random.choice(["redis", "db"]))

    def repaired(self) -> None:
        self._job("verify", "--repair")

    def keys_rotated(self) -> None:
        """Make the other key the one that writes; processes under way go on with theirs."""
        self.world.keys.reverse()
        self._job("keys", "rotate")

    def template_applied(self) -> None:
        self._job("template", "apply", "consistency", "preferences", "--all")

    def backed_up(self) -> None:
        file = self.world.home / "backup.zip"
        file.unlink(missing_ok=True)
        self._job("backup", str(file))
        if file.exists():
            check_backup(file)


# A killed one may lack what it hadn't written yet.
LOSSY = ("redis_killed", "redis_restored_old", "redis_restored_with_erased", "redis_reloaded_old")
ALL = [name for name, value in vars(Nemesis).items() if callable(value) and not name.startswith("_")]
ALL = [name for name in ALL if name not in ("strike", "lines", "heal") and (CLOCKS or name != "clock_stepped")]


def haunt(nemesis: Nemesis, names: list[str], pace: float, is_over: Callable[[], bool]) -> None:
    """Bring about faults until it is over."""
    over = threading.Event()
    while names and not is_over():
        over.wait(nemesis.random.uniform(0.3, 1.7) * pace)
        if not is_over():
            nemesis.strike(names)
    while not is_over():
        over.wait(0.05)
