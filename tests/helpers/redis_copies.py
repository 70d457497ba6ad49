"""A Redis that goes back to an earlier state as the same process: it takes over the data of a copy, by replication."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis as redis_py

from store.operations import embedded
from tests.helpers.ports import free_port


@contextmanager
def copy_of(client: redis_py.Redis) -> Iterator[int]:
    """Start a server with what this one has now; yield its port."""
    client.save()
    dump = Path(str(client.config_get("dir")["dir"])) / "dump.rdb"
    with tempfile.TemporaryDirectory(prefix="ss-", ignore_cleanup_errors=True) as folder:
        shutil.copy(dump, folder)
        port = free_port()
        command = [embedded.redis_program("server"), "--port", str(port), "--dir", folder, "--save", ""]
        command += ["--appendonly", "no", "--repl-diskless-sync-delay", "0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield port
            finally:
                process.terminate()


def take_over(client: redis_py.Redis, port: int) -> None:
    """Have a server take the data of the one at this port in place of its own; it is read-only for some seconds."""
    client.replicaof("127.0.0.1", port)
    end = time.monotonic() + 15
    try:
        while client.info("replication").get("master_link_status") != "up":
            assert time.monotonic() < end, "no replication"
            time.sleep(0.02)
    finally:
        client.replicaof("NO", "ONE")
