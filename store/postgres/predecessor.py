"""Adoption: takes over the database of the system that this one replaces, and gives it back (docs/migrating.md).

Its tables and functions move to the schema `predecessor` and stay there as they were. What the store can take of their
rows goes into its own tables; what it can't is listed in predecessor.quarantine, with the reason. All of it happens in
the caller's transaction, the migrations too: a database is adopted whole, or left as it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from store.encryption.fields import FIELDS, Secrets, seal, unseal
from store.encryption.vault import Vault, is_ciphertext
from store.errors import InvalidArgument, MigrationError

Connection = psycopg.Connection[Any]

# The columns without which a table isn't the predecessor's.
PEOPLE = {
    "app_users": ("id", "okx_uid"),
    "user_settings": ("id", "user_id", "setting_type", "settings"),
    "okx_api_info": ("id", "user_id", "api_key", "api_secret", "passphrase"),
}

PATIENCE = 30.0  # seconds, to lock tables that others use

# Functions of ours in the schema predecessor: sql/predecessor/adoption/old_code.sql.
FOR_OLD_CODE = (
    "select oid::regprocedure::text from pg_proc"
    " where pronamespace = to_regnamespace('predecessor') and proname like 'for\\_old\\_code\\_%'"
)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row of the predecessor's that wasn't taken, or (`is_taken`) not all of it. `id` None: a whole table."""

    table_name: str
    id: str | None
    is_taken: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Adoption:
    """What an adoption took, or would take: rows of each table; and what it couldn't."""

    taken: dict[str, int]
    quarantine: list[Quarantined]


def found(connection: Connection, tables: Iterable[str]) -> list[str]:
    """List those of the tables, which are still to be made, that stand in the schema public already.

    Raises MigrationError if they look like neither this store's nor the predecessor's.
    """
    there = [name for name in tables if _exists(connection, "public", name)]
    if not set(there) & set(PEOPLE):
        return there
    for name, needed in PEOPLE.items():
        columns = dict(
            connection.execute(
                "select a.attname, format_type(a.atttypid, a.atttypmod) from pg_attribute a"
                " where a.attrelid = to_regclass('public.' || %s) and a.attnum > 0 and not a.attisdropped",
                [name],
            ).fetchall()
        )
        wrong = [column for column in needed if column not in columns]
        wrong += [column for column in needed if column.endswith("id") and columns.get(column) not in ("uuid", None)
                  and column != "okx_uid"]  # fmt: skip
        if wrong:
            what = f"public.{name} has no {wrong[0]} of the expected type" if columns else f"there is no public.{name}"
            raise MigrationError(
                f"the tables in this database are neither this store's nor its predecessor's: {what}",
                hint="Give the store a database of its own, or move those tables to another schema.",
            )
    return there


def lock(connection: Connection, tables: Sequence[str]) -> None:
    """Lock tables of the schema public against everybody. Old code locks them in this order and in that: what can't be
    had soon is given back, before PostgreSQL would end one of the two for a deadlock. Raises LockNotAvailable."""
    names = sql.SQL(", ").join(sql.Identifier("public", name) for name in tables)
    deadline = time.monotonic() + PATIENCE
    ((given,),) = connection.execute("select current_setting('lock_timeout')").fetchall()
    while True:
        try:
            with connection.transaction():
                connection.execute("set local lock_timeout = '200ms'")
                connection.execute(sql.SQL("lock table {} in access exclusive mode").format(names))
            break
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise
    connection.execute("select set_config('lock_timeout', %s, true)", [given])


def set_aside(connection: Connection, tables: Sequence[str], functions: Sequence[str]) -> None:
    """Move tables, and with the users the functions of these names, from schema public to schema predecessor."""
    lock(connection, tables)
    connection.execute("create schema if not exists predecessor")
    connection.execute(
        "comment on schema predecessor is 'What `migrate` took this database over from, as it was, and the table"
        " quarantine: what it couldn''t take. `migrate rollback --all` puts it back; without it, drop the schema.'"
    )
    for name in tables:
        connection.execute(sql.SQL("alter table public.{} set schema predecessor").format(sql.Identifier(name)))
    if "app_users" in tables:
        _move_functions(connection, functions, "public", "predecessor")


def take_over(connection: Connection, tables: Sequence[str], folder: Path, vault: Vault) -> Adoption:
    """Take the rows of the tables set aside into the store's tables, which are empty. `folder`: that of the files.

    API keys are encrypted, if the vault has a key; else they stay plain text until `keys encrypt-existing`.
    """

    def run(name: str) -> None:
        connection.execute((folder / name).read_bytes())

    market = [name for name in tables if name not in PEOPLE]
    before = _count(connection, market, "public")
    run("quarantine.sql")
    if "app_users" in tables:
        run("find.sql")
        run("take.sql")
        if not vault.is_empty:
            _encrypt(connection, vault)
            connection.execute("insert into predecessor.sealed default values")
        run("finish.sql")
        run("old_code.sql")
        run("taken.sql")
        _check_complete(connection)
        _point_to(connection, "public")
    if "trades" in tables:
        run("trades.sql")
    if any(name.startswith("ohlcv_") for name in tables):
        run("candles.sql")
    run("identities.sql")
    taken = {name: count - before[name] for name, count in _count(connection, market, "public").items()}
    for name in PEOPLE if "app_users" in tables else ():
        query = sql.SQL("select count(*) from public.{0} join predecessor.{0} using (id)").format(sql.Identifier(name))
        taken[name] = connection.execute(query).fetchone()[0]  # type: ignore[index]
    return Adoption(taken, quarantine(connection))


def keep_old_code(connection: Connection, folder: Path) -> None:
    """Make again, in an adopted database, what lets old code go on beside the store."""
    if _exists(connection, "predecessor", "app_users"):
        connection.execute((folder / "quarantine.sql").read_bytes())
        connection.execute((folder / "old_code.sql").read_bytes())


def _check_complete(connection: Connection) -> None:
    """Make sure that every row is in the store's table or in quarantine."""
    for name in PEOPLE:
        query = sql.SQL(
            "select from predecessor.{0} p where not exists (select from public.{0} o where o.id = p.id) and not exists"
            " (select from predecessor.quarantine q where q.table_name = {1} and q.id = p.id::text and not q.is_taken)"
        ).format(sql.Identifier(name), sql.Literal(name))
        if connection.execute(query).fetchone() is not None:
            raise MigrationError(f"a row of {name} was neither taken nor put into quarantine: nothing was changed")


def _encrypt(connection: Connection, vault: Vault) -> None:
    rows = connection.execute(
        "select id, okx_uid, version, api_key, api_secret, passphrase from okx_api_info where api_key is not null"
    ).fetchall()
    changes = []
    for id, okx_uid, version, *fields in rows:
        try:
            sealed = seal(vault, okx_uid, Secrets(zip(FIELDS, fields, strict=True)), version)
        except InvalidArgument as error:
            raise MigrationError(f"API keys of user {okx_uid} can't be encrypted: {error.message}") from None
        changes.append([*(sealed[name] for name in FIELDS), id])
    connection.cursor().executemany(
        "update okx_api_info set api_key = %s, api_secret = %s, passphrase = %s where id = %s", changes
    )


def quarantine(connection: Connection) -> list[Quarantined]:
    """List what wasn't taken when this database was adopted; nothing if it never was."""
    if not _exists(connection, "predecessor", "quarantine"):
        return []
    rows = connection.execute(
        "select table_name, id, is_taken, reason from predecessor.quarantine"
        " order by table_name, is_taken, id nulls first, reason"
    )
    return [Quarantined(*row) for row in rows]


def adopted(connection: Connection, tables: Iterable[str]) -> list[str]:
    """List those of the tables that were set aside."""
    return [name for name in tables if _exists(connection, "predecessor", name)]


def carry_back(connection: Connection, tables: Sequence[str], folder: Path, vault: Vault) -> None:
    """Bring what was saved since the adoption into the predecessor's tables, API keys in plain text, as they were.

    Raises MigrationError if a row doesn't fit, NoEncryptionKey, WrongEncryptionKey.
    """
    if "app_users" not in tables:
        return
    lock(connection, list(PEOPLE))  # what somebody saves from now on would go with the store's tables
    connection.execute((folder / "carry_back.sql").read_bytes())
    rows = connection.execute(
        "select p.id, c.okx_uid, c.api_key, c.api_secret, c.passphrase"
        " from predecessor.okx_api_info p join public.okx_api_info c on c.id = p.id"
    ).fetchall()
    changes = []
    for id, okx_uid, *fields in rows:
        sealed = {name: text for name, text in zip(FIELDS, fields, strict=True) if text is not None}
        if any(map(is_ciphertext, sealed.values())):
            plain = unseal(vault, okx_uid, sealed)
            changes.append([*(plain[name] for name in FIELDS), id])
    connection.cursor().executemany(
        "update predecessor.okx_api_info set api_key = %s, api_secret = %s, passphrase = %s where id = %s", changes
    )
    _point_to(connection, "predecessor")


def put_back(connection: Connection, tables: Sequence[str], functions: Sequence[str]) -> None:
    """Move what was set aside to the schema public again. The store's tables of these names must be gone."""
    for name in tables:
        connection.execute(sql.SQL("alter table predecessor.{} set schema public").format(sql.Identifier(name)))
    if "app_users" in tables:
        _move_functions(connection, functions, "predecessor", "public")
        for (name,) in connection.execute(FOR_OLD_CODE).fetchall():
            connection.execute(sql.SQL("drop function {}").format(sql.SQL(name)))
    left = connection.execute(
        "select from pg_class where relnamespace = 'predecessor'::regnamespace and relkind in ('r', 'p')"
        " and relname not in ('quarantine', 'foreign_keys', 'taken', 'sealed', 'kept')"
    ).fetchone()
    if left is None:
        for name in ("quarantine", "foreign_keys", "taken", "sealed"):
            connection.execute(sql.SQL("drop table if exists predecessor.{}").format(sql.Identifier(name)))
        if connection.execute("select from predecessor.kept limit 1").fetchone() is None:
            connection.execute("drop table predecessor.kept")
            connection.execute("drop schema predecessor")


def _point_to(connection: Connection, schema: str) -> None:
    """Let other tables' foreign keys refer to the app_users of this schema: the store's as far as their rows allow, or
    back to the predecessor's, as they were."""
    connection.execute(
        "create table if not exists predecessor.foreign_keys (table_name text, name text, definition text)"
    )
    connection.execute("set local search_path = pg_catalog")  # so that names are shown with their schemas
    if schema == "public":
        connection.execute(
            "insert into predecessor.foreign_keys select conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " from pg_constraint where contype = 'f' and confrelid = 'predecessor.app_users'::regclass"
            " and connamespace <> 'predecessor'::regnamespace"
        )
    for table, name, definition in connection.execute("select * from predecessor.foreign_keys").fetchall():
        constraint = sql.Identifier(name)
        where = sql.SQL(table)  # as regclass quotes it
        connection.execute(sql.SQL("alter table {} drop constraint {}").format(where, constraint))
        new = definition.replace("REFERENCES predecessor.app_users(", f"REFERENCES {schema}.app_users(")
        if schema == "public" and not new.endswith("NOT VALID"):
            new += " NOT VALID"
        connection.execute(sql.SQL("alter table {} add constraint {} {}").format(where, constraint, sql.SQL(new)))
        if schema == "public" and not definition.endswith("NOT VALID"):
            _validate(connection, table, name)
    connection.execute("set local search_path = public, pg_temp")


def _validate(connection: Connection, table: str, name: str) -> None:
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("alter table {} validate constraint {}").format(sql.SQL(table), sql.Identifier(name))
            )
    except psycopg.errors.ForeignKeyViolation:
        connection.execute(
            "insert into predecessor.quarantine (table_name, is_taken, reason) values (%s, true, %s)",
            [table, f"some of its rows refer, by {name}, to users that can't be taken: new rows are checked only"],
        )


def _move_functions(connection: Connection, names: Sequence[str], source: str, target: str) -> None:
    rows = connection.execute(
        "select format('alter function %%s set schema %%I', p.oid::regprocedure, %s::text) from pg_proc p"
        " where p.pronamespace = %s::text::regnamespace and p.proname = any (%s)"
        " and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')",
        [target, source, list(names)],
    ).fetchall()
    for (statement,) in rows:
        connection.execute(statement)


def _count(connection: Connection, tables: Iterable[str], schema: str) -> dict[str, int]:
    counts = {}
    for name in tables:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))
        counts[name] = connection.execute(query).fetchone()[0]  # type: ignore[index]
    return counts


def _exists(connection: Connection, schema: str, name: str) -> bool:
    row = connection.execute("select to_regclass(format('%%I.%%I', %s::text, %s::text))", [schema, name]).fetchone()
    return row is not None and row[0] is not None
