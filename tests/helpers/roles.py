"""The four roles: who may call what, as the files of sql/ have it, and sessions in a role."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from store.postgres.sources import kind_of, name_of, resources, rights_of, sql_files

OURS = resources("sql") / "access"
ROLES = ("reader", "writer", "relay", "admin")
FUNCTIONS = {name_of(file): tuple(rights_of(file) or ()) for file in sql_files() if kind_of(file) == "function"}


def in_role(database_url: str, role: str, *, confined_to: str | None = None) -> str:
    """The URL by which a superuser's session is one in settings_<role> from its start."""
    confinement = f" -c settings_store.okx_uid={confined_to}" if confined_to else ""
    return make_conninfo(database_url, options=f"-c role=settings_{role}{confinement}")
