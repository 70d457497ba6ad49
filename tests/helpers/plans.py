"""The plans that PostgreSQL used for a call, those of the statements within functions and triggers included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from store.postgres.call import Call
from tests.helpers.sessions import Connection

EXPLAIN = """
load 'auto_explain';
set auto_explain.log_min_duration = 0;
set auto_explain.log_analyze = on;
set auto_explain.log_timing = off;
set auto_explain.log_nested_statements = on;
set auto_explain.log_format = json;
set client_min_messages = log
"""
MODES = ("force_custom_plan", "force_generic_plan")  # PL/pgSQL plans for the parameters at first, later maybe for any


@dataclass(frozen=True)
class Scan:
    """One node of a plan that reads a table. `rows`: read of it, whether they were wanted or not."""

    table: str
    way: str
    indexes: tuple[str, ...]
    rows: int
    query: str


@dataclass(frozen=True)
class Execution:
    """A statement: the kinds of its plan's nodes, the tables they read or write, and how many rows they handled."""

    query: str
    kinds: set[str]
    tables: set[str]
    rows: int


@contextmanager
def explaining(url: str) -> Iterator[Connection]:
    """Open a session that tells its plans; see scans(). As a superuser."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        connection.execute(EXPLAIN)
        yield connection


def scans(
    connection: Connection, call: Call, modes: Sequence[str] = MODES, first: int | None = None, before: str = ""
) -> list[Scan]:
    """Run a call with each kind of plan, undo what it wrote, and return what read tables. `first`: stream it, and
    stop after so many rows. `before`: statements to run first."""
    return [
        scan for plan in _plans(connection, call, modes, first, before) for scan in _scans(plan["Plan"], _query(plan))
    ]


def rows_handled(connection: Connection, call: Call, mode: str, before: str) -> dict[str, int]:
    """Run a call after other statements, undo it all, and return how many rows the nodes of each statement's plan
    handled together, those that were thrown away included."""
    handled: dict[str, int] = {}
    for each in executions(connection, call, mode, before):
        handled[each.query] = handled.get(each.query, 0) + each.rows
    return handled


def executions(connection: Connection, call: Call, mode: str, before: str = "") -> list[Execution]:
    """Run a call after other statements, undo it all, and return what was executed for it."""
    found = []
    for plan in _plans(connection, call, [mode], None, before):
        nodes = list(_nodes(plan["Plan"]))
        tables = {node["Relation Name"] for node in nodes if "Relation Name" in node}
        kinds = {node["Node Type"] for node in nodes}
        found.append(Execution(_query(plan), kinds, tables, sum(map(_rows, nodes))))
    return found


def _plans(
    connection: Connection, call: Call, modes: Sequence[str], first: int | None, before: str = ""
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def note(message: psycopg.errors.Diagnostic) -> None:
        text = message.message_primary or ""
        if message.severity_nonlocalized == "LOG" and "plan:\n" in text:
            found.append(json.loads(text.split("plan:\n", 1)[1]))

    for mode in modes:
        with connection.transaction(force_rollback=True):
            connection.execute(f"set local plan_cache_mode = {mode}; {before}".encode())
            connection.add_notice_handler(note)
            try:
                if first is None:
                    connection.execute(call.query, call.params)
                    continue
                with connection.cursor("streamed") as cursor:
                    cursor.execute(call.query, call.params)
                    assert len(cursor.fetchmany(first)) == first
            finally:
                connection.remove_notice_handler(note)
    return found


def _query(plan: Mapping[str, Any]) -> str:
    return " ".join(plan["Query Text"].split())


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _rows(node: Mapping[str, Any]) -> int:
    removed = sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck", "Join Filter"))
    return int((node["Actual Rows"] + removed) * node["Actual Loops"] + 0.5)


def _scans(plan: Mapping[str, Any], query: str) -> Iterator[Scan]:
    for node in _nodes(plan):
        if "Relation Name" in node and node["Node Type"] != "ModifyTable":
            yield Scan(node["Relation Name"], node["Node Type"], tuple(sorted(_indexes(node))), _rows(node), query)


def _indexes(node: Mapping[str, Any]) -> set[str]:
    """Name the indexes that a scan used: its own, or those of the bitmap below it."""
    own = {node["Index Name"]} if "Index Name" in node else set()
    if "Bitmap" in node["Node Type"]:
        return own.union(*(_indexes(below) for below in node.get("Plans", ())))
    return own
