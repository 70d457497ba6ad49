"""A report's pictures, as plotly takes them: data and layout. Text of others is escaped here, as plotly reads tags."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from store.models import EquityPoint, Gap, TradeStatistics
from store.report.content import Deal, Group, Market, Results, Saved
from store.report.words import beside_pointer, in_picture, length, moment, money, percent, ratio, short_money

Figure = dict[str, Any]

GAIN, LOSS, LINE, QUIET = "#159a80", "#d2504b", "#3b7dd8", "#8a8f98"
OF_TYPES = ("#8e5bd0", "#d98a1f", "#2f9fb8", "#b84f8f")  # lines of versions
LONG, SHORT = "#3b7dd8", "#d98a1f"
POINTS_OF_LINE = 17  # places of a version's line where it tells what changed
CHANGES = 8  # lines beside the pointer
BINS = 40
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TOLD = "%{text}<extra></extra>"  # hover text of our own making, whole


def equity(results: Results, versions: Sequence[Saved]) -> Figure:
    """Draw the summed net result, the drawdown under it, and a line for each version saved between."""
    curve, unit = results.curve, in_picture(results.named_unit)
    line = {
        "type": "scatter", "mode": "lines", "x": [_at(point.time) for point in curve],
        "text": [_point_words(point, results.unit) for point in curve], "hovertemplate": TOLD,
    }  # fmt: skip
    data = [
        {
            **line, "name": "net result", "y": [float(point.equity) for point in curve],
            "line": {"color": LINE, "shape": "hv", "width": 2},
        },
        {
            **line, "name": "drawdown", "y": [-float(point.drawdown) for point in curve], "yaxis": "y2",
            "fill": "tozeroy", "line": {"color": LOSS, "shape": "hv", "width": 1},
        },
    ]  # fmt: skip
    margin = max((curve[-1].time - curve[0].time) / 40, timedelta(hours=1))
    start, end = curve[0].time - margin, curve[-1].time + margin
    between = [version for version in versions if start <= version.saved_at <= end]
    names = {_own_type(version) for version in between}  # a symbol's with the user's own
    for place, name in enumerate(sorted(names, key=lambda name: (name != "params", name))):
        lines = [version for version in between if _own_type(version) == name]
        data.append(_version_lines(name, lines, OF_TYPES[place % len(OF_TYPES)]))
    layout = {
        "height": 520,
        "xaxis": {"type": "date", "range": [_at(start), _at(end)], "anchor": "y2", "title": {"text": "UTC"}},
        "xaxis2": {"type": "date", "matches": "x", "anchor": "y3", "visible": False},
        "yaxis": _axis(f"net result ({unit})", domain=[0.34, 1], zeroline=True),
        "yaxis2": _axis(f"drawdown ({unit})", domain=[0, 0.28], rangemode="tozero", autorangeoptions={"maxallowed": 0}),
        "yaxis3": {"anchor": "x2", "domain": [0, 1], "range": [0, 1], "fixedrange": True, "visible": False},
    }
    return {"data": data, "layout": layout}


def _own_type(version: Saved) -> str:
    return version.setting_type.partition(":")[0]


def _point_words(point: EquityPoint, unit: str) -> str:
    words = [f"{moment(point.time)} UTC", f"net result {money(point.equity)} {unit}"]
    words.append(f"drawdown {money(point.drawdown)} {unit}")
    return beside_pointer([*words, *([f"params version {point.version}"] if point.version else [])])


def _version_lines(name: str, versions: Sequence[Saved], colour: str) -> Figure:
    """Make upright lines of points close by each other, as only a point tells what it stands for."""
    x: list[str | None] = []
    text: list[str | None] = []
    for version in versions:
        more = ["…"] if len(version.changed) > CHANGES else []
        told = [f"{version.setting_type} version {version.version}", f"{moment(version.saved_at)} UTC", version.who]
        x += [*([_at(version.saved_at)] * POINTS_OF_LINE), None]
        text += [*([beside_pointer([*told, *version.changed[:CHANGES], *more])] * POINTS_OF_LINE), None]
    steps = [step / (POINTS_OF_LINE - 1) for step in range(POINTS_OF_LINE)]
    return {
        "type": "scatter", "mode": "lines", "name": f"{in_picture(name)} saved", "xaxis": "x2", "yaxis": "y3", "x": x,
        "y": [*steps, None] * len(versions), "text": text, "hovertemplate": TOLD,
        "line": {"color": colour, "width": 1.5, "dash": "dot"},
    }  # fmt: skip


def groups(group: Group, results: Results) -> Figure:
    """Draw the net result of each row as a bar."""
    rows = group.rows
    bars = {
        "type": "bar", "x": [in_picture(name) for name, _ in rows], "y": [float(row.net_pnl) for _, row in rows],
        "marker": {"color": [_colour(row.net_pnl) for _, row in rows]}, "hovertemplate": TOLD, "showlegend": False,
        "text": [beside_pointer([name, *_figures(row, results.unit)]) for name, row in rows], "textposition": "none",
    }  # fmt: skip
    layout = {
        "height": 320,
        "bargap": max(0.2, 1 - len(rows) / 8),
        "xaxis": {"type": "category", "automargin": True},
        "yaxis": _axis(f"net result ({in_picture(results.named_unit)})", zeroline=True),
    }
    return {"data": [bars], "layout": layout}


def _figures(row: TradeStatistics, currency: str) -> list[str]:
    return [
        f"net result {money(row.net_pnl)} {currency}", f"{row.trades} trades, {percent(row.win_rate)} won",
        f"profit factor {ratio(row.profit_factor)}", f"max drawdown {money(row.max_drawdown)} {currency}",
    ]  # fmt: skip


def months(results: Results) -> Figure:
    """Draw a cell for each month: rows January to December, a column a year."""
    periods = [row.period.astimezone(UTC) for row in results.months if row.period]
    found = {(each.year, each.month): row for each, row in zip(periods, results.months, strict=True)}
    years = range(min(found)[0], max(found)[0] + 1)
    sums = [sum((row.net_pnl for (year, _), row in found.items() if year == one), Decimal()) for one in years]
    rows = [[found.get((year, month)) for year in years] for month in range(1, 13)]
    most = max(abs(float(row.net_pnl)) for row in found.values()) or 1.0

    def cells(value: Callable[[TradeStatistics], Any], nothing: Any = "") -> list[list[Any]]:
        return [[nothing if cell is None else value(cell) for cell in row] for row in rows]

    heat = {
        "type": "heatmap", "x": [f"{year}<br>{short_money(amount)}" for year, amount in zip(years, sums, strict=True)],
        "y": list(MONTHS), "z": cells(lambda row: float(row.net_pnl), None), "zmin": -most, "zmax": most,
        "text": cells(lambda row: short_money(row.net_pnl)), "texttemplate": "%{text}",
        "hovertext": cells(lambda row: beside_pointer(_figures(row, results.unit))),
        "hovertemplate": "%{hovertext}<extra></extra>", "hoverongaps": False, "xgap": 2, "ygap": 2,
        "colorscale": [[0, LOSS], [0.5, "#f4f1ea"], [1, GAIN]],
        "colorbar": {"title": {"text": in_picture(results.named_unit)}, "thickness": 12, "outlinewidth": 0,
                     "separatethousands": True, "exponentformat": "none"},
    }  # fmt: skip
    axis = {"type": "category", "showgrid": False, "fixedrange": True, "automargin": True}
    layout = {
        "height": 400, "margin": {"l": 40, "r": 0, "t": 44, "b": 8}, "xaxis": {**axis, "side": "top"},
        "yaxis": {**axis, "autorange": "reversed"},
    }  # fmt: skip
    return {"data": [heat], "layout": layout}


def histogram(results: Results) -> Figure:
    """Draw how many results were how high, in steps of a round amount; those far out are in the outermost bars."""
    edges, counts = bins(results.amounts)
    last, lowest, highest = len(counts) - 1, min(results.amounts), max(results.amounts)
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    words = []
    for place, ((low, high), count) in enumerate(zip(pairwise(edges), counts, strict=True)):
        span = f"{money(low)} to {money(high)}"
        if place == 0 and lowest < low:
            span = f"below {money(high)}, down to {money(lowest)}"
        elif place == last and highest >= high:
            span = f"from {money(low)} on, up to {money(highest)}"
        words.append(beside_pointer([f"{span} {results.unit}", f"{count} {results.counted}"]))
    bars = {
        "type": "bar", "x": middles, "y": counts, "width": edges[1] - edges[0], "text": words, "textposition": "none",
        "marker": {"color": [_colour(middle) for middle in middles]}, "hovertemplate": TOLD, "showlegend": False,
    }  # fmt: skip
    layout = {
        "height": 280, "bargap": 0.05,
        "xaxis": {**_axis(f"net result ({in_picture(results.named_unit)})", zeroline=True), "type": "linear"},
        "yaxis": _axis(results.counted, dtick=max(1, _round_up(max(counts) / 8))),
    }  # fmt: skip
    return {"data": [bars], "layout": layout}


def bins(amounts: Sequence[float]) -> tuple[list[float], list[int]]:
    """Count amounts between edges that are round and have 0 among them; the hundredth furthest out on either side don't
    widen the picture, and count in the outermost."""
    ordered = sorted(amounts)
    out = len(ordered) // 100
    low, high = min(ordered[out], 0.0), max(ordered[-1 - out], 0.0)
    step = _round_up((high - low) / BINS) if high > low else 1.0
    first, last = math.floor(low / step), max(math.floor(high / step) + 1, 1)
    counts = [0] * (last - first)
    for amount in ordered:
        counts[min(max(math.floor(amount / step) - first, 0), len(counts) - 1)] += 1
    return [place * step for place in range(first, last + 1)], counts


def _round_up(value: float) -> float:
    """Find the next 1, 2 or 5 times a power of ten."""
    unit = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= value)


def market(of: Market) -> Figure:
    """Draw candles, trades from entry to exit upon them, and where candles are missing."""
    data: list[Figure] = []
    if of.candles:
        prices = {
            name: [float(getattr(candle, name)) for candle in of.candles] for name in ("open", "high", "low", "close")
        }
        data.append({
            "type": "candlestick", "x": [_at(candle.ts) for candle in of.candles], **prices, "name": "candles",
            "increasing": {"line": {"color": GAIN, "width": 1}}, "decreasing": {"line": {"color": LOSS, "width": 1}},
            "opacity": 0.75,
        })  # fmt: skip
    data += [_ways(of.deals, True), _ways(of.deals, False)]
    for side, colour, symbol in (("long", LONG, "triangle-up"), ("short", SHORT, "triangle-down")):
        marked = [trade for trade in of.deals if trade.side == side]
        data.append(_marks(f"{side} entry", symbol, colour, [(t.entry_time, t.entry_price, _told(t)) for t in marked]))
        data.append(_marks(f"{side} exit", "x", colour, [(t.exit_time, t.exit_price, _told(t)) for t in marked]))
    layout: Figure = {
        "height": 520,
        "xaxis": {"type": "date", "rangeslider": {"visible": False}, "title": {"text": "UTC"}},
        "yaxis": _axis("price"),
    }
    if of.gaps:
        data.append(_gap_marks(of))
        layout["shapes"] = [_shade(gap) for gap in of.gaps]
        layout["yaxis2"] = {"overlaying": "y", "range": [0, 1], "fixedrange": True, "visible": False}
    return {"data": [trace for trace in data if trace["x"]], "layout": layout}


def _ways(deals: Sequence[Deal], is_gain: bool) -> Figure:
    """Make a trace of lines from entry to exit."""
    x: list[str | None] = []
    y: list[float | None] = []
    for trade in deals:
        if (trade.net_pnl > 0) == is_gain:
            x += [_at(trade.entry_time), _at(trade.exit_time), None]
            y += [float(trade.entry_price), float(trade.exit_price), None]
    return {
        "type": "scatter", "mode": "lines", "name": "a gain" if is_gain else "a loss", "x": x, "y": y,
        "hoverinfo": "skip", "line": {"color": GAIN if is_gain else LOSS, "width": 2, "dash": "dash"},
    }  # fmt: skip


def _marks(name: str, symbol: str, colour: str, marks: Sequence[tuple[datetime, Decimal, str]]) -> Figure:
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": [_at(time) for time, _, _ in marks],
        "y": [float(price) for _, price, _ in marks], "text": [text for _, _, text in marks], "hovertemplate": TOLD,
        "marker": {"symbol": symbol, "size": 10, "color": colour, "line": {"width": 1, "color": "#ffffff"}},
    }  # fmt: skip


def _told(trade: Deal) -> str:
    held = length(trade.exit_time - trade.entry_time)
    return beside_pointer([
        f"{trade.side} {trade.entry_size:f}",
        f"entry {moment(trade.entry_time)} at {trade.entry_price:f}",
        f"exit {moment(trade.exit_time)} at {trade.exit_price:f}",
        f"net result {money(trade.net_pnl)} {trade.currency or ''}, held {held}",
        *([f"closed by {trade.close_type}"] if trade.close_type else []),
        *([f"params version {trade.params_version}"] if trade.params_version else []),
    ])  # fmt: skip


def _gap_marks(of: Market) -> Figure:
    """Make a mark for each gap, which tells its length; a shape can't."""
    words = [
        [
            f"{gap.missing} candles of {of.timeframe} missing",
            f"from {moment(gap.from_ts)}",
            f"to {moment(gap.to_ts)} UTC",
        ]
        for gap in of.gaps
    ]
    return {
        "type": "scatter", "mode": "markers", "name": "candles missing", "yaxis": "y2",
        "x": [_at(gap.from_ts + (gap.to_ts - gap.from_ts) / 2) for gap in of.gaps], "y": [0.03] * len(of.gaps),
        "text": [beside_pointer(lines) for lines in words], "hovertemplate": TOLD,
        "marker": {"symbol": "square", "size": 9, "color": QUIET},
    }  # fmt: skip


def _shade(gap: Gap) -> Figure:
    return {
        "type": "rect", "xref": "x", "yref": "paper", "x0": _at(gap.from_ts), "x1": _at(gap.to_ts), "y0": 0, "y1": 1,
        "fillcolor": QUIET, "opacity": 0.25, "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def _axis(title: str, **more: Any) -> Figure:
    return {
        "title": {"text": title, "standoff": 12}, "automargin": True, "exponentformat": "none",
        "separatethousands": True, "zeroline": False, **more,
    }  # fmt: skip


def _colour(amount: Decimal | float) -> str:
    return GAIN if amount > 0 else LOSS if amount < 0 else QUIET


def _at(time: datetime) -> str:
    """Write a time for plotly, which shows it as it is written."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"
