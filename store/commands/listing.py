"""Lists of any length: printed as they come, so that none is ever held as a whole."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from io import TextIOWrapper
from typing import Any, Generic, Protocol, TypeVar

from store.commands.output import json_text, print_table, print_text
from store.files.spreadsheet import guarded
from store.shown import shown

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

ROWS = 500  # of a table that line up with each other, and begin to be printed together


class Printer(Protocol[T_contra]):
    """Prints one item after the other."""

    def add(self, item: T_contra) -> None: ...

    def end(self) -> None: ...


async def print_list(items: AsyncGenerator[T], printer: Printer[T]) -> tuple[int, T | None]:
    """Print items as they come; return how many there were, and the last. Nothing is printed of none that fails."""
    count, last = 0, None
    async with aclosing(items):
        async for item in items:
            printer.add(item)
            count, last = count + 1, item
    printer.end()
    return count, last


class JsonList(Generic[T]):
    """Prints an array, as print_json() prints it whole."""

    def __init__(self, to_json: Callable[[T], Any] = lambda item: item) -> None:
        self._to_json = to_json
        self._begin = "["

    def add(self, item: T) -> None:
        text = json_text(self._to_json(item)).replace("\n", "\n  ")
        print_text(f"{self._begin}\n  {text}", nl=False)
        self._begin = ","

    def end(self) -> None:
        print_text("[]" if self._begin == "[" else "\n]")


class Table(Generic[T]):
    """Prints a table in pieces, whose columns are as wide as in those before, or wider. `is_shown_empty`: the heading,
    though there is no row."""

    def __init__(
        self, columns: Sequence[str], to_row: Callable[[T], tuple[str, ...]], *, is_shown_empty: bool = True
    ) -> None:
        self._columns: Sequence[str] = columns
        self._to_row = to_row
        self._is_shown_empty = is_shown_empty
        self._rows: list[tuple[str, ...]] = []
        self._widths: Sequence[int] | None = None

    def add(self, item: T) -> None:
        self._rows.append(self._to_row(item))
        if len(self._rows) == ROWS:
            self._print()

    def end(self) -> None:
        if self._rows or (self._is_shown_empty and self._widths is None):
            self._print()

    def _print(self) -> None:
        self._widths = print_table(self._columns, self._rows, self._widths)
        self._rows = []


class Csv(Generic[T]):
    """Prints CSV that no spreadsheet runs; without a heading if there is no row, unless `is_shown_empty`."""

    def __init__(
        self, columns: Sequence[str], to_row: Callable[[T], Sequence[object]], *, is_shown_empty: bool = False
    ) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # which imports read, whatever the terminal is
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        self._show = shown if sys.stdout.isatty() else str
        self._heading: Sequence[str] | None = columns
        self._to_row = to_row
        self._is_shown_empty = is_shown_empty

    def add(self, item: T) -> None:
        self._head()
        cells = self._to_row(item)
        self._writer.writerow([self._show(guarded(cell)) if isinstance(cell, str) else cell for cell in cells])

    def end(self) -> None:
        if self._is_shown_empty:
            self._head()

    def _head(self) -> None:
        if self._heading is not None:
            self._writer.writerow(self._heading)
            self._heading = None


class Each(Generic[T]):
    """Prints each item in its own way."""

    def __init__(self, print_one: Callable[[T], None]) -> None:
        self.add = print_one

    def end(self) -> None:
        """There is nothing to close."""
