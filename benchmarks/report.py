"""What docs/performance.md shows of results.json: the table between its markers, and ratios.svg. Every run writes both;
`python -m benchmarks.report` does without a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.picture import Ratio, draw_ratios

RESULTS = Path(__file__).with_name("results.json")
RATIOS = Path(__file__).with_name("ratios.svg")
PAGE = Path(__file__).parent.with_name("docs") / "performance.md"
BEGIN, END = "<!-- table: written by make bench -->\n", "<!-- end of table -->\n"

# What each benchmark is about, in the order of the table.
WHAT = {
    "upsert": "`upsert_user_setting` under pgbench, 4 clients, 50 keys",
    "rivals": "`upsert_user_setting` on one connection, 50 keys",
    "read": "`await store.get(…)` served by Redis",
    "save": "`await store.save(…)`",
    "bulk": "documents of many users at once",
    "cache": "`store.get(…)` from the local cache",
    "sync": "`sync` from Redis, 4 keys a user",
    "rebuild": "`sync --from db` into an empty Redis",
    "verify": "`verify` of equal stores",
    "halts": "halting trading, with 100,000 users",
    "relay": "psql to Redis through the relay",
    "notify": "`relay --notify`, 25 saves a second by SQL",
    "versions": "with 10,000 versions of the document",
    "memory": "peak memory",
    "growth": "growth",
    "candles": "`import_candles` of 1,000,000 rows",
    "startup": "`settings-store --help`",
}

Results = Mapping[str, Any]


def write() -> None:
    """Write the picture, and the table into the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    RATIOS.write_text(picture(results), encoding="utf-8")
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}{table(results)}{END}{after}", encoding="utf-8")


def table(results: Results) -> str:
    """Make the table, a row per comparison."""
    lines = [
        "| what | against | ours / theirs | ratio | reach | reached | `ONLY=` | measured |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, size, result, found in _comparisons(results):
        what = WHAT[name] + (f" ({int(size):,} users)" if size else "")
        low, high = found["quartiles"]
        reach = found["reach"]
        cells = [
            what,
            found["against"],
            f"{_number(found['ours'])} / {_number(found['theirs'])} {found['unit']}",
            f"{found['ratio']:.2f}" + (f" [{low:.2f}–{high:.2f}]" if found["repeats"] > 1 else ""),
            reach.replace("at least", "≥").replace("at most", "≤") if reach else "",
            ("yes" if found["reached"] else "**no**") if reach else "",
            f"`{name} SIZE={size}`" if size else f"`{name}`",
            result["measured_at"][:10] + (f", load {result['load'][0]:g}" if "load" in result else ""),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def picture(results: Results) -> str:
    """Draw all ratios that have a target."""
    return draw_ratios("Ratios against their targets", list(ratios(results)))


def ratios(results: Results) -> Iterator[Ratio]:
    """Yield the comparisons that have a target, as multiples of it: 1 is the target, above is better."""
    for name, size, _, found in _comparisons(results):
        bound, _, target = (found["reach"] or "").rpartition(" ")
        around = [found["quartiles"][0], found["ratio"], found["quartiles"][1]]
        if target and float(target) and min(around) > 0:
            low, middle, high = sorted(n / float(target) if bound == "at least" else float(target) / n for n in around)
            label = f"{name}{f' {int(size):,}' if size else ''}: {found['against']}"
            yield Ratio(label, low, middle, high)


def _comparisons(results: Results) -> Iterator[tuple[str, str, Results, Results]]:
    """Yield all comparisons: the benchmark's name, the SIZE it was run with if it was, the run, the comparison."""
    for name in WHAT:
        sizes = sorted((key for key in results if key.split()[0] == name), key=lambda key: (len(key), key))
        for key in sizes:
            for found in results[key]["comparisons"]:
                yield name, key.removeprefix(name).strip(), results[key], found


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    write()
