"""Configuration from the environment, and connections that are made when first used."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_py
from psycopg.conninfo import conninfo_to_dict

from store import Config, ConfigError, SettingsStore, StoreError
from store.coherence.connections import Connections
from store.config import VARIABLES
from store.encryption.vault import create_key_file
from store.mirror.servers import parse

SECRET = "hunter2-secret"


def test_help_shows_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import store, pydoc; print(*map(pydoc.plaintext.document, (store.Config, store.SettingsStore)))"
    monkeypatch.setenv("SETTINGS_STORE_KEYS", "an-unmistakable-key")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "from_env" in shown
    assert "an-unmistakable-key" not in shown


def test_an_empty_environment_gives_the_defaults() -> None:
    config = Config.from_env({})
    assert config == Config()
    assert (config.database_url, config.redis_url, config.actor) == (None, None, None)
    assert config.key_template == "user:{id}:{suffix}"


def test_every_variable_is_read() -> None:
    config = Config.from_env(
        {
            "DATABASE_URL": "postgresql://db/x",
            "REDIS_URL": "redis://cache",
            "DB_POOL_SIZE": "12",
            "DB_TIMEOUT": "2.5",
            "REDIS_TIMEOUT": "0.25",
            "MIRROR_KEY_TEMPLATE": "user:{{{id}}}:{suffix}",
            "MIRROR_CHANNEL": "changes",
            "SETTINGS_STORE_HOME": "/srv/store",
            "SETTINGS_STORE_ACTOR": "ops",
        }
    )
    assert config == Config(
        "postgresql://db/x", "redis://cache", Path("/srv/store"), db_pool_size=12, db_timeout=2.5, redis_timeout=0.25,
        key_template="user:{{{id}}}:{suffix}", channel="changes", actor="ops",
    )  # fmt: skip


def test_an_empty_variable_is_as_good_as_none() -> None:
    names = ["DATABASE_URL", "REDIS_URL", "DB_POOL_SIZE", "DB_TIMEOUT", "REDIS_TIMEOUT", "MIRROR_KEY_TEMPLATE"]
    names += ["MIRROR_CHANNEL", "SETTINGS_STORE_HOME", "SETTINGS_STORE_ACTOR"]
    assert Config.from_env(dict.fromkeys(names, "")) == Config()


def test_the_process_environment_is_read_at_the_time_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR_CHANNEL", "mine")
    assert Config.from_env().channel == "mine"
    assert Config.from_env(os.environ).channel == "mine"


def test_where_embedded_servers_are_ruled_out_so_are_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SETTINGS_STORE_KEYS", "SETTINGS_STORE_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)
    create_key_file(tmp_path / "encryption.keys")
    home = {"SETTINGS_STORE_HOME": str(tmp_path)}
    assert not Config.from_env(home).read_vault().is_empty
    assert Config.from_env({**home, "SETTINGS_STORE_EMBEDDED": "never"}).read_vault().is_empty


def test_a_relative_home_is_made_absolute() -> None:
    assert Config.from_env({"SETTINGS_STORE_HOME": "data"}).home == Path.cwd() / "data"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DB_POOL_SIZE", "many"),
        ("DB_POOL_SIZE", "5.5"),
        ("DB_POOL_SIZE", "9" * 5000),
        ("DB_TIMEOUT", "5s"),
        ("DB_TIMEOUT", "0"),
        ("DB_TIMEOUT", "-1"),
        ("DB_TIMEOUT", "nan"),
        ("DB_TIMEOUT", "1e400"),
        ("DB_TIMEOUT", "1_0"),
        ("DB_LOCK_TIMEOUT", "inf"),
        ("DB_LOCK_TIMEOUT", "-1"),
        ("DB_POOL_SIZE", "１０"),
        ("DB_POOL_SIZE", "99999999999"),
        ("REDIS_TIMEOUT", "soon"),
        ("REDIS_TIMEOUT", "0"),
        ("REDIS_TIMEOUT", "nan"),
        ("MIRROR_KEY_TEMPLATE", "user"),
        ("MIRROR_KEY_TEMPLATE", "user:{id}"),
        ("MIRROR_KEY_TEMPLATE", "user:{suffix}"),
        ("MIRROR_KEY_TEMPLATE", "user:{}:{suffix}"),
        ("MIRROR_KEY_TEMPLATE", "user:{0}:{suffix}"),
        ("MIRROR_KEY_TEMPLATE", "user:{id}:{suffix"),
        ("MIRROR_KEY_TEMPLATE", "user:{user}:{suffix}"),
        ("MIRROR_KEY_TEMPLATE", "user:{id.real}:{suffix}"),
        # A template that leaves something out would put everybody's settings into one key.
        ("MIRROR_KEY_TEMPLATE", "v1:{suffix}"),
        ("MIRROR_KEY_TEMPLATE", "proxy:{id}"),
        ("MIRROR_KEY_TEMPLATE", "user:{id[0]}:{suffix}"),
        ("MIRROR_KEY_TEMPLATE", "user:{id:.1}:{suffix}"),
        ("MIRROR_KEY_TEMPLATE", "user:{{id}}:1:{suffix}"),
    ],
)
def test_an_error_names_the_variable(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config.from_env({name: text})


def test_a_password_shows_in_no_repr() -> None:
    config = Config(f"postgresql://u:{SECRET}@db/x", f"redis://:{SECRET}@cache/0")
    assert SECRET not in repr(config) + str(config) + repr(SettingsStore(config)) + repr(Connections(config).mirror)


@pytest.mark.parametrize(
    "database_url",
    [
        f"postgresql://u:{SECRET}@[db/x",
        f"postgresql://u:{SECRET}@db:port/x",
        f"postgresql://u:{SECRET}@db/x?no_such_option=1",
        f"password={SECRET} host",
        f"mysql://u:{SECRET}@db/x",
        f"postgresql://u:{SECRET}%zz@db/x",
    ],
)
async def test_a_malformed_database_url_is_one_error_without_the_password(servers: Config, database_url: str) -> None:
    with pytest.raises(StoreError) as caught:
        async with SettingsStore(replace(servers, database_url=database_url, db_timeout=0.5)) as store:
            await store.find_user("587662504768345929")
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert "busy" not in str(caught.value)


@pytest.mark.parametrize(
    "redis_url",
    [
        f"http://:{SECRET}@cache", f"redis://:{SECRET}@cache:port", f"redis://:{SECRET}@[cache",
        f"redis://:{SECRET}@cache?no_such_option=1", f"redis://:{SECRET}@cache?max_connections=-1",
        f"redis+sentinel://:{SECRET}@cache/main?no_such_option=1", f"redis+cluster://:{SECRET}@cache?no_such_option=1",
    ],
)  # fmt: skip
async def test_a_malformed_redis_url_is_one_error_without_the_password(servers: Config, redis_url: str) -> None:
    with pytest.raises(StoreError) as caught:
        async with SettingsStore(replace(servers, redis_url=redis_url)):
            pass
    assert SECRET not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("rest", [
    "/zero", "/1/2", "/-1", "/1_0", "/１", "/0x1", "?db=x", "?db=", "?db=-1", ":0", ":65536", ":port", ":+1", "/0#x",
    "?db=1&db=2", "?socket_timeout=nan", "?socket_timeout=inf", "?max_connections=1e3", "?health_check_interval=",
])  # fmt: skip
def test_a_part_of_a_redis_url_that_would_be_read_as_something_else_is_refused(rest: str) -> None:
    for scheme in ("redis", "rediss"):
        with pytest.raises(ConfigError, match="REDIS_URL is not a Redis URL: ") as caught:
            Config("dbname=x", f"{scheme}://kim:{SECRET}@cache{rest}").checked()
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", [
    "redis://", "redis://cache/", "redis://cache:6379/15", "redis://cache/1?db=2", "redis:///3", "redis://[::1]:6379/0",
    "unix:///run/redis.sock?db=1", "redis+sentinel://[::1]:26379,[::2]/main/1?sentinel_password=x",
    "rediss://kim:a%2Fb%23@cache/0?socket_timeout=1.5&health_check_interval=5",
])  # fmt: skip
def test_every_form_of_a_redis_url_is_read(url: str) -> None:
    assert Config("dbname=x", url).checked()


@pytest.mark.parametrize("url", [
    "postgresql://db:zero/x", "host=db port=5_432", "postgresql://a:1,b:1e3/x", "host=db connect_timeout=nan",
    "postgresql+asyncpg://db/x?timeout=inf", "postgresql+asyncpg://db/x?timeout=1e400",
])  # fmt: skip
def test_a_port_and_a_timeout_of_postgresql_are_numbers(url: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        Config(url, "redis://cache").checked()


PREFIX = "SETTINGS_STORE_"


@pytest.mark.parametrize("name", [name for name in VARIABLES if not name.startswith(PREFIX)])
def test_the_name_with_our_prefix_wins_and_is_the_one_that_errors_name(name: str) -> None:
    good = {"MIRROR_KEY_TEMPLATE": "u:{id}:{suffix}", "MIRROR_CREDENTIALS": "off", "DATABASE_URL": "dbname=x",
            "REDIS_URL": "redis://x", "MIRROR_CHANNEL": "x"}.get(name, "7")  # fmt: skip
    config = Config.from_env({PREFIX + name: good, name: "another program's"})
    assert config == Config.from_env({name: good}) == Config.from_env({PREFIX + name: "", name: good})
    assert config.checked().shown()[name] == Config.from_env({name: good}).checked().shown()[name]
    if name != "MIRROR_CHANNEL":
        for given in (PREFIX + name, name):
            with pytest.raises(ConfigError, match=rf"^{given}\b"):
                Config.from_env({given: "x y"}).checked()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+asyncpg://kim:p%40s@db:7/x", "postgresql://kim:p%40s@db:7/x"),
        ("postgres+psycopg2://db/x?sslmode=require", "postgresql://db/x?sslmode=require"),
        (
            "postgresql+psycopg://db/x?options=-cstatement_timeout%3D5",
            "host=db dbname=x options='-cstatement_timeout=5'",
        ),
        ("postgresql+psycopg_async:///x?host=/run/pg&port=7", "host=/run/pg port=7 dbname=x"),
        ("postgresql+asyncpg://u:p@/x?host=a:1&host=[::1]:2", "host=a,::1 port=1,2 user=u password=p dbname=x"),
        ("postgresql+psycopg://u@/x?host=a,b&port=1,2", "host=a,b port=1,2 user=u dbname=x"),
        ("postgresql+asyncpg://u@/x?host=a&host=b:2", "host=a,b port=,2 user=u dbname=x"),
        (
            "postgresql+asyncpg://db/x?ssl=verify-full&timeout=2.5&prepared_statement_cache_size=0&passfile=/x",
            "host=db dbname=x sslmode=verify-full connect_timeout=3 passfile=/x",
        ),
    ],
)
def test_a_url_of_sqlalchemy_leads_where_it_led_there(url: str, expected: str) -> None:
    found = Config(url).checked().database_url
    assert conninfo_to_dict(found or "") == conninfo_to_dict(expected)


@pytest.mark.parametrize(
    ("query", "named"),
    [("command_timeout=5", "command_timeout"), ("direct_tls=1&ssl=require&plugin=x", "direct_tls, plugin")],
)
def test_a_parameter_without_an_equivalent_is_named_without_its_value(query: str, named: str) -> None:
    with pytest.raises(ConfigError, match=f"libpq has no equivalent of: {named}$") as caught:
        Config(f"postgresql+asyncpg://u:{SECRET}@db/x?{query}").checked()
    assert SECRET not in str(caught.value)
    for broken in (f"postgresql+asyncpg://u:p?{SECRET}=1@db/x", f"postgresql+asyncpg://u:p@{SECRET}@db/x"):
        with pytest.raises(ConfigError, match="not a PostgreSQL connection string") as caught:
            Config(broken).checked()
        assert SECRET not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize("given", ["-3", "0", "1"])
def test_a_pool_of_fewer_than_two_connections_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="DB_POOL_SIZE must be at least 2"):
        Config.from_env({"DB_POOL_SIZE": given})


@pytest.mark.parametrize("given", ["-1", "86400", "nan"])
def test_a_lock_timeout_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="DB_LOCK_TIMEOUT must be"):
        Config.from_env({"DB_LOCK_TIMEOUT": given})


def connections(db: psycopg.Connection[dict[str, Any]]) -> int:
    row = db.execute(
        "select count(*) as n from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    ).fetchone()
    assert row is not None
    return int(row["n"])


async def test_no_connection_is_made_before_the_first_query(
    config: Config, db: psycopg.Connection[dict[str, Any]], redis: redis_py.Redis
) -> None:
    clients = len(redis.client_list())
    async with SettingsStore(config) as store:
        assert (connections(db), len(redis.client_list())) == (0, clients)
        await store.find_user("587662504768345929")
        assert (connections(db), len(redis.client_list())) == (1, clients)
        await store.get("587662504768345929", "params", source="redis")
        assert (connections(db), len(redis.client_list())) == (1, clients + 1)


async def test_a_store_that_was_never_used_opens_and_closes_with_both_servers_away(servers: Config) -> None:
    nowhere = replace(servers, database_url="postgresql://localhost:1/x", redis_url="redis://localhost:1")
    async with SettingsStore(nowhere) as store:
        assert store._connections
    with pytest.raises(StoreError, match="async with"):
        _ = store._connections


def test_what_is_shown_of_a_configuration_says_where_and_who_but_no_secret() -> None:
    urls = (
        f"postgresql://kim:{SECRET}@db1:5432,db2/x?sslmode=require&sslpassword={SECRET}&options=-cx%3D{SECRET}",
        f"rediss://kim:{SECRET}@cache:6380/2?ssl_password={SECRET}&db=3",
    )
    shown = Config(*urls, actor="ops").shown()
    assert shown["DATABASE_URL"] == "host=db1,db2 port=5432, dbname=x user=kim sslmode=require"
    assert shown["REDIS_URL"] == "rediss://cache:6380/2?db=3"
    assert shown["SETTINGS_STORE_ACTOR"] == "ops"
    assert SECRET not in str(shown)
    assert {"DATABASE_URL": "embedded", "REDIS_URL": "embedded"}.items() <= Config().shown().items()


@pytest.mark.parametrize(
    ("url", "kind", "hosts", "service", "options"),
    [
        ("redis+sentinel://a,b:7/main", "sentinel", [("a", 26379), ("b", 7)], "main", {"ssl": False}),
        (
            "rediss+sentinel://u%40:p%2F%25@[::1]:7,b/main/3?sentinel_password=s%26&ssl_ca_certs=/x",
            "sentinel", [("::1", 7), ("b", 26379)], "main",
            {"username": "u@", "password": "p/%", "db": 3, "ssl": True, "ssl_ca_certs": "/x",
             "ssl_check_hostname": True},
        ),
        ("redis+cluster://:p@a,b:7", "cluster", [("a", 6379), ("b", 7)], "", {"password": "p", "ssl": False}),
        ("rediss+cluster://a/0", "cluster", [("a", 6379)], "", {"ssl": True, "db": 0, "ssl_check_hostname": True}),
        ("rediss+cluster://a?ssl_check_hostname=no", "cluster", [("a", 6379)], "",
         {"ssl": True, "ssl_check_hostname": False}),
        ("rediss+cluster://a?ssl_cert_reqs=none", "cluster", [("a", 6379)], "", {"ssl": True, "ssl_cert_reqs": "none"}),
    ],
)  # fmt: skip
def test_urls_of_several_servers(
    url: str, kind: str, hosts: list[tuple[str, int]], service: str, options: dict[str, Any]
) -> None:
    servers = parse(url)
    assert servers is not None
    assert (servers.kind, servers.hosts, servers.service, servers.options) == (kind, hosts, service, options)
    assert "p/%" not in repr(servers)
    secret = {"password": "s&"} if "sentinel_password" in url else {}
    ssl = {name: value for name, value in options.items() if name.startswith("ssl")}
    assert servers.sentinel_options == {**ssl, **secret}


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:{}@h:1", "redis+sentinel://:{}@/main", "redis+sentinel://:{}@h:x/main",
        "redis+sentinel://:{}@h,/main", "redis+sentinel://:{}@h/main/x", "redis+cluster://:{}@h/1", "redis+other://:{}@h",
    ],
)  # fmt: skip
def test_a_url_of_several_servers_that_lacks_something_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="REDIS_URL") as caught:
        Config("dbname=x", url.format(SECRET)).checked()
    assert SECRET not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize("template", ["user:{id}:{suffix}", "user:{{{id}:{suffix}}}", "{{}}user:{{{id}}}:{suffix}"])
def test_a_cluster_needs_the_identifier_in_a_hash_tag(template: str) -> None:
    with pytest.raises(ConfigError, match="hash tag"):
        Config("dbname=x", "redis+cluster://h", key_template=template).checked()
    assert Config("dbname=x", "redis+cluster://h", key_template="user:{{{id}}}:{suffix}").checked()
    assert Config("dbname=x", "redis://h", key_template=template).checked()
