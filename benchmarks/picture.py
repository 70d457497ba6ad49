"""A log-log picture as SVG: enough for a few lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 210, 40, 50
COLOURS = ("#1f6feb", "#d1481c", "#2a8a3e", "#8250df", "#946c00", "#c2185b")


@dataclass(frozen=True, slots=True)
class Line:
    """A name and its points (x, y), all above 0."""

    name: str
    points: Sequence[tuple[float, float]]


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
    for place, (end, line, colour) in enumerate(
        sorted((y(line.points[-1][1]), line, colour) for line, colour in zip(lines, COLOURS, strict=False))
    ):
        points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        label = max(end, TOP + 16 * place)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{label:.1f}" fill="{colour}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)
