"""Redis servers on loopback ports, as processes of the test: a master with replicas and sentinels, a cluster."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis as redis_py

from store.operations import embedded
from tests.faults.servers import PATIENCE, wait_until

PASSWORD = "p@ss/word"  # to be quoted in a URL
QUOTED = "p%40ss%2Fword"
SERVICE = "settings"
BUS = 10_000  # a cluster node's second port is that much higher


class Node:
    """One redis-server; the same port, data and settings at each start."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.port = _free_port()
        self.home = home / str(self.port)
        self.home.mkdir()
        file = self.home / "redis.conf"  # sentinels and cluster nodes write theirs
        file.touch()
        self._command = [
            embedded.redis_program("server"), str(file), *arguments, "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self.home), "--save", "", "--logfile", str(self.home / "log"),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.password: str | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        wait_until(self._answers)

    def kill(self) -> None:
        """End it at once, by its id: no goodbye, nothing saved."""
        if self._process is not None:
            self._process.kill()  # also when it is paused
            self._process.wait(30)
            self._process = None

    def pause(self) -> None:
        """Make it hang: it keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis_py.Redis:
        return redis_py.Redis(
            port=self.port, password=self.password, decode_responses=True, socket_timeout=PATIENCE, protocol=2
        )

    def call(self, *command: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*command)

    def info(self, section: str) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info(section))

    def _answers(self) -> bool:
        try:
            return bool(self.call("PING"))
        except redis_py.RedisError:
            return False


class Nodes:
    """Several of them, ended together."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="ss-"))
        self.nodes: list[Node] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.home)

    def start(self) -> None:
        """Start them and wait until they are what they should be."""
        raise NotImplementedError

    def add(self, *arguments: str) -> Node:
        self.nodes.append(Node(self.home, *arguments))
        return self.nodes[-1]


class Sentinels(Nodes):
    """A master, two replicas, three sentinels; all want the password."""

    def start(self) -> None:
        login = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
        self.data = [self.add(*login) for _ in range(3)]
        for node in self.data:
            replica = () if node is self.data[0] else ("--replicaof", "127.0.0.1", str(self.data[0].port))
            node._command += replica
            node.password = PASSWORD
            node.start()
        self.sentinels = [self.add("--sentinel", "--requirepass", PASSWORD) for _ in range(3)]
        for node in self.sentinels:
            (node.home / "redis.conf").write_text(
                f"sentinel monitor {SERVICE} 127.0.0.1 {self.data[0].port} 2\n"
                f"sentinel auth-pass {SERVICE} {PASSWORD}\n"
                f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 6000\n"
                f"sentinel sentinel-pass {PASSWORD}\n"
            )
            node.password = PASSWORD
            node.start()
        wait_until(self.is_whole)

    @property
    def url(self) -> str:
        hosts = ",".join(node.address for node in self.sentinels)
        return f"redis+sentinel://:{QUOTED}@{hosts}/{SERVICE}/0?sentinel_password={QUOTED}"

    @property
    def master(self) -> Node:
        """Whom the first sentinel calls the master."""
        _, port = self.sentinels[0].call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(node for node in self.data if node.port == int(port))

    @property
    def replicas(self) -> list[Node]:
        master = self.master
        return [node for node in self.data if node is not master]

    def is_whole(self) -> bool:
        """Whether all agree who is the master, and both replicas and all sentinels are known and well."""
        try:
            masters = [_pairs(node.call("SENTINEL", "MASTER", SERVICE)) for node in self.sentinels]
            info = self.master.info("replication")
        except (redis_py.RedisError, StopIteration):
            return False
        seen = {(m["port"], m["flags"], m["num-slaves"], m["num-other-sentinels"]) for m in masters}
        whole = {(str(self.master.port), "master", "2", "2")}
        links = [info.get(f"slave{n}", {}).get("state") for n in range(2)]
        return seen == whole and info["role"] == "master" and links == ["online", "online"]

    def fail_over(self) -> None:
        """Have another one made the master, though this one is well."""
        before = self.master

        def asked() -> bool:
            with contextlib.suppress(redis_py.ResponseError):  # -NOGOODSLAVE, -INPROG: not yet
                return bool(self.sentinels[0].call("SENTINEL", "FAILOVER", SERVICE))
            return False

        wait_until(asked)
        wait_until(lambda: self.master is not before)


class Cluster(Nodes):
    """Three primaries with a replica each."""

    def start(self) -> None:
        settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0")
        for _ in range(6):
            self.add(*settings).start()
        self.manage("create", *(node.address for node in self.nodes), "--cluster-replicas", "1")
        wait_until(self.is_whole)

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(node.address for node in self.nodes[:3])}"

    @property
    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node._process and node.info("replication")["role"] == "master"]

    def slots(self, node: Node) -> int:
        """Count the slots of a primary."""
        ranges = node.call("CLUSTER", "SLOTS")
        return sum(end - start + 1 for start, end, (_, port, *_), *_ in ranges if port == node.port)

    def is_whole(self) -> bool:
        """Whether all nodes that run think that all is well, and each primary has its replica."""
        running = [node for node in self.nodes if node._process]
        try:
            well = all("cluster_state:ok" in node.call("CLUSTER", "INFO") for node in running)
            roles = [node.info("replication") for node in running]
        except redis_py.RedisError:
            return False
        links = [role["master_link_status"] == "up" for role in roles if role["role"] == "slave"]
        return well and all(links) and len(links) == len(running) - 3

    def manage(self, command: str, *arguments: str) -> None:
        """Run redis-cli --cluster, which does what takes several commands to several nodes."""
        program = embedded.redis_program("cli")
        done = subprocess.run(
            [program, "--cluster", command, *arguments, "--cluster-yes"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def reshard(self, source: Node, target: Node, slots: int) -> None:
        """Move slots with their keys from one primary to another."""
        ids = [str(node.call("CLUSTER", "MYID")) for node in (source, target)]
        wanted = self.slots(target) + slots
        self.manage(
            "reshard", source.address, "--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", str(slots)
        )
        wait_until(lambda: self.slots(target) == wanted)


def _free_port() -> int:
    """Find a port that is free, and so is the one of a cluster node's bus."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe, socket.socket() as bus, contextlib.suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            bus.bind(("127.0.0.1", port - BUS))
            return port - BUS
    raise AssertionError("no free port")


def _pairs(flat: Any) -> dict[str, str]:
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
