"""The command report: a page in a file of one's own, or on standard output."""

from __future__ import annotations

import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.helpers.pages import Page
from tests.helpers.season import BTC

TRADES = "docs/examples/trades.csv"


@pytest.fixture
def traded(inside: Cli, kim: str) -> str:
    """A user with the trades and candles of the examples."""
    inside("trades", "import", TRADES)
    inside("candles", "import", "docs/examples/btc.csv", "--timeframe", "1m", "--symbol", BTC)
    return kim


def test_page_is_written_as_a_file_of_ones_own(inside: Cli, traded: str, tmp_path: Path) -> None:
    here, file = replace(inside, cwd=tmp_path), tmp_path / "report.html"
    file.write_text("older")
    assert here.run("report", traded, "-o", "report.html").err == "wrote report.html\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"Kim · {traded}" in Page(file.read_text(encoding="utf-8")).words
    assert list(tmp_path.iterdir()) == [file]
    before = file.read_bytes()
    assert "1000000000000009" in here.fails(1, "report", "1000000000000009", "-o", "report.html")
    assert (file.read_bytes(), list(tmp_path.iterdir())) == (before, [file])
    here.fails(1, "report", traded, "-o", "no/such/folder.html")


def test_page_goes_to_standard_output(inside: Cli, traded: str) -> None:
    pages = [Page(inside("report", *words).out) for words in ((traded,), (traded, "-o", "-"), ("--all",))]
    assert [heading for heading, _ in pages[0].figures] == [heading for heading, _ in pages[1].figures]
    assert "All users" in pages[2].words


def test_options_choose_what_is_shown(inside: Cli, traded: str) -> None:
    words = ("--side", "long", "--since", "2026-11-22T00:00Z", "--timeframe", "1m", "--by-setting", "params.direction")
    page = Page(inside("report", traded, *words).out)
    assert "Trades long only, closed from 2026-11-22 00:00 on" in page.words
    assert "short entry" not in str(page.figure(BTC))
    assert "Candles of 1m" in page.words


@pytest.mark.parametrize("words", [(), ("587662504768345929", "--all")])
def test_a_user_or_all_must_be_named(inside: Cli, words: tuple[str, ...]) -> None:
    assert "Give an IDENTIFIER, or --all." in inside.fails(2, "report", *words)


def test_missing_extra_is_one_clear_error(
    inside: Cli, kim: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    told = inside.fails(2, "report", kim, "-o", str(tmp_path / "report.html"))
    assert told == "Error: a report needs plotly, which isn't installed\n  pip install 'settings-store[report]'\n"
    assert list(tmp_path.iterdir()) == []
