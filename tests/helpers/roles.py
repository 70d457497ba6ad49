"""The four roles: who may do what, as sql/access/grants.sql has it, and sessions in a role."""

from __future__ import annotations

import re
from pathlib import Path

from psycopg.conninfo import make_conninfo

CHECKOUT = Path(__file__).parents[2]
OURS = CHECKOUT / "sql" / "access"
SECURITY = CHECKOUT / "docs" / "security.md"
ROLES = ("reader", "writer", "relay", "admin")


def granted(privileges: str) -> dict[str, tuple[str, ...]]:
    """Read from grants.sql who has just these privileges on what."""
    text = (OURS / "grants.sql").read_text()
    rows = re.findall(r"^ +\('(\w+)', +'([a-z ]+)', '([a-z, ]+)'\)", text, re.MULTILINE)
    return {name: tuple(roles.split()) for name, roles, has in rows if has == privileges}


FUNCTIONS = granted("execute")


def in_role(database_url: str, role: str, *, confined_to: str | None = None) -> str:
    """The URL by which a superuser's session is one in settings_<role> from its start."""
    confinement = f" -c settings_store.okx_uid={confined_to}" if confined_to else ""
    return make_conninfo(database_url, options=f"-c role=settings_{role}{confinement}")
