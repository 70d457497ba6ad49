"""Every coroutine of the store with hostile arguments: an exception of store.errors or a faithful round trip.

The methods are found by inspection, so that a new one is covered by itself. And no text names another Redis key.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import psycopg
import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from store import (
    Candle,
    Config,
    DatabaseUnavailable,
    NotMigrated,
    RedisUnavailable,
    SettingsStore,
    StoreError,
    TimescalePool,
    TimescaleUserService,
    Vault,
)
from store.mirror.keys import Keys
from tests.conftest import OKX_UID, TELEGRAM_ID
from tests.helpers.credentials import KEY
from tests.helpers.hostile import BAD_VALUES, NOBODY, NOT_TEXT, SECRET, TEXTS, told

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]

EXAMPLES = 25  # a method
METHODS = {
    name: method
    for name, method in inspect.getmembers(SettingsStore, inspect.iscoroutinefunction)
    if not name.startswith("_")
}
OURS = {"import_candles", "export_candles"}  # take a file: test_candles.py does that

SERVICE = {name: method for name, method in vars(TimescaleUserService).items() if isinstance(method, classmethod)}

TEXT = st.sampled_from([*TEXTS.values(), "__proto__", "$", "a.b", "mirror", "okx_uid", "../x", "{id}", "user:*"])
CANDLE = Candle(
    datetime(2026, 1, 1, tzinfo=UTC), "BTC-USDT-SWAP", Decimal(2), Decimal(4), Decimal(1), Decimal(3), Decimal(9)
)
USUAL: dict[str, list[Any]] = {
    "identifier": [OKX_UID, TELEGRAM_ID], "okx_uid": [OKX_UID, NOBODY], "setting_type": ["params", "dual_side"],
    "telegram_id": [TELEGRAM_ID, "99999"], "name": ["careful", "default"], "template": ["default"],
    "identifiers": [None, [OKX_UID]], "source": [None, "redis", "db"], "expected_version": [None, 1],
    "limit": [None, 1], "timeframe": ["1m"], "from_timeframe": ["1m"], "to_timeframe": ["1h"],
    "symbol": ["BTC-USDT-SWAP"], "candles": [[CANDLE], [CANDLE, CANDLE]],
}  # fmt: skip
LEAF = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
DOCUMENT: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(TEXT, LEAF | st.sampled_from(list(BAD_VALUES.values())), max_size=3),
    st.sampled_from([None, [], SECRET, {"leverage": 20}, {1: 2}, {"signal_bot_token": SECRET, "leverage": "x"}]),
)
MOMENTS = [
    datetime.min, datetime.max, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), datetime.now(UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))), "now", 0, None,
]  # fmt: skip
SPANS = [timedelta.min, timedelta.max, timedelta(0), timedelta(days=1), "1 day", 1, None]
NUMBERS = [-1, 0, 1, 2, 2**31 - 1, 2**31, 10**30, True, 1.5, float("nan"), "1", None]
STRANGE = st.sampled_from([*NOT_TEXT, None])
CHANGES: list[Callable[[Any], Any]] = [
    lambda document: document, lambda document: document.clear(), lambda document: document.update(itself=document),
    lambda _: SECRET, lambda _: [SECRET], lambda _: {1: 2}, lambda _: {"leverage": SECRET},
]  # fmt: skip


def arguments_for(name: str, annotation: Any) -> st.SearchStrategy[Any]:
    """Make hostile arguments for a parameter, usual ones among them."""
    if typing.get_origin(annotation) is Callable:
        return st.sampled_from(CHANGES) | STRANGE
    parts = {annotation, typing.get_origin(annotation), *typing.get_args(annotation)}
    parts |= {typing.get_origin(part) for part in typing.get_args(annotation)}
    if parts & {dict, Mapping}:
        hostile: st.SearchStrategy[Any] = DOCUMENT | st.dictionaries(TEXT | st.just("params"), DOCUMENT, max_size=2)
    elif parts & {list, Sequence}:
        hostile = st.lists(TEXT | STRANGE, max_size=2)
    elif datetime in parts:
        return st.sampled_from(MOMENTS)
    elif timedelta in parts:
        return st.sampled_from(SPANS)
    elif bool in parts:
        hostile = st.booleans()
    elif int in parts:
        hostile = st.sampled_from(NUMBERS)
    else:
        hostile = TEXT
    usual = st.sampled_from(USUAL[name]) if name in USUAL else hostile
    return st.one_of(usual, usual, hostile, hostile, STRANGE)


def calls_of(method: Callable[..., Any]) -> st.SearchStrategy[dict[str, Any]]:
    hints = typing.get_type_hints(method)
    parameters = list(inspect.signature(method).parameters.values())[1:]
    needed = {p.name for p in parameters if p.default is inspect.Parameter.empty}
    if parameters and parameters[-1].kind is inspect.Parameter.VAR_KEYWORD:
        options = parameters.pop().name
        needed.remove(options)
        (named,) = typing.get_args(hints[options])
        hints |= typing.get_type_hints(named)
        made = {name: arguments_for(name, hints[name]) for name in typing.get_type_hints(named)}
    else:
        made = {}
    made |= {parameter.name: arguments_for(parameter.name, hints[parameter.name]) for parameter in parameters}
    return st.fixed_dictionaries(
        {name: made[name] for name in needed}, optional={name: made[name] for name in made.keys() - needed}
    )


def everything(db: Db, redis: redis_py.Redis) -> list[Any]:
    """What both stores hold; not the marks, which are cleared a moment after a write."""
    tables = ("app_users", "user_settings", "telegram_links", "setting_templates", "okx_api_info", "trades", "ohlcv_1m")
    rows = [db.execute(f"select t::text from {table} t order by 1").fetchall() for table in tables]
    return [*rows, {key: redis.dump(key) for key in redis.scan_iter("user:*")}]


def bounded() -> settings:
    return settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def opened(loop: asyncio.Runner, config: Config) -> Iterator[SettingsStore]:
    """An open store, for examples that all run in one loop."""
    vault = Vault.from_env({"SETTINGS_STORE_KEYS": KEY})
    store = SettingsStore(replace(config, vault=vault))
    loop.run(store.__aenter__())
    loop.run(store.register(OKX_UID, TELEGRAM_ID, name="Kim"))
    yield store
    loop.run(store.__aexit__())


@pytest.mark.parametrize("name", sorted(METHODS.keys() - OURS))
def test_hostile_arguments_get_an_error_of_ours_or_are_taken(
    opened: SettingsStore, loop: asyncio.Runner, db: Db, redis: redis_py.Redis, name: str
) -> None:
    @bounded()
    @given(calls_of(METHODS[name]))
    def attack(arguments: dict[str, Any]) -> None:
        before, refusal = everything(db, redis), None
        try:
            loop.run(METHODS[name](opened, **arguments))
        except StoreError as error:
            refusal = error
        if refusal is not None:
            assert not isinstance(refusal, DatabaseUnavailable | NotMigrated | RedisUnavailable), repr(refusal)
            assert SECRET not in told(refusal)
            assert len(str(refusal)) < 1000
            assert everything(db, redis) == before

    attack()


@pytest.mark.parametrize("name", sorted(SERVICE))
def test_hostile_arguments_of_the_predecessors_calls_too(
    opened: SettingsStore,
    loop: asyncio.Runner,
    db: Db,
    redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv("DATABASE_URL", opened.config.database_url or "")
    monkeypatch.setenv("REDIS_URL", opened.config.redis_url or "")
    monkeypatch.setenv("SETTINGS_STORE_KEYS", KEY)

    @bounded()
    @given(calls_of(SERVICE[name].__func__))
    def attack(arguments: dict[str, Any]) -> None:
        before, refusal = everything(db, redis), None
        try:
            loop.run(getattr(TimescaleUserService, name)(**arguments))
        except StoreError as error:
            refusal = error
        if refusal is not None:
            assert not isinstance(refusal, DatabaseUnavailable | NotMigrated | RedisUnavailable), repr(refusal)
            assert SECRET not in told(refusal)
            assert everything(db, redis) == before

    attack()
    loop.run(TimescalePool.close_pool())


def test_the_methods_that_take_an_identifier_are_covered() -> None:
    assert {"get", "save", "register", "erase_user", "apply_template", "save_credentials"} <= METHODS.keys() - OURS


# -- no text names another key

LOOKALIKES = [
    OKX_UID + "\n", " " + OKX_UID, OKX_UID + ":mirror", OKX_UID[:-1] + "*",
    "５８７６６２５０４７６８３４５９２９", "٣" * 16,
    "²" * 16,
    OKX_UID + "\0", "1" * 4, "1" * 21, "+" + OKX_UID, "{" + OKX_UID + "}", OKX_UID + "\r\nDEL user:1",
    "1_000_000_000_000_000",
]  # fmt: skip
USERS_KEY = re.compile(r"user:[0-9]{5,20}:(settings|preferences|dual_side|mirror|okx_uid|api:keys)", re.ASCII)
# Commands without a key, or whose keys are those of the script they call.
KEYLESS = {"HELLO", "CLIENT", "INFO", "PUBLISH", "SCRIPT", "SELECT", "AUTH", "PING", "TIME"}


@contextmanager
def monitored(redis: redis_py.Redis) -> Iterator[set[str]]:
    """Collect the keys of all commands that Redis executes meanwhile, those of scripts included."""
    keys: set[str] = set()
    with redis.monitor() as monitor:  # type: ignore[no-untyped-call]
        yield keys
        redis.echo("the end")
        for command in monitor.listen():
            name, *words = command["command"].split(" ")
            if name.upper() == "ECHO":
                return
            if name.upper() in ("EVALSHA", "EVAL"):
                continue  # its commands follow, one by one
            if name.upper() not in KEYLESS:
                keys.add(words[{"MEMORY": 1, "SCAN": 2}.get(name.upper(), 0)])  # MEMORY USAGE key, SCAN 0 MATCH pattern


def is_a_users_key(key: str) -> bool:
    of_a_user = r"user:[0-9]{5,20}:(settings|preferences|dual_side|mirror|okx_uid|api:keys)"
    return re.fullmatch(rf"{of_a_user}|user:[0-9]{{16,20}}:symbol:\*(:dual_side)?", key, re.ASCII) is not None


@given(st.text() | st.sampled_from([*TEXTS.values(), *LOOKALIKES]) | st.from_regex(r"[0-9]{3,22}", fullmatch=True))
@settings(derandomize=True, database=None, deadline=None)
def test_a_key_is_made_of_5_to_20_ascii_digits_or_not_at_all(text: str) -> None:
    keys = Keys("user:{id}:{suffix}")
    if re.fullmatch("[0123456789]{5,20}", text):
        assert keys.of(text, "mirror") == f"user:{text}:mirror"
        assert keys.parse(f"user:{text}:mirror") == (text, "mirror")
    else:
        with pytest.raises(ValueError):
            keys.of(text, "mirror")


def test_whatever_the_identifier_only_keys_of_users_are_touched(
    opened: SettingsStore, loop: asyncio.Runner, redis: redis_py.Redis
) -> None:
    words = [text for name, text in TEXTS.items() if name != "huge"]
    with monitored(redis) as keys:
        for text in (*words, *LOOKALIKES, "user:1:mirror", "settings:changes", OKX_UID, TELEGRAM_ID, NOBODY):
            for call in (
                opened.get(text, "params"), opened.get(text, "params", source="redis"), opened.get("99999", text),
                opened.get_all(text), opened.save(text, "params", {"leverage": 5}), opened.save(OKX_UID, text, {}),
                opened.save(OKX_UID, "params", {text: text}), opened.register(NOBODY, text), opened.register(text),
                opened.link(OKX_UID, text), opened.get_credentials(text), opened.delete(text, "dual_side"),
                opened.save_credentials(text, "key", "secret", "phrase"), opened.find_user(text), opened.unlink(text),
                opened.apply_template("default", "params", identifiers=[text]), opened.delete_user(text),
                opened.restore_user(text), opened.erase_user(text) if text != OKX_UID else opened.get_all(OKX_UID),
            ):  # fmt: skip
                with contextlib.suppress(StoreError):
                    loop.run(call)
    assert f"user:{OKX_UID}:settings" in keys
    assert {key for key in keys if not is_a_users_key(key)} == set()


def test_a_telegram_link_that_someone_wrote_into_redis_leads_to_no_other_key(
    opened: SettingsStore, loop: asyncio.Runner, redis: redis_py.Redis
) -> None:
    for text in (*LOOKALIKES, "user:*", "*", "x\r\n*1\r\n$8\r\nFLUSHALL\r\n"):
        redis.set(f"user:{TELEGRAM_ID}:okx_uid", text)
        with monitored(redis) as keys:
            assert loop.run(opened.get(TELEGRAM_ID, "params", source="redis")) is None
            assert loop.run(opened.get_credentials(TELEGRAM_ID)) is None
        assert {key for key in keys if not is_a_users_key(key)} == set()


@pytest.mark.parametrize(
    "key_template", ["a*[b]?{id}:{suffix}", "\\*{id}^{suffix}]", "{{{id}}}[a-z]:{suffix}", "%s{suffix}.+{id}"]
)
def test_glob_characters_in_the_key_template_stand_for_themselves(
    config: Config, loop: asyncio.Runner, redis: redis_py.Redis, key_template: str
) -> None:
    async def listed() -> set[tuple[str, str]]:
        async with SettingsStore(replace(config, key_template=key_template)) as store:
            await store.register(OKX_UID, TELEGRAM_ID)
            found = await store.get(TELEGRAM_ID, "params", source="redis")
            assert found is not None
            return {key async for keys in store._connections.mirror.scan(100) for key in keys}

    for other in (f"aab?{OKX_UID}:settings", f"x{OKX_UID}^mirror]", f"{{{OKX_UID}}}b:settings", f"%s{OKX_UID}.+mirror"):
        redis.set(other, "not ours")
    suffixes = {(OKX_UID, "settings"), (OKX_UID, "preferences"), (OKX_UID, "dual_side"), (OKX_UID, "mirror")}
    assert loop.run(listed()) == suffixes | {(TELEGRAM_ID, "okx_uid"), (TELEGRAM_ID, "mirror")}
