"""The page of a workload, in a real browser without a network, and what lies beside it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from ipa_rl.report.workload_facts import beside_shipped
from ipa_rl.report.workload_files import write_files
from ipa_rl.workload.portrait import portrait
from ipa_rl.workload.workload import Recorded, WorkloadModel, save_workload
from tests.browser import WAIT_MS, chromium, in_browser

pytestmark = pytest.mark.slow

DAY_S, MINUTES = 86_400, 365 * 1440
GAP = (90 * DAY_S, 93 * DAY_S)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything about a year of minute counts with a daily shape and a gap of three days."""
    folder, at = tmp_path_factory.mktemp("year"), np.arange(MINUTES)
    rates = 600 * (1.0 + 0.8 * np.sin(2 * np.pi * at / 1440))
    counts = np.random.default_rng(0).poisson(rates)
    counts[GAP[0] // 60 : GAP[1] // 60] = 0
    described = WorkloadModel(
        title="<b>A year</b> for $5", resolution_s=60, gaps=(GAP,),
        start=datetime.datetime(2025, 1, 1), time_zone="Europe/Berlin",
    )  # fmt: skip
    seen = portrait(save_workload(folder, described, Recorded(counts=counts)))
    write_files(seen, beside_shipped(seen), folder, print)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def opened(browser: Browser, path: Path, width: int = 1200) -> tuple[Page, list[str]]:
    tab = browser.new_context(viewport={"width": width, "height": 900}, offline=True).new_page()
    tab.set_default_timeout(WAIT_MS)
    complaints: list[str] = []
    tab.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri())
    tab.wait_for_selector("body[data-drawn]")
    return tab, complaints


@in_browser
@pytest.mark.parametrize("width", [1200, 390])
def test_a_year_is_drawn_without_a_complaint(browser: Browser, year: Path, width: int) -> None:
    tab, complaints = opened(browser, year / "page.html", width)
    plots = tab.locator(".plot").evaluate_all("all => all.map((one) => one.id)")
    assert plots == ["series", "day", "week", "days", "bursts", "dispersion"]
    marks = "all => all.map((one) => one.querySelectorAll('.scatterlayer path, .heatmaplayer image').length)"
    assert all(count > 0 for count in tab.locator(".plot").evaluate_all(marks))
    assert complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("h1").text_content() == "<b>A year</b> for $5"
    tab.context.close()


LINE = "document.getElementById('series').data.find((one) => one.name === 'load' && one.fill !== 'toself')"


@in_browser
def test_points_of_a_year_are_days_by_date_and_zooming_shows_minutes(browser: Browser, year: Path) -> None:
    tab, _ = opened(browser, year / "page.html")
    first_ms = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC).timestamp() * 1000
    days = tab.evaluate(f"{LINE}.x")
    assert days[:2] == [first_ms, first_ms + 1000 * DAY_S]
    means = tab.evaluate(f"{LINE}.y")
    assert [means[k] for k in (90, 91, 92)] == [None] * 3
    assert [one for k, one in enumerate(means) if not 90 <= k < 93] == pytest.approx([10.0] * 362, rel=0.02)
    tab.evaluate("Plotly.relayout('series', {'xaxis.range': ['2025-02-01', '2025-02-01 06:00']})")
    tab.wait_for_function(f"{LINE}.x[1] - {LINE}.x[0] === 360000")  # a year is embedded in slots of 6 minutes
    tab.context.close()


def test_the_page_of_a_year_is_small_and_its_figures_are_json(year: Path) -> None:
    assert (year / "page.html").stat().st_size < 3_000_000
    assert (year / "picture.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((year / "data.json").read_text(encoding="utf-8"))
    assert data["are_seconds_made_up"]
    assert data["missing_s"] == 3 * DAY_S
    assert [one["name"] for one in data["profiles"]] == ["day", "week"]
    assert data["compared"][0]["mean_rps"] == pytest.approx(10.0, rel=0.01)
    assert data["begin"] == "2025-01-01T00:00:00+01:00"
