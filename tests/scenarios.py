"""Short scenarios, and what an agent sees of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents import State
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window, load_workload


def short(name: str, seconds: int = 120) -> Scenario:
    """The first seconds of one of the paper's windows."""
    window = load_workload("twitter").named_window(name, HISTORY_STEPS)
    return Scenario(replace(window, arrivals=window.arrivals[: HISTORY_STEPS + seconds]))


def scenario(loads: NDArray[Any]) -> Scenario:
    """Loads of which the first HISTORY_STEPS have passed."""
    return Scenario(Window("some", loads.astype(np.int64), HISTORY_STEPS))


def state(loads: NDArray[Any], definition: Definition) -> State:
    window = Window("past", loads.astype(np.int64), len(loads))
    return SimulatedCluster(definition, Scenario(window)).observe()


VIDEO = load_definition("video")


def steady(rate: float, seconds: int = 300) -> Scenario:
    return Scenario(Window("steady", np.full(HISTORY_STEPS + seconds, int(rate)), HISTORY_STEPS))
