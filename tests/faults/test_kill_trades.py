"""An import of trades that is killed or interrupted recorded nothing, and the next one takes it all."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store import Config
from store.files.trades import BATCH
from tests.cli.conftest import CHECKOUT, SCRIPT, environment
from tests.conftest import OKX_UID
from tests.faults.servers import wait_until
from tests.faults.test_kill import is_alone
from tests.helpers.trades import trade

pytestmark = pytest.mark.slow

TRADES = BATCH + 20  # so that the import is two queries of one transaction
Db = psycopg.Connection[dict[str, Any]]


def counts(db: Db) -> tuple[int, int]:
    row = db.execute("select (select count(*) from trades) as t, (select count(*) from trade_orders) as o").fetchone()
    assert row is not None
    return row["t"], row["o"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_an_import_ended_in_its_second_query_recorded_nothing(
    config: Config, db: Db, connect: Callable[[], Db], tmp_path: Path, number: signal.Signals
) -> None:
    db.execute("select ensure_user(%s)", (OKX_UID,))
    path = tmp_path / "trades.jsonl"
    path.write_text("\n".join(json.dumps({"okx_uid": OKX_UID, **trade(n)}) for n in range(TRADES)))
    command = [str(SCRIPT), "trades", "import", str(path)]
    rival = connect()
    waiting = "select count(*) as n from pg_stat_activity a where %s = any (pg_blocking_pids(a.pid))"

    def is_blocked() -> bool:
        row = db.execute(waiting, (rival.info.backend_pid,)).fetchone()
        return row is not None and row["n"] == 1

    with rival.transaction(force_rollback=True):
        rival.execute("select record_trade(%s, %s)", (OKX_UID, json.dumps(trade(TRADES - 1))))
        with subprocess.Popen(
            command, env=environment(config), cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_until(is_blocked)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert (out, "Traceback" in err) == ("", False)
    rival.close()
    wait_until(lambda: is_alone(db))
    assert counts(db) == (0, 0)

    done = subprocess.run(command, env=environment(config), cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == f"recorded {TRADES} trades, 0 known already\n"
    assert counts(db) == (TRADES, TRADES)
