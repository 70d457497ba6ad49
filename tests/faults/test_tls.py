"""TLS and passwords, by the servers' URLs: needs Debian's PostgreSQL and Redis, so it runs by `make test-tls`; those of
the wheels are built without TLS."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
import redis as redis_py
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from store import Config, ConfigError, DatabaseUnavailable, RedisUnavailable, SettingsStore, StoreError
from store.coherence.verify import verify
from store.postgres import migrate
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.faults.servers import wait_until
from tests.helpers.ports import free_port

pytestmark = pytest.mark.tls

PASSWORD = "p@ss/w:rd-9d1f"
QUOTED = "p%40ss%2Fw%3Ard-9d1f"


@dataclass(frozen=True)
class Servers:
    """Two servers that speak TLS only, with passwords, and where their certificate's authority lies."""

    database_url: str
    redis_url: str
    authority: Path

    @property
    def config(self) -> Config:
        return Config(
            f"{self.database_url}?sslmode=verify-full&sslrootcert={self.authority}",
            f"{self.redis_url}?ssl_ca_certs={self.authority}",
        )


Signed = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
HERE = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def certificate(folder: Path, name: str, issuer: Signed | None, names: Sequence[x509.GeneralName] = HERE) -> Signed:
    """Make a certificate for this machine, or (without an issuer) an authority; write both files."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    (folder / f"{name}.key").write_bytes(pem)
    (folder / f"{name}.key").chmod(0o600)
    return built, key


@pytest.fixture(scope="module")
def tls() -> Iterator[Servers]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "make test-tls needs Debian's postgresql"
    assert shutil.which("redis-server"), "make test-tls needs Debian's redis-server"
    folder = Path(tempfile.mkdtemp(prefix="ss-tls-"))
    authority = certificate(folder, "authority", None)
    certificate(folder, "stranger", None)
    certificate(folder, "server", authority)
    (folder / "password").write_text(PASSWORD)
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user)
    data, ports = folder / "data", (free_port(), free_port())
    as_user = {"user": user} if os.geteuid() == 0 else {}
    initdb = [str(programs[-1] / "initdb"), "-D", str(data), "-U", "owner", "-A", "scram-sha-256", "-E", "utf8"]
    subprocess.run([*initdb, f"--pwfile={folder / 'password'}"], check=True, capture_output=True, cwd=folder, **as_user)  # type: ignore[call-overload]
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    postgres = subprocess.Popen(
        [str(programs[-1] / "postgres"), "-D", str(data), "-p", str(ports[0]), "-c", "listen_addresses=127.0.0.1",
         "-c", f"unix_socket_directories={folder}", "-c", "ssl=on", "-c", f"ssl_cert_file={folder}/server.crt",
         "-c", f"ssl_key_file={folder}/server.key", "-c", "fsync=off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **as_user,
    )  # type: ignore[call-overload]  # fmt: skip
    redis = subprocess.Popen(
        ["redis-server", "--port", "0", "--tls-port", str(ports[1]), "--bind", "127.0.0.1", "--requirepass", PASSWORD,
         "--tls-cert-file", f"{folder}/server.crt", "--tls-key-file", f"{folder}/server.key",
         "--tls-ca-cert-file", f"{folder}/authority.crt", "--tls-auth-clients", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        servers = Servers(
            f"postgresql://owner:{QUOTED}@127.0.0.1:{ports[0]}/postgres",
            f"rediss://:{QUOTED}@127.0.0.1:{ports[1]}/0",
            folder / "authority.crt",
        )
        wait_until(lambda: answers(servers.config))
        migrate.migrate(servers.config.database_url or "")
        yield servers
    finally:
        for process in (postgres, redis):
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder)


def answers(config: Config) -> bool:
    assert config.database_url
    assert config.redis_url
    try:
        psycopg.connect(config.database_url, connect_timeout=2).close()
        with redis_py.Redis.from_url(config.redis_url) as client:
            return bool(client.ping())
    except (psycopg.Error, redis_py.RedisError):
        return False


async def test_everything_goes_over_tls_with_passwords(tls: Servers) -> None:
    async with SettingsStore(tls.config) as store:
        await store.register(OKX_UID, TELEGRAM_ID)
        saved = await store.patch(OKX_UID, "params", {"leverage": 3})
        found = await store.get(OKX_UID, "params")
        assert (saved.mirrored, found and found.source) == (True, "redis")
        assert (await verify(store._connections)).findings == {}


def test_the_shells_go_there_too(tls: Servers) -> None:
    cli = Cli(environment(tls.config))
    encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    assert cli("psql", "-XAtc", encrypted).lines == ["t"]
    assert cli("redis-cli", "ping").lines == ["PONG"]
    status = cli("status", "--json")
    assert {"version"} <= set(status.json["redis"])
    assert PASSWORD not in status.out
    assert QUOTED not in status.out


@pytest.mark.parametrize(
    ("database", "redis"),
    [
        ("?sslmode=verify-full&sslrootcert={folder}/stranger.crt", "?ssl_ca_certs={folder}/stranger.crt"),
        ("?sslmode=verify-full&sslrootcert={folder}/none.crt", "?ssl_ca_certs={folder}/none.crt"),
        ("?sslmode=disable", None),
    ],
    ids=["another authority", "no such file", "no TLS"],
)
async def test_what_can_not_be_trusted_is_not_used(tls: Servers, database: str, redis: str | None) -> None:
    folder = tls.authority.parent
    redis_url = (
        tls.redis_url.replace("rediss:", "redis:") if redis is None else tls.redis_url + redis.format(folder=folder)
    )
    config = Config(tls.database_url + database.format(folder=folder), redis_url, redis_timeout=2)
    errors: list[StoreError] = []
    try:
        async with SettingsStore(config) as store:
            with pytest.raises(DatabaseUnavailable) as first:
                await store.get(OKX_UID, "params", source="db")
            with pytest.raises(RedisUnavailable) as second:
                await store.get(OKX_UID, "params", source="redis")
            errors += [first.value, second.value]
    except ConfigError as error:
        errors.append(error)
    told = " ".join(f"{each!r} {each.detail} {each.hint}" for each in errors)
    assert errors
    assert PASSWORD not in told
    assert QUOTED not in told


async def test_a_wrong_password_is_told_without_it(tls: Servers) -> None:
    config = replace(
        tls.config,
        database_url=(tls.config.database_url or "").replace(QUOTED, "wr0ng"),
        redis_url=(tls.config.redis_url or "").replace(QUOTED, "wr0ng"),
    )
    async with SettingsStore(config) as store:
        for source, kind in (("db", DatabaseUnavailable), ("redis", RedisUnavailable)):
            with pytest.raises(kind) as caught:
                await asyncio.wait_for(store.get(OKX_UID, "params", source=source), 30)  # type: ignore[arg-type]
            assert "wr0ng" not in f"{caught.value!r} {caught.value.detail} {caught.value.hint}"
