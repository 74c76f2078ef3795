"""A state and the answers of the optimum as numbers that know no scale: what a policy for any pipeline sees.

Loads are relative to the reference load, times to the SLA, the interval or the reach, costs to those of what
the program would run now. So a pipeline of one stage or twelve, of milliseconds or minutes, gives as many
numbers, and of the same size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ipa_rl.agents.protocol import State
from ipa_rl.agents.steers import FACTORS, Answers, Optima, on_grid
from ipa_rl.blocks import scores_along
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.objective import Correction, corrected, corrections
from ipa_rl.simulation.tables import held_rows, starting_as_seen
from ipa_rl.simulation.transitions import COHORTS
from ipa_rl.workload.clock import REFERENCE_STEPS, Season, season_of
from ipa_rl.workload.quantiles import (
    RECENT,
    SHAPE_ENTRIES,
    SLOTS,
    QuantileTable,
    load_shape,
    quantiles_of,
)
from ipa_rl.workload.steps import HISTORY_STEPS, by_step, least_rps, nearest_horizon, reference_load

AFTER = (1, 2, 3, 4, 6, 8)
"""Intervals after which it is looked at what could be served, and what load is to be expected."""
LEVELS = (0.5, 0.9, 0.99)
"""Quantiles of the load until then."""
PROGRAM_MARGIN = 1.1
"""On the reference load: what the program plans for to which costs are relative."""
BOUND = 6.0
"""No number is further from 0."""

STATE_FEATURES = (
    *(f"load {k} steps ago" for k in range(1, RECENT + 1)),
    *(f"mean load of slot {k}" for k in range(SLOTS)),
    *(f"highest load of slot {k}" for k in range(SLOTS)),
    *(f"load until interval {k}, {100 * level:g} %" for k in AFTER for level in LEVELS),
    "requests a step",
    "steps an interval",
    "intervals until a start has served",
    "intervals an SLA",
    "stages",
    "cost of violations",
    "cost of accuracy",
    "latency of the program",
    "capacity now",
    "requests that wait",
    "longest queue",
    "latency now",
    "starting",
    "longest start",
    "cost now",
    "share that changes its variant",
    "reloads in place",
    "starts are slower",
    "cores a replica",
)
ANSWER_FEATURES = (
    "planned for",
    "keeps the variants",
    "counts waits",
    "is held",
    "is the program's",
    "cost",
    "cost over the program's",
    "worth of its accuracy",
    "accuracy",
    "latency",
    "slack",
    "service at the narrowest stage",
    "replicas at the narrowest stage",
    "cost that starts",
    "ready after",
    "ready after, log",
    "cost of what is replaced",
    "share that changes its variant",
    "share that is missing",
    "drains the queues in",
    "capacity at once",
    *(f"capacity at interval {k}" for k in AFTER),
    *(f"capacity at interval {k} over {100 * level:g} % of the load" for k in AFTER for level in LEVELS),
)


@dataclass(frozen=True)
class Expected:
    """What the loads before say of those to come.

    ``shape``: of the loads before (`load_shape`). ``ahead`` (intervals, levels): quantiles of the highest
    load until each of AFTER. Both are relative to the reference load.
    """

    reference_rps: float
    shape: FloatArray
    ahead: FloatArray


@dataclass(frozen=True)
class Forecasts:
    """What a load is foretold by."""

    table: QuantileTable
    season: Season


def forecasts_of(definition: Definition) -> Forecasts:
    """What was fitted to the environment's workload, or, where nothing was, to another."""
    workload = definition.workload
    return Forecasts(quantiles_of(workload, definition.step_s), season_of(workload))


@dataclass(frozen=True)
class _Shown:
    """What the answers come to, (answers, stages) each."""

    rate_rps: FloatArray
    p99_s: FloatArray
    batch: FloatArray
    cores: FloatArray
    scores: FloatArray
    counts: FloatArray


@dataclass
class SteerFeatures:
    """Of one environment.

    ``optima``: whose answers are looked at. ``forecasts``: quantiles and season that the load is foretold by.
    """

    optima: Optima
    forecasts: Forecasts

    @property
    def definition(self) -> Definition:
        """The environment."""
        return self.optima.definition

    def expected(self, history_rps: FloatArray, clock_s: float) -> Expected:
        """What is to be expected after a history of loads (seconds,), at a time of the clock."""
        step_s = self.definition.step_s
        history, least = by_step(history_rps, step_s)[-HISTORY_STEPS:], least_rps(step_s)
        reference_rps, shape = reference_load(history, REFERENCE_STEPS, least), np.zeros(SHAPE_ENTRIES)
        clock = self._clock[self.forecasts.season.position(clock_s)]
        load_shape(history, reference_rps, clock, shape)
        entries = np.concatenate([[1.0, 1.0 / math.sqrt(reference_rps / least)], shape])
        ahead = np.maximum(self._coefficients @ entries, 0.0).reshape(len(AFTER), len(LEVELS))
        return Expected(reference_rps, shape, np.maximum.accumulate(ahead, axis=0))

    @cached_property
    def reach(self) -> int:
        """The one of AFTER by which a replica that is ordered now has served an interval; else the last."""
        intervals = self.definition.reach_s / self.definition.timing.interval_s
        return next((k for k, after in enumerate(AFTER) if after >= intervals), len(AFTER) - 1)

    def look(self, state: State, expected: Expected) -> tuple[Answers, FloatArray, FloatArray]:
        """The answers for loads by the reference load and by what is expected, and the features (`of`)."""
        reference_rps = expected.reference_rps
        relative = np.array([*FACTORS, *expected.ahead[self.reach]])
        asked_rps = sorted({*(reference_rps * relative).tolist()})
        usual_rps = PROGRAM_MARGIN * reference_rps
        answers = self.optima.answers(held_rows(state.fleet), reference_rps, asked_rps, usual_rps)
        return answers, *self.of(state, answers, expected)

    def of(self, state: State, answers: Answers, expected: Expected) -> tuple[FloatArray, FloatArray]:
        """STATE_FEATURES (features,), and ANSWER_FEATURES (answers, features)."""
        reference_rps, shape, ahead = expected.reference_rps, expected.shape, expected.ahead
        definition, fleet = self.definition, state.fleet
        graph = definition.pipeline.graph
        variants = starting_as_seen(self.optima.variants, fleet, state.start_scale or 1.0)
        interval_s, sla_s = definition.timing.interval_s, definition.problem.sla_s
        weights = definition.weights
        program = self.optima.rows(None, int(on_grid(np.array([PROGRAM_MARGIN * reference_rps]))[0]))
        rows = np.concatenate([answers.rows, program[None]])
        shown = self._shown(variants, rows)
        visits, visits_now = graph.each_visits(rows[:, :, 0]), graph.each_visits(fleet["active"])
        costs = (shown.counts * shown.cores).sum(axis=1)
        least_cost, scores = max(float(costs[-1]), 1e-9), scores_along(graph, shown.scores)
        worth = weights.alpha / max(weights.beta * least_cost, 1e-12)
        timeout_s = definition.timing.batch_timeout_s
        fill_s = np.minimum((shown.batch - 1.0) / np.maximum(reference_rps * visits, 1e-9), timeout_s)
        latency_s = graph.latencies_s(shown.p99_s + fill_s)
        stages = np.arange(len(fleet))
        old = variants[stages, fleet["active"]]
        old_rps = old["rate_rps"][stages, fleet["batch"]]
        queued = state.queued / visits_now
        starts = _Starts(variants, fleet, rows)
        after_s = interval_s * np.array([0.0, *AFTER])
        served = starts.capacities_rps(after_s, shown.rate_rps, old_rps) / visits[:, None]
        by_stage = shown.counts * shown.rate_rps / visits
        narrowest = np.arange(len(rows)), by_stage.argmin(axis=1)
        relative = served.min(axis=2) / reference_rps
        drained_s = queued / np.maximum(served[:, 1], 1e-9)
        changes = rows[:, :, 0] != fleet["active"]
        replaced = np.where(changes, fleet["ready"] * old["cores"], 0).sum(axis=1)
        of_answers = [
            _log(answers.planned_rps / reference_rps),
            answers.keep_variants,
            answers.count_waits,
            answers.are_held,
            (answers.rows == program).all(axis=(1, 2)),
            _log(costs / least_cost),
            (costs - least_cost) / least_cost,
            worth * (scores - scores[-1]),
            scores - scores[-1],
            latency_s / sla_s,
            1.0 - latency_s / sla_s,
            shown.batch[narrowest] / shown.rate_rps[narrowest] / sla_s,
            _log(shown.counts[narrowest]),
            (starts.missing * shown.cores).sum(axis=1) / least_cost,
            starts.ready_s.max(axis=1) / interval_s,
            np.log1p(starts.ready_s.max(axis=1) / interval_s),
            replaced / least_cost,
            changes.sum(axis=1) / len(fleet),
            starts.missing.sum(axis=1) / np.maximum(shown.counts.sum(axis=1), 1.0),
            np.log1p(drained_s.max(axis=1) / sla_s),
        ]
        served_of = _log(relative)
        over = served_of[:, 1:, None] - _log(ahead)
        per_answer = np.array([one[: len(answers.rows)] for one in of_answers]).T
        both = [served_of[:-1], over[:-1].reshape(len(answers.rows), -1)]
        ready, starting = fleet["ready"], starts.starting
        now_rps = np.maximum(ready * old_rps / visits_now, 1e-9)
        paid = (ready * old["cores"] + (fleet["warm"] + starting) * starts.cores).sum()
        service_now_s = graph.latencies_s(old["p99_s"][stages, fleet["batch"]][None])[0]
        latency_now_s = service_now_s + graph.latencies_s((queued / now_rps)[None])[0]
        reach_s, step_s = definition.reach_s, definition.step_s
        of_state = [
            *shape[: RECENT + 2 * SLOTS],
            *_log(ahead).ravel(),
            math.log(reference_rps / least_rps(step_s)) / 3.0,
            math.log(interval_s / step_s) / 3.0,
            math.log(reach_s / interval_s),
            math.log(sla_s / interval_s) / 3.0,
            math.log(len(fleet)),
            _log(weights.rho / max(weights.beta * least_cost, 1e-12)) / 3.0,
            _log(worth * float(scores[-1])) / 3.0,
            latency_s[-1] / sla_s,
            _log(float(now_rps.min()) / reference_rps),
            np.log1p(queued.sum() / reference_rps / sla_s),
            np.log1p((queued / now_rps).max() / sla_s),
            latency_now_s / sla_s,
            starting.sum() / max(float(ready.sum() + starting.sum()), 1.0),
            starts.left_s.max() / interval_s,
            _log(paid / least_cost),
            (fleet["target"] != fleet["active"]).sum() / len(fleet),
            float(np.isfinite(variants["reload_s"]).any()),
            math.log(state.start_scale or 1.0),
            _log(float(shown.cores[-1].max()) / least_cost),
        ]
        return _bounded(np.array(of_state)), _bounded(np.concatenate([per_answer, *both], axis=1))

    def _shown(self, variants: Records, rows: IntArray) -> _Shown:
        """What is chosen of each stage by rows (answers, stages, 3)."""
        own = np.arange(rows.shape[1]), rows[:, :, 0]
        rate_rps, p99_s, batch = (
            variants[name][*own, rows[:, :, 1]].astype(np.float64) for name in ("rate_rps", "p99_s", "batch")
        )
        counts, cores = rows[:, :, 2].astype(np.float64), variants["cores"][own]
        scores = corrected(variants["score"][own], rows[:, :, 0], self._corrections)
        return _Shown(rate_rps, p99_s, batch, cores, scores, counts)

    @cached_property
    def _corrections(self) -> tuple[Correction, ...]:
        return corrections(self.definition.pipeline, self.definition.weights)

    @cached_property
    def _clock(self) -> FloatArray:
        return np.asarray(self.forecasts.season.table(self.definition.step_s))

    @cached_property
    def _coefficients(self) -> FloatArray:
        """Of the quantiles, (intervals x levels, entries)."""
        definition, table = self.definition, self.forecasts.table
        intervals = (nearest_horizon(k * definition.timing.interval_s / definition.step_s) for k in AFTER)
        return np.concatenate([table.rows(horizon, LEVELS) for horizon in intervals])


class _Starts:
    """When what rows (answers, stages, 3) ask for is there, as `ipa_rl.simulation.transitions` has it."""

    def __init__(self, variants: Records, fleet: Records, rows: IntArray) -> None:
        stages = np.arange(len(fleet))
        self.counts = rows[:, :, 2]
        own = stages, rows[:, :, 0]
        own_reload_s = variants["reload_s"][own]
        self.serves = rows[:, :, 0] == fleet["active"]
        reloads = np.isfinite(own_reload_s)
        self.in_place = ~self.serves & reloads
        goes_on = rows[:, :, 0] == fleet["target"]
        self.reload_s = np.where(goes_on, fleet["reload_left_s"], own_reload_s)
        self.are_starting = fleet["starting"] * (np.arange(COHORTS) < fleet["cohorts"][:, None])
        self.until_s = np.where(self.are_starting > 0, fleet["left_s"], 0.0)
        self.left_s, self.starting = self.until_s.max(axis=1), self.are_starting.sum(axis=1)
        self.cores = variants["cores"][stages, fleet["target"]]
        self.keeps = goes_on | reloads
        warm = np.where(goes_on, fleet["warm"], 0)
        self.there = np.where(self.serves | self.in_place, fleet["ready"], warm)
        self.ready = fleet["ready"]
        pending = np.where(self.keeps, self.starting, 0)
        self.missing = np.maximum(self.counts - self.there - pending, 0).astype(np.float64)
        self.start_s = np.maximum(variants["start_up_s"][own], np.where(self.keeps, self.left_s, 0.0))
        waited_s = np.where(self.keeps & (self.counts > self.there), self.left_s, 0.0)
        started_s = np.where(self.missing > 0, self.start_s, waited_s)
        self.ready_s = np.maximum(started_s, np.where(self.in_place, self.reload_s, 0.0))

    def capacities_rps(self, after_s: FloatArray, rate_rps: FloatArray, old_rps: FloatArray) -> FloatArray:
        """What each stage can serve after so long (times,): (answers, times, stages)."""
        after_s = after_s[:, None, None]
        come = (self.are_starting * (self.until_s <= after_s + 1e-9)).sum(axis=2)[:, None]
        started = np.where(self.keeps, come, 0) + np.where(self.start_s <= after_s, self.missing, 0.0)
        started = np.minimum(started, np.maximum(self.counts - self.there, 0))  # the others are cancelled
        there = np.minimum(self.there + started, self.counts)
        rolled = np.where(there >= self.counts, self.counts * rate_rps, self.ready * old_rps)
        before_rps = (self.ready + started) * old_rps  # what is ready before serves what the others serve
        reloaded = np.where(self.reload_s <= after_s, there * rate_rps, before_rps)
        changed = np.where(self.in_place, reloaded, rolled)
        found = np.where(self.serves, there * rate_rps, changed)
        return found.swapaxes(0, 1)


def _log(values: ArrayLike) -> FloatArray:
    return np.asarray(np.log(np.maximum(values, 1e-3)), dtype=np.float64)


def _bounded(values: FloatArray) -> FloatArray:
    return np.minimum(np.maximum(values, -BOUND), BOUND)
