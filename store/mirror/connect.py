"""The client for REDIS_URL: of one server, of the master that Sentinel names, or of a cluster.

redis-py has no URL for the latter two. They are spelled as Prefect, RedisVL and others do:

    redis+sentinel://[user:password@]host[:26379][,host…]/service[/database][?options]
    redis+cluster://[user:password@]host[:6379][,host…][?options]

`rediss+…` is TLS, also to the sentinels, who are logged in to with `sentinel_username` and `sentinel_password`. Other
options are redis-py's, as in any of its URLs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.sentinel import Sentinel as BlockingSentinel

from store.errors import RedisUnavailable, first_line
from store.mirror.wire import Listener
from store.sockets import AsyncOwnSocket

SEVERAL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<login>[^@/?]*@)?(?P<hosts>[^@/?]+)"
    r"(?:/(?P<path>[^?]*))?(?P<query>\?.*)?"
)
PORTS = {"sentinel": 26379, "cluster": 6379}


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
    """Read a URL of several servers; None if it is of one. Raises ValueError, which may quote the URL."""
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


def is_cluster(url: str) -> bool:
    """Tell whether a URL that can be read is of a cluster."""
    servers = parse(url)
    return servers is not None and servers.kind == "cluster"


def connect(url: str, timeout: float, is_embedded: bool = False) -> Redis | RedisCluster:
    """Make the client; it connects when first used. Nothing is tried twice: who asked knows what else to do. With
    `is_embedded` it talks to nobody but a server of the same user's."""
    servers, ours = parse(url), _options(timeout)
    if servers is None:
        client = Redis.from_url(
            url, parser_class=Listener, **{**ours, **_tls(parse_url(url))}
        )  # what the URL says goes first
        if is_embedded:
            client.connection_pool.connection_class = AsyncOwnSocket
        return client
    if servers.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in servers.hosts]
        # Whether slots that nobody has are everybody's failure is the servers' setting, not the client's.
        return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **{**ours, **servers.options})
    sentinel = _Sentinel(servers.hosts, sentinel_kwargs={**ours, **servers.sentinel_options})  # type: ignore[no-untyped-call]
    master: Redis = sentinel.master_for(servers.service, parser_class=Listener, **{**ours, **servers.options})
    return master


def connect_to_node(url: str, timeout: float, host: str, port: int) -> Redis:
    """Make a client of one node of a cluster."""
    servers = parse(url)
    return Redis(host=host, port=port, **{**_options(timeout), **(servers.options if servers else {})})


def url_of_one(url: str, timeout: float) -> str:
    """Return the URL of one server, for programs that connect to one: the master that Sentinel names, or any node of
    a cluster. Raises RedisUnavailable."""
    servers = parse(url)
    if servers is None:
        return url
    host, port = servers.hosts[0]
    if servers.kind == "sentinel":
        options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **servers.sentinel_options}
        try:
            sentinel = BlockingSentinel(servers.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
            host, port = sentinel.discover_master(servers.service)  # type: ignore[no-untyped-call]
        except RedisError as error:
            raise RedisUnavailable(f"no sentinel names the master: {first_line(error)}") from None
    return f"[{host}]:{port}".join(servers.around) if ":" in host else f"{host}:{port}".join(servers.around)


async def close(client: Redis | RedisCluster) -> None:
    """Close the client, and those of the sentinels it asked."""
    if isinstance(client, RedisCluster):  # after an error it takes itself for closed, and leaves its connections open
        await client.nodes_manager.aclose()
        await client.nodes_manager.aclose("startup_nodes")
    await client.aclose()
    if isinstance(client, Redis) and (manager := getattr(client.connection_pool, "sentinel_manager", None)):
        for sentinel in manager.sentinels:
            await sentinel.aclose()


def _tls(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Check the host's name over TLS, as redis-py does from 6.0 on, unless the URL says otherwise."""
    is_checked = parsed.get("connection_class") is SSLConnection and parsed.get("ssl_cert_reqs") != "none"
    return {"ssl_check_hostname": True} if is_checked else {}


def _options(timeout: float) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # a foreign value that isn't UTF-8 must not break a reply
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
