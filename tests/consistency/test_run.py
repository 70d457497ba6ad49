"""Clients amid faults, briefly; `make consistency OPS=1000000` runs them at length."""

from __future__ import annotations

import pytest

from tests.consistency.run import Plan, run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("rogues", [0, 1])
def test_clients_amid_faults_see_what_is_promised(rogues: int) -> None:
    assert run(Plan(ops=4000, seed=11 + rogues, processes=3, rogues=rogues)).violations == []
