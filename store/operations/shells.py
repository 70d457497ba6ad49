"""psql and redis-cli on the configured servers. Passwords go by the environment, where `ps` shows none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from store.config import Config
from store.errors import ConfigError
from store.mirror import servers
from store.operations import embedded
from store.sockets import socket_path


def replace_process(name: str, config: Config, arguments: Sequence[str]) -> None:
    """Become psql or redis-cli, which have no use for the encryption keys."""
    command, environment = (psql if name == "psql" else redis_cli)(config)
    inherited = {name: value for name, value in os.environ.items() if name != "SETTINGS_STORE_KEYS"}
    try:
        os.execvpe(command[0], [*command, *arguments], {**inherited, **environment})  # noqa: S606
    except OSError:
        raise ConfigError(f"{command[0]} isn't installed") from None


def psql(config: Config) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of psql on the database."""
    parameters = conninfo_to_dict(config.database_url or "")
    variables = {option.keyword.decode(): option.envvar for option in psycopg.pq.Conninfo.get_defaults()}
    environment = {}
    for keyword, value in parameters.items():
        variable = variables.get(keyword)
        if variable and value is not None:
            environment[variable.decode()] = os.fsdecode(str(value).encode())  # libpq's are UTF-8
    return [embedded.postgres_program("psql")], environment


def redis_cli(config: Config) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of redis-cli on the Redis."""
    given = config.redis_url or ""
    url = urlsplit(servers.url_of_one(given, config.redis_timeout))
    command = [embedded.redis_program("cli"), *(["-c"] if servers.is_cluster(given) else [])]
    database = parse_qs(url.query).get("db", [url.path.strip("/") if url.scheme != "unix" else ""])[0]
    if path := socket_path(given):
        command += ["-s", path]
    else:
        command += ["-h", url.hostname or "localhost", "-p", str(url.port or 6379)]
    if url.scheme == "rediss":
        command.append("--tls")
        authority = parse_qs(url.query).get("ssl_ca_certs")
        command += ["--cacert", authority[0]] if authority else []
    if database:
        command += ["-n", database]
    if url.username:
        command += ["--user", unquote(url.username)]
    return command, {"REDISCLI_AUTH": unquote(url.password)} if url.password else {}
