"""The integer program that knows what changing costs: replicas that are started are charged for.

The paper's program is solved every interval as if replicas came and went for free. Here each replica that
would have to start is charged the cores it holds before it serves, spread over the time within which the
change must pay for itself. So a configuration stays where a better one is not worth moving to. Replicas that
change in place hold nothing extra: for a variant that is reloaded, all of the stage's count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.agents.program import margined
from ipa_rl.agents.protocol import Decision, State, checked_state
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, Record
from ipa_rl.simulation.tables import choices_below
from ipa_rl.simulation.transitions import starting_replicas
from ipa_rl.solvers.options import Options, Pairs, configuration, options, stage_pairs
from ipa_rl.solvers.search import best_picks
from ipa_rl.workload.forecasters import Forecaster


@dataclass(frozen=True)
class LookAheadAgent:
    """The optimum for the forecast load and its margin, less what moving there costs.

    ``pays_within_s``: seconds within which a change must pay for itself; a shorter time means fewer changes.
    """

    name: str
    definition: Definition
    forecaster: Forecaster
    margin: float
    pays_within_s: float

    def decide(self, state: State) -> Decision:
        """The best configuration with its changes charged; where none is feasible, what serves the most.

        Raises InputError where the state is not one of this pipeline.
        """
        problem = self.definition.problem
        state = checked_state(state, choices_below(problem), 1)
        planned_rps = margined(self.forecaster.forecast(state.history_rps, state.clock_s), self.margin)
        pairs = stage_pairs(problem)

        def charged(s: int, load_rps: float) -> Options:
            offered = options(problem, pairs[s], load_rps, False)
            charges = self._charges(s, offered, pairs[s], state.fleet[s])
            return replace(offered, penalty=offered.penalty + charges)

        picks = best_picks(problem, charged, planned_rps)
        if picks is None:
            return Decision(self.definition.best_for(planned_rps), planned_rps)
        return Decision(configuration(problem, picks, pairs), planned_rps)

    def _charges(self, s: int, offered: Options, pairs: Pairs, stage: Record) -> FloatArray:
        """What starting the missing replicas of each option costs, in units of the objective."""
        variants = self.definition.pipeline.stages[s].variants
        scale = self.definition.timing.start_up_scale
        delays_s = np.array([variant.start_up_s * scale for variant in variants])
        variant = pairs.variant[offered.pair]
        there = np.zeros(len(variants), dtype=np.int64)
        there[stage["active"]] += stage["ready"]
        there[stage["target"]] += stage["warm"] + starting_replicas(stage)
        reloads = np.isfinite([variant.reload_s for variant in variants])
        there = np.where(reloads, there.sum(), there)
        missing = np.maximum(offered.replicas - there[variant], 0)
        cores_s = missing * pairs.cores[offered.pair] * delays_s[variant]
        return np.asarray(self.definition.weights.beta * cores_s / self.pays_within_s, dtype=np.float64)
