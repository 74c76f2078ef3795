"""Whom an agent is compared with: tuned systems, and how to build them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ipa_rl.agents.autoscaler import Autoscaler
from ipa_rl.agents.lookahead import LookAheadAgent
from ipa_rl.agents.meters import MeasuringAgent, meters_of
from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.program import (
    ProgramAgent,
    accurate_variants,
    cheap_variants,
    fixed_replicas,
    fixed_variants,
    forecaster_of,
    static_agent,
)
from ipa_rl.agents.protocol import Agent
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.workload.forecasters import AUTOREGRESSIVE, LSTM, PERFECT
from ipa_rl.workload.steps import Loads

PAS_TOLERANCE = 0.5
"""Points of PAS x 100 that an agent may be below its best opponent."""

PROGRAM, WAITING, PAPER, LOOK_AHEAD = "ip", "ip with waits", "ip as published", "look-ahead"
PLANNER, RECORDED = "planner", "recorded"
FA2_LOW, FA2_HIGH, RIM, HPA, STATIC = "fa2-low", "fa2-high", "rim", "hpa", "static"
UNTUNED_FORECASTER = "window-max:30"
PLANNING = (PROGRAM, WAITING, PAPER, FA2_LOW, FA2_HIGH, RIM)
"""Systems that only ask for the load to plan for."""

MEASURED = ("utility", "pas_x100", "cores", "violations")
"""What tuning measures of an opponent."""


@dataclass(frozen=True)
class Opponent:
    """A tuned system, one of the names above.

    ``forecaster`` (a name for `make_forecaster`; of a planner RECORDED futures, or PERFECT) and ``margin``:
    what a program plans for. ``validation``:
    its means over the validation windows, empty where nobody tuned it. ``options``: of the look-ahead
    ("pays_within_s") and of the autoscaler ("target", "stabilisation_s"). ``load_rps``: what the static one
    is planned for. ``variants``: FA2_LOW or FA2_HIGH, whose variants the autoscaler runs.
    """

    system: str
    forecaster: str
    margin: float
    validation: Mapping[str, float]
    options: Mapping[str, float] = field(default_factory=dict)
    load_rps: float = 0.0
    variants: str = ""

    @property
    def name(self) -> str:
        """Name in tables."""
        is_told = self.is_program or self.system == LOOK_AHEAD or (self.system == PLANNER and self.foresees)
        return f"{self.system} {self.forecaster}" if is_told else self.system

    @property
    def basis(self) -> str:
        """In tables: its forecaster; the load of the static one; whose variants the autoscaler runs."""
        return self.variants or self.forecaster or f"{self.load_rps:g}"

    @property
    def is_tuned(self) -> bool:
        """Whether it was measured on the validation part, so that it can be called better than another."""
        return set(MEASURED) <= self.validation.keys()

    @property
    def is_program(self) -> bool:
        """Whether it is the integer program, the paper's or the one that counts waits."""
        return self.system in (PROGRAM, WAITING)

    @property
    def foresees(self) -> bool:
        """Whether it knows the loads to come, as no controller does."""
        return self.forecaster.startswith(PERFECT)


def system_definition(definition: Definition, system: str) -> Definition:
    """The environment as a system's solver sees it: FA2 and RIM choose among less, or waits count."""
    if system == FA2_LOW:
        return fixed_variants(definition, cheap_variants(definition))
    if system == FA2_HIGH:
        return fixed_variants(definition, accurate_variants(definition))
    if system == WAITING:
        return definition.with_problem(waits=True)
    return fixed_replicas(definition) if system == RIM else definition


def program_agent(definition: Definition, opponent: Opponent, arrivals: Loads | None = None) -> ProgramAgent:
    """The integer program with an opponent's forecaster and margin, as its system restricts it."""
    solver = system_definition(definition, opponent.system)
    forecaster = forecaster_of(definition, opponent.forecaster, arrivals)
    return ProgramAgent(opponent.name, solver, forecaster, opponent.margin)


def build(definition: Definition, opponent: Opponent, arrivals: Loads) -> Agent:
    """A tuned opponent as an Agent for one stretch of arrivals, which only the perfect forecast looks at."""
    if opponent.system == STATIC:
        return static_agent(definition, opponent.load_rps)
    if opponent.system == HPA:
        runs = system_definition(definition, opponent.variants)
        return Autoscaler(opponent.name, runs, **opponent.options)
    if opponent.system == LOOK_AHEAD:
        forecaster = forecaster_of(definition, opponent.forecaster, arrivals)
        return LookAheadAgent(opponent.name, definition, forecaster, opponent.margin, **opponent.options)
    if opponent.system == PLANNER:
        known = arrivals if opponent.foresees else None
        planner = make_planner(definition, opponent.name, opponent.margin, known)
        return MeasuringAgent(planner, meters_of(definition))
    return program_agent(definition, opponent, arrivals)


def untuned(usual_rps: float = 20.0) -> list[Opponent]:
    """Every opponent without margins, for environments that nobody tuned yet."""
    names = ("last", UNTUNED_FORECASTER, "moving-average:30", AUTOREGRESSIVE, LSTM, f"{PERFECT}:20")
    programs = [Opponent(PROGRAM, name, 0.0, {}) for name in names]
    others = [Opponent(PLANNER, RECORDED, 0.1, {}), Opponent(PLANNER, PERFECT, 0.1, {})]
    others += [Opponent(system, UNTUNED_FORECASTER, 0.0, {}) for system in (WAITING, FA2_LOW, FA2_HIGH, RIM)]
    scaler = Opponent(HPA, "", 0.0, {}, {"target": 0.7, "stabilisation_s": 300.0}, variants=FA2_LOW)
    return [*programs, *others, scaler, Opponent(STATIC, "", 0.0, {}, load_rps=usual_rps)]


def are_tuned(opponents: Sequence[Opponent]) -> bool:
    """Whether all are, and there are any: else none of them is the best, and nothing is chosen by them."""
    return bool(opponents) and all(one.is_tuned for one in opponents)


def best_of(opponents: Sequence[Opponent]) -> Opponent:
    """The highest utility on the validation part, of tuned ones. Raises InputError where there is none."""
    if not opponents:
        raise InputError("lack the integer program", field="opponents", fix="tune again: ipa-rl tune NAME")
    return max(opponents, key=lambda opponent: opponent.validation["utility"])


def best_program(opponents: Sequence[Opponent]) -> Opponent:
    """The integer program whose forecaster and margin did best, with or without waits; none that foresees."""
    return best_of([o for o in opponents if o.is_program and not o.foresees])


def best_real(opponents: Sequence[Opponent]) -> Opponent:
    """The best opponent that can be built: the perfect forecast aside."""
    return best_of([o for o in opponents if not o.foresees])


def best_foreseeing(opponents: Sequence[Opponent]) -> Opponent:
    """The integer program with the perfect forecast."""
    return best_of([o for o in opponents if o.is_program and o.foresees])


def fallback_program(opponents: Sequence[Opponent]) -> Opponent:
    """The program that an agent falls back to: the best; of untuned ones that for the window's maximum."""
    if are_tuned(opponents):
        return best_program(opponents)
    programs = [one for one in opponents if one.is_program and not one.foresees]
    return next((one for one in programs if one.forecaster == UNTUNED_FORECASTER), programs[0])


def rivals(opponents: Sequence[Opponent]) -> tuple[Opponent, ...]:
    """Whom an agent is paired with: the best program, the best opponent of all, the best foreseeing one.

    Nobody, where they are not tuned.
    """
    if not are_tuned(opponents):
        return ()
    found = [best_program(opponents), best_real(opponents), best_foreseeing(opponents)]
    return tuple(one for i, one in enumerate(found) if one not in found[:i])
