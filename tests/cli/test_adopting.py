"""migrate on the predecessor's database, as its operator meets it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from store import Config
from store.encryption.vault import generate_key
from tests.cli.conftest import Cli, environment

pytestmark = pytest.mark.slow

ROWS = Path(__file__).parents[1] / "migrations"
KEY = generate_key()


@pytest.fixture
def operator(servers: Config, empty_database_url: str, redis: object) -> Cli:
    """The command line on the predecessor's database, and an empty Redis."""
    with psycopg.connect(empty_database_url) as connection:
        for name in ("predecessor.sql", "predecessor_rows.sql"):
            connection.execute((ROWS / name).read_bytes())
    env = environment(replace(servers, database_url=empty_database_url))
    return Cli({**env, "SETTINGS_STORE_KEYS": KEY}, is_inside=True)


def test_it_is_rehearsed_done_listed_and_taken_back(operator: Cli) -> None:
    rehearsed = operator("migrate", "--dry-run").lines
    assert rehearsed[0] == "would apply 0001_users"
    assert "would take over 4 rows of app_users" in rehearsed
    assert any("it has no OKX UID" in line for line in rehearsed)
    assert rehearsed[-1] == "nothing was changed"
    assert operator("migrate", "apply", "--dry-run").lines == rehearsed

    done = operator("migrate").lines
    assert done[-1] == "the database is up to date"
    assert "adopted the predecessor's tables; what couldn't be taken: 12 rows" in done
    assert not any("plain text" in line for line in done)
    listed = operator("migrate", "quarantine", "--json").json
    assert len(listed) == 12
    assert set(listed[0]) == {"table_name", "id", "is_taken", "reason"}
    assert [line for line in rehearsed if "not taken" in line] == [
        line for line in operator("migrate", "quarantine").lines if "not taken" in line
    ]
    assert operator("get", "587662504768345929", "preferences", "--json").json["settings"] == {"symbol": "ETH"}
    assert operator("migrate", "--dry-run").lines == ["the database is up to date"]
    assert operator("migrate").lines == ["the database is up to date"]

    operator.fails(1, "migrate", "rollback", "--all", "--yes", SETTINGS_STORE_KEYS=generate_key())
    assert operator("migrate", "rollback", "--all", "--yes").lines[-1] == "rolled back 0001_users"
    again = operator("migrate", "--dry-run").lines
    assert [line for line in again if "app_users" in line] == [line for line in rehearsed if "app_users" in line]


def test_without_an_encryption_key_it_says_what_to_do(operator: Cli, tmp_path: Path) -> None:
    done = operator.run("migrate", SETTINGS_STORE_KEYS="", SETTINGS_STORE_HOME=str(tmp_path))
    assert "the API keys are plain text still: give an encryption key, and run keys encrypt-existing" in done.out
    operator("keys", "show", "587662504768345929")


def test_dry_run_goes_with_migrate_alone(operator: Cli) -> None:
    assert "--dry-run and --json go with" in operator.fails(2, "migrate", "--dry-run", "status")


def test_a_database_that_lags_behind_is_told(operator: Cli, inside: Cli) -> None:
    inside("migrate", "rollback", "--yes")
    lines = inside("migrate", "--dry-run").lines
    assert lines[0].startswith("would apply 00")
    assert lines[-1] == "nothing was changed"
