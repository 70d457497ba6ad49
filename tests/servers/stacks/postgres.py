"""A PostgreSQL of the programs in TEST_POSTGRES_BIN, where that is set; and its TimescaleDB, if it has one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psycopg

from store.operations import embedded

DATABASE = embedded.DATABASE
PROGRAMS = os.environ.get("TEST_POSTGRES_BIN")  # a folder; without, the tests' servers are the embedded ones
OWNER = ("nobody", "nogroup")  # whom the programs of a stack run as, as PostgreSQL won't as root


def start(home: Path) -> str:
    """Start the PostgreSQL of a folder unless it runs; return the URL of its database."""
    if PROGRAMS is None:
        return embedded.start_postgres(home)[0]
    data = home / "postgres"
    if not data.exists():
        data.mkdir(0o700)
        if os.geteuid() == 0:
            home.chmod(0o711)
            shutil.chown(data, *OWNER)
        _run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "utf8", "--locale", "C.UTF-8")
    url = f"postgresql://postgres@/{{}}?host={data}"
    if embedded.postgres_pid(home) is None:
        options = f"-c listen_addresses= -c unix_socket_directories={data}"
        _run("pg_ctl", "-D", str(data), "-w", "-t", "60", "-l", str(data / "log"), "-o", options, "start")
        with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone():
                connection.execute(f"create database {DATABASE} template template0")
    return url.format(DATABASE)


def stop(home: Path) -> None:
    """Stop the PostgreSQL of a folder, if it runs."""
    if PROGRAMS is None:
        embedded.stop_postgres(home)
    elif embedded.postgres_pid(home) is not None:
        _run("pg_ctl", "-D", str(home / "postgres"), "-w", "-t", "60", "-m", "fast", "stop")


def install_timescaledb(url: str) -> None:
    """Make the extension in a database whose server has it preloaded: its tests run on hypertables."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("select current_setting('shared_preload_libraries')").fetchone()
        if row and "timescaledb" in row[0]:
            connection.execute("set client_min_messages = error")  # it greets at length
            connection.execute("create extension if not exists timescaledb")


def hurry(url: str) -> None:
    """Spare a server what only matters where the power may fail or databases grow old."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            connection.execute(f"alter system set {setting} = off".encode())
        connection.execute("select pg_reload_conf()")


def _run(program: str, *arguments: str) -> None:
    """Run a program that may leave a server behind, which must not hold our pipes open."""
    done = subprocess.run([f"{PROGRAMS}/{program}", *arguments], stdout=subprocess.DEVNULL, check=False, cwd="/")
    assert done.returncode == 0, f"{program} failed"
