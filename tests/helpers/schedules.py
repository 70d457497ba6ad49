"""Scheduled changes in tests: made, and their time let pass."""

from __future__ import annotations

import json
from typing import Any

from tests.conftest import Rows
from tests.helpers.sessions import Connection, fetch, one, value

LATER, END = "now() + interval '1 hour'", "now() + interval '2 hours'"


def schedule(db: Connection, who: str, what: str, more: str = "") -> int:
    """Schedule a change of params an hour from now; `what`: the arguments that say which."""
    return int(value(db, f"select id from schedule_change(%s, 'params', {what}, p_at => {LATER}{more})", (who,)))


def patch(db: Connection, who: str, document: dict[str, Any], more: str = "") -> int:
    return schedule(db, who, f"'{json.dumps(document)}'", more)


def temporary(db: Connection, who: str, document: dict[str, Any]) -> int:
    """Change params now, for two hours."""
    call = "select id from schedule_change(%s, 'params', %s, p_for => '2 hours')"
    return int(value(db, call, (who, json.dumps(document))))


def pass_time(db: Connection, *ids: int) -> None:
    """Let what is to come of schedules be due, as it will be one day."""
    for each in ids:
        fetch(
            db,
            "update scheduled_change_users set due_at = now() where schedule_id = %s and due_at is not null",
            (each,),
        )
        fetch(
            db,
            "update scheduled_changes set due_at = now(), at = least(at, now()),"
            " until = case state when 'active' then least(until, now()) else until end"
            " where id = %s and due_at is not null",
            (each,),
        )


def run(db: Connection) -> Rows:
    return fetch(db, "select * from run_due_changes()")


def after(db: Connection, *ids: int) -> None:
    pass_time(db, *ids)
    run(db)


def params(db: Connection, who: str) -> Any:
    return value(
        db, "select settings from user_settings where okx_uid = %s and setting_type = 'params' and is_active", (who,)
    )


def version(db: Connection, who: str) -> dict[str, Any]:
    query = (
        "select version, changed_by, change_reason from user_settings"
        " where okx_uid = %s and setting_type = 'params' and is_active"
    )
    return one(db, query, (who,))


def row(db: Connection, id: int) -> dict[str, Any]:
    return one(db, "select * from list_scheduled_changes(p_id => %s)", (id,))
