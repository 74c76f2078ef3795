"""What a simulated cluster lives through: arrivals, and what goes wrong meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ipa_rl.agents.opponents import WINDOW_S
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Window, paper_window, scaled, windows

JudgedPart = Literal["validation", "test"]
"""Parts of the trace that may be judged on."""

PaperWindow = Literal["bursty", "steady-low", "steady-high", "fluctuating"]


@dataclass(frozen=True)
class Disturbance:
    """How the world differs from what controllers were told; times in seconds since the window's start.

    ``start_up_scale``, ``service_scale``: factors on start-up delays and latencies. ``outage_at_s``: when
    ``outage_share`` of every stage's ready replicas fails. ``gap_s``: begin and end of a stretch of which
    no loads are reported, not from the first second on.
    """

    start_up_scale: float = 1.0
    service_scale: float = 1.0
    outage_at_s: float | None = None
    outage_share: float = 0.5
    gap_s: tuple[int, int] | None = None


@dataclass(frozen=True)
class Scenario:
    """A window of arrivals, and what goes wrong in it."""

    window: Window
    disturbance: Disturbance = Disturbance()

    @property
    def name(self) -> str:
        """That of the window."""
        return self.window.name

    def world(self, definition: Definition) -> Definition:
        """The environment as it really is here; ``definition`` is what controllers were told."""
        told = definition.timing
        return replace(
            definition,
            timing=replace(
                told,
                start_up_scale=told.start_up_scale * self.disturbance.start_up_scale,
                service_scale=told.service_scale * self.disturbance.service_scale,
            ),
        )


def check_fluid(scenario: Scenario) -> None:
    """Raises InputError where the fluid simulator cannot play the scenario."""
    if scenario.disturbance.outage_at_s is not None or scenario.window.times_s is not None:
        problem = f"the fluid simulator knows neither outages nor times of single requests ({scenario.name})"
        raise InputError(problem, field="--fluid", fix="leave it out")


def part_scenarios(part: JudgedPart, most: int | None, scale: float = 1.0) -> list[Scenario]:
    """The 20-minute windows of a part of the trace, at most so many, evenly spread, at a workload's scale."""
    whole = windows(part, WINDOW_S, HISTORY_S)
    if most is not None and most < len(whole):
        whole = [whole[i] for i in np.linspace(0, len(whole) - 1, most).round().astype(int)]
    return [Scenario(scaled(window, scale)) for window in whole]


def paper_scenario(name: PaperWindow, scale: float = 1.0) -> Scenario:
    """One of the paper's windows at the scale of a workload."""
    return Scenario(scaled(paper_window(name, HISTORY_S), scale))
