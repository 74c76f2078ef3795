"""Fitting the policy for any pipeline to lessons: what it decides should be behind the best by the least.

The loss of a state is how far its answers are behind the best, each weighed by how likely the policy takes
it. Unlike a policy gradient it knows of all answers of a state what they came to, so it needs no critic and
no exploration of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ipa_rl.agents.steer_features import ANSWER_FEATURES, STATE_FEATURES
from ipa_rl.agents.universal import Scorer
from ipa_rl.arrays import Wanted, misfit, read_arrays, write_arrays
from ipa_rl.progress import Report
from ipa_rl.training.lessons import Lessons

UNITS = (128, 96, 64)
"""Of the hidden layers."""
BATCH, EPOCHS, LEARNING_RATE = 512, 10, 2e-3
MOST_BEHIND = 10.0
"""Mean costs: all requests violate; nothing is further behind."""
ENTROPY = 0.003
"""What an even choice is worth, in mean costs a nat: so that early answers do not shut out others."""
SEEN_ANSWERS = 16
"""So many answers of a state are looked at in each pass, drawn anew, the best among them: as many as 50 would
take three times as long, and tell little more."""
CHECKED_SEEDS = 20
"""One in so many pipelines is not learned from, to see what the policy makes of pipelines it never met."""
_LEAST_SPREAD = 0.01
_MOST_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Progress:
    """How far behind the best the policy's choices are, in mean costs, and the program's.

    ``worth``: of a score, in mean costs: by how much an answer is further behind than the policy's choice,
    over by how much it is scored lower (least squares, unseen states).
    """

    learned: float
    unseen: float
    unseen_program: float
    worth: float


class ScoringNetwork(nn.Module):
    """Scores of answers; ``Scorer`` is the same without torch."""

    def __init__(self, units: Sequence[int] = UNITS) -> None:
        super().__init__()
        self.of_state = nn.Linear(len(STATE_FEATURES), units[0])
        self.of_answers = nn.Linear(len(ANSWER_FEATURES), units[0], bias=False)
        sizes = [*units, 1]
        self.layers = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))

    def forward(self, of_state: Tensor, of_answers: Tensor, states: Tensor) -> Tensor:
        """Scores (answers,) of features; ``states`` (answers,): the position of each one's state."""
        # not by [states]: its gradients are summed in any order, and no fit would be like another
        values: Tensor = self.of_answers(of_answers) + self.of_state(of_state).index_select(0, states)
        for layer in self.layers:
            values = layer(torch.relu(values))
        return values[:, 0]


def fit(
    lessons: Lessons,
    seed: int,
    report: Report,
    epochs: int = EPOCHS,
    start: Scorer | None = None,
    learning_rate: float = LEARNING_RATE,
) -> tuple[Scorer, Progress]:
    """A scorer that is fitted to lessons, from a ``start`` or from nothing."""
    torch.manual_seed(seed)
    data = _Data(lessons)
    network = ScoringNetwork() if start is None else data.network(start)
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    batches = max(len(data.learned) // BATCH, 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * batches + 1)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        order = rng.permutation(data.learned)
        for picked in np.array_split(order, batches):
            loss = data.loss(network, picked, rng)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        report.advance("epochs", epoch + 1, epochs)
    some = data.learned[:: max(len(data.learned) // max(len(data.unseen), 1), 1)]
    (learned, _), (unseen, worth) = (data.regret(network, states) for states in (some, data.unseen))
    return data.scorer(network), Progress(learned, unseen, data.behind_program(data.unseen), worth)


class _Data:
    """Lessons, standardised; states of some pipelines aside."""

    def __init__(self, lessons: Lessons) -> None:
        self.of_state, self.of_answers = lessons.of_state, lessons.of_answers
        self.counts = lessons.counts.astype(np.int64)
        self.begins = np.cumsum(self.counts) - self.counts
        self.behind = np.minimum(lessons.behind, MOST_BEHIND)
        aside = lessons.seeds % CHECKED_SEEDS == 0
        self.learned, self.unseen = np.flatnonzero(~aside), np.flatnonzero(aside)
        self.state_mean, self.state_spread = _standard(self.of_state)
        self.answer_mean, self.answer_spread = _standard(self.of_answers)

    def batch(
        self, states: NDArray[np.int64], rng: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features of states and of their answers, positions of the answers' states, how far behind.

        ``rng`` draws about SEEN_ANSWERS of each state; all are taken where there is none.
        """
        owners, at = np.repeat(np.arange(len(states)), self.counts[states]), self._answers(states)
        if rng is not None:
            drawn = rng.random(len(at)) * self.counts[states][owners] < SEEN_ANSWERS
            drawn |= self.behind[at] == 0.0
            owners, at = owners[drawn], at[drawn]
        of_state = (self.of_state[states].astype(np.float32) - self.state_mean) / self.state_spread
        of_answers = (self.of_answers[at].astype(np.float32) - self.answer_mean) / self.answer_spread
        as_tensor = torch.as_tensor
        return as_tensor(of_state), as_tensor(of_answers), as_tensor(owners), as_tensor(self.behind[at])

    def _answers(self, states: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the answers of states, one state after the other."""
        counts = self.counts[states]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.asarray(np.repeat(self.begins[states], counts) + within)

    def loss(self, network: ScoringNetwork, states: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """How far behind the choices are to be expected, less what an even choice is worth."""
        of_state, of_answers, owners, behind = self.batch(states, rng)
        scores = network(of_state, of_answers, owners)
        highest = torch.full((len(states),), -torch.inf).scatter_reduce(0, owners, scores.detach(), "amax")
        apart = scores - highest[owners]
        sums = torch.zeros(len(states)).index_add(0, owners, apart.exp())
        logs = apart - sums.log()[owners]
        expected: Tensor = (logs.exp() * (behind + ENTROPY * logs)).sum() / len(states)
        return expected

    def regret(self, network: ScoringNetwork, states: NDArray[np.int64]) -> tuple[float, float]:
        """How far behind the likeliest answers are, on average, and what a score is worth."""
        total, products, squares = 0.0, 0.0, 0.0
        with torch.no_grad():
            for picked in np.array_split(states, max(len(states) // 2000, 1)) if len(states) else ():
                of_state, of_answers, owners, behind = self.batch(picked)
                scores, bounds = network(of_state, of_answers, owners).numpy(), np.cumsum(self.counts[picked])
                parts = zip(np.split(scores, bounds[:-1]), np.split(behind.numpy(), bounds[:-1]), strict=True)
                for s, b in parts:
                    best = int(s.argmax())
                    lower, further = s[best] - s, b - b[best]
                    total += float(b[best])
                    products, squares = products + float(lower @ further), squares + float(lower @ lower)
        return total / max(len(states), 1), products / max(squares, 1e-9)

    def behind_program(self, states: NDArray[np.int64]) -> float:
        """How far behind what the program would decide is, on average."""
        at = self._answers(states)
        has = self.of_answers[at, ANSWER_FEATURES.index("is the program's")] == 1.0
        return float(self.behind[at][has].mean()) if has.any() else float("nan")

    def network(self, scorer: Scorer) -> ScoringNetwork:
        """The network of a scorer, for features that are standardised."""
        network = ScoringNetwork([len(scorer.bias), *(len(bias) for _, bias in scorer.layers[:-1])])
        bias = scorer.bias + scorer.of_state @ self.state_mean + scorer.of_answers @ self.answer_mean
        parts: list[tuple[Any, Any, Any]] = [
            (network.of_state, scorer.of_state * self.state_spread, bias),
            (network.of_answers, scorer.of_answers * self.answer_spread, None),
            *((layer, *given) for layer, given in zip(network.layers, scorer.layers, strict=True)),
        ]
        with torch.no_grad():
            for layer, weight, its_bias in parts:
                layer.weight.copy_(torch.as_tensor(weight))
                if its_bias is not None:
                    layer.bias.copy_(torch.as_tensor(its_bias))
        return network

    def scorer(self, network: ScoringNetwork) -> Scorer:
        """The network without torch, for features that are not standardised."""
        state, answers = network.of_state, network.of_answers
        of_state = state.weight.detach().numpy() / self.state_spread
        of_answers = answers.weight.detach().numpy() / self.answer_spread
        bias = state.bias.detach().numpy() - of_state @ self.state_mean - of_answers @ self.answer_mean
        layers = tuple(
            (one.weight.detach().numpy(), one.bias.detach().numpy())
            for one in network.layers
            if isinstance(one, nn.Linear)
        )
        return Scorer(
            of_state.astype(np.float32), of_answers.astype(np.float32), bias.astype(np.float32), layers
        )


def _standard(features: NDArray[np.float16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and spread of each feature, of every so many rows."""
    some = features[:: max(len(features) // 200_000, 1)].astype(np.float32)
    return some.mean(axis=0), some.std(axis=0) + np.float32(_LEAST_SPREAD)


def save_lessons(lessons: Lessons, path: Path) -> None:
    """Keep lessons as plain arrays."""
    write_arrays(vars(lessons), path)


def read_lessons(path: Path) -> Lessons:
    """Lessons that were kept. Raises InputError."""
    wanted: Wanted = {
        "of_state": ("f2", (None, len(STATE_FEATURES))),
        "of_answers": ("f2", (None, len(ANSWER_FEATURES))),
        "counts": ("i2", (None,)),
        "behind": ("f4", (None,)),
        "seeds": ("i4", (None,)),
    }
    fix = "delete it; the same command makes it anew"
    arrays = read_arrays(path, partial(misfit, wanted=wanted), "file of lessons", fix, _MOST_BYTES)
    return Lessons(**{name: arrays[name] for name in wanted})
