"""Users to measure with. Each has four Redis keys: documents of 50, 13 and 2 settings, and a Telegram link or (every
other one) API credentials."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from redis.asyncio import Redis

from store import Config
from store.sealed import FIELDS, seal
from store.vault import Vault

FIRST, FIRST_TELEGRAM = 5_000_000_000_000_000, 1_000_000_000
BATCH = 500  # keys a round trip, as ours

EMPTY = """
set session_replication_role = replica;
truncate app_users, telegram_links, user_settings, okx_api_info, mirror_pending cascade;
set session_replication_role = origin
"""

# As they are after years of single saves: nothing is marked for Redis.
USERS = f"""
set session_replication_role = replica;
insert into app_users (okx_uid, telegram_id)
select ({FIRST} + n)::text, case when n %% 2 = 0 then ({FIRST_TELEGRAM} + n)::text end
  from generate_series(0, %s - 1) n;
insert into telegram_links (telegram_id, okx_uid, last_okx_uid)
select u.telegram_id, u.okx_uid, u.okx_uid from app_users u where u.telegram_id is not null;
insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
select u.id, u.okx_uid, u.telegram_id, t.setting_type, default_user_setting(t.setting_type)
       || case t.setting_type when 'params' then jsonb_build_object('btc_investment', 1 + right(u.okx_uid, 9)::bigint)
          else '{{}}' end
  from app_users u cross join setting_types t;
create temporary table sealed (okx_uid text, api_key text, api_secret text, passphrase text)
"""
CREDENTIALS = """
insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)
select u.id, u.okx_uid, s.api_key, s.api_secret, s.passphrase from sealed s join app_users u using (okx_uid)
"""


def size(default: int) -> int:
    """Return how many users to measure with: SIZE of the environment, or the default."""
    return int(os.environ.get("SIZE") or default)


def repeats(users: int, default: int) -> tuple[int, int]:
    """Return how often to repeat, and how often to warm up: large sizes take minutes, and need less of it."""
    return (default, 1) if users <= 10_000 else (2, 0)


def okx_uid(number: int) -> str:
    return str(FIRST + number)


@asynccontextmanager
async def servers(config: Config) -> AsyncIterator[tuple[psycopg.AsyncConnection[Any], Redis]]:
    """Connect to both as anybody would."""
    assert config.database_url
    assert config.redis_url
    async with (
        await psycopg.AsyncConnection.connect(config.database_url, autocommit=True) as connection,
        Redis.from_url(config.redis_url, decode_responses=True) as redis,
    ):
        yield connection, redis


async def run(connection: psycopg.AsyncConnection[Any], script: str, *parameters: object) -> None:
    """Run statements one after the other; the parameters go to those that take one."""
    for statement in script.split(";"):
        await connection.execute(statement.encode(), parameters if "%s" in statement else None)


async def empty(config: Config) -> None:
    """Leave no user in either store, and no work from before."""
    async with servers(config) as (connection, redis):
        await run(connection, EMPTY)
        await connection.execute("checkpoint")
        await redis.flushall()


async def fill_database(config: Config, users: int) -> None:
    """Put users into the empty PostgreSQL; Redis stays as it is."""
    vault = Vault.from_env(os.environ, config.key_file)
    async with servers(config) as (connection, _):
        await run(connection, USERS, users)
        async with connection.cursor().copy("copy sealed from stdin") as copy:
            for n in range(1, users, 2):
                sealed = seal(vault, okx_uid(n), credentials(n), 1)
                await copy.write_row((okx_uid(n), *(sealed[name] for name in FIELDS)))
        await connection.execute(CREDENTIALS)
        await connection.execute("vacuum analyze")


async def fill_redis(config: Config, users: int) -> None:
    """Put users into the empty Redis, as the predecessor's bots write them: `True`, numbers as text, plain keys."""
    async with servers(config) as (connection, redis):
        rows = await (
            await connection.execute("select setting_type, default_user_setting(setting_type) from setting_types")
        ).fetchall()
        defaults = dict(rows)
        for first in range(0, users, BATCH // 4):
            async with redis.pipeline(transaction=False) as pipeline:
                for n in range(first, min(first + BATCH // 4, users)):
                    key = f"user:{okx_uid(n)}"
                    pipeline.hset(f"{key}:preferences", mapping=as_text(defaults["preferences"]))
                    pipeline.hset(f"{key}:dual_side", mapping=as_text(defaults["dual_side"]))
                    pipeline.set(
                        f"{key}:settings",
                        json.dumps({**defaults["params"], "btc_investment": 1 + n}, ensure_ascii=False),
                    )
                    if n % 2:
                        pipeline.hset(f"{key}:api:keys", mapping=credentials(n))
                    else:
                        pipeline.set(f"user:{FIRST_TELEGRAM + n}:okx_uid", okx_uid(n))
                await pipeline.execute()


async def read_redis(redis: Redis) -> AsyncIterator[list[tuple[str, Any]]]:
    """Read all of a user's documents, links and credentials, as plainly as can be: (key, fields or text)."""
    cursor = -1
    while cursor:
        cursor, found = await redis.scan(max(cursor, 0), match="user:*", count=BATCH)
        names = [name for name in map(str, found) if not name.endswith(":mirror")]
        async with redis.pipeline(transaction=False) as pipeline:
            for name in names:
                (pipeline.get if name.endswith((":settings", ":okx_uid")) else pipeline.hgetall)(name)
            yield list(zip(names, await pipeline.execute(), strict=True))


def as_text(document: dict[str, Any]) -> dict[Any, Any]:
    return {key: str(value) for key, value in document.items()}


def credentials(number: int) -> dict[Any, Any]:
    return {name: f"{name} of {number}, as long as one is" for name in FIELDS}
