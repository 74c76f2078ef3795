"""The planner: asks the exact optimum in several ways, plays each answer over many loads, keeps the best.

The integer program answers for one moment. The planner steers it: it asks for several loads to plan for,
among all variants and among those that run now, and takes what runs now as a candidate too. All are played
forward from the present state over the same load paths (`ipa_rl.simulation.outlook`): what starts when, who
waits, what that costs. From the next interval on the program decides, which knows the path until what it
orders has served: so what a candidate orders ahead of the load is not taken back, and what can wait need not
be ordered yet. It keeps the variants where the candidate did. The candidate of the highest expected utility
is decided. Nothing is trained, and nothing is drawn: the same state, the same decision.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ipa_rl.agents.protocol import Decision, State, checked_state
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import weight_records
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.pipeline import Configuration
from ipa_rl.result_files import data_frame
from ipa_rl.simulation import decode
from ipa_rl.simulation.outlook import Outlook, roll_out, service_scv
from ipa_rl.simulation.tables import build_limits, build_variants, choices_below, starting_as_seen
from ipa_rl.workload.futures import LoadPaths, TrueFuture, futures_of
from ipa_rl.workload.steps import Loads, by_step

FACTORS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5)
"""On the reference load: what the optimum is asked for."""
EXPECTED = (0.5, 0.9, 1.0)
"""It is also asked for these quantiles of the paths' maxima and of their means, which are what counts where
requests come in clumps and the SLA spans many."""
PATHS = 32
INTERVALS_AFTER = 4
"""A rollout goes on for so many intervals after the slowest start-up."""
TICKS = 10
"""Of an interval in a rollout; fewer where a step is longer than that."""
GRID = 1.03
"""Loads that the optimum is asked for are this factor apart, so that its answers are found again."""
FIRST_PATHS, SHARE_KEPT = 8, 0.34
"""After so many paths, and each time these have doubled, so large a share of the candidates goes on."""
FEWEST_PATHS = 2
"""All candidates are played over so many, whatever the budget; where it is short, fewer go on from there."""
MOST_KEPT = 10_000
"""Answers of the optimum that are kept at most."""
_LEAST_RPS = 1e-6

Variants = tuple[int, ...]
"""A variant of each stage."""


@dataclass(frozen=True)
class Steer:
    """How the optimum is asked: for what load, and whether among the variants that run now only.

    ``factor``: on the reference load; None asks nothing, and what was decided last goes on.
    """

    factor: float | None
    keeps_variants: bool = False


@dataclass(frozen=True)
class Candidate:
    """What could be decided, and the mean of its utility over the paths that it was played over.

    ``behind``: how far the utility is below the best one's on the same paths; ``error``: its standard error.
    """

    steer: Steer
    configuration: Configuration
    utility: float
    paths: int
    behind: float
    error: float


@dataclass(frozen=True)
class Plan:
    """All candidates, best first, and the load paths (paths, steps) that they were played over.

    ``step_s``: seconds of a step.
    """

    step_s: int
    reference_rps: float
    candidates: tuple[Candidate, ...]
    paths_rps: FloatArray

    @property
    def decision(self) -> Decision:
        """What is decided: the best candidate."""
        best = self.candidates[0]
        factor = 1.0 if best.steer.factor is None else best.steer.factor
        return Decision(best.configuration, factor * self.reference_rps, grounds=self)

    def frame(self) -> Any:
        """One row a candidate, as a pandas.DataFrame; needs ``ipa-rl[data]``."""
        rows = [
            vars(one) | vars(one.steer) | {"configuration": str(one.configuration)} for one in self.candidates
        ]
        return data_frame([{name: value for name, value in row.items() if name != "steer"} for row in rows])


def make_planner(
    definition: Definition, name: str = "planner", margin: float = 0.1, arrivals: Loads | None = None
) -> PlannerAgent:
    """A planner by what was recorded of the environment's workload, or by the ``arrivals`` that will come."""
    step_s = definition.step_s
    if arrivals is not None:
        return PlannerAgent(name, definition, TrueFuture(arrivals, step_s), margin)
    steps = -(-horizon_s(definition) // step_s)
    return PlannerAgent(name, definition, futures_of(definition.workload, step_s, steps), margin)


def horizon_s(definition: Definition) -> int:
    """How far a planner looks: whole intervals until what is ordered is ready, and INTERVALS_AFTER more."""
    interval_s = definition.timing.interval_s
    intervals = math.ceil((definition.reach_s - interval_s) / interval_s) + INTERVALS_AFTER
    return intervals * interval_s


@dataclass
class PlannerAgent:
    """Decides as `plan` says. Who learns of the load may replace the ``futures``.

    ``margin``: of the program that goes on after the first interval. ``budget_s``: after so many seconds of
    the processor the best so far is taken, and where that is short fewer candidates go on; None plays all
    paths, which the same decision at the same state needs.
    """

    name: str
    definition: Definition
    futures: LoadPaths
    margin: float = 0.1
    budget_s: float | None = None

    def decide(self, state: State) -> Decision:
        """The best candidate. Raises InputError where the state is not one of this pipeline."""
        return self.plan(state).decision

    def plan(self, state: State) -> Plan:
        """All candidates, played. Raises InputError where the state is not one of this pipeline."""
        began = time.thread_time()
        state = checked_state(state, self._below, self.definition.history_s)
        reference_rps = self.definition.reference_rps(state.history_rps)
        steps = -(-self.horizon_s // self.definition.step_s)
        paths_rps = self.futures.paths(state.history_rps, state.clock_s, PATHS, steps)
        steers, first = self._asked(state, reference_rps, paths_rps)
        outlook = self._outlook(state, paths_rps)
        ways = np.array([int(one.keeps_variants) for one in steers])
        utilities = np.full((len(steers), len(paths_rps)), np.nan)
        going, played = np.arange(len(steers)), 0
        at_first, spent = FIRST_PATHS if self.budget_s is None else FEWEST_PATHS, 0.0  # spent of the budget
        while played < len(paths_rps) and (not played or spent < 1.0):
            until = min(max(2 * played, at_first), len(paths_rps))
            roll_out(state.fleet, state.queued, first, ways, outlook, going, played, until, utilities)
            played = until
            spent = 0.0 if self.budget_s is None else (time.thread_time() - began) / max(self.budget_s, 1e-9)
            is_slow = spent * FIRST_PATHS > played  # at this pace FIRST_PATHS come too late
            if played >= FIRST_PATHS or is_slow:
                order = np.argsort(-utilities[going, :played].mean(axis=1), kind="stable")
                going = going[order[: max(math.ceil(SHARE_KEPT * len(going)), 2)]]
        configurations = [self._decoded(rows) for rows in first]
        return Plan(
            self.definition.step_s, reference_rps, _ranked(steers, configurations, utilities), paths_rps
        )

    def _asked(
        self, state: State, reference_rps: float, paths_rps: FloatArray
    ) -> tuple[list[Steer], IntArray]:
        """Every steer with an answer of its own, and the answers (steers, stages, 3)."""
        extremes = np.stack([paths_rps.max(axis=1), paths_rps.mean(axis=1)])
        expected_rps = np.quantile(extremes, EXPECTED, axis=1).ravel()
        loads_rps = sorted({*(reference_rps * np.array(FACTORS)).tolist(), *expected_rps.tolist()})
        now = np.stack([state.fleet[name] for name in ("target", "target_batch", "wanted")], axis=1)
        running: Variants = tuple(now[:, 0].tolist())
        found: dict[tuple[bool, bytes], tuple[Steer, IntArray]] = {}
        for variants in (None, running):
            keeps = variants is not None
            for load_rps, power in zip(loads_rps, _powers(np.array(loads_rps)).tolist(), strict=True):
                rows = self._rows(variants, power)
                found.setdefault((keeps, rows.tobytes()), (Steer(load_rps / reference_rps, keeps), rows))
            rows = np.maximum(now.astype(np.int64), [0, 0, 1])
            found.setdefault((keeps, rows.tobytes()), (Steer(None, keeps), rows))
        steers, answers = zip(*found.values(), strict=True)
        return list(steers), np.stack(answers)

    def _rows(self, variants: Variants | None, power: int) -> IntArray:
        """The optimum for a load on the grid, (stages, 3): of all variants, or of one a stage."""
        if (variants, power) not in self._known_rows:
            load_rps = float(f"{GRID**power:.6g}")
            kept = self.definition if variants is None else self.definition.keeping(variants)
            rows = kept.rows_for(load_rps).copy()
            rows[:, 0] = rows[:, 0] if variants is None else variants
            _make_room(self._known_rows)
            self._known_rows[variants, power] = rows
        return self._known_rows[variants, power]

    def _decoded(self, rows: IntArray) -> Configuration:
        """The configuration of (stages, 3), kept by these."""
        key = rows.tobytes()
        if key not in self._known:
            _make_room(self._known)
            self._known[key] = decode(self.definition.problem, rows)
        return self._known[key]

    def _outlook(self, state: State, paths_rps: FloatArray) -> Outlook:
        """What all rollouts share."""
        definition, ticks = self.definition, self._ticks
        tick_s = definition.timing.interval_s / ticks
        past_s = min(definition.timing.drop_limit_s + tick_s, len(state.history_rps))
        past = max(int(past_s / tick_s), 1)
        tails, rows = self._tails(state, paths_rps)
        return Outlook(
            variants=starting_as_seen(self._variants, state.fleet),
            service_scv=self._service_scv,
            limits=self._limits[0],
            weights=weight_records([definition.weights])[0],
            curves=self._curves(state.history_rps, paths_rps, past, tick_s),
            past=past,
            usual_rps=max(float(state.history_rps.mean()), _LEAST_RPS),
            tails=tails,
            rows=rows,
            tick_s=tick_s,
            interval_ticks=ticks,
        )

    def _curves(self, history_rps: FloatArray, paths_rps: FloatArray, past: int, tick_s: float) -> FloatArray:
        """Requests that have come by the begin of each tick, (paths, past + ticks + 1)."""
        seconds = np.arange(len(history_rps) + 1)
        came = np.concatenate([[0.0], np.cumsum(history_rps)])
        behind = np.interp(len(history_rps) - tick_s * np.arange(past, -1, -1), seconds, came)
        steps = np.concatenate([np.zeros((len(paths_rps), 1)), np.cumsum(paths_rps, axis=1)], axis=1)
        steps *= self.definition.step_s
        at = np.arange(1, self.horizon_s // self.definition.timing.interval_s * self._ticks + 1)
        step, part = np.divmod(at * tick_s / self.definition.step_s, 1.0)
        low = np.minimum(step.astype(np.int64), steps.shape[1] - 1)
        high = np.minimum(low + 1, steps.shape[1] - 1)
        ahead = behind[-1] + steps[:, low] * (1.0 - part) + steps[:, high] * part
        before = np.broadcast_to(behind, (len(ahead), past + 1))
        return np.asarray(np.concatenate([before, ahead], axis=1) - behind[0], dtype=np.float64)

    def _tails(self, state: State, paths_rps: FloatArray) -> tuple[IntArray, IntArray]:
        """What the program decides at the end of each interval, among all variants and among those of now.

        For the maximum of the path's last steps and of those until a replica ordered then has served an
        interval. Positions (2, paths, ends), and the rows that they stand for.
        """
        definition, step_s = self.definition, self.definition.step_s
        interval_s, window = definition.timing.interval_s, definition.reference_steps
        history = by_step(state.history_rps, step_s)[-window:]
        seen = np.concatenate([np.broadcast_to(history, (len(paths_rps), len(history))), paths_rps], axis=1)
        ends = np.arange(interval_s, self.horizon_s, interval_s) // step_s + len(history)
        ahead = math.ceil(definition.reach_s / step_s)
        highest = [seen[:, max(end - window, 0) : end + ahead].max(axis=1) for end in ends]
        powers = _powers(np.stack(highest, axis=1) * (1.0 + self.margin))
        asked, positions = np.unique(powers, return_inverse=True)
        positions = positions.reshape(powers.shape)
        running: Variants = tuple(state.fleet["target"].tolist())
        rows = [self._rows(variants, one) for variants in (None, running) for one in asked.tolist()]
        # Loads of one answer share a position: so a rollout sees that nothing changes.
        known: dict[bytes, int] = {}
        alike = np.array([known.setdefault(one.tobytes(), at) for at, one in enumerate(rows)])
        return alike[np.stack([positions, positions + len(asked)])], np.stack(rows)

    @cached_property
    def horizon_s(self) -> int:
        """How far it looks."""
        return horizon_s(self.definition)

    @cached_property
    def _ticks(self) -> int:
        """Of an interval."""
        return max(min(TICKS, self.definition.timing.interval_s // self.definition.step_s), 1)

    @cached_property
    def _known_rows(self) -> dict[tuple[Variants | None, int], IntArray]:
        return {}

    @cached_property
    def _known(self) -> dict[bytes, Configuration]:
        return {}

    @cached_property
    def _variants(self) -> Records:
        return build_variants(self.definition.problem, self.definition.timing)

    @cached_property
    def _service_scv(self) -> FloatArray:
        return service_scv(self._variants)

    @cached_property
    def _limits(self) -> Records:
        return build_limits(self.definition.problem, self.definition.timing)

    @cached_property
    def _below(self) -> IntArray:
        return choices_below(self.definition.problem)


def _make_room(kept: dict[Any, Any]) -> None:
    """A controller that runs for months starts fresh before what it keeps takes many megabytes."""
    if len(kept) >= MOST_KEPT:
        kept.clear()


def _powers(loads_rps: FloatArray) -> IntArray:
    """The loads of the grid that are not below these, as powers of GRID."""
    exponents = np.log(np.maximum(loads_rps, _LEAST_RPS)) / math.log(GRID)
    return np.asarray(np.ceil(exponents - 1e-9), dtype=np.int64)


def _ranked(
    steers: list[Steer], configurations: list[Configuration], utilities: FloatArray
) -> tuple[Candidate, ...]:
    """Best first: whoever was played over the most paths, then by utility; ``utilities``: (steers, paths)."""
    paths = np.isfinite(utilities).sum(axis=1)
    means = np.nanmean(utilities, axis=1)
    order = np.lexsort((-means, -paths)).tolist()
    behind = utilities[order[0]] - utilities
    mean_behind = np.nanmean(behind, axis=1)
    squares = np.nansum((behind - mean_behind[:, None]) ** 2, axis=1)
    spare = np.where(paths > 1, paths - 1, np.nan)
    errors = np.sqrt(squares / spare / paths)
    columns = means.tolist(), paths.tolist(), mean_behind.tolist(), errors.tolist()
    figures = list(zip(*columns, strict=True))
    return tuple(Candidate(steers[c], configurations[c], *figures[c]) for c in order)
