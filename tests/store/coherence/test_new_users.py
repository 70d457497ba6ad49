"""Users that PostgreSQL has never seen come in many a statement; what becomes of each is what it was one by one."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import redis as redis_py
from psycopg.rows import dict_row

from store import Config, SettingsStore
from store.coherence.sync import Outcome, Prefer, Sync
from store.coherence.verify import verify
from store.encryption.fields import FIELDS
from tests.faults.servers import wait_until
from tests.helpers.credentials import KEY, opened, sealed, secrets, with_keys
from tests.helpers.roles import in_role
from tests.helpers.sessions import fetch, value

pytestmark = pytest.mark.slow

Db = psycopg.Connection[dict[str, Any]]
Redis = redis_py.Redis

# Takes today's new users the way all others go: nothing at once.
ONE_BY_ONE = """
create or replace function _take_new_documents(p_items jsonb) returns table (owner text, kind text) language sql
as $$ select '', '' where false $$;
create or replace function import_credentials(p_items jsonb) returns table (okx_uid text, version integer)
language sql security definer set search_path = pg_catalog, public, pg_temp as $$
    select i.okx_uid, r.version
      from (select * from jsonb_to_recordset(p_items)
                as i (okx_uid text, api_key text, api_secret text, passphrase text, reason text) order by i.okx_uid) i
     cross join lateral take_over_credentials(i.okx_uid, i.api_key, i.api_secret, i.passphrase, i.reason) r $$"""

WAITING = """
select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"""
LEFT = {"leverage": 10, "use_sl": True, "sl_value": 5.0}
HASH: dict[Any, Any] = {"use_dual_side_entry": "True", "dual_side_entry_trigger": "3", "dual_side_entry_sl_value": ""}
UID = "58766250476800{:02}"
NEW, BAD, NO_KEY, BARE, FULL, DELETED, ERASED, BACK, SYMBOL, FORMS, MOVED, TWICE, NOTED, FREED, RULED, LOCKED = (
    UID.format(n) for n in range(16)
)
CROWD = [UID.format(n) for n in range(40, 60)]
EVERYONE = [UID.format(n) for n in range(100)]


def fields(n: int | str) -> dict[Any, Any]:
    return dict(zip(FIELDS, secrets(n), strict=True))


def known_before(db: Db) -> None:
    """Make those whom PostgreSQL has seen."""
    fetch(db, "select ensure_user(%s, '10001')", (BARE,))
    for okx_uid in (FULL, DELETED, ERASED, BACK, LOCKED):
        fetch(db, "select register_user(%s, %s)", (okx_uid, "2" + okx_uid[-6:]))
    fetch(db, "select upsert_user_setting(%s, 'dual_side', '{}', p_symbol => 'BTC-USDT-SWAP')", (BACK,))
    fetch(db, "select delete_user(%s)", (DELETED,))
    for okx_uid in (ERASED, BACK):
        fetch(db, "select erase_user(%s)", (okx_uid,))
    fetch(db, "select ensure_user(%s)", (BACK,))
    fetch(db, "select ensure_user(%s, '10002')", (MOVED,))
    fetch(db, "select delete_user_setting(%s, 'preferences')", (FULL,))
    fetch(db, "select save_setting_rule('params', 'risk', '$.leverage * $.sl_value <= 1000', 'too much at stake')")
    fetch(db, "select lock_setting(%s, 'params', '{leverage}', 'audit')", (LOCKED,))
    fetch(db, "delete from mirror_pending where not erased and not discards")


def left_by_bots(redis: Redis) -> None:
    """Write what bots leave: good, bad, and in older encodings."""

    def params(okx_uid: str, content: str | dict[str, Any]) -> None:
        redis.set(f"user:{okx_uid}:settings", content if isinstance(content, str) else json.dumps(content))

    for n, okx_uid in enumerate([NEW, BARE, FULL, DELETED, ERASED, BACK, SYMBOL, MOVED, TWICE, LOCKED, *CROWD]):
        params(okx_uid, {**LEFT, "leverage": n + 1})
        redis.hset(f"user:{okx_uid}:preferences", mapping={"timeframe": "5m", "symbol": "ETH-USDT-SWAP"})
        redis.hset(f"user:{okx_uid}:dual_side", mapping=HASH)
        redis.hset(f"user:{okx_uid}:symbol:BTC-USDT-SWAP:dual_side", mapping=HASH)
        redis.set(f"user:3{okx_uid[-6:]}:okx_uid", okx_uid)
        redis.hset(f"user:{okx_uid}:api:keys", mapping=fields(okx_uid))
    redis.hset(f"user:{BACK}:symbol:SOL-USDT-SWAP:dual_side", mapping=HASH)
    params(BAD, {**LEFT, "leverage": "many", "direction": "sideways"})
    redis.hset(f"user:{BAD}:dual_side", mapping={**HASH, "dual_side_entry_trigger": "x", "use_dual_sl": "NaN"})
    redis.hset(f"user:{BAD}:preferences", "timeframe", "7m")
    redis.set(f"user:{BAD}:symbol:BTC-USDT-SWAP:dual_side", "a string")
    redis.hset(f"user:{BAD}:api:keys", "api_key", "alone")
    params(NO_KEY, {"leverage": "many"})
    params(FORMS, {"leverage": 4.0, "use_sl": "True", "direction": unicodedata.normalize("NFD", "롱숏"), "extra": "a"})
    redis.hset(f"user:{FORMS}:preferences", mapping={"timeframe": "None", "symbol": "é", "more": '{"a": [1.50]}'})
    params(RULED, {"leverage": 125, "sl_value": 9.0, "use_sl": True})
    params(FREED, '{"leverage": NaN, "use_sl": true}')
    redis.set("user:10003:okx_uid", TWICE)
    redis.set("user:10001:okx_uid", NEW)  # which is another's
    redis.set("user:10004:okx_uid", MOVED)
    redis.set("user:10005:okx_uid", "nobody")
    redis.hset(f"user:{NOTED}:api:keys", mapping={**fields(1), "uid": "7"})
    redis.set(f"user:{CROWD[0]}:settings", '{"deep": ' + "[" * 70 + "]" * 70 + "}")
    redis.set(f"user:{CROWD[1]}:settings", '{"nul": "\\u0000", "leverage": 3}')
    redis.set(f"user:{CROWD[2]}:settings", '{"large": "' + "x" * 1_050_000 + '"}')
    redis.set(f"user:{CROWD[3]}:settings", "{}")
    redis.set(f"user:{CROWD[4]}:settings", "[]")


def rows(db: Db, config: Config) -> list[str]:
    """All rows of all tables, but for what differs by chance: times, transactions, random identifiers and nonces."""
    owners = {row["id"]: row["okx_uid"] for row in fetch(db, "select id::text, okx_uid from app_users")}
    found = []
    for row in fetch(
        db,
        "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
        " and relname not like '%%yoyo%%' and relname not in ('schema_objects', 'schema_parts', 'erasure_keys')",
    ):
        for item in fetch(db, f"select to_jsonb(t) as r from {row['name']} t"):
            kept = {
                key: owners.get(field, field) if isinstance(field, str) else field
                for key, field in item["r"].items()
                if not re.search(r"_at$|^id$|^saved_in$|^marked_by$|^digest$|^number$|^xid$", key)
            }
            if row["name"] == "okx_api_info":
                kept |= dict(zip(FIELDS, opened(config, item["r"]["okx_uid"], item["r"]) or (), strict=False))
            found.append(f"{row['name']} {json.dumps(kept, sort_keys=True)}")
    return sorted(found)


def keys(redis: Redis) -> list[str]:
    """All that Redis holds, but for times and what each mirror hash is told apart by."""
    found = []
    for key in redis.scan_iter():
        content: Any = redis.get(key) if redis.type(key) == "string" else redis.hgetall(key)
        if key.endswith(":mirror"):
            content = {name: text for name, text in content.items() if not re.search(r"_at$|life", name)}
        found.append(f"{key} {json.dumps(content, sort_keys=True)}")
    return found


async def sync(config: Config, **options: Any) -> list[str]:
    told: list[Outcome] = []
    async with SettingsStore(config) as store:
        counted = await Sync(store._connections, tell=told.append, **options).run()
    return [*sorted(map(str, told)), str(sorted(counted.items()))]


@pytest.mark.parametrize(
    ("prefer", "role", "confined_to"),
    [(None, None, None), ("redis", None, None), ("db", None, None), (None, "writer", None), ("redis", "admin", None)]
    + [(None, "writer", okx_uid) for okx_uid in (SYMBOL, BAD, DELETED, ERASED, CROWD[5])],
)
async def test_it_makes_no_difference_whether_users_come_at_once_or_one_by_one(
    config: Config, database_url: str, other_database_url: str, redis: Redis,
    prefer: Prefer | None, role: str | None, confined_to: str | None,
) -> None:  # fmt: skip
    config = with_keys(config, KEY, mode="plain")
    found = []
    for url, script in ((database_url, ""), (other_database_url, ONE_BY_ONE)):
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as db:
            redis.flushall()
            db.execute(script.encode())
            known_before(db)
            left_by_bots(redis)
            opened_by = in_role(url, role, confined_to=confined_to) if role else url
            options = {"okx_uid": confined_to} if confined_to else {}
            outcomes = await sync(replace(config, database_url=opened_by), prefer=prefer, **options)
            after = rows(db, config) + keys(redis)
            again = await sync(replace(config, database_url=opened_by), prefer=prefer, **options)
            found.append(outcomes + after + again + rows(db, config) + keys(redis))
    at_once, one_by_one = (Counter(lines) for lines in found)
    assert at_once - one_by_one == one_by_one - at_once == Counter()


async def test_only_what_is_new_and_without_fault_comes_at_once(db: Db, redis: Redis, config: Config) -> None:
    known_before(db)
    taken = fetch(
        db,
        """select owner, kind from _take_new_documents((
               select jsonb_agg(jsonb_build_object('owner', u.okx_uid, 'kind', k, 'version', 0, 'document', d::jsonb))
                 from app_users u
                cross join (values ('params', '{"leverage": 2}'), ('preferences', '{"timeframe": 5}'),
                                   ('dual_side:BTC-USDT-SWAP', '{"use_dual_sl": "True"}')) v (k, d)))""",
    )
    assert {(row["owner"], row["kind"]) for row in taken} == {
        (okx_uid, kind)
        for okx_uid in (BARE, FULL, LOCKED, MOVED)
        for kind in ("params", "dual_side:BTC-USDT-SWAP")
        if kind != "params" or okx_uid in (BARE, MOVED)
    }
    assert value(db, "select count(*) from trigger_permits") == 0


@pytest.mark.parametrize("script", ["", ONE_BY_ONE])
@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize(
    ("rival", "outcomes"),
    [
        ("select register_user(%s)", {"conflict"}),
        ("select ensure_user(%s)", {"new"}),
        ("select (ensure_user(%s)).okx_uid, delete_user('" + NEW + "')", {"deleted"}),
    ],
)
async def test_who_is_registered_meanwhile_is_waited_for(
    config: Config, db: Db, connect: Callable[[], Db], redis: Redis,
    rival: str, ends: str, outcomes: set[str], script: str,
) -> None:  # fmt: skip
    db.execute(script.encode())
    redis.set(f"user:{NEW}:settings", json.dumps(LEFT))
    redis.hset(f"user:{NEW}:dual_side", mapping=HASH)
    other = connect()
    other.execute("begin")
    other.execute(rival.encode(), (NEW,))
    with ThreadPoolExecutor(1) as pool:

        def end() -> None:
            wait_until(lambda: bool(value(db, WAITING)))
            other.execute(ends.encode())

        ending = pool.submit(end)
        told: list[Outcome] = []
        async with SettingsStore(config) as store:
            await Sync(store._connections, tell=told.append).run()
            ending.result()
            assert {outcome.outcome for outcome in told} == (outcomes if ends == "commit" else {"new"})
            is_taken = outcomes == {"new"} or ends == "rollback"
            assert bool((await verify(store._connections)).findings) != is_taken


async def test_nobody_else_is_let_past_the_triggers(db: Db, connect: Callable[[], Db]) -> None:
    fetch(db, "select ensure_user(%s)", (NEW,))
    forger = connect()
    forger.execute("set role settings_admin")
    forger.execute("set settings_store.reason = 'found in Redis'")
    insert = (
        "insert into user_settings (user_id, okx_uid, setting_type, settings) select id, okx_uid, %s, %s from app_users"
    )
    for kind, document, state in (("params", '{"leverage": "x"}', "US003"), ("nothing", "{}", "US002")):
        with pytest.raises(psycopg.Error) as error:
            forger.execute(insert.encode(), (kind, document))
        assert error.value.sqlstate == state
    forger.execute(insert.encode(), ("params", "{}"))
    marked = fetch(db, "select kind from mirror_pending where owner = %s order by kind", (NEW,))
    assert [row["kind"] for row in marked] == ["params", "user"]


def test_what_is_written_and_marked_is_the_same_before_redis_hears_of_it(
    config: Config, database_url: str, other_database_url: str
) -> None:
    config = with_keys(config, KEY)
    documents = [
        {"owner": okx_uid, "kind": kind, "version": (n + 1) % 2, "document": document, **more}
        for n, okx_uid in enumerate([*EVERYONE[:16], *CROWD])
        for kind, document, more in (
            ("params", {**LEFT, "leverage": n + 1, "use_tp1": "True"}, {}),
            ("preferences", {"timeframe": "7m" if n % 5 == 0 else "5m"}, {}),
            ("dual_side", {"dual_side_entry_trigger": 3.0, "a": 1}, {"texts": {"a": "1"}}),
            ("dual_side:BTC-USDT-SWAP", {"use_dual_sl": False}, {"problems": {"b": "no"}} if n % 3 == 0 else {}),
            ("dual_side:ETH-USDT-SWAP", None, {}),
            ("dual_side:SOL-USDT-SWAP", {"use_dual_sl": True}, {}),
        )
    ]
    links = [
        {"owner": f"4{okx_uid[-6:]}", "version": 0, "okx_uid": okx_uid} for okx_uid in (*EVERYONE[4:16], *CROWD[:9])
    ]
    credentials = [
        {"okx_uid": okx_uid, **sealed(okx_uid, secrets(1)), "reason": f"found in Redis{', noted' * (n % 2)}"}
        for n, okx_uid in enumerate([*EVERYONE[:16], *CROWD])
    ]
    found = []
    for url, script in ((database_url, ""), (other_database_url, ONE_BY_ONE)):
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as db:
            db.execute(script.encode())
            known_before(db)
            answers = [
                str(row)
                for query, items in (
                    ("select * from import_links(%s, null, false)", links),
                    ("select * from import_documents(%s, null, false, false)", documents),
                    ("select * from import_credentials(%s)", credentials),
                )
                for row in fetch(db, query, (json.dumps(items),))
            ]
            marks = fetch(db, "select owner, kind, version, erased, discards, attempts, last_error from mirror_pending")
            found.append(answers + [str(mark) for mark in marks] + rows(db, config))
    at_once, one_by_one = (Counter(lines) for lines in found)
    assert at_once - one_by_one == one_by_one - at_once == Counter()
