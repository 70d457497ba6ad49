"""docs/performance.md shows what was measured: no more, no less, and nothing older."""

from __future__ import annotations

import json

from benchmarks import report
from benchmarks.__main__ import MEASURES
from benchmarks.picture import Ratio

RESULTS = json.loads(report.RESULTS.read_text())


def test_table_is_that_of_the_results() -> None:
    page = report.PAGE.read_text()
    assert page.split(report.BEGIN)[1].split(report.END)[0] == report.table(RESULTS)


def test_picture_is_that_of_the_results() -> None:
    assert report.RATIOS.read_text() == report.picture(RESULTS)


def test_every_benchmark_and_every_result_has_its_rows() -> None:
    assert set(report.WHAT) == set(MEASURES)
    assert {name.split()[0] for name in RESULTS} <= set(report.WHAT)
    rows = report.table(RESULTS).splitlines()[2:]
    assert len(rows) == sum(len(result["comparisons"]) for result in RESULTS.values())


def test_ratio_above_one_is_a_target_reached() -> None:
    def found(reach: str | None, ratio: float) -> dict[str, object]:
        return {"against": "it", "reach": reach, "ratio": ratio, "quartiles": [ratio / 2, ratio * 2]}

    comparisons = [found("at least 0.5", 1.0), found("at most 2", 4.0), found(None, 1.0), found("at most 0", 0.0)]
    ratios = list(report.ratios({"sync 100": {"comparisons": comparisons}}))
    assert ratios == [Ratio("sync 100: it", 1.0, 2.0, 4.0), Ratio("sync 100: it", 0.25, 0.5, 1.0)]
