"""A state and the answers of the optimum as numbers that know no scale: what a policy for any pipeline sees.

Loads are relative to the reference load, times to the SLA, the interval or the reach, costs to those of what
the program would run now. So a pipeline of one stage or twelve, of milliseconds or minutes, gives as many
numbers, and of the same size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ipa_rl.agents import stage_figures
from ipa_rl.agents.protocol import State
from ipa_rl.agents.stage_figures import (
    CAPACITY_RPS,
    CHANGES,
    CORES,
    COST,
    COUNT,
    DRAINED_S,
    FILL_S,
    LEAST,
    MISSING,
    MISSING_COST,
    P99_S,
    READY_S,
    REPLACED,
    SCORE,
    SERVED_RPS,
    SERVICE_S,
    StageContext,
    logs_of,
)
from ipa_rl.agents.steers import FACTORS, Answers, Optima, on_grid
from ipa_rl.blocks import scores_along
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.objective import Correction, corrected, corrections
from ipa_rl.simulation.tables import held_rows, starting_as_seen
from ipa_rl.simulation.transitions import cohorts_of
from ipa_rl.workload.clock import REFERENCE_STEPS, Season, season_of
from ipa_rl.workload.futures import RecordedFutures, futures_of
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
"""Intervals after which it is looked at what could be served, and what load is to be expected; the last of
them later, where what is ordered now has not served by then (`intervals_of`)."""
MOST_STEPS = 120
"""Nobody looks further ahead, be it for fewer intervals than a start takes."""
LEVELS = (0.5, 0.9, 0.99)
"""Quantiles of the load until then, as a formula has them."""
PATHS, PATH_LEVELS = 64, (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
"""Load paths, and quantiles over these."""
ASKED_LEVELS = (0.5, 0.75, 0.9, 0.97)
"""The optimum is asked for these of the paths' highest loads until what is ordered now has served."""
_ASKED = [PATH_LEVELS.index(level) for level in ASKED_LEVELS]
MEAN_LEVELS = (0.5, 0.9, 1.0)
"""And for these quantiles of the paths' means until then: where requests come in clumps and the SLA spans
many, the highest load is far above what has to be served."""
COMPARED = 2500
"""Moments of the past that the present is compared with: a decision should take about a millisecond."""
PROGRAM_MARGIN = 1.1
"""On the reference load: what the program plans for to which costs are relative."""
BOUND = 6.0
"""No number is further from 0."""

STATE_FEATURES = (
    *(f"load {k} steps ago" for k in range(1, RECENT + 1)),
    *(f"mean load of slot {k}" for k in range(SLOTS)),
    *(f"highest load of slot {k}" for k in range(SLOTS)),
    *(f"load until interval {k}, {100 * level:g} %" for k in AFTER for level in LEVELS),
    *(f"load until interval {k}, {100 * level:g} % of the paths" for k in AFTER for level in PATH_LEVELS),
    *(f"mean load until interval {k}" for k in AFTER),
    "load is new",
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
POOLED = ("mean", "highest", "lowest")
"""Of the figures of the stages, so that how many there are is the same."""
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
    *(
        f"capacity at interval {k} over {100 * level:g} % of the paths"
        for k in AFTER
        for level in PATH_LEVELS
    ),
    *(f"{name} of the stages: {pool}" for pool in POOLED for name in stage_figures.SEEN),
)


@dataclass(frozen=True)
class Expected:
    """What the loads before say of those to come.

    ``shape``: of the loads before (`load_shape`). ``ahead`` (intervals, levels): quantiles of the highest
    load until each of AFTER, by a formula; ``of_paths`` (intervals, levels): over load paths, and ``means``
    (intervals,) over these. ``path_means`` (MEAN_LEVELS,): quantiles of the paths' means until what is
    ordered now has served. All are relative to the reference load. ``is_new``: the load does what it never
    did.
    """

    reference_rps: float
    shape: FloatArray
    ahead: FloatArray
    of_paths: FloatArray
    means: FloatArray
    path_means: FloatArray
    is_new: bool


@dataclass(frozen=True)
class Forecasts:
    """What a load is foretold by."""

    table: QuantileTable
    season: Season
    futures: RecordedFutures


def forecasts_of(definition: Definition) -> Forecasts:
    """What was fitted to the environment's workload, or, where nothing was, to another; and its past."""
    workload, step_s = definition.workload, definition.step_s
    steps = -(-intervals_of(definition)[-1] * definition.timing.interval_s // step_s)
    futures = futures_of(workload, step_s, 2 ** math.ceil(math.log2(steps)), COMPARED)
    return Forecasts(quantiles_of(workload, step_s), season_of(workload), futures)


def intervals_of(definition: Definition) -> tuple[int, ...]:
    """AFTER, as an environment has them."""
    interval_s = definition.timing.interval_s
    most = max(MOST_STEPS * definition.step_s // interval_s, AFTER[-1])
    return (*AFTER[:-1], min(max(math.ceil(definition.reach_s / interval_s), AFTER[-1]), most))


@dataclass(frozen=True)
class _View:
    """A state and the ``rows`` (rows, stages, 3) of its answers, behind them the program's.

    ``figures`` (figures, stages, rows): `stage_figures`; ``scores`` and ``latency_s`` (rows,): of the
    pipeline. ``visits_now`` and ``queued``, requests of the pipeline, (stages,). ``least_cost``: the
    program's, to which others are relative; ``worth``: of a score of 1, in these.
    """

    state: State
    expected: Expected
    variants: Records
    rows: IntArray
    figures: FloatArray
    scores: FloatArray
    latency_s: FloatArray
    visits_now: FloatArray
    queued: FloatArray
    least_cost: float
    worth: float


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
        paths_rps, is_new = self.forecasts.futures.ahead(history_rps, clock_s, PATHS, int(self._ends[-1]))
        relative = paths_rps / reference_rps
        highest = np.maximum.accumulate(relative, axis=1)[:, self._ends - 1]
        means = np.cumsum(relative.mean(axis=0))[self._ends - 1] / self._ends
        path_means = _at_levels(relative[:, : self._ends[self.reach]].mean(axis=1), MEAN_LEVELS)
        ahead, of_paths = np.maximum.accumulate(ahead, axis=0), _at_levels(highest, PATH_LEVELS).T
        return Expected(reference_rps, shape, ahead, of_paths, means, path_means, is_new)

    @cached_property
    def _ends(self) -> IntArray:
        """Steps until each of `intervals`, one at least."""
        timing, step_s = self.definition.timing, self.definition.step_s
        return np.asarray(np.maximum(np.array(self.intervals) * timing.interval_s // step_s, 1))

    @cached_property
    def intervals(self) -> tuple[int, ...]:
        """AFTER, as the environment has them."""
        return intervals_of(self.definition)

    @cached_property
    def reach(self) -> int:
        """The one of `intervals` by which a replica that is ordered now has served one; else the last."""
        served = self.definition.reach_s / self.definition.timing.interval_s
        return next((k for k, after in enumerate(self.intervals) if after >= served), len(AFTER) - 1)

    def look(
        self, state: State, expected: Expected, asks_means: bool = True
    ) -> tuple[Answers, FloatArray, FloatArray]:
        """The answers for loads by the reference load and by what is expected, and the features (`of`).

        ``asks_means``: whether for MEAN_LEVELS as well.
        """
        reference_rps = expected.reference_rps
        of_paths = expected.of_paths[self.reach, _ASKED]
        means = expected.path_means if asks_means else ()
        relative = np.array([*FACTORS, *of_paths, expected.ahead[self.reach, -1], *means])
        asked_rps = sorted({*(reference_rps * relative).tolist()})
        usual_rps = PROGRAM_MARGIN * reference_rps
        answers = self.optima.answers(held_rows(state.fleet), reference_rps, asked_rps, usual_rps)
        return answers, *self.of(state, answers, expected)

    def of(self, state: State, answers: Answers, expected: Expected) -> tuple[FloatArray, FloatArray]:
        """STATE_FEATURES (features,), and ANSWER_FEATURES (answers, features)."""
        view = self._view(state, answers, expected)
        return _bounded(self._of_state(view)), _bounded(self._of_answers(view, answers))

    def _view(self, state: State, answers: Answers, expected: Expected) -> _View:
        """What both are made of."""
        definition, fleet, reference_rps = self.definition, state.fleet, expected.reference_rps
        graph, timing, weights = definition.pipeline.graph, definition.timing, definition.weights
        variants = starting_as_seen(self.optima.variants, fleet, state.start_scale or 1.0)
        program = self.optima.rows(None, int(on_grid(np.array([PROGRAM_MARGIN * reference_rps]))[0]))
        rows = np.concatenate([answers.rows, program[None]])
        visits, visits_now = graph.each_visits(rows[:, :, 0]), graph.each_visits(fleet["active"])
        queued = state.queued / visits_now
        shared = reference_rps, definition.problem.sla_s, float(timing.interval_s), timing.batch_timeout_s
        context = StageContext(self._after_s, 1 + self.reach, queued, self._best, *shared)
        figures = stage_figures.stage_figures(variants, fleet, rows, visits, context)
        scores = corrected(figures[SCORE].T, rows[:, :, 0], self._corrections)
        least_cost = max(float(figures[COST, :, -1].sum()), 1e-9)
        return _View(
            state=state,
            expected=expected,
            variants=variants,
            rows=rows,
            figures=figures,
            scores=scores_along(graph, scores),
            latency_s=graph.latencies_s((figures[P99_S] + figures[FILL_S]).T),
            visits_now=visits_now,
            queued=queued,
            least_cost=least_cost,
            worth=weights.alpha / max(weights.beta * least_cost, 1e-12),
        )

    def _of_answers(self, view: _View, answers: Answers) -> FloatArray:
        """ANSWER_FEATURES (answers, features)."""
        interval_s, sla_s = self.definition.timing.interval_s, self.definition.problem.sla_s
        expected, figures, scores, least_cost = view.expected, view.figures, view.scores, view.least_cost
        reference_rps, (_, stages, many) = expected.reference_rps, figures.shape
        sums, highest, lowest = figures.sum(axis=1), figures.max(axis=1), figures.min(axis=1)
        narrowest = figures[:, figures[CAPACITY_RPS].argmin(axis=0), np.arange(many)]
        served_of = logs_of(lowest[SERVED_RPS:] / reference_rps)
        over = served_of[1:, None] - logs_of(expected.ahead)[:, :, None]
        over_paths = served_of[1:, None] - logs_of(expected.of_paths)[:, :, None]
        seen = len(stage_figures.SEEN)
        pooled = np.concatenate([sums[:seen] / stages, highest[:seen], lowest[:seen]])
        pooled[self._pooled_costs] -= math.log(least_cost)
        how_asked = [
            logs_of(answers.planned_rps / reference_rps),
            answers.keep_variants,
            answers.count_waits,
            answers.are_held,
            (answers.rows == view.rows[-1]).all(axis=(1, 2)),
        ]
        figures_of = [
            logs_of(sums[COST] / least_cost),
            (sums[COST] - least_cost) / least_cost,
            view.worth * (scores - scores[-1]),
            scores - scores[-1],
            view.latency_s / sla_s,
            1.0 - view.latency_s / sla_s,
            narrowest[SERVICE_S] / sla_s,
            logs_of(narrowest[COUNT]),
            sums[MISSING_COST] / least_cost,
            highest[READY_S] / interval_s,
            np.log1p(highest[READY_S] / interval_s),
            sums[REPLACED] / least_cost,
            sums[CHANGES] / stages,
            sums[MISSING] / np.maximum(sums[COUNT], 1.0),
            np.log1p(highest[DRAINED_S] / sla_s),
        ]
        each = [np.array(figures_of), served_of, over.reshape(-1, many), over_paths.reshape(-1, many), pooled]
        return np.concatenate([np.array(how_asked), np.concatenate(each)[:, :-1]]).T

    def _of_state(self, view: _View) -> FloatArray:
        """STATE_FEATURES (features,)."""
        definition, expected, fleet = self.definition, view.expected, view.state.fleet
        graph, weights, variants = definition.pipeline.graph, definition.weights, view.variants
        interval_s, sla_s = definition.timing.interval_s, definition.problem.sla_s
        reference_rps, least_cost, step_s = expected.reference_rps, view.least_cost, definition.step_s
        stages, ready = np.arange(len(fleet)), fleet["ready"]
        old, target = variants[stages, fleet["active"]], variants[stages, fleet["target"]]
        each_starting, left_s = cohorts_of(fleet)
        starting = each_starting.sum(axis=1)
        old_rps, service_s = (old[name][stages, fleet["batch"]] for name in ("rate_rps", "p99_s"))
        now_rps = np.maximum(ready * old_rps / view.visits_now, 1e-9)
        waits_s = view.queued / now_rps
        paid = (ready * old["cores"] + (fleet["warm"] + starting) * target["cores"]).sum()
        of_state = [
            *expected.shape[: RECENT + 2 * SLOTS].tolist(),
            *logs_of(expected.ahead).ravel().tolist(),
            *logs_of(expected.of_paths).ravel().tolist(),
            *expected.means.tolist(),
            float(expected.is_new),
            math.log(reference_rps / least_rps(step_s)) / 3.0,
            math.log(interval_s / step_s) / 3.0,
            math.log(definition.reach_s / interval_s),
            math.log(sla_s / interval_s) / 3.0,
            math.log(len(fleet)),
            _log_of(weights.rho / max(weights.beta * least_cost, 1e-12)) / 3.0,
            _log_of(view.worth * float(view.scores[-1])) / 3.0,
            float(view.latency_s[-1]) / sla_s,
            _log_of(float(now_rps.min()) / reference_rps),
            math.log1p(float(view.queued.sum()) / reference_rps / sla_s),
            math.log1p(float(waits_s.max()) / sla_s),
            float(graph.latencies_s(np.stack([service_s, waits_s])).sum()) / sla_s,
            float(starting.sum()) / max(float(ready.sum() + starting.sum()), 1.0),
            float(left_s.max()) / interval_s,
            _log_of(float(paid) / least_cost),
            float((fleet["target"] != fleet["active"]).mean()),
            self._reloads,
            math.log(view.state.start_scale or 1.0),
            _log_of(float(view.figures[CORES, :, -1].max()) / least_cost),
        ]
        return np.array(of_state)

    @cached_property
    def _after_s(self) -> FloatArray:
        """Now, and after `intervals`."""
        return self.definition.timing.interval_s * np.array([0.0, *self.intervals])

    @cached_property
    def _best(self) -> FloatArray:
        """Scores of the best variants, (stages,)."""
        return np.asarray(self.optima.variants["score"].max(axis=1))

    @cached_property
    def _reloads(self) -> float:
        """Whether any variant changes in place."""
        return float(np.isfinite(self.optima.variants["reload_s"]).any())

    @cached_property
    def _pooled_costs(self) -> IntArray:
        """Where the costs of stages are."""
        seen = len(stage_figures.SEEN)
        return stage_figures.SEEN.index("cost") + seen * np.arange(len(POOLED))

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
        steps = (k * definition.timing.interval_s / definition.step_s for k in self.intervals)
        return np.concatenate([table.rows(nearest_horizon(one), LEVELS) for one in steps])


def _at_levels(paths: FloatArray, levels: Sequence[float]) -> FloatArray:
    """Quantiles (levels, ...) of paths (paths, ...): the nearest of these."""
    at = np.rint(np.array(levels) * (len(paths) - 1)).astype(int)
    return np.asarray(np.sort(paths, axis=0)[at])


def _log_of(value: float) -> float:
    """As `logs_of`, of one."""
    return math.log(max(value, LEAST))


def _bounded(values: FloatArray) -> FloatArray:
    return np.minimum(np.maximum(values, -BOUND), BOUND)
