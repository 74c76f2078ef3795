"""timm's tables: accuracy of pretrained weights, and speed of architectures, joined by name and image size.

The weights ``resnet50.a1_in1k`` are of the architecture ``resnet50``. An architecture has several, and each
is evaluated at several image sizes: accuracy and speed count only at the same size.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipa_rl.errors import InputError, quoted
from ipa_rl.profiles.benchmarks.readings import Found, Hardware, Reading
from ipa_rl.profiles.benchmarks.tables import Row, Table, read_table

SPEED_MARK, ACCURACY_MARK = "infer_samples_per_sec", "top1"
"""Columns by which the files are told from others, beside ``model``."""

_GPU = re.compile(r"-cu\d+-(\w+)")
"""In the names of tables of speeds on GPUs: the version of CUDA, and the GPU."""

METRIC = "top-1 on ImageNet"


@dataclass(frozen=True)
class _Weights:
    """Pretrained weights at an image size."""

    name: str
    pixels: int
    accuracy: float


@dataclass(frozen=True)
class _Speed:
    """An architecture at an image size, always at the next batch."""

    architecture: str
    pixels: int
    batch: int
    row: Row


def read_timm(paths: Sequence[Path], picks: Sequence[str]) -> Found:
    """The picked variants of all tables together, or all. Raises InputError.

    A pick is an architecture or weights, with ``@SIZE`` at an image size: resnet18, resnet50.a1_in1k@224.
    Where several weights or sizes fit, the most accurate are meant.
    """
    weights: list[_Weights] = []
    speeds: list[_Speed] = []
    for table in map(read_table, paths):
        if ACCURACY_MARK in table.columns:
            weights += _weights(table)
        else:
            speeds += _speeds(table)
    if not speeds:
        fix = "give a benchmark-infer table beside the accuracies"
        raise InputError("holds no speed", file=paths[0], field=SPEED_MARK, fix=fix)
    readings, accuracy, parameters = [], {}, {}
    for pick in picks or dict.fromkeys(one.architecture for one in speeds):
        chosen, own = _chosen(paths, pick, weights, speeds, must_fit=bool(picks))
        if chosen is not None:
            accuracy[pick] = chosen.accuracy
        for speed in own:
            readings.append(_reading(pick, speed, chosen))
            millions = speed.row.known("param_count")
            if millions is not None:
                parameters[pick] = millions
    return Found(readings, (), accuracy, METRIC if accuracy else "", parameters)


def _weights(table: Table) -> Iterable[_Weights]:
    table.need(("model", "img_size", ACCURACY_MARK), "timm")
    for row in table.rows:
        top1 = row.number(ACCURACY_MARK)
        # Percent, unless accuracy and error are seen to add up to one.
        whole = top1 + row.number("top1_err", least=-1.0) if row.text("top1_err") else 100.0
        share = top1 / (1.0 if whole < 1.5 else 100.0)
        yield _Weights(row.text("model"), row.count("img_size") or 0, share)


def _speeds(table: Table) -> Iterable[_Speed]:
    table.need(("model", "infer_img_size", SPEED_MARK, "infer_batch_size"), "timm")
    for row in table.rows:
        architecture = row.text("model").partition(".")[0]
        batch = row.count("infer_batch_size")
        if batch is None:
            fix = "give the batch size"
            raise InputError("is 0", file=row.path, line=row.line, field="infer_batch_size", fix=fix)
        yield _Speed(architecture, row.count("infer_img_size") or 0, batch, row)


def _chosen(
    paths: Sequence[Path],
    pick: str,
    weights: Sequence[_Weights],
    speeds: Sequence[_Speed],
    must_fit: bool,
) -> tuple[_Weights | None, list[_Speed]]:
    """The weights of a pick, where accuracies are known, and its speeds at their image size."""
    name, _, size = pick.partition("@")
    architecture = name.partition(".")[0]
    own = [one for one in speeds if one.architecture == architecture and size in ("", str(one.pixels))]
    if not own:
        known = sorted({one.architecture for one in speeds})
        sizes = sorted({one.pixels for one in speeds if one.architecture == architecture})
        near = difflib.get_close_matches(architecture, known, 3)
        fix = f"did you mean {' or '.join(near)}?" if near else "use a name of the benchmark table"
        if sizes:
            fix = f"use {' or '.join(f'{name}@{pixels}' for pixels in sizes)}"
        raise InputError(f"no speed of {quoted(pick)}", file=paths[0], field="--variants", fix=fix)
    measured = {one.pixels for one in own}
    fitting = [
        one for one in weights if name in (one.name, one.name.partition(".")[0]) and one.pixels in measured
    ]
    if fitting:
        chosen = max(fitting, key=lambda one: one.accuracy)
        return chosen, [one for one in own if one.pixels == chosen.pixels]
    if must_fit and weights and "." in name:
        problem, fix = f"no accuracy of {quoted(pick)} at {_listed(measured)} pixels", "use other weights"
        raise InputError(problem, file=paths[0], field="--variants", fix=fix)
    if len(measured) > 1 and must_fit:
        fix = f"use {' or '.join(f'{name}@{pixels}' for pixels in sorted(measured))}"
        problem = f"{quoted(pick)} was measured at {_listed(measured)} pixels"
        raise InputError(problem, file=paths[0], field="--variants", fix=fix)
    return None, [one for one in own if one.pixels == max(measured)]


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(sizes)))


def _reading(variant: str, speed: _Speed, weights: _Weights | None) -> Reading:
    row = speed.row
    step_ms = row.known("infer_step_time")
    mean_s = None if step_ms is None else step_ms / 1e3
    note = f"{speed.pixels} pixels" + (f", accuracy of {weights.name}" if weights else "")
    rate_rps = row.number(SPEED_MARK)
    gpu = _GPU.search(row.path.name)
    placement = Hardware(gpu[1]) if gpu else None
    figures = speed.batch, math.inf, mean_s, None, rate_rps
    return Reading(row.path, row.place, variant, *figures, note, placement=placement)
