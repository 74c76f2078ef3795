"""The folder of a profile: ``pipeline.yaml`` and one CSV file of points a stage, from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import yaml

import ipa_rl
from ipa_rl.files import write_text
from ipa_rl.profiler.cells import LEAST_SAMPLES, MeasuredCell
from ipa_rl.profiler.job import JobStage, JobVariant, ProfilingJob
from ipa_rl.profiler.processes import this_machine
from ipa_rl.profiler.replica import Start
from ipa_rl.profiles.description import PlacementDescription
from ipa_rl.profiles.points import points_text

_FIGURES = ("latency_mean_s", "latency_p99_s", "throughput_rps")


def write_folder(
    folder: Path, job: ProfilingJob, cells: Sequence[MeasuredCell], starts: Sequence[Start]
) -> list[Path]:
    """Write what was measured; variants without a cell are left out. Returns the files.

    Where a stage has no cell at all nothing is written, for there is no pipeline yet.
    """
    own = {stage.name: [cell for cell in cells if cell.stage == stage.name] for stage in job.stages}
    if not all(own.values()):
        return []
    now = datetime.now(UTC)
    description = {
        "source": job.source or f"ipa-rl profile, {now:%Y-%m-%d}",
        **({} if job.threshold_rps is None else {"threshold_rps": job.threshold_rps}),
        "batches": list(job.batches),
        "measured": {
            "at": now.isoformat(timespec="seconds"),
            "by": f"ipa-rl {ipa_rl.__version__}",
            "precision": job.measuring.precision,
            "machine": this_machine().model_dump(),
        },
        "stages": [_stage(job, stage, own[stage.name], starts) for stage in job.stages],
    }
    path = folder / "pipeline.yaml"
    write_text(yaml.safe_dump(description, sort_keys=False, allow_unicode=True), path)
    files = {folder / f"{stage.name}.csv": _points(job, stage, own[stage.name], now) for stage in job.stages}
    for file, text in files.items():
        write_text(text, file)
    return [path, *files]


def _stage(
    job: ProfilingJob, stage: JobStage, cells: Sequence[MeasuredCell], starts: Sequence[Start]
) -> dict[str, Any]:
    known = {cell.variant for cell in cells}
    described: dict[str, Any] = {"name": stage.name}
    if stage.stage_sla_s is not None:
        described["stage_sla_s"] = stage.stage_sla_s
    if stage.accuracy_metric:
        described["accuracy_metric"] = stage.accuracy_metric
    own = [start for start in starts if start.stage == stage.name]
    described["variants"] = [
        _variant(job, stage, variant, [start for start in own if start.variant == variant.name])
        for variant in stage.variants
        if variant.name in known
    ]
    return described


def _variant(job: ProfilingJob, stage: JobStage, variant: JobVariant, starts: list[Start]) -> dict[str, Any]:
    """Start-up and load time are medians over the starts, memory is the most."""
    start_up_s = [start.start_up_s for start in starts if start.start_up_s is not None]
    load_s = [start.load_s for start in starts if start.load_s is not None]
    memory_mb = [start.memory_mb for start in starts if start.memory_mb is not None]
    delay_s = variant.start_up_s
    if delay_s is None:
        delay_s = median(start_up_s) + job.measuring.scheduling_s
    figures = {
        "start_up_s": round(delay_s, 3),
        "load_s": round(median(load_s), 4) if load_s else None,
        "memory_mb": round(max(memory_mb), 1) if memory_mb else None,
        "base_cores": variant.base_cores,
        "placements": None if stage.on_cores else [{"resource": stage.resource}],
    }
    kept = {name: value for name, value in figures.items() if value is not None}
    return {"name": variant.name, "accuracy": variant.accuracy, **kept}


def _points(job: ProfilingJob, stage: JobStage, cells: Sequence[MeasuredCell], now: datetime) -> str:
    """CSV of one line a cell. The offered load of a closed loop is without end, so throughput is capacity."""
    order = [variant.name for variant in stage.variants]
    same = {"load_rps": "inf", "kind": "measured", "source": f"ipa-rl profile, {now:%Y-%m-%d}"}
    rows = []
    for cell in sorted(cells, key=lambda one: (order.index(one.variant), one.cores, one.batch)):
        figures = {name: f"{getattr(cell, name):.6g}" for name in _FIGURES}
        name = PlacementDescription(resource=stage.resource).of(cell.variant)
        where = {"variant": name, "cores": cell.cores, "batch": cell.batch}
        rows.append({**same, **where, **figures, "note": _note(cell, job.measuring.precision)})
    return points_text(rows)


def _note(cell: MeasuredCell, precision: float) -> str:
    """How good the figures are."""
    words = [f"closed loop, {cell.calls} calls in {cell.rounds} rounds", "one round, no interval"]
    if cell.latency_pct is not None and cell.throughput_pct is not None:
        latency, throughput = f"{cell.latency_pct:.1f}", f"{cell.throughput_pct:.1f}"
        words[1] = f"95 % intervals: latency +-{latency} %, throughput +-{throughput} %"
    if not cell.is_tight:
        words.append(f"time was over before +-{100 * precision:g} %")
    if cell.calls < LEAST_SAMPLES:
        words.append(f"p99 is the largest of {cell.calls}")
    return "; ".join(words)
