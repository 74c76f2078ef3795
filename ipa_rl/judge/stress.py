"""The stress suite: loads and faults that the workload does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import Comparison
from ipa_rl.judge.experiment import Trial
from ipa_rl.judge.simulated_cluster import Disturbance, Scenario
from ipa_rl.solvers import Infeasible
from ipa_rl.workload.clock import season_of
from ipa_rl.workload.synthetic import USUAL_RPS, on_off_rates
from ipa_rl.workload.workload import Window

LENGTH = 900
"""Units of time that a scenario lasts (`Definition.unit_s`); seconds for pipelines like the paper's."""
BEGINS = 300
"""When something happens, in those scenarios in which something does."""

SAME = 5e-5
"""Violations that are apart by less read the same in hundredths of a percent."""

OUT_OF_SLA = 0.01
"""An interval in which more than this share of the requests violated the SLA is out of it."""


@dataclass(frozen=True)
class Stress:
    """``rate_rps``: (definition, generator) -> mean load in each unit of time, (LENGTH,).

    Loads are those of a workload whose usual load is USUAL_RPS; others' are as many times lighter or heavier.
    ``disturbance``: its times are in units as well.
    """

    name: str
    meaning: str
    rate_rps: Callable[[Definition, np.random.Generator], FloatArray]
    disturbance: Disturbance = field(default_factory=Disturbance)


def _between(low_rps: float, high_rps: float, length: int, ramp: int = 1) -> FloatArray:
    """low_rps, but high_rps for ``length`` from BEGINS on, reached over ``ramp``."""
    rates = np.full(LENGTH, low_rps)
    rates[BEGINS : BEGINS + length] = high_rps
    rates[BEGINS : BEGINS + ramp] = np.linspace(low_rps, high_rps, ramp + 1)[1:]
    return rates


def _steps(*_: object) -> FloatArray:
    return _between(6.0, 18.0, 200)


SUITE = (
    Stress(
        "flash crowd",
        "a quarter to two and a half times the usual load within 5 s, for 2 minutes",
        lambda *_: _between(3.0, 30.0, 120, ramp=5),
    ),
    Stress(
        "outage",
        "half of the replicas of every stage fail",
        lambda *_: np.full(LENGTH, USUAL_RPS),
        Disturbance(outage_at_s=BEGINS + 5),
    ),
    Stress(
        "slow starts",
        "start-up takes 5 times as long; half the usual load steps to one and a half times, and back",
        _steps,
        Disturbance(5.0),
    ),
    Stress(
        "profile error",
        "service 30 % slower than profiled; the same steps",
        _steps,
        Disturbance(service_scale=1.3),
    ),
    Stress(
        "trace gap",
        "no loads reported for 60 s, in which the load steps up",
        _steps,
        Disturbance(gap_s=(BEGINS - 10, BEGINS + 50)),
    ),
    Stress(
        "overload",
        "twice the highest load that can be served, for a minute",
        lambda definition, _: _between(USUAL_RPS, 2.0 * capacity_rps(definition) / _factor(definition), 60),
    ),
    Stress("zero load", "no requests for 5 minutes", lambda *_: _between(USUAL_RPS, 0.0, 300)),
    Stress(
        "sinusoid",
        "a third to five thirds of the usual load and back in 5 minutes",
        lambda *_: USUAL_RPS + 8.0 * np.sin(2.0 * np.pi * np.arange(LENGTH) / 300.0),
    ),
    Stress(
        "on-off",
        "a third or twice the usual load, switched at random",
        lambda _, rng: on_off_rates(LENGTH, 4.0, 24.0, rng),
    ),
)
"""Times are those of a pipeline whose unit of time is a second."""


def _factor(definition: Definition) -> float:
    """The workload's usual load over that of the suite."""
    return definition.workload.level_rps / USUAL_RPS


def capacity_rps(definition: Definition) -> float:
    """The highest load that a configuration within the limits serves within the SLA."""
    answer = definition.solver.solve(1e9)
    assert isinstance(answer, Infeasible)
    return answer.served_rps


def stress_trials(definition: Definition, draws: int, first_draw: int = 0) -> list[Trial]:
    """Every scenario of the suite with every draw of loads and service times."""
    return [
        Trial(_scenario(definition, stress, position, first_draw + draw), draw)
        for position, stress in enumerate(SUITE)
        for draw in range(draws)
    ]


def _scenario(definition: Definition, stress: Stress, position: int, seed: int) -> Scenario:
    rng, unit = np.random.default_rng([seed, position]), definition.unit_s
    rates = np.repeat(stress.rate_rps(definition, rng) * _factor(definition), unit)
    past, history_s = np.full(definition.history_s, rates[0]), definition.history_s
    arrivals = rng.poisson(np.concatenate([past, rates])).astype(np.int64)
    period_s = season_of(definition.workload).period_s or 1
    window = Window(stress.name, arrivals, history_s, clock_s=int(rng.integers(period_s)))
    return Scenario(window, stress.disturbance.stretched(unit))


@dataclass(frozen=True)
class Endured:
    """A controller in one scenario: means over the draws.

    ``recovery_s``: the longest stretch of intervals that were out of the SLA.
    """

    scenario: str
    controller: str
    utility: float
    violations: float
    recovery_s: float
    cores: float
    p99_s: float
    fallbacks: float = 0.0


def endured(comparison: Comparison) -> list[Endured]:
    """A row for each scenario and controller of a comparison of the suite."""
    found = []
    for scenario, alone in comparison.by_scenario():
        for i, row in enumerate(alone.rows()):
            out_of_sla = float(np.mean([trial[i].longest_violated(OUT_OF_SLA) for trial in alone.trials]))
            recovery_s = out_of_sla * comparison.definition.timing.interval_s
            same = {name: row[name] for name in ("utility", "violations", "cores", "p99_s", "fallbacks")}
            found.append(Endured(scenario, row["controller"], recovery_s=recovery_s, **same))
    return found


def by_scenario(rows: Sequence[Endured], ours: str, theirs: str) -> Iterator[tuple[str, Endured, Endured]]:
    """Each scenario, with what both controllers endured in it."""
    by_name = {(row.scenario, row.controller): row for row in rows}
    for stress in SUITE:
        yield stress.name, by_name[stress.name, ours], by_name[stress.name, theirs]


MOST_TIMES = 1.5
"""An agent must not violate more than this many times what its best opponent does."""


def overrun(rows: Sequence[Endured], ours: str, theirs: str) -> list[str]:
    """The scenarios in which one controller violates more than MOST_TIMES what another does."""
    return [
        f"{name}: {100 * mine.violations:.2f} % against {100 * other.violations:.2f} %"
        for name, mine, other in by_scenario(rows, ours, theirs)
        if mine.violations > MOST_TIMES * other.violations + SAME
    ]
