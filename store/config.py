"""Configuration, from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING

from store.errors import ConfigError

if TYPE_CHECKING:
    from store.encryption.vault import Vault


# What each variable of the environment means: for docs/cli.md, and what a .env file may hold.
VARIABLES = {
    "DATABASE_URL": "PostgreSQL, any libpq connection string. Default: the embedded PostgreSQL.",
    "REDIS_URL": "`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`."
    " Default: the embedded Redis.",
    "SETTINGS_STORE_HOME": "Folder of the embedded servers. Default: the user's data folder; root's is"
    " `/var/lib/settings-store`.",
    "SETTINGS_STORE_EMBEDDED": "`never`: a URL that isn't set is an error, and no reason to use the embedded"
    " servers; nor is their key file read.",
    "SETTINGS_STORE_ACTOR": "Who writes. Default: the user of the operating system; in Python the database user.",
    "SETTINGS_STORE_KEYS": "Encryption keys of the API credentials, base64, separated by blanks; the first one writes.",
    "SETTINGS_STORE_KEYS_FILE": "A file with them, mode 0600. Default: `encryption.keys` of the embedded servers.",
    "MIRROR_CREDENTIALS": "How Redis holds API credentials: `encrypted`, `plain` or `off`. Default: `encrypted`;"
    " `sync` asks for the choice where Redis holds plain text.",
    "MIRROR_KEY_TEMPLATE": "Names of the Redis keys. Default: `user:{id}:{suffix}`; for Redis Cluster"
    " `user:{{{id}}}:{suffix}`.",
    "MIRROR_CHANNEL": "Where changes are published. Default: `settings:changes`, and with another database of Redis or"
    " other names of the keys one of their own (docs/redis.md).",
    "DB_POOL_SIZE": "Connections at most, 2 or more. Default: 5.",
    "DB_TIMEOUT": "Seconds to wait for a connection. Default: 5.",
    "DB_LOCK_TIMEOUT": "Seconds that a save waits for somebody else's open transaction before it fails (exit code"
    " 3); 0: as long as it takes. Default: 5.",
    "REDIS_TIMEOUT": "Seconds a Redis command may take. Default: 0.5.",
}


CHANNEL = "settings:changes"
CLUSTER_TEMPLATE = "user:{{{id}}}:{suffix}"


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
    may_embed: bool = True  # whether embedded servers are used without URLs
    db_pool_size: int = 5  # connections at most
    db_timeout: float = 5.0  # seconds to wait for a connection
    db_lock_timeout: float = 5.0  # seconds a save waits for others' transactions; 0: as long as it takes
    application: str = "settings-store python"  # application_name, unless the URL or PGAPPNAME says one
    redis_timeout: float = 0.5  # seconds a command may take
    redis_retry_after: float = 1.0  # seconds to leave Redis alone after it failed
    key_template: str = "user:{id}:{suffix}"
    channel: str | None = None  # where changes are published; None: mirror_channel says
    mirror_credentials: str | None = None  # how Redis holds API credentials: encrypted, plain, off; None: not chosen
    actor: str | None = None  # who writes, unless acting_as or the call says; None: the database user
    vault: Vault | None = field(default=None, repr=False, compare=False)  # None: the keys of the environment

    def __post_init__(self) -> None:
        try:
            fields = [field[1:] for field in Formatter().parse(self.key_template) if field[1] is not None]
        except ValueError:
            fields = []
        if sorted(fields, key=str) != [("id", "", None), ("suffix", "", None)]:
            raise ConfigError("MIRROR_KEY_TEMPLATE must hold {id} and {suffix} once each, as in user:{id}:{suffix}")
        if self.mirror_credentials not in (None, "encrypted", "plain", "off"):
            raise ConfigError("MIRROR_CREDENTIALS must be encrypted, plain or off")
        for name, seconds in (("DB_TIMEOUT", self.db_timeout), ("REDIS_TIMEOUT", self.redis_timeout)):
            if not 0 < seconds < 86400:
                raise ConfigError(f"{name} must be a positive number of seconds")
        if not 0 <= self.db_lock_timeout < 86400:
            raise ConfigError("DB_LOCK_TIMEOUT must be a number of seconds, or 0")
        if self.db_pool_size < 2:
            raise ConfigError(
                "DB_POOL_SIZE must be at least 2", hint="A job that reads by one connection writes by another."
            )

    def checked(self) -> Config:
        """Return this configuration if its URLs can be read. Raises ConfigError, which doesn't quote them."""
        if self.database_url is not None and not _is_database_url(self.database_url):
            raise ConfigError(
                "DATABASE_URL is not a PostgreSQL connection string",
                hint="postgresql://user:password@host:5432/database; percent-encode @ : / in a password.",
            )
        if self.redis_url is not None and not _is_redis_url(self.redis_url):
            raise ConfigError(
                "REDIS_URL is not a Redis URL, or has an option that redis-py doesn't know",
                hint="redis://, rediss://, unix://, redis+sentinel://host:26379/service or redis+cluster://host:6379",
            )
        if self.redis_url is not None and not self._suits_cluster():
            raise ConfigError(
                "MIRROR_KEY_TEMPLATE must put {id} in a hash tag for Redis Cluster",
                hint=f"{CLUSTER_TEMPLATE} makes keys such as user:{{587662504768345929}}:settings",
            )
        return self

    def shown(self) -> dict[str, str]:
        """Return what is configured, by the names of the variables: addresses without passwords, no keys."""
        return {
            "DATABASE_URL": _shown_database(self.database_url) if self.database_url else "embedded",
            "REDIS_URL": _shown_redis(self.redis_url) if self.redis_url else "embedded",
            "SETTINGS_STORE_HOME": str(self.home),
            "SETTINGS_STORE_ACTOR": self.actor or "",
            "MIRROR_CREDENTIALS": self.credentials_mode,
            "MIRROR_KEY_TEMPLATE": self.key_template,
            "MIRROR_CHANNEL": self.mirror_channel,
            "DB_POOL_SIZE": str(self.db_pool_size),
            "DB_TIMEOUT": f"{self.db_timeout:g}",
            "DB_LOCK_TIMEOUT": f"{self.db_lock_timeout:g}",
            "REDIS_TIMEOUT": f"{self.redis_timeout:g}",
        }

    def _suits_cluster(self) -> bool:
        """Tell whether all keys of a user share a slot, if that matters."""
        from store.mirror.servers import is_cluster

        tag = re.search("{([^}]*)}", self.key_template.format(id="\0", suffix="\1"))
        return (tag is not None and "\0" in tag[1] and "\1" not in tag[1]) or not is_cluster(self.redis_url or "")

    @property
    def credentials_mode(self) -> str:
        """How Redis holds API credentials: encrypted, unless another mode was chosen."""
        return self.mirror_credentials or "encrypted"

    @property
    def mirror_channel(self) -> str:
        """Where changes are published. Channels are the whole server's: unless one is configured, each database and
        each key template has its own. The plain name is that of database 0 with the usual template (of a cluster,
        which needs a hash tag: with that around the identifier)."""
        from store.mirror.keys import Keys
        from store.mirror.servers import database, is_cluster

        if self.channel is not None:
            return self.channel
        number, usual = 0, Config.key_template
        if self.redis_url is not None:
            number, usual = database(self.redis_url), CLUSTER_TEMPLATE if is_cluster(self.redis_url) else usual
        template = [] if self.key_template == usual else [Keys(self.key_template).digest]
        return ":".join([CHANNEL, *([str(number)] if number or template else []), *template])

    @property
    def key_file(self) -> Path:
        """Where the embedded default keeps the keys that encrypt credentials."""
        return self.home / "encryption.keys"

    def read_vault(self) -> Vault:
        """Return the encryption keys, as given or of the environment; those of the embedded default only if that may be
        used. It may have none. Raises ConfigError."""
        from store.encryption.vault import Vault

        return self.vault or Vault.from_env(os.environ, self.key_file if self.may_embed else None)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the environment, or what is given instead: the variables of docs/cli.md; what is unset or empty keeps
        its default. A .env file is read by the command line only. URLs are looked at by checked(), encryption keys when
        they are needed. Raises ConfigError, naming the variable."""
        environ = os.environ if environ is None else environ  # no default: it would show in help()

        def number(name: str, kind: type[int] | type[float], default: float) -> float:
            text = environ.get(name) or str(default)
            try:
                return kind(text)
            except ValueError:
                raise ConfigError(f"{name} must be a number") from None

        if environ.get("SETTINGS_STORE_EMBEDDED", "") not in ("", "never"):
            raise ConfigError("SETTINGS_STORE_EMBEDDED must be never, or not set")
        return cls(
            database_url=environ.get("DATABASE_URL") or None,
            redis_url=environ.get("REDIS_URL") or None,
            home=Path(environ.get("SETTINGS_STORE_HOME") or default_home()).absolute(),
            may_embed=environ.get("SETTINGS_STORE_EMBEDDED") != "never",
            db_pool_size=int(number("DB_POOL_SIZE", int, cls.db_pool_size)),
            db_timeout=number("DB_TIMEOUT", float, cls.db_timeout),
            db_lock_timeout=number("DB_LOCK_TIMEOUT", float, cls.db_lock_timeout),
            redis_timeout=number("REDIS_TIMEOUT", float, cls.redis_timeout),
            key_template=environ.get("MIRROR_KEY_TEMPLATE") or cls.key_template,
            channel=environ.get("MIRROR_CHANNEL") or None,
            mirror_credentials=environ.get("MIRROR_CREDENTIALS") or None,
            actor=environ.get("SETTINGS_STORE_ACTOR") or None,
        )


def _is_database_url(url: str) -> bool:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        # A host with an @ is the rest of a password that wasn't percent-encoded; libpq would show it.
        return "@" not in str(conninfo_to_dict(url).get("host", ""))
    except psycopg.Error:
        return False


def _shown_database(url: str) -> str:
    """Name what says where and who; anything else may be a secret (a password, a passphrase, a token)."""
    from psycopg.conninfo import conninfo_to_dict

    told = ("host", "hostaddr", "port", "dbname", "user", "service", "sslmode", "target_session_attrs")
    found = conninfo_to_dict(url)
    return " ".join(f"{name}={found[name]}" for name in told if found.get(name))


def _shown_redis(url: str) -> str:
    from urllib.parse import parse_qs, urlsplit

    parts = urlsplit(url)
    database = parse_qs(parts.query).get("db")
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + (f"?db={database[0]}" if database else "")


def _is_redis_url(url: str) -> bool:
    from store.mirror.servers import check

    try:
        check(url)
    except ValueError:
        return False
    return True
