"""How far a long work is, on a terminal; nothing beside JSON, nor where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


class Bar:
    """Is told how far a work has got since, and, by expect(), how far it has to go."""

    def __init__(self, unit: str, show: Callable[[int, int | None, str], None] | None) -> None:
        self._unit = unit
        self._show = show
        self._done = 0
        self._total: int | None = None
        self._about = ""

    @property
    def is_shown(self) -> bool:
        """Whether it is worth to ask for a total."""
        return self._show is not None

    def __call__(self, number: int) -> None:
        self._done += number
        self._tell()

    def expect(self, total: int | None, *, is_estimate: bool = False) -> None:
        """Take the total; None or 0: it isn't known. What is estimated is marked so."""
        self._total = total or None
        self._about = "about " if is_estimate else ""
        self._tell()

    def _tell(self) -> None:
        if self._show is None:
            return
        if self._total is None:
            self._show(self._done, None, f"{self._done} {self._unit}")
            return
        done = min(self._done, self._total)  # more may have come than there were
        self._show(done, self._total, f"{self._about}{100 * done // self._total} % of {self._total} {self._unit}")


@contextmanager
def counting(what: str, unit: str = "keys", total: int | None = None) -> Iterator[Bar]:
    """Show on a terminal how far a long work is, and how far it has to go if a total is known. Not beside JSON."""
    if not sys.stderr.isatty() or click.get_current_context().params.get("as_json"):
        yield Bar(unit, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[told]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, told="")
        bar = Bar(unit, lambda done, all_, told: progress.update(task, completed=done, total=all_, told=told))
        bar.expect(total)
        yield bar
