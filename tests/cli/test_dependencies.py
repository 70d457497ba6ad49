"""What development and CI install: .ci/requirements.txt, which `make lock` writes from pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cli.conftest import CHECKOUT

LOCK = (CHECKOUT / ".ci" / "requirements.txt").read_text()
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
WANTED = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"],
          *chain.from_iterable(PROJECT["project"]["optional-dependencies"].values())]  # fmt: skip
PINNED = [Requirement(line.removesuffix(" \\")) for line in LOCK.splitlines() if re.match("[a-z]", line)]


@pytest.mark.parametrize("wanted", [Requirement(text) for text in WANTED], ids=lambda wanted: wanted.name)
def test_what_is_needed_is_pinned_as_pyproject_allows(wanted: Requirement) -> None:
    pins = [pin for pin in PINNED if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
    assert pins, "run: make lock"
    for pin in pins:
        (version,) = pin.specifier
        assert version.operator == "=="
        assert wanted.specifier.contains(version.version), "run: make lock"


def test_every_pin_has_its_hashes_and_nothing_else() -> None:
    assert all(
        re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in LOCK.splitlines() if line[0] == " "
    )
    assert len(re.findall(r"(?m)^[a-z].* \\\n    --hash", LOCK)) == len(PINNED)
    assert "://" not in LOCK
