"""The checker's own record of what PostgreSQL committed, and in which order, and a look at both stores at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis as redis_py

from store import Vault
from store.encryption.fields import unseal
from tests.consistency.history import Row, digest

INSTALL = """
create schema consistency;
create table consistency.ledger (
    seq bigint generated always as identity primary key, owner text not null, kind text not null,
    version integer not null, document jsonb, is_deleted boolean not null, reason text not null default '');

create function consistency.note() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_old  jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
    v_row  jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) else v_old end;
    v_kind text := case tg_table_name when 'user_settings' then v_row ->> 'setting_type'
                                      when 'okx_api_info' then 'api_keys'
                                      when 'app_users' then 'user' else 'telegram' end;
    v_same text[] := array['version', 'settings', 'telegram_id', 'okx_uid', 'deleted_at'];
begin
    if v_kind not in ('user', 'telegram') then
        v_same := array['version', 'settings', 'deleted_at'];
        if tg_op = 'DELETE' or not (v_row ->> 'is_active')::boolean then
            return null;    -- erase_user() removes all of a user: the row of app_users tells
        end if;
    end if;
    if tg_op = 'UPDATE'
       and (select bool_and(v_old -> name is not distinct from v_row -> name) from unnest(v_same) as name) then
        return null;
    end if;
    insert into consistency.ledger (owner, kind, version, document, is_deleted, reason)
    values (case v_kind when 'telegram' then v_row ->> 'telegram_id' else v_row ->> 'okx_uid' end,
            case when v_kind = 'user' and tg_op = 'DELETE' then 'erased' else v_kind end,
            (v_row ->> 'version')::integer,
            case v_kind when 'user' then jsonb_build_object('telegram_id', v_row -> 'telegram_id')
                        when 'telegram' then jsonb_build_object('okx_uid', v_row -> 'okx_uid')
                        else v_row -> 'settings' end,
            tg_op = 'DELETE' or v_row ->> 'deleted_at' is not null,
            coalesce(current_setting('settings_store.reason', true), ''));
    return null;
end
$$;
"""
NOTED = ("user_settings", "okx_api_info", "app_users", "telegram_links")
TRIGGER = """create trigger zz_consistency after insert or update or delete on {} for each row
execute function consistency.note()"""

SETTINGS = """
select okx_uid, setting_type, version, settings, is_active, deleted_at is not null as is_deleted
  from user_settings order by 1, 2, 3"""
CREDENTIALS = """
select okx_uid, version, is_active, deleted_at is not null as is_deleted,
       jsonb_build_object('api_key', api_key, 'api_secret', api_secret, 'passphrase', passphrase) as fields
  from okx_api_info where version > 0 order by 1, 2"""
USERS = "select okx_uid, telegram_id from app_users where deleted_at is null"
SUFFIXES = "select setting_type, redis_suffix from setting_types"


def install(url: str) -> None:
    """Have PostgreSQL note every change of a settings document, of credentials, a user and a link."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(INSTALL.encode())
        for table in NOTED:
            connection.execute(TRIGGER.format(table).encode())


def read(connection: psycopg.Connection[Any]) -> Iterator[Row]:
    """Read the ledger."""
    query = "select seq, owner, kind, version, document, is_deleted, reason from consistency.ledger order by seq"
    for seq, owner, kind, version, document, is_deleted, reason in connection.execute(query):
        op = int(reason[3:]) if reason.startswith("op:") else None
        note = reason
        if kind in ("user", "erased", "telegram"):
            note = next(iter((document or {}).values()), None) or ""
            if is_deleted:
                note = ""
        yield Row(seq, owner, kind, version, digest(document or {}), is_deleted, op, note)


def look(connection: psycopg.Connection[Any], redis: redis_py.Redis, vault: Vault) -> dict[str, Any]:
    """Read both stores as they are, by plain queries and commands; of the credentials also what they say."""
    rows = [list(row) for row in connection.execute(SETTINGS)]
    found: dict[str, Any] = {
        "settings": [[o, k, v, digest(doc), is_active, is_deleted] for o, k, v, doc, is_active, is_deleted in rows],
        "documents": {f"{o} {k}": doc for o, k, _, doc, active, gone in rows if active and not gone},
        "credentials": [list(row) for row in connection.execute(CREDENTIALS)],
        "users": dict(connection.execute(USERS).fetchall()),
        "suffixes": dict(connection.execute(SUFFIXES).fetchall()),
        "keys": {},
        "redis": {},
    }
    for owner, version, _, is_deleted, fields in found["credentials"]:
        if not is_deleted:
            found["keys"][f"{owner} {version}"] = unseal(vault, owner, {"api_key": fields["api_key"]})["api_key"]
    for key in redis.scan_iter(match="user:*", count=1000):
        type_ = redis.type(key)
        found["redis"][key] = redis.hgetall(key) if type_ == "hash" else redis.get(key) if type_ == "string" else type_
    return found


def write(folder: Path, connection: psycopg.Connection[Any], final: dict[str, Any], notes: dict[str, Any]) -> None:
    """Keep what the servers tell of a round."""
    with (folder / "ledger.jsonl").open("w", encoding="utf-8") as file:
        for row in read(connection):
            values = [row.seq, row.owner, row.kind, row.version, row.digest, row.is_deleted, row.op, row.note]
            file.write(json.dumps({"row": values}) + "\n")
    (folder / "final.json").write_text(json.dumps(final), encoding="utf-8")
    (folder / "notes.json").write_text(json.dumps(notes), encoding="utf-8")
