"""The fuzz of Redis's content, briefly; `python -m tests.faults.fuzz --seconds 600` runs it at length."""

from __future__ import annotations

import pytest

from tests.faults.fuzz import run

pytestmark = pytest.mark.slow


def test_nothing_in_redis_stops_a_job_or_a_user() -> None:
    assert run(seconds=600, seed=7, rounds=3) == []
