"""The dashboard docs/grafana.json: each of its queries is run, by PostgreSQL as a reader and by a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from store import SettingsStore
from store.operations import metrics
from tests.cli.conftest import CHECKOUT, Cli
from tests.cli.test_metrics import SAVE, relaying
from tests.helpers.roles import in_role
from tests.helpers.season import BEGIN, HOUR, HOURS, season

Db = psycopg.Connection[dict[str, Any]]
DASHBOARD = json.loads((CHECKOUT / "docs" / "grafana.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_METRICS = [panel for panel in PANELS if panel["datasource"]["type"] == "prometheus"]
OF_RESULTS = [panel for panel in PANELS if panel["datasource"]["type"] == "grafana-postgresql-datasource"]
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in OF_METRICS for target in panel["targets"]]
(KEYS,) = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
(VERSIONS,) = DASHBOARD["annotations"]["list"]
SINCE, UNTIL = BEGIN - HOUR, BEGIN + (HOURS + 1) * HOUR


def expanded(query: str, user: str) -> str:
    """Expand what Grafana's PostgreSQL data source does: variables, and the macros that the dashboard uses."""
    since, until = (f"'{moment:%Y-%m-%dT%H:%M:%SZ}'" for moment in (SINCE, UNTIL))
    query = query.replace("${user:sqlstring}", f"'{user}'").replace("${key:sqlstring}", "'leverage'")
    query = query.replace("$__interval", "1h")
    query = re.sub(
        r"\$__timeGroupAlias\((\w+), 1h\)", r'floor(extract(epoch from \1)/3600)*3600 AS "time"', query
    )  # fmt: skip
    query = re.sub(r"\$__timeFilter\(([\w.]+)\)", rf"\1 BETWEEN {since} AND {until}", query)
    query = query.replace("$__timeFrom()", since).replace("$__timeTo()", until)
    assert "$" not in query
    return query


@pytest.fixture
async def reader(store: SettingsStore, db: Db, user: str, database_url: str) -> Db:
    """A session of a reader, where a user has traded a season."""
    await season(store, db, user)
    return psycopg.connect(in_role(database_url, "reader"), autocommit=True, row_factory=dict_row)


def run(reader: Db, query: str) -> list[dict[str, Any]]:
    return reader.execute(query.encode()).fetchall()


async def test_queries_of_results_are_a_readers(reader: Db, store: SettingsStore, user: str) -> None:
    with reader:
        assert OF_RESULTS
        for panel in OF_RESULTS:
            (target,) = panel["targets"]
            for whom in ("", user):
                rows = run(reader, expanded(target["rawSql"], whom))
                assert rows, panel["title"]
                if target["format"] == "time_series":
                    assert list(rows[0])[:2] == ["time", "metric"]
                    assert {row["metric"] for row in rows} == {"USDT"}
        assert {"key": "leverage"} in run(reader, expanded(KEYS["query"], user))
        assert run(reader, expanded(VERSIONS["target"]["rawSql"], "")) == []
        told = run(reader, expanded(VERSIONS["target"]["rawSql"], user))
        assert [row["title"] for row in told][-1] == "params version 2"
        assert any(row["text"] == "운영자: back to ten leverage, rsi_length, tp1_value" for row in told)


def test_every_metric_has_its_place_and_no_other_is_asked_for() -> None:
    shown = metrics.Metrics()
    shown.probing()
    served = {each.name + ("_total" if each.type == "counter" else "") for each in shown.registry.collect()}
    served = {name for name in served if name.startswith("settings_store")}
    named = {name for _, expression in EXPRESSIONS for name in re.findall(r"settings_store_\w+", expression)}
    assert {name.removesuffix("_bucket") for name in named} == served


def test_panels_are_of_the_data_sources_that_are_asked_for_and_lie_beside_each_other() -> None:
    sources = {each["name"]: each["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource"}
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        covered = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not covered & places
        assert at["x"] + at["w"] <= 24
        places |= covered
    for asked in (*PANELS, *(target for panel in PANELS for target in panel["targets"]), KEYS, VERSIONS):
        assert sources[asked["datasource"]["uid"].strip("${}")] == asked["datasource"]["type"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@contextmanager
def prometheus(port: int, relay: int, folder: Path) -> Iterator[str]:
    """A Prometheus of the relay at another port; yields its address."""
    address = f"127.0.0.1:{port}"
    scrape = {"job_name": "settings-store-relay", "static_configs": [{"targets": [f"127.0.0.1:{relay}"]}]}
    file = folder / "prometheus.yml"  # JSON is YAML
    file.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}))
    command = [
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}",
        "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def answer(address: str, expression: str) -> list[Any]:
    """Ask a Prometheus; nothing while it starts. What it doesn't understand is an error."""
    asked = urllib.parse.urlencode({"query": expression.replace("$__rate_interval", "15s")})
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/query?{asked}", timeout=10) as response:
            found: list[Any] = json.load(response)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise AssertionError(error.read().decode()) from None
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionError):
            raise
    return []


@pytest.mark.prometheus
def test_queries_of_metrics_have_answers(
    cli: Cli, kim: str, db: Db, unused_tcp_port_factory: Callable[[], int], tmp_path: Path
) -> None:
    port, relay = unused_tcp_port_factory(), unused_tcp_port_factory()
    with relaying(cli, relay, "--probe", "0.1"), prometheus(port, relay, tmp_path) as address:
        db.execute(SAVE)
        cli("verify")
        waiting = dict.fromkeys(expression for _, expression in EXPRESSIONS)
        deadline = time.monotonic() + 60
        while waiting:
            assert time.monotonic() < deadline, list(waiting)
            waiting = {expression: None for expression in waiting if not answer(address, expression)}
            time.sleep(0.1)
        (relays,) = answer(address, 'count(up{job="settings-store-relay"} == 1) or vector(0)')
        assert relays["value"][1] == "1"
