"""Configuration, from the environment: each variable stands here once, at the field of Config that it gives."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from store.arguments import MOST, is_plain_number
from store.errors import ConfigError

if TYPE_CHECKING:
    from store.encryption.vault import Vault

PREFIX = "SETTINGS_STORE_"
CHANNEL = "settings:changes"
CLUSTER_TEMPLATE = "user:{{{id}}}:{suffix}"


@dataclass(frozen=True)
class _Variable:
    """A variable of the environment."""

    name: str
    meaning: str
    read: Callable[[str], Any] = str
    must: str = ""  # what an error says of a value that can't be read, or isn't allowed
    allows: Callable[[Any], bool] = lambda _: True
    hint: str | None = None


def _variable(name: str, meaning: str, **more: Any) -> dict[str, _Variable]:
    return {"variable": _Variable(name, meaning, **more)}


def names(name: str) -> tuple[str, ...]:
    """Return the names of a variable, the one that wins first: with our prefix, then without."""
    return (name,) if name.startswith(PREFIX) else (PREFIX + name, name)


def default_home() -> Path:
    """Where the embedded servers keep their data.

    Root's PostgreSQL runs as another user, who must reach the folder, so it isn't below /root.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/settings-store")
    from platformdirs import user_data_path

    return user_data_path("settings-store")


def _read_seconds(text: str) -> float:
    if not is_plain_number(text, False):
        raise ValueError
    return float(text)


def _read_whole(text: str) -> int:
    if not is_plain_number(text, True):
        raise ValueError
    return int(min(float(text), 1e15))  # of thousands of digits Python makes no int


def _read_embedded(text: str) -> bool:
    if text != "never":
        raise ValueError
    return False


def _is_template(template: str) -> bool:
    """Tell whether each user and each suffix has a key of its own."""
    try:
        parts = [part[1:] for part in Formatter().parse(template) if part[1] is not None]
    except ValueError:
        return False
    return sorted(parts, key=str) == [("id", "", None), ("suffix", "", None)]


@dataclass(frozen=True)
class Config:
    """How to reach the two stores. URLs never show in the repr, as they may hold passwords."""

    # fmt: off
    database_url: str | None = field(default=None, repr=False, metadata=_variable(
        "DATABASE_URL",
        "PostgreSQL, any libpq connection string or SQLAlchemy URL. Default: the embedded PostgreSQL.",
    ))
    redis_url: str | None = field(default=None, repr=False, metadata=_variable(
        "REDIS_URL",
        "`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`. Default: the embedded Redis.",
    ))
    home: Path = field(default_factory=default_home, metadata=_variable(
        "SETTINGS_STORE_HOME",
        "Folder of the embedded servers. Default: the user's data folder; root's is `/var/lib/settings-store`.",
        read=lambda text: Path(text).absolute(),
    ))
    may_embed: bool = field(default=True, metadata=_variable(
        "SETTINGS_STORE_EMBEDDED",
        "`never`: a URL that isn't set is an error, and no reason to use the embedded servers; nor is their key file"
        " read.",
        read=_read_embedded, must="be never, or not set",
    ))
    db_pool_size: int = field(default=5, metadata=_variable(
        "DB_POOL_SIZE", "Connections at most, 2 or more. Default: 5.",
        read=_read_whole, must="be at least 2, a whole number", allows=lambda size: 2 <= size <= MOST,
        hint="A job that reads by one connection writes by another.",
    ))
    db_timeout: float = field(default=5.0, metadata=_variable(
        "DB_TIMEOUT", "Seconds to wait for a connection. Default: 5.",
        read=_read_seconds, must="be a positive number of seconds", allows=lambda seconds: 0 < seconds < 86400,
    ))
    db_lock_timeout: float = field(default=5.0, metadata=_variable(
        "DB_LOCK_TIMEOUT",
        "Seconds that a save waits for somebody else's open transaction before it fails (exit code 3); 0: as long as it"
        " takes. Default: 5.",
        read=_read_seconds, must="be a number of seconds, or 0", allows=lambda seconds: 0 <= seconds < 86400,
    ))
    application: str = "settings-store python"  # application_name, unless the URL or PGAPPNAME says one
    redis_timeout: float = field(default=0.5, metadata=_variable(
        "REDIS_TIMEOUT", "Seconds a Redis command may take. Default: 0.5.",
        read=_read_seconds, must="be a positive number of seconds", allows=lambda seconds: 0 < seconds < 86400,
    ))
    redis_retry_after: float = 1.0  # seconds to leave Redis alone after it failed
    key_template: str = field(default="user:{id}:{suffix}", metadata=_variable(
        "MIRROR_KEY_TEMPLATE",
        "Names of the Redis keys. Default: `user:{id}:{suffix}`; for Redis Cluster `user:{{{id}}}:{suffix}`.",
        must="hold {id} and {suffix} once each, as in user:{id}:{suffix}", allows=_is_template,
    ))
    channel: str | None = field(default=None, metadata=_variable(  # None: mirror_channel says
        "MIRROR_CHANNEL",
        "Where changes are published. Default: `settings:changes`, and with another database of Redis or other names of"
        " the keys one of their own (docs/redis.md).",
    ))
    mirror_credentials: str | None = field(default=None, metadata=_variable(  # None: not chosen
        "MIRROR_CREDENTIALS",
        "How Redis holds API credentials: `encrypted`, `plain` or `off`. Default: `encrypted`; `sync` asks for the"
        " choice where Redis holds plain text.",
        must="be encrypted, plain or off", allows=lambda mode: mode in (None, "encrypted", "plain", "off"),
    ))
    actor: str | None = field(default=None, metadata=_variable(  # unless acting_as or the call says one
        "SETTINGS_STORE_ACTOR",
        "Who writes. Default: the user of the operating system; in Python the database user.",
    ))
    # fmt: on
    vault: Vault | None = field(default=None, repr=False, compare=False)  # None: the keys of the environment
    prefixed: frozenset[str] = field(default=frozenset(), repr=False, compare=False)  # fields given as SETTINGS_STORE_…

    def __post_init__(self) -> None:
        for name, variable in _VARIABLES.items():
            if not variable.allows(getattr(self, name)):
                raise ConfigError(f"{self.variable(name)} must {variable.must}", hint=variable.hint)

    def variable(self, name: str) -> str:
        """Return the name of the variable that gave a field, or would."""
        return names(_VARIABLES[name].name)[0 if name in self.prefixed else -1]

    def checked(self) -> Config:
        """Return this configuration if its URLs can be read, SQLAlchemy's as libpq has them. Raises ConfigError, which
        doesn't quote them."""
        found = self
        if self.database_url is not None:
            found = replace(self, database_url=self._libpq_url())
        if self.redis_url is not None and (problem := _redis_problem(self.redis_url)):
            raise ConfigError(
                f"{self.variable('redis_url')} is not a Redis URL: {problem}",
                hint="redis://, rediss://, unix://, redis+sentinel://host:26379/service or redis+cluster://host:6379",
            )
        if self.redis_url is not None and not self._suits_cluster():
            raise ConfigError(
                f"{self.variable('key_template')} must put {{id}} in a hash tag for Redis Cluster",
                hint=f"{CLUSTER_TEMPLATE} makes keys such as user:{{587662504768345929}}:settings",
            )
        return found

    def _libpq_url(self) -> str:
        from store.postgres.urls import UnknownParameters, to_libpq

        try:
            return to_libpq(self.database_url or "")
        except UnknownParameters as error:
            problem = f"has parameters that libpq has no equivalent of: {error}"
            hint = f"Give the store a URL of its own, {names('DATABASE_URL')[0]}."
        except ValueError:
            problem = "is not a PostgreSQL connection string"
            hint = "postgresql://user:password@host:5432/database; percent-encode @ : / in a password."
        # Out here, where no context and no local variable holds the URL.
        raise ConfigError(f"{self.variable('database_url')} {problem}", hint=hint)

    def shown(self) -> dict[str, str]:
        """Return what is configured, by the bare names of the variables: addresses without passwords, no keys."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in _VARIABLES if name != "may_embed"}
        shown |= {"channel": self.mirror_channel, "mirror_credentials": self.credentials_mode}
        shown["database_url"] = _shown_database(self.database_url) if self.database_url else "embedded"
        shown["redis_url"] = _shown_redis(self.redis_url) if self.redis_url else "embedded"
        return {
            _VARIABLES[name].name: f"{value:g}" if isinstance(value, float) else str(value or "")
            for name, value in shown.items()
        }

    def environment(self) -> dict[str, str]:
        """Return this process's environment for a child that is to use the servers of this configuration."""
        urls = {"DATABASE_URL": self.database_url or "", "REDIS_URL": self.redis_url or ""}
        return {**os.environ, **urls, **{PREFIX + name: url for name, url in urls.items()}}

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
        given: dict[str, Any] = {}
        prefixed = set()
        for field_name, variable in _VARIABLES.items():
            name = next((name for name in names(variable.name) if environ.get(name)), None)
            if name is None:
                continue
            try:
                given[field_name] = variable.read(environ[name])
            except ValueError:
                raise ConfigError(f"{name} must {variable.must}", hint=variable.hint) from None
            if name.startswith(PREFIX):
                prefixed.add(field_name)
        return cls(**given, prefixed=frozenset(prefixed))


_VARIABLES: dict[str, _Variable] = {
    each.name: each.metadata["variable"] for each in fields(Config) if "variable" in each.metadata
}

# What each variable of the environment means, by its bare name: for docs/cli.md, and what a .env file may hold.
VARIABLES = {variable.name: variable.meaning for variable in _VARIABLES.values()} | {
    "SETTINGS_STORE_KEYS": "Encryption keys of the API credentials, base64, separated by commas or blanks; the first"
    " one writes.",
    "SETTINGS_STORE_KEYS_FILE": "A file with them, mode 0600. Default: `encryption.keys` of the embedded servers.",
}


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


def _redis_problem(url: str) -> str | None:
    from store.mirror.servers import BadUrl, check

    try:
        check(url)
    except BadUrl as error:
        return str(error)
    except ValueError:
        return "it has another form, or an option that redis-py doesn't know"
    return None
