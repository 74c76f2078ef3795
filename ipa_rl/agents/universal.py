"""One policy for any pipeline: networks score the answers of the optimum, and the best one is decided.

It sees every answer beside the state (`ipa_rl.agents.steer_features`), with the same weights for all; so it
knows nothing of stages, variants or units, and decides for pipelines that it never met (as Decima scores
nodes, arXiv 1810.01963). It runs without torch.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ipa_rl import resources
from ipa_rl.agents.layers import Layer, Matrix, arrays_of, layers_of, wanted_layers
from ipa_rl.agents.protocol import Decision, State, checked_state
from ipa_rl.agents.steer_features import (
    ANSWER_FEATURES,
    STATE_FEATURES,
    Forecasts,
    SteerFeatures,
    forecasts_of,
)
from ipa_rl.agents.steers import Answers, Optima, Variants
from ipa_rl.arrays import Headers, Wanted, check_finite, misfit, read_arrays, write_arrays
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.simulation import decode
from ipa_rl.simulation.tables import choices_below
from ipa_rl.workload.clock import Season
from ipa_rl.workload.futures import RecordedFutures
from ipa_rl.workload.quantiles import QuantileTable

UNIVERSAL = "universal"
"""Its name, and that of its folder among the agents."""
SCORER = "scorer.npz"
"""The file of an agent's folder that holds its scorer."""
FIRST = ("of_state", "of_answers", "bias", "direct")
"""Arrays of a scorer beside its layers."""

_FIX = "train it: python scripts/train_universal.py"


@dataclass(frozen=True)
class Scorer:
    """Some networks with one score an answer each; their mean counts, as one alone may err by far.

    Layers have rectifiers between them. ``of_state`` (networks, units, STATE_FEATURES) and ``of_answers``
    (networks, units, ANSWER_FEATURES) are the first one, with ``bias`` (networks, units); ``layers``: the
    others. ``direct`` (networks, ANSWER_FEATURES): what a feature adds to the score as it is.
    """

    of_state: Matrix
    of_answers: Matrix
    bias: Matrix
    direct: Matrix
    layers: tuple[Layer, ...]

    @property
    def arrays(self) -> list[Matrix]:
        """All weights and biases."""
        first = [vars(self)[name] for name in FIRST]
        return [*first, *(one for layer in self.layers for one in layer)]

    def scores(self, of_state: FloatArray, of_answers: FloatArray) -> Matrix:
        """Scores (answers,) of features (features,) and (answers, features); the highest is the best."""
        first, layers, direct = self._as_multiplied
        looked_at = of_answers.astype(np.float32, order="C")
        values = (looked_at @ first).reshape(len(looked_at), *self.bias.shape).swapaxes(0, 1)
        values = values + (self.of_state @ of_state.astype(np.float32) + self.bias)[:, None]
        for weight, bias in layers:
            values = np.maximum(values, 0.0) @ weight
            values += bias
        return np.asarray(values[:, :, 0].mean(axis=0) + looked_at @ direct)

    @cached_property
    def _as_multiplied(self) -> tuple[Matrix, list[Layer], Matrix]:
        """First and further layers as products take them fastest, and the mean of ``direct``."""
        first = np.ascontiguousarray(self.of_answers.reshape(-1, self.of_answers.shape[-1]).T)
        layers = [
            (np.ascontiguousarray(weight.swapaxes(1, 2)), bias[:, None]) for weight, bias in self.layers
        ]
        return first, layers, np.asarray(self.direct.mean(axis=0))


def save_scorer(scorer: Scorer, path: Path) -> None:
    """Write a scorer as ``.npz``: plain arrays, and the names of what it looks at."""
    arrays = {"state_features": np.array(STATE_FEATURES), "answer_features": np.array(ANSWER_FEATURES)}
    first = {name: vars(scorer)[name] for name in FIRST}
    write_arrays(arrays | first | arrays_of(scorer.layers), path)


def load_scorer(path: Path) -> Scorer:
    """Read a scorer. Raises InputError where it is none, or looks at other features than these."""
    arrays = read_arrays(path, _misfit, "scorer", _FIX)
    known = tuple(arrays["state_features"]), tuple(arrays["answer_features"])
    if known != (STATE_FEATURES, ANSWER_FEATURES):
        raise InputError("looks at other features than this version gives", file=path, fix=_FIX)
    check_finite(arrays, path, _FIX)
    first = {name: arrays[name] for name in FIRST}
    return Scorer(**first, layers=layers_of(arrays))


def _misfit(headers: Headers) -> str:
    """What is wrong with the arrays before they are read; empty where they fit together."""
    networks, units = (
        (headers["bias"].rows(), headers["bias"].columns()) if "bias" in headers else (None, None)
    )
    wanted: Wanted = {
        "state_features": ("U", (len(STATE_FEATURES),)),
        "answer_features": ("U", (len(ANSWER_FEATURES),)),
        "of_state": ("f4", (networks, units, len(STATE_FEATURES))),
        "of_answers": ("f4", (networks, units, len(ANSWER_FEATURES))),
        "bias": ("f4", (networks, units)),
        "direct": ("f4", (networks, len(ANSWER_FEATURES))),
    }
    return misfit(headers, wanted | wanted_layers(headers, units, outputs=1, networks=(networks,)))


def make_universal(definition: Definition, file: Path | None = None) -> UniversalAgent:
    """The agent for an environment, by the policy that ships or by that of a file."""
    path = file or resources.folder("agents") / UNIVERSAL / SCORER
    return UniversalAgent(UNIVERSAL, definition, load_scorer(path), forecasts_of(definition))


@dataclass
class UniversalAgent:
    """Decides what its scorer finds best. Where stages take longer than profiled it sees them so.

    ``asks_later``: the optimum is asked for nothing new before a decision, where it knows anything of the
    kind, but by `catch_up` after it.
    """

    name: str
    definition: Definition
    scorer: Scorer
    forecasts: Forecasts
    asks_later: bool = False
    _decided: tuple[Optima, Variants] | None = field(default=None, init=False, repr=False, compare=False)
    _corrected: UniversalAgent | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def arrays(self) -> list[Matrix]:
        """All that its decisions depend on, beside the environment."""
        return self.scorer.arrays

    def forecast_by(
        self, table: QuantileTable, season: Season, futures: RecordedFutures | None = None
    ) -> None:
        """Foretell from now on by these quantiles and that season, as the load of the workload is another.

        By other ``futures`` as well where they are given.
        """
        futures = self.forecasts.futures if futures is None else futures
        self.forecasts, self._corrected = Forecasts(table, season, futures), None
        self._features = SteerFeatures(self._optima, self.forecasts)

    def decide(self, state: State) -> Decision:
        """The answer with the highest score. Raises InputError where the state is not of this pipeline."""
        state = checked_state(state, self._below, self.definition.history_s)
        if state.service_scales is not None:
            serving = self.serving(state.service_scales)
            decision = serving.decide(replace(state, service_scales=None))
            self._decided = serving._decided
            return decision
        self._optima.until_s = time.thread_time() if self.asks_later else math.inf
        answers, scores = self.scored(state)
        best = int(scores.argmax())
        self._decided = self._optima, tuple(answers.rows[best, :, 0].tolist())
        configuration = decode(self.definition.problem, answers.rows[best])
        return Decision(configuration, float(answers.planned_rps[best]))

    def catch_up(self, within_s: float) -> None:
        """Ask the optimum for what the last decision left out."""
        if self._decided is not None:
            optima, variants = self._decided
            optima.catch_up(variants, within_s)

    def scored(self, state: State) -> tuple[Answers, Matrix]:
        """All answers at a state that was checked, and their scores (answers,)."""
        expected = self._features.expected(state.history_rps, state.clock_s)
        answers, *features = self._features.look(state, expected)
        return answers, self.scorer.scores(*features)

    def scores_of(self, state: State, answers: Answers) -> Matrix:
        """The scores (answers,) of any answers at a state that was checked."""
        expected = self._features.expected(state.history_rps, state.clock_s)
        return self.scorer.scores(*self._features.of(state, answers, expected))

    def serving(self, scales: FloatArray) -> UniversalAgent:
        """The agent of the pipeline whose stages take so many times as long; the last one is kept."""
        definition = self.definition.serving(scales)
        if definition is self.definition:
            return self
        if self._corrected is None or self._corrected.definition is not definition:
            self._corrected = replace(self, definition=definition)
        return self._corrected

    @cached_property
    def _optima(self) -> Optima:
        return Optima(self.definition)

    @cached_property
    def _features(self) -> SteerFeatures:
        return SteerFeatures(self._optima, self.forecasts)

    @cached_property
    def _below(self) -> IntArray:
        return choices_below(self.definition.problem)
