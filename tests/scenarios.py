"""Short scenarios, and what an agent sees of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents import State
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import Window, paper_window


def short(name: str, seconds: int = 120) -> Scenario:
    """The first seconds of one of the paper's windows."""
    window = paper_window(name, HISTORY_S)
    return Scenario(replace(window, arrivals=window.arrivals[: HISTORY_S + seconds]))


def scenario(loads: NDArray[Any]) -> Scenario:
    """Loads of which the first HISTORY_S have passed."""
    return Scenario(Window("some", loads.astype(np.int64), HISTORY_S))


def state(loads: NDArray[Any], definition: Definition) -> State:
    window = Window("past", loads.astype(np.int64), len(loads))
    return SimulatedCluster(definition, Scenario(window)).observe()


VIDEO = load_definition("video")


def steady(rate: float, seconds: int = 300) -> Scenario:
    return Scenario(Window("steady", np.full(HISTORY_S + seconds, int(rate)), HISTORY_S))
