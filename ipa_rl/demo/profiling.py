"""The profile of the pipeline as Ray Serve runs it: callables measured, and what Ray Serve adds."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import ipa_rl
from ipa_rl.demo.application import Application
from ipa_rl.demo.kept import Kept
from ipa_rl.demo.probing import FULL, MIDDLE, Probed, probe
from ipa_rl.demo.settings import CORE, FRESH_S, Settings
from ipa_rl.digits.models import accuracies
from ipa_rl.digits.variants import SIZES, STAGES
from ipa_rl.evaluation.tables import write_json
from ipa_rl.pipeline import Configuration, Pipeline
from ipa_rl.profiler import Job
from ipa_rl.profiler import profile as run_profiler
from ipa_rl.profiler.machine import this_machine
from ipa_rl.profiles import load_pipeline
from ipa_rl.profiles.points import COLUMNS
from ipa_rl.progress import Report

THRESHOLD_RPS = 4
_STAGE_SLA_S = 1.0
_PROBED = "probed.json"


@dataclass(frozen=True)
class Profile:
    """``folder``: of the pipeline. ``overhead_s``: what Ray Serve adds to a request, which is in the points.

    ``expected_full_rps``: throughput of `FULL` by the profile with that.
    """

    folder: Path
    probed: Probed
    overhead_s: float
    expected_full_rps: float


def kept_profile(settings: Settings) -> Kept:
    """Where the profile is, and what it depends on."""
    effort = settings.effort
    key = {
        "version": ipa_rl.__version__,
        "machine": this_machine().model_dump(mode="json"),
        "core": CORE,
        "batches": list(effort.batches),
        "precision": effort.precision,
        "cell_limit_s": effort.cell_limit_s,
    }
    return Kept(settings.profile, key, FRESH_S)


def measure(settings: Settings, application: Application, report: Report, say: Callable[[str], None]) -> None:
    """Profile both stages, probe Ray Serve, and write the pipeline's folder. Goes on after a kill."""
    kept = kept_profile(settings)
    kept.begin()
    say("profiling the models")
    models = [(stage, variant) for stage in STAGES for variant in SIZES[stage]]
    with ThreadPoolExecutor(len(models)) as pool:  # side by side: each needs a hundredth of a processor
        parts = list(pool.map(lambda one: _profile_model(settings, *one, report), models))
    _join(settings.profile / "callables", parts)
    alone = load_pipeline(settings.profile / "callables")
    probed = probe(application, throughput_rps(alone, FULL), say)
    write_json(asdict(probed), settings.profile / _PROBED)
    overhead_s = max(probed.idle_s - service_s(alone, MIDDLE), 0.0)
    _adjust(settings.profile / "callables", settings.profile / "digits", overhead_s, probed.start_up_s)
    kept.done()


def read_profile(settings: Settings) -> Profile:
    """What was measured."""
    probed = Probed(**json.loads((settings.profile / _PROBED).read_text(encoding="utf-8")))
    alone = load_pipeline(settings.profile / "callables")
    folder = settings.profile / "digits"
    overhead_s = max(probed.idle_s - service_s(alone, MIDDLE), 0.0)
    return Profile(folder, probed, overhead_s, throughput_rps(load_pipeline(folder), FULL))


def service_s(pipeline: Pipeline, configuration: Configuration) -> float:
    """Mean latency of the stages without waiting."""
    total = 0.0
    for stage, one in zip(pipeline.stages, configuration.stages, strict=True):
        variant = stage.variant(one.variant)
        total += variant.latency_mean_s[variant.batches.index(one.batch)]
    return total


def throughput_rps(pipeline: Pipeline, configuration: Configuration) -> float:
    """Of the stage that serves least."""
    rates = []
    for stage, one in zip(pipeline.stages, configuration.stages, strict=True):
        variant = stage.variant(one.variant)
        rates.append(one.replicas * variant.throughput_rps[variant.batches.index(one.batch)])
    return min(rates)


class _Named:
    """Reports under another name."""

    def __init__(self, name: str, report: Report) -> None:
        self._name, self._report = name, report

    def advance(self, part: str, done: int, total: int) -> None:
        """The same of the other name."""
        del part
        self._report.advance(self._name, done, total)


def _profile_model(settings: Settings, stage: str, variant: str, report: Report) -> Path:
    """Measure one variant; its folder."""
    folder = settings.profile / "models" / f"{stage}-{variant}"
    folder.mkdir(parents=True, exist_ok=True)
    outcome = run_profiler(_job(settings, stage, variant), folder, _Named(variant, report))
    if outcome.faults:
        raise outcome.faults[0]
    return folder


def _job(settings: Settings, stage: str, variant: str) -> Job:
    effort = settings.effort
    target = f"ipa_rl.demo.targets:{stage}"
    return Job.model_validate(
        {
            "threshold_rps": THRESHOLD_RPS,
            "batches": effort.batches,
            "cores": [1],
            "measuring": {"precision": effort.precision, "cell_limit_s": effort.cell_limit_s},
            "stages": [
                {
                    "name": stage,
                    "stage_sla_s": _STAGE_SLA_S,
                    "accuracy_metric": "share answered right",
                    "target": {"callable": target, "sample": f"{target}_sample"},
                    "variants": [
                        {"name": variant, "accuracy": accuracies()[stage][variant], "base_cores": 1}
                    ],
                }
            ],
        }
    )


def _join(folder: Path, parts: list[Path]) -> None:
    """One pipeline's folder of those of its models."""
    folder.mkdir(exist_ok=True)
    whole: dict[str, Any] = {}
    stages: dict[str, dict[str, Any]] = {}
    points: dict[str, list[dict[str, str]]] = {}
    for part in parts:
        one = yaml.safe_load((part / "pipeline.yaml").read_text(encoding="utf-8"))
        whole = whole or one
        (stage,) = one["stages"]
        name = stage["name"]
        stages.setdefault(name, {**stage, "variants": []})["variants"] += stage["variants"]
        points.setdefault(name, []).extend(_read_points(part / f"{name}.csv"))
    _write_yaml({**whole, "stages": list(stages.values())}, folder / "pipeline.yaml")
    for name, rows in points.items():
        _write_points(rows, folder / f"{name}.csv")


def _adjust(source: Path, folder: Path, overhead_s: float, start_up_s: float) -> None:
    """The pipeline as Ray Serve runs it: its start-up, and half of what it adds in each stage.

    Half, because it is as long for both; a replica stands idle meanwhile, so throughput falls with it.
    """
    folder.mkdir(exist_ok=True)
    description = yaml.safe_load((source / "pipeline.yaml").read_text(encoding="utf-8"))
    extra_s = overhead_s / len(description["stages"])
    for stage in description["stages"]:
        for variant in stage["variants"]:
            variant["start_up_s"] = round(start_up_s, 2)
        rows = _read_points(source / f"{stage['name']}.csv")
        _write_points([_adjusted(row, extra_s) for row in rows], folder / f"{stage['name']}.csv")
    _write_yaml(description, folder / "pipeline.yaml")


def _adjusted(row: dict[str, str], extra_s: float) -> dict[str, str]:
    """A point with so many seconds more."""
    batch = int(row["batch"])
    service_s = batch / float(row["throughput_rps"])
    longer = {name: f"{float(row[name]) + extra_s:.6g}" for name in ("latency_mean_s", "latency_p99_s")}
    note = f"{row['note']}; Ray Serve's {1000 * extra_s:.1f} ms added"
    return {**row, **longer, "throughput_rps": f"{batch / (service_s + extra_s):.6g}", "note": note}


def _read_points(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_points(rows: list[dict[str, str]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_yaml(content: Any, path: Path) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
