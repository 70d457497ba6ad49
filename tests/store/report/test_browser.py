"""A report's page in a browser: it draws what it must, asks the network for nothing, and fits a phone."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from store import SettingsStore
from tests.helpers.pages import Page
from tests.helpers.season import season
from tests.store.report.test_report import HOSTILE, OTHER, trade

pytestmark = pytest.mark.chromium
Db = psycopg.Connection[dict[str, Any]]
Chrome = webdriver.Chrome
WIDTHS = (390, 1440)
PICTURE = Path(__file__).parents[3] / "docs" / "report.png"
LINE = """
    const [plot] = [...document.querySelectorAll("figure > div")].filter((each) => each.data[0].name === "net result");
    const place = plot.data.findIndex((each) => each.name === arguments[0]);
    plot.scrollIntoView({block: "center"});
    const box = plot.querySelector(`.trace${plot._fullData[place].uid} path.js-line`).getBoundingClientRect();
    return [box.right, box.top + box.height * 0.4];
"""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    """A headless Chromium, driven by its own driver."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def show(chrome: Chrome, file: Path, width: int, **emulated: dict[str, Any]) -> None:
    """Open a page of this width; it must be drawn without a word in the console and without a request."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 600})
    for command, arguments in emulated.items():
        chrome.execute_cdp_cmd(f"Emulation.{command}", arguments)
    log(chrome, "performance")
    chrome.get(file.as_uri())
    assert chrome.execute_script("return document.documentElement.dataset.drawn") == "yes"
    assert log(chrome, "browser") == []
    assert [url for url in requested(chrome) if not url.startswith("data:")] == [file.as_uri()]


def log(chrome: Chrome, of: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chrome.get_log(of)  # type: ignore[no-untyped-call]
    return found


def requested(chrome: Chrome) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in log(chrome, "performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def texts(chrome: Chrome, selector: str) -> list[str]:
    return [str(each.get_attribute("textContent")) for each in chrome.find_elements(By.CSS_SELECTOR, selector)]


@pytest.fixture
async def file(store: SettingsStore, db: Db, user: str, tmp_path: Path) -> Path:
    """The page of a user who traded a season."""
    await season(store, db, user)
    place = tmp_path / "report.html"
    place.write_text(await store.report(user))
    return place


@pytest.mark.parametrize("width", WIDTHS)
def test_page_draws_every_picture_and_fits_its_width(chrome: Chrome, file: Path, width: int) -> None:
    show(chrome, file, width)
    assert chrome.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page = Page(file.read_text(encoding="utf-8"))
    boxes = chrome.execute_script(
        "return [...document.querySelectorAll('figure > div > .plot-container')].map((each) => {"
        " const box = each.getBoundingClientRect(); return [box.left, box.right, box.height]; })"
    )
    assert len(boxes) == len(page.figures)
    assert all(left >= 0 and right <= width and height > 250 for left, right, height in boxes)
    assert texts(chrome, "h3") == [heading for heading, _ in page.figures]
    assert {"net result (USDT)", "drawdown (USDT)", "price", "UTC"} <= set(texts(chrome, "figure svg text"))
    assert {"params saved", "candles missing", "long entry", "short exit"} <= set(texts(chrome, ".legendtext"))
    assert len(chrome.find_elements(By.CSS_SELECTOR, ".modebar-btn")) == 0
    assert "위험을 줄임" in chrome.find_element(By.TAG_NAME, "main").text


def point_at(chrome: Chrome, name: str, *kinds: str) -> str:
    """Move the pointer to the newest line of versions of this name, or click there; return what shows beside it."""
    x, y = chrome.execute_script(LINE, name)
    for kind in kinds:
        event = {"type": kind, "x": x, "y": y, "button": "none" if kind == "mouseMoved" else "left", "clickCount": 1}
        chrome.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    (told,) = texts(chrome, ".hoverlayer .hovertext text.nums")
    return told


@pytest.mark.parametrize(("width", "kinds"), [(1440, ("mouseMoved",)), (390, ("mousePressed", "mouseReleased"))])
def test_version_tells_beside_the_pointer_what_changed(
    chrome: Chrome, file: Path, width: int, kinds: Sequence[str]
) -> None:
    show(chrome, file, width)
    told = point_at(chrome, "params saved", *kinds)
    assert told.startswith("params version 4")
    assert "by 운영자: back to ten" in told
    assert "leverage: 5 → 10" in told


def test_picture_of_the_docs_can_be_taken(chrome: Chrome, file: Path) -> None:
    show(chrome, file, 1000)
    point_at(chrome, "params saved", "mouseMoved")
    bottom = chrome.execute_script("return document.querySelector('figure').getBoundingClientRect().bottom + scrollY")
    clip = {"x": 0, "y": 0, "width": 1000, "height": bottom + 10, "scale": 1}
    taken = chrome.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    picture = base64.b64decode(taken["data"])
    if os.environ.get("SETTINGS_STORE_UPDATE_DOCS"):
        PICTURE.write_bytes(picture)
    assert len(picture) < 300_000
    assert PICTURE.stat().st_size < 300_000


async def test_nothing_that_others_wrote_is_run(
    chrome: Chrome, store: SettingsStore, user: str, tmp_path: Path
) -> None:
    await store.register(OTHER, "1709556959", name=HOSTILE)
    link = "<a href='https://example.com'>$1$</a>"
    await store.patch(OTHER, "params", {HOSTILE: HOSTILE, "%{x}": link}, reason=HOSTILE)
    symbols = ("<img/src=x/onerror=alert(1)>", "%{y}<b>$x^2$</b>")
    await store.record_trades([trade(OTHER, number, symbol=symbol) for number, symbol in enumerate(symbols)])
    file = tmp_path / "report.html"
    file.write_text(await store.report(OTHER))
    show(chrome, file, 1440)  # where a script that the page's policy refuses would leave a word in the console
    assert set(symbols) <= set(texts(chrome, ".xtick text"))
    chrome.execute_script(
        "const bars = [...document.querySelectorAll('figure')].find((each) => each.textContent.includes('By symbol'));"
        "Plotly.Fx.hover(bars.querySelector('div'), [0, 1].map((place) => ({curveNumber: 0, pointNumber: place})));"
    )
    assert any(symbols[0] in told for told in texts(chrome, ".hoverlayer text"))
    assert chrome.find_elements(By.CSS_SELECTOR, "img, a, figure b") == []
    assert chrome.find_element(By.TAG_NAME, "h1").text == f"{HOSTILE} · {OTHER}"


def test_page_reads_the_same_in_any_locale_and_time_zone(chrome: Chrome, file: Path) -> None:
    found = []
    for locale, zone in (("en-US", "UTC"), ("ko-KR", "Asia/Seoul"), ("de-DE", "America/St_Johns")):
        show(
            chrome, file, 1440, setLocaleOverride={"locale": locale}, setTimezoneOverride={"timezoneId": zone}
        )  # fmt: skip
        found.append(texts(chrome, "figure svg text"))
    assert found[0] == found[1] == found[2]
    chrome.execute_cdp_cmd("Emulation.setLocaleOverride", {})
    chrome.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_pictures_have_the_colours_of_the_page(chrome: Chrome, file: Path) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        show(chrome, file, 1440, setEmulatedMedia=media)
        page = chrome.execute_script("return getComputedStyle(document.body).color")
        (picture,) = {
            chrome.execute_script("return getComputedStyle(arguments[0]).fill", each)
            for each in chrome.find_elements(By.CSS_SELECTOR, ".xtick text")
        }
        assert picture == page
        colours.add(page)
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(colours) == 2
