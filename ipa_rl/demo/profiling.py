"""The profile of the pipeline as Ray Serve runs it: callables measured, and what Ray Serve adds."""

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
from ipa_rl.demo.calibration import Added, calibrate, throughput_rps
from ipa_rl.demo.core import VARIABLE, core_file, core_of
from ipa_rl.demo.digits.models import accuracies
from ipa_rl.demo.digits.variants import SIZES, STAGES
from ipa_rl.demo.probing import CHECK, Probed, probe
from ipa_rl.demo.settings import FRESH_S, Settings
from ipa_rl.documents import load_json, read_yaml
from ipa_rl.profiler import Job
from ipa_rl.profiler import profile as run_profiler
from ipa_rl.profiler.machine import this_machine
from ipa_rl.profiles import load_pipeline
from ipa_rl.profiles.points import COLUMNS
from ipa_rl.progress import Report
from ipa_rl.result_files import write_json

THRESHOLD_RPS = 4
_STAGE_SLA_S = 1.0
_PROBED, _ADDED = "probed.json", "added.json"


@dataclass(frozen=True)
class Profile:
    """``folder``: of the pipeline, as Ray Serve runs it: what that ``added`` is in the points.
    ``expected_rps``: throughput of `CHECK` by these.
    """

    folder: Path
    probed: Probed
    added: Added
    expected_rps: float


def kept_profile(settings: Settings) -> Kept:
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


def measure(settings: Settings, application: Application, report: Report, say: Callable[[str], None]) -> None:
    """Profile both stages, probe Ray Serve, and write the pipeline's folder. Goes on after a kill."""
    kept = kept_profile(settings)
    kept.begin()
    say("profiling the models")
    os.environ[VARIABLE] = str(core_file(settings).resolve())
    models = [(stage, variant) for stage in STAGES for variant in SIZES[stage]]
    with ThreadPoolExecutor(len(models)) as pool:  # side by side: each needs some hundredths of a processor
        parts = list(pool.map(lambda one: _profile_model(settings, one[0], one[1], report), models))
    _join(settings.profile / "callables", parts)
    alone = load_pipeline(settings.profile / "callables")
    probed = probe(application, lambda one: throughput_rps(alone, one), say)
    write_json(asdict(probed), settings.profile / _PROBED)
    added = calibrate(alone, probed)
    write_json(asdict(added), settings.profile / _ADDED)
    _adjust(settings.profile / "callables", settings.profile / "digits", added, probed)
    kept.done()


def read_profile(settings: Settings) -> Profile:
    """What was measured."""
    probed = load_json(settings.profile / _PROBED, Probed, AGAIN)
    added = load_json(settings.profile / _ADDED, Added, AGAIN)
    folder = settings.profile / "digits"
    expected_rps = throughput_rps(load_pipeline(folder), CHECK)
    return Profile(folder, probed, added, expected_rps)


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
    outcome = run_profiler(_job(settings, stage, variant), folder, _Named(f"{stage} {variant}", report))
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
        one = read_yaml(part / "pipeline.yaml", AGAIN).content
        whole = whole or one
        (stage,) = one["stages"]
        name = stage["name"]
        stages.setdefault(name, {**stage, "variants": []})["variants"] += stage["variants"]
        points.setdefault(name, []).extend(_rising(_read_points(part / f"{name}.csv")))
    _write_yaml({**whole, "stages": list(stages.values())}, folder / "pipeline.yaml")
    for name, rows in points.items():
        _write_points(rows, folder / f"{name}.csv")


def _rising(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Points of one variant, ascending in batch size, no latency below that of a smaller batch.

    Where it was, something else ran on the machine while the smaller one was measured.
    """
    found: list[dict[str, str]] = []
    for row in rows:
        before = found[-1] if found else row
        lifted = {
            name: before[name]
            for name in ("latency_mean_s", "latency_p99_s")
            if float(row[name]) < float(before[name])
        }
        if "latency_mean_s" in lifted:
            lifted["throughput_rps"] = f"{int(row['batch']) / float(before['latency_mean_s']):.6g}"
        note = f"{row['note']}; lifted to that of batch {before['batch']}" if lifted else row["note"]
        found.append({**row, **lifted, "note": note})
    return found


def _adjust(source: Path, folder: Path, added: Added, probed: Probed) -> None:
    """The pipeline as Ray Serve runs it: its start-up, and what it adds in the points."""
    folder.mkdir(exist_ok=True)
    description = read_yaml(source / "pipeline.yaml", AGAIN).content
    for stage in description["stages"]:
        for variant in stage["variants"]:
            variant["start_up_s"] = round(probed.start_up_s, 2)
        rows = _read_points(source / f"{stage['name']}.csv")
        _write_points([_adjusted(row, added) for row in rows], folder / f"{stage['name']}.csv")
    _write_yaml(description, folder / "pipeline.yaml")


def _adjusted(row: dict[str, str], added: Added) -> dict[str, str]:
    """A point as it is on Ray Serve."""
    names = ("latency_mean_s", "latency_p99_s")
    longer = {name: f"{added.latency_s(float(row[name])):.6g}" for name in names}
    rate_rps = added.throughput_rps(int(row["batch"]), float(row["throughput_rps"]))
    note = f"{row['note']}; on Ray Serve x {added.slowdown:.2f} and {1000 * added.batch_s:.0f} ms"
    return {**row, **longer, "throughput_rps": f"{rate_rps:.6g}", "note": note}


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
