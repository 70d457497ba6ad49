"""docs/sql.md is what the database says of itself."""

from __future__ import annotations

import os
from pathlib import Path

from tests.sql.reference import reference

DOCS = Path(__file__).parents[2] / "docs" / "sql.md"
UPDATE = "SETTINGS_STORE_UPDATE_DOCS"


def test_the_sql_reference_is_what_the_database_says(database_url: str) -> None:
    found = reference(database_url)
    if os.environ.get(UPDATE):
        DOCS.write_text(found)
    assert found == DOCS.read_text(), "docs/sql.md is not what the database says; if this change is meant: make docs"


def test_every_function_and_table_is_there_with_its_comment(database_url: str) -> None:
    blocks = reference(database_url).split("\n### ")[1:]
    assert len(blocks) > 100
    headings = {block.splitlines()[0].split("`")[1] for block in blocks}
    assert {"upsert_user_setting", "user_settings", "mirror_source", "trade_figures", "list_users"} <= headings
    for block in blocks:
        rights = ("Volatile", "Stable", "Immutable", "Directly", "Nobody's", "Columns: those")
        assert [line for line in block.splitlines() if line[:1].isupper() and not line.startswith(rights)], block
