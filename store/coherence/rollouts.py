"""The clock of rollouts, as the relay has it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from store.coherence.connections import Connections
from store.errors import DatabaseBusy, DatabaseReadOnly, DatabaseUnavailable, StoreError
from store.postgres import functions

LONGEST = 60.0  # seconds a turn may take

log = logging.getLogger("store.relay")


async def watch(stores: Connections, may_go_on: Callable[[], bool] = lambda: True) -> str | None:
    """Carry on all rollouts, turn by turn, until nobody's documents change any more; return what keeps them from that.

    Raises DatabaseUnavailable.
    """
    try:
        while may_go_on():
            async with asyncio.timeout(LONGEST):
                rows = await stores.database.fetch(functions.rollouts.watch_rollouts(None))
            for row in rows:
                if row["verdict"]:
                    level = logging.WARNING if row["verdict"] == "worse" else logging.INFO
                    log.log(level, "rollout %s, compared with its control group: %s", row["name"], row["verdict"])
            if not any(row["okx_uids"] for row in rows):
                break
    except TimeoutError:
        return f"a turn took more than {LONGEST:g} s"
    except StoreError as error:
        if isinstance(error, DatabaseUnavailable) and not isinstance(error, DatabaseReadOnly | DatabaseBusy):
            raise
        return str(error)
    return None
