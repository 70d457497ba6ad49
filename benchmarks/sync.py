"""`sync` of users from Redis, where the predecessor's bots left them, into an empty PostgreSQL.

floor  pipelined HGETALL and GET of the same keys, and COPY into one bare table: no check, no history, nothing
       written back to Redis.
loop   the predecessor's script: a user after the other, a dozen awaited statements each, on its own tables.
       Measured on fewer users.
again  `sync` when there is nothing to do, against the same floor.
least  what any sync has to do, nothing read or compared: documents that PostgreSQL has at hand into its tables by a
       statement (with triggers, indexes, history and marks, no credentials), then every key written to Redis, by
       the mirror's own writing.
each   `sync` with documents compared and written row by row, as those are that PostgreSQL knows.
"""

from __future__ import annotations

import json
import time

from benchmarks import people
from benchmarks.runner import Outcome, interleave
from benchmarks.upsert import SEED_INDEXES
from store import Config, SettingsStore
from store.coherence.sync import Sync
from store.models import MirrorEntry
from store.postgres import functions

USERS, LOOP_USERS, REPEATS = 2000, 200, 3

BARE = "drop table if exists bare_documents; create table bare_documents (key text, document jsonb)"
INSERT = f"""
insert into app_users (okx_uid, telegram_id)
select ({people.FIRST} + n)::text, case when n %% 2 = 0 then ({people.FIRST_TELEGRAM} + n)::text end
  from generate_series(0, %s - 1) n;
insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
select u.id, u.okx_uid, u.telegram_id, t.setting_type, default_user_setting(t.setting_type)
  from app_users u cross join setting_types t
"""
EACH = """
create or replace function _take_new_documents(p_items jsonb) returns table (owner text, kind text) language sql
as $$ select '', '' where false $$"""
LOOP = f"""
drop table if exists loop_users, loop_credentials, seed_settings;
create table loop_users (like app_users including all);
create table loop_credentials (like okx_api_info including defaults, primary key (id));
create index on loop_credentials (user_id);
create table seed_settings (like user_settings including defaults, primary key (id));
{SEED_INDEXES}
"""


async def measure(config: Config) -> list[Outcome]:
    """Take over all users; as users a second."""
    users = people.size(USERS)
    repeated: list[float] = []
    inserted: list[float] = []

    async def start() -> float:
        await people.empty(config)
        await people.fill_redis(config, users)
        return time.perf_counter()

    async def ours() -> float:
        began = await start()
        async with SettingsStore(config) as store:
            outcomes = await Sync(store._connections).run()
            assert outcomes["new"] == 4 * users, outcomes
            taken, began = time.perf_counter() - began, time.perf_counter()
            outcomes = await Sync(store._connections).run()
            assert outcomes == {"ok": 4 * users}, outcomes
        repeated.append(users / (time.perf_counter() - began))
        return users / taken

    async def floor() -> float:
        began = await start()
        async with people.servers(config) as (connection, redis):
            await people.run(connection, BARE)
            async with connection.cursor().copy("copy bare_documents from stdin") as copy:
                async for found in people.read_redis(redis):
                    for key, content in found:
                        is_document = key.endswith(":settings")
                        await copy.write_row((key, content if is_document else json.dumps(content)))
        return users / (time.perf_counter() - began)

    async def least() -> float:
        await people.empty(config)
        async with people.servers(config) as (connection, _), SettingsStore(config) as store:
            began = time.perf_counter()
            await people.run(connection, INSERT, users)
            inserted.append(users / (time.perf_counter() - began))
            async for rows in store._connections.database.stream(functions.mirror.mirror_source(), people.BATCH):
                await store._connections.mirror.apply([MirrorEntry(**row) for row in rows])
            return users / (time.perf_counter() - began)

    async def each() -> float:
        async with people.servers(config) as (connection, _):
            query = "select pg_get_functiondef('_take_new_documents'::regproc)"
            ((definition,),) = await (await connection.execute(query)).fetchall()
            await connection.execute(EACH)
            try:
                return await ours()
            finally:
                repeated.pop()  # it has nothing to do here, either
                await connection.execute(definition)

    async def loop() -> float:
        async with people.servers(config) as (connection, _):
            await people.run(connection, LOOP)
        return await _one_at_a_time(config, LOOP_USERS)

    sides = {"ours": ours, "floor": floor, "least": least, "each": each, "loop": loop}
    found = await interleave(sides, *people.repeats(users, REPEATS))
    await people.empty(config)
    repeats = len(found["ours"])
    return [
        Outcome("pipelined reads + COPY into a bare table", "users/s", found["ours"], found["floor"], 0.7, "at least"),
        Outcome("the same, when there is nothing to do", "users/s", repeated[-repeats:], found["floor"]),
        Outcome("INSERT … SELECT into our tables, and writing Redis", "users/s", found["ours"], found["least"]),
        Outcome("INSERT … SELECT into our tables alone", "users/s", found["ours"], inserted[-repeats:]),
        Outcome("documents compared and written row by row", "users/s", found["ours"], found["each"]),
        Outcome("the predecessor's loop", "users/s", found["ours"], found["loop"]),
    ]


async def _one_at_a_time(config: Config, users: int) -> float:
    """Do what TimescaleUserService did for each user: every statement waits for the one before."""
    began = time.perf_counter()
    async with people.servers(config) as (connection, redis):
        for n in range(users):
            okx_uid = people.okx_uid(n)
            key = f"user:{okx_uid}"
            keys = await redis.hgetall(f"{key}:api:keys")
            documents = {
                "preferences": await redis.hgetall(f"{key}:preferences"),
                "params": json.loads(await redis.get(f"{key}:settings") or "{}"),
                "dual_side": await redis.hgetall(f"{key}:dual_side"),
            }
            find = "select id from loop_users where okx_uid = %s"
            row = await (await connection.execute(find, (okx_uid,))).fetchone()
            if row is None:
                await connection.execute("insert into loop_users (okx_uid) values (%s)", (okx_uid,))
            row = await (await connection.execute(find, (okx_uid,))).fetchone()
            assert row
            if keys:
                await connection.execute("select id from loop_credentials where user_id = %s and is_active", row)
                await connection.execute(
                    "insert into loop_credentials (user_id, okx_uid, api_key, api_secret, passphrase)"
                    " values (%s, %s, %s, %s, %s)",
                    (row[0], okx_uid, *keys.values()),
                )
            for kind, document in documents.items():
                await (await connection.execute(find, (okx_uid,))).fetchone()
                await connection.execute(
                    "select id from seed_settings where user_id = %s and setting_type = %s and is_active",
                    (row[0], kind),
                )
                await connection.execute(
                    "insert into seed_settings (user_id, okx_uid, setting_type, settings) values (%s, %s, %s, %s)",
                    (row[0], okx_uid, kind, json.dumps(document)),
                )
    return users / (time.perf_counter() - began)
