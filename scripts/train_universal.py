"""The policy for any pipeline, from nothing: rounds of lessons by the policy so far, and fits to all of them.

    python scripts/train_universal.py --out runs/universal

After a kill the same command goes on. The first round is decided by who knows what comes. Lessons are the
same on any number of workers, and on a Ray cluster (`--ray ADDRESS`).
"""

import argparse
from functools import partial
from pathlib import Path

from ipa_rl.agents.universal import Scorer, load_scorer, save_scorer
from ipa_rl.judge.pools import Pool, in_order, make_pool
from ipa_rl.progress import Bars, Report
from ipa_rl.training.fit_scorer import EPOCHS, fit, read_lessons, save_lessons
from ipa_rl.training.lessons import FIRST_SEED, Lessons, attend, drawn_course, joined

PIPELINES_A_FILE = 50
BETWEEN = 4
"""Epochs of the fits between the first and the last."""


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


def main() -> None:
    """Train, and print how far behind the best each round's policy is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/universal"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pipelines", type=int, default=600, help="of each round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--ray")
    arguments = parser.parse_args()
    pool, files = make_pool(arguments.workers, arguments.ray), []
    scorer: Scorer | None = None
    with Bars() as bars:
        for r in range(arguments.rounds):
            folder = arguments.out / f"round-{r}"
            folder.mkdir(parents=True, exist_ok=True)
            first = FIRST_SEED + arguments.pipelines * (arguments.rounds * arguments.seed + r)
            files += round_of(folder, range(first, first + arguments.pipelines), scorer, pool, bars)
            if not (folder / "scorer.npz").is_file():
                lessons = joined([read_lessons(path) for path in files])
                epochs = EPOCHS if r in (0, arguments.rounds - 1) else BETWEEN
                scorer, progress = fit(lessons, arguments.seed, bars, epochs, scorer)
                save_scorer(scorer, folder / "scorer.npz")
                print(f"round {r}: {len(lessons.counts)} states, {progress}", flush=True)
            scorer = load_scorer(folder / "scorer.npz")


if __name__ == "__main__":
    main()
