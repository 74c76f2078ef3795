"""Mean time of an exact answer by stages and variants: Pareto front, integer program, the paper's Gurobi.

    python scripts/benchmark_solvers.py --repeats 5 --program-repeats 1

Random pipelines of the paper's shape (batch sizes 1 to 64), seeded; loads that need several replicas and
an SLA that rules some options out. All of the 9 x 9 grid; the two solvers' answers are compared. With
`--graphs` 9 stages of 9 variants as a chain and as graphs: three arms that meet, three alternatives, a first
stage that sends on as many requests as its variant finds, and seven stages beside each other. With `--limits`
variants are placed on cores and GPUs at random, of which there is a share of what the optimum takes. With
`--together` the first stages were measured together, some tenths more or less right than their product. With
`--long` made-up pipelines of 10 to 12 stages, to which accuracy is worth ten times the usual, without waits
and with them.
"""

import argparse
import csv
import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from ipa_rl import resources
from ipa_rl.environment.family import WIDE, drawn_definition
from ipa_rl.errors import InputError
from ipa_rl.graph import Edge
from ipa_rl.objective import Problem, Weights, units_of
from ipa_rl.pipeline import JointAccuracy, Pipeline, Stage, Variant
from ipa_rl.solvers import Answer, FrontSolver, Optimum, solve_program
from ipa_rl.workload.workload import load_workload

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIZES = range(1, 10)


def random_variant(name: str, accuracy: float, single_s: float, cores: int) -> Variant:
    """A variant of which a further request of a batch costs 0.6 of the first."""
    mean_s = tuple(single_s * (0.4 + 0.6 * b) for b in BATCHES)
    return Variant(
        name=name,
        accuracy=accuracy,
        units=cores,
        start_up_s=10.0,
        batches=BATCHES,
        latency_mean_s=mean_s,
        latency_p99_s=tuple(1.4 * latency for latency in mean_s),
        throughput_rps=tuple(b / latency for b, latency in zip(BATCHES, mean_s, strict=True)),
    )


def random_problem(stages: int, variants: int, rng: np.random.Generator) -> Problem:
    """More accurate variants are slower and take more cores."""
    made = []
    for s in range(stages):
        accuracy = np.sort(rng.uniform(0.4, 0.95, variants)).tolist()
        single_s = np.sort(rng.uniform(0.03, 0.4, variants)).tolist()
        cores = np.sort(rng.choice([1, 1, 1, 2, 2, 4, 8], variants)).tolist()
        columns = zip(range(variants), accuracy, single_s, cores, strict=True)
        made.append(Stage(f"s{s}", tuple(random_variant(f"v{i}", a, t, c) for i, a, t, c in columns)))
    weights = Weights(alpha=40.0, beta=0.5, delta=1e-6)
    return Problem(Pipeline("random", tuple(made)), weights, sla_s=1.2 * stages, max_replicas=100)


def timed(solve: Callable[[], Answer]) -> tuple[float, Answer]:
    """Seconds and answer of one call."""
    began = time.perf_counter()
    answer = solve()
    return time.perf_counter() - began, answer


def paper_means() -> dict[tuple[int, int], float]:
    """Mean seconds that the paper's authors measured with Gurobi, by (stages, variants)."""
    path = resources.folder("profiles") / "published" / "ipa_decision_time.csv"
    with path.open(encoding="utf-8") as file:
        return {
            (int(row["stages"]), int(row["variants_per_stage"])): float(row["mean_s"])
            for row in csv.DictReader(file)
        }


def measure(stages: int, variants: int, repeats: int, program_repeats: int, seed: int) -> tuple[float, float]:
    """Mean seconds of front and program; raises where their answers differ."""
    rng = np.random.default_rng([seed, stages, variants])
    front_s, program_s = [], []
    for repeat in range(repeats):
        problem, load = random_problem(stages, variants, rng), float(rng.uniform(5, 40))
        seconds, ours = timed(lambda p=problem, x=load: FrontSolver(p).solve(x))  # type: ignore[misc]
        front_s.append(seconds)
        if repeat < program_repeats:
            seconds, theirs = timed(lambda p=problem, x=load: solve_program(p, x))  # type: ignore[misc]
            program_s.append(seconds)
            if isinstance(ours, Optimum) and isinstance(theirs, Optimum):
                same = abs(ours.objective - theirs.objective) <= 1e-6 * max(1, abs(theirs.objective))
                if not same:
                    raise SystemExit(f"{stages} x {variants}: {ours.objective} {theirs.objective}")
    return float(np.mean(front_s)), float(np.mean(program_s)) if program_s else float("nan")


def graphs() -> dict[str, tuple[int, tuple[Edge, ...]]]:
    """Of nine stages: the most one after the other, and the edges."""
    found = tuple(np.linspace(1.0, 3.0, 9).tolist())
    ends = [(0, 1), (1, 2), (1, 4), (1, 6), (2, 3), (4, 5), (3, 7), (5, 7), (6, 7), (7, 8)]
    shares = {(1, 2): 0.5, (1, 4): 0.3, (1, 6): 0.2}
    fan = [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5), (5, 6), (6, 7), (7, 8)]
    wide = [pair for s in range(1, 8) for pair in ((0, s), (s, 8))]
    return {
        "chain": (9, ()),
        "arms": (6, tuple(Edge(f"s{a}", f"s{b}") for a, b in ends)),
        "alternatives": (
            6,
            tuple(Edge(f"s{a}", f"s{b}", probability=shares.get((a, b), 1.0)) for a, b in ends),
        ),
        "sends what it finds": (
            7,
            tuple(Edge(f"s{a}", f"s{b}", found if (a, b) == (0, 1) else (1.0,)) for a, b in fan),
        ),
        "seven beside each other": (3, tuple(Edge(f"s{a}", f"s{b}") for a, b in wide)),
    }


def print_graphs(repeats: int, seed: int) -> None:
    """Mean milliseconds of a graph, the least of five, and in those of a chain."""
    means: dict[str, float] = {}
    for name, (longest, edges) in graphs().items():
        each_s = []
        for repeat in range(repeats):
            rng = np.random.default_rng([seed, 9, 9, repeat])
            problem, load = random_problem(9, 9, rng), float(rng.uniform(5, 40))
            pipeline = replace(problem.pipeline, edges=edges)
            solver = FrontSolver(replace(problem, pipeline=pipeline, sla_s=1.2 * longest))
            solver.solve_anew(load)
            each_s.append(min(timed(lambda s=solver, x=load: s.solve_anew(x))[0] for _ in range(5)))  # type: ignore[misc]
        means[name] = 1e3 * float(np.mean(each_s))
        print(f"{name:24} {means[name]:8.2f} ms {means[name] / means['chain']:8.2f}", flush=True)


def print_limits(repeats: int, seed: int) -> None:
    """Mean milliseconds of an answer without limits, and with some that bind, where there is one or none."""
    for stages, variants in ((3, 5), (5, 9), (9, 9)):
        for share in (0.95, 0.8):
            times: dict[str, list[float]] = {"no limits": [], "an optimum": [], "none": []}
            for repeat in range(repeats):
                rng = np.random.default_rng([seed, stages, variants, repeat])
                problem, load = placed(random_problem(stages, variants, rng), rng), float(rng.uniform(5, 40))
                free = FrontSolver(problem).solve(load)
                taken = units_of(problem.pipeline, free.to_run)
                limits = tuple((name, max(share * units, 1.0)) for name, units in taken.items())
                for limited in (False, True):
                    solver = FrontSolver(replace(problem, limits=limits) if limited else problem)
                    try:
                        seconds, answer = timed(lambda s=solver, x=load: s.solve_anew(x))  # type: ignore[misc]
                    except InputError:  # not even for one replica of each stage
                        continue
                    kind = "an optimum" if isinstance(answer, Optimum) else "none"
                    times[kind if limited else "no limits"].append(1e3 * seconds)
            told = (f"{kind} {np.mean(own):6.1f} ms ({len(own)})" for kind, own in times.items() if own)
            print(
                f"{stages} x {variants}, {share:.0%} of what the optimum takes: {', '.join(told)}", flush=True
            )


def print_together(repeats: int, seed: int) -> None:
    """Mean milliseconds of an answer, the least of five, where none, two and three stages are together."""
    for stages, variants in ((2, 5), (3, 5), (5, 9), (9, 9)):
        means = {}
        for count in (0, *range(2, min(stages, 3) + 1)):
            each_s = []
            for repeat in range(repeats):
                rng = np.random.default_rng([seed, stages, variants, repeat])
                problem, load = random_problem(stages, variants, rng), float(rng.uniform(5, 40))
                own = problem.pipeline.stages[:count]
                measured = []
                for some in product(*(stage.variants for stage in own)):
                    right = math.prod(one.accuracy for one in some) * rng.uniform(0.7, 1.3)
                    measured.append((tuple(one.name for one in some), min(right, 1.0)))
                joint = (JointAccuracy(tuple(stage.name for stage in own), tuple(measured)),) if own else ()
                pipeline = replace(problem.pipeline, accuracies=joint)
                solver = FrontSolver(replace(problem, pipeline=pipeline))
                solver.solve_anew(load)
                each_s.append(min(timed(lambda s=solver, x=load: s.solve_anew(x))[0] for _ in range(5)))  # type: ignore[misc]
            means[count] = 1e3 * float(np.mean(each_s))
        told = (f"{n or 'none'} {mean:.2f} ms ({mean / means[0]:.1f})" for n, mean in means.items())
        print(f"{stages} x {variants}: {', '.join(told)}", flush=True)


def print_long(repeats: int, seed: int) -> None:
    """Milliseconds of an answer for made-up pipelines, the mean and the slowest."""
    workload, ranges = load_workload("twitter"), replace(WIDE, stages=(10, 11, 12))
    drawn = [drawn_definition(seed + k, workload, ranges) for k in range(10 * repeats)]
    for waits in (False, True):
        each_s = []
        for one in drawn:
            weights = replace(one.weights, alpha=10.0 * one.weights.alpha)
            solver = FrontSolver(replace(one.problem, waits=waits, weights=weights))
            load = one.workload.mean_rps
            solver.solve_anew(load)
            each_s.append(min(timed(lambda s=solver, x=load: s.solve_anew(x))[0] for _ in range(3)))  # type: ignore[misc]
        told = "with waits" if waits else "without waits"
        print(f"{told:14} {1e3 * np.mean(each_s):8.1f} ms, slowest {1e3 * max(each_s):8.1f}", flush=True)


def placed(problem: Problem, rng: np.random.Generator) -> Problem:
    """The same, whose variants are on cores or GPUs."""
    stages = []
    for stage in problem.pipeline.stages:
        variants = (replace(one, resource=str(rng.choice(["cores", "gpus"]))) for one in stage.variants)
        stages.append(replace(stage, variants=tuple(variants)))
    return replace(problem, pipeline=replace(problem.pipeline, stages=tuple(stages)))


def main() -> None:
    """Print the grid, or the times that one of the options asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--program-repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    others = {"graphs": print_graphs, "limits": print_limits, "together": print_together, "long": print_long}
    for name in others:
        parser.add_argument(f"--{name}", action="store_true")
    arguments = parser.parse_args()
    for name, print_rows in others.items():
        if getattr(arguments, name):
            print_rows(arguments.repeats, arguments.seed)
            return
    paper = paper_means()
    measure(2, 2, 2, 1, arguments.seed)
    print("mean ms      front    program   paper (Gurobi)   paper / front")
    for stages in SIZES:
        for variants in SIZES:
            front_s, program_s = measure(
                stages, variants, arguments.repeats, arguments.program_repeats, arguments.seed
            )
            published_s = paper[stages, variants]
            print(
                f"{stages} x {variants} {1e3 * front_s:12.2f} {1e3 * program_s:10.1f} "
                f"{1e3 * published_s:16.1f} {published_s / front_s:15,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
