"""Who controls: the agent or the integer program, as a sidecar of its own; or Ray Serve itself."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from ipa_rl.demo.application import ENTRANCE, NAME, Application
from ipa_rl.demo.cached_work import AGAIN
from ipa_rl.demo.digits import STAGES
from ipa_rl.demo.settings import INTERVAL_S, DemoSettings
from ipa_rl.files import exists, read_lines, write_text
from ipa_rl.json_text import parse
from ipa_rl.live.cluster import ClusterError
from ipa_rl.profiler.processes import end_process, last_line

LOG, DECISIONS = "sidecar.log", "decisions.jsonl"

_BEGINS_S, _ENDS_S, _POLL_S = 60.0, 20.0, 0.1


class Controller(StrEnum):
    """The contenders, in the order in which they serve."""

    agent = "agent"
    program = "integer program"
    autoscaler = "Ray Serve's autoscaler"


@dataclass
class RunningSidecar:
    """A running ``ipa-rl sidecar``. ``began_s``: its first step, by `time.time`."""

    process: subprocess.Popen[bytes]
    folder: Path
    began_s: float

    def tick_after(self, time_s: float) -> float:
        """The first step at or after a moment."""
        steps = -((self.began_s - time_s) // INTERVAL_S)
        return self.began_s + max(steps, 0.0) * INTERVAL_S

    def check(self) -> None:
        """Raise ClusterError where it has ended."""
        status = self.process.poll()
        if status is not None:
            raise ClusterError(f"the controller ended with status {status}: {last_line(self.folder / LOG)}")


def write_settings(
    settings: DemoSettings,
    application: Application,
    controller: Controller,
    folder: Path,
    clock_offset_s: float,
) -> Path:
    """The sidecar's file."""
    content: dict[str, Any] = {
        "environment": str(settings.environment.resolve()),
        "agent": "program" if controller is Controller.program else str(settings.agent.resolve()),
        "opponents": str((settings.agent / "opponents.json").resolve()),
        "cluster": {
            "ray_serve": {
                "address": application.ray.address,
                "token_file": str(application.ray.token_file),
                "application": NAME,
                "stages": {name: {"cores_key": "cores"} for name in STAGES},
            }
        },
        "load": {
            "ray_serve": {
                "metrics": application.ray.metrics,
                "application": NAME,
                "entrance": ENTRANCE,
                "scrape_interval_s": 1.0,
                "stale_after_s": 10.0,
            }
        },
        "interval_s": INTERVAL_S,
        "clock_offset_s": clock_offset_s,
        "mode": "act",
        "telemetry": False,
        "decision_log": {"path": DECISIONS},
    }
    path = folder / "sidecar.yaml"
    write_text(yaml.safe_dump(content, sort_keys=False), path)
    return path


@contextmanager
def sidecar(config: Path) -> Iterator[RunningSidecar]:
    """Run it while the block runs, or this process. Raises ClusterError where it does not begin."""
    folder = config.parent
    words = [sys.executable, "-m", "ipa_rl.cli.ends_with_parent", "sidecar", "--config", str(config)]
    with (folder / LOG).open("ab") as log:
        began_at = log.tell()
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield RunningSidecar(process, folder, _began_s(process, folder / LOG, began_at))
        finally:
            end_process(process, _ENDS_S)


def _began_s(process: subprocess.Popen[bytes], log: Path, after: int) -> float:
    """Wait for its word that it begins."""
    end_s = time.monotonic() + _BEGINS_S
    while time.monotonic() < end_s:
        for line in log.read_bytes()[after:].decode(errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("message") == "begins":
                    return datetime.fromisoformat(entry["time"]).timestamp()
        if process.poll() is not None:
            break
        time.sleep(_POLL_S)
    raise ClusterError(f"the controller did not begin: {last_line(log) or 'it said nothing'}")


def decisions(folder: Path) -> list[dict[str, Any]]:
    """The lines of the decision log so far; one that is being written is left out."""
    path = folder / DECISIONS
    found = []
    for line in read_lines(path, 1_000_000, AGAIN) if exists(path) else ():
        with suppress(ValueError):
            found.append(parse(line))
    return [one for one in found if isinstance(one, dict) and "configuration" in one]
