"""Load paths as forecasts of distributions, on every workload that ships, as a Markdown table.

    python scripts/paths.py
    python scripts/paths.py --pooled

Of `RecordedFutures` (as many paths as the planner plays) and of the quantile table: CRPS, or twice the mean
pinball loss of the table's five quantiles, in percent of the mean load, and coverage in percent. --pooled:
CRPS over the horizons of Twitter's paths, of a pool of all other workloads, and of the workload's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ipa_rl import resources
from ipa_rl.judge.path_scores import STEPS, moments_of, path_scores
from ipa_rl.workload.fit import usual_step_s
from ipa_rl.workload.futures import futures_of, general_futures
from ipa_rl.workload.pool import pooled
from ipa_rl.workload.workload import Part, load_workload

COUNT, HORIZONS = 32, (10, 30, 60)
HEADS = (
    "workload", "steps", "maximum", "sum", "five quantiles", "by the table",
    "covered: 50", "90", "99", "by the table: 50", "90", "99",
)  # fmt: skip
POOLED_HEADS = ("workload", "maximum: Twitter", "pool", "own", "sum: Twitter", "pool", "own")
POOLED_MOMENTS = 150


def own_rows(part: Part) -> Iterator[list[str]]:
    """One row a workload and horizon."""
    for name in resources.shipped_names("workloads"):
        workload = load_workload(name)
        step_s = usual_step_s(workload)
        futures, moments = futures_of(workload, step_s, STEPS), moments_of(workload, step_s, part)
        for one in path_scores(workload, step_s, moments, futures.alone, COUNT, HORIZONS):
            covered = [found[k] for found in (one.covered, one.table_covered) for k in (0, 2, 4)]
            losses = [one.maximum, one.total, one.quantiles, one.table]
            cells = [f"{value:.3g}" for value in losses] + [f"{value:.0f}" for value in covered]
            yield [name, str(one.horizon), *cells]


def pooled_rows(part: Part) -> Iterator[list[str]]:
    """One row a workload: as if it had no past; Twitter's paths know its own clock only."""
    names = resources.shipped_names("workloads")
    twitter = replace(futures_of(load_workload("twitter"), 1, STEPS), period_s=0)
    for name in names:
        workload = load_workload(name)
        others = pooled(load_workload(one) for one in names if one != name)
        moments = moments_of(workload, 1, part, POOLED_MOMENTS)
        kinds = twitter, general_futures(others, 1, STEPS), futures_of(workload, 1, STEPS)
        scores = [path_scores(workload, 1, moments, one.alone, COUNT, HORIZONS) for one in kinds]
        maxima = [f"{np.mean([score.maximum for score in one]):.3g}" for one in scores]
        yield [name, *maxima, *(f"{np.mean([score.total for score in one]):.3g}" for one in scores)]


def main() -> None:
    """Print the rows as they are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
    parser.add_argument("--pooled", action="store_true", help="as if each workload had no past")
    arguments = parser.parse_args()
    heads, rows = (POOLED_HEADS, pooled_rows) if arguments.pooled else (HEADS, own_rows)
    print(f"| {' | '.join(heads)} |\n|---{'|---' * (len(heads) - 1)}|")
    for row in rows(arguments.part):
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
