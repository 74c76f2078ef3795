"""From benchmark files to a stage of a pipeline's folder: `import_benchmarks` is the whole way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from ipa_rl.documents import read_json
from ipa_rl.errors import InputError, quoted, shortened
from ipa_rl.profiles.benchmarks.folder import BenchmarkedStage, write_stage
from ipa_rl.profiles.benchmarks.load_reports import (
    GUIDELLM_MARK,
    INFERENCE_PERF_MARK,
    read_guidellm,
    read_inference_perf,
)
from ipa_rl.profiles.benchmarks.readings import Found, Hardware, Reading
from ipa_rl.profiles.benchmarks.tables import MOST_BYTES, read_start
from ipa_rl.profiles.benchmarks.timm import ACCURACY_MARK, SPEED_MARK, read_timm
from ipa_rl.profiles.benchmarks.told import Told, missing
from ipa_rl.profiles.benchmarks.triton import ANALYZER_MARK, PERF_MARK, read_analyzer, read_perf
from ipa_rl.profiles.points import FALL

FORMATS = {
    "triton": "Triton Model Analyzer",
    "perf_analyzer": "perf_analyzer",
    "guidellm": "GuideLLM",
    "inference-perf": "inference-perf",
    "timm": "timm",
}
"""Tools of which files are read, by the names of their formats."""

MOST_VARIANTS = 20
_FIX = "give a CSV or JSON file of " + ", ".join(FORMATS.values())


@dataclass(frozen=True)
class Selection:
    """Which of the readings count, and what the files leave open.

    ``names``: of the models of files that name none, one for all or one each. ``placements``: what the models
    ran on, likewise, None for cores; none: as the files say. ``variants``: those to take; none: all.
    ``concurrency``: only readings with so many requests in flight. ``request_batch``: items of a
    request.
    """

    names: Sequence[str] = ()
    variants: Sequence[str] = ()
    concurrency: int | None = None
    request_batch: int | None = None
    placements: Sequence[Hardware | None] = ()


@dataclass(frozen=True)
class Imported:
    """What was written; ``left_out``: readings that were not, and why."""

    files: Sequence[Path]
    stage: BenchmarkedStage
    left_out: Sequence[str]


def import_benchmarks(
    paths: Sequence[Path],
    folder: Path,
    stage_name: str,
    told: Told,
    choice: Selection,
    kind: str | None = None,
    batches: Sequence[int] = (),
) -> Imported:
    """Write what the files say as a stage of ``folder``, new or beside others. Raises InputError.

    ``kind``: a name of `FORMATS`; None: found by looking. ``batches``: sizes to offer; none: those measured.
    What neither the files nor ``told`` say is asked for in one message, and nothing is written.
    """
    kinds = [kind or format_of(path) for path in paths]
    for path, one in zip(paths, kinds, strict=True):
        if one != kinds[0]:
            problem = f"is of {FORMATS[one]}, {paths[0]} of {FORMATS[kinds[0]]}"
            raise InputError(problem, file=path, fix="import them one after the other, as stages")
    found = _read(paths, kinds[0], choice)
    readings = _placed(_chosen(_named(found.readings, choice.names), choice), choice.placements)
    variants = list(dict.fromkeys(one.variant for one in readings if one.variant is not None))
    _check_count(paths[0], readings, found)
    told.check_names(variants)
    if told.cores and all(one.placement is not None for one in readings):
        where = " and ".join(dict.fromkeys(one.placement.resource for one in readings if one.placement))
        fix = "leave it out, or say --resource cores"
        raise InputError(f"all was measured on {where}, not on cores", field="--cores", fix=fix)
    accuracy = {**found.accuracy, **told.accuracy}
    _ask_for_what_is_missing(paths, readings, variants, replace(told, accuracy=accuracy))
    kept, left_out = _consistent(readings)
    stage = BenchmarkedStage(
        name=stage_name,
        source=f"{FORMATS[kinds[0]]}: {', '.join(path.name for path in paths)}",
        accuracy_metric=found.accuracy_metric,
        told=replace(told, accuracy=accuracy),
        parameters_millions=found.parameters_millions,
        readings=kept,
    )
    return Imported(write_stage(folder, stage, batches), stage, [*found.left_out, *left_out])


def format_of(path: Path) -> str:
    """The format of a file by what stands in it. Raises InputError."""
    start = read_start(path)
    if start.startswith("{"):
        start = read_json(path, _FIX, MOST_BYTES)
        marks = {GUIDELLM_MARK: "guidellm", INFERENCE_PERF_MARK: "inference-perf"}
    else:
        marks = {
            ANALYZER_MARK: "triton",
            PERF_MARK: "perf_analyzer",
            SPEED_MARK: "timm",
            ACCURACY_MARK: "timm",
        }
    for mark, kind in marks.items():
        if mark in start:
            return kind
    told = f"none of {', '.join(quoted(mark) for mark in marks)} is in it"
    raise InputError(f"is of no format that is known: {told}", file=path, fix=_FIX)


def _read(paths: Sequence[Path], kind: str, choice: Selection) -> Found:
    """All files of one format together."""
    if kind == "timm":
        return read_timm(paths, choice.variants)
    if kind == "triton":
        parts = [read_analyzer(path, choice.request_batch) for path in paths]
    elif kind == "perf_analyzer":
        parts = [read_perf(path, choice.request_batch) for path in paths]
    else:
        read = read_guidellm if kind == "guidellm" else read_inference_perf
        parts = [read(path, read_json(path, _FIX, MOST_BYTES)) for path in paths]
    readings = [one for part in parts for one in part.readings]
    left_out = [one for part in parts for one in part.left_out]
    if not readings:
        problem = f"no reading is of use: {'; '.join(left_out)}"
        raise InputError(problem, file=paths[0], fix="measure at rates that the server keeps up with")
    return Found(readings, left_out)


def _named(readings: Sequence[Reading], names: Sequence[str]) -> list[Reading]:
    """The readings with the names of their models, where they are given."""
    nameless = list(dict.fromkeys(one.file for one in readings if one.variant is None))
    if not names:
        return list(readings)
    if not nameless:
        raise InputError("the files name their models", field="--name", fix="leave it out")
    if len(names) not in (1, len(nameless)):
        files = f"{len(nameless)} file{'s' * (len(nameless) != 1)} without a model's name"
        fix = "give one for all, or one for each, in their order"
        raise InputError(f"{len(names)} names for {files}", field="--name", fix=fix)
    by_file = dict(zip(nameless, names if len(names) > 1 else [*names] * len(nameless), strict=True))
    return [one if one.variant else replace(one, variant=by_file[one.file]) for one in readings]


def _placed(readings: Sequence[Reading], placements: Sequence[Hardware | None]) -> Sequence[Reading]:
    """The readings with what their models ran on, where it is given."""
    files = sorted({one.file for one in readings}, key=[one.file for one in readings].index)
    if not placements:
        return readings
    if len(placements) not in (1, len(files)):
        problem = f"{len(placements)} resources for {len(files)} file{'s' * (len(files) != 1)} of readings"
        raise InputError(problem, field="--resource", fix="give one for all, or one for each, in their order")
    by_file = dict(zip(files, placements if len(placements) > 1 else [*placements] * len(files), strict=True))
    return [replace(one, placement=by_file[one.file]) for one in readings]


def _chosen(readings: Sequence[Reading], choice: Selection) -> list[Reading]:
    """Those of the chosen variants, at the chosen concurrency."""
    known = list(dict.fromkeys(one.variant for one in readings if one.variant))
    for name in choice.variants:
        if name not in known:
            fix = f"use some of {shortened(', '.join(known), 200)}"
            raise InputError(f"no variant {quoted(name)}", field="--variants", fix=fix)
    kept = [one for one in readings if not choice.variants or one.variant in choice.variants]
    if choice.concurrency is None:
        return kept
    at = [one for one in kept if one.concurrency == choice.concurrency]
    if not at:
        counts = sorted({one.concurrency for one in kept if one.concurrency is not None})
        problem = f"nothing was measured with {choice.concurrency} in flight"
        fix = f"use one of {', '.join(map(str, counts))}" if counts else "leave it out"
        raise InputError(problem, field="--concurrency", fix=fix)
    return at


def _check_count(path: Path, readings: Sequence[Reading], found: Found) -> None:
    """Raise InputError, with a ladder of variants for an example, where there are too many for a stage."""
    count = len({(one.variant, one.placement) for one in readings if one.variant is not None})
    if count > MOST_VARIANTS:
        problem = f"{count} variants, and a stage has {MOST_VARIANTS} at most"
        variants = dict.fromkeys(one.variant for one in readings if one.variant is not None)
        example = ",".join(_ladder(list(variants), found))
        raise InputError(problem, file=path, fix=f"pick some, for example --variants {example}")


def _ladder(variants: Sequence[str], found: Found, steps: int = 5) -> list[str]:
    """Some variants from fast to accurate, each more accurate than all that are faster."""
    fastest: dict[str, float] = {}
    for one in found.readings:
        if one.variant is not None:
            fastest[one.variant] = max(fastest.get(one.variant, 0.0), one.throughput_rps)
    front: list[str] = []
    for name in sorted(variants, key=lambda one: -fastest[one]):
        if not front or found.accuracy.get(name, 0.0) > found.accuracy.get(front[-1], 0.0):
            front.append(name)
    at = {round(k * (len(front) - 1) / (steps - 1)) for k in range(steps)}
    return [front[k] for k in sorted(at)]


def _ask_for_what_is_missing(
    paths: Sequence[Path], readings: Sequence[Reading], variants: Sequence[str], told: Told
) -> None:
    """Raise InputError that names everything which nobody said, with the options that say it."""
    lacks, options = [], []
    if any(one.variant is None for one in readings):
        lacks.append("the model's name")
        options.append("--name NAME")
    if any(one.batch is None for one in readings):
        lacks.append("the items of a request")
        options.append("--request-batch N")
    all_of, on_cores = variants or [""], [one for one in readings if one.placement is None]
    of_cores = list(dict.fromkeys(one.variant or "" for one in on_cores))
    asked = (
        ("accuracy", told.accuracy, "--accuracy", "FRACTION", all_of),
        ("start-up delay", told.start_up_s, "--start-up", "SECONDS", all_of),
        ("cores", told.cores, "--cores", "N", of_cores),
    )
    for what, values, option, unit, of in asked:
        names = missing(values, of)
        if not names:
            continue
        lacks.append(what)
        by_name = ",".join(f"{name}={unit}" for name in names[:3]) + ",..." * (len(names) > 3)
        if len(names) < len(of):
            options.append(f"{option} {by_name}")
        elif len(of) > 1 and what == "accuracy":
            options.append(f"{option} {unit} (one for all, or {by_name})")
        else:
            options.append(f"{option} {unit}" + " (or --resource NAME, of a device)" * (what == "cores"))
    if lacks:
        *others, last = lacks
        problem = f"does not say {', '.join(others)}{' and ' * bool(others)}{last}"
        raise InputError(problem, file=paths[0], fix=f"add {' '.join(options)}")


def _consistent(readings: Sequence[Reading]) -> tuple[list[Reading], list[str]]:
    """Readings that can be true of one replica together; and those that cannot, in words.

    Of several with as many items in flight the one of most throughput counts. One that takes much longer than
    a larger batch of the same variant is left out: who can do more in less time need not be that slow.
    """
    kept = [one for one in readings if math.isfinite(one.load_rps)]
    left_out = []
    full = [one for one in readings if not math.isfinite(one.load_rps)]

    def place(one: Reading) -> tuple[str, str]:
        return one.variant or "", one.placement.resource if one.placement else ""

    def order(one: Reading) -> tuple[tuple[str, str], int, float]:
        return place(one), -(one.batch or 0), -one.throughput_rps

    for _, own in groupby(sorted(full, key=order), key=place):
        fastest_s, fastest, batch = math.inf, 0, None
        for one in own:
            size = one.batch or 1
            time_s = one.latency_mean_s or size / one.throughput_rps
            if size == batch:
                left_out.append(f"{one.place}: another with {size} in flight has more throughput")
            elif fastest_s < FALL * time_s:
                left_out.append(f"{one.place}: a batch of {size} takes longer than one of {fastest}")
            else:
                kept.append(one)
                if time_s < fastest_s:
                    fastest_s, fastest = time_s, size
            batch = size
    return kept, left_out
