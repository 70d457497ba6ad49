"""Configuration, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from store.errors import ConfigError


def default_home() -> Path:
    """Where the embedded servers keep their data.

    Root's PostgreSQL runs as another user, who must reach the folder, so it isn't below /root.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/settings-store")
    from platformdirs import user_data_path

    return user_data_path("settings-store")


@dataclass(frozen=True)
class Config:
    """How to reach the two stores. URLs never show in the repr, as they may hold passwords."""

    database_url: str | None = field(default=None, repr=False)  # None: the embedded PostgreSQL
    redis_url: str | None = field(default=None, repr=False)  # None: the embedded Redis
    home: Path = field(default_factory=default_home)
    db_pool_size: int = 5  # connections at most; never fewer than 5
    db_timeout: float = 5.0  # seconds to wait for a connection
    redis_timeout: float = 0.5  # seconds a command may take
    redis_retry_after: float = 1.0  # seconds to leave Redis alone after it failed
    key_template: str = "user:{id}:{suffix}"
    channel: str = "settings:changes"
    actor: str | None = None  # who writes; None: the database user

    def __post_init__(self) -> None:
        try:
            sample = self.key_template.format(id="1", suffix="x")
        except (KeyError, IndexError, ValueError):
            sample = ""
        if "1" not in sample or "x" not in sample:
            raise ConfigError("MIRROR_KEY_TEMPLATE must hold {id} and {suffix}, as in user:{id}:{suffix}")
        if self.redis_timeout <= 0 or self.db_timeout <= 0:
            raise ConfigError("REDIS_TIMEOUT and DB_TIMEOUT must be positive numbers of seconds")

    @property
    def pool_size(self) -> int:
        """Connections the pool may open."""
        return max(self.db_pool_size, 5)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Config:
        """Read DATABASE_URL, REDIS_URL, DB_POOL_SIZE, DB_TIMEOUT, REDIS_TIMEOUT, MIRROR_KEY_TEMPLATE,
        MIRROR_CHANNEL, SETTINGS_STORE_HOME and SETTINGS_STORE_ACTOR; what is unset or empty keeps its
        default. Raises ConfigError, naming the variable."""

        def number(name: str, kind: type[int] | type[float], default: float) -> float:
            text = environ.get(name) or str(default)
            try:
                return kind(text)
            except ValueError:
                raise ConfigError(f"{name} must be a number") from None

        return cls(
            database_url=environ.get("DATABASE_URL") or None,
            redis_url=environ.get("REDIS_URL") or None,
            home=Path(environ.get("SETTINGS_STORE_HOME") or default_home()).absolute(),
            db_pool_size=int(number("DB_POOL_SIZE", int, cls.db_pool_size)),
            db_timeout=number("DB_TIMEOUT", float, cls.db_timeout),
            redis_timeout=number("REDIS_TIMEOUT", float, cls.redis_timeout),
            key_template=environ.get("MIRROR_KEY_TEMPLATE") or cls.key_template,
            channel=environ.get("MIRROR_CHANNEL") or cls.channel,
            actor=environ.get("SETTINGS_STORE_ACTOR") or None,
        )
