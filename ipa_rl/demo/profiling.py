"""The pipeline as Ray Serve runs it: its profile (models alone, and what Ray Serve adds), its environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

import ipa_rl
from ipa_rl import resources
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
from ipa_rl.documents import load_json
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.files import write_text
from ipa_rl.pipeline import Pipeline
from ipa_rl.profiler import Outcome, ProfilingJob
from ipa_rl.profiler import profile as run_profiler
from ipa_rl.profiler.cells import MeasuredCell
from ipa_rl.profiler.folder import write_folder
from ipa_rl.profiler.processes import this_machine
from ipa_rl.profiler.replica import Start
from ipa_rl.profiles import load_pipeline
from ipa_rl.progress import Report
from ipa_rl.result_files import write_json

THRESHOLD_RPS = 4
_STAGE_SLA_S = 1.0

ALPHA, BETA, DELTA = 40, 1, 1.0e-6
"""A core is worth 2.5 points of PAS x 100: the accurate models pay while the load is low, and hardly at its
peak."""

SLA_SERVICES = 3
"""The SLA: this many times as long as the largest models take for one request."""

LEAST_EPISODE_S = 60
EPISODES = 2000
"""How many of the train part's most eventful stretches the agent learns on."""


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
        measured = list(pool.map(lambda one: _profile_model(settings, one[0], one[1], report), models))
    cells = [cell for one in measured for cell in _rising(one.cells)]
    starts = [start for one in measured for start in one.starts]
    alone = _write_pipeline(settings.profile / "callables", _job(settings, SIZES), cells, starts)
    probed = probe(application, alone, say)
    write_json(asdict(probed), settings.profile / "probed.json")
    added = calibrate(alone, probed)
    write_json(asdict(added), settings.profile / "added.json")
    words = f"ipa-rl demo; on Ray Serve x {added.slowdown:.2f} and {1000 * added.batch_s:.0f} ms a batch"
    job = _job(settings, SIZES, words, round(probed.start_up_s, 2))
    _write_pipeline(settings.profile / "digits", job, [_adjusted(cell, added) for cell in cells], starts)
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


def _profile_model(settings: DemoSettings, stage: str, variant: str, report: Report) -> Outcome:
    """Measure one variant, in a folder of its own."""
    folder = settings.profile / "models" / f"{stage}-{variant}"
    folder.mkdir(parents=True, exist_ok=True)
    outcome = run_profiler(_job(settings, {stage: [variant]}), folder, _Named(f"{stage} {variant}", report))
    if outcome.faults:
        raise outcome.faults[0]
    return outcome


def _job(
    settings: DemoSettings,
    variants: Mapping[str, Iterable[str]],
    source: str = "",
    start_up_s: float | None = None,
) -> ProfilingJob:
    """What the profiler measures; ``variants``: by stage. ``start_up_s``: of each, None: it measures that."""
    effort, right = settings.effort, accuracies()

    def described(stage: str, name: str) -> dict[str, Any]:
        return {"name": name, "accuracy": right[stage][name], "base_cores": 1, "start_up_s": start_up_s}

    stages = []
    for stage, names in variants.items():
        target = f"ipa_rl.demo.core:{stage}"
        stages.append(
            {
                "name": stage,
                "stage_sla_s": _STAGE_SLA_S,
                "accuracy_metric": "share answered right",
                "target": {"callable": target, "sample": f"{target}_sample"},
                "variants": [described(stage, name) for name in names],
            }
        )
    content = {
        "source": source,
        "threshold_rps": THRESHOLD_RPS,
        "batches": effort.batches,
        "cores": [1],
        "measuring": {"precision": effort.precision, "cell_limit_s": effort.cell_limit_s},
        "stages": stages,
    }
    return ProfilingJob.model_validate(content)


def _rising(cells: Sequence[MeasuredCell]) -> list[MeasuredCell]:
    """Cells of one variant, ascending in batch size, no latency below that of a smaller batch.

    Where it was, something else ran on the machine while the smaller one was measured.
    """
    found: list[MeasuredCell] = []
    for cell in sorted(cells, key=lambda one: one.batch):
        before = found[-1] if found else cell
        mean_s = max(cell.latency_mean_s, before.latency_mean_s)
        p99_s = max(cell.latency_p99_s, before.latency_p99_s)
        rate_rps = cell.throughput_rps if mean_s == cell.latency_mean_s else cell.batch / mean_s
        found.append(replace(cell, latency_mean_s=mean_s, latency_p99_s=p99_s, throughput_rps=rate_rps))
    return found


def _adjusted(cell: MeasuredCell, added: Added) -> MeasuredCell:
    """A cell as it is on Ray Serve."""
    return replace(
        cell,
        latency_mean_s=added.latency_s(cell.latency_mean_s),
        latency_p99_s=added.latency_s(cell.latency_p99_s),
        throughput_rps=added.throughput_rps(cell.batch, cell.throughput_rps),
    )


def _write_pipeline(
    folder: Path, job: ProfilingJob, cells: Sequence[MeasuredCell], starts: Sequence[Start]
) -> Pipeline:
    """The folder of a profile; the pipeline that it is read as."""
    folder.mkdir(exist_ok=True)
    write_folder(folder, job, cells, starts)
    return load_pipeline(folder)


def _place(workload: str) -> str:
    """A shipped name, or a folder wherever the environment's file is."""
    return workload if workload in resources.shipped_names("workloads") else str(Path(workload).resolve())


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
            "load": _place(settings.workload),
            "scale": settings.scale,
            "part": "train",
            "episode_s": max(settings.seconds, LEAST_EPISODE_S),
            "eventful": EPISODES,
        },
    }
    write_text(yaml.safe_dump(content, sort_keys=False), settings.environment)
    return load_definition(settings.environment)
