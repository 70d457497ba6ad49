"""The code samples of the predecessor's guide, run as they stand there: only the import is another.

What a sample leaves out ("...") is filled in, in order.
"""

from __future__ import annotations

import ast
import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import redis as redis_py
from redis import asyncio as redis_asyncio

from store import Config, TimescalePool, TimescaleUserService
from store.coherence.sync import Sync
from store.coherence.verify import verify
from store.models import MASK
from tests.cli.conftest import Cli, environment
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.credentials import KEY, put

Db = psycopg.Connection[dict[str, Any]]

PREDECESSORS_IMPORT = "from HYPERRSI.src.services.timescale_service import TimescaleUserService"
OUR_IMPORT = "from store import TimescaleUserService"

REGISTER = """
# 1. Redis에 저장
await redis.hmset(f"user:{okx_uid}:api:keys", {...})
await redis.hmset(f"user:{okx_uid}:preferences", {...})
await redis.set(f"user:{okx_uid}:settings", json.dumps(...))
await redis.hmset(f"user:{okx_uid}:dual_side", {...})

# 2. TimescaleDB에도 저장
await TimescaleUserService.ensure_user_exists(okx_uid, telegram_id, ...)
await TimescaleUserService.upsert_api_credentials(okx_uid, api_key, ...)
await TimescaleUserService.save_all_user_settings(okx_uid, preferences, params, dual_side)
"""

READ = """
from HYPERRSI.src.services.timescale_service import TimescaleUserService

# 모든 설정 조회
settings = await TimescaleUserService.get_user_settings("587662504768345929")

# 특정 타입만 조회
params = await TimescaleUserService.get_setting_by_type("587662504768345929", "params")
dual_side = await TimescaleUserService.get_setting_by_type("587662504768345929", "dual_side")
"""

UPDATE = """
# 개별 설정 업데이트
await TimescaleUserService.upsert_user_settings(
    user_id="user-uuid",
    okx_uid="587662504768345929",
    telegram_id="1709556958",
    setting_type="params",
    settings={"leverage": 10, "rsi_length": 14, ...}
)

# 여러 설정 동시 업데이트
await TimescaleUserService.save_all_user_settings(
    identifier="587662504768345929",
    preferences={"timeframe": "5m", "symbol": "ETH-USDT-SWAP"},
    params={...},
    dual_side={...}
)
"""

PRIMARY = """
# 실시간 조회는 Redis 사용
redis = await get_redis_client()
api_keys = await redis.hgetall(f"user:{okx_uid}:api:keys")
"""

FALLBACK = """
# Redis 실패 시 TimescaleDB에서 조회
if not api_keys:
    api_keys = await TimescaleUserService.get_api_keys(okx_uid)
"""

VERIFY = """
import asyncio
from HYPERRSI.src.services.timescale_service import TimescaleUserService

async def verify():
    okx_uid = "587662504768345929"

    # 사용자 정보
    user_record = await TimescaleUserService.fetch_user(okx_uid)
    print(f"User: {user_record.user}")
    print(f"API: {user_record.api}")

    # 설정 확인
    settings = await TimescaleUserService.get_user_settings(okx_uid)
    for setting in settings:
        print(f"{setting['setting_type']}: {len(setting['settings'])} keys")

asyncio.run(verify())
"""

REDIS_CLI = """
# API 키 확인
redis-cli -n 0 HGETALL "user:587662504768345929:api:keys"

# 설정 확인
redis-cli -n 0 HGETALL "user:587662504768345929:preferences"
redis-cli -n 0 GET "user:587662504768345929:settings"
redis-cli -n 0 HGETALL "user:587662504768345929:dual_side"
"""

POOL = """
# TimescaleDB 연결 풀
TimescalePool.get_pool()  # 지연 초기화
max_size=max(settings.DB_POOL_SIZE, 5)  # 기본 5개
"""

API = {"api_key": "plain-ak", "api_secret": "plain-as", "passphrase": "plain-pp"}
# As the predecessor's bot registers a user: str() of every value in a hash, notes beside the keys.
NOTES = {"uid": OKX_UID, "last_update_time": "1760000000", "last_update_time_kr": "2025-10-09 17:53:20"}
PREFERENCES = {"timeframe": "1m", "symbol": "BTC-USDT-SWAP"}
PARAMS = {"btc_investment": 20, "leverage": 10, "direction": "롱숏", "use_break_even": True, "tp1_value": 2.0}
DUAL_SIDE = {"use_dual_side_entry": False, "dual_side_entry_trigger": 3, "dual_side_entry_ratio_value": 30}
OLD_DUAL_SIDE = {key: str(value) for key, value in DUAL_SIDE.items()}


def filled(sample: str, *parts: str) -> str:
    """Put what it left out into a sample, which has as many gaps, and change its import."""
    pieces = sample.replace(PREDECESSORS_IMPORT, OUR_IMPORT).split("...")
    assert len(pieces) == len(parts) + 1
    return "".join(piece + part for piece, part in zip(pieces, (*parts, ""), strict=True))


async def run(sample: str, **names: Any) -> dict[str, Any]:
    """Run a sample as the body of a coroutine; return its variables."""
    scope = {"TimescaleUserService": TimescaleUserService, "json": json, "okx_uid": OKX_UID, **names}
    running = eval(compile(sample, "sample", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), scope)
    if running is not None:
        await running
    return scope


@pytest.fixture(autouse=True)
def environ(config: Config, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a bot that uses the test's servers."""
    env = {**environment(config), "SETTINGS_STORE_KEYS": KEY}
    for name in ("TIMESCALE_HOST", "REDIS_HOST", "DB_POOL_SIZE", "MIRROR_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
        env.pop(name, None)
    for name in ("DATABASE_URL", "REDIS_URL", "SETTINGS_STORE_KEYS"):
        monkeypatch.setenv(name, env[name])
    return env


@pytest.fixture
async def client(config: Config) -> AsyncIterator[redis_asyncio.Redis]:
    """The bot's own client of Redis."""
    assert config.redis_url
    async with redis_asyncio.Redis.from_url(config.redis_url, decode_responses=True) as opened:
        yield opened


@pytest.fixture
async def pool() -> AsyncIterator[None]:
    """Close the pool of the test's event loop."""
    yield
    await TimescalePool.close_pool()


@pytest.fixture
async def registered(client: redis_asyncio.Redis, pool: None) -> str:
    """A user whom the sample registered; returns the OKX UID."""
    parts = ("**api, **notes", "**preferences", "params", "**old_dual_side", "'Kim'", "api_secret, passphrase")
    await run(
        filled(REGISTER, *parts), redis=client, telegram_id=TELEGRAM_ID, api=API, notes=NOTES, preferences=PREFERENCES,
        params=PARAMS, old_dual_side=OLD_DUAL_SIDE, dual_side=DUAL_SIDE, **API,
    )  # fmt: skip
    return OKX_UID


pytestmark = pytest.mark.filterwarnings("ignore:.*hmset:DeprecationWarning")


async def test_registering_leaves_both_stores_equal(registered: str, db: Db, redis: redis_py.Redis) -> None:
    store = (await TimescalePool.get_pool()).store
    assert not (await verify(store._connections)).findings
    assert await Sync(store._connections).run() == {"ok": 5}
    versions = db.execute("select setting_type, version, settings from user_settings order by 1").fetchall()
    assert [(row["setting_type"], row["version"]) for row in versions] == [
        ("dual_side", 1), ("params", 1), ("preferences", 1),
    ]  # fmt: skip
    assert [row["settings"] for row in versions] == [DUAL_SIDE, PARAMS, PREFERENCES]
    assert redis.hget(f"user:{OKX_UID}:dual_side", "use_dual_side_entry") == "false"
    assert redis.get(f"user:{TELEGRAM_ID}:okx_uid") == OKX_UID
    assert "plain-" not in json.dumps(redis.hgetall(f"user:{OKX_UID}:api:keys"))


async def test_registering_keeps_what_redis_had_otherwise(
    client: redis_asyncio.Redis, pool: None, db: Db, redis: redis_py.Redis
) -> None:
    parts = ("**api", "**preferences", "old", "**old_dual_side", "'Kim'", "api_secret, passphrase")
    await run(
        filled(REGISTER, *parts), redis=client, telegram_id=TELEGRAM_ID, api=API, preferences=PREFERENCES,
        old={**PARAMS, "leverage": 33}, params=PARAMS, old_dual_side=OLD_DUAL_SIDE, dual_side=DUAL_SIDE, **API,
    )  # fmt: skip
    assert await TimescaleUserService.get_setting_by_type(OKX_UID, "params") == PARAMS
    rows = db.execute("select settings from user_settings where setting_type = 'params' order by version").fetchall()
    assert [row["settings"]["leverage"] for row in rows] == [10, 33, 10]
    assert not (await verify((await TimescalePool.get_pool()).store._connections)).findings


async def test_registering_again_with_other_keys_mends_redis(
    registered: str, client: redis_asyncio.Redis, redis: redis_py.Redis
) -> None:
    """As the bot does it when a user changes the keys: first into Redis, then by the service."""
    other = {"api_key": "plain-2", "api_secret": "plain-2", "passphrase": "plain-2"}
    put(redis, f"user:{OKX_UID}:api:keys", {**other, **NOTES})
    await TimescaleUserService.upsert_api_credentials(OKX_UID, **other)
    assert await TimescaleUserService.get_api_keys(OKX_UID) == other
    assert not (await verify((await TimescalePool.get_pool()).store._connections)).findings


async def test_keys_written_again_in_plain_text_are_encrypted_by_sync(
    registered: str, redis: redis_py.Redis, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    await TimescalePool.close_pool()
    monkeypatch.setenv("MIRROR_CREDENTIALS", "encrypted")
    put(redis, f"user:{OKX_UID}:api:keys", {**API, **NOTES})
    stores = (await TimescalePool.get_pool()).store._connections
    assert await Sync(stores).run() == {"ok": 4, "same": 1}
    assert "plain-" not in json.dumps(redis.hgetall(f"user:{OKX_UID}:api:keys"))
    assert not (await verify(stores)).findings
    assert len(db.execute("select from okx_api_info").fetchall()) == 1


async def test_settings_are_read(registered: str) -> None:
    scope = await run(filled(READ))
    assert {row["setting_type"] for row in scope["settings"]} == {"preferences", "params", "dual_side"}
    assert scope["params"] == PARAMS
    assert scope["dual_side"] == DUAL_SIDE


async def test_settings_are_updated(registered: str, db: Db) -> None:
    record = await TimescaleUserService.fetch_user(OKX_UID)
    assert record is not None
    sample = filled(UPDATE, "'rsi_oversold': 25", "'leverage': 20", "'use_dual_side_entry': True")
    await run(sample.replace("user-uuid", record.user["id"]))
    rows = db.execute("select settings from user_settings where setting_type = 'params' order by version").fetchall()
    assert [row["settings"] for row in rows] == [
        PARAMS, {"leverage": 10, "rsi_length": 14, "rsi_oversold": 25}, {"leverage": 20},
    ]  # fmt: skip
    dual_side = await TimescaleUserService.get_setting_by_type(OKX_UID, "dual_side")
    assert dual_side == {"use_dual_side_entry": True}
    assert not (await verify((await TimescalePool.get_pool()).store._connections)).findings


async def test_keys_come_from_redis_else_from_the_service(
    registered: str, client: redis_asyncio.Redis, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get_redis_client() -> redis_asyncio.Redis:
        return client

    redis.delete(f"user:{OKX_UID}:api:keys")
    scope = await run(PRIMARY + FALLBACK, get_redis_client=get_redis_client)
    assert scope["api_keys"] == API

    await TimescalePool.close_pool()
    monkeypatch.setenv("MIRROR_CREDENTIALS", "plain")  # for bots that read the keys themselves
    await verify((await TimescalePool.get_pool()).store._connections, repair=True)
    scope = await run(PRIMARY, get_redis_client=get_redis_client)
    assert scope["api_keys"] == API


def test_a_user_is_printed_without_the_keys(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    async def prepare() -> None:
        await TimescaleUserService.ensure_user_exists(OKX_UID, TELEGRAM_ID)
        await TimescaleUserService.upsert_api_credentials(OKX_UID, **API)
        await TimescaleUserService.save_all_user_settings(OKX_UID, PREFERENCES, PARAMS, DUAL_SIDE)
        await TimescalePool.close_pool()

    asyncio.run(prepare())
    exec(compile(filled(VERIFY), "sample", "exec"), {})
    printed = capsys.readouterr().out
    assert f"'okx_uid': '{OKX_UID}'" in printed
    assert f"'api_key': '{MASK}'" in printed
    assert "plain-" not in printed
    assert {"preferences: 2 keys", "params: 5 keys", "dual_side: 3 keys"} <= set(printed.splitlines())
    asyncio.run(TimescalePool.close_pool())  # what the sample's event loop left open


async def test_redis_cli_shows_what_bots_read(registered: str, environ: dict[str, str]) -> None:
    cli = Cli(environ)
    commands = [shlex.split(line) for line in REDIS_CLI.splitlines() if line.startswith("redis-cli")]
    keys, preferences, settings, dual_side = (cli(*command).lines for command in commands)
    assert sorted(keys[::2]) == sorted([*API, *NOTES])
    assert dict(zip(preferences[::2], preferences[1::2], strict=True)) == PREFERENCES
    assert json.loads(settings[0]) == PARAMS
    assert dict(zip(dual_side[::2], map(json.loads, dual_side[1::2]), strict=True)) == DUAL_SIDE


@pytest.mark.parametrize("size", ["3", "8"])
async def test_the_pool_is_of_the_size_that_is_set(pool: None, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    class settings:
        DB_POOL_SIZE = int(size)

    monkeypatch.setenv("DB_POOL_SIZE", size)
    sample = POOL.replace("TimescalePool.get_pool()", "pool = await TimescalePool.get_pool()")
    scope = await run(sample, TimescalePool=TimescalePool, settings=settings)
    assert scope["pool"].get_max_size() == int(size)
