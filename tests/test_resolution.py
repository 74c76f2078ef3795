"""Series at the resolution of a screen: what a page holds of a long one, and what a browser makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from playwright.sync_api import Browser, Page

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.play import Played
from ipa_rl.report import page_figures as draw
from ipa_rl.report.colours import controller_styles
from ipa_rl.report.page import Plot, write_page
from ipa_rl.report.resolution import bucketed, embedded_band, embedded_series, most_frequent
from ipa_rl.simulation.accounting import BINS, SUMS
from tests.browser import WAIT_MS, chromium, in_browser

DEFINITION = load_definition("video")
DAY_S, WEEK_S = 86_400, 7 * 86_400
INTERVAL_S = DEFINITION.timing.interval_s

some_unknown = arrays(
    np.float64, st.integers(1, 80), elements=st.floats(0, 1e6) | st.just(np.nan), fill=st.nothing()
)


@given(some_unknown, st.integers(1, 100))
def test_buckets_keep_lowest_highest_and_mean(values: np.ndarray, most: int) -> None:
    found, known = bucketed(values, most), values[~np.isnan(values)]
    assert len(found.mean) <= most
    for bucket, start in enumerate(range(0, len(values), found.size)):
        own = values[start : start + found.size]
        own = own[~np.isnan(own)]
        if own.size:
            assert found.low[bucket] == own.min()
            assert found.high[bucket] == own.max()
            assert found.mean[bucket] == pytest.approx(own.mean())
            assert found.low[bucket] <= found.mean[bucket] <= found.high[bucket]
        else:
            assert np.isnan([found.low[bucket], found.mean[bucket], found.high[bucket]]).all()
    if known.size:
        assert np.nanmin(found.low) == known.min()
        assert np.nanmax(found.high) == known.max()


@given(some_unknown, st.integers(3, 100))
def test_a_page_holds_a_short_series_as_it_is_and_at_most_so_many_numbers(
    values: np.ndarray, most: int
) -> None:
    found = embedded_series(values, 10, most)
    assert sum(len(found[name]) for name in ("mean", "low", "high") if name in found) <= max(most, 3)
    if len(values) <= most:
        assert found["every_s"] == 10
        assert np.array(found["mean"], dtype=float) == pytest.approx(values, rel=1e-3, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=60))
def test_a_band_tells_what_served_in_every_step(rows: list[tuple[int, int, int]]) -> None:
    stage = DEFINITION.pipeline.stages[0]
    band = embedded_band(np.array(rows), stage, INTERVAL_S, 60)
    ends = [*band["begins"][1:], len(rows)]
    told = [
        (one["variant"], stage.variants[one["variant"]].batches.index(one["batch"]), one["replicas"])
        for begin, end, k in zip(band["begins"], ends, band["ids"], strict=True)
        for one in [band["rows"][k]] * (end - begin)
    ]
    assert told == rows


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 10))
def test_the_most_frequent_of_each_few_is_found(ids: list[int], size: int) -> None:
    found = most_frequent(np.array(ids), size, 5).tolist()
    for one, start in zip(found, range(0, len(ids), size), strict=True):
        own = ids[start : start + size]
        assert all(own.count(one) >= own.count(other) for other in own)


def noisy(name: str, seconds: int, seed: int) -> Played:
    """What a controller did, every figure of it noise, which is the hardest to make small."""
    rng, steps, stages = np.random.default_rng(seed), seconds // INTERVAL_S, 2
    sums = rng.uniform(1, 100, (steps, len(SUMS)))
    sums[:, SUMS.index("seconds")] = INTERVAL_S
    configured = np.stack([rng.integers(0, 3, (steps, stages)) for _ in range(3)], axis=-1)
    p99_s, planned = rng.uniform(0.1, 9, steps), rng.uniform(1, 40, steps)
    waiting = rng.integers(0, 50, (steps, stages)).astype(np.float64)
    calm = np.zeros(steps, dtype=np.int64)
    return Played(name, sums, np.ones(BINS), p99_s, configured, waiting, planned, p99_s, calm)


def write(path: Path, seconds: int, names: list[str], shown: int) -> list[Played]:
    """A page of so many controllers over so long, of which the first ones are shown."""
    played = [noisy(name, seconds, seed) for seed, name in enumerate(names)]
    loads = np.random.default_rng(0).poisson(10, seconds)
    styles = controller_styles(names, names[0])
    timeline = draw.timeline(DEFINITION, loads, played, styles, names[shown:])
    configurations = draw.configurations(DEFINITION, {one.name: one.configured for one in played[:shown]})
    plots = [Plot("timeline", "", "", [timeline]), Plot("configurations", "", "", [configurations])]
    rows: dict[str, Any] = {"rows": [], "stress": [], "unit": "", "verdict": "", "facts": []}
    write_page(path, "report.html", plots, "ipa_rl.report", title="", scenarios=[("", "")], **rows)
    return played


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Played]]:
    path = tmp_path_factory.mktemp("day") / "page.html"
    return path, write(path, DAY_S, ["one", "other", "hidden"], shown=2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def opened(browser: Browser, path: Path) -> Page:
    tab = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True).new_page()
    tab.set_default_timeout(WAIT_MS)
    tab.goto(path.as_uri())
    tab.wait_for_selector("body[data-drawn]")
    return tab


LINE = "document.getElementById('timeline').data.find((one) => one.name === 'one' && one.fill !== 'toself')"
BAND = "document.getElementById('timeline').data.find((one) => one.name === 'one' && one.fill === 'toself')"


@pytest.mark.slow
@in_browser
def test_a_day_is_drawn_by_bucket_and_zooming_shows_every_interval(
    browser: Browser, day: tuple[Path, list[Played]]
) -> None:
    path, (one, *_) = day
    tab = opened(browser, path)
    assert 200 < tab.evaluate(f"{LINE}.x.length") < 1000
    assert tab.evaluate(f"Math.max(...{BAND}.y)") == pytest.approx(one.planned_rps.max(), rel=1e-3)
    tab.evaluate("Plotly.relayout('timeline', {'xaxis.range': [36000000, 36600000]})")
    tab.wait_for_function(f"{LINE}.x.length < 200 && {LINE}.x[1] - {LINE}.x[0] === {1000 * INTERVAL_S}")
    shown = dict(zip(tab.evaluate(f"{LINE}.x"), tab.evaluate(f"{LINE}.y"), strict=True))
    expected = one.planned_rps[36_000 // INTERVAL_S : 36_600 // INTERVAL_S]
    assert [shown[36_000_000 + 1000 * INTERVAL_S * k] for k in range(len(expected))] == pytest.approx(
        expected, rel=1e-3
    )
    assert tab.evaluate(f"{BAND}.x.length") == 0
    tab.context.close()


@pytest.mark.slow
@in_browser
def test_zooming_keeps_what_is_hidden_and_a_reset_shows_all(
    browser: Browser, day: tuple[Path, list[Played]]
) -> None:
    tab = opened(browser, day[0])
    plot = "document.getElementById('timeline')"
    before = tab.evaluate(f"{LINE}.x.length")
    tab.evaluate("Plotly.restyle('timeline', {visible: 'legendonly'}, [...Array(3).keys()])")
    hidden = tab.evaluate(f"{plot}.data.map((one) => one.visible)")
    tab.evaluate("Plotly.relayout('timeline', {'xaxis.range': [36000000, 36600000]})")
    tab.wait_for_function(f"{LINE}.x.length < 200")
    assert tab.evaluate(f"{plot}.data.map((one) => one.visible)") == hidden
    tab.evaluate(f"Plotly.relayout('timeline', {{'xaxis.range': [0, {1000 * DAY_S}]}})")
    tab.wait_for_function(f"{LINE}.x.length === {before}")
    tab.context.close()


@pytest.mark.slow
@in_browser
def test_a_page_of_another_width_has_figures_of_that_width_and_of_their_height(
    browser: Browser, day: tuple[Path, list[Played]]
) -> None:
    tab = opened(browser, day[0])
    plot = "document.getElementById('timeline')"
    tab.set_viewport_size({"width": 800, "height": 700})
    tab.wait_for_function(f"{plot}._fullLayout.width === {plot}.clientWidth")
    tab.wait_for_timeout(500)  # in which plotly's own way to follow the width would lose the height
    assert tab.evaluate(f"{plot}.clientHeight === {plot}.layout.height && {plot}.clientHeight > 900")
    tab.context.close()


@pytest.mark.slow
@in_browser
def test_what_served_in_a_day_is_a_few_hundred_bars_and_each_once_zoomed_in(
    browser: Browser, day: tuple[Path, list[Played]]
) -> None:
    tab = opened(browser, day[0])
    bars = "document.querySelectorAll('#configurations .barlayer .point path').length"
    assert 100 < tab.evaluate(bars) < 4 * 400
    tab.evaluate("Plotly.relayout('configurations', {'xaxis.range': [36000000, 36600000]})")
    begins = "document.getElementById('configurations').data.flatMap((one) => one.base || [])"
    inside = f"{begins}.filter((one) => one >= 36000000 && one < 36600000)"
    tab.wait_for_function(f"{inside}.length > 100")  # four bands of 60 intervals, of which few are alike
    assert all(one % (1000 * INTERVAL_S) == 0 for one in tab.evaluate(inside))
    tab.context.close()


@pytest.mark.slow
@in_browser
def test_a_week_of_noise_is_a_page_under_three_megabytes_that_opens_soon(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    write(path, WEEK_S, [f"controller {k}" for k in range(17)], shown=4)
    assert path.stat().st_size < 3_000_000
    tab = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True).new_page()
    tab.set_default_timeout(WAIT_MS)
    meter = tab.context.new_cdp_session(tab)
    meter.send("Performance.enable", {"timeDomain": "threadTicks"})
    tab.goto(path.as_uri())
    tab.wait_for_selector("body[data-drawn]")
    measured = {one["name"]: one["value"] for one in meter.send("Performance.getMetrics")["metrics"]}
    assert measured["TaskDuration"] < 6  # of processor time, about 2 s; all of its points took a minute
    tab.context.close()
