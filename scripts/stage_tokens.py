"""Stages as tokens that attend to each other, with a head each, against answers that are scored whole.

    python scripts/stage_tokens.py --out runs/stage-tokens --pipelines 800 --far 60

Lessons as of `train_universal.py`, decided by the policy that ships, which also keep what each answer has for
each stage: a token of (variant, batch size, replicas). ``scorer`` is what ships, one network of it: it sees
an answer's figures for the whole pipeline. ``heads`` sees the state and the tokens: those of an answer attend
to each other, each stage's head gives a part of the score, and the parts are added up. ``both`` adds the two,
``apart`` as well, but its tokens do not attend to each other: each goes through two layers of its own.
All begin with what an answer's accuracy and cost are worth. A row says how far behind the best the choices
are, in mean costs of the program: in pipelines learned from, in others (one in ten), and in those of 10 to 12
stages, longer than any learned from; beside the last two what the program is behind. Lessons are kept.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ipa_rl.agents.protocol import State
from ipa_rl.agents.steer_features import STATE_FEATURES, Expected, SteerFeatures
from ipa_rl.agents.steers import Answers
from ipa_rl.agents.universal import Scorer, make_universal
from ipa_rl.arrays import Wanted, misfit, read_arrays, write_arrays
from ipa_rl.environment import family
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.pools import Pool, in_order, make_pool
from ipa_rl.progress import Bars, Report, Silent
from ipa_rl.training import fit_scorer, lessons
from ipa_rl.training.fit_scorer import ScoringNetworks, read_lessons, save_lessons
from ipa_rl.training.lessons import FIRST_SEED, Lessons, attend, drawn_course, joined

ASIDE = 10
"""One in so many pipelines is not learned from."""
FAR_SEED, FAR_STAGES, FAR_VARIANTS = 2_000_000, (10, 11, 12), 6
"""Of the longer pipelines; with twice as many variants an exact optimum with waits may take seconds."""
TOKEN = 13
_MOST_BYTES = 2_000_000_000
UNITS, HEADS, BLOCKS = 64, 4, 2


@dataclass(frozen=True)
class Tokened:
    """Lessons; ``tokens`` (answers x stages, TOKEN), answer by answer; ``stages`` (states,): of each."""

    lessons: Lessons
    tokens: NDArray[np.float16]
    stages: NDArray[np.int64]


def tokens_of(features: SteerFeatures, state: State, answers: Answers, expected: Expected) -> FloatArray:
    """What each answer has for each stage, (answers, stages, TOKEN), relative to loads, SLA and costs."""
    definition, fleet, rows = features.definition, state.fleet, answers.rows
    variants, stages = features.optima.variants, np.arange(len(fleet))
    own = stages, rows[:, :, 0]
    visits = definition.pipeline.graph.each_visits(rows[:, :, 0])
    sla_s, interval_s = definition.problem.sla_s, definition.timing.interval_s
    rate_rps, p99_s, batch = (
        variants[name][*own, rows[:, :, 1]].astype(np.float64) for name in ("rate_rps", "p99_s", "batch")
    )
    now_rps = fleet["ready"] * variants["rate_rps"][stages, fleet["active"], fleet["batch"]]
    there = np.where(rows[:, :, 0] == fleet["active"], fleet["ready"], 0)
    missing = np.maximum(rows[:, :, 2] - there, 0)
    cores = variants["cores"][own]
    needed_rps = expected.reference_rps * visits
    score = variants["score"]
    figures = [
        np.log(np.maximum(rows[:, :, 2] * rate_rps / needed_rps, 1e-3)),
        np.log(np.maximum(now_rps / needed_rps, 1e-3)),
        p99_s / sla_s,
        np.minimum((batch - 1.0) / np.maximum(needed_rps, 1e-9), definition.timing.batch_timeout_s) / sla_s,
        score[own] - score.max(axis=1),
        np.log(cores * rows[:, :, 2] / definition.mean_cost + 1e-3),
        np.log(rows[:, :, 2]),
        missing / np.maximum(rows[:, :, 2], 1),
        np.where(missing > 0, np.log1p(variants["start_up_s"][own] / interval_s), 0.0),
        rows[:, :, 0] == fleet["active"],
        rows[:, :, 0] == fleet["target"],
        np.log1p(state.queued / np.maximum(now_rps, 1e-9) / sla_s) + np.zeros(rows.shape[:2]),
        np.log(batch),
    ]
    return np.asarray(np.clip(np.stack(figures, axis=-1), -6.0, 6.0), dtype=np.float64)


def lessons_of(seed: int, scorer: Scorer, far: bool) -> Tokened:
    """Those of the pipeline of a seed, by the policy."""
    kept: list[FloatArray] = []
    look = SteerFeatures.look

    def looks(self: SteerFeatures, state: State, expected: Expected) -> Any:
        answers, *features = look(self, state, expected)
        kept.append(tokens_of(self, state, answers, expected))
        return answers, *features

    ranges = replace(family.WIDE, stages=FAR_STAGES, variants=FAR_VARIANTS) if far else family.WIDE
    with patch.object(SteerFeatures, "look", looks), patch.object(lessons, "WIDE", ranges):
        found = attend(drawn_course(seed), scorer)
    flat = np.concatenate([one.reshape(-1, TOKEN) for one in kept])
    return Tokened(found, flat.astype(np.float16), np.array([one.shape[1] for one in kept]))


def together(parts: list[Tokened]) -> Tokened:
    """All in one."""
    return Tokened(
        joined([one.lessons for one in parts]),
        np.concatenate([one.tokens for one in parts]),
        np.concatenate([one.stages for one in parts]),
    )


def made(path: Path, seeds: range, far: bool, pool: Pool, report: Report) -> Tokened:
    """Those of the pipelines of some seeds, as they were kept, or new."""
    own: Wanted = {"tokens": ("f2", (None, TOKEN)), "stages": ("i8", (None,))}
    kept = path.with_suffix(".tokens.npz")
    if not (path.is_file() and kept.is_file()):
        scorer = make_universal(load_definition("video")).scorer
        parts = in_order(pool, partial(lessons_of, scorer=scorer, far=far), seeds, report, path.stem)
        found = together(parts)
        save_lessons(found.lessons, path)
        write_arrays({"tokens": found.tokens, "stages": found.stages}, kept)
    arrays = read_arrays(kept, partial(misfit, wanted=own), "file of tokens", "delete it", _MOST_BYTES)
    return Tokened(read_lessons(path), arrays["tokens"], arrays["stages"])


class Data(fit_scorer._Data):
    """Lessons whose answers carry their position as a last figure, by which their tokens are found."""

    def batch(self, states: Any, rng: Any = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As `_Data.batch`."""
        at: list[NDArray[np.int64]] = []
        whole = self.of_answers

        class Taking:
            def __getitem__(self, key: NDArray[np.int64]) -> NDArray[np.float16]:
                at.append(key)
                return whole[key]

        with patch.object(self, "of_answers", Taking()):
            of_state, of_answers, owners, behind = super().batch(states, rng)
        return of_state, torch.column_stack([of_answers, torch.as_tensor(at[0])]), owners, behind


class Forms(ScoringNetworks):
    """One network. ``table``: tokens, and the first and the number of those of each answer."""

    def __init__(
        self, of_answer: bool, of_stages: bool, attend: bool, table: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        super().__init__(1)
        self.of_answer, self.of_stages, self.table = of_answer, of_stages, table
        self.token, self.context = nn.Linear(TOKEN, UNITS), nn.Linear(len(STATE_FEATURES), UNITS)
        layer = partial(nn.TransformerEncoderLayer, UNITS, HEADS, 2 * UNITS, 0.0, batch_first=True)
        self.attends = nn.ModuleList(layer(norm_first=True) for _ in range(BLOCKS * attend))
        alone = nn.Sequential(nn.ReLU(), nn.Linear(UNITS, UNITS), nn.ReLU())
        self.head = nn.Linear(UNITS, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.alone = nn.Identity() if attend else alone

    def forward(self, of_state: Tensor, of_answers: Tensor, states: Tensor) -> Tensor:
        """Scores (1, answers)."""
        of_answers, at = of_answers[:, :-1].float(), of_answers[:, -1].long()
        scores = self.direct @ of_answers.T
        if self.of_answer:
            scores = super().forward(of_state, of_answers, states)
        return scores + self._by_stage(of_state, states, at)[None] if self.of_stages else scores

    def _by_stage(self, of_state: Tensor, states: Tensor, at: Tensor) -> Tensor:
        tokens, firsts, counts = self.table
        own, slots = counts[at], torch.arange(int(counts[at].max()))
        is_there = slots < own[:, None]
        looked_at = tokens[(firsts[at][:, None] + slots).clamp(max=len(tokens) - 1)].float()
        values = self.token(looked_at) + self.context(of_state).index_select(0, states)[:, None]
        for layer in self.attends:
            values = layer(values, src_key_padding_mask=~is_there)
        scores: Tensor = (self.head(self.alone(values))[:, :, 0] * is_there).sum(dim=1)
        return scores


FORMS = {
    "scorer": (True, False, True),
    "heads": (False, True, True),
    "both": (True, True, True),
    "apart": (True, True, False),
}
"""Whether it sees the answer's figures, the tokens, and whether these attend to each other."""


def table_of(data: Tokened) -> tuple[Tensor, Tensor, Tensor]:
    """For `Forms`."""
    counts = np.repeat(data.stages, data.lessons.counts)
    return torch.as_tensor(data.tokens), torch.as_tensor(np.cumsum(counts) - counts), torch.as_tensor(counts)


def row(form: str, near: Tokened, far: Tokened, epochs: int) -> str:
    """One fit."""
    began, kept = time.process_time(), dict[str, Any]()
    form_of: Callable[[], Forms] = partial(Forms, *FORMS[form], table_of(near))
    with (
        patch.object(fit_scorer, "_Data", Data),
        patch.object(fit_scorer, "ScoringNetworks", form_of),
        patch.object(fit_scorer, "CHECKED_SEEDS", ASIDE),
        patch.object(Data, "scorer", lambda data, network: kept.update(data=data, network=network)),
    ):
        _, progress = fit_scorer.fit(near.lessons, 0, Silent(), epochs)
    data, network, beyond = kept["data"], kept["network"], Data(far.lessons)
    for name in ("state_mean", "state_spread", "answer_mean", "answer_spread"):
        setattr(beyond, name, getattr(data, name))
    network.table = table_of(far)
    everywhere = np.arange(len(far.stages))
    longer, _ = beyond.regret(network, everywhere)
    near_by = progress.learned, progress.unseen, progress.unseen_program
    figures = *near_by, longer, beyond.behind_program(everywhere)
    assert all(map(math.isfinite, figures))
    seconds = f"{time.process_time() - began:.0f}"
    return "| " + " | ".join([form, *(f"{one:.3f}" for one in figures), seconds]) + " |"


def main() -> None:
    """Print one row a form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/stage-tokens"))
    parser.add_argument("--pipelines", type=int, default=800)
    parser.add_argument("--far", type=int, default=60, help="pipelines of 10 to 12 stages")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--epochs", type=int, default=fit_scorer.EPOCHS)
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pool, seeds = make_pool(arguments.workers, None), range(FIRST_SEED, FIRST_SEED + arguments.pipelines)
    with Bars() as bars:
        near = made(arguments.out / f"{arguments.pipelines}-pipelines.npz", seeds, False, pool, bars)
        seeds = range(FAR_SEED, FAR_SEED + arguments.far)
        far = made(arguments.out / f"{arguments.far}-longer.npz", seeds, True, pool, bars)
    torch.set_num_threads(1)
    print("| form | learned from | others | the program | 10 to 12 stages | the program | s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for form in arguments.forms:
        print(row(form, near, far, arguments.epochs), flush=True)


if __name__ == "__main__":
    main()
