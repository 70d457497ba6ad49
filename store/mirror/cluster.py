"""The mirror on a Redis Cluster. A user's keys share a slot (the key template has a hash tag), so scripts run where the
keys are, and redis-py finds that node. Here is what concerns several nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import cached_property, partial
from itertools import count
from typing import Any, TypeVar, cast

from redis import exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from store.config import Config
from store.encryption.vault import Vault
from store.errors import first_line
from store.mirror import servers
from store.mirror.client import LONGEST_KEY, SCAN, Mirror
from store.mirror.pipeline import Command, Word

T = TypeVar("T")

MARKS = 64  # of the relay, evenly over the slots: a node with as many as 511 slots in a row has one
LOST = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ClusterDownError, OSError)


class ClusterMirror(Mirror):
    """A Mirror whose keys are spread over nodes. Slots may move and nodes fail over at any time: a key on the way is
    refused for as long as redis-py can't find it, and its mark stays for the relay."""

    is_tracking = False  # each node would have to be followed, and each slot that moves
    tries = 3  # on new connections, and then on the nodes that are the primaries now
    spans_nodes = True

    def __init__(self, cluster: RedisCluster, config: Config, vault: Callable[[], Vault]) -> None:
        super().__init__(cast(Redis, cluster), config, vault)  # commands and pipelines are called alike
        self._cluster = cluster
        self._is_outdated = False  # what redis-py knows of the nodes; it doesn't notice in a pipeline
        self._refreshed = 0  # how often that was brought up to date
        self._refreshing = asyncio.Lock()

    async def server(self) -> dict[str, Any]:
        """Return INFO `server` of a primary. All are asked: health counts on it."""
        nodes = await self._primaries()
        infos: list[dict[str, Any]] = await self._call(
            lambda: asyncio.gather(*(self._cluster.info("server", target_nodes=node) for node in nodes))
        )
        return infos[0]

    async def identities(self) -> list[str]:
        infos = [partial(self._cluster.info, target_nodes=node) for node in await self._primaries()]
        return sorted(await self._call(lambda: asyncio.gather(*map(servers.identity, infos))))

    async def scan(
        self, batch: int, suffix: str | None = None, owner: str | None = None
    ) -> AsyncIterator[list[tuple[str, str]]]:
        """List keys, node by node; one whose slot moves meanwhile may be passed over."""
        pattern = self.keys.of_pattern(suffix, owner)
        for node in await self._primaries():
            cursor = None
            while cursor != "0":
                call = ("EVAL", SCAN.text, 0, cursor or "0", pattern, batch, LONGEST_KEY)
                cursor, names = await self._call(
                    lambda: self._cluster.execute_command(*call, target_nodes=node)  # noqa: B023
                )
                yield self._parsed(names)

    def _lane(self, owner: str) -> str:
        try:
            node = self._cluster.get_node_from_key(self.keys.mirror(owner))
        except exceptions.RedisClusterException:  # nobody was asked yet, or nobody has the slot
            return ""
        return str(node.name) if node else ""

    async def _listener(self) -> Redis:
        """Make a client of any node: what one publishes all tell."""
        node = (await self._primaries())[0]
        url, timeout = self._config.redis_url or "", self._config.redis_timeout
        return servers.connect_to_node(url, timeout, node.host, int(node.port))

    async def at_marks(self, command: Callable[[str], tuple[Word, ...]]) -> list[Any]:
        """Run a command at the relay's marks. A node alone may lose its data: so there are some in all parts of the
        slots, that move with them."""

        async def run() -> list[Any]:
            async with self.redis.pipeline(transaction=False) as pipeline:
                for tag in self._tags:
                    pipeline.execute_command(*command(f"settings:{{{tag}}}:"))
                return list(await pipeline.execute())

        return await self._call(run)

    @cached_property
    def _tags(self) -> list[str]:
        """Hash tags, one for each of MARKS equal parts of the slots."""
        tags: dict[int, str] = {}
        for number in count():
            tag = f"{self.keys.digest}-{number}"
            tags.setdefault(key_slot(tag.encode()) * MARKS // REDIS_CLUSTER_HASH_SLOTS, tag)
            if len(tags) == MARKS:
                break
        return list(tags.values())

    async def _primaries(self) -> list[ClusterNode]:
        """Ask who the primaries are now."""
        self._is_outdated = True
        await self._call(self._refresh)
        return self._cluster.get_primaries()

    async def _refresh(self) -> None:
        """Ask who the nodes are, once for all who want to know: up to redis-py 5 that closes all connections."""
        async with self._refreshing:
            if self._is_outdated:
                await self._cluster.initialize()
                await self._cluster.nodes_manager.initialize()
                self._is_outdated = False
                self._refreshed += 1

    def _outdate(self, known: int) -> None:
        """Note that what was known of the nodes is outdated, unless it was brought up to date since."""
        self._is_outdated |= known == self._refreshed

    async def _exchange(self, commands: Iterable[Command], there: int = 0) -> list[Any]:
        wanted, known = list(commands), self._refreshed
        replies = await self._pipelined(wanted)
        lost = [i for i, reply in enumerate(replies) if isinstance(reply, LOST)]
        if lost and len(lost) == len(replies):
            raise replies[0]
        if lost and not any(isinstance(replies[i], exceptions.TimeoutError) for i in lost):
            await servers.drop_idle(self._cluster)  # of some nodes: once more, as _call() does if all are lost
            for i, reply in zip(lost, await self._pipelined([wanted[i] for i in lost]), strict=True):
                replies[i] = reply
        if any(isinstance(reply, LOST) for reply in replies):
            self._outdate(known)
        return replies

    async def _pipelined(self, commands: Sequence[Command]) -> list[Any]:
        async with self.redis.pipeline(transaction=False) as pipeline:  # each goes to the node that has its key
            for command in commands:
                pipeline.execute_command(*command)
            return list(await pipeline.execute(raise_on_error=False))

    async def _call(self, command: Callable[[], Awaitable[T]]) -> T:
        tries = 0

        async def routed() -> T:
            nonlocal tries
            tries += 1
            known = self._refreshed
            try:
                await self._refresh()
                known = self._refreshed
                return await command()
            except LOST as error:
                if tries > 1 or isinstance(error, exceptions.TimeoutError):  # not just a connection that was dead
                    self._outdate(known)
                raise
            except exceptions.SlotNotCoveredError as error:
                raise exceptions.ClusterDownError(first_line(error)) from None
            except exceptions.ClusterError as error:  # a slot between two nodes
                raise exceptions.TryAgainError(first_line(error)) from None
            except exceptions.RedisClusterException as error:  # which isn't a RedisError
                raise exceptions.ConnectionError(first_line(error)) from None
            except AttributeError:  # redis-py closes a failed node's connections, also of who has just taken one
                self._outdate(known)
                raise exceptions.ConnectionError("a connection was closed") from None

        return await super()._call(routed)
