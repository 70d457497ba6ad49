"""The client for REDIS_URL: of one server, of the master that Sentinel names, or of a cluster.

redis-py has no URL for the latter two. They are spelled as Prefect, RedisVL and others do:

    redis+sentinel://[user:password@]host[:26379][,host…]/service[/database][?options]
    redis+cluster://[user:password@]host[:6379][,host…][?options]

`rediss+…` is TLS, also to the sentinels, who are logged in to with `sentinel_username` and `sentinel_password`. Other
options are redis-py's, as in any of its URLs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

SEVERAL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<login>[^@/?]*@)?(?P<hosts>[^@/?]+)"
    r"(?:/(?P<path>[^?]*))?(?P<query>\?.*)?"
)
PORTS = {"sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True)
class Servers:
    """What a URL says of several servers. No repr shows the options: they may hold passwords."""

    kind: str  # sentinel, cluster
    hosts: list[tuple[str, int]]
    service: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]

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
    plain = f"{found['scheme']}://{found['login'] or ''}%s/{database}{found['query'] or ''}"
    parsed = [parse_url(plain % host) for host in found["hosts"].split(",")]
    options: dict[str, Any] = {**parsed[0], "ssl": parsed[0].get("connection_class") is SSLConnection}
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    sentinel_options = {name: options[name] for name in options if name.startswith("ssl")}
    for name in ("username", "password"):
        if value := options.pop(f"sentinel_{name}", None):
            sentinel_options[name] = value
    hosts = [(host["host"], host.get("port", PORTS[kind])) for host in parsed]
    return Servers(kind, hosts, service, options, sentinel_options)


def is_cluster(url: str) -> bool:
    """Tell whether a URL that can be read is of a cluster."""
    servers = parse(url)
    return servers is not None and servers.kind == "cluster"


def connect(url: str, timeout: float) -> Redis | RedisCluster:
    """Make the client; it connects when first used. Nothing is tried twice: who asked knows what else to do."""
    servers, ours = parse(url), _options(timeout)
    if servers is None:
        return Redis.from_url(url, **ours)
    if servers.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in servers.hosts]
        # Whether slots that nobody has are everybody's failure is the servers' setting, not the client's.
        return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **{**ours, **servers.options})
    sentinel = Sentinel(servers.hosts, sentinel_kwargs={**ours, **servers.sentinel_options})  # type: ignore[no-untyped-call]
    master: Redis = sentinel.master_for(servers.service, **{**ours, **servers.options})
    return master


def connect_to_node(url: str, timeout: float, host: str, port: int) -> Redis:
    """Make a client of one node of a cluster."""
    servers = parse(url)
    return Redis(host=host, port=port, **{**_options(timeout), **(servers.options if servers else {})})


async def close(client: Redis | RedisCluster) -> None:
    """Close the client, and those of the sentinels it asked."""
    if isinstance(client, RedisCluster):  # after an error it takes itself for closed, and leaves its connections open
        await client.nodes_manager.aclose()
        await client.nodes_manager.aclose("startup_nodes")
    await client.aclose()
    if isinstance(client, Redis) and (manager := getattr(client.connection_pool, "sentinel_manager", None)):
        for sentinel in manager.sentinels:
            await sentinel.aclose()


def _options(timeout: float) -> dict[str, Any]:
    return {
        "decode_responses": True,
        "encoding_errors": "surrogateescape",  # a foreign value that isn't UTF-8 must not break a reply
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
