"""The policy for any pipeline, from nothing: rounds of lessons by the policy so far, and a fit to all.

    python scripts/train_universal.py --out runs/universal

Rounds are those of some lines, each with a policy of its own. After a kill the same command goes on. Each
line's first round is decided by who knows what comes. Lessons are the same on any number of workers, and on a
Ray cluster (`--ray ADDRESS`). The last fit takes 7 GB of memory.
"""

import argparse
from functools import partial
from pathlib import Path

import torch

from ipa_rl.agents.universal import Scorer, load_scorer, save_scorer
from ipa_rl.judge.pools import Pool, in_order, make_pool
from ipa_rl.progress import Bars, Report
from ipa_rl.training.fit_scorer import EPOCHS, fit, read_lessons, save_lessons
from ipa_rl.training.lessons import FIRST_SEED, Lessons, attend, drawn_course, joined

PIPELINES_A_FILE = 50
FIRST_EPOCHS, BETWEEN_EPOCHS = 15, 5
"""Of the fits of a line, whose policies have to get to where lessons are to be had."""
DECAY = 0.6
"""Of the last fit's weights: without it what is learned from pipelines is less true of others."""


def round_of(folder: Path, seeds: range, scorer: Scorer | None, pool: Pool, report: Report) -> list[Path]:
    """The files of a round's lessons; those that are there are not made again."""
    files: list[Path] = []
    for first in range(seeds.start, seeds.stop, PIPELINES_A_FILE):
        path = folder / f"lessons-{first}.npz"
        if not path.is_file():
            some = range(first, min(first + PIPELINES_A_FILE, seeds.stop))
            part = f"{folder.name}, pipelines from {first}"
            save_lessons(joined(in_order(pool, partial(lessons_of, scorer=scorer), some, report, part)), path)
        files.append(path)
    return files


def lessons_of(seed: int, scorer: Scorer | None) -> Lessons:
    """Those of the pipeline of a seed."""
    return attend(drawn_course(seed), scorer)


def line_of(out: Path, seed: int, rounds: int, pipelines: int, pool: Pool, report: Report) -> list[Path]:
    """The files of all lessons of a line; those of a round by the policy that was fitted to those before."""
    files: list[Path] = []
    scorer: Scorer | None = None
    for r in range(rounds):
        folder = out / f"line-{seed}" / f"round-{r}"
        folder.mkdir(parents=True, exist_ok=True)
        if r > 0:
            before = folder.with_name(f"round-{r - 1}") / "scorer.npz"
            if not before.is_file():
                epochs = FIRST_EPOCHS if r == 1 else BETWEEN_EPOCHS
                fitted(files, before, seed, report, epochs, scorer)
            scorer = load_scorer(before)
        first = FIRST_SEED + pipelines * (rounds * seed + r)
        files += round_of(folder, range(first, first + pipelines), scorer, pool, report)
    return files


def fitted(
    files: list[Path],
    path: Path,
    seed: int,
    report: Report,
    epochs: int,
    start: Scorer | None = None,
    decay: float = 0.0,
) -> None:
    """Fit a scorer to lessons and keep it, and print how far behind the best it is."""
    lessons = joined([read_lessons(one) for one in files])
    scorer, progress = fit(lessons, seed, report, epochs, start, decay=decay)
    save_scorer(scorer, path)
    print(f"{path}: {len(lessons.counts)} states, {progress}", flush=True)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/universal"))
    parser.add_argument("--lines", type=int, nargs="+", default=[1, 2], help="their seeds")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--pipelines", type=int, default=1000, help="of each round")
    parser.add_argument("--seed", type=int, default=0, help="of the last fit")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the last fit")
    parser.add_argument("--decay", type=float, default=DECAY, help="of the last fit's weights")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--ray")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # another number adds up in another order
    pool, files = make_pool(arguments.workers, arguments.ray), []
    with Bars() as bars:
        for seed in arguments.lines:
            files += line_of(arguments.out, seed, arguments.rounds, arguments.pipelines, pool, bars)
        path, seed = arguments.out / "scorer.npz", arguments.seed
        fitted(files, path, seed, bars, arguments.epochs, decay=arguments.decay)


if __name__ == "__main__":
    main()
