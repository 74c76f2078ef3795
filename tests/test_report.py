"""The report, in a real browser without a network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, FloatRect, Page

from ipa_rl.agents.opponents import best_foreseeing
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import compare, read_comparison
from ipa_rl.judge.experiment import Experiment, Setup, Trial, controllers, trials
from ipa_rl.judge.frontier import frontier
from ipa_rl.judge.pools import Here
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.judge.stress import stress_trials
from ipa_rl.progress import Silent
from ipa_rl.report.page import packed, served_at_least, serving_names, write_report
from ipa_rl.report.verdict import verdict
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import load_workload
from tests.browser import WAIT_MS, chromium, in_browser
from tests.pipelines import write_environment

pytestmark = pytest.mark.slow

KNOWN = controllers(load_definition("video"), None)
PROGRAM = KNOWN.program.name
FORESEEING = best_foreseeing(KNOWN.opponents).name
SETUP = Setup("video", None, SimulatorKind.request_level, ("ppo", PROGRAM, "fa2-low", FORESEEING))


def run(folder: Path, played: list[Trial], subject: str, setup: Setup = SETUP) -> Path:
    """A short run and its report."""
    compare(Experiment(subject, setup, played), folder, Here(), Silent())
    write_report(folder, folder / "report.html")
    return folder / "report.html"


def bursty(seconds: int) -> Scenario:
    """The first seconds of the bursty window."""
    window = load_workload("twitter").named_window("bursty", HISTORY_STEPS)
    return Scenario(replace(window, arrivals=window.arrivals[: HISTORY_STEPS + seconds]))


@pytest.fixture(scope="module")
def one_window(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("window"), trials([bursty(600)], 2), "bursty window")


@pytest.fixture(scope="module")
def stress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("stress"), stress_trials(load_definition("video"), 1), "stress suite")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def opened(browser: Browser, page: Path, width: int = 1200, scheme: str = "light") -> tuple[Page, list[str]]:
    """The page, drawn, without a network; and what the console complained about."""
    dark = scheme == "dark"
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
    )
    context.set_default_timeout(WAIT_MS)
    complaints: list[str] = []
    tab = context.new_page()
    tab.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request",
        lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else complaints.append(r.url),
    )
    tab.goto(page.as_uri())
    tab.wait_for_selector("body[data-drawn]")
    return tab, complaints


def drawn(tab: Page) -> dict[str, int]:
    """Marks drawn in each plot: lines, points, bars, boxes."""
    found: dict[str, int] = tab.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll('.plot')].map((plot) => [plot.id,
        plot.querySelectorAll('.scatterlayer path, .barlayer path, .boxlayer path').length]))"""
    )
    return found


def box_of(tab: Page, plot: str) -> FloatRect:
    """Where a plot is, scrolled into view."""
    area = tab.locator(f"#{plot} .nsewdrag").first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    return box


def hovered(tab: Page) -> str:
    """What is told where the pointer is over a third of the configurations."""
    box = box_of(tab, "configurations")
    tab.mouse.move(box["x"] + box["width"] / 3, box["y"] + 20)
    return tab.locator("#configurations .hoverlayer").text_content() or ""


@in_browser
@pytest.mark.parametrize(
    ("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light"), (390, "dark")]
)
def test_every_plot_is_drawn_without_a_complaint_or_a_network(
    browser: Browser, one_window: Path, width: int, scheme: str
) -> None:
    tab, complaints = opened(browser, one_window, width, scheme)
    marks = drawn(tab)
    assert set(marks) == {"timeline", "configurations", "latencies", "trade_off", "decisions"}
    assert all(count > 0 for count in marks.values()), marks
    assert complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.context.close()


ODD = {
    "<i>first</i> %{y}": ["<!--<script>", "</script><b>&amp;\"'", "a\u2028b"],
    "{{ 7 * 7 }} {% raw %}": ["</textarea>&<script>", "%{x}<extra>", "$\\foo$ $5"],
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a pipeline whose names are markup, templates and line separators."""
    folder = tmp_path_factory.mktemp("odd")
    setup = Setup(str(write_environment(folder, ODD)), None, SimulatorKind.fluid)
    return run(folder, trials([bursty(300)], 1), "bursty window", setup)


@in_browser
def test_names_that_are_markup_are_shown_as_they_are(browser: Browser, odd: Path) -> None:
    tab, complaints = opened(browser, odd)
    assert set(drawn(tab)) == {"timeline", "configurations", "latencies", "trade_off", "decisions"}
    assert all(count > 0 for count in drawn(tab).values()), drawn(tab)
    assert complaints == []
    legend = tab.locator("#configurations .legendtext").all_text_contents()
    served = {f"{stage}: {name}" for stage, names in ODD.items() for name in names}
    assert legend
    assert {joined(text) for text in legend} <= {joined(text) for text in served}
    titles = tab.locator("#timeline .annotation-text").all_text_contents()
    assert [f"waiting at {stage} [requests]" for stage in ODD] == titles[-2:]
    assert joined("<i>first</i> %{y}") in joined(hovered(tab))
    tab.context.close()


@in_browser
def test_many_stages_with_long_names_leave_room_for_their_figures(browser: Browser, tmp_path: Path) -> None:
    long = "organisation/a-rather-long-model-name-of-somebody"
    stages = {f"a-long-stage-name-{s}": [f"{long}-{s}-{v}" for v in range(7)] for s in range(6)}
    environment, only = write_environment(tmp_path, stages), ("ip perfect:20", "fa2-low", "rim")
    setup = Setup(str(environment), None, SimulatorKind.fluid, only)
    page = run(tmp_path, trials([bursty(600)], 1), "bursty window", setup)
    for width in (1200, 390):
        tab, complaints = opened(browser, page, width)
        assert all(count > 0 for count in drawn(tab).values()), drawn(tab)
        assert complaints == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        tab.context.close()


def joined(text: str) -> str:
    """Without the spaces at which lines may be broken."""
    return "".join(text.split())


@given(st.text())
def test_what_a_page_embeds_comes_back_and_holds_no_markup(text: str) -> None:
    found = packed(json.dumps(text))
    assert json.loads(gzip.decompress(base64.b64decode(found))) == text
    assert not set(found) & set("<>&\u2028\u2029")


@in_browser
def test_dark_mode_turns_page_and_plots_dark(browser: Browser, one_window: Path) -> None:
    tab, _ = opened(browser, one_window, scheme="dark")
    tick = "getComputedStyle(document.querySelector('#latencies .xtick text')).fill"
    back = "getComputedStyle(document.body).backgroundColor"
    dark = tab.evaluate(tick), tab.evaluate(back)
    tab.emulate_media(color_scheme="light")
    tab.wait_for_function(f"{tick} !== '{dark[0]}'")
    assert tab.evaluate(back) != dark[1]
    tab.context.close()


@in_browser
def test_a_click_in_the_legend_hides_and_a_drag_zooms(browser: Browser, one_window: Path) -> None:
    tab, complaints = opened(browser, one_window)
    before = drawn(tab)["latencies"]
    tab.locator("#latencies .legendtoggle").first.click()
    tab.wait_for_function(f"document.querySelectorAll('#latencies .scatterlayer path').length < {before}")
    ranges = "document.getElementById('timeline').layout.xaxis.range"
    whole = tab.evaluate(ranges)
    box = box_of(tab, "timeline")
    tab.mouse.move(box["x"] + 100, box["y"] + 40)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 300, box["y"] + 42, steps=5)
    tab.mouse.up()
    tab.wait_for_function(f"{ranges}[1] < {whole[1]}")
    assert complaints == []
    tab.context.close()


@in_browser
def test_hovering_tells_values(browser: Browser, one_window: Path) -> None:
    tab, _ = opened(browser, one_window)
    assert "replicas" in hovered(tab)
    tab.context.close()


@in_browser
def test_a_scenario_can_be_chosen(browser: Browser, stress: Path) -> None:
    tab, complaints = opened(browser, stress)
    marks = drawn(tab)
    assert set(marks) == {"stress", "timeline", "configurations", "latencies", "decisions"}
    assert all(count > 0 for count in marks.values())
    tab.select_option("select[data-for=timeline]", label="overload")
    tab.wait_for_function("document.getElementById('timeline').layout.yaxis.range[1] > 500")
    assert tab.evaluate("document.querySelector('select[data-for=configurations]').value") == "5"
    assert complaints == []
    tab.context.close()


def test_the_page_says_the_verdict_and_holds_every_controller(one_window: Path) -> None:
    page = one_window.read_text(encoding="utf-8")
    comparison = read_comparison(one_window.parent)
    assert verdict(comparison, KNOWN).split(":")[0] in page
    for name in comparison.description.controllers:
        assert f">{name}</td>" in page


@in_browser
def test_the_axis_of_the_p99_has_ticks_however_little_it_spans(browser: Browser, one_window: Path) -> None:
    tab, _ = opened(browser, one_window)
    assert tab.locator("#timeline .yaxislayer-above .y4tick").count() >= 3
    tab.evaluate("Plotly.relayout('timeline', {'yaxis4.range': [0.1, 0.3]})")
    tab.wait_for_function("document.querySelectorAll('#timeline .y4tick').length >= 3")
    tab.context.close()


def test_no_controller_is_above_the_line_that_none_can_be_above(one_window: Path) -> None:
    comparison = read_comparison(one_window.parent)
    serving = serving_names(comparison)
    bound = frontier(comparison.definition.pipeline, served_at_least(comparison, serving), 20.0)
    for row in comparison.rows():
        if row["controller"] in serving:
            assert row["pas_x100"] < np.interp(row["cores"], bound[:, 0], bound[:, 1])


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        write_report(tmp_path, tmp_path / "report.html")
