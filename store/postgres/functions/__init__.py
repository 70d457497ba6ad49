"""Every call of an SQL function: a module a subject of sql/, a Python function of the SQL function's name."""

from store.postgres.functions import (
    access,
    candles,
    catalogue,
    credentials,
    files,
    halts,
    history,
    locks,
    mirror,
    operations,
    rollouts,
    schedules,
    settings,
    templates,
    trades,
    users,
)

SUBJECTS = (
    access,
    candles,
    catalogue,
    credentials,
    files,
    halts,
    history,
    locks,
    mirror,
    operations,
    rollouts,
    schedules,
    settings,
    templates,
    trades,
    users,
)
