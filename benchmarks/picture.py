"""Pictures as SVG: lines in log-log, and ratios beside their target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 230, 40, 50
ROW, NAMES, NAME_SHOWN = 20, 370, 60  # of ratios: pixels a row, of the names, characters of one
COLOURS = ("#1f6feb", "#d1481c", "#2a8a3e", "#8250df", "#946c00", "#c2185b")


@dataclass(frozen=True, slots=True)
class Line:
    """A name and its points (x, y), all above 0."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A name, and a multiple of its target between its quartiles, all above 0."""

    name: str
    low: float
    middle: float
    high: float


def draw(title: str, x_name: str, y_name: str, lines: Sequence[Line]) -> str:
    """Draw lines over decades; each is named at its end."""
    xs, ys = zip(*(point for line in lines for point in line.points), strict=True)
    x_from, x_to, y_from, y_to = *_decades(xs), *_decades(ys)

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - x_from) / (x_to - x_from) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(value) - y_from) / (y_to - y_from) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"',
        f' font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{x(10 ** ((x_from + x_to) / 2)):.0f}" y="{HEIGHT - 12}">{escape(x_name)}</text>',
        f'<text x="8" y="{TOP - 6}">{escape(y_name)}</text>',
    ]
    for power in range(x_from, x_to + 1):
        at = f"{x(10**power):.1f}"
        parts.append(f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{10**power:,}</text>')
    for power in range(y_from, y_to + 1):
        at = f"{y(10**power):.1f}"
        parts.append(f'<path d="M{LEFT} {at}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at}" text-anchor="end" dy="4">{10**power:g}</text>')
    label = 0.0
    ends = sorted((y(line.points[-1][1]), line, colour) for line, colour in zip(lines, COLOURS, strict=False))
    for end, line, colour in ends:
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        label = max(end, label + 15)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{label:.1f}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw_ratios(title: str, ratios: Sequence[Ratio]) -> str:
    """Draw a row each, logarithmically, the quartiles as a line: what reaches its target lies right of the middle."""
    x_from, x_to = _decades([0.5, 2, *(value for ratio in ratios for value in (ratio.low, ratio.high))])
    bottom = TOP + ROW * len(ratios)

    def x(value: float) -> float:
        return NAMES + (math.log10(value) - x_from) / (x_to - x_from) * (WIDTH - NAMES - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}" font-family="sans-serif"',
        f' font-size="12"><rect width="{WIDTH}" height="{bottom + 40}" fill="white"/>',
        f'<text x="8" y="22" font-size="15">{escape(title)}</text>',
    ]
    for value in (10.0**power * step for power in range(x_from, x_to + 1) for step in (1, 2, 5)):
        if value <= 10**x_to:
            target = ' stroke="#222" stroke-width="2"' if value == 1 else ' stroke="#ddd"'
            parts.append(f'<path d="M{x(value):.1f} {TOP}V{bottom}"{target}/>')
            parts.append(f'<text x="{x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{x(1):.1f}" y="{bottom + 32}" text-anchor="middle">the target; better to the right</text>')
    for row, ratio in enumerate(ratios):
        y = TOP + ROW * (row + 0.5)
        colour = COLOURS[2] if ratio.middle >= 1 else COLOURS[1]
        name = ratio.name if len(ratio.name) <= NAME_SHOWN else f"{ratio.name[: NAME_SHOWN - 1]}…"
        parts.append(f'<text x="8" y="{y + 4:.1f}">{escape(name)}</text>')
        parts.append(f'<path d="M{x(ratio.low):.1f} {y:.1f}H{x(ratio.high):.1f}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<circle cx="{x(ratio.middle):.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
