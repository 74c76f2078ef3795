"""Strong opponents: every system with what serves it best on the validation part, in the request-level judge.

Where there are many settings, all are tried in the fluid simulator first; those that lead there are judged
request by request, and the highest mean utility of these is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product

import numpy as np

from ipa_rl.agents.opponents import (
    FA2_HIGH,
    FA2_LOW,
    HPA,
    LOOK_AHEAD,
    MEASURED,
    PAPER,
    PLANNER,
    PLANNING,
    PROGRAM,
    RECORDED,
    RIM,
    STATIC,
    WAITING,
    Opponent,
    best_of,
    build,
)
from ipa_rl.agents.windows import (
    MOST_WINDOWS,
    evenly,
    forecasts,
    planned_loads,
    planned_rows,
    play_opponent,
    play_planned,
)
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import summarize
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.judge.experiment import FEW_WINDOWS, SEEDS, Setup
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.pools import Pool, in_order
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind, make_simulator
from ipa_rl.progress import Report
from ipa_rl.simulation.accounting import SUMS
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.forecasters import AUTOREGRESSIVE, LSTM, PERFECT, is_available
from ipa_rl.workload.quantiles import QUANTILES
from ipa_rl.workload.steps import least_rps
from ipa_rl.workload.workload import Window

MARGINS = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
WAITING_SHIFTS = (-0.3, -0.2, -0.1, 0.0)
"""Margins of the program that counts waits, beyond that of the best which does not."""
FA2_MARGINS = (-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.5)
PAYS_WITHIN_INTERVALS = (1, 3, 10, 30)
TARGETS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
STABILISATION_INTERVALS = (0, 6, 30)
STATIC_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
EVERY = 2
"""One in so many validation windows is played."""
FEWEST = 10
"""So many are played at least, where there are so many."""
MOST_REQUESTS = 4_000_000
"""Of the windows together: the judge plays each of them hundreds of times."""
REPORTED_REQUESTS = 8_000_000
"""Of the windows of the test part that an agent is reported on, where nobody says how many."""
LEADERS = 4
"""So many of each group go from the fluid simulator to the judge."""

Group = list[Opponent]


@dataclass(frozen=True)
class Validation:
    """What opponents are tried on: an environment under a preference, and how many windows at most.

    ``eventful_s``: instead of the windows of the part, the most eventful stretches of that length.
    """

    setup: Setup
    most: int | None = None
    eventful_s: int | None = None

    def windows(self) -> Sequence[Window]:
        """The windows of the validation part that are played."""
        return _windows(self)


@lru_cache(maxsize=4)
def _windows(validation: Validation) -> Sequence[Window]:
    definition, eventful_s, most = validation.setup.definition(), validation.eventful_s, validation.most
    if eventful_s is None:
        found = definition.windows("validation")
        found = found[:: EVERY if len(found) >= 2 * FEWEST else 1][:most]
        return evenly(found, affordable(found, MOST_REQUESTS))
    history_s, least = definition.history_s, least_rps(definition.step_s)
    return eventful(definition.workload, "validation", eventful_s, history_s, least, most)


def affordable(windows: Sequence[Window], most_requests: int) -> int:
    """How many of the windows hold so many requests together, one at least and MOST_WINDOWS at most."""
    each = np.mean([one.arrivals[one.history_s :].sum() for one in windows])
    return int(np.clip(most_requests / max(each, 1.0), 1, MOST_WINDOWS))


def usual_windows(definition: Definition) -> int:
    """How many windows of the test part an agent is reported on, where nobody says."""
    found = definition.windows("test")
    return min(affordable(found, REPORTED_REQUESTS), len(found))


def try_fluid(validation: Validation, opponent: Opponent) -> Opponent:
    """The opponent with its means in the fluid simulator."""
    definition, stretches = validation.setup.definition(), validation.windows()
    if opponent.system in PLANNING:
        planned = planned_loads(opponent, _forecasts(validation, opponent.forecaster))
        found = play_planned(definition, opponent.system, planned, stretches)
    else:
        found = play_opponent(definition, opponent, stretches)
    return replace(opponent, validation=found.means())


@lru_cache(maxsize=64)
def _forecasts(validation: Validation, forecaster: str) -> FloatArray:
    """Forecasts of that name at every decision, (windows, steps); kept by process."""
    return forecasts(validation.setup.definition(), forecaster, validation.windows())


def try_judge(validation: Validation, opponent: Opponent) -> Opponent:
    """The opponent with its means in the request-level simulator, where windows are few over several runs."""
    definition, windows = validation.setup.definition(), validation.windows()
    if opponent.system in PLANNING:
        planned = planned_loads(opponent, _forecasts(validation, opponent.forecaster))
        rows = planned_rows(definition, opponent.system, planned)
    each = []
    for w, window in enumerate(windows):
        for seed in range(SEEDS if len(windows) < FEW_WINDOWS else 1):
            if opponent.system in PLANNING:
                each.append(_judge_rows(definition, window, rows[w], seed))
            else:
                agent = build(definition, opponent, window.arrivals)
                each.append(figures(definition, play(definition, agent, Scenario(window), seed=seed)))
    means = {name: float(np.mean([one[name] for one in each])) for name in MEASURED}
    return replace(opponent, validation=means)


def _judge_rows(definition: Definition, window: Window, rows: IntArray, seed: int) -> dict[str, float]:
    """Figures of one window under the decisions (steps, stages, 3)."""
    kind = SimulatorKind.request_level
    simulator = make_simulator(definition, Scenario(window), kind, seed, keeps_requests=False)
    history = window.arrivals[: window.history_s].astype(np.float64)
    simulator.place(definition.rows_for(definition.reference_rps(history)))
    for one in rows:
        simulator.apply(one)
        simulator.advance(definition.timing.interval_s)
    totals = simulator.happened()
    return summarize(definition.weights, {name: float(totals[name]) for name in SUMS})


def candidates(definition: Definition) -> dict[str, Group]:
    """All settings that are tried, by group; of each group one is kept."""
    horizon, interval_s = definition.horizon, float(definition.timing.interval_s)
    kinds: dict[str, list[str]] = {
        "last": ["last"],
        "window-max": [f"window-max:{s}" for s in (10, 20, 30, 60, 90, 120)],
        "moving-average": [f"moving-average:{s}" for s in (5, 10, 20, 30, 60)],
        "clock": [f"clock:{s}" for s in (10, 20, 30, 60)],
        AUTOREGRESSIVE: [AUTOREGRESSIVE],
        "quantile": [f"quantile:{100 * q:g}@{horizon}" for q in QUANTILES],
        LSTM: [LSTM],
        PERFECT: [f"{PERFECT}:{s}" for s in (10, 20, horizon)],
    }
    workload = definition.workload
    for name in (LSTM, AUTOREGRESSIVE):
        if not is_available(name, workload, definition.step_s):
            del kinds[name]
    real = [name for kind, names in kinds.items() if kind != PERFECT for name in names]
    groups = {f"{PROGRAM} {kind}": _planning(PROGRAM, names, MARGINS) for kind, names in kinds.items()}
    groups |= {system: _planning(system, real, FA2_MARGINS) for system in (FA2_LOW, FA2_HIGH)}
    # The planner's margin is that of the program that goes on in its model: it makes no difference.
    for name in (RECORDED, PERFECT):
        groups[f"{PLANNER} {name}"] = [Opponent(PLANNER, name, 0.1, {})]
    groups[RIM] = _planning(RIM, real, (0.0,))
    groups[HPA] = [
        Opponent(
            HPA, "", 0.0, {}, {"target": target, "stabilisation_s": stable * interval_s}, variants=variants
        )
        for variants, target, stable in product((FA2_LOW, FA2_HIGH), TARGETS, STABILISATION_INTERVALS)
    ]
    quantiles = np.quantile(workload.part("validation"), STATIC_QUANTILES)
    loads = np.unique(np.maximum(workload.scale * quantiles, least_rps(definition.step_s))).tolist()
    groups[STATIC] = [Opponent(STATIC, "", 0.0, {}, load_rps=float(f"{load:g}")) for load in loads]
    if LSTM in kinds:
        groups[PAPER] = [Opponent(PAPER, LSTM, definition.baselines.ip_margin, {})]
    return groups


def _planning(system: str, forecasters: Iterable[str], margins: Iterable[float]) -> Group:
    return [Opponent(system, name, margin, {}) for name, margin in product(forecasters, margins)]


def refined_candidates(programs: Sequence[Opponent], interval_s: float) -> dict[str, Group]:
    """Look-aheads, and programs that count waits, about the best real program and the best that foresees."""
    groups = {}
    for kind, known in (("real", [o for o in programs if not o.foresees]), (PERFECT, programs)):
        base = best_of([o for o in known if o.foresees == (kind == PERFECT)])
        margins = [base.margin + shift for shift in (-0.1, 0.0, 0.1)]
        groups[f"{LOOK_AHEAD} {kind}"] = [
            Opponent(LOOK_AHEAD, base.forecaster, round(margin, 3), {}, {"pays_within_s": pays * interval_s})
            for margin, pays in product(margins, PAYS_WITHIN_INTERVALS)
        ]
        lower = [round(base.margin + shift, 3) for shift in WAITING_SHIFTS]
        groups[f"{WAITING} {kind}"] = _planning(WAITING, [base.forecaster], lower)
    return groups


def tune(
    validation: Validation,
    pool: Pool,
    report: Report,
    only: Sequence[str] | None = None,
    known: Sequence[Opponent] = (),
) -> list[Opponent]:
    """All opponents, each at its best by mean utility; ``only`` of groups whose names begin so.

    Those ``known`` stay as they are, and nothing else of their systems is tried.
    """
    definition, systems = validation.setup.definition(), {one.system for one in known}
    groups = _of_others(candidates(definition), systems)
    if only is not None:
        groups = {name: group for name, group in groups.items() if name.startswith(tuple(only))}
    kept = [*known, *_tournament(validation, groups, pool, report, "tune")]
    programs = [one for one in kept if one.system == PROGRAM]
    if only is None:
        refined = refined_candidates(programs, float(definition.timing.interval_s))
        kept += _tournament(validation, _of_others(refined, systems), pool, report, "refine")
    return kept


def _of_others(groups: dict[str, Group], systems: set[str]) -> dict[str, Group]:
    """The groups of other systems than these."""
    return {name: group for name, group in groups.items() if group[0].system not in systems}


def _tournament(
    validation: Validation, groups: dict[str, Group], pool: Pool, report: Report, part: str
) -> list[Opponent]:
    """The best of each group: of large ones all in the fluid simulator; the leaders of each in the judge."""
    large = {name: group for name, group in groups.items() if len(group) > LEADERS}
    tried = _play(partial(try_fluid, validation), large, pool, report, f"{part} 1/2")
    leading = groups | {name: _ranked(group)[:LEADERS] for name, group in tried.items()}
    judged = _play(partial(try_judge, validation), leading, pool, report, f"{part} 2/2")
    return [_ranked(group)[0] for group in judged.values()]


def _ranked(group: Group) -> Group:
    return sorted(group, key=lambda one: -one.validation["utility"])


def _play(
    trial: partial[Opponent], groups: dict[str, Group], pool: Pool, report: Report, part: str
) -> dict[str, Group]:
    """Every opponent of every group tried, in order."""
    flat = [one for group in groups.values() for one in group]
    played = iter(in_order(pool, trial, flat, report, part))
    return {name: [next(played) for _ in group] for name, group in groups.items()}
