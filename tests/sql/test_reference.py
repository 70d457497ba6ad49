"""docs/sql.md, and the rights in docs/security.md, are what the database says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sql.reference import reference, with_rights

DOCS = Path(__file__).parents[2] / "docs"
UPDATE = "SETTINGS_STORE_UPDATE_DOCS"


@pytest.mark.parametrize("name", ["sql.md", "security.md"])
def test_the_page_is_what_the_database_says(database_url: str, name: str) -> None:
    page = DOCS / name
    found = reference(database_url) if name == "sql.md" else with_rights(page.read_text(), database_url)
    if os.environ.get(UPDATE):
        page.write_text(found)
    assert found == page.read_text(), f"docs/{name} is not what the database says; if this change is meant: make docs"


def test_every_function_and_table_is_there_with_its_comment(database_url: str) -> None:
    blocks = reference(database_url).split("\n### ")[1:]
    assert len(blocks) > 100
    headings = {block.splitlines()[0].split("`")[1] for block in blocks}
    assert {"upsert_user_setting", "user_settings", "mirror_source", "trade_figures", "list_users"} <= headings
    for block in blocks:
        rights = ("Volatile", "Stable", "Immutable", "Directly", "Nobody's", "Columns: those")
        assert [line for line in block.splitlines() if line[:1].isupper() and not line.startswith(rights)], block
