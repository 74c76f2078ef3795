"""The pipeline as Ray Serve runs it: its profile (models alone, and what Ray Serve adds), its environment."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

import ipa_rl
from ipa_rl.demo.application import Application
from ipa_rl.demo.cached_work import AGAIN, Kept
from ipa_rl.demo.core import VARIABLE, core_file, core_of
from ipa_rl.demo.digits import SIZES, STAGES
from ipa_rl.demo.digits.models import accuracies
from ipa_rl.demo.overhead import CHECK, Added, Probed, calibrate, probe, throughput_rps
from ipa_rl.demo.settings import (
    BATCH_TIMEOUT_S,
    DROP_LIMIT_S,
    FRESH_S,
    INTERVAL_S,
    MAX_REPLICAS,
    DemoSettings,
)
from ipa_rl.documents import load_json, read_yaml
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.files import write_text
from ipa_rl.pipeline import Pipeline
from ipa_rl.profiler import Job
from ipa_rl.profiler import profile as run_profiler
from ipa_rl.profiler.machine import this_machine
from ipa_rl.profiles import load_pipeline
from ipa_rl.progress import Report
from ipa_rl.result_files import write_json, write_rows

THRESHOLD_RPS = 4
_STAGE_SLA_S = 1.0
_LATENCIES = ("latency_mean_s", "latency_p99_s")

ALPHA, BETA, DELTA = 40, 1, 1.0e-6
"""A core is worth 2.5 points of PAS x 100: the accurate models pay while the load is low, and hardly at its
peak."""

SLA_SERVICES = 3
"""The SLA: this many times as long as the largest models take for one request."""

LEAST_EPISODE_S = 60
EPISODES = 2000
"""How many of the train part's most eventful stretches the agent learns on."""

Row = dict[str, str]
"""A point of a profile, as its CSV file has it."""


@dataclass(frozen=True)
class ServedProfile:
    """``folder``: of the pipeline, as Ray Serve runs it: what that ``added`` is in the points.
    ``expected_rps``: throughput of `CHECK` by these.
    """

    folder: Path
    probed: Probed
    added: Added
    expected_rps: float


def kept_profile(settings: DemoSettings) -> Kept:
    """Where the profile is, and what it depends on."""
    effort = settings.effort
    key = {
        "version": ipa_rl.__version__,
        "machine": this_machine().model_dump(mode="json"),
        "core": asdict(core_of(settings)),
        "batches": list(effort.batches),
        "precision": effort.precision,
        "cell_limit_s": effort.cell_limit_s,
    }
    return Kept(settings.profile, key, FRESH_S)


def measure(
    settings: DemoSettings, application: Application, report: Report, say: Callable[[str], None]
) -> None:
    """Profile both stages, probe Ray Serve, and write the pipeline's folder. Goes on after a kill."""
    kept = kept_profile(settings)
    kept.begin()
    say("profiling the models")
    os.environ[VARIABLE] = str(core_file(settings).resolve())
    models = [(stage, variant) for stage in STAGES for variant in SIZES[stage]]
    with ThreadPoolExecutor(len(models)) as pool:  # side by side: each needs some hundredths of a processor
        parts = list(pool.map(lambda one: _profile_model(settings, one[0], one[1], report), models))
    description, points = _joined(parts)
    alone = _write_pipeline(settings.profile / "callables", description, points)
    probed = probe(application, lambda one: throughput_rps(alone, one), say)
    write_json(asdict(probed), settings.profile / "probed.json")
    added = calibrate(alone, probed)
    write_json(asdict(added), settings.profile / "added.json")
    for stage in description["stages"]:
        for variant in stage["variants"]:
            variant["start_up_s"] = round(probed.start_up_s, 2)
    points = {name: [_adjusted(row, added) for row in rows] for name, rows in points.items()}
    _write_pipeline(settings.profile / "digits", description, points)
    kept.done()


def read_profile(settings: DemoSettings) -> ServedProfile:
    """What was measured."""
    probed = load_json(settings.profile / "probed.json", Probed, AGAIN)
    added = load_json(settings.profile / "added.json", Added, AGAIN)
    folder = settings.profile / "digits"
    return ServedProfile(folder, probed, added, throughput_rps(load_pipeline(folder), CHECK))


@dataclass(frozen=True)
class _Named:
    """Reports under another name."""

    name: str
    report: Report

    def advance(self, _: str, done: int, total: int) -> None:
        """The same of the other name."""
        self.report.advance(self.name, done, total)


def _profile_model(settings: DemoSettings, stage: str, variant: str, report: Report) -> Path:
    """Measure one variant; its folder."""
    folder = settings.profile / "models" / f"{stage}-{variant}"
    folder.mkdir(parents=True, exist_ok=True)
    effort, target = settings.effort, f"ipa_rl.demo.core:{stage}"
    accuracy = accuracies()[stage][variant]
    described = {
        "name": stage,
        "stage_sla_s": _STAGE_SLA_S,
        "accuracy_metric": "share answered right",
        "target": {"callable": target, "sample": f"{target}_sample"},
        "variants": [{"name": variant, "accuracy": accuracy, "base_cores": 1}],
    }
    job = Job.model_validate(
        {
            "threshold_rps": THRESHOLD_RPS,
            "batches": effort.batches,
            "cores": [1],
            "measuring": {"precision": effort.precision, "cell_limit_s": effort.cell_limit_s},
            "stages": [described],
        }
    )
    outcome = run_profiler(job, folder, _Named(f"{stage} {variant}", report))
    if outcome.faults:
        raise outcome.faults[0]
    return folder


def _joined(parts: list[Path]) -> tuple[dict[str, Any], dict[str, list[Row]]]:
    """One pipeline's description and its points by stage, of the folders of its models."""
    whole: dict[str, Any] = {}
    stages: dict[str, dict[str, Any]] = {}
    points: dict[str, list[Row]] = {}
    for part in parts:
        one = read_yaml(part / "pipeline.yaml", AGAIN).content
        whole = whole or one
        (stage,) = one["stages"]
        name = stage["name"]
        stages.setdefault(name, {**stage, "variants": []})["variants"] += stage["variants"]
        with (part / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            points.setdefault(name, []).extend(_rising(list(csv.DictReader(file))))
    return {**whole, "stages": list(stages.values())}, points


def _rising(rows: list[Row]) -> list[Row]:
    """Points of one variant, ascending in batch size, no latency below that of a smaller batch.

    Where it was, something else ran on the machine while the smaller one was measured.
    """
    found: list[Row] = []
    for row in rows:
        before = found[-1] if found else row
        lifted = {name: before[name] for name in _LATENCIES if float(row[name]) < float(before[name])}
        if "latency_mean_s" in lifted:
            lifted["throughput_rps"] = f"{int(row['batch']) / float(before['latency_mean_s']):.6g}"
        note = f"{row['note']}; lifted to that of batch {before['batch']}" if lifted else row["note"]
        found.append({**row, **lifted, "note": note})
    return found


def _adjusted(row: Row, added: Added) -> Row:
    """A point as it is on Ray Serve."""
    longer = {name: f"{added.latency_s(float(row[name])):.6g}" for name in _LATENCIES}
    rate_rps = added.throughput_rps(int(row["batch"]), float(row["throughput_rps"]))
    note = f"{row['note']}; on Ray Serve x {added.slowdown:.2f} and {1000 * added.batch_s:.0f} ms"
    return {**row, **longer, "throughput_rps": f"{rate_rps:.6g}", "note": note}


def _write_pipeline(folder: Path, description: dict[str, Any], points: dict[str, list[Row]]) -> Pipeline:
    """The folder of a profile; the pipeline that it is read as."""
    folder.mkdir(exist_ok=True)
    for stage, rows in points.items():
        write_rows(rows, folder / f"{stage}.csv")
    write_text(yaml.safe_dump(description, sort_keys=False, allow_unicode=True), folder / "pipeline.yaml")
    return load_pipeline(folder)


def write_environment(settings: DemoSettings, profile: ServedProfile) -> Definition:
    """Write the environment that the agent learns in and the simulator predicts by; what it defines."""
    stages = load_pipeline(profile.folder).stages
    largest_s = sum(stage.variants[-1].latency_mean_s[0] for stage in stages)
    content = {
        "pipeline": str(profile.folder.relative_to(settings.folder)),
        "source": "ipa-rl demo",
        "sla_s": round(SLA_SERVICES * largest_s, 2),
        "weights": {"alpha": ALPHA, "beta": BETA, "delta": DELTA, "normalize_accuracy": False},
        "limits": {
            "max_replicas": MAX_REPLICAS,
            "drop_limit_s": DROP_LIMIT_S,
            "batch_timeout_s": BATCH_TIMEOUT_S,
        },
        "adaptation_interval_s": INTERVAL_S,
        "reload_s": round(profile.probed.reload_s, 2),
        "load_window_s": 10,
        "workload": {
            "kind": "trace",
            "part": "train",
            "episode_s": max(settings.seconds, LEAST_EPISODE_S),
            "eventful": EPISODES,
        },
        "baselines": {
            "fa2_low": [stage.variants[0].name for stage in stages],
            "fa2_high": [stage.variants[-1].name for stage in stages],
            "rim_replicas": [2] * len(stages),
        },
    }
    write_text(yaml.safe_dump(content, sort_keys=False), settings.environment)
    return load_definition(settings.environment)
