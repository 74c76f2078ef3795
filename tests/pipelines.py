"""Small pipelines for specifications."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import yaml

from ipa_rl.environment.definition import Definition, EpisodesModel, RewardModel
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Pipeline, Stage, Variant
from ipa_rl.profiles.points import COLUMNS
from ipa_rl.simulation import Timing
from ipa_rl.workload.workload import load_workload

BATCHES = (1, 2, 4, 8)


def variant(
    name: str,
    accuracy: float = 0.5,
    cores: int = 1,
    service_s: float = 0.1,
    start_up_s: float = 12.0,
    batches: tuple[int, ...] = BATCHES,
) -> Variant:
    """A variant of which one request takes service_s, and a batch of b (1 + b) / 2 of that."""
    mean_s = tuple(service_s * (1 + b) / 2 for b in batches)
    return Variant(
        name=name,
        accuracy=accuracy,
        units=cores,
        start_up_s=start_up_s,
        batches=batches,
        latency_mean_s=mean_s,
        latency_p99_s=tuple(1.5 * latency for latency in mean_s),
        throughput_rps=tuple(b / latency for b, latency in zip(batches, mean_s, strict=True)),
    )


def two_stages() -> Problem:
    """Two stages of three variants each: small, medium, large."""
    variants = (
        variant("small", 0.5, 1, 0.06, 9.0),
        variant("medium", 0.6, 2, 0.08, 12.0),
        variant("large", 0.7, 4, 0.10, 15.0),
    )
    pipeline = Pipeline("two-stages", (Stage("first", variants), Stage("second", variants)))
    weights = Weights(alpha=2.0, beta=1.0, delta=1e-6, rho=20.0)
    return Problem(pipeline, weights, sla_s=5.0, max_replicas=50)


def one_stage(start_up_s: float = 12.0) -> Problem:
    """One stage, two variants of one core each that serve 10 and 5 requests a second at batch 1."""
    variants = (
        variant("small", 0.5, 1, 0.1, start_up_s),
        variant("large", 0.7, 1, 0.2, start_up_s),
    )
    pipeline = Pipeline("one-stage", (Stage("only", variants),))
    return Problem(pipeline, Weights(2.0, 1.0, 1e-6, 20.0), sla_s=5.0, max_replicas=50)


def placed_stage() -> Problem:
    """One stage, whose variant small runs on a core or two, or on one or two units of the resource l4."""
    cores = (variant("small", 0.5, 1), variant("small-fast", 0.5, 2, 0.08))
    devices = (variant("small@l4", 0.5, 1, 0.02), variant("small@2l4", 0.5, 2, 0.01))
    placed = tuple(replace(one, resource="l4", price=6.0) for one in devices)
    pipeline = Pipeline("placed-stage", (Stage("only", cores + placed),))
    return Problem(pipeline, Weights(2.0, 1.0, 1e-6, 20.0), sla_s=5.0, max_replicas=50)


def definition_of(problem: Problem, name: str = "test") -> Definition:
    """An environment of a small pipeline."""
    workload = load_workload("twitter")
    return Definition(name, problem, Timing(), workload, EpisodesModel(), RewardModel(), load_window_s=30)


def in_place(problem: Problem, reload_s: float) -> Problem:
    """The same with variants that ready replicas change to in reload_s."""
    stages = []
    for stage in problem.pipeline.stages:
        stages.append(stage.with_delays({}, dict.fromkeys((one.name for one in stage.variants), reload_s)))
    return replace(problem, pipeline=replace(problem.pipeline, stages=tuple(stages)))


def write_environment(
    folder: Path,
    stages: Mapping[str, Sequence[str]],
    name: str = "mine",
    edges: Sequence[Mapping[str, object]] = (),
    device: str = "",
    placed: Sequence[str] = (),
    **more: object,
) -> Path:
    """An environment's file with its pipeline's folder beside it; ``stages``: the names of their variants.

    Stages that are ``placed`` run on a ``device`` too, as ``...@l4``, ten times as fast as on a core, for the
    price of three; there are four. ``more``: of the environment.
    """
    place = folder / "pipeline"
    place.mkdir(parents=True)
    described = []
    for s, (stage, names) in enumerate(stages.items()):
        faster = {"": 1, "@l4": 10} if stage in placed else {"": 1}
        with (place / f"{s}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for (v, variant_name), (where, times), batch in product(
                enumerate(names), faster.items(), BATCHES
            ):
                service_s = 0.02 * (v + 1) * (1 + batch) / 2 / times
                figures = (service_s, 1.5 * service_s, batch / service_s)
                row = [variant_name + where, 1, batch, "inf", *figures, "measured", "", "made up", ""]
                writer.writerow(row)
        places = [{"units": 1}, {"resource": device, "name": "l4"}]
        variants = []
        for v, one in enumerate(names):
            runs = {"placements": places} if stage in placed else {"base_cores": v + 1}
            accuracy = 0.5 + 0.5 * v / len(names)
            variants.append({"name": one, "accuracy": accuracy, "start_up_s": 9, **runs})
        described.append(
            {"name": stage, "points": f"{s}.csv", "stage_sla_s": 3.0, "variants": variants},
        )
    content = {"threshold_rps": 4, "batches": list(BATCHES), "stages": described, "edges": list(edges)}
    (place / "pipeline.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    environment: dict[str, object] = {
        "pipeline": "pipeline",
        "sla_s": 5.0,
        "weights": {"alpha": 20, "beta": 1, "delta": 1e-6},
        "limits": {"max_replicas": 50, "drop_limit_s": 10},
        **more,
    }
    if device:
        environment["resources"] = {device: {"price": 3, "limit": 4}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(environment), encoding="utf-8")
    return path
