"""What a database has of this release: recorded by migrate, compared by status.

By the names of objects, as files of sql/ move. What is recorded outlives pg_dump and another major version of
PostgreSQL, which write some definitions otherwise: only what they leave alone is compared.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from importlib.metadata import version as release_of
from pathlib import Path
from typing import Any

import psycopg

from store.errors import MigrationError
from store.postgres.sources import kind_of, name_of, rights_of

Connection = psycopg.Connection[Any]

# The definition as installed_definition() has it, by its hash.
RECORD = """
    insert into schema_objects (name, source_hash, definition_hash, release)
    select %(name)s, %(source)s, encode(sha256(convert_to(d, 'utf8')), 'hex'), %(release)s
      from public.installed_definition(%(name)s) d where d is not null
    returning name"""
COMPARE = """
    select o.name, o.source_hash, coalesce(o.definition_hash = encode(sha256(convert_to(d, 'utf8')), 'hex'), false)
      from public.schema_objects o, public.installed_definition(o.name) d"""

# Indexes and constraints of tables of ours, with the statement that makes them. One that isn't valid isn't there.
PARTS = """
    select 'index ' || i.relname as name, t.relname::text as table_name, pg_get_indexdef(i.oid) as statement
      from pg_index x
      join pg_class i on i.oid = x.indexrelid
      join pg_class t on t.oid = x.indrelid
     where t.relnamespace = 'public'::regnamespace and t.relname = any (%(tables)s) and x.indisvalid
       and not exists (select from pg_constraint c where c.conindid = i.oid and c.conrelid = t.oid)
    union all
    select format('constraint %%s of %%s', c.conname, t.relname), t.relname::text,
           format('alter table public.%%I add constraint %%I %%s', t.relname, c.conname, pg_get_constraintdef(c.oid))
      from pg_constraint c
      join pg_class t on t.oid = c.conrelid
     where t.relnamespace = 'public'::regnamespace and t.relname = any (%(tables)s)
       and c.contype in ('c', 'f', 'p', 'u', 'x')"""

# Names that PostgreSQL gives to constraints that a migration leaves unnamed.
UNNAMED = re.compile(r"constraint \w+_(pkey|fkey|key) of \w+")

log = logging.getLogger("store.schema")


def check_release(connection: Connection, migrations: Sequence[str]) -> None:
    """Refuse a database that a newer release has migrated: this one would take back what it doesn't know."""
    newer: list[str] = []
    if connection.execute("select to_regclass('public._yoyo_migration')").fetchone() != (None,):
        applied = connection.execute("select migration_id from public._yoyo_migration order by 1").fetchall()
        newer = [f"migration {name}" for (name,) in applied if name not in migrations]
    if connection.execute("select to_regclass('public.schema_objects')").fetchone() != (None,):
        by = connection.execute("select distinct to_jsonb(o) ->> 'release' from public.schema_objects o").fetchall()
        newer += [f"release {name}" for (name,) in by if name and _numbers(name) > _numbers(_release())]
    if newer:
        raise MigrationError(
            f"the database is of a newer release than this one, {_release()}",
            detail=f"it has {', '.join(newer)}",
            hint="Use that release, or a newer one. Nothing was changed.",
        )


def record(connection: Connection, files: Sequence[Path]) -> None:
    """Note what was applied. Raises MigrationError for a file that makes no object of its name or says no rights."""
    connection.execute("delete from schema_objects")
    for file in files:
        if kind_of(file) in ("function", "trigger") and rights_of(file) is None:
            raise MigrationError(f"sql/{file.parent.name}/{file.name} doesn't say who may call it")
        values = {"name": name_of(file), "source": _hash(file), "release": _release()}
        if connection.execute(RECORD.encode(), values).fetchone() is None:
            raise MigrationError(f"sql/{file.parent.name}/{file.name} makes no object of its name")


def record_parts(connection: Connection, tables: Sequence[str], migrations: str) -> None:
    """Note which indexes and constraints there are, of those that migrations (their text) name: others may add some."""
    connection.execute("delete from schema_parts")
    for name, (table, statement) in _parts(connection, tables).items():
        called = name.removeprefix("index ").removeprefix("constraint ").removesuffix(f" of {table}")
        if called in migrations or UNNAMED.fullmatch(name):
            insert = "insert into schema_parts (name, table_name, statement) values (%s, %s, %s)"
            connection.execute(insert, [name, table, statement])


def mend_parts(connection: Connection) -> None:
    """Make again what is missing of the indexes and constraints on record, or was changed by hand."""
    if connection.execute("select to_regclass('public.schema_parts')").fetchone() == (None,):
        return
    recorded = _recorded(connection)
    wrong = _wrong_parts(connection)
    for name in sorted(wrong, key=lambda name: (" FOREIGN KEY " in recorded[name][1], name)):  # keys before what refers
        table, statement = recorded[name]
        called = name.removeprefix("index ").removeprefix("constraint ").removesuffix(f" of {table}")
        drop = "drop index if exists public.{0}" if name.startswith("index ") else (
            "alter table public.{1} drop constraint if exists {0}"
        )  # fmt: skip
        connection.execute(psycopg.sql.SQL(drop).format(*map(psycopg.sql.Identifier, (called, table))))
        connection.execute(statement.encode())
        log.warning("%s %s: made again", name, wrong[name])


def differences(connection: Connection, files: Sequence[Path]) -> dict[str, str]:
    """Tell which objects aren't as this release has them: object -> what is wrong."""
    rows = connection.execute(COMPARE.encode()).fetchall()
    installed = {name: (source_hash, is_unchanged) for name, source_hash, is_unchanged in rows}
    found = {}
    for path in files:
        file = f"{path.parent.name}/{path.name}"
        source_hash, is_unchanged = installed.pop(name_of(path), (None, True))
        if source_hash is None:
            found[file] = "not applied"
        elif source_hash != _hash(path):
            found[file] = "the file changed since it was applied"
        elif not is_unchanged:
            found[file] = "changed in the database since it was applied"
    found.update(dict.fromkeys(installed, "applied once, no longer part of this release"))
    return found | _wrong_parts(connection)


def _wrong_parts(connection: Connection) -> dict[str, str]:
    recorded = _recorded(connection)
    installed = _parts(connection, sorted({table for table, _ in recorded.values()}))
    return {
        name: "is missing" if name not in installed else "was changed in the database"
        for name, (_, statement) in recorded.items()
        if name not in installed or _comparable(installed[name][1]) != _comparable(statement)
    }


def _recorded(connection: Connection) -> dict[str, tuple[str, str]]:
    rows = connection.execute("select name, table_name, statement from public.schema_parts").fetchall()
    return {name: (table, statement) for name, table, statement in rows}


def _parts(connection: Connection, tables: Sequence[str]) -> dict[str, tuple[str, str]]:
    rows = connection.execute(PARTS.encode(), {"tables": list(tables)}).fetchall()
    return {name: (table, statement) for name, table, statement in rows}


def _comparable(statement: str) -> str:
    """Leave out how a condition is bracketed, which a dump changes, and whether old rows were looked at."""
    return re.sub(r"[()\s]|NOT VALID$", "", statement)


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _release() -> str:
    return release_of("settings-store")


def _numbers(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)[:3]]
