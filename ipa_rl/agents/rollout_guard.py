"""An agent's choice and the program's, played forward over the same load paths: which is better?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ipa_rl.agents.outlooks import Outlooks, horizon_s
from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import IntArray
from ipa_rl.simulation.outlook import roll_out
from ipa_rl.workload.futures import LoadPaths, futures_of

CHANCE = 2.0
"""Standard errors that a difference must exceed: else it may be chance."""
WORTH = 0.04
"""A difference must be worth as much as this share of violated requests. In training an agent met loads and
faults that the load paths do not hold, and what it keeps in reserve for them looks like a waste here. Of 0,
0.005, 0.01, 0.02, 0.04 and 0.06 the least that took no reserve from the shipped agents, on validation windows
and in the stress suite."""


@dataclass
class RolloutGuard:
    """Holds two configurations against each other, over the same ``futures``."""

    definition: Definition
    futures: LoadPaths
    _outlooks: Outlooks = field(init=False)

    def __post_init__(self) -> None:
        self._outlooks = Outlooks(self.definition)

    def why_worse(self, state: State, chosen: IntArray, programs: IntArray) -> str:
        """Why the program's answer is to be taken instead of what was chosen; empty where it is not.

        Both (stages, 3), as `ipa_rl.simulation.decode` takes them; the state was checked.
        """
        if np.array_equal(chosen, programs):
            return ""
        paths_rps = self._outlooks.ahead(state, self.futures).paths_rps
        # Each goes on among all variants, and, where it keeps those that run, among these: the better counts.
        first, ways = np.stack([chosen, programs] * 2), np.array([0, 0, 1, 1])
        keeps = (first[:, :, 0] == state.fleet["target"]).all(axis=1)
        utilities = np.full((len(first), len(paths_rps)), -math.inf)
        outlook, played = self._outlooks.of(state, paths_rps), np.flatnonzero(keeps | (ways == 0))
        roll_out(state.fleet, state.queued, first, ways, outlook, played, 0, len(paths_rps), utilities)
        mine, theirs = (max(utilities[c], utilities[c + 2], key=np.mean) for c in (0, 1))
        better = theirs - mine
        error = float(better.std(ddof=1)) / math.sqrt(len(better))
        if better.mean() <= max(CHANCE * error, WORTH * self.definition.weights.rho):
            return ""
        return f"worse: the program is expected to be {better.mean():.2g} better"


def make_rollout_guard(definition: Definition) -> RolloutGuard:
    """A guard by what was recorded of the environment's workload."""
    steps = -(-horizon_s(definition) // definition.step_s)
    return RolloutGuard(definition, futures_of(definition.workload, definition.step_s, steps))
