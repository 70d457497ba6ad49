"""upsert_user_setting under pgbench, against two functions that do less.

bare  deactivates the active row and inserts the next version: no GIN, no validation, no marks; the foreign key, as all.
seed  what the older schema's callers had: an unlocked select, then an update in place with version + 1 or
      an insert, on its six indexes, the GIN over every row. It keeps no old version.

Each client writes users of its own: `bare` and `seed` are not safe for two writers of one document.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from functools import partial
from pathlib import Path

import psycopg

from benchmarks.runner import Outcome, interleave
from store import Config
from store.operations import embedded

CLIENTS, USERS, SECONDS, REPEATS = 4, 2000, 4, 9
FIRST_USER = 3_000_000_000_000_000

SEED_INDEXES = """\
create index on seed_settings (user_id);
create index on seed_settings (okx_uid);
create index on seed_settings (telegram_id);
create index on seed_settings (setting_type);
create index on seed_settings using gin (settings);
create unique index on seed_settings (user_id, setting_type) where is_active"""
TABLES = f"""
drop table if exists bare_settings, lean_settings, seed_settings;
create table bare_settings (like user_settings including all);
create table lean_settings (like user_settings including defaults, primary key (id));
create unique index on lean_settings (user_id, setting_type) where is_active;
create table seed_settings (like user_settings including defaults, primary key (id));
{SEED_INDEXES};
alter table bare_settings add foreign key (user_id) references app_users;
alter table lean_settings add foreign key (user_id) references app_users;
alter table seed_settings add foreign key (user_id) references app_users;
do $$
begin
    execute (select format('drop index %s', indexrelid::regclass) from pg_index i
               join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
              where i.indrelid = 'bare_settings'::regclass and a.amname = 'gin');
end $$
"""

BARE = """
create or replace function {name}_upsert(p_okx_uid text, p_setting_type text, p_settings jsonb)
returns {name}_settings language plpgsql as $$
declare
    v_user    app_users;
    v_version integer;
    v_row     {name}_settings;
begin
    select * into v_user from app_users u where u.okx_uid = p_okx_uid and u.deleted_at is null;
    update {name}_settings s set is_active = false
     where s.user_id = v_user.id and s.setting_type = p_setting_type and s.is_active
    returning s.version into v_version;
    insert into {name}_settings (user_id, okx_uid, telegram_id, setting_type, settings, version)
    values (v_user.id, v_user.okx_uid, v_user.telegram_id, p_setting_type, p_settings, coalesce(v_version, 0) + 1)
    returning * into v_row;
    return v_row;
end $$
"""

SEED = """
create or replace function seed_upsert(p_okx_uid text, p_setting_type text, p_settings jsonb)
returns seed_settings language plpgsql as $$
declare
    v_user app_users;
    v_row  seed_settings;
begin
    select * into v_user from app_users u where u.okx_uid = p_okx_uid and u.deleted_at is null;
    select * into v_row from seed_settings s
     where s.user_id = v_user.id and s.setting_type = p_setting_type and s.is_active;
    if found then
        update seed_settings s set settings = p_settings, version = s.version + 1, updated_at = now()
         where s.id = v_row.id
        returning * into v_row;
    else
        insert into seed_settings (user_id, okx_uid, telegram_id, setting_type, settings)
        values (v_user.id, v_user.okx_uid, v_user.telegram_id, p_setting_type, p_settings)
        returning * into v_row;
    end if;
    return v_row;
end $$
"""

FUNCTIONS = {
    "ours": "upsert_user_setting",
    "bare": "bare_upsert",
    "lean": "lean_upsert",
    "seed": "seed_upsert",
}


async def measure(config: Config) -> list[Outcome]:
    """Run the same pgbench script on each function; numbers are transactions a second."""
    assert config.database_url
    document = _prepare(config.database_url)
    with tempfile.TemporaryDirectory() as folder:
        scripts = {name: Path(folder) / f"{name}.sql" for name in FUNCTIONS}
        for name, script in scripts.items():
            script.write_text(
                f"\\set user {FIRST_USER} + random(0, {USERS // CLIENTS - 1}) * {CLIENTS} + :client_id\n"
                f"\\set amount random(1, 1000000)\n"
                f"select ({FUNCTIONS[name]}(':user', 'params', '{document}')).version;\n",
                encoding="utf-8",
            )
        found = await interleave(
            {name: partial(_pgbench, config.database_url, script) for name, script in scripts.items()}, REPEATS
        )
    unit = "upserts/s"
    return [
        Outcome("deactivate-and-insert, same B-trees", unit, found["ours"], found["bare"], 0.75, "at least"),
        Outcome("deactivate-and-insert, two indexes", unit, found["ours"], found["lean"]),
        Outcome("the seed's in-place upsert", unit, found["ours"], found["seed"], 1.5, "at least"),
    ]


def _prepare(database_url: str) -> str:
    """Make the tables and functions, and save every user's document in each; returns the document with the
    value that changes left to pgbench."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLES)
        for statement in (BARE.format(name="bare"), BARE.format(name="lean"), SEED):
            connection.execute(statement.encode())
        connection.execute(
            "select ensure_user(n::text) from generate_series(%s, %s::bigint) n", (FIRST_USER, FIRST_USER + USERS - 1)
        )
        for function in FUNCTIONS.values():
            connection.execute(
                f"select {function}(u.okx_uid, 'params', default_user_setting('params'))"
                " from app_users u where u.okx_uid like '3%'"
            )
        connection.execute("vacuum analyze")
        row = connection.execute("select default_user_setting('params')").fetchone()
    assert row is not None
    document = json.dumps({**row[0], "btc_investment": 0}, ensure_ascii=False)
    assert len(row[0]) == 50
    return document.replace('"btc_investment": 0', '"btc_investment": :amount').replace("'", "''")


async def _pgbench(database_url: str, script: Path) -> float:
    command = [
        embedded.postgres_program("pgbench"), "--no-vacuum", f"--client={CLIENTS}", "--jobs=2",
        f"--time={SECONDS}", f"--file={script}", database_url,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = (text.decode() for text in await process.communicate())
    rate = re.search(r"^tps = ([0-9.]+)", output, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: ([0-9]+)", output, re.MULTILINE)
    if process.returncode or rate is None or (failed and failed[1] != "0") or "aborted" in errors:
        raise RuntimeError(f"pgbench failed:\n{output}{errors}")
    return float(rate[1])
