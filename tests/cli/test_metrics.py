"""The relay's metrics, as Prometheus reads them."""

from __future__ import annotations

import math
import re
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import redis as redis_py

from store.mirror.keys import PROBE
from store.operations.metrics import Handler, consistency_nines, served, wrong_at_most
from store.operations.probe import PATHS
from tests.cli.conftest import CHECKOUT, FAILED_JOB, Cli
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import PATIENCE, wait_until

Db = psycopg.Connection[dict[str, Any]]
Values = dict[str, float]
SAVE = "update user_settings set settings = '{\"leverage\": 20}' where setting_type = 'params' and is_active"


def read(port: int) -> Values:
    """Read all samples as name{labels} -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    pairs = (line.removeprefix("settings_store_").rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def until(port: int, condition: Callable[[Values], bool]) -> Values:
    """Read until the values are so."""
    deadline = time.monotonic() + 30
    while not condition(values := read(port)):
        assert time.monotonic() < deadline, values
        time.sleep(0.05)
    return values


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def relaying(cli: Cli, port: int, *options: str, **env: str) -> Iterator[None]:
    """A relay that serves its metrics at a port; it ends well, and says nothing of Python."""
    command = [*cli.command, "relay", "--metrics-port", str(port), *options]
    relay = subprocess.Popen(command, cwd=CHECKOUT, env={**cli.env, **env}, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 30
        while True:
            assert relay.poll() is None
            try:
                read(port)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield
        relay.terminate()
        errors = relay.communicate(timeout=30)[1]
        assert (relay.returncode, "Traceback" in errors) == (0, False), errors
    finally:
        relay.kill()
        relay.communicate()


def test_what_the_relay_does_is_counted(cli: Cli, port: int, kim: str, db: Db) -> None:
    with relaying(cli, port):
        before = until(port, lambda v: v["relay_reconciliations_total"] == 1 and v["keys"] == 5)
        db.execute(SAVE)
        after = until(port, lambda v: v["relay_keys_mirrored_total"] > before["relay_keys_mirrored_total"])
        assert after["relay_keys_mirrored_total"] == before["relay_keys_mirrored_total"] + 1
        assert after["relay_lag_seconds_count"] == before["relay_lag_seconds_count"] + 1
        lag = after["relay_lag_seconds_sum"] - before["relay_lag_seconds_sum"]
        assert 0 < lag < 30
        quiet = until(port, lambda v: v["wrong_keys"] == 0 and v["sample_timestamp_seconds"] > 0)
        assert quiet['pending_keys{state="waiting"}'] == quiet["pending_age_seconds"] == 0
        assert quiet['up{server="postgresql"}'] == quiet['up{server="redis"}'] == 1
        assert quiet["reconciled"] == 1
        assert abs(quiet["relay_pass_timestamp_seconds"] - time.time()) < 30


def test_a_key_that_redis_refuses_is_counted_as_failed_and_wrong(
    cli: Cli, port: int, kim: str, db: Db, refused_user: str
) -> None:
    db.execute("select ensure_user(%s)", (refused_user,))
    with relaying(cli, port):
        values = until(port, lambda v: v['pending_keys{state="set_aside"}'] > 0)
        assert values["relay_keys_failed_total"] > 0
        assert values["wrong_keys"] > 0


def test_while_redis_is_away_marks_grow_old_and_it_shows(cli: Cli, port: int, kim: str, db: Db) -> None:
    db.execute(SAVE)
    with relaying(cli, port, REDIS_URL="redis://127.0.0.1:1"):
        values = until(port, lambda v: v['pending_keys{state="waiting"}'] > 0)
        older = until(port, lambda v: v["pending_age_seconds"] > values["pending_age_seconds"])
        assert (older['up{server="postgresql"}'], older['up{server="redis"}']) == (1, 0)
        assert older["relay_keys_mirrored_total"] == 0
        assert older["wrong_keys"] > 0


@pytest.mark.timescale
def test_a_job_of_timescaledb_that_failed_is_counted(cli: Cli, port: int, db: Db) -> None:
    db.execute(FAILED_JOB)
    with relaying(cli, port):
        values = until(port, lambda v: v["timescaledb_failed_jobs"] > 0)
        assert (values["timescaledb_failed_jobs"], values["timescaledb_unreadable_chunks"]) == (1, 0)


def test_a_postgresql_that_is_away_leaves_the_metrics_readable(cli: Cli, port: int) -> None:
    with relaying(cli, port, DATABASE_URL="postgresql://127.0.0.1:1/x"):
        values = read(port)
        assert (values['up{server="postgresql"}'], values["sample_timestamp_seconds"]) == (0, 0)
        assert values["keys"] == values["wrong_keys"] == 0
        assert math.isnan(values["reconciled"])


def test_drift_that_verify_found_is_told_until_the_next_verify(
    cli: Cli, port: int, kim: str, redis: redis_py.Redis
) -> None:
    cli("relay", "--once")
    redis.delete(f"user:{TELEGRAM_ID}:okx_uid")
    redis.set(f"user:{OKX_UID}:settings", '{"leverage": 33}')
    assert cli.run("verify").code == 1
    with relaying(cli, port):
        values = until(port, lambda v: v["verify_remaining_keys"] > 0)
        found = {k: n for k, n in values.items() if k.startswith("verify_findings") and n}
        assert found == {'verify_findings{finding="missing"}': 1, 'verify_findings{finding="edited"}': 1}
        assert values["wrong_keys"] >= 2
        assert abs(values["verify_timestamp_seconds"] - time.time()) < 60
        cli("verify", "--repair")
        until(port, lambda v: v["verify_remaining_keys"] == 0 and v["wrong_keys"] == 0)


def test_what_a_probe_reads_is_counted_by_path(cli: Cli, port: int, db: Db, redis: redis_py.Redis) -> None:
    violation = 'probe_violations_total{kind="content",path="get"}'

    def is_seen(now: Values) -> bool:
        """Write under the version that is there, which may be gone at once: until it was read."""
        redis.hset(f"user:{PROBE}:preferences", "again", "rogue")
        return now[violation] > 0

    with relaying(cli, port, "--probe", "0.02"):
        values = until(port, lambda v: all(v[f'probe_reads_total{{path="{path}"}}'] > 5 for path in PATHS))
        assert values["consistency_nines"] > 1
        assert {n for name, n in values.items() if name.startswith("probe_violations_total")} == {0}
        stale = 'probe_staleness_seconds_bucket{le="60.0",path="get"}'
        assert values[stale] == values['probe_staleness_seconds_count{path="get"}'] > 0
        assert until(port, is_seen)["consistency_nines"] < values["consistency_nines"] + 1


# Published one-sided upper limits at 95 %: the example of NIST's Engineering Statistics Handbook, 7.2.4.2; the table of
# Hanley and Lippman-Hand for none in n; Garwood's limits of a Poisson count, to which many reads come.
@pytest.mark.parametrize(
    ("reads", "violations", "share", "digits"),
    [
        (20, 4, 0.4010, 4),
        (10, 0, 0.26, 2),
        (20, 0, 0.14, 2),
        (100, 0, 0.03, 2),
        (1000, 0, 0.003, 3),
        *((10**9, k, limit / 10**9, 12) for k, limit in enumerate([2.996, 4.744, 6.296, 7.754, 9.154, 10.513])),
        (7, 7, 1, 6),
    ],
)
def test_what_is_wrong_at_most_is_as_published(reads: int, violations: int, share: float, digits: int) -> None:
    assert round(wrong_at_most(reads, violations), digits) == pytest.approx(share)


def test_no_more_nines_than_the_sample_supports() -> None:
    assert consistency_nines(0, 0) == consistency_nines(3, 3) == 0
    for reads in (100, 10**6, 10**10):
        assert consistency_nines(reads, 0) == pytest.approx(math.log10(reads / 3), abs=0.01)
        assert consistency_nines(reads, 0) > consistency_nines(reads, 1) > consistency_nines(reads, 50)
    assert consistency_nines(10**9, 10**6) == pytest.approx(3, abs=0.01)  # many


def test_a_port_in_use_is_a_clear_error(inside: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = inside.fails(2, "relay", "--metrics-port", str(taken.getsockname()[1]))
    assert re.search(r"metrics can't be served on 127\.0\.0\.1 port \d+: Address already in use", error)


def test_an_address_that_is_none_is_a_clear_error(inside: Cli, port: int) -> None:
    assert "nowhere.invalid" in inside.fails(
        2, "relay", "--metrics-port", str(port), "--metrics-host", "nowhere.invalid"
    )


def test_a_relay_that_ends_at_once_serves_no_metrics_probes_nothing_and_is_not_notified(inside: Cli) -> None:
    for option in ("--metrics-port", "--probe"):
        assert "--once" in inside.run("relay", "--once", option, "9").err
    assert "--once" in inside.run("relay", "--once", "--notify").err


def test_a_client_that_says_nothing_is_left(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "timeout", 0.1)
    with served("127.0.0.1", port):
        threads = threading.active_count()
        for said in (b"", b"GET", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(said)
                assert client.recv(1) == b""
        wait_until(lambda: threading.active_count() == threads)
        assert read(port)


def test_clients_that_hang_up_or_talk_nonsense_leave_no_trace(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with served("127.0.0.1", port):
        threads = threading.active_count()
        for said in (b"", b"GET", b"GET /metrics HTTP/1.1\r\n", b"\x16\x03\x01\xff\r\n\r\n", b"GET //[ HTTP/1.1\r\n"):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(said)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by a reset
        assert read(port)
        wait_until(lambda: threading.active_count() == threads)
    assert capsys.readouterr().err == ""
