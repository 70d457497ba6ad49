"""Rows of text files: lines, cells of CSV, and items of JSON, one after the other and never all at once."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterator
from typing import Any

from store.json_reader import Stream

CELL = 1 << 25  # characters a cell of CSV may have: an extra of 1 MiB with every character escaped, and more
# First keys of objects that wrap what a file is about: answers of OKX, of freqtrade, and its backtests.
WRAPPERS = ("code", "msg", "data", "trades", "trades_count", "offset", "total_trades", "metadata", "strategy",
            "strategy_comparison")  # fmt: skip


class BadRow(ValueError):
    """A row that can't be read. `place`: "line 3"; `problem` holds no value."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


class Text:
    """The text of a file, in blocks or lines. Raises BadRow for what is no text."""

    def __init__(self, read: Callable[[], bytes], longest: int) -> None:
        self._read = read
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._longest = longest  # characters a line
        self._newlines = 0
        self._kept = ""

    def first(self) -> str:
        """Return the first character that is no space, without taking it; "" if there is none."""
        while not self._kept.strip() and len(self._kept) <= self._longest and (more := self._next()):
            self._kept += more
        return self._kept.strip()[:1]

    def block(self) -> str:
        """Return what comes next; "" at the end."""
        kept, self._kept = self._kept, ""
        return kept or self._next()

    def _next(self) -> str:
        data, text = b"-", ""
        while data and not text:
            data = self._read()
            problem, newlines = "", 0
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                problem, newlines = "not UTF-8 text", error.object.count(b"\n", 0, error.start)
            if "\0" in text:
                problem, newlines = "holds the character U+0000", text.count("\n", 0, text.index("\0"))
            if problem:
                raise BadRow(f"line {self._newlines + newlines + 1}", problem)
        self._newlines += text.count("\n")
        return text

    def lines(self) -> Iterator[str]:
        """Yield the lines, each with its newline."""
        number, rest = 0, ""
        while block := self.block():
            *whole, rest = (rest + block).split("\n")
            for line in whole:
                number += 1
                yield line + "\n"
            if len(rest) > self._longest:
                raise BadRow(f"line {number + 1}", f"longer than {self._longest} characters")
        if rest:
            yield rest


def csv_rows(lines: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that aren't blank: the number of the line where it begins, and its cells. Raises BadRow."""
    csv.field_size_limit(max(csv.field_size_limit(), CELL))  # it is the process's; raised, it harms nobody
    reader = csv.reader(lines, strict=True)
    problem = ""
    while not problem:
        start = reader.line_num + 1
        try:
            if cells := next(reader):
                yield start, cells
        except StopIteration:
            return
        except csv.Error as error:
            problem = str(error)
    raise BadRow(f"line {reader.line_num}", problem)


def json_rows(stream: Stream) -> Iterator[tuple[int, Any, str]]:
    """Yield items of JSON: the number of the line where it begins, the item with its numbers as text, and as it stands.

    Items are the elements of an array, or of the arrays in an object that wraps them, or objects one after the other.
    Raises BadRow.
    """
    try:
        for _ in _items(stream):
            line = stream.line
            item, start, end = stream.value()
            yield line, item, stream.text[start:end]
        return
    except json.JSONDecodeError as error:
        line, column = stream.place(error.pos)
        problem = f"{error.msg} (column {column})"
    except RecursionError:
        problem = "nested too deep"
    except BadRow:
        raise
    except ValueError as error:
        line, problem = stream.line, str(error)
    raise BadRow(f"line {line}", problem)


def _items(stream: Stream) -> Iterator[None]:
    if stream.starts_with("["):
        yield from stream.elements()
    elif stream.first_key() in WRAPPERS:
        yield from _wrapped(stream)
    else:
        yield from stream.values()
    stream.end()


def _wrapped(stream: Stream) -> Iterator[None]:
    for key in stream.members():
        if key in ("data", "trades") and stream.starts_with("["):
            yield from stream.elements()
        elif key == "strategy" and stream.starts_with("{"):
            for _ in stream.members():
                yield from _wrapped(stream)
        elif stream.value()[0] != "0" and key == "code":
            raise ValueError("the answer of the exchange tells of an error")
