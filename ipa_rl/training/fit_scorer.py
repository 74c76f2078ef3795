"""Fitting the policy for any pipeline to lessons: what it decides should be behind the best by the least.

The loss of a state is how far its answers are behind the best, each weighed by how likely the policy takes
it. Unlike a policy gradient it knows of all answers of a state what they came to, so it needs no critic and
no exploration of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ipa_rl.agents.layers import Matrix
from ipa_rl.agents.steer_features import ANSWER_FEATURES, STATE_FEATURES
from ipa_rl.agents.universal import FIRST, Scorer
from ipa_rl.arrays import Wanted, misfit, read_arrays, write_arrays
from ipa_rl.progress import Report
from ipa_rl.training.lessons import Lessons

NETWORKS, UNITS = 2, (256, 128, 64)
"""How many are fitted beside each other, and their hidden layers."""
GAIN = 20.0
"""What a score begins with, a mean cost of the program: what the answer's accuracy is worth beyond the
program's, less what it costs beyond it. So networks learn what it comes to only."""
BATCH, EPOCHS, LEARNING_RATE = 512, 8, 2e-3
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


class ScoringNetworks(nn.Module):
    """Scores of answers by some networks; ``Scorer`` is the same without torch."""

    def __init__(self, networks: int = NETWORKS, units: Sequence[int] = UNITS) -> None:
        super().__init__()

        def drawn(*shape: int, inputs: int) -> nn.Parameter:
            return nn.Parameter((2.0 * torch.rand(networks, *shape) - 1.0) / math.sqrt(inputs))

        states, answers = len(STATE_FEATURES), len(ANSWER_FEATURES)
        self.of_state = drawn(states, units[0], inputs=states)
        self.of_answers = drawn(answers, units[0], inputs=answers)
        self.bias = drawn(units[0], inputs=states)
        self.direct = nn.Parameter(torch.zeros(networks, answers))
        sizes = [*units, 1]
        self.weights = nn.ParameterList(drawn(a, b, inputs=a) for a, b in pairwise(sizes))
        self.biases = nn.ParameterList(drawn(b, inputs=a) for a, b in pairwise(sizes))

    def forward(self, of_state: Tensor, of_answers: Tensor, states: Tensor) -> Tensor:
        """Scores (networks, answers) of features; ``states`` (answers,): position of each one's state."""
        by_state = of_state @ self.of_state + self.bias[:, None]
        # not by [states]: its gradients are summed in any order, and no fit would be like another
        values = of_answers @ self.of_answers + by_state.index_select(1, states)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            values = torch.relu(values) @ weight + bias[:, None]
        scores: Tensor = values[:, :, 0] + self.direct @ of_answers.T
        return scores


def fit(
    lessons: Lessons,
    seed: int,
    report: Report,
    epochs: int = EPOCHS,
    start: Scorer | None = None,
    learning_rate: float = LEARNING_RATE,
    decay: float = 0.0,
) -> tuple[Scorer, Progress]:
    """A scorer that is fitted to lessons, from a ``start`` or from nothing.

    ``decay``: of the weights, decoupled (AdamW; Loshchilov and Hutter, arXiv 1711.05101).
    """
    torch.manual_seed(seed)
    data = _Data(lessons)
    network = data.networks(start)
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=decay)
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

    def loss(self, network: ScoringNetworks, states: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """How far behind each network's choices are to be expected, less what an even choice is worth."""
        of_state, of_answers, owners, behind = self.batch(states, rng)
        scores = network(of_state, of_answers, owners)
        shape = (len(scores), len(states))
        everywhere = owners.expand_as(scores)
        highest = torch.full(shape, -torch.inf).scatter_reduce(1, everywhere, scores.detach(), "amax")
        apart = scores - highest.index_select(1, owners)
        sums = torch.zeros(shape).index_add(1, owners, apart.exp())
        logs = apart - sums.log().index_select(1, owners)
        expected: Tensor = (logs.exp() * (behind + ENTROPY * logs)).sum() / len(states)
        return expected

    def regret(self, network: ScoringNetworks, states: NDArray[np.int64]) -> tuple[float, float]:
        """How far behind the likeliest answers are, on average, and what a score is worth."""
        total, products, squares = 0.0, 0.0, 0.0
        with torch.no_grad():
            for picked in np.array_split(states, max(len(states) // 2000, 1)) if len(states) else ():
                of_state, of_answers, owners, behind = self.batch(picked)
                scores = network(of_state, of_answers, owners).mean(dim=0).numpy()
                bounds = np.cumsum(self.counts[picked])
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

    def networks(self, start: Scorer | None) -> ScoringNetworks:
        """Those of a scorer, or new ones, for features that are standardised."""
        if start is None:
            networks, begins = ScoringNetworks(), np.zeros(len(ANSWER_FEATURES), dtype=np.float32)
            begins[ANSWER_FEATURES.index("worth of its accuracy")] = GAIN
            begins[ANSWER_FEATURES.index("cost over the program's")] = -GAIN
            networks.direct.data += torch.as_tensor(begins * self.answer_spread)
            return networks
        networks = ScoringNetworks(len(start.bias), [start.bias.shape[1], *_sizes(start)])
        bias = start.bias + start.of_state @ self.state_mean + start.of_answers @ self.answer_mean
        pairs: list[tuple[Tensor, Matrix]] = [
            (networks.of_state, (start.of_state * self.state_spread).transpose(0, 2, 1)),
            (networks.of_answers, (start.of_answers * self.answer_spread).transpose(0, 2, 1)),
            (networks.bias, bias),
            (networks.direct, start.direct * self.answer_spread),
        ]
        for weight, its_bias, given in zip(networks.weights, networks.biases, start.layers, strict=True):
            pairs += [(weight, given[0].transpose(0, 2, 1)), (its_bias, given[1])]
        with torch.no_grad():
            for parameter, values in pairs:
                parameter.copy_(torch.as_tensor(np.ascontiguousarray(values)))
        return networks

    def scorer(self, networks: ScoringNetworks) -> Scorer:
        """The networks without torch, for features that are not standardised."""
        of_state = _plain(networks.of_state).transpose(0, 2, 1) / self.state_spread
        of_answers = _plain(networks.of_answers).transpose(0, 2, 1) / self.answer_spread
        bias = _plain(networks.bias) - of_state @ self.state_mean - of_answers @ self.answer_mean
        direct = _plain(networks.direct) / self.answer_spread  # its mean is the same for all answers
        layers = tuple(
            (np.ascontiguousarray(_plain(weight).transpose(0, 2, 1)), _plain(its_bias))
            for weight, its_bias in zip(networks.weights, networks.biases, strict=True)
        )
        first = dict(zip(FIRST, (of_state, of_answers, bias, direct), strict=True))
        return Scorer(**{name: one.astype(np.float32) for name, one in first.items()}, layers=layers)


def _sizes(scorer: Scorer) -> list[int]:
    """Units of the hidden layers after the first."""
    return [bias.shape[1] for _, bias in scorer.layers[:-1]]


def _plain(parameter: Tensor) -> Matrix:
    return np.asarray(parameter.detach().numpy(), dtype=np.float32)


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
