"""The stress suite: loads and faults that the trace does not hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import Comparison
from ipa_rl.judge.jobs import Job
from ipa_rl.judge.play import figures
from ipa_rl.judge.scenario import Disturbance, Scenario
from ipa_rl.simulation.accounting import latency_quantile_s
from ipa_rl.solvers import Infeasible
from ipa_rl.workload.clock import HOUR_S
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.synthetic import on_off_rates
from ipa_rl.workload.trace import Window

LENGTH_S = 900
BEGINS_S = 300
"""When something happens, in those scenarios in which something does."""

_NOTHING = 5e-5
"""Half of a hundredth of a percent, which reads as none in tables."""

OUT_OF_SLA = 0.01
"""An interval in which more than this share of the requests violated the SLA is out of it."""

_RATE_RPS = 12.0
"""Mean load of the paper's bursty window."""


@dataclass(frozen=True)
class Stress:
    """``rate_rps``: (definition, generator) -> mean load of each second (LENGTH_S,)."""

    name: str
    meaning: str
    rate_rps: Callable[[Definition, np.random.Generator], FloatArray]
    disturbance: Disturbance = field(default_factory=Disturbance)


def _steady(definition: Definition, rng: np.random.Generator) -> FloatArray:
    del definition, rng
    return np.full(LENGTH_S, _RATE_RPS)


def _between(low_rps: float, high_rps: float, seconds: int, ramp_s: int = 1) -> FloatArray:
    """low_rps, but high_rps for ``seconds`` from BEGINS_S on, reached over ``ramp_s``."""
    rates = np.full(LENGTH_S, low_rps)
    rates[BEGINS_S : BEGINS_S + seconds] = high_rps
    ramp = np.linspace(low_rps, high_rps, ramp_s + 1)[1:]
    rates[BEGINS_S : BEGINS_S + ramp_s] = ramp
    return rates


def _flash(definition: Definition, rng: np.random.Generator) -> FloatArray:
    del definition, rng
    return _between(3.0, 30.0, 120, ramp_s=5)


def _step(definition: Definition, rng: np.random.Generator) -> FloatArray:
    del definition, rng
    return _between(6.0, 18.0, 200)


def _nothing(definition: Definition, rng: np.random.Generator) -> FloatArray:
    del definition, rng
    return _between(_RATE_RPS, 0.0, 300)


def _overload(definition: Definition, rng: np.random.Generator) -> FloatArray:
    del rng
    return _between(_RATE_RPS, 2.0 * capacity_rps(definition), 60)


def _sinusoid(definition: Definition, rng: np.random.Generator) -> FloatArray:
    del definition, rng
    seconds = np.arange(LENGTH_S)
    return np.asarray(_RATE_RPS + 8.0 * np.sin(2.0 * np.pi * seconds / 300.0))


def _on_off(definition: Definition, rng: np.random.Generator) -> FloatArray:
    del definition
    return on_off_rates(LENGTH_S, 4.0, 24.0, rng)


SUITE = (
    Stress("flash crowd", "3 to 30 requests/s within 5 s, for 2 minutes", _flash),
    Stress(
        "outage", "half of the replicas of every stage fail", _steady, Disturbance(outage_at_s=BEGINS_S + 5)
    ),
    Stress("slow starts", "start-up takes 5 times as long; load steps 6, 18, 6", _step, Disturbance(5.0)),
    Stress(
        "profile error",
        "service 30 % slower than profiled; load steps 6, 18, 6",
        _step,
        Disturbance(1.0, 1.3),
    ),
    Stress(
        "trace gap",
        "no loads reported for 60 s, in which the load steps from 6 to 18",
        _step,
        Disturbance(gap_s=(BEGINS_S - 10, BEGINS_S + 50)),
    ),
    Stress("overload", "twice the highest load that can be served, for a minute", _overload),
    Stress("zero load", "no requests for 5 minutes", _nothing),
    Stress("sinusoid", "4 to 20 requests/s and back in 5 minutes", _sinusoid),
    Stress("on-off", "4 or 24 requests/s, switched at random", _on_off),
)


def capacity_rps(definition: Definition) -> float:
    """The highest load that a configuration within the limits serves within the SLA."""
    answer = definition.solver.solve(1e9)
    assert isinstance(answer, Infeasible)
    return answer.served_rps


def stress_jobs(definition: Definition, draws: int, first_draw: int = 0) -> list[Job]:
    """Every scenario of the suite with every draw of loads and service times."""
    return [
        Job(_scenario(definition, stress, position, first_draw + draw), draw)
        for position, stress in enumerate(SUITE)
        for draw in range(draws)
    ]


def _scenario(definition: Definition, stress: Stress, position: int, seed: int) -> Scenario:
    rng = np.random.default_rng([seed, position])
    rates = stress.rate_rps(definition, rng)
    past = np.full(HISTORY_S, rates[0])
    arrivals = rng.poisson(np.concatenate([past, rates])).astype(np.int64)
    window = Window(stress.name, arrivals, HISTORY_S, clock_s=int(rng.integers(HOUR_S)))
    return Scenario(window, stress.disturbance)


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
    description = comparison.description
    return [
        _endured(comparison, scenario, name, [seed[i] for seed in comparison.played[s]])
        for s, scenario in enumerate(description.scenarios)
        for i, name in enumerate(description.controllers)
    ]


def _endured(comparison: Comparison, scenario: str, name: str, played: list[Any]) -> Endured:
    definition = comparison.definition
    each = [figures(definition, one) for one in played]
    steps = [one.longest_violated(OUT_OF_SLA) for one in played]
    histogram = np.sum([one.histogram for one in played], axis=0)
    return Endured(
        scenario,
        name,
        utility=float(np.mean([one["utility"] for one in each])),
        violations=float(np.mean([one["violations"] for one in each])),
        recovery_s=float(np.mean(steps)) * definition.timing.interval_s,
        cores=float(np.mean([one["cores"] for one in each])),
        p99_s=latency_quantile_s(histogram, 0.99),
        fallbacks=float(np.concatenate([one.fallbacks for one in played]).mean()),
    )


MOST_TIMES = 1.5
"""An agent must not violate more than so many times what its best opponent does (issue 4)."""


def overrun(rows: list[Endured], ours: str, theirs: str) -> list[str]:
    """The scenarios in which one controller violates more than MOST_TIMES what another does."""
    by_name = {(row.scenario, row.controller): row.violations for row in rows}
    return [
        f"{one.name}: {100 * by_name[one.name, ours]:.2f} % against {100 * by_name[one.name, theirs]:.2f} %"
        for one in SUITE
        if by_name[one.name, ours] > MOST_TIMES * by_name[one.name, theirs] + _NOTHING
    ]


def weak_spots(rows: list[Endured], ours: str, theirs: str) -> list[str]:
    """In words, where one controller does worse than another in utility, and in what."""
    by_name = {(row.scenario, row.controller): row for row in rows}
    found = []
    for stress in SUITE:
        mine, other = by_name[stress.name, ours], by_name[stress.name, theirs]
        worse = [
            f"{label} {format(a, form)} against {format(b, form)}"
            for label, a, b, form in (
                ("violations %", 100 * mine.violations, 100 * other.violations, ".2f"),
                ("seconds out of the SLA", mine.recovery_s, other.recovery_s, ".0f"),
                ("cores", mine.cores, other.cores, ".2f"),
            )
            if a > b and not math.isclose(a, b, rel_tol=1e-6)
        ]
        if worse:
            verdict = "lower" if mine.utility < other.utility else "higher all the same"
            found.append(f"{stress.name}: {', '.join(worse)}; utility {verdict}")
    return found


def stress_rows(rows: list[Endured]) -> list[dict[str, Any]]:
    """The same as plain values."""
    return [asdict(row) for row in rows]
