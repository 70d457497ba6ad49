"""Both stores of one configuration, connected when first used."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import cached_property

from redis.asyncio import RedisCluster

from store import sockets
from store.coherence.marks import Marks
from store.config import Config
from store.encryption.vault import Vault
from store.mirror import servers
from store.mirror.client import Mirror
from store.mirror.cluster import ClusterMirror
from store.postgres.database import Database


class Connections:
    """PostgreSQL, Redis, and the marks between them."""

    def __init__(self, config: Config) -> None:
        assert config.redis_url is not None
        self._config = config
        self.database = Database(config)
        self.confinement = self.database.confinement
        is_embedded = sockets.is_embedded(config.redis_url, config.home)
        self._redis = servers.connect(config.redis_url, config.redis_timeout, is_embedded)
        if isinstance(self._redis, RedisCluster):
            self.mirror: Mirror = ClusterMirror(self._redis, config, lambda: self.vault)
        else:
            self.mirror = Mirror(self._redis, config, lambda: self.vault)
        self.marks = Marks(self.database)

    @cached_property
    def vault(self) -> Vault:
        """The keys that encrypt credentials; it may have none. Raises ConfigError."""
        return self._config.read_vault()

    async def close(self) -> None:
        async with AsyncExitStack() as last_first:  # each, also if another fails or is cancelled
            last_first.push_async_callback(servers.close, self._redis)
            last_first.push_async_callback(self.database.close)
            last_first.push_async_callback(self.marks.close)
            last_first.push_async_callback(self.mirror.close)
