"""docs/cli.md is what the commands' help says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from store import Config
from store.config import VARIABLES, names
from store.encryption.vault import Vault
from tests.cli.conftest import CHECKOUT
from tests.cli.reference import reference
from tests.cli.test_help import COMMANDS

DOCS = CHECKOUT / "docs" / "cli.md"
UPDATE = "SETTINGS_STORE_UPDATE_DOCS"


def test_the_cli_reference_is_what_the_help_says() -> None:
    found = reference()
    if os.environ.get(UPDATE):
        DOCS.write_text(found)
    assert found == DOCS.read_text(), "docs/cli.md is not what the help says; if this change is meant: make docs"


def test_every_command_has_its_heading_usage_and_example() -> None:
    blocks = {block.splitlines()[0]: block for block in reference().split("\n### ")[1:]}
    assert set(blocks) == {" ".join(("settings-store", *path)) for path in COMMANDS if path}
    for name, block in blocks.items():
        assert f"```\n{name} " in block or f"```\n{name}\n" in block, block
        assert "```sh\n" in block


class Asked(Mapping[str, str]):
    """An environment with nothing in it, that remembers what it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def test_every_variable_that_is_read_is_explained() -> None:
    asked = Asked()
    Config.from_env(asked)
    Vault.from_env(asked)
    assert asked.names == {name for variable in VARIABLES for name in names(variable)}
