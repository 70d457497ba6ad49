"""The fault driver, briefly; `make soak OPS=1000000` runs it at length."""

from __future__ import annotations

import pytest

from tests.faults.soak import run

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("rogue", [False, True])
def test_no_acknowledged_value_is_lost_and_both_sides_end_equal(rogue: bool) -> None:
    assert run(ops=4000, processes=3, seed=11 + rogue, rogue=rogue) == []
