"""Cells of CSV files that a spreadsheet would run as a formula get a guard, which an import takes off again."""

from __future__ import annotations

import re

# What starts a formula, in full width too, or is cut off before one. A ' in front makes the cell a text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")


def guarded(cell: str) -> str:
    """Put a ' before what would be a formula, and before such a guard, so that unguarded() gives back every text.
    Numbers stay numbers."""
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def unguarded(cell: str) -> str:
    """Take the guard off."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell, 1) else cell
