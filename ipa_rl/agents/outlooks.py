"""From a state and load paths to what all rollouts share, for the planner and for the guard.

What is decided now is theirs. From the next interval on the program decides, which knows the path; of a
planner's candidates, on some of the paths only, as no controller does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.agents.steers import LEAST_RPS, Answers, Optima, Variants, on_grid
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import weight_records
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.simulation.outlook import Outlook, service_scv
from ipa_rl.simulation.stations import Layout, layout_of
from ipa_rl.simulation.tables import MOST_SLOWER, build_limits, starting_as_seen
from ipa_rl.workload.futures import Ahead, LoadPaths
from ipa_rl.workload.steps import by_step

PATHS = 64
INTERVALS_AFTER = 4
"""A rollout goes on for so many intervals at least after the slowest start-up, and as long again as that."""
UNAWARE = 4
"""On one in so many paths the program does not know its path. Who knows it never needs a reserve, as it
orders in time; the longer start-ups take, the less is that true. Who never knows it keeps too much."""
TICKS = 10
"""Of an interval in a rollout. More where the SLA is shorter than such a tick, as requests of a lump are late
then although the tick has capacity for all; fewer where a step is longer."""


def horizon_s(definition: Definition, start_scale: float = 1.0) -> int:
    """How far rollouts look where starts take so many times as long as profiled.

    Whole intervals until what is ordered is ready, and as many again, INTERVALS_AFTER at least: what is paid
    while it lasts must be earned.
    """
    interval_s = definition.timing.interval_s
    intervals = math.ceil(reach_s(definition, start_scale) / interval_s)
    return (intervals - 1 + max(INTERVALS_AFTER, intervals)) * interval_s


def reach_s(definition: Definition, start_scale: float) -> float:
    """Seconds until a replica has served an interval that is ordered now, and starts at such a scale."""
    interval_s = definition.timing.interval_s
    return (definition.reach_s - interval_s) * start_scale + interval_s


def _running(state: State) -> Variants:
    """The variants that were decided last."""
    return tuple(state.fleet["target"].tolist())


def _alike(positions: IntArray, rows: list[IntArray]) -> tuple[IntArray, IntArray]:
    """Positions in equal rows become one: so a rollout sees that nothing changes."""
    known: dict[bytes, int] = {}
    alike = np.array([known.setdefault(one.tobytes(), at) for at, one in enumerate(rows)])
    return alike[positions], np.stack(rows)


@dataclass
class Outlooks:
    """Makes an Outlook of a state. ``margin``: of the program that goes on, over the loads of a path."""

    definition: Definition
    margin: float = 0.1

    def ahead(self, state: State, futures: LoadPaths) -> Ahead:
        """PATHS load paths as far as rollouts from a state look; the state was checked.

        Until what starts now is ready, and INTERVALS_AFTER more.
        """
        interval_s, step_s = self.definition.timing.interval_s, self.definition.step_s
        ahead_s = horizon_s(self.definition, state.start_scale or 1.0)
        stages = np.flatnonzero(state.fleet["cohorts"])
        left_s = state.fleet["left_s"][stages, state.fleet["cohorts"][stages] - 1]
        last_s = left_s[left_s <= MOST_SLOWER * self.definition.reach_s].max(initial=0.0)
        ahead_s = max(ahead_s, (math.ceil(last_s / interval_s) + INTERVALS_AFTER) * interval_s)
        return futures.ahead(state.history_rps, state.clock_s, PATHS, -(-ahead_s // step_s))

    def of(
        self,
        state: State,
        paths_rps: FloatArray,
        answers: Answers | None = None,
        expected_rps: FloatArray | None = None,
    ) -> Outlook:
        """What all rollouts from a state over load paths (paths, steps) share; the state was checked.

        ``expected_rps`` (paths, ends): the highest load that the program that goes on expects at the end of
        each interval, instead of what comes.
        The tails are two, among all variants and among those of now; of ``answers`` one each.
        """
        definition, ticks = self.definition, self._ticks
        tick_s = definition.timing.interval_s / ticks
        past_s = min(definition.timing.drop_limit_s + tick_s, len(state.history_rps))
        past = max(int(past_s / tick_s), 1)
        seen_rps, ahead_rps = self._loads_by_end(state, paths_rps)
        ahead_rps = ahead_rps if expected_rps is None else expected_rps
        tails, rows = self._tails(state, seen_rps, ahead_rps)
        if answers is not None:
            tails, rows = self._partly_unaware(state, seen_rps, ahead_rps, tails, rows, answers)
        return Outlook(
            variants=starting_as_seen(self.optima.variants, state.fleet, state.start_scale or 1.0),
            service_scv=self._service_scv,
            limits=self._limits[0],
            weights=weight_records([definition.weights])[0],
            curves=self._curves(state.history_rps, paths_rps, past, tick_s),
            past=past,
            usual_rps=max(float(state.history_rps.mean()), LEAST_RPS),
            tails=tails,
            rows=rows,
            tick_s=tick_s,
            interval_ticks=ticks,
            layout=self._layout,
        )

    def _curves(self, history_rps: FloatArray, paths_rps: FloatArray, past: int, tick_s: float) -> FloatArray:
        """Requests that have come by the begin of each tick, (paths, past + ticks + 1)."""
        seconds = np.arange(len(history_rps) + 1)
        came = np.concatenate([[0.0], np.cumsum(history_rps)])
        behind = np.interp(len(history_rps) - tick_s * np.arange(past, -1, -1), seconds, came)
        steps = np.concatenate([np.zeros((len(paths_rps), 1)), np.cumsum(paths_rps, axis=1)], axis=1)
        steps *= self.definition.step_s
        at = np.arange(1, self._intervals(paths_rps) * self._ticks + 1)
        step, part = np.divmod(at * tick_s / self.definition.step_s, 1.0)
        low = np.minimum(step.astype(np.int64), steps.shape[1] - 1)
        high = np.minimum(low + 1, steps.shape[1] - 1)
        ahead = behind[-1] + steps[:, low] * (1.0 - part) + steps[:, high] * part
        before = np.broadcast_to(behind, (len(ahead), past + 1))
        return np.asarray(np.concatenate([before, ahead], axis=1) - behind[0], dtype=np.float64)

    def _tails(self, state: State, seen_rps: FloatArray, ahead_rps: FloatArray) -> tuple[IntArray, IntArray]:
        """What the program decides at the end of each interval, among all variants and among those of now.

        For the maximum of the path's last steps and of those until a replica ordered then has served an
        interval. Positions (2, paths, ends), and the rows that they stand for.
        """
        powers = on_grid(np.maximum(seen_rps, ahead_rps) * (1.0 + self.margin))
        asked, positions = np.unique(powers, return_inverse=True)
        positions = positions.reshape(powers.shape)
        running = _running(state)
        rows = [self.optima.rows(variants, one) for variants in (None, running) for one in asked.tolist()]
        return _alike(np.stack([positions, positions + len(asked)]), rows)

    def _partly_unaware(
        self,
        state: State,
        seen_rps: FloatArray,
        ahead_rps: FloatArray,
        tails: IntArray,
        rows: IntArray,
        answers: Answers,
    ) -> tuple[IntArray, IntArray]:
        """Tails of ``answers``, (candidates, paths, ends), and the rows that they stand for.

        On one in UNAWARE paths the program that goes on only knows what has come, and what is expected of
        all paths: it plans for what the candidate planned for, for the path's reference load, and for the
        median of the maxima until a replica ordered then has served an interval.
        """
        some = np.arange(UNAWARE - 1, len(seen_rps), UNAWARE)
        reference_rps = self.definition.reference_rps(state.history_rps)
        follows = np.minimum(answers.planned_rps / reference_rps, 1.0 + self.margin)
        loads_rps = np.maximum(follows[:, None, None] * seen_rps[some], np.median(ahead_rps, axis=0))
        kinds = answers.keep_variants + 2 * answers.count_waits
        powers = on_grid(np.maximum(loads_rps, answers.planned_rps[:, None, None]))
        codes, positions = np.unique(powers * 4 + kinds[:, None, None], return_inverse=True)
        running = _running(state)
        more = [self.optima.rows(running if c % 2 else None, c // 4, c % 4 >= 2) for c in codes.tolist()]
        # What runs goes on until it cannot carry the load.
        stays = answers.go_on[:, None, None] & (loads_rps <= answers.planned_rps[:, None, None])
        positions = np.where(stays, len(more), positions.reshape(powers.shape))
        tails = tails[answers.keep_variants.astype(np.int64)]
        tails[:, some] = positions + len(rows)
        return _alike(tails, [*rows, *more, answers.held])

    def _loads_by_end(self, state: State, paths_rps: FloatArray) -> tuple[FloatArray, FloatArray]:
        """At each interval's end the maxima of the path's last steps and of those to come, (paths, ends).

        Those to come are until a replica that is ordered then has served an interval.
        """
        definition, step_s = self.definition, self.definition.step_s
        interval_s, window = definition.timing.interval_s, definition.reference_steps
        history = by_step(state.history_rps, step_s)[-window:]
        loads = np.concatenate([np.broadcast_to(history, (len(paths_rps), len(history))), paths_rps], axis=1)
        ends = np.arange(1, self._intervals(paths_rps)) * interval_s // step_s + len(history)
        ahead = self._ahead_steps(state)
        seen = [loads[:, max(end - window, 0) : end].max(axis=1) for end in ends]
        come = [loads[:, end : end + ahead].max(axis=1) for end in ends]
        return np.stack(seen, axis=1), np.stack(come, axis=1)

    def program_rps(self, state: State, paths_rps: FloatArray) -> FloatArray:
        """The loads that the program that goes on would plan for now on each path, (paths,)."""
        highest_rps: FloatArray = paths_rps[:, : self._ahead_steps(state)].max(axis=1)
        return np.maximum(highest_rps, self.definition.reference_rps(state.history_rps)) * (1.0 + self.margin)

    def _ahead_steps(self, state: State) -> int:
        """Until a replica that is ordered then has served an interval."""
        return math.ceil(reach_s(self.definition, state.start_scale or 1.0) / self.definition.step_s)

    def _intervals(self, paths_rps: FloatArray) -> int:
        """Whole ones that paths last."""
        return int(paths_rps.shape[1] * self.definition.step_s // self.definition.timing.interval_s)

    @cached_property
    def optima(self) -> Optima:
        """The answers of the optimum."""
        return Optima(self.definition)

    @cached_property
    def _ticks(self) -> int:
        """Of an interval."""
        interval_s, sla_s = self.definition.timing.interval_s, self.definition.problem.sla_s
        tick_s = max(min(interval_s / TICKS, sla_s), self.definition.step_s)
        return max(int(interval_s / tick_s), 1)

    @cached_property
    def _service_scv(self) -> FloatArray:
        return service_scv(self.optima.variants)

    @cached_property
    def _layout(self) -> Layout:
        return layout_of(self.definition.problem)

    @cached_property
    def _limits(self) -> Records:
        return build_limits(self.definition.problem, self.definition.timing)
