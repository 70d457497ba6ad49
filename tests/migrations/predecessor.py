"""The predecessor's database: its users, and looks at its rows."""

from __future__ import annotations

from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

KIM = "00000000-0000-0000-0000-000000000001"
KIM_AGAIN = "00000000-0000-0000-0000-000000000002"
WEB_ONLY = "00000000-0000-0000-0000-000000000003"
MIXED_UP = "00000000-0000-0000-0000-000000000004"
GONE = "00000000-0000-0000-0000-000000000005"
GONE_TOO = "00000000-0000-0000-0000-000000000006"
LEE = "00000000-0000-0000-0000-000000000007"
PARK = "00000000-0000-0000-0000-000000000008"


def rows(connection: Connection, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode(), parameters or None).fetchall()


def everything(connection: Connection) -> dict[str, list[str]]:
    """All rows of the predecessor's tables, as text."""
    tables = ("app_users", "user_settings", "okx_api_info", "payments")
    return {name: [r[0] for r in rows(connection, f"select t::text from {name} t order by 1")] for name in tables}
