"""The wait that queueing theory gives beside the request-level simulator's, as Markdown tables.

    python scripts/waits.py --batches 20000
    python scripts/waits.py --series 40

One stage, Poisson arrivals, lognormal service times of which the 99th percentile is 1.5 times the mean. Each
cell: simulator / formula, as multiples of a batch's service time, with the time in which batches fill: half
of (b - 1) / lambda on average, all of it at the 99th percentile, as the integer program has it.

With ``--series``: so many made-up pipelines at one load each, at what the optimum gives for 1.05 and 1.5
times that, with waits and without. A row a number of stages: how many times the simulator's the mean latency
and the 99th percentile of rollouts are, geometric means, as if each stage had the pipeline's arrivals and as
rollouts have it, behind the stages before.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from ipa_rl.environment.definition import Definition
from ipa_rl.environment.family import MADE_UP, WIDE, drawn_definition
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.queueing import randomness, service_scv, share_of_wait, wait_p99_s, wait_s
from ipa_rl.simulation import Timing
from ipa_rl.simulation.outlook import service_scv as variants_scv
from ipa_rl.simulation.request_level import RequestSimulator, latencies_s
from ipa_rl.simulation.tables import build_variants, encode
from ipa_rl.workload.synthetic import made_up

BUSY = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
REPLICAS = (1, 2, 5, 10, 20, 50)
BATCHES = (1, 4, 16, 64)
TAIL = 1.5
MOST_REQUESTS = 1_000_000
SETTLED = 0.1
"""The first so many of the requests are not counted."""
FIRST, STAGES = 300, (1, 2, 3, 5, 8, 12)
"""The first seed of the pipelines in series, and how many stages they have."""


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


def foretold_s(definition: Definition, rows: IntArray, load_rps: float, behind: bool) -> tuple[float, float]:
    """Mean and 99th percentile of the latency, as rollouts have them of a chain at a steady load."""
    variants = build_variants(definition.problem, definition.timing)
    scvs = variants_scv(variants)
    mean_s = squares = longest_s = highest_scv = 0.0
    for s, (v, k, replicas) in enumerate(rows.tolist()):
        variant, scv = variants[s, v], float(scvs[s, v, k])
        batch, rate_rps = int(variant["batch"][k]), float(variant["rate_rps"][k])
        busy, arrival_scv = min(load_rps / (replicas * rate_rps), 0.97), 1.0 / batch
        alone_s, longer_s = wait_s(busy, replicas, batch / rate_rps, arrival_scv, scv)
        part = 1.0
        if behind:
            is_random = randomness(alone_s, longest_s, highest_scv, 1.0)
            part = share_of_wait(is_random, arrival_scv, scv)
        fill_s = min((batch - 1.0) / load_rps, definition.timing.batch_timeout_s)
        mean_s += float(variant["mean_s"][k]) + fill_s / 2.0 + part * alone_s
        slower_s = float(variant["p99_s"][k] - variant["mean_s"][k])
        squares += (fill_s / 2.0 + slower_s) ** 2 + (part * longer_s) ** 2
        longest_s, highest_scv = max(longest_s, alone_s), max(highest_scv, scv)
    return mean_s, mean_s + squares**0.5


def in_series(seed: int) -> Iterator[tuple[int, FloatArray]]:
    """Stages of a made-up pipeline, and how many times the simulator's the two figures are, (2, 2)."""
    rng, ranges = np.random.default_rng(seed), WIDE if seed % 2 else MADE_UP
    stages = int(rng.choice(STAGES))
    definition = drawn_definition(seed, made_up("poisson", 20.0, 20.0), replace(ranges, stages=(stages,)))
    load_rps = definition.workload.mean_rps
    asked = (definition.with_problem(waits=waits) for waits in (False, True))
    for one, margin in product(asked, (1.05, 1.5)):
        rows = encode(definition.problem, one.best_for(load_rps * margin))
        seconds = min(20_000 / load_rps, 40_000.0)
        arrivals_s = np.sort(rng.uniform(0.0, seconds, rng.poisson(load_rps * seconds)))
        timing = replace(definition.timing, drop_limit_s=1e5)
        simulator = RequestSimulator(definition.problem, timing, arrivals_s, np.random.default_rng(1))
        simulator.place(rows)
        simulator.advance(seconds)
        took_s = latencies_s(simulator.requests)[int(SETTLED * len(arrivals_s)) :]
        took_s = took_s[np.isfinite(took_s)]
        real_s = np.array([took_s.mean(), np.quantile(took_s, 0.99)])
        yield (
            stages,
            np.array([foretold_s(definition, rows, load_rps, one) for one in (False, True)]) / real_s,
        )


def print_series(pipelines: int) -> None:
    """A row a number of stages."""
    found: dict[int, list[FloatArray]] = {}
    for seed in range(FIRST, FIRST + pipelines):
        for stages, times in in_series(seed):
            found.setdefault(stages, []).append(times)
    print("| stages | cases | mean, each alone | in series | 99th percentile, each alone | in series |")
    print("|---|---|---|---|---|---|")
    for stages, each in sorted(found.items()):
        (mean, tail), (mean_behind, tail_behind) = np.exp(np.log(np.array(each)).mean(axis=0))
        cells = " | ".join(f"{one:.2f}" for one in (mean, mean_behind, tail, tail_behind))
        print(f"| {stages} | {len(each)} | {cells} |")


def main() -> None:
    """Print a table of means and one of 99th percentiles, or of stages in series."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=20_000, help="of each cell, about")
    parser.add_argument("--series", type=int, metavar="PIPELINES")
    arguments = parser.parse_args()
    if arguments.series:
        print_series(arguments.series)
        return
    batches = arguments.batches
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
