"""The planner: asks the exact optimum in several ways, plays each answer over many loads, keeps the best.

The integer program answers for one moment. The planner steers it: it asks for several loads to plan for,
among all variants and among those that run now, without and with what requests wait for a replica. It takes
what runs now as a candidate too. All are played forward from the present state over the same load paths
(`ipa_rl.simulation.outlook`): what starts when, who waits, what that costs. From the next interval on the
program decides. On most paths it knows the path until what it orders has served: so what a candidate orders
ahead of the load is not taken back, and what can wait need not be ordered yet. On the others it does not, and
there a reserve shows its worth. It keeps the variants where the candidate did. The candidate of the highest
expected utility is decided. Where the load does what it never did, so that paths say little, nothing is
decided that carries much less than the load, what a candidate can spare counts, and so does a policy that met
many such loads (`ipa_rl.agents.universal`). Nothing is trained for the pipeline, and nothing is drawn: the
same state, the same decision.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents.outlooks import Outlooks, horizon_s
from ipa_rl.agents.protocol import Decision, State, checked_state
from ipa_rl.agents.steers import FACTORS, MOST_KEPT, Answers, Steer
from ipa_rl.agents.universal import UniversalAgent, make_universal
from ipa_rl.environment.definition import Definition, make_room
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.pipeline import Configuration
from ipa_rl.result_files import data_frame
from ipa_rl.simulation import decode
from ipa_rl.simulation.outlook import roll_out
from ipa_rl.simulation.tables import choices_below, held_rows
from ipa_rl.workload.futures import LoadPaths, TrueFuture, futures_of
from ipa_rl.workload.steps import Loads

EXPECTED = (0.5, 0.9, 1.0)
"""The optimum is also asked for these quantiles of the paths' maxima; of their means, which are what counts
where requests come in clumps and the SLA spans many; and of what the program that goes on would ask for now:
so what is decided is never worth less than what the program would decide."""
FIRST_PATHS, SHARE_KEPT = 4, 0.34
"""After so many paths, and each time these have doubled, so large a share of the candidates goes on."""
FEWEST_PATHS = 2
"""All candidates are played over so many, whatever the budget; where it is short, fewer go on from there."""
SHARE_ASKING = 0.5
"""Of the budget is left for asking the optimum for what it was never asked for."""
NEW_LOAD_SHARES = (0.9, 1.1)
"""A new load's candidates carry at least so much of its reference, or of its highest mean over an SLA if
that is less, provided that any does: what they spared would rest on paths that say little. So chosen that
the planner violates at most 1.5 times as much as the best other controller in every scenario of the stress
suite, on draws 100 to 107, for the least on the validation parts of the loads that ship."""
RESERVE_WORTH, MOST_RESERVE = 0.45, 2.0
"""Mean costs that each factor of e is worth by which a candidate carries more than a new load's
reference, and the factor beyond which more is worth nothing: paths of such a load do not know how high it
will go. Chosen as the shares above were, and on draws 100 to 179 of video's switched load."""
WORTH = 0.028
"""Mean costs that a score of the policy is worth, as its training tells (`fit_scorer.Progress`): by what it
finds an answer to be behind, that is further behind than the rollouts find."""
HELD_ERRORS = 0.5
"""What was decided last stays unless another is better by so many standard errors, as each change costs."""


@dataclass(frozen=True)
class Candidate:
    """What could be decided, and the mean of its utility over the paths that it was played over.

    ``doubt``: what was taken from that where the load is new: the candidate has less to spare than others,
    and a policy that met many such loads finds it behind the best. ``behind``: how far the utility is
    below that of what is decided, on the same paths; below zero where what runs stays, as the other was
    not better by more than chance. ``error``: its standard error.
    """

    steer: Steer
    configuration: Configuration
    utility: float
    paths: int
    behind: float
    error: float
    doubt: float = 0.0


@dataclass(frozen=True)
class Plan:
    """All candidates, and the load paths (paths, steps) that they were played over.

    First what is decided, then best first. ``step_s``: seconds of a step. ``is_new``: the load does what it
    never did, so that candidates have doubts, and those that carry less than ``least_rps`` are left out;
    0 where none is.
    """

    step_s: int
    reference_rps: float
    candidates: tuple[Candidate, ...]
    paths_rps: FloatArray
    is_new: bool = False
    least_rps: float = 0.0

    @property
    def decision(self) -> Decision:
        """What is decided: the first candidate."""
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
    futures, policy = futures_of(definition.workload, step_s, steps), make_universal(definition)
    return PlannerAgent(name, definition, futures, margin, policy=policy)


@dataclass
class PlannerAgent:
    """Decides as `plan` says. Who learns of the load may replace the ``futures``.

    ``margin``: of the program that goes on after the first interval. ``budget_s``: after so many seconds of
    the processor the best so far is taken; where that is short fewer candidates go on, and the optimum is
    asked for less that is new. None plays all paths, which the same decision at the same state needs.
    """

    name: str
    definition: Definition
    futures: LoadPaths
    margin: float = 0.1
    budget_s: float | None = None
    policy: UniversalAgent | None = None
    _corrected: PlannerAgent | None = field(default=None, init=False, repr=False, compare=False)

    def decide(self, state: State) -> Decision:
        """The best candidate. Raises InputError where the state is not one of this pipeline."""
        return self.plan(state).decision

    def plan(self, state: State) -> Plan:
        """All candidates, played. Raises InputError where the state is not one of this pipeline."""
        began = time.thread_time()
        state = checked_state(state, self._below, self.definition.history_s)
        if state.service_scales is not None:
            return self._serving(state.service_scales).plan(replace(state, service_scales=None))
        self._outlooks.optima.until_s = began + SHARE_ASKING * self._within_s
        reference_rps = self.definition.reference_rps(state.history_rps)
        paths_rps, is_new = self._outlooks.ahead(state, self.futures)
        answers, least_rps = self._answers(state, reference_rps, paths_rps), 0.0
        doubts = np.zeros(len(answers.rows))
        if is_new:
            answers, least_rps, doubts = self._of_new_load(state, answers, reference_rps)
        utilities = self._played(state, answers, paths_rps, doubts, began)
        configurations = [self._decoded(rows) for rows in answers.rows]
        ranked = _ranked(answers.steers, configurations, utilities, answers.are_held, doubts)
        return Plan(self.definition.step_s, reference_rps, ranked, paths_rps, is_new, least_rps)

    def _played(
        self, state: State, answers: Answers, paths_rps: FloatArray, doubts: FloatArray, began: float
    ) -> FloatArray:
        """Utilities (answers, paths), NaN where one was not played: those that fall behind go no further.

        ``began``: what the thread had used of the processor when the decision began.
        """
        outlook, first = self._outlooks.of(state, paths_rps, answers), answers.rows
        utilities, ways = np.full((len(first), len(paths_rps)), np.nan), np.arange(len(first))
        going, played = np.arange(len(first)), 0
        at_first, spent = FIRST_PATHS if self.budget_s is None else FEWEST_PATHS, 0.0  # spent of the budget
        while played < len(paths_rps) and (not played or spent < 1.0):
            until = min(max(2 * played, at_first), len(paths_rps))
            roll_out(state.fleet, state.queued, first, ways, outlook, going, played, until, utilities)
            played = until
            spent = (time.thread_time() - began) / self._within_s
            is_slow = spent * FIRST_PATHS > played  # at this pace FIRST_PATHS come too late
            if played >= FIRST_PATHS or is_slow:
                means = utilities[going, :played].mean(axis=1) - doubts[going]
                going = going[np.argsort(-means, kind="stable")]
                better = going[: max(math.ceil(SHARE_KEPT * len(going)), 2)]
                going = np.union1d(better, going[answers.are_held[going]][:1])
        return utilities

    def _needed_rps(self, state: State, reference_rps: float) -> float:
        """What a new load needs: where requests come in clumps they may wait, so less than the reference."""
        definition, of_reference, of_mean = self.definition, *NEW_LOAD_SHARES
        sla_s, step_s = int(definition.problem.sla_s), definition.step_s
        recent_rps = state.history_rps[-(definition.reference_steps * step_s + sla_s) :]
        over_s = min(max(sla_s, step_s), len(recent_rps))
        means_rps = np.lib.stride_tricks.sliding_window_view(recent_rps, over_s).mean(axis=1)
        return min(of_reference * reference_rps, of_mean * float(means_rps.max()))

    def _of_new_load(
        self, state: State, answers: Answers, reference_rps: float
    ) -> tuple[Answers, float, FloatArray]:
        """Those that carry a new load, what that is, and how far behind each is beside what is played.

        The last in utility, (answers,): by what they have to spare, and by the policy. Where nothing carries
        the load it is lost whatever is paid: all answers, and 0.
        """
        least_rps = self._needed_rps(state, reference_rps)
        capacities_rps = np.array([self._outlooks.optima.capacity_rps(rows) for rows in answers.rows])
        carry = capacities_rps >= least_rps
        if not carry.any():
            carry, least_rps = np.ones_like(carry), 0.0
        answers = answers.where(carry)
        worths = RESERVE_WORTH * np.log(np.minimum(capacities_rps[carry] / reference_rps, MOST_RESERVE))
        if self.policy is not None:
            worths += WORTH * self.policy.scores_of(state, answers)
        return answers, least_rps, self.definition.mean_cost * (worths.max() - worths)

    def _serving(self, scales: FloatArray) -> PlannerAgent:
        """The planner of the pipeline whose stages take so many times as long; the last one is kept."""
        definition = self.definition.serving(scales)
        if definition is self.definition:
            return self
        if self._corrected is None or self._corrected.definition is not definition:
            self._corrected = replace(self, definition=definition)
        self._corrected.futures = self.futures
        self._corrected.policy = self.policy and self.policy.serving(scales)
        return self._corrected

    def _answers(self, state: State, reference_rps: float, paths_rps: FloatArray) -> Answers:
        """Of the optimum, for loads by the reference load and by what the paths hold."""
        program_rps = self._outlooks.program_rps(state, paths_rps)
        extremes = np.stack([paths_rps.max(axis=1), paths_rps.mean(axis=1), program_rps])
        expected_rps = np.quantile(extremes, EXPECTED, axis=1).ravel()
        loads_rps = sorted({*(reference_rps * np.array(FACTORS)).tolist(), *expected_rps.tolist()})
        usual_rps = float(np.median(program_rps))
        return self._outlooks.optima.answers(held_rows(state.fleet), reference_rps, loads_rps, usual_rps)

    def _decoded(self, rows: IntArray) -> Configuration:
        """The configuration of (stages, 3), kept by these."""
        key = rows.tobytes()
        if key not in self._known:
            make_room(self._known, MOST_KEPT)
            self._known[key] = decode(self.definition.problem, rows)
        return self._known[key]

    @cached_property
    def horizon_s(self) -> int:
        """How far it looks."""
        return horizon_s(self.definition)

    @property
    def _within_s(self) -> float:
        """The budget, beyond any where there is none."""
        return math.inf if self.budget_s is None else max(self.budget_s, 1e-9)

    @cached_property
    def _outlooks(self) -> Outlooks:
        return Outlooks(self.definition, self.margin)

    @cached_property
    def _known(self) -> dict[bytes, Configuration]:
        return {}

    @cached_property
    def _below(self) -> IntArray:
        return choices_below(self.definition.problem)


def _ranked(
    steers: Sequence[Steer],
    configurations: list[Configuration],
    utilities: FloatArray,
    are_held: NDArray[np.bool_],
    doubts: FloatArray,
) -> tuple[Candidate, ...]:
    """Best first: whoever was played over the most paths, then by utility; ``utilities``: (steers, paths).

    But first of all what was decided last (``are_held``, if any is), unless the best is better by
    HELD_ERRORS. ``doubts`` (steers,) are taken from the utilities.
    """
    utilities = utilities - doubts[:, None]
    paths = np.isfinite(utilities).sum(axis=1)
    means = np.nanmean(utilities, axis=1)
    order = np.lexsort((-means, -paths)).tolist()
    behind, errors = _behind(utilities, order[0])
    stays = next((one for one in order if are_held[one]), order[0])
    if stays != order[0] and behind[stays] <= HELD_ERRORS * errors[stays]:
        order.remove(stays)
        order.insert(0, stays)
        behind, errors = _behind(utilities, stays)
    columns = means.tolist(), paths.tolist(), behind.tolist(), errors.tolist(), doubts.tolist()
    figures = list(zip(*columns, strict=True))
    return tuple(Candidate(steers[c], configurations[c], *figures[c]) for c in order)


def _behind(utilities: FloatArray, first: int) -> tuple[FloatArray, FloatArray]:
    """How far all are behind the first on the same paths, (steers,), and its standard error; NaN of one."""
    paths = np.isfinite(utilities).sum(axis=1)
    behind = utilities[first] - utilities
    means = np.nanmean(behind, axis=1)
    squares = np.nansum((behind - means[:, None]) ** 2, axis=1)
    return means, np.sqrt(squares / np.where(paths > 1, paths - 1, np.nan) / paths)
