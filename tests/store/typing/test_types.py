"""The types say what the methods return: mypy --strict reads a program that uses them."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

from tests.cli.conftest import CHECKOUT

pytestmark = pytest.mark.slow

USES = Path(__file__).with_name("uses.py")
# As a user's program is checked: strictly. What others install is left out, which takes most of the time.
CONFIG = """
[mypy]
strict = true
explicit_package_bases = true
cache_dir = {cache}
[mypy-psycopg.*,redis.*,cryptography.*,click.*,rich.*,numpy.*,plotly.*,prometheus_client.*,yoyo.*,psutil.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-store.*]
ignore_errors = true
"""


def check(program: Path, folder: Path) -> str:
    config = folder / "mypy.ini"
    config.write_text(CONFIG.format(cache=CHECKOUT / ".mypy_cache" / "uses"))
    out, err, _ = api.run(["--config-file", str(config), str(program)])
    return out + err


def test_each_line_is_right_or_wrong_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    assert "Success: no issues found in 1 source file" in check(USES, tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text(USES.read_text().replace("Setting[Model]", "Setting[Data]").replace('"param"', '"params"'))
    found = check(wrong, tmp_path)
    assert found.count("[assert-type]") == 2
    assert found.count("[unused-ignore]") == 1
