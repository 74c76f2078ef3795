"""The dashboard in a real browser, over a real sidecar that rehearses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from ipa_rl.agents.meters import meters_of
from ipa_rl.agents.trained import load_agents
from ipa_rl.live.cluster import ClusterError, Seen
from ipa_rl.sidecar.dashboard import Dashboard, about
from ipa_rl.sidecar.dashboard_server import Buttons, DashboardServer, DashboardSettings
from ipa_rl.sidecar.leader import Election, Elector
from ipa_rl.sidecar.orders import Orders, Wish
from ipa_rl.sidecar.promotion import Rule
from tests.browser import WAIT_MS, chromium, in_browser
from tests.graphs import graph_environment
from tests.live import PROGRAM, VIDEO, Wants, World, stale, two
from tests.test_leader import Shared

pytestmark = [pytest.mark.slow, in_browser]
expect.set_options(timeout=WAIT_MS)

ROOT = Path(__file__).parent.parent
TOKEN = "correct-horse-battery"
SETTINGS = """
environment: video
cluster: {rehearsal: {window: bursty, speed: 60}}
interval_s: 0.5
mode: act
leader_election: false
telemetry: {host: 127.0.0.1, port: 0}
dashboard: {port: PORT, token_file: token}
decision_log: {path: decisions.jsonl}
state: state.json
"""
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255))
    .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
  const behind = (e) => {
    const found = rgb(getComputedStyle(e).backgroundColor);
    return found.length < 4 || found[3] > 0 ? found : behind(e.parentElement);
  };
  const contrast = (e) => {
    const style = getComputedStyle(e);
    const both = [light(rgb(e.matches('svg *') ? style.fill : style.color)), light(behind(e))];
    return (Math.max(...both) + .05) / (Math.min(...both) + .05);
  };
  const read = [...document.querySelectorAll('body *:not(script, .skip, :disabled)')].filter((e) =>
    e.getClientRects().length && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
  const faint = read.filter((e) => contrast(e) < 4.5);
  return [read.length, ...faint.map((e) => `${e.textContent} ${contrast(e)}`)];
}"""
"""How many elements with text are seen, and those whose contrast is below 4.5 (WCAG 2.2, level AA)."""


@dataclass
class Running:
    """``ipa-rl sidecar --dashboard`` in a folder, always on the same port."""

    folder: Path
    port: int = field(init=False)

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (self.folder / "sidecar.yaml").write_text(SETTINGS.replace("PORT", str(self.port)))
        (self.folder / "token").write_text(TOKEN)

    def start(self) -> None:
        """Begin, or begin again."""
        words = [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml", "--dashboard"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self.folder / "sidecar.log").open("ab") as log:
            self.process = subprocess.Popen(words, cwd=self.folder, env=environment, stderr=log)
        deadline_s = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, (self.folder / "sidecar.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline_s
                time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0

    def entries(self) -> list[dict[str, Any]]:
        """The decision log."""
        return [json.loads(line) for line in (self.folder / "decisions.jsonl").read_text().splitlines()]

    def steps(self, count: int) -> list[dict[str, Any]]:
        """The next so many entries, once they are there."""
        before = len(self.entries())
        deadline_s = time.monotonic() + 60
        while len(self.entries()) < before + count:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        return self.entries()[before:]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("sidecar"))
    running.start()
    yield running
    running.stop()


@dataclass
class Tab:
    """A page, what its console complained about, and the addresses elsewhere that it asked for."""

    page: Page
    complaints: list[str]
    elsewhere: list[str]

    def press(self, button: str, token: str = TOKEN, name: str = "Ada") -> None:
        """A button, and what its dialog asks for."""
        self.page.get_by_role("group", name="Control").get_by_role("button", name=button).click()
        self.page.get_by_label("Your name, for the log").fill(name)
        self.page.get_by_label("Token").fill(token)
        self.page.locator("#press-go").click()

    def chip(self, words: str) -> None:
        """Wait until the state is this."""
        expect(self.page.locator("#state")).to_have_text(words)


def opened(browser: Browser, port: int, width: int = 1280, scheme: str = "light") -> Tab:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    context.add_init_script(
        "addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective))"
    )
    context.set_default_timeout(WAIT_MS)
    tab = Tab(context.new_page(), [], [])

    def routed(route: Route) -> None:
        if urlsplit(route.request.url).netloc == f"127.0.0.1:{port}":
            route.continue_()
        else:
            tab.elsewhere.append(route.request.url)
            route.abort()

    context.route("**/*", routed)
    tab.page.on(
        "console", lambda m: tab.complaints.append(m.text) if m.type in ("error", "warning") else None
    )
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.goto(f"http://127.0.0.1:{port}/")
    return tab


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_figures_appear_and_update_by_themselves_without_a_complaint_or_a_foreign_request(
    browser: Browser, sidecar: Running, width: int, scheme: str
) -> None:
    tab = opened(browser, sidecar.port, width, scheme)
    page = tab.page
    expect(page.get_by_role("heading", name="video")).to_be_visible()
    tab.chip("acting")
    expect(page.locator(".stage")).to_have_count(2)
    expect(page.locator(".stage").first).to_contain_text("ready")
    expect(page.locator(".chart svg .line")).not_to_have_count(0)
    seen = page.locator("#age").text_content()
    page.wait_for_function("(seen) => document.getElementById('age').textContent !== seen", arg=seen)
    path = page.locator("#chart-load .drawing .line").first.get_attribute("d")
    page.wait_for_function(
        "(path) => document.querySelector('#chart-load .drawing .line').getAttribute('d') !== path", arg=path
    )
    load = float(page.locator(".tile b").first.text_content() or "")
    assert load > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    texts, *faint = page.evaluate(CONTRAST)
    assert texts > 50
    assert faint == []
    assert (tab.complaints, tab.elsewhere) == ([], [])
    page.context.close()


def test_a_planner_shows_the_loads_that_it_expects_and_what_it_weighed(browser: Browser) -> None:
    dashboard = Dashboard(about(VIDEO, "planner", 10.0), Orders(), pressable=False)
    agents, program = load_agents(VIDEO, "planner")
    world = World(agents=agents, parts={"program": program, "logs": (dashboard,)})
    world.steps(1)
    plan = world.told.entries[0]["plan"]
    server = DashboardServer(DashboardSettings(port=0), dashboard, Buttons(Orders(), None))
    for width, scheme in ((1280, "light"), (390, "dark")):
        tab = opened(browser, server.port, width, scheme)
        expect(tab.page.locator("#plan-text")).to_contain_text(plan["told"])
        expect(tab.page.locator("#plan-others li")).to_have_count(len(plan["runners_up"]))
        expect(tab.page.locator("#plan-others li").first).to_have_text(plan["runners_up"][0]["told"])
        expect(tab.page.locator("#plan-fan .fan")).to_have_count(1)
        expect(tab.page.locator("#plan-loads")).to_contain_text("median and 10 to 90 %")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.page.evaluate(CONTRAST)[1:] == []
        assert (tab.complaints, tab.elsewhere) == ([], [])
        tab.page.context.close()
    server.close()


def test_stages_beside_each_other_stand_below_each_other(browser: Browser) -> None:
    dashboard = Dashboard(about(graph_environment("gather"), "planner", 10.0), Orders(), pressable=False)
    server = DashboardServer(DashboardSettings(port=0), dashboard, Buttons(Orders(), None))
    for width in (1280, 390):
        tab = opened(browser, server.port, width)
        expect(tab.page.locator(".column .stage")).to_have_count(2)
        expect(tab.page.locator(".stage")).to_have_count(4)
        expect(tab.page.locator(".stage").last).to_contain_text("all of people; all of cars; awaits all")
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
        assert (tab.complaints, tab.elsewhere) == ([], [])
        tab.page.context.close()
    server.close()


def test_a_wrong_token_changes_nothing_and_says_so(browser: Browser, sidecar: Running) -> None:
    tab = opened(browser, sidecar.port)
    tab.chip("acting")
    tab.press("Pause", token="wrong")
    expect(tab.page.get_by_role("alert")).to_have_text("The token is wrong. Nothing was changed.")
    assert all(not entry["why_not"] for entry in sidecar.steps(2))
    tab.page.keyboard.press("Escape")
    expect(tab.page.get_by_role("dialog")).to_be_hidden()
    tab.chip("acting")
    tab.page.context.close()


def test_pause_stops_changes_with_its_reason_in_the_log_and_resume_resumes(
    browser: Browser, sidecar: Running
) -> None:
    tab = opened(browser, sidecar.port)
    tab.press("Pause")
    tab.chip("paused")
    expect(tab.page.locator("#notices")).to_contain_text("Paused on the dashboard by Ada at ")
    sidecar.steps(1)
    for entry in sidecar.steps(4):
        assert not entry["acted"]
        assert entry["changes"] == []
        assert entry["why_not"].startswith("paused on the dashboard: by Ada at ")
    expect(tab.page.locator("#log li").first).to_contain_text("paused on the dashboard: by Ada")
    tab.press("Resume", name="Bo")
    tab.chip("acting")
    expect(tab.page.locator("#ordered")).to_contain_text("resumed by Bo at ")
    assert all(entry["acted"] for entry in sidecar.steps(3)[1:])
    assert (tab.complaints, tab.elsewhere) == ([], [])
    tab.page.context.close()


def test_the_page_survives_a_restart_says_so_meanwhile_and_a_hold_outlives_it(
    browser: Browser, sidecar: Running
) -> None:
    tab = opened(browser, sidecar.port)
    tab.press("Hold")
    tab.chip("held")
    sidecar.stop()
    tab.chip("no connection")
    expect(tab.page.locator("#notices")).to_contain_text("The sidecar has not answered since ")
    expect(tab.page.get_by_role("button", name="Resume")).to_be_disabled()
    expect(tab.page.locator(".stage")).to_have_count(2)  # what was known stays
    sidecar.start()
    tab.chip("held")
    expect(tab.page.locator("#notices")).not_to_contain_text("does not answer")
    assert sidecar.steps(1)[-1]["fallback"].startswith("held: held on the dashboard: by Ada")
    tab.press("Resume")
    tab.chip("acting")
    assert tab.elsewhere == []
    tab.page.context.close()


def test_it_is_used_by_keyboard_alone(browser: Browser, sidecar: Running) -> None:
    tab = opened(browser, sidecar.port)
    tab.chip("acting")
    keyboard = tab.page.keyboard
    tab.page.get_by_role("button", name="Pause").focus()
    keyboard.press("Enter")
    expect(tab.page.get_by_label("Your name, for the log")).to_be_focused()
    keyboard.type("Ada")
    keyboard.press("Tab")
    keyboard.type(TOKEN)
    keyboard.press("Enter")
    tab.chip("paused")
    tab.press("Resume")
    tab.chip("acting")
    chart = tab.page.locator("#chart-load .drawing svg")
    chart.focus()
    keyboard.press("ArrowLeft")
    expect(tab.page.locator("#chart-load .cursor")).to_have_attribute("visibility", "visible")
    assert (chart.get_attribute("aria-label") or "").startswith("Load, requests/s: load ")
    keyboard.press("Escape")
    expect(tab.page.locator("#chart-load .cursor")).to_have_attribute("visibility", "hidden")
    tab.page.context.close()


@dataclass
class Told:
    """A page over a World, which a test drives step by step."""

    token: str | None = TOKEN
    parts: dict[str, Any] = field(default_factory=dict)
    agent: Wants = field(default_factory=lambda: Wants(two(3)))

    def __post_init__(self) -> None:
        self.orders = Orders()
        dashboard = Dashboard(about(VIDEO, "ppo", 10.0), self.orders, pressable=self.token is not None)
        settings = DashboardSettings(port=0)
        self.server = DashboardServer(settings, dashboard, Buttons(self.orders, self.token))
        parts = {"logs": (dashboard,), "orders": self.orders, "wall": time.time, **self.parts}
        self.world = World(agents=(self.agent, PROGRAM), parts=parts)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.server.close()


def test_before_the_first_step_it_says_so(browser: Browser, told: Told) -> None:
    tab = opened(browser, told.server.port)
    tab.chip("no step yet")
    expect(tab.page.locator("#notices")).to_have_text("No step has been made yet. The first is under way.")
    expect(tab.page.locator("#pipeline")).to_contain_text("not seen yet")
    told.world.steps(2)
    tab.chip("acting")
    assert tab.complaints == []
    tab.page.context.close()


def test_a_cluster_that_does_not_answer_and_loads_that_are_stale_are_said_plainly(
    browser: Browser, told: Told
) -> None:
    told.world.steps(2)
    told.world.cluster.change = stale()
    told.world.steps(1)
    tab = opened(browser, told.server.port)
    tab.chip("loads stale")
    notices = tab.page.locator("#notices")
    expect(notices).to_contain_text("Loads are stale: no sample for 40 s. They are not read as no load")
    expect(tab.page.locator("#pipeline")).to_contain_text("load not known")
    told.world.cluster.error = ClusterError("connection refused")
    told.world.steps(1)
    tab.chip("step failed")
    expect(notices).to_contain_text("The cluster does not answer: connection refused.")
    assert tab.complaints == []
    tab.page.context.close()


def test_a_copy_that_does_not_lead_says_who_does(browser: Browser) -> None:
    lock = Shared()
    first, second = (Elector(lock, Election(identity=name)) for name in ("ipa-rl-0", "ipa-rl-1"))
    assert first.attempt()
    assert not second.attempt()
    told = Told(parts={"elector": second})
    told.world.steps(2)
    tab = opened(browser, told.server.port)
    tab.chip("not the leader")
    said = "This copy does not lead: ipa-rl-0 leads. Only the leader acts; this one watches."
    expect(tab.page.locator("#notices")).to_contain_text(said)
    tab.page.context.close()
    told.server.close()


def test_in_shadow_mode_and_without_a_token_it_shows_and_has_no_buttons(browser: Browser) -> None:
    told = Told(token=None, parts={"rule": Rule("shadow", "agent", None, None)})
    told.world.steps(3)
    tab = opened(browser, told.server.port)
    tab.chip("shadow mode")
    expect(tab.page.locator("#notices")).to_contain_text("Shadow mode (as configured): nothing is written.")
    expect(tab.page.locator("#buttons")).to_be_hidden()
    expect(tab.page.locator("#ordered")).to_have_text("read-only: no token is set")
    expect(tab.page.locator("#log li").first).to_contain_text("would: ")
    expect(tab.page.locator("#contenders")).to_contain_text("integer program")
    expect(tab.page.locator("#chart-cost .legend")).to_contain_text("agent")
    assert tab.complaints == []
    tab.page.context.close()
    told.server.close()


def test_what_is_not_ready_in_time_is_said_and_then_that_it_was_given_up(
    browser: Browser, told: Told
) -> None:
    def stuck(seen: Seen) -> Seen:
        first = replace(seen.stages[0], ready=1, variant="yolov5n", batch=1, trouble="ErrImagePull: x")
        return replace(seen, stages=(replace(first, asked=("yolov5s", 1)), *seen.stages[1:]))

    told.world.cluster.change = stuck
    told.world.steps(3)
    tab = opened(browser, told.server.port)
    notices = tab.page.locator("#notices")
    expect(notices).to_contain_text("Not ready in time: crop: 1 of 3 replicas")
    expect(notices).to_contain_text("ErrImagePull: x")
    expect(tab.page.locator("#tiles")).to_contain_text("of what serves")
    told.world.steps(4)
    expect(notices).to_contain_text("Given up: crop: 1 of 3 replicas")
    assert tab.complaints == []
    tab.page.context.close()


def test_replicas_are_drawn_as_ready_starting_and_missing(browser: Browser, told: Told) -> None:
    def half(seen: Seen) -> Seen:
        first = replace(seen.stages[0], desired=5, current=4, ready=2, variant="yolov5n", batch=1)
        return replace(seen, stages=(replace(first, asked=("yolov5s", 2)), *seen.stages[1:]))

    told.world.cluster.change = half
    told.world.steps(1)
    tab = opened(browser, told.server.port)
    stage = tab.page.locator(".stage").first
    expect(stage).to_contain_text("2 of 5 ready, 2 starting")
    expect(stage).to_contain_text("changing to yolov5s, batch size 2")
    counts = [stage.locator(f".is-{kind}").count() for kind in ("ready", "starting", "missing")]
    assert counts == [2, 2, 1]
    tab.page.context.close()


def test_a_stage_that_is_slower_than_its_profile_says_so(browser: Browser, told: Told) -> None:
    meters = meters_of(VIDEO)
    meters.service.scales, meters.starts.scales = np.array([1.0, 1.24]), np.array([1.0, 3.0])
    told.world.sidecar.meters = meters
    told.world.steps(1)
    tab = opened(browser, told.server.port)
    stages = tab.page.locator(".stage")
    expect(stages.nth(1)).to_contain_text("takes 24 % longer to serve than its profile says")
    expect(stages.nth(1)).to_contain_text("takes 3 times as long to start as its profile says")
    expect(stages.first).not_to_contain_text("profile")
    assert tab.page.evaluate(CONTRAST)[1:] == []
    tab.page.context.close()


@pytest.mark.parametrize(
    "evil", ["<img src=x onerror=document.title='owned'>", "<!--<script>", "</script>&\"'\u2028{{ 1 }} %{x}"]
)
def test_names_from_the_cluster_are_text_and_never_markup(browser: Browser, told: Told, evil: str) -> None:
    def named(seen: Seen) -> Seen:
        stages = [replace(one, variant=evil, problem=evil, asked=(evil, 1)) for one in seen.stages]
        return replace(seen, stages=tuple(stages), problems=(evil,))

    told.world.cluster.change = named
    told.world.cluster.refuses = (f"crop: {evil}",)
    told.orders.give(Wish.hold, evil)
    told.world.steps(2)
    told.world.cluster.error = ClusterError(evil)
    told.world.steps(1)
    tab = opened(browser, told.server.port)
    tab.chip("step failed")
    expect(tab.page.locator("#notices")).to_contain_text(evil)
    assert tab.page.locator("img").count() == 0
    assert "owned" not in tab.page.title()
    assert tab.complaints == []
    tab.page.context.close()
