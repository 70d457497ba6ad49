"""The relay's probe is no user: what a command says of everybody leaves it out, and a backup, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.encryption.vault import generate_key
from store.mirror.keys import PROBE
from tests.cli.conftest import Cli
from tests.cli.test_json import SECRETS, SHAPES
from tests.conftest import OKX_UID

Db = psycopg.Connection[dict[str, Any]]
OF_EVERYBODY = [
    line
    for line in SHAPES
    if OKX_UID not in line
    and not line.startswith(("watch", "candles", "migrate", "embedded", "trades import", "schedule cancel"))
]


@pytest.fixture
def probed(db: Db, kim: str) -> str:
    """The user kim, beside the probe, whose documents were written twice."""
    for word in ("one", "two"):
        db.execute("select write_probe(s, %s) from unnest('{params,preferences,dual_side:A-B}'::text[]) s", (word,))
    return kim


def test_no_command_names_it_or_counts_it(inside: Cli, probed: str, db: Db, tmp_path: Path) -> None:
    inside = replace(inside, cwd=tmp_path)
    inside.env["SETTINGS_STORE_KEYS"] = generate_key()
    outputs = {}
    for line in OF_EVERYBODY:
        if line.startswith("import"):
            (tmp_path / "export").write_text(inside("export", "--all").out)
        done = inside.run(*line.split(), "--json", stdin=SECRETS)
        assert (done.code, done.err) == (0, ""), (line, done)
        outputs[line] = done.json
        assert PROBE not in done.out, line
    assert len(outputs) > 15
    rows = {name: table["rows"] for name, table in outputs["backup backup.zip"]["tables"].items()}
    status = outputs["status"]["postgresql"]
    restored = outputs["restore-backup backup.zip --replace --yes"]
    assert rows["app_users"] == rows["telegram_links"] == status["users"] == restored["users"] == 1
    assert rows["user_settings"] == status["versions"] == restored["versions"]
    assert outputs["prune --keep 1 --older-than 0"]["versions"] == {"params": 3}  # kim's
    db.execute("select delete_user(probe_okx_uid())")
    assert inside("user", "list", "--deleted", "--json").json == []


def test_a_restore_leaves_it_as_it_is(inside: Cli, probed: str, db: Db, tmp_path: Path) -> None:
    """Redis has its documents, and relays go on probing."""
    query = "select version, settings from user_settings where okx_uid = probe_okx_uid() order by id"
    before = db.execute(query).fetchall()
    file = str(tmp_path / "backup.zip")
    inside("backup", file)
    inside("relay", "--once")
    assert inside.run("restore-backup", file).code == 1  # not empty
    for how in (("--replace", "--yes"), ("--merge",)):
        restored = inside("restore-backup", file, *how, "--json").json
        assert (restored["users"], restored["mirrored"], restored["unknown"]) == (1, True, 0)
        assert db.execute(query).fetchall() == before
        assert inside("verify", "--json").json["findings"] == {}
    inside("user", "erase", OKX_UID, "--yes")
    db.execute("truncate setting_templates")
    inside("restore-backup", file)  # an empty database, though there is the probe


def test_what_redis_has_of_it_is_kept_equal(inside: Cli, probed: str, db: Db) -> None:
    inside("relay", "--once")
    assert inside("verify", "--okx-uid", PROBE, "--json").json["checked"] > 3
    assert inside("sync", "--json").json["keys"] == []
    assert inside("get", PROBE, "params", "--json").json["settings"]["probe"] == "two"
    assert "no user" in inside.fails(1, "register", PROBE)
