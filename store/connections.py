"""Both stores of one configuration, connected when first used."""

from __future__ import annotations

import contextlib
import os
from functools import cached_property

from redis.asyncio import RedisCluster

from store.config import Config
from store.database import Database
from store.marks import Marks
from store.mirror import connect
from store.mirror.cluster import ClusterMirror
from store.mirror.mirror import Mirror
from store.vault import Vault


class Connections:
    """PostgreSQL, Redis, and the marks between them."""

    def __init__(self, config: Config) -> None:
        assert config.redis_url is not None
        self._config = config
        self.database = Database(config)
        self._redis = connect.connect(config.redis_url, config.redis_timeout)
        if isinstance(self._redis, RedisCluster):
            self.mirror: Mirror = ClusterMirror(self._redis, config, lambda: self.vault)
        else:
            self.mirror = Mirror(self._redis, config, lambda: self.vault)
        self.marks = Marks(self.database)

    @cached_property
    def vault(self) -> Vault:
        """The keys that encrypt credentials; it may have none. Raises ConfigError."""
        return self._config.vault or Vault.from_env(os.environ, self._config.key_file)

    async def close(self) -> None:
        async with contextlib.AsyncExitStack() as stack:  # each, whatever comes of the others
            stack.push_async_callback(connect.close, self._redis)
            stack.push_async_callback(self.database.close)
            stack.push_async_callback(self.marks.close)
