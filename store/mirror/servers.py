"""The client for REDIS_URL: of one server, of the master that Sentinel names, or of a cluster.

redis-py has no URL for the latter two. They are spelled as Prefect, RedisVL and others do:

    redis+sentinel://[user:password@]host[:26379][,host…]/service[/database][?options]
    redis+cluster://[user:password@]host[:6379][,host…][?options]

`rediss+…` is TLS, also to the sentinels, who are logged in to with `sentinel_username` and `sentinel_password`. Other
options are redis-py's, as in any of its URLs; but `protocol`: the store speaks RESP2, which servers and proxies without
HELLO know, too, and has no use for RESP3.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.sentinel import Sentinel as BlockingSentinel

from store.arguments import is_plain_number
from store.ending import end
from store.errors import RedisUnavailable, first_line
from store.mirror.pipeline import Listener
from store.sockets import AsyncOwnSocket, socket_path

SEVERAL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<login>[^@/?]*@)?(?P<hosts>[^@/?]+)"
    r"(?:/(?P<path>[^?]*))?(?P<query>\?.*)?"
)
PARTS = re.compile(r"([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL)
NUMBERS = ("timeout", "interval", "connections")  # how options end that are numbers
PORTS = {"sentinel": 26379, "cluster": 6379}
RESP2 = 2


class BadUrl(ValueError):
    """A part of the URL can't be taken. The message says which, and doesn't quote it."""


class _Cancellable:
    """Of a connection: a cancellation while it sends ends the caller. redis-py sends by asyncio.wait_for(), which up to
    Python 3.11 loses a cancellation that comes as the sending is done."""

    socket_timeout: float | None

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        seconds, self.socket_timeout = self.socket_timeout, None  # redis-py then sends without wait_for()
        try:
            async with asyncio.timeout(seconds):
                await super().send_packed_command(*arguments, **options)  # type: ignore[misc]
        except TimeoutError:
            raise exceptions.TimeoutError(f"Redis took no command for {seconds:g} s") from None
        finally:
            self.socket_timeout = seconds


@cache
def _cancellable(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return the class of such connections of a kind: by TCP, TLS or a Unix socket, to a master that Sentinel names."""
    return type(kind.__name__, (_Cancellable, kind), {})


class _Sentinel(Sentinel):
    """Asks the sentinels once at a time, for all who want to know. Two at once reorder redis-py's list of sentinels
    such that it loses some."""

    _asking: asyncio.Task[Any] | None = None

    async def discover_master(self, service_name: str) -> Any:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(super().discover_master(service_name))
        return await asyncio.shield(self._asking)  # who gives up doesn't take it from the others


@dataclass(frozen=True)
class Servers:
    """What a URL says of several servers. Its repr shows little: there may be passwords."""

    kind: str  # sentinel, cluster
    hosts: list[tuple[str, int]]
    service: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]
    around: tuple[str, str]  # what comes before and after the host in the URL of one of the servers

    def __repr__(self) -> str:
        return f"<{self.kind} of {len(self.hosts)}>"


def parse(url: str) -> Servers | None:
    """Read a URL of several servers; None if it is of one. Raises BadUrl, or a ValueError that may quote the URL."""
    _check_parts(url)
    found = SEVERAL.fullmatch(url)
    if found is None:
        parse_url(url)
        return None
    kind, path = found["kind"], found["path"] or ""
    service, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    if bool(service) != (kind == "sentinel") or not re.fullmatch("[0-9]*" if service else "0?", database):
        raise ValueError("the path isn't /service/database of Sentinel, or a cluster has one")
    around = f"{found['scheme']}://{found['login'] or ''}", f"/{database}{found['query'] or ''}"
    parsed = [parse_url(host.join(around)) for host in found["hosts"].split(",")]
    if not all("host" in host for host in parsed):
        raise ValueError("a host is empty")
    options: dict[str, Any] = {
        **_tls(parsed[0]),
        **parsed[0],
        "ssl": parsed[0].get("connection_class") is SSLConnection,
    }
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    sentinel_options = {name: options[name] for name in options if name.startswith("ssl")}
    for name in ("username", "password"):
        if value := options.pop(f"sentinel_{name}", None):
            sentinel_options[name] = value
    hosts = [(host["host"], host.get("port", PORTS[kind])) for host in parsed]
    return Servers(kind, hosts, service, options, sentinel_options, around)


def _check_parts(url: str) -> None:
    """Refuse what redis-py would read as something else, or not at all. Raises BadUrl."""
    scheme, _, rest = url.partition("://")
    hosts, path, query, fragment = PARTS.fullmatch(rest).groups()  # type: ignore[union-attr]  # it matches any text
    try:
        ports = [urlsplit(f"//{host}").port for host in hosts.rpartition("@")[2].split(",")]
        options = parse_qsl(query or "", keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise BadUrl("a host, port or option can't be read") from None
    databases = {text for name, text in options if name == "db"}
    if scheme in ("redis", "rediss") and path.strip("/"):
        databases.add(path.removeprefix("/"))
    if 0 in ports:
        raise BadUrl("there is no port 0")
    if len(dict(options)) < len(options):
        raise BadUrl("an option is there twice")
    if not all(re.fullmatch("[0-9]{1,9}", text) for text in databases):
        raise BadUrl("the database is not a number, as in redis://host:6379/0")
    if not all(is_plain_number(text, False) for name, text in options if name.endswith(NUMBERS)):
        raise BadUrl("an option that is a number isn't one")
    if fragment:
        raise BadUrl("it goes on after a #, which a password holds as %23")


def is_cluster(url: str) -> bool:
    """Tell whether a URL that can be read is of a cluster."""
    servers = parse(url)
    return servers is not None and servers.kind == "cluster"


def database(url: str) -> int:
    """Return the number of the database that a URL leads to."""
    servers = parse(url)
    return int((parse_url(url) if servers is None else servers.options).get("db") or 0)


def check(url: str) -> None:
    """Make sure that a client can be made of a URL. Raises ValueError, which may quote it."""
    try:
        client = connect(url, 1.0)
        if isinstance(client, Redis):
            # That doesn't connect yet, but takes the options.
            client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, exceptions.RedisError, exceptions.RedisClusterException) as error:
        raise ValueError("an option isn't redis-py's") from error


def connect(url: str, timeout: float, is_embedded: bool = False) -> Redis | RedisCluster:
    """Make the client; it connects when first used. Nothing is tried twice: who asked knows what else to do. With
    `is_embedded` it talks to nobody but a server of the same user's."""
    servers = parse(url)
    if servers is None:
        parsed = parse_url(url)
        own: dict[str, Any] = {"connection_class": AsyncOwnSocket} if is_embedded else {}
        if path := socket_path(url):
            own["path"] = path  # redis-py takes it for UTF-8, whatever the names of files are in
        return _connect_to_one({**_tls(parsed), **parsed, **own}, timeout)
    if servers.kind == "cluster":
        return _connect_to_cluster(servers, timeout)
    asked = _options(servers.sentinel_options, timeout)
    sentinel = _Sentinel(servers.hosts, sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    kind = SentinelManagedSSLConnection if servers.options["ssl"] else SentinelManagedConnection
    options = _options(servers.options, timeout)
    master: Redis = sentinel.master_for(
        servers.service, **options, connection_class=_cancellable(kind), parser_class=Listener
    )
    return master


def connect_to_node(url: str, timeout: float, host: str, port: int) -> Redis:
    """Make a client of one node of a cluster."""
    servers = parse(url)
    options = dict(servers.options) if servers else {}
    kind = SSLConnection if options.pop("ssl", False) else Connection
    return _connect_to_one({**options, "host": host, "port": port, "connection_class": kind}, timeout)


def _connect_to_one(options: Any, timeout: float) -> Redis:
    kind = _cancellable(options.pop("connection_class", Connection))
    return Redis.from_pool(ConnectionPool(kind, parser_class=Listener, **_options(options, timeout)))


def _connect_to_cluster(servers: Servers, timeout: float) -> RedisCluster:
    nodes = [ClusterNode(host, port) for host, port in servers.hosts]
    options = _options(servers.options, timeout)
    # Whether slots that nobody has are everybody's failure is the servers' setting, not the client's.
    client = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
    manager = client.nodes_manager
    manager.connection_kwargs["connection_class"] = _cancellable(manager.connection_kwargs["connection_class"])
    for node in manager.startup_nodes.values():
        node.connection_class = manager.connection_kwargs["connection_class"]
    return client


def limit(client: Redis | RedisCluster) -> int:
    """Return how many connections the client may have, of a cluster to each node."""
    if isinstance(client, RedisCluster):
        return int(client.nodes_manager.connection_kwargs["max_connections"])
    return int(client.connection_pool.max_connections)


async def drop_idle(client: Redis | RedisCluster) -> None:
    """Close the connections that nobody uses, also those to the sentinels. redis-py's own way waits in between, and
    then would close a connection that somebody has taken and connected again meanwhile."""
    if isinstance(client, RedisCluster):
        idle: list[AbstractConnection] = [connection for node in client.get_nodes() for connection in node._free]
    else:
        manager = _manager(client)
        pools = [each.connection_pool for each in (client, *(manager.sentinels if manager else ()))]
        idle = [connection for pool in pools for connection in pool._available_connections]
    for connection in idle:
        await connection.disconnect(nowait=True)


async def identity(info: Callable[[str], Awaitable[dict[str, Any]]]) -> str:
    """Name a server's process and the history of its data, by its INFO. Not every service tells the latter."""
    server, replication = await info("server"), await info("replication")
    return f"{server['run_id']} {replication.get('master_replid', '')}"


def _manager(client: Redis) -> _Sentinel | None:
    return getattr(client.connection_pool, "sentinel_manager", None)


def url_of_one(url: str, timeout: float) -> str:
    """Return the URL of one server, for programs that connect to one: the master that Sentinel names, or any node of
    a cluster. Raises RedisUnavailable."""
    servers = parse(url)
    if servers is None:
        return url
    host, port = servers.hosts[0]
    if servers.kind == "sentinel":
        options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "protocol": RESP2}
        options |= servers.sentinel_options
        try:
            sentinel = BlockingSentinel(servers.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
            host, port = sentinel.discover_master(servers.service)  # type: ignore[no-untyped-call]
        except exceptions.RedisError as error:
            raise RedisUnavailable(f"no sentinel names the master: {first_line(error)}") from None
    return f"[{host}]:{port}".join(servers.around) if ":" in host else f"{host}:{port}".join(servers.around)


async def close(client: Redis | RedisCluster) -> None:
    """Close the client, and those of the sentinels it asked."""
    steps: list[Callable[[], Awaitable[Any]]] = [client.aclose]
    if isinstance(client, RedisCluster):  # after an error it takes itself for closed, and leaves its connections open
        steps += [client.nodes_manager.aclose, lambda: client.nodes_manager.aclose("startup_nodes")]
    elif manager := _manager(client):
        if manager._asking:
            await end(manager._asking)
        steps += [sentinel.aclose for sentinel in manager.sentinels]
    for step in steps:
        with contextlib.suppress(exceptions.RedisError, OSError):  # of a server that says no goodbye
            await step()


def _tls(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Check the host's name over TLS, as redis-py does from 6.0 on, unless the URL says otherwise."""
    is_checked = parsed.get("connection_class") is SSLConnection and parsed.get("ssl_cert_reqs") != "none"
    return {"ssl_check_hostname": True} if is_checked else {}


def _options(given: dict[str, Any], timeout: float) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # a foreign value that isn't UTF-8 must not break a reply
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        **given,
        "protocol": RESP2,
    }
