"""SyncSettingsStore has the methods of SettingsStore, in its types, too."""

from __future__ import annotations

import inspect
import os

import pytest

from store import SettingsStore, SyncSettingsStore
from tests.cli.conftest import CHECKOUT
from tests.cli.test_reference import UPDATE
from tests.store.api.sync_stub import stub
from tests.store.test_public_names import API

STUB = CHECKOUT / "store" / "api" / "sync.pyi"


def test_the_types_are_those_of_the_store() -> None:
    found = stub()
    if os.environ.get(UPDATE):
        STUB.write_text(found)
    assert STUB.read_text() == found, "run: make docs"


def test_it_has_the_methods_of_the_store_and_its_configuration() -> None:
    assert {name for name in dir(SyncSettingsStore) if not name.startswith("_")} == {*API, "config"}


@pytest.mark.parametrize("name", sorted(API))
def test_a_method_takes_what_that_of_the_store_takes_and_waits(name: str) -> None:
    own, theirs = getattr(SyncSettingsStore, name), getattr(SettingsStore, name)
    assert not inspect.iscoroutinefunction(own)
    assert inspect.getdoc(own)
    signatures = [inspect.signature(each) for each in (own, theirs)]
    taken = [
        [(parameter.name, parameter.kind, parameter.default) for parameter in signature.parameters.values()]
        for signature in signatures
    ]
    assert taken[0] == taken[1]
    returned = str(signatures[0].return_annotation)
    assert "Async" not in returned
