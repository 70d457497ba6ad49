"""A test's database, handed on to the next test if it can be made as it was: that takes a quarter of a copy's work.

Rows are deleted, sequences set back. If then anything else than the freshly copied database is there (an object, a
seed, a setting, statistics, a table of more pages than the planner takes an unknown one to have), it is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.conninfo import make_conninfo
from pytest_postgresql.janitor import DatabaseJanitor

LOCK_TIMEOUT = 5000  # ms
PLANNERS_PAGES = 10  # that a table which was never vacuumed has at least, to the planner

ALONE = f"""
set lock_timeout = {LOCK_TIMEOUT};
set session_replication_role = replica;
select pg_terminate_backend(pid, {LOCK_TIMEOUT}) from pg_stat_activity
 where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
TABLES = """
select oid::regclass::text from pg_class
 where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1"""
SEQUENCES = """
select format('select setval(%L, %s, %L)', seqrelid::regclass, coalesce(last_value, seqstart), last_value is not null)
  from pg_sequence, pg_sequence_last_value(seqrelid) last_value"""
# Where what is made, changed or dropped shows; what has no line of its own here is in pg_depend at least.
CATALOGUES = (
    "class", "attribute", "attrdef", "index", "constraint", "trigger", "proc", "type", "rewrite", "policy", "statistic",
    "statistic_ext", "default_acl", "init_privs", "extension", "event_trigger", "publication", "cast", "depend",
)  # fmt: skip
ROWS = "select '{0}', count(*)::text, count(*) filter (where age(xmin) < age('{1}'::xid))::text from {0}"
ELSE = f"""
select 'schemas', string_agg(nspname || coalesce(nspacl::text, ''), ' ' order by nspname), null
  from pg_namespace where nspname !~ '^pg_'
union all select 'comments', count(*)::text, max(xmin::text::bigint)::text from pg_description where objoid >= 16384
union all select 'statistics', sum(relpages)::text, sum(reltuples)::text from pg_class
union all select 'sequences', string_agg(concat(sequencename, ' ', last_value), ', ' order by sequencename), null
  from pg_sequences
union all select 'settings', count(*)::text, null from pg_db_role_setting s
  join pg_database d on d.oid = s.setdatabase where d.datname = current_database()
union all select 'database', d.datdba::text, d.datacl::text from pg_database d where datname = current_database()
union all select 'slots', count(*)::text, null from pg_replication_slots where database = current_database()
union all select 'large tables', count(*)::text, null from pg_class
 where relkind in ('r', 't') and oid >= 16384 and pg_relation_size(oid) > {PLANNERS_PAGES} * 8192"""


class Databases:
    """Clones of a template. `janitor` makes and drops them, by name and template."""

    def __init__(self, url: str, template: str, janitor: Callable[..., DatabaseJanitor], *, is_reusing: bool) -> None:
        self._url, self._template, self._janitor, self._is_reusing = url, template, janitor, is_reusing
        self._spare: list[str] = []
        self._reset, self._query, self._new = b"", b"", list[Any]()

    @contextmanager
    def one(self) -> Iterator[str]:
        """Lend a database that nobody else uses; its URL."""
        name = self._spare.pop() if self._spare else self._clone()
        try:
            yield make_conninfo(self._url, dbname=name)
        finally:
            if self._is_as_new(name):
                self._spare.append(name)
            else:
                self._janitor(self._url, name).drop()

    def drop(self) -> None:
        """Drop those that are left."""
        for name in self._spare:
            self._janitor(self._url, name).drop()

    def _clone(self) -> str:
        name = f"test_{uuid4().hex[:12]}"
        self._janitor(self._url, name, self._template).init()
        if self._is_reusing and not self._new:
            with psycopg.connect(self._url, dbname=name, autocommit=True) as connection:
                self._learn(connection)
        return name

    def _learn(self, connection: psycopg.Connection[Any]) -> None:
        """Write the statements that empty a database, and note what a new one has."""
        tables = [name for (name,) in connection.execute(TABLES)]
        seeded = [name for name in tables if connection.execute(f"select from {name} limit 1".encode()).fetchall()]
        emptied = [f"delete from {name}" for name in tables if name not in seeded]
        set_back = [statement for (statement,) in connection.execute(SEQUENCES)]
        self._reset = "; ".join([ALONE, *emptied, *set_back]).encode()
        now = connection.execute("select pg_current_xact_id()::text").fetchall()[0][0]
        looked_at = [*seeded, *(f"pg_{name}" for name in CATALOGUES)]
        self._query = " union all ".join([*(ROWS.format(name, now) for name in looked_at), ELSE]).encode()
        self._new = connection.execute(self._query).fetchall()

    def _is_as_new(self, name: str) -> bool:
        """Empty a database; tell whether it is as it was."""
        if not self._is_reusing:
            return False
        try:
            with psycopg.connect(self._url, dbname=name, autocommit=True) as connection:
                connection.execute(self._reset)
                return connection.execute(self._query).fetchall() == self._new
        except psycopg.Error:
            return False
