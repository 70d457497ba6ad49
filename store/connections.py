"""Both stores of one configuration, connected when first used."""

from __future__ import annotations

import os
from functools import cached_property

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from store.config import Config
from store.database import Database
from store.marks import Marks
from store.mirror.mirror import Mirror
from store.vault import Vault


class Connections:
    """PostgreSQL, Redis, and the marks between them."""

    def __init__(self, config: Config) -> None:
        assert config.redis_url is not None
        self._config = config
        self.database = Database(config)
        self._redis: Redis = Redis.from_url(
            config.redis_url,
            decode_responses=True,
            encoding_errors="surrogateescape",  # a foreign value that isn't UTF-8 must not break a reply
            socket_timeout=config.redis_timeout,
            socket_connect_timeout=config.redis_timeout,
            retry=Retry(NoBackoff(), 0),
        )
        self.mirror = Mirror(self._redis, config, lambda: self.vault)
        self.marks = Marks(self.database)

    @cached_property
    def vault(self) -> Vault:
        """The keys that encrypt credentials; it may have none. Raises ConfigError."""
        return self._config.vault or Vault.from_env(os.environ, self._config.key_file)

    async def close(self) -> None:
        await self.marks.close()
        await self.database.close()
        await self._redis.aclose()
