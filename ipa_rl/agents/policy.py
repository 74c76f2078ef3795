"""The trained policy without torch: a small network of numpy arrays, read from ``policy.npz``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.agents.gymnasium_agent import Translator
from ipa_rl.agents.layers import Layer, Matrix, arrays_of, layers_of, wanted_layers
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Decision, State
from ipa_rl.agents.rollout_guard import RolloutGuard, make_rollout_guard
from ipa_rl.arrays import Header, Headers, Wanted, check_finite, misfit, read_arrays, write_arrays
from ipa_rl.environment.action import action_sizes, choice_names, relative_capacity
from ipa_rl.environment.definition import LOADS_OF_TABLE, Definition
from ipa_rl.environment.observation import observation_names
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.simulation import decode
from ipa_rl.workload.clock import Season
from ipa_rl.workload.quantiles import RECENT, QuantileTable
from ipa_rl.workload.steps import least_rps

_SHRINKAGE = 0.01
"""Added to every variance: entries that never moved in training may move by a tenth."""

_QUANTILE, _SLACK = 0.9999, 1.5
_LEAST_QUANTILE = 0.0005
_HEAVY_QUANTILE = 0.75

_COVERED = ("limit", "least_capacity", "heavy_rps", "reserve")


@dataclass(frozen=True)
class Coverage:
    """What training covered: a normal distribution of observations, the least capacity, heavy loads.

    ``mean`` (entries,) and ``whitening`` (entries, entries): an observation's score is the mean square of
    (observation - mean) @ whitening, its squared Mahalanobis distance by entry. Above ``limit`` it is out of
    what training covered. ``least_capacity``: lowest capacity of a decision, relative to the mean load of the
    last 10 s, which a live cluster's guard allows. ``heavy_rps``: 75th percentile of the loads in training,
    means of 10 s. ``reserve``: share of the program's planned-for load that every stage can serve where the
    load is heavier; 0 disables it.
    """

    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]
    limit: float
    least_capacity: float
    heavy_rps: float
    reserve: float

    def score(self, observation: NDArray[np.float32]) -> float:
        """How far an observation (entries,) is from those of training; about 1 within them."""
        apart = (observation - self.mean) @ self.whitening
        return float(apart @ apart) / len(apart)


def fit_coverage(
    observations: NDArray[np.float32], capacities: FloatArray, loads_rps: FloatArray, reserve: float
) -> Coverage:
    """Coverage of observations (samples, entries), relative capacities and loads, (samples,) both."""
    mean = observations.mean(axis=0, dtype=np.float64)
    apart = observations - mean
    covariance = apart.T @ apart / len(apart) + _SHRINKAGE * np.eye(len(mean))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    scores = np.square(apart @ whitening).mean(axis=1)
    return Coverage(
        mean.astype(np.float32),
        whitening.astype(np.float32),
        _SLACK * float(np.quantile(scores, _QUANTILE)),
        float(np.quantile(capacities, _LEAST_QUANTILE)),
        float(np.quantile(loads_rps, _HEAVY_QUANTILE)),
        reserve,
    )


@dataclass(frozen=True)
class Policy:
    """Layers of (weight (out, in), bias (out,)), tanh between them; the last gives all logits.

    ``choices``: in words what its sizes choose between (`choice_names`). ``coverage``: what training covered,
    None while it goes on.
    """

    layers: tuple[Layer, ...]
    sizes: tuple[int, ...]
    choices: tuple[str, ...]
    coverage: Coverage | None = None

    def logits(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (environments, sum of sizes) of observations (environments, entries)."""
        values = observations
        for weight, bias in self.layers[:-1]:
            values = np.tanh(values @ weight.T + bias)
        weight, bias = self.layers[-1]
        return np.asarray(values @ weight.T + bias, dtype=np.float32)

    def act(self, observations: NDArray[np.float32]) -> IntArray:
        """The likeliest action (environments, len(sizes)) for each observation."""
        logits = self.logits(observations)
        ends = np.cumsum(self.sizes)
        parts = [logits[:, end - size : end] for end, size in zip(ends, self.sizes, strict=True)]
        return np.stack([part.argmax(axis=1) for part in parts], axis=1).astype(np.int64)


def save_policy(policy: Policy, path: Path) -> None:
    """Write a policy as ``.npz``: plain arrays, nothing that runs on loading."""
    write_arrays(_arrays(policy), path)


def load_policy(path: Path, definition: Definition) -> Policy:
    """Read a policy and check that it fits the environment. Raises InputError."""
    arrays = read_arrays(path, _misfit, "policy", "train it: ipa-rl train NAME --ppo")
    coverage = None
    if "coverage_mean" in arrays:
        numbers = {name: float(arrays[f"coverage_{name}"]) for name in _COVERED}
        coverage = Coverage(arrays["coverage_mean"], arrays["coverage_whitening"], **numbers)
    choices = tuple(arrays["choices"].tolist())
    policy = Policy(layers_of(arrays), tuple(arrays["sizes"].tolist()), choices, coverage)
    check_fits(policy, definition, path)
    return policy


def check_fits(policy: Policy, definition: Definition, path: Path | None = None) -> None:
    """Raises InputError where a policy is not of the environment's sizes and choices, or not of numbers.

    ``path``: the file that it is from.
    """
    arrays = _arrays(policy)
    problem = _misfit({name: Header(one.dtype, one.shape) for name, one in arrays.items()})
    if not problem:
        problem = _difference(policy, definition)
    fix = "train an agent for this environment: ipa-rl train ENV"
    if problem:
        raise InputError(problem, file=path, fix=fix)
    check_finite(arrays, path, fix)


def _difference(policy: Policy, definition: Definition) -> str:
    """How a policy differs from what an environment needs; empty where it fits."""
    entries, sizes = len(observation_names(definition.problem)), tuple(action_sizes(definition.problem))
    inputs, known = policy.layers[0][0].shape[-1], choice_names(definition.problem)
    if (inputs, tuple(policy.sizes)) != (entries, sizes):
        has = f"has {inputs} inputs and choices {tuple(policy.sizes)}"
        return f"{has}, {definition.name} has {entries} and {sizes}"
    if policy.layers[-1][1].size != sum(sizes):
        return "has other outputs than choices"
    if policy.choices == known:
        return ""
    # Of the same shape, it was trained for other variants or batch sizes.
    unknown = [name for name in policy.choices if name not in known]
    lacking = [name for name in known if name not in policy.choices]
    what = [f"knows {', '.join(unknown)}"] if unknown else []
    what += [f"does not know {', '.join(lacking)}"] if lacking else []
    return f"{'; '.join(what) or 'orders its choices otherwise'} ({definition.name})"


def _arrays(policy: Policy) -> dict[str, NDArray[Any]]:
    """What the file of a policy holds, by name."""
    arrays: dict[str, NDArray[Any]] = {
        "sizes": np.array(policy.sizes, dtype=np.int64),
        "choices": np.array(policy.choices, dtype=np.str_),
    }
    arrays |= arrays_of(policy.layers)
    if policy.coverage is not None:
        known = {one.name: np.asarray(getattr(policy.coverage, one.name)) for one in fields(Coverage)}
        arrays |= {f"coverage_{name}": one for name, one in known.items()}
    return arrays


def _misfit(headers: Headers) -> str:
    """What is wrong with the arrays of a policy before they are read; empty where they fit together."""
    wanted: Wanted = {"sizes": ("i8", (None,)), "choices": ("U", (None,))}
    inputs = headers["weight_0"].columns() if "weight_0" in headers else None
    wanted |= wanted_layers(headers, inputs)
    if "coverage_mean" in headers:
        wanted |= {"coverage_mean": ("f4", (inputs,)), "coverage_whitening": ("f4", (inputs, inputs))}
        wanted |= {f"coverage_{name}": ("f8", ()) for name in _COVERED}
    return misfit(headers, wanted)


@dataclass
class PolicyAgent:
    """The trained agent: observes, runs the network once, decodes its choice.

    Where the choice cannot be trusted (`why_untrusted`) the ``program`` answers for its forecast instead, and
    `Decision.fallback` says why. The program's answers are kept by whole requests a second, so that falling
    back takes no solving.
    """

    name: str
    definition: Definition
    policy: Policy
    program: ProgramAgent
    guard: RolloutGuard = field(init=False)
    _translator: Translator = field(init=False)

    def __post_init__(self) -> None:
        check_fits(self.policy, self.definition)
        self.guard = make_rollout_guard(self.definition)
        self._translator = Translator(self.definition)
        for load in range(LOADS_OF_TABLE + 1):
            self.program.definition.rows_for(load * self.definition.load_unit_rps)

    @property
    def arrays(self) -> list[Matrix]:
        """All that its decisions depend on, beside the environment."""
        return [array for layer in self.policy.layers for array in layer]

    def forecast_by(self, table: QuantileTable, season: Season) -> None:
        """Observe from now on by these quantiles and that season, as the load of the workload is another."""
        self._translator.observer.forecast_by(table, season)

    def decide(self, state: State) -> Decision:
        """The configuration that the network finds likeliest, or the program's where that is not trusted.

        Raises InputError where the state is not one of this pipeline.
        """
        problem = self.definition.problem
        # Observation: what is seen, relative to the reference load; here of one environment, not of many.
        state, observations, reference_rps = self._translator.observe(state)
        # Network: of every stage the likeliest variant, batch size and headroom.
        actions = self.policy.act(observations)
        # Configuration: the headroom over the reference load says how many replicas, within the limit.
        rows = self._translator.rows(actions, reference_rps)
        # Guard: a choice beyond what training covered, or that is expected to be worse, is the program's.
        planned_rps = self.program.planned_for(state)
        unit_rps = self.definition.load_unit_rps
        programs = self.program.definition.rows_for(math.ceil(planned_rps / unit_rps) * unit_rps)
        reason = self.why_untrusted(state, observations[0], rows, programs, planned_rps)
        if reason:
            return Decision(decode(problem, programs), planned_rps, fallback=reason)
        return Decision(decode(problem, rows), float(reference_rps[0]))

    def why_untrusted(
        self,
        state: State,
        observation: NDArray[np.float32],
        rows: IntArray,
        programs: IntArray,
        planned_rps: float,
    ) -> str:
        """Why a choice of the network is not carried out; empty where it is.

        "unfamiliar": the observation is out of what training covered. "too lean": the load of the last steps
        is heavy, and the capacity less than the reserve asks for. "worse": both played forward, the program's
        answer ``programs`` for ``planned_rps`` is expected to be better (`RolloutGuard`).
        """
        coverage = self.policy.coverage
        if coverage is None:
            return ""
        if coverage.score(observation) > coverage.limit:
            return "unfamiliar"
        least = least_rps(self.definition.step_s)
        load_rps = max(float(state.history_rps[-RECENT * self.definition.step_s :].mean()), least)
        if coverage.reserve > 0 and load_rps > coverage.heavy_rps:
            loads_rps, graph = np.array([load_rps]), self.definition.pipeline.graph
            capacity = relative_capacity(rows[None], self._translator.variants, loads_rps, least, graph)[0]
            if capacity * load_rps < coverage.reserve * planned_rps:
                return "too lean"
        return self.guard.why_worse(state, rows, programs)
