"""What a demonstration is: its folder, its window, and how much work it puts into each step."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ipa_rl.errors import InputError
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.synthetic import USUAL_RPS
from ipa_rl.workload.workload import Window, load_workload

INTERVAL_S = 5
"""Seconds between decisions."""

LEAD_S = 15
"""Least seconds of load before the window begins, so that its first decision knows the load."""

MAX_REPLICAS = 6

BATCH_TIMEOUT_S = 0.06
"""Short: Ray Serve counts it from a request's arrival at a replica, the model from that at the stage."""

DROP_LIMIT_S = 10.0

START_UP_S = 10.0
"""Age at which a replica's process begins to serve; it needs five seconds of a processor until then."""

FRESH_S = 7 * 86_400
"""A profile older than this is measured again."""


@dataclass(frozen=True, slots=True)
class DemoEffort:
    """How much is measured, tried and learned.

    ``cell_limit_s``, ``precision``, ``batches``: of the profiler. ``validation_windows``: how many
    stretches opponents are tuned on and checkpoints are chosen by. ``training_steps``: of PPO.
    """

    cell_limit_s: float = 8.0
    precision: float = 0.05
    batches: tuple[int, ...] = (1, 2, 4, 8)
    validation_windows: int = 16
    training_steps: int = 720_000


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """``seconds``: length of the window; ``runs``: how often each controller serves it; ``seed``: of arrivals
    and of training. ``workload``: whose load is served, a shipped name or a folder.
    """

    folder: Path
    seconds: int = 70
    runs: int = 1
    seed: int = 0
    effort: DemoEffort = DemoEffort()
    workload: str = "twitter"

    @property
    def profile(self) -> Path:
        """Folder of the profile."""
        return self.folder / "profile"

    @property
    def agent(self) -> Path:
        """Folder of the trained agent and the tuned opponents."""
        return self.folder / "agent"

    @property
    def environment(self) -> Path:
        """File of the environment."""
        return self.folder / "digits.yaml"

    @property
    def served(self) -> Path:
        """Folder of what was served."""
        return self.folder / "served"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    def window(self) -> Window:
        """What is served: the most eventful stretch of the test part.

        It is played as fast as it was recorded: the forecasters and the clock know the load at its own pace.
        Raises InputError where the workload is too short.
        """
        workload = load_workload(self.workload).at_scale(self.scale)
        found = eventful(workload, "test", self.seconds, HISTORY_STEPS, most=1)
        if not found:
            problem = f"its test part has no {self.seconds} s without gaps after {HISTORY_STEPS} s of history"
            raise InputError(problem, file=workload.name, field="--seconds", fix="give a longer workload")
        return found[0]

    @property
    def scale(self) -> float:
        """What brings the workload's usual load to that of Twitter's, which two cores can serve."""
        return USUAL_RPS / load_workload(self.workload).level_rps

    def forget(self) -> None:
        """Delete all that could be reused."""
        for folder in (self.folder / "core", self.profile, self.agent, self.served):
            shutil.rmtree(folder, ignore_errors=True)
