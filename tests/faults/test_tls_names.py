"""Whose certificate it is: a server that shows somebody else's isn't talked to, by whichever URL."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py
from cryptography import x509
from redis.exceptions import RedisClusterException

from store.errors import RedisUnavailable
from store.mirror import servers
from tests.faults.servers import wait_until
from tests.faults.test_tls import HERE, certificate
from tests.helpers.ports import free_port

pytestmark = pytest.mark.tls

FORMS = ("rediss://{}", "rediss+sentinel://{}/main/0", "rediss+cluster://{}")
Urls = dict[str, str]  # by form


@pytest.fixture(scope="module", params=["here", "elsewhere.example"])
def urls(request: pytest.FixtureRequest) -> Iterator[tuple[str, Urls]]:
    """The name in the certificate, and the URLs of a Redis, of a sentinel that watches it and of a cluster of one."""
    folder = Path(tempfile.mkdtemp(prefix="ss-tls-"))
    authority = certificate(folder, "authority", None)
    certificate(folder, "server", authority, HERE if request.param == "here" else [x509.DNSName(request.param)])
    files = ("cert", "server.crt"), ("key", "server.key"), ("ca-cert", "authority.crt")
    tls = [word for option, file in files for word in (f"--tls-{option}-file", str(folder / file))]
    ports = [free_port() for _ in range(4)]
    (folder / "sentinel.conf").write_text(f"sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
                                          f"sentinel monitor main localhost {ports[0]} 1\n")  # fmt: skip
    kinds: list[list[str]] = [
        [],
        ["--sentinel", "--tls-replication", "yes"],
        ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(ports[3]),
         "--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"],
    ]  # fmt: skip
    processes = []
    for kind, port in zip(kinds, ports, strict=False):
        configuration = [str(folder / "sentinel.conf")] if "--sentinel" in kind else []
        command = ["redis-server", *configuration, *kind, *tls, "--port", "0", "--tls-port", str(port), "--bind",
                   "127.0.0.1", "--tls-auth-clients", "no", "--save", "", "--dir", str(folder)]  # fmt: skip
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    try:
        for port in ports[:3]:
            wait_until(lambda port=port: answers(port))  # type: ignore[misc]
        with client(ports[2]) as cluster:
            cluster.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: cluster.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        yield (
            request.param,
            {
                form: f"{form.format(f'localhost:{port}')}?ssl_ca_certs={folder / 'authority.crt'}"
                for form, port in zip(FORMS, ports, strict=False)
            },
        )
    finally:
        for process in processes:
            process.kill()
            process.wait(30)
        shutil.rmtree(folder)


def client(port: int) -> redis_py.Redis:
    return redis_py.Redis(port=port, ssl=True, ssl_cert_reqs="none", ssl_check_hostname=False)


def answers(port: int) -> bool:
    try:
        with client(port) as asked:
            return bool(asked.ping())
    except redis_py.RedisError:
        return False


async def ask(url: str) -> object:
    asked = servers.connect(url, 10)
    try:
        return await asked.get("x")
    finally:
        await servers.close(asked)


@pytest.mark.parametrize("form", FORMS)
async def test_the_name_in_the_certificate_is_checked(urls: tuple[str, Urls], form: str) -> None:
    name, url = urls[0], urls[1][form]
    if name == "here":
        assert await ask(url) is None
        assert servers.url_of_one(url, 10).startswith("rediss://localhost:")
        return
    with pytest.raises((redis_py.RedisError, RedisClusterException), match=r"certificate verify failed|No master"):
        await ask(url)
    if "sentinel" in form:
        with pytest.raises(RedisUnavailable):
            servers.url_of_one(url, 10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("option", ["ssl_check_hostname=false", "ssl_cert_reqs=none"])
async def test_unless_the_url_says_otherwise(urls: tuple[str, Urls], form: str, option: str) -> None:
    assert await ask(f"{urls[1][form]}&{option}") is None
