"""The guard of CSV cells: nothing that a spreadsheet would run leaves, and every text comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.files.spreadsheet import guarded, unguarded

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@pytest.mark.parametrize("start", STARTS)
def test_what_starts_a_formula_becomes_a_text(start: str) -> None:
    for text in (f"{start}cmd|' /C calc'!A0", start, f"{start}1+1", f"'{start}1+1", f"''{start}x"):
        assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "1", "-1", "+1", "-0.5", "-1e-7", "BTC-USDT-SWAP", "'", "it's", "{}", "1=1"])
def test_numbers_and_words_stay(text: str) -> None:
    assert guarded(text) == text == unguarded(text)


@given(st.text(st.sampled_from("'=+-@\t\r\n＝1.e a"), max_size=8) | st.text(max_size=8))
def test_every_text_comes_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not cell.startswith(STARTS) or float(cell) is not None
