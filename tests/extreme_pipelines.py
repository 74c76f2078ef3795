"""Two pipelines at the ends of the scale, as a user would write them: environment, profile and workload.

`quick`: an SLA of 80 ms at 4,000 requests/s, decided every 2 s. `slow`: a language model that answers within
12 s and takes 3 minutes to start, at 0.3 requests/s, decided every 30 s.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ipa_rl.jit import FloatArray
from ipa_rl.profiles.points import COLUMNS
from ipa_rl.workload.synthetic import poisson_arrivals
from ipa_rl.workload.workload import Recorded, WorkloadModel, save_workload


@dataclass(frozen=True)
class Model:
    """A variant: service takes ``first_s`` for one request and ``next_s`` more for each other of a batch."""

    name: str
    accuracy: float
    cores: int
    start_up_s: float
    first_s: float
    next_s: float


QUICK: dict[str, list[Model]] = {
    "embed": [
        Model("tiny", 0.80, 1, 4.0, 0.0020, 0.0004),
        Model("base", 0.88, 2, 5.0, 0.0040, 0.0008),
        Model("wide", 0.93, 4, 6.0, 0.0070, 0.0014),
    ],
    "rank": [
        Model("linear", 0.85, 1, 3.0, 0.0010, 0.0002),
        Model("deep", 0.95, 2, 5.0, 0.0030, 0.0009),
    ],
}
SLOW: dict[str, list[Model]] = {
    "answer": [
        Model("7b", 0.62, 4, 120.0, 5.0, 0.9),
        Model("13b", 0.71, 8, 150.0, 8.0, 1.4),
        Model("70b", 0.82, 16, 180.0, 12.0, 2.0),
    ],
}


def write_quick(folder: Path) -> Path:
    """An SLA of 80 ms at 4,000 requests/s in the mean, in slow waves; three hours of it."""
    rates = 4000.0 * (1.0 + 0.3 * np.sin(2 * np.pi * np.arange(10_800) / 1_800.0))
    limits = {"max_replicas": 200, "drop_limit_s": 0.2}
    said = {"sla_s": 0.08, "adaptation_interval_s": 2, "limits": limits}
    return _write(folder, "quick", QUICK, (1, 2, 4, 8, 16), rates, said, alpha=100.0)


def write_slow(folder: Path) -> Path:
    """A language model at 0.3 requests/s in the mean, in waves of six hours; two days of it."""
    rates = 0.3 * (1.0 + 0.4 * np.sin(2 * np.pi * np.arange(172_800) / 21_600.0))
    limits = {"max_replicas": 50, "drop_limit_s": 90}
    said = {"sla_s": 40.0, "adaptation_interval_s": 30, "limits": limits}
    return _write(folder, "slow", SLOW, (1, 2, 4), rates, said, alpha=400.0)


def _write(
    folder: Path,
    name: str,
    stages: dict[str, list[Model]],
    batches: tuple[int, ...],
    rates_rps: FloatArray,
    said: dict[str, Any],
    alpha: float,
) -> Path:
    """The environment's file, which says this, its pipeline's folder and its workload's beside it."""
    pipeline, load = folder / f"{name}-pipeline", folder / f"{name}-load"
    pipeline.mkdir(parents=True)
    load.mkdir()
    for stage, models in stages.items():
        _write_points(pipeline / f"{stage}.csv", models, batches)
    described = [
        {"name": stage, "variants": [_described(one) for one in models]} for stage, models in stages.items()
    ]
    profile = {"source": "made up", "batches": list(batches), "stages": described}
    (pipeline / "pipeline.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    counts = poisson_arrivals(rates_rps, np.random.default_rng(0))
    save_workload(load, WorkloadModel(title=f"made up: {name}", source="made up"), Recorded(counts))
    environment = {
        "pipeline": pipeline.name,
        **said,
        "weights": {"alpha": alpha, "beta": 1, "delta": 1e-6},
        "workload": {"load": load.name},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(environment), encoding="utf-8")
    return path


def _write_points(path: Path, models: list[Model], batches: tuple[int, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in models:
            for batch in batches:
                mean_s = one.first_s + one.next_s * (batch - 1)
                figures = (mean_s, 1.3 * mean_s, batch / mean_s)
                writer.writerow([one.name, one.cores, batch, "inf", *figures, "measured", "", "made up", ""])


def _described(one: Model) -> dict[str, Any]:
    return {
        "name": one.name,
        "accuracy": one.accuracy,
        "start_up_s": one.start_up_s,
        "base_cores": one.cores,
    }
