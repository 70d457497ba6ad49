"""A report's page, taken apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

Spec = dict[str, Any]


class Page(HTMLParser):
    """What a page has: `figures` (data and layout of each picture, by its heading, in their order), `scripts` that run,
    `words` (what it shows besides), `tags` and the names of `attributes`, `policy`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.figures: list[tuple[str, Spec]] = []
        self.scripts: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.policy = ""
        self._words: list[str] = []
        self._headings: list[str] = []
        self._open: list[str] = []
        self._is_data = False
        self.feed(html)
        self.close()

    @property
    def own(self) -> str:
        """The page without the source of plotly.js."""
        return self.html.replace(self.scripts[0], "")

    @property
    def words(self) -> str:
        return " ".join(" ".join(self._words).split())

    def figure(self, heading: str) -> Spec:
        """The only picture with this heading."""
        (found,) = [spec for name, spec in self.figures if name == heading]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes |= given.keys()
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag in ("script", "style", "h3"):
            self._open.append(tag)
            self._is_data = given.get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        where = self._open[-1] if self._open else ""
        if where == "script" and self._is_data:
            assert "<" not in data  # which could end the script
            self.figures.append((self._headings[-1], json.loads(data)))
        elif where == "script":
            self.scripts.append(data)
        elif where != "style":
            self._words.append(data)
            if where == "h3":
                self._headings.append(data)


def told(spec: Spec) -> str:
    """All text that stands in a picture or shows beside the pointer, as plotly gets it."""
    return json.dumps(spec, ensure_ascii=False)
