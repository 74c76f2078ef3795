"""Agents that ask the exact optimum: the integer program; FA2 and RIM, as in the paper; static.

All solve by the Pareto front, which gives the integer program's optimum (`ipa_rl.solvers`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ipa_rl.agents.protocol import Decision, State
from ipa_rl.environment.definition import Definition
from ipa_rl.objective import Weights
from ipa_rl.pipeline import Configuration
from ipa_rl.workload.forecasters import Forecaster, make_forecaster
from ipa_rl.workload.steps import Loads


def forecaster_of(definition: Definition, name: str, arrivals: Loads | None = None) -> Forecaster:
    """The forecaster of a name for an environment's workload (`make_forecaster`). Raises InputError."""
    return make_forecaster(name, definition.workload, definition.step_s, arrivals)


def margined(forecast_rps: float, margin: float) -> float:
    """The load to plan for: forecast and margin, rounded to a thousandth, of small loads to three digits.

    >>> margined(7.53123, 0.1), margined(0.0123456, 0.0)
    (8.284, 0.0123)
    """
    planned_rps = forecast_rps * (1.0 + margin)
    digits = 2 - math.floor(math.log10(planned_rps)) if 0 < planned_rps < 0.1 else 3
    return round(planned_rps, digits)


@dataclass
class ProgramAgent:
    """The optimum for the forecast load, raised by a margin (0.2: a fifth more).

    Where the load cannot be served it runs what serves the most. Who learns of the load may replace the
    ``forecaster``.
    """

    name: str
    definition: Definition
    forecaster: Forecaster
    margin: float = 0.0

    def planned_for(self, state: State) -> float:
        """The planned-for load: what is forecast, with the margin."""
        return margined(self.forecaster.forecast(state.history_rps, state.clock_s), self.margin)

    def decide(self, state: State) -> Decision:
        """The exact optimum for the planned-for load."""
        planned_rps = self.planned_for(state)
        definition = self.definition.serving(state.service_scales)
        return Decision(definition.solve_anew(planned_rps), planned_rps)


@dataclass(frozen=True)
class StaticAgent:
    """One configuration for ever, planned for ``planned_rps``."""

    name: str
    configuration: Configuration
    planned_rps: float

    def decide(self, state: State) -> Decision:
        """Always the same, whatever the state."""
        del state
        return Decision(self.configuration, self.planned_rps)


def fixed_variants(definition: Definition, variants: tuple[str, ...]) -> Definition:
    """FA2: the variants are fixed, replicas and batch sizes are chosen."""
    return definition.with_problem(pipeline=definition.pipeline.restricted_to(variants))


def cheap_variants(definition: Definition) -> tuple[str, ...]:
    """FA2-low's, one a stage; where none are given, those that serve the usual load for the fewest cores."""
    return definition.baselines.fa2_low or _variants_for(definition, replace(definition.weights, alpha=0.0))


def accurate_variants(definition: Definition) -> tuple[str, ...]:
    """FA2-high's, one a stage; where none are given, the most accurate that serve the usual load in time."""
    return definition.baselines.fa2_high or _variants_for(definition, replace(definition.weights, beta=0.0))


def _variants_for(definition: Definition, weights: Weights) -> tuple[str, ...]:
    """The optimum's for the usual load under other weights."""
    chosen = definition.with_problem(weights=weights).best_for(definition.workload.level_rps)
    return tuple(stage.variant for stage in chosen.stages)


def fixed_replicas(definition: Definition) -> Definition:
    """RIM: the replicas are fixed, variants and batch sizes are chosen.

    Where none are given, they are the optimum's for the highest load of the train part.
    """
    given = definition.baselines.rim_replicas
    if given is None:
        given = tuple(stage.replicas for stage in definition.best_for(definition.highest_rps).stages)
    return definition.with_problem(fixed_replicas=given)


def static_agent(definition: Definition, planned_rps: float) -> StaticAgent:
    """The optimum for one load, kept."""
    return StaticAgent("static", definition.best_for(planned_rps), planned_rps)
