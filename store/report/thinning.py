"""Fewer points and candles than there are, which look the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from store.models import Candle, EquityPoint

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Thinned:
    """A curve of at most about `most` points, of any number that are added: of each stretch of it the lowest, the
    highest, the one of the deepest drawdown, and the last. `expected`: how many may come."""

    def __init__(self, expected: int, most: int) -> None:
        self.added = 0
        self._stretch = 1 if expected <= most else -(-expected * 4 // most)
        self._kept: list[EquityPoint] = []
        self._begun: list[EquityPoint] = []

    def add(self, point: EquityPoint) -> None:
        self.added += 1
        self._begun.append(point)
        if len(self._begun) == self._stretch:
            self._close()

    def points(self) -> list[EquityPoint]:
        self._close()
        return self._kept

    def _close(self) -> None:
        begun = self._begun
        if begun:
            places = range(len(begun))
            kept = {
                min(places, key=lambda place: begun[place].equity), max(places, key=lambda place: begun[place].equity),
                max(places, key=lambda place: begun[place].drawdown), places[-1],
            }  # fmt: skip
            self._kept += [begun[place] for place in sorted(kept)]
            self._begun = []


def fold(folded: list[Candle], candles: Iterable[Candle], width: timedelta) -> None:
    """Add candles to those folded so far, those of each `width` since 1970 as one. They come in the order of time."""
    for candle in candles:
        start = EPOCH + (candle.ts - EPOCH) // width * width
        if folded and folded[-1].ts == start:
            last = folded[-1]
            folded[-1] = replace(
                last, high=max(last.high, candle.high), low=min(last.low, candle.low), close=candle.close,
                volume=last.volume + candle.volume, complete=last.complete and candle.complete,
            )  # fmt: skip
        else:
            folded.append(replace(candle, ts=start))
