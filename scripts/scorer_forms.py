"""Forms of the policy for any pipeline, fitted to the lessons of a training, and how many lessons it takes.

    python scripts/train_universal.py --out runs/universal
    python scripts/scorer_forms.py runs/universal
    python scripts/scorer_forms.py runs/universal --forms scorer --shares 0.25 0.5 1.0

One in ten pipelines is not learned from. A row says how far behind the best the choices are in states of
those, in mean costs of the program, and how far in states that were learned from; beside it the program's.
``scorer`` is what ships: each answer is scored by itself. ``attention``: the answers of a state look at each
other first. With shares below 1 each form learns from so many of the pipelines, and from as many states of
all pipelines instead.
"""

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ipa_rl.progress import Silent
from ipa_rl.training import fit_scorer
from ipa_rl.training.fit_scorer import EPOCHS, NETWORKS, UNITS, ScoringNetworks, read_lessons
from ipa_rl.training.lessons import Lessons, joined

ASIDE = 10
"""One in so many pipelines is not learned from."""
KEYS = 32


class Attention(ScoringNetworks):
    """Between the first and the second layer each answer takes in what the others of its state are."""

    def __init__(self, networks: int = NETWORKS, units: tuple[int, ...] = UNITS) -> None:
        super().__init__(networks, units)

        def drawn(outputs: int, size: float = 1.0) -> nn.Parameter:
            bound = size / math.sqrt(units[0])
            return nn.Parameter(bound * (2.0 * torch.rand(networks, units[0], outputs) - 1.0))

        self.of_query, self.of_key, self.of_value = drawn(KEYS), drawn(KEYS), drawn(units[0], 0.1)

    def forward(self, of_state: Tensor, of_answers: Tensor, states: Tensor) -> Tensor:
        """As `ScoringNetworks`."""
        by_state = of_state @ self.of_state + self.bias[:, None]
        values = of_answers @ self.of_answers + by_state.index_select(1, states)
        values = values + self._attended(torch.relu(values), states, len(of_state))
        for weight, bias in zip(self.weights, self.biases, strict=True):
            values = torch.relu(values) @ weight + bias[:, None]
        scores: Tensor = values[:, :, 0] + self.direct @ of_answers.T
        return scores

    def _attended(self, hidden: Tensor, states: Tensor, count: int) -> Tensor:
        """What each of the answers (networks, answers, units) takes from those of its state."""
        counts = torch.bincount(states, minlength=count)
        most = int(counts.max())
        first = (torch.cumsum(counts, 0) - counts).index_select(0, states)
        slots = states * most + torch.arange(len(states)) - first

        def by_state(rows: Tensor) -> Tensor:
            padded = torch.zeros(len(rows), count * most, rows.shape[2]).index_copy(1, slots, rows)
            return padded.view(len(rows), count, most, -1)

        query, key, value = (by_state(hidden @ w) for w in (self.of_query, self.of_key, self.of_value))
        apart = (query @ key.transpose(-1, -2)) / math.sqrt(KEYS)
        is_there = torch.arange(most)[None] < counts[:, None]
        weights = apart.masked_fill(~is_there[None, :, None, :], -torch.inf).softmax(-1)
        return (weights @ value).view(len(hidden), count * most, -1).index_select(1, slots)


FORMS = {"scorer": ScoringNetworks, "attention": Attention}


def some(lessons: Lessons, kept: NDArray[np.bool_]) -> Lessons:
    """Of some states, and of all pipelines that are not learned from."""
    kept = kept | (lessons.seeds % ASIDE == 0)
    of_kept = np.repeat(kept, lessons.counts)
    return Lessons(
        lessons.of_state[kept],
        lessons.of_answers[of_kept],
        lessons.counts[kept],
        lessons.behind[of_kept],
        lessons.seeds[kept],
    )


def taken(lessons: Lessons, share: float) -> Iterator[tuple[str, Lessons]]:
    """So large a share of the pipelines, and as many states of all pipelines; all is all."""
    if share == 1.0:
        yield "all", lessons
        return
    rng = np.random.default_rng(0)
    pipelines = rng.permutation(np.unique(lessons.seeds))
    few = np.isin(lessons.seeds, pipelines[: round(share * len(pipelines))])
    yield f"{share:g} of the pipelines", some(lessons, few)
    yield f"{share:g} of each one's states", some(lessons, rng.random(len(lessons.seeds)) < share)


def row(form: str, told: str, lessons: Lessons, seed: int, epochs: int) -> str:
    """One fit."""
    began = time.process_time()
    with (
        patch.object(fit_scorer, "ScoringNetworks", FORMS[form]),
        patch.object(fit_scorer, "CHECKED_SEEDS", ASIDE),
        patch.object(fit_scorer._Data, "scorer", lambda *_: None),
    ):
        _, progress = fit_scorer.fit(lessons, seed, Silent(), epochs)
    figures = progress.unseen, progress.learned, progress.unseen_program
    learned = lessons.seeds % ASIDE != 0
    pipelines, states = len(np.unique(lessons.seeds[learned])), int(learned.sum())
    cells = [form, told, f"{pipelines:,}", f"{states:,}", str(seed), *(f"{one:.4f}" for one in figures)]
    return "| " + " | ".join([*cells, f"{time.process_time() - began:.0f}"]) + " |"


def main() -> None:
    """Print one row a fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("training", type=Path, nargs="+", help="folders of trainings")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0])
    parser.add_argument("--seeds", type=int, default=1, help="how many fits of each")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    arguments = parser.parse_args()
    files = [path for one in arguments.training for path in sorted(one.rglob("lessons-*.npz"))]
    lessons = joined([read_lessons(path) for path in files])
    heads = ("form", "of", "pipelines", "states", "seed", "not learned from", "learned from", "program", "s")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    for share in arguments.shares:
        for told, part in taken(lessons, share):
            for form in arguments.forms:
                for seed in range(arguments.seeds):
                    print(row(form, told, part, seed, arguments.epochs), flush=True)


if __name__ == "__main__":
    main()
