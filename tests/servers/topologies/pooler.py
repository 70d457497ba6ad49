"""pgbouncer in transaction mode, before all databases of a server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.faults.servers import wait_until
from tests.helpers.ports import free_port


@contextmanager
def pooler(database_url: str, connections: int) -> Iterator[str]:
    """Run one with so many connections to each database; yield the URL of this database through it."""
    at = conninfo_to_dict(database_url)
    folder = Path(tempfile.mkdtemp(prefix="ss-pooler-"))
    folder.chmod(0o755)
    port = free_port()
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={at.get('host', 'localhost')} port={at.get('port', 5432)} user={at['user']}"
        f" {'password=' + str(at['password']) if at.get('password') else ''}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {connections}\n"
    )
    as_user = []
    if os.geteuid() == 0:  # it refuses to be root, and must reach the socket
        host = str(at.get("host", ""))
        as_user = ["-u", pwd.getpwuid(os.stat(host).st_uid).pw_name if host.startswith("/") else "nobody"]
    process = subprocess.Popen(["pgbouncer", "-q", *as_user, str(folder / "pgbouncer.ini")])
    url = make_conninfo(host="127.0.0.1", port=port, dbname=str(at["dbname"]), user=str(at["user"]))
    try:
        wait_until(lambda: _answers(url))
        yield url
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
