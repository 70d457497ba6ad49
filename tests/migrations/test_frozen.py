"""A released migration is never edited: databases that applied it would not notice."""

from __future__ import annotations

import hashlib
from pathlib import Path

MIGRATIONS = Path(__file__).parents[2] / "migrations"
FROZEN = Path(__file__).with_name("frozen.sha256")


def frozen() -> dict[str, str]:
    lines = [line.split() for line in FROZEN.read_text().splitlines()]
    return {name: sha256 for sha256, name in lines}


def present() -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(MIGRATIONS.glob("*.sql"))}


def test_no_released_migration_was_edited_or_removed() -> None:
    now = present()
    changed = [name for name, sha256 in frozen().items() if now.get(name) != sha256]
    assert not changed, f"released migrations are frozen; undo the edit and write a new migration: {changed}"


def test_every_migration_is_listed() -> None:
    new = sorted(set(present()) - set(frozen()))
    freeze = f"cd migrations && sha256sum {' '.join(new)} >> ../tests/migrations/frozen.sha256"
    assert not new, f"a new migration is frozen with its release: {freeze}"


def test_every_migration_has_its_rollback() -> None:
    names = set(present())
    forward = {name for name in names if not name.endswith(".rollback.sql")}
    assert forward
    assert {name.replace(".sql", ".rollback.sql") for name in forward} == names - forward
