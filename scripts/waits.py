"""The wait that queueing theory gives beside the request-level simulator's, as Markdown tables.

    python scripts/waits.py --batches 20000

One stage, Poisson arrivals, lognormal service times of which the 99th percentile is 1.5 times the mean. Each
cell: simulator / formula, as multiples of a batch's service time, with the time in which batches fill: half
of (b - 1) / lambda on average, all of it at the 99th percentile, as the integer program has it.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.queueing import service_scv, wait_p99_s, wait_s
from ipa_rl.simulation import Timing
from ipa_rl.simulation.request_level import RequestSimulator

BUSY = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
REPLICAS = (1, 2, 5, 10, 20, 50)
BATCHES = (1, 4, 16, 64)
TAIL = 1.5
MOST_REQUESTS = 1_000_000
SETTLED = 0.1
"""The first so many of the requests are not counted."""


def simulated(batch: int, replicas: int, busy: float, batches: int) -> FloatArray:
    """What requests wait in the simulator, from arrival to service; a batch's service takes a second."""
    served = Variant("one", 1.0, 1, 0.0, (batch,), (1.0,), (TAIL,), (float(batch),))
    problem = Problem(Pipeline("one", (Stage("one", (served,)),)), Weights(1.0, 1.0, 0.0), 1e6, replicas)
    rng = np.random.default_rng([batch, replicas, int(1000 * busy)])
    load_rps = busy * replicas * batch
    arrivals_s = np.cumsum(rng.exponential(1.0 / load_rps, min(batches * batch, MOST_REQUESTS)))
    simulator = RequestSimulator(problem, Timing(10, 1e5, 1e5), arrivals_s, rng)
    simulator.place(np.array([[0, 0, replicas]]))
    simulator.advance(float(arrivals_s[-1]))
    visits = simulator.visits(0)
    waited_s = (visits["started_s"] - visits["entered_s"])[int(SETTLED * len(visits)) :]
    return np.asarray(waited_s[np.isfinite(waited_s)], dtype=np.float64)


def cells(batch: int, replicas: int, busy: float, batches: int) -> tuple[str, str]:
    """Mean and 99th percentile, of the simulator and of the formula."""
    waited_s = simulated(batch, replicas, busy, batches)
    fill_s, scv = (batch - 1) / (busy * replicas * batch), float(service_scv(np.array(1.0), np.array(TAIL)))
    queue = busy, replicas, 1.0, 1.0 / batch, scv
    mean_s, p99_s = fill_s / 2.0 + wait_s(*queue)[0], fill_s + wait_p99_s(*queue)
    return (
        f"{waited_s.mean():.2f} / {mean_s:.2f}",
        f"{np.quantile(waited_s, 0.99):.2f} / {p99_s:.2f}",
    )


def main() -> None:
    """Print a table of means and one of 99th percentiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=20_000, help="of each cell, about")
    batches = parser.parse_args().batches
    rows = {
        (batch, replicas): [cells(batch, replicas, busy, batches) for busy in BUSY]
        for batch, replicas in product(BATCHES, REPLICAS)
    }
    for position, title in enumerate(("mean", "99th percentile")):
        print(f"\n| {title}: batch | replicas | {' | '.join(f'{100 * busy:.0f} %' for busy in BUSY)} |")
        print(f"|---{'|---' * (len(BUSY) + 1)}|")
        for (batch, replicas), found in rows.items():
            print(f"| {batch} | {replicas} | {' | '.join(one[position] for one in found)} |")


if __name__ == "__main__":
    main()
