"""The page of a report: HTML that needs nothing beside itself. Whatever others wrote is escaped here."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from string import Template

from store.errors import ConfigError
from store.models import TradeStatistics
from store.report import figures
from store.report.content import Content, Market, Results
from store.report.words import in_html, length, moment, money, percent, ratio

HERE = Path(__file__).parent
HEADINGS = ("net result", "trades", "won", "profit factor", "average", "max drawdown", "Sharpe")


def plotly_source() -> str:
    """Return plotly.js, of the extra. Raises ConfigError if it isn't installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        hint = "pip install 'settings-store[report]'"
        raise ConfigError("a report needs plotly, which isn't installed", hint=hint) from None
    return str(get_plotlyjs())


def page(content: Content, plotly: str) -> str:
    """Write the page. `plotly`: the source of plotly.js, which draws the pictures."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=in_html(content.title),
        hashes=" ".join(map(_hash, (plotly, script))),
        chosen=in_html(content.chosen.words),
        body="\n".join(_body(content)),
        made_at=moment(content.made_at),
        plotly=plotly,
        script=script,
    )


def _hash(script: str) -> str:
    """Name a script as one that may run; no other may, whatever got into the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _body(content: Content) -> Iterable[str]:
    if not content.results:
        yield "<p>There are no such trades.</p>"
    for results in content.results:
        yield _section(f"Results in {results.named_unit}", _results(results, content))
    if content.markets:
        yield _section("Entries and exits", _markets(content))
    if content.versions:
        yield _section("Versions of the settings", _versions(content))


def _section(heading: str, parts: Iterable[str]) -> str:
    inside = "\n".join(parts)
    return f"<section>\n<h2>{in_html(heading)}</h2>\n{inside}\n</section>"


def _results(results: Results, content: Content) -> Iterable[str]:
    yield _key_figures(results.figures, results.unit)
    curve = figures.equity(results, content.versions)
    yield _figure("Equity curve and drawdown", curve, " ".join(_curve_words(results, content)))
    for group in results.groups:
        left_out = f"{group.left_out:,} more aren't shown." if group.left_out else ""
        yield _figure(f"By {group.heading}", figures.groups(group, results), left_out)
        yield _table((group.heading, *HEADINGS), [_row(name, row) for name, row in group.rows])
    months = figures.months(results)
    words = "Net results by the month of the exit, in UTC; under a year its sum."
    yield _figure("By month", months, words, 150 + 110 * len(months["data"][0]["x"]))
    words = "The outermost bars have whatever is further out, too."
    yield _figure(f"How many {results.counted} earned how much", figures.histogram(results), words)


def _curve_words(results: Results, content: Content) -> Iterable[str]:
    yield "Net results summed up in the order of exits; under them how far they are below their highest until then."
    if content.versions:
        yield "A dotted line is a version of the settings saved then; beside the pointer stands what changed."
    if results.moments > len(results.curve):
        yield (
            f"{results.moments:,} exits are drawn as {len(results.curve):,} points: of every stretch the highest, the "
            "lowest, the deepest drawdown and the last."
        )


def _key_figures(of: TradeStatistics, unit: str) -> str:
    amounts = {
        "net result": of.net_pnl, "fees paid": of.fees, "funding paid": of.funding_fees, "best trade": of.best,
        "worst trade": of.worst, "average trade": of.average, "max drawdown": of.max_drawdown,
    }  # fmt: skip
    cells = {
        "trades": f"{of.trades:,}", "won": percent(of.win_rate), "profit factor": ratio(of.profit_factor),
        **{name: f"{money(amount)} {unit}" for name, amount in amounts.items() if amount is not None},
        "longest drawdown": length(of.max_drawdown_duration), "held on average": length(of.average_holding),
        "Sharpe ratio, a year": ratio(of.sharpe), "Sortino ratio, a year": ratio(of.sortino),
    }  # fmt: skip
    inside = "".join(f"<div><dt>{name}</dt><dd>{in_html(text)}</dd></div>" for name, text in cells.items())
    return f"<dl>{inside}</dl>"


def _row(name: str, of: TradeStatistics) -> list[str]:
    numbers = [
        _amount(of.net_pnl), f"{of.trades:,}", percent(of.win_rate), ratio(of.profit_factor), money(of.average or 0),
        money(of.max_drawdown), ratio(of.sharpe),
    ]  # fmt: skip
    return [f"<td>{in_html(name)}</td>", *(f'<td class="number">{number}</td>' for number in numbers)]


def _amount(value: Decimal) -> str:
    kind = "gain" if value > 0 else "loss" if value < 0 else "quiet"
    return f'<span class="{kind}">{money(value)}</span>'


def _markets(content: Content) -> Iterable[str]:
    for of in content.markets:
        yield _figure(of.symbol, figures.market(of), " ".join(_market_words(of)))
        if of.gaps:
            yield _gaps(of)
    if content.undrawn:
        yield f"<p>{content.undrawn:,} more symbols, with fewer trades, aren't drawn.</p>"


def _market_words(of: Market) -> Iterable[str]:
    if of.trades > len(of.deals):
        yield f"The newest {len(of.deals):,} of {of.trades:,} trades."
    if of.timeframe is None:
        yield "There are no candles of that time (settings-store candles import)."
        return
    together = f", {of.folded} drawn as one" if of.folded > 1 else ""
    yield f"Candles of {of.timeframe}{together}."
    yield f"{of.missing:,} candles are missing: the grey stretches." if of.missing else "No candle is missing."


def _gaps(of: Market) -> str:
    rows = [
        [f"<td>{moment(gap.from_ts)}</td>", f"<td>{moment(gap.to_ts)}</td>", f'<td class="number">{gap.missing:,}</td>']
        for gap in of.gaps
    ]
    shown = sum(gap.missing for gap in of.gaps)
    rest = f"<p>{of.missing - shown:,} more are missing in shorter gaps.</p>" if of.missing > shown else ""
    table = _table(("from (UTC)", "to", f"candles of {of.timeframe}"), rows)
    return f"<details><summary>Where candles are missing</summary>{table}{rest}</details>"


def _versions(content: Content) -> Iterable[str]:
    yield '<p class="quiet">Newest first; secrets are masked.</p>\n<ul>'
    for version in content.versions:
        name = f"{in_html(version.setting_type)} version {version.version}"
        lines = "<br>".join(map(in_html, version.changed))
        yield f"<li><strong>{name}</strong> · {moment(version.saved_at)} · {in_html(version.who)}<p>{lines}</p></li>"
    yield "</ul>"
    if content.has_older:
        yield "<p>There are older ones: settings-store history shows them.</p>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; cells come as HTML, headings as text."""
    numbers = {place for row in rows[:1] for place, cell in enumerate(row) if cell.startswith('<td class="number"')}
    kinds = [' class="number"' if place in numbers else "" for place in range(len(headings))]
    head = "".join(f"<th{kind}>{in_html(text)}</th>" for kind, text in zip(kinds, headings, strict=True))
    lines = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'


def _figure(heading: str, figure: figures.Figure, words: str, width: int = 0) -> str:
    """Write a picture's place, at most so many pixels wide, and its data as JSON, in which no tag can end."""
    data = json.dumps(figure, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    style = f' style="max-width: {width}px"' if width else ""
    return (
        f"<figure>\n<h3>{in_html(heading)}</h3>\n<figcaption>{in_html(words)}</figcaption>\n<div{style}></div>\n"
        f'<script type="application/json">{data}</script>\n</figure>'
    )
