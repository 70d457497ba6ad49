"""The alerts, by Prometheus's own test of rules: what is alerted to, and what isn't."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.prometheus
CASES = Path(__file__).with_name("alerts.yaml")


def test_alerts_are_for_what_a_person_must_do() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", CASES], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
