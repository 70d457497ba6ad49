"""Brings a database to this release: pending migrations by yoyo, then every file of sql/ again."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import yoyo
from psycopg import sql
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri
from yoyo.migrations import MigrationList

from store.encryption.vault import Vault
from store.errors import DatabaseUnavailable, MigrationError, NotPermitted, StoreError, first_line
from store.postgres import drift, predecessor, sources
from store.postgres.database import interrupted
from store.postgres.errors import UNREACHABLE
from store.postgres.pool import SETTLE, check_encoding, conninfo
from store.postgres.predecessor import Adoption, Quarantined

BY_NAME = "0015_schema_by_name"  # before it, nothing is recorded that could be compared
LOCK = 0x5E771465  # advisory lock of `migrate`
PATIENCE = 30  # seconds to wait for another's transaction: everybody else who wants the table waits behind this
WAITED = (
    "Somebody's open transaction holds the table: select pid, usename, application_name, xact_start"
    " from pg_stat_activity where state <> 'idle' order by xact_start"
)
LOCK_WAIT = 600.0  # seconds: anybody can take a lock by its number, so this one isn't waited for without end

HOLDERS: LiteralString = """
select string_agg(format('process %%s, %%s, login %%s, since %%s', a.pid,
                         coalesce(nullif(a.application_name, ''), 'of no name'), a.usename, a.xact_start), '; ')
  from pg_locks l join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'advisory' and l.granted and (l.classid, l.objid, l.objsubid) = (0, %s, 1)
   and l.database = (select oid from pg_database where datname = current_database())
"""

log = logging.getLogger("store.schema")

yoyo.migrations.open = partial(open, encoding="utf-8")  # it would read our files as the locale says


@dataclass(frozen=True)
class SchemaStatus:
    """How far a database is from this release. `drifted`: object -> what is wrong with it."""

    applied: list[str]
    pending: list[str]
    drifted: dict[str, str] = field(default_factory=dict)

    @property
    def is_current(self) -> bool:
        return not self.pending and not self.drifted


def migrate(database_url: str, vault: Vault | None = None) -> list[str]:
    """Apply pending migrations, then sql/, then arrange hypertables. Returns the ids of the migrations it applied.

    A predecessor's database is adopted, its API keys encrypted by the `vault` if there is one. In one transaction, but
    for the hypertables. Safe to repeat and to run twice at once. Raises MigrationError and DatabaseUnavailable.
    """
    with _locked(database_url), _yoyo(database_url) as (backend, migrations):
        drift.check_release(backend.connection, [migration.id for migration in migrations])
        pending = backend.to_apply(migrations)
        backend.ensure_internal_schema_updated()
        with backend.transaction():
            _apply(backend.connection, pending, vault)
            for migration in pending:
                backend.mark_one(migration)
        _arrange(database_url)
        return [migration.id for migration in pending]


def rehearse(database_url: str, vault: Vault | None = None) -> Adoption | None:
    """Adopt a predecessor's database, tell what came of it, and take everything back. None: there is nothing to adopt.

    Locks the predecessor's tables meanwhile. Raises as migrate().
    """
    with _translated(), _connect(database_url) as connection:
        done = set(status(database_url).applied)
        pending = [m for m in yoyo.read_migrations(str(sources.resources("migrations"))) if m.id not in done]
        if not predecessor.found(connection, tables_of(pending)):
            return None
        connection.execute("create table if not exists public._yoyo_migration ()")  # yoyo's, which grants.sql names
        try:
            return _apply(connection, pending, vault)
        finally:
            connection.rollback()


def quarantine(database_url: str) -> list[Quarantined]:
    """List what couldn't be taken when this database was adopted from a predecessor; nothing if it never was."""
    with _translated(), _connect(database_url) as connection:
        return predecessor.quarantine(connection)


def rollback(database_url: str, count: int | None = 1, vault: Vault | None = None) -> list[str]:
    """Roll back the newest `count` migrations (None: all). Returns their ids, newest first.

    The functions, views and triggers of sql/ go too; `migrate` brings everything back, empty. Data in the
    tables that go is lost; but what was adopted from a predecessor goes back to it, with what was saved since (users,
    settings, API keys: those take the `vault`).
    """
    with _locked(database_url), _yoyo(database_url) as (backend, migrations):
        drift.check_release(backend.connection, [migration.id for migration in migrations])
        newest = backend.to_rollback(migrations)[:count]
        old = predecessor.adopted(backend.connection, tables_of(newest))
        if set(old) & set(predecessor.PEOPLE) and count is not None:
            raise MigrationError(
                "the users, settings and API keys of this database were adopted together",
                hint="Roll back everything: settings-store migrate rollback --all",
            )
        if newest:
            backend.ensure_internal_schema_updated()
            with backend.transaction():
                _take_back(backend.connection, newest, old, vault or Vault({}))
                for migration in newest:
                    backend.unmark_one(migration)
        return [migration.id for migration in newest]


def going(database_url: str, count: int | None) -> tuple[list[str], dict[str, int]]:
    """Tell what rollback() of so many would take: migrations, newest first, and tables with their numbers of rows."""
    with _translated(), _connect(database_url) as connection:
        applied = status(database_url).applied
        names = applied[::-1][:count]
        migrations = [m for m in yoyo.read_migrations(str(sources.resources("migrations"))) if m.id in names]
        rows = {}
        for table in tables_of(migrations):
            if _scalar(connection, "select to_regclass(%s)", f"public.{table}"):
                query = sql.SQL("select count(*) as n from {}").format(sql.Identifier("public", table))
                rows[table] = connection.execute(query).fetchall()[0][0]
        return names, rows


def tables_of(migrations: Sequence[Any]) -> list[str]:
    """List the tables that migrations make, in their order."""
    return [
        name
        for migration in migrations
        for name in re.findall(r"^create table (\w+) ", Path(migration.path).read_text(encoding="utf-8"), re.MULTILINE)
    ]


def _apply(connection: psycopg.Connection[Any], migrations: Sequence[Any], vault: Vault | None) -> Adoption | None:
    """Apply migrations and sql/; tables of a predecessor's that are in the way are adopted."""
    tables = predecessor.found(connection, tables_of(migrations))
    if tables:
        predecessor.set_aside(connection, tables, _functions())
    drift.mend_parts(connection)
    for migration in migrations:
        connection.execute(Path(migration.path).read_bytes())
    _apply_sql(connection)
    connection.execute("select public.arrange_changes()")
    _record_parts(connection)
    if tables:
        return predecessor.take_over(connection, tables, _adoption(), vault or Vault({}))
    predecessor.keep_old_code(connection, _adoption())
    return None


def _take_back(
    connection: psycopg.Connection[Any], migrations: Sequence[Any], tables: Sequence[str], vault: Vault
) -> None:
    """Drop what sql/ made, and roll migrations back; the tables, of a predecessor's, come back."""
    if tables:
        predecessor.carry_back(connection, tables, _adoption(), vault)
    _drop_sql(connection)
    for migration in migrations:
        connection.execute(Path(migration.path).with_suffix(".rollback.sql").read_bytes())
    _record_parts(connection)
    if tables:
        predecessor.put_back(connection, tables, _functions())


def _record_parts(connection: psycopg.Connection[Any]) -> None:
    if _scalar(connection, "select to_regclass('public.schema_parts')") is not None:
        migrations = yoyo.read_migrations(str(sources.resources("migrations")))
        text = "".join(Path(migration.path).read_text(encoding="utf-8") for migration in migrations)
        drift.record_parts(connection, tables_of(migrations), text)


def _adoption() -> Path:
    return sources.resources("sql") / "predecessor" / "adoption"


def _functions() -> list[str]:
    """List the functions that are the store's, or were the predecessor's, by name."""
    return ["update_user_settings_updated_at"] + [
        sources.name_of(file) for file in sources.sql_files() if sources.kind_of(file) == "function"
    ]


def status(database_url: str) -> SchemaStatus:
    """Compare a database with this release. Writes nothing, takes no lock."""
    ids = [m.id for m in yoyo.read_migrations(str(sources.resources("migrations")))]
    with _translated(), _connect(database_url) as connection:
        if _scalar(connection, "select to_regclass('public._yoyo_migration')") is None:
            return SchemaStatus([], ids)
        done = {row[0] for row in connection.execute("select migration_id from public._yoyo_migration")}
        applied, pending = [i for i in ids if i in done], [i for i in ids if i not in done]
        newer = dict.fromkeys(sorted(done - set(ids)), "a migration of a newer release")
        if _scalar(connection, "select to_regproc('public.installed_definition')") is None:
            missing = {} if pending else {_name(file): "not applied" for file in sources.sql_files()}
            return SchemaStatus(applied, pending, newer | missing)
        if BY_NAME in pending:
            return SchemaStatus(applied, pending, newer)
        return SchemaStatus(applied, pending, newer | drift.differences(connection, sources.sql_files()))


def _apply_sql(connection: psycopg.Connection[Any]) -> None:
    connection.execute("set local search_path = public, pg_temp")
    connection.add_notice_handler(lambda notice: log.warning("%s", notice.message_primary))
    _drop_sql(connection, keep=[sources.name_of(file) for file in sources.sql_files()])
    connection.execute("set local check_function_bodies = off")
    connection.execute("set local client_min_messages = warning")
    for file in sources.sql_files():
        try:
            connection.execute(file.read_bytes())
        except psycopg.Error as error:
            failure = _from_postgres(error)
            raise MigrationError(f"sql/{_name(file)}: {first_line(error)}", hint=failure.hint) from None
    drift.record(connection, sources.sql_files())


def _arrange(database_url: str) -> None:
    """Bring trades and candles to TimescaleDB, if there is one. Rows may move for long: without the locks of sql/."""
    with _connect(database_url) as connection:
        connection.execute("set local client_min_messages = warning")
        connection.execute("select public.arrange_hypertables()")


def _drop_sql(connection: psycopg.Connection[Any], keep: Sequence[str] = ()) -> None:
    """Drop what sql/ made, but for the files to keep: the tables it stands on are to go, or the file has."""
    connection.execute("set local search_path = public")
    connection.execute("set local client_min_messages = warning")
    statements = connection.execute(
        """
        with made as (select name from schema_objects where name <> all (%s))
        select format('drop view if exists %%s cascade', c.oid::regclass)
          from pg_class c join made on made.name = c.relname
         where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
        union all
        select format('drop function if exists %%s cascade', p.oid::regprocedure)
          from pg_proc p join made on made.name = p.proname
         where p.pronamespace = 'public'::regnamespace""",
        [list(keep)],
    ).fetchall()
    for (statement,) in statements:
        connection.execute(statement)
    connection.execute("delete from schema_objects where name <> all (%s)", [list(keep)])


def _connect(database_url: str, autocommit: bool = False) -> psycopg.Connection[Any]:
    """Connect without prepared statements and session settings, which a pooler would hand to others; what this relies
    on is set in a transaction, which is begun unless in autocommit. Raises DatabaseError for an encoding of no use."""
    url = conninfo(database_url, "settings-store migrate")
    connection = psycopg.connect(url, autocommit=autocommit, prepare_threshold=None)
    try:
        check_encoding(connection)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        if not autocommit:
            connection.execute(SETTLE)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _locked(database_url: str) -> Iterator[None]:
    """Let one migration run at a time. A lock of this transaction: it holds behind a transaction-mode
    pooler too, and goes with the process, however that ends."""
    with _translated(), _connect(database_url) as connection:
        connection.execute("select set_config('lock_timeout', %s, true)", (f"{LOCK_WAIT * 1000:.0f}",))
        try:
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK,))
        except psycopg.errors.LockNotAvailable:
            connection.rollback()
            holders = _scalar(connection, HOLDERS, LOCK)
            hint = "Let it end, or end it: select pg_terminate_backend(…)"
            raise MigrationError("another session holds the lock of migrate", detail=holders, hint=hint) from None
        yield


@contextmanager
def _yoyo(database_url: str) -> Iterator[tuple[Any, MigrationList]]:
    class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
        """yoyo's backend on any libpq connection string, which its own URL parser doesn't read."""

        def connect(self, dburi: Any) -> Any:
            return _connect(database_url, autocommit=True)

        def execute(self, sql: str, params: Any = None) -> Any:
            """Run every statement in a transaction, where what it relies on is set."""
            if self._in_transaction or sql in ("COMMIT", "ROLLBACK"):
                return super().execute(sql, params)
            with self.transaction():
                return super().execute(sql, params)

        def begin(self) -> None:
            super().begin()
            self.execute("set transaction isolation level read committed")
            self.execute(SETTLE)
            self.execute(f"set local lock_timeout = '{PATIENCE}s'")
            self.execute("set local search_path = public")

    backend = Backend(parse_uri("postgresql+psycopg:///"), "_yoyo_migration")
    with backend:
        backend.init_database()
        backend.break_lock()  # left by a migration that was killed: the lock that counts is ours
        with backend.lock():
            yield backend, yoyo.read_migrations(str(sources.resources("migrations")))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except psycopg.Error as error:
        if (interruption := interrupted(error)) is not None:
            raise interruption from None
        raise _from_postgres(error) from None


def _from_postgres(error: psycopg.Error) -> StoreError:
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        hint = "To migrate takes the tables' owner; the rest one of the roles of docs/security.md."
        return NotPermitted(f"not permitted: {first_line(error)}", hint=hint)
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(UNREACHABLE):
        return DatabaseUnavailable(f"PostgreSQL can't be reached: {first_line(error)}")
    return MigrationError(
        f"the migration failed: {first_line(error)}",
        hint=WAITED if isinstance(error, psycopg.errors.LockNotAvailable) else error.diag.message_hint,
    )


def _name(file: Path) -> str:
    """Name a file of sql/ as messages do: settings/x.sql."""
    return f"{file.parent.name}/{file.name}"


def _scalar(connection: psycopg.Connection[Any], query: LiteralString, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None
