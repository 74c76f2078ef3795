"""Alerts and dashboard: the rules are right, and a sidecar exposes every metric that they name."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from tests.manifests import DEPLOY, ROOT
from tests.prometheus_server import wait_until

pytestmark = pytest.mark.slow

FOLDER = DEPLOY / "monitoring"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (apt: prometheus)")
METRIC = re.compile(r"\b(?:ipa_rl|process)_[a-z0-9_]+")
SETTINGS = {
    "environment": "video",
    "agent": "program",
    "cluster": {"rehearsal": {"window": "bursty", "speed": 50}},
    "interval_s": 0.2,
    "mode": "act",
    "leader_election": False,
    "telemetry": {"host": "127.0.0.1", "port": 0},
}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Names of all samples that a rehearsed sidecar can expose, with the label names that were seen."""
    folder = tmp_path_factory.mktemp("sidecar")
    (folder / "sidecar.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "ipa_rl", "sidecar", "--config", "sidecar.yaml"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=out,
        )  # fmt: skip
    try:
        wait_until(lambda: log.read_text().count('"stepped"') >= 3, "three steps", within_s=60)
        port = next(json.loads(line)["port"] for line in log.read_text().splitlines() if '"begins"' in line)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    return _names(text)


def _names(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        for suffix in suffixes.get(family.type, [""]):
            found.setdefault(family.name + suffix, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def alerts() -> list[dict[str, Any]]:
    """All rules of the file."""
    content = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    content: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    return content


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """All expressions of the dashboard."""
    shown = [target["expr"] for panel in panels() for target in panel["targets"]]
    return shown + [one["expr"] for one in dashboard()["annotations"]["list"]]


def promtool(*words: str, folder: Path = FOLDER) -> str:
    """What it says; fails where it finds a fault."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_the_rules_are_rules() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", "alerts.yaml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml")
    tested = (FOLDER / "alerts_test.yaml").read_text(encoding="utf-8")
    for rule in alerts():
        assert tested.count(rule["alert"]) >= 2, rule["alert"]


@needs_promtool
def test_the_queries_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    plain = [one.replace("$__rate_interval", "1m").replace("$job", ".*") for one in queries()]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(plain)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", "rules.yaml", folder=tmp_path)


def test_every_metric_of_alerts_and_dashboard_is_exposed(exposed: dict[str, set[str]]) -> None:
    for expr in [rule["expr"] for rule in alerts()] + queries():
        for name in METRIC.findall(expr):
            assert name in exposed, f"{name} in {expr}"


def test_every_metric_of_the_sidecar_is_shown(exposed: dict[str, set[str]]) -> None:
    shown = set(METRIC.findall(" ".join(queries())))
    parts = {name for name in exposed if name.endswith(("_created", "_sum", "_count"))}
    assert {name for name in exposed if name.startswith("ipa_rl_")} - parts <= shown


def test_legends_name_labels_that_the_metric_has(exposed: dict[str, set[str]]) -> None:
    for panel in panels():
        for target in panel["targets"]:
            seen = set().union(*(exposed[name] for name in METRIC.findall(target["expr"])))
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                grouped = re.search(rf"by \([^)]*\b{label}\b", target["expr"])
                assert label in seen | {"instance"} or grouped, f"{label} in {panel['title']}"


def test_panels_do_not_overlap_and_name_a_unit() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels())


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")
        assert len(rule["annotations"]["description"]) > 40
