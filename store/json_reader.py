"""Reads JSON as it comes in from people: every digit is kept, and nothing that is there twice is lost.

parse() reads a text as a whole; Reader walks through one, so that a piece can be passed on as it is, and named by line;
Stream through one that comes in blocks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from store.json_writer import shown_key

LARGEST_EXPONENT = 308  # of ten, beyond which nothing is a double; of a few thousand digits Python makes no int
_NEAR = 16  # characters before the end of a block: what breaks off there may go on in the next
_SPACE = re.compile(r"[ \t\n\r]*")
_FIRST_KEY = re.compile(r'\{\s*"([^"\\]*)"')


class NotJson(ValueError):
    """The text isn't JSON. The message says where it breaks off, and quotes nothing."""


class Untakeable(ValueError):
    """The text is JSON that can't be taken. The message says why, and holds no value."""


class DuplicateKey(Untakeable):
    """A key is there twice in one object, so that one of its values would be lost. `key`: which."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {shown_key(key)} is there twice in one object")
        self.key = key


def decoded(data: bytes) -> str:
    """Read the bytes of a JSON text: UTF-8, with a byte order mark or not, or UTF-16 or -32. Raises NotJson."""
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    raise NotJson(f"line {line}: not UTF-8 text")  # out here: the bytes would be the context


def parse(text: str) -> Any:
    """Read a JSON text: numbers as int or Decimal, with every digit. Raises NotJson, Untakeable."""
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        problem: ValueError = NotJson(f"{error.msg}, line {error.lineno} column {error.colno}")
    except RecursionError:
        problem = Untakeable("it is nested too deep")
    except ArithmeticError:
        problem = Untakeable("it holds a number outside the range of a double")
    raise problem  # out here: the text would be the context


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members. Raises DuplicateKey."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DuplicateKey(next(key for key in keys if keys.count(key) > 1))
    return found


def refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's json would read. Raises NotJson."""
    raise NotJson(f"{name} is no JSON number")


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= LARGEST_EXPONENT else int(_decimal(digits))


def _decimal(digits: str) -> Decimal:
    number = Decimal(digits)
    if number.adjusted() > LARGEST_EXPONENT:
        raise OverflowError
    return number


_decoder = json.JSONDecoder(
    parse_int=_integer, parse_float=_decimal, parse_constant=refuse_constant, object_pairs_hook=unique
)


class Reader:
    """A position in a JSON text. Every method raises json.JSONDecodeError where the text breaks off.

    members() and elements() stop before each value; read on with one of the methods before the next.
    """

    # Numbers stay text: they are only looked past, and Python limits the digits of an int.
    _decode = json.JSONDecoder(
        parse_int=str, parse_float=str, parse_constant=refuse_constant, object_pairs_hook=unique
    ).raw_decode

    def __init__(self, text: str, at: int = 0) -> None:
        self.text = text
        self.at = at
        self._skip_space()

    @property
    def line(self) -> int:
        """The number of the line, from 1."""
        return self.text.count("\n", 0, self.at) + 1

    def value(self) -> tuple[Any, int, int]:
        """Read a value; return it (numbers as text) with where it begins and ends.

        Raises DuplicateKey, NotJson (NaN), RecursionError, too.
        """
        start = self.at
        found, end = self._decode(self.text, start)
        self.at = end
        self._skip_space()
        return found, start, end

    def members(self) -> Iterator[str]:
        """Go through an object: yield each key, being at its value."""
        for _ in self._items("{", "}"):
            if self._peek() != '"':
                self._fail("Expecting property name enclosed in double quotes")
            key = self.value()[0]
            self._take(":")
            yield key

    def elements(self) -> Iterator[None]:
        """Go through an array: yield at each value."""
        return self._items("[", "]")

    def values(self) -> Iterator[None]:
        """Go through values that stand one after the other: yield at each."""
        while self.at < len(self.text):
            yield

    def end(self) -> None:
        """Refuse anything but the end of the text."""
        if self.at != len(self.text):
            self._fail("Extra data")

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self._peek() != closing:
            yield
            while self._peek() == ",":
                self._take(",")
                yield
        self._take(closing)

    def _take(self, character: str) -> None:
        if self._peek() != character:
            self._fail(f"Expecting '{character}'")
        self.at += 1
        self._skip_space()

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip_space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def _fail(self, message: str) -> None:
        raise json.JSONDecodeError(message, self.text, self.at)


class Stream(Reader):
    """A position in a JSON text that comes in blocks, of which none is kept longer than the value that it is part of.

    `more` returns the next block, "" at the end. value() raises Untakeable, too, for a value of more than `longest`
    characters; where it began and ended is in `text` until the next call of anything.
    """

    def __init__(self, more: Callable[[], str], longest: int) -> None:
        self._more = more
        self._longest = longest
        self._lines = 0  # before the text: they are passed
        self._column = 0  # characters of the text's first line that are passed
        self._counted = (0, 0)  # a place, and the newlines before it
        super().__init__("")

    @property
    def line(self) -> int:
        at, newlines = self._counted
        self._counted = self.at, newlines + self.text.count("\n", at, self.at)
        return self._lines + self._counted[1] + 1

    def place(self, at: int) -> tuple[int, int]:
        """Return the line and the column of a place in the text, from 1 on."""
        begin = self.text.rfind("\n", 0, at) + 1
        return self._lines + self.text.count("\n", 0, at) + 1, at - begin + 1 + (0 if begin else self._column)

    def starts_with(self, character: str) -> bool:
        """Tell whether the next value does."""
        return self._peek() == character

    def first_key(self) -> str:
        """Return the first key of the object that begins here, as far as the block goes; "" if there is none."""
        self._skip_space()
        found = _FIRST_KEY.match(self.text, self.at)
        return found[1] if found else ""

    def value(self) -> tuple[Any, int, int]:
        while True:
            start = self.at
            try:
                found, end = self._decode(self.text, start)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - _NEAR
                if is_cut and self._go_on():
                    continue
                raise
            if end == len(self.text) and self.text[end - 1] not in '"]}' and self._go_on():
                continue  # a number may have more digits
            self.at = end
            return found, start, end

    def values(self) -> Iterator[None]:
        while self._peek():
            yield

    def end(self) -> None:
        self._skip_space()
        super().end()

    def _go_on(self) -> bool:
        """Read another block, and forget what is passed. Tell whether there was one."""
        if len(self.text) - self.at > self._longest:
            raise Untakeable(f"a value is longer than {self._longest} characters")
        block = self._more()
        if block:
            line, column = self.place(self.at)
            self._lines, self._column = line - 1, column - 1
            self.text, self.at, self._counted = self.text[self.at :] + block, 0, (0, 0)
        return bool(block)

    def _peek(self) -> str:
        self._skip_space()
        return super()._peek()

    def _skip_space(self) -> None:
        super()._skip_space()
        while self.at == len(self.text) and self._go_on():
            super()._skip_space()


def find_fault(text: str) -> int:
    """Find what Reader.value() refuses though the syntax is right: a key's second value, or NaN."""
    at = 0
    while True:
        reader, keys = Reader(text, at), set[str]()
        at = reader.at
        if text[at] not in "{[":
            return at
        for key in reader.members() if text[at] == "{" else reader.elements():
            at = reader.at
            if key in keys:
                return at
            if key is not None:
                keys.add(key)
            try:
                reader.value()
            except ValueError:
                break
        else:
            return at
