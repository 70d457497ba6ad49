"""The four roles: who may call what, as sql/roles/grants.sql has it, and sessions in a role."""

from __future__ import annotations

import re
from pathlib import Path

from psycopg.conninfo import make_conninfo

GRANTS = Path(__file__).parents[2] / "sql" / "roles" / "grants.sql"
ROLES = ("reader", "writer", "relay", "admin")


def granted(privileges: str) -> dict[str, tuple[str, ...]]:
    """Read from grants.sql who has these privileges on what."""
    rows = re.findall(r"^ +\('(\w+)', +'([a-z ]+)', '([a-z, ]+)'\)", GRANTS.read_text(), re.MULTILINE)
    return {name: tuple(roles.split()) for name, roles, has in rows if has == privileges}


FUNCTIONS = granted("execute")


def in_role(database_url: str, role: str) -> str:
    """The URL by which a superuser's session is one in settings_<role> from its start."""
    return make_conninfo(database_url, options=f"-c role=settings_{role}")
