"""An environment: what is served, how it is judged, what arrives, and what follows from these."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from ipa_rl.blocks import needed_tree
from ipa_rl.documents import Count, Name, NonNegative, Positive, StrictModel
from ipa_rl.environment.randomisation import Randomisation
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import Problem, Weights, cost_cores
from ipa_rl.pipeline import Configuration, Pipeline
from ipa_rl.simulation import Timing, encode
from ipa_rl.solvers import FrontSolver
from ipa_rl.workload.steps import (
    HISTORY_STEPS,
    by_step,
    least_rps,
    nearest_horizon,
    reference_load,
    step_for,
)
from ipa_rl.workload.workload import Part, Window, Workload

RHO_COSTS = 10.0
"""Mean costs of the program that all requests' violations are worth, by default."""
RHO_EVERY = 600
"""The mean cost by which rho is set is taken over one step in so many."""

WINDOW_INTERVALS = 120
"""Windows that agents are tuned and judged on have so many intervals, where the workload is long enough: 20
minutes with intervals of 10 s, as the paper's."""

WINDOW_REACHES = 5
"""And they are so many times as long at least as an ordered replica takes until it has served an interval."""

LOADS_OF_TABLE = 150
"""Loads up to so many `Definition.load_unit_rps` are told apart where optima are kept by load."""

MOST_KEPT = 64
"""Environments of fixed variants, with their optima, that are kept."""
MOST_SCALED_KEPT = 4
"""Likewise, environments whose stages serve by other times than profiled."""


BATCH_TIMEOUT_SHARE = 0.1
"""Where an environment gives no batch time-out it is this share of the SLA: 1 s for an SLA of 10 s."""


class EpisodesModel(StrictModel):
    """What arrives, and what of it an episode is.

    ``load``: a shipped workload or the folder of one, relative to the file; "poisson" (``rate_rps``) or
    "on-off" (between ``rate_rps`` and ``peak_rps``) are made up. ``scale``: so many times its requests.
    Episodes are random stretches of ``part``; ``eventful``: of it only so many, those whose load rises and
    falls most. ``episode_s``: by default as long as a window (`Definition.window_s`).
    """

    load: Name = "twitter"
    scale: Positive = 1.0
    part: Part = "train"
    episode_s: Annotated[int, Field(ge=10, le=30 * 86_400)] | None = None
    eventful: Count | None = None
    rate_rps: Positive = 12.0
    peak_rps: Positive = 30.0

    @model_validator(mode="after")
    def _check_rates(self) -> EpisodesModel:
        taken = {"poisson": {"rate_rps"}, "on-off": {"rate_rps", "peak_rps"}}.get(self.load, set())
        for name in ("rate_rps", "peak_rps"):
            if name in self.model_fields_set and name not in taken:
                raise ValueError(f"{name} says nothing of the load {self.load}")
        if self.load == "on-off" and self.peak_rps <= self.rate_rps:
            raise ValueError(f"peak_rps, {self.peak_rps:g}, must be above rate_rps, {self.rate_rps:g}")
        return self


class RewardModel(StrictModel):
    """Whether the exact optimum shapes the reward, and the factor that brings it to about one.

    ``violation_factor``: how much heavier than in the utility violations weigh while learning.
    """

    shaping: bool = True
    scale: Positive = 1.0
    violation_factor: Positive = 1.0


class BaselinesModel(StrictModel):
    """The paper's compared systems: variants by stage, RIM's replicas, the program's margin over its LSTM.

    What is left out follows from the pipeline and its load (`ipa_rl.agents.program`).
    """

    ip_margin: NonNegative = 0.0
    fa2_low: tuple[str, ...] | None = None
    fa2_high: tuple[str, ...] | None = None
    rim_replicas: tuple[Count, ...] | None = None


@dataclass(frozen=True)
class Definition:
    """An environment: what is served, how it is judged, what arrives.

    ``load_window_s``: the reference load is the maximum of that many seconds; None for 30 steps.
    ``workload`` arrives, and ``episodes`` are parts of it.
    ``preference``: logarithm of how much more alpha / beta is than in the environment's file.
    ``own_rho``: whether the file gives rho; else it follows alpha and beta.
    """

    name: str
    problem: Problem
    timing: Timing
    workload: Workload
    episodes: EpisodesModel
    reward: RewardModel
    baselines: BaselinesModel = field(default_factory=BaselinesModel)
    load_window_s: int | None = None
    preference: float = 0.0
    own_rho: bool = False
    randomisation: Randomisation = field(default_factory=Randomisation)

    def __post_init__(self) -> None:
        needed_tree(self.pipeline.graph, f"{self.name}: edges")

    @property
    def pipeline(self) -> Pipeline:
        """What is served."""
        return self.problem.pipeline

    @property
    def weights(self) -> Weights:
        """Weights of objective and utility."""
        return self.problem.weights

    @property
    def mean_cost(self) -> float:
        """What the program costs on average, in utility (`default_rho`); of a core where nobody said."""
        return self.weights.rho / RHO_COSTS if self.weights.rho > 0 else self.weights.beta

    @cached_property
    def reach_s(self) -> float:
        """Seconds until a replica that is ordered now has served an interval."""
        slowest_s = max(v.start_up_s for stage in self.pipeline.stages for v in stage.variants)
        return slowest_s * self.timing.start_up_scale + self.timing.interval_s

    @cached_property
    def step_s(self) -> int:
        """Seconds of a step, over which controllers see loads averaged (`ipa_rl.workload.steps`).

        Long enough for start-ups to lie within what forecasts cover, and for some requests to come; short
        enough for histories to fit the workload.
        """
        shortest_s = min(end - begin for begin, end in self.workload.parts.values())
        return step_for(self.reach_s, self.workload.mean_rps, shortest_s)

    @property
    def unit_s(self) -> int:
        """Seconds of a unit of time in made-up loads: a tenth of an interval at least."""
        return max(1, round(self.timing.interval_s / 10), self.step_s)

    @property
    def history_s(self) -> int:
        """Seconds of past loads that a controller needs."""
        return HISTORY_STEPS * self.step_s

    @cached_property
    def horizon(self) -> int:
        """Steps that a forecast must cover: until a replica ordered now has served an interval."""
        return nearest_horizon(self.reach_s / self.step_s)

    @cached_property
    def window_s(self) -> int:
        """Length of the windows that agents are tuned and judged on; at least four in each part.

        Some start-ups last less, so that what is ordered in a window shows in it.
        """
        interval_s, parts = self.timing.interval_s, self.workload.parts
        shortest_s = min(parts[part][1] - parts[part][0] for part in ("validation", "test"))
        most = max((shortest_s - self.history_s) // (4 * interval_s), 1)
        wanted = max(WINDOW_INTERVALS, math.ceil(WINDOW_REACHES * self.reach_s / interval_s))
        return min(wanted, most) * interval_s

    @property
    def episode_s(self) -> int:
        """Length of an episode."""
        return self.episodes.episode_s or self.window_s

    @property
    def reference_steps(self) -> int:
        """The reference load is the maximum of so many steps."""
        return 30 if self.load_window_s is None else max(1, round(self.load_window_s / self.step_s))

    @cached_property
    def load_unit_rps(self) -> float:
        """A load that is small here, a round number: LOADS_OF_TABLE of it are more than what comes."""
        return _round_up(3.0 * self.highest_rps / LOADS_OF_TABLE)

    @cached_property
    def highest_rps(self) -> float:
        """The highest load of a second of the train part, one request at least."""
        return self.workload.scale * float(self.workload.part("train").max(initial=1))

    def windows(self, part: Part) -> list[Window]:
        """The windows of a part. Raises InputError where there are none."""
        found = self.workload.windows(part, self.window_s, self.history_s)
        if not found:
            problem = (
                f"its {part} part has no {self.window_s} s without gaps after {self.history_s} s of history"
            )
            fix = "give a longer workload, or intervals and start-ups that are shorter"
            raise InputError(problem, file=self.workload.name, field=part, fix=fix)
        return found

    @cached_property
    def solver(self) -> FrontSolver:
        """The exact optimum of this environment, by load."""
        return FrontSolver(self.problem)

    def reference_rps(self, history_rps: FloatArray) -> float:
        """The reference load of a history by second: the last steps' maximum, a request a step at least."""
        history = by_step(history_rps, self.step_s)
        return float(reference_load(history, self.reference_steps, least_rps(self.step_s)))

    def best_for(self, load_rps: float) -> Configuration:
        """The optimum for a load; where there is none, the configuration that serves the most."""
        return self.solver.solve(load_rps).to_run

    def solve_anew(self, load_rps: float) -> Configuration:
        """As `best_for`, solved each time, as a controller that is timed must."""
        return self.solver.solve_anew(load_rps).to_run

    def rows_for(self, load_rps: float) -> IntArray:
        """`best_for` as integers (stages, 3), kept by load."""
        if load_rps not in self._rows:
            self._rows[load_rps] = encode(self.problem, self.best_for(load_rps))
        return self._rows[load_rps]

    @cached_property
    def _rows(self) -> dict[float, IntArray]:
        return {}

    def keeping(self, variants: tuple[int, ...]) -> Definition:
        """The environment whose stages have one variant each, by position; the newest ones are kept."""
        if variants not in self._keeping:
            make_room(self._keeping, MOST_KEPT)
            stages = zip(self.pipeline.stages, variants, strict=True)
            names = tuple(stage.variants[v].name for stage, v in stages)
            self._keeping[variants] = self.with_problem(pipeline=self.pipeline.restricted_to(names))
        return self._keeping[variants]

    @cached_property
    def _keeping(self) -> dict[tuple[int, ...], Definition]:
        return {}

    def serving(self, scales: FloatArray | None) -> Definition:
        """The environment whose stages take so many times as long to serve, (stages,); None changes nothing.

        The newest ones are kept.
        """
        if scales is None or (scales == 1.0).all():
            return self
        key = tuple(scales.tolist())
        if key not in self._serving:
            make_room(self._serving, MOST_SCALED_KEPT)
            self._serving[key] = self.with_problem(pipeline=self.pipeline.serving(key))
        return self._serving[key]

    @cached_property
    def _serving(self) -> dict[tuple[float, ...], Definition]:
        return {}

    def preferring(self, alpha: float, beta: float) -> Definition:
        """The same environment under another preference; rho follows unless the file gives it.

        Raises InputError where the ratio of alpha and beta is not positive and finite.
        """
        own = self.weights
        if (alpha, beta) == (own.alpha, own.beta):
            return self
        ratio, own_ratio = _ratio(alpha, beta), _ratio(own.alpha, own.beta)
        shift = math.log(ratio) - math.log(own_ratio)
        weights = replace(own, alpha=alpha, beta=beta)
        changed = self.with_problem(weights=weights)
        if not self.own_rho:
            changed = changed.with_problem(weights=replace(weights, rho=default_rho(changed)))
        return replace(changed, preference=self.preference + shift)

    def with_problem(self, **changes: Any) -> Definition:
        """The same environment with other fields of its Problem."""
        return replace(self, problem=replace(self.problem, **changes))


def default_rho(definition: Definition) -> float:
    """The weight that makes 1 % of violations worth 10 % of the program's mean cost (design, section 3).

    The mean is taken over the loads of the train part: of one step in RHO_EVERY, or more of a short part.
    """
    problem, workload, step_s = definition.problem, definition.workload, definition.step_s
    train = by_step(workload.part("train"), step_s)
    seen = workload.scale * train[:: max(min(RHO_EVERY, len(train) // 300), 1)]
    loads, counts = np.unique([float(f"{load:.3g}") for load in seen], return_counts=True)
    solver = FrontSolver(problem)
    costs = [cost_cores(problem.pipeline, solver.solve(float(load)).to_run) for load in loads]
    return float(RHO_COSTS * problem.weights.beta * np.average(costs, weights=counts))


def make_room(kept: dict[Any, Any], most: int) -> None:
    """The oldest ones go where a new one would be too many: a controller may run for months."""
    while len(kept) >= most:
        del kept[next(iter(kept))]


def _ratio(alpha: float, beta: float) -> float:
    """Of alpha to beta. Raises InputError where a logarithm cannot be taken of it."""
    ratio = alpha / beta if 0 < alpha < math.inf and 0 < beta < math.inf else 0.0
    if not 0 < ratio < math.inf:
        fix = "give positive numbers of similar size"
        raise InputError(f"alpha {alpha:g} and beta {beta:g}", field="preference", fix=fix)
    return ratio


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, ... and of 0.5, 0.2, 0.1, ...

    >>> _round_up(0.96), _round_up(120.0), _round_up(0.06)
    (1.0, 200.0, 0.1)
    """
    power = 10.0 ** math.floor(math.log10(value))
    digit = next(d for d in (1.0, 2.0, 5.0, 10.0) if d * power >= value * (1 - 1e-12))
    return float(f"{digit * power:g}")
