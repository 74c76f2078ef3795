"""The folder of a pipeline with one stage more: ``pipeline.yaml`` and the stage's CSV file of points."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ipa_rl import documents
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import exists, read_text, write_text
from ipa_rl.pipeline import CORES
from ipa_rl.profiles.benchmarks.readings import Reading
from ipa_rl.profiles.benchmarks.told import Told, value_of
from ipa_rl.profiles.description import PipelineDescription, PlacementDescription
from ipa_rl.profiles.load import spread
from ipa_rl.profiles.points import BENCHMARK, points_text
from ipa_rl.result_files import output_folder

_SEE = "docs/reference/profiles.md"


@dataclass(frozen=True)
class BenchmarkedStage:
    """Readings of its variants, each with a variant and a batch, and what is told of them."""

    name: str
    source: str
    accuracy_metric: str
    told: Told
    parameters_millions: Mapping[str, float]
    readings: Sequence[Reading]

    @property
    def variants(self) -> list[str]:
        """Names of the variants, the least accurate first."""
        names = dict.fromkeys(one.variant or "" for one in self.readings)
        return sorted(names, key=lambda name: value_of(self.told.accuracy, name))

    @property
    def rows(self) -> list[dict[str, object]]:
        """Its points, as rows of the file."""
        order = {name: k for k, name in enumerate(self.variants)}
        places = {name: k for k, name in enumerate(dict.fromkeys(map(_placed_name, self.readings)))}

        def place(one: Reading) -> tuple[int, int, int | None, float]:
            return order[one.variant or ""], places[_placed_name(one)], one.batch, one.load_rps

        return [self._row(one) for one in sorted(self.readings, key=place)]

    def _row(self, reading: Reading) -> dict[str, object]:
        figures = {
            "load_rps": reading.load_rps,
            "latency_mean_s": reading.latency_mean_s,
            "latency_p99_s": reading.latency_p99_s,
            "throughput_rps": reading.throughput_rps,
        }
        return {
            "variant": _placed_name(reading),
            "cores": self._units(reading),
            "batch": reading.batch,
            **{name: "" if value is None else f"{value:.12g}" for name, value in figures.items()},
            "kind": "measured",
            "series": BENCHMARK,
            "source": reading.place,
            "note": reading.note,
        }

    def _units(self, reading: Reading) -> str:
        placement = reading.placement
        units = placement.units if placement else value_of(self.told.cores, reading.variant or "")
        return f"{units:g}"

    def described(self, batches: Sequence[int] = ()) -> dict[str, Any]:
        """Its part of ``pipeline.yaml``."""
        measured = {one.batch for one in self.readings if one.batch is not None}
        described: dict[str, Any] = {"name": self.name, "batches": sorted(set(batches) or spread(measured))}
        if self.accuracy_metric:
            described["accuracy_metric"] = self.accuracy_metric
        described["variants"] = [self._variant(name) for name in self.variants]
        return described

    def _variant(self, name: str) -> dict[str, Any]:
        told = {
            "name": name,
            "accuracy": round(value_of(self.told.accuracy, name), 9),
            "start_up_s": value_of(self.told.start_up_s, name),
        }
        if name in self.parameters_millions:
            told["parameters_millions"] = self.parameters_millions[name]
        own = list(dict.fromkeys(one.placement for one in self.readings if one.variant == name))
        if own != [None]:
            told["placements"] = [{"resource": one.resource if one else CORES} for one in own]
        return told


def _placed_name(reading: Reading) -> str:
    """What the points call the model where it ran."""
    variant = reading.variant or ""
    place = reading.placement
    return PlacementDescription(resource=place.resource).of(variant) if place else variant


def write_stage(folder: Path, stage: BenchmarkedStage, batches: Sequence[int]) -> list[Path]:
    """Write a stage beside those that the folder has; returns the files. Raises InputError, writing nothing.

    ``batches``: sizes to offer; none: those measured.
    """
    if not re.fullmatch(r"\w[\w.-]*", stage.name):
        raise InputError(f"is {quoted(stage.name)}", field="--stage", fix="use letters, digits, . - and _")
    path, points = folder / "pipeline.yaml", folder / f"{stage.name}.csv"
    content: dict[str, Any] = {"source": "", "stages": []}
    if exists(path):
        content = _pipeline_so_far(path)
    is_taken = stage.name in (one["name"] for one in content["stages"])
    if is_taken or exists(points):
        problem = f"has a stage {stage.name} already"
        raise InputError(problem, file=folder, fix="give another --stage, or another --out")
    content["source"] = "; ".join(dict.fromkeys(filter(None, [content.get("source"), stage.source])))
    content["stages"] = [*content["stages"], stage.described(batches)]
    documents.check(content, PipelineDescription, _SEE, path)
    output_folder(folder)
    write_text(points_text(stage.rows), points)
    write_text(
        yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100), path
    )
    return [path, points]


def _pipeline_so_far(path: Path) -> dict[str, Any]:
    """What a pipeline's description says. Raises InputError where comments in it would be lost."""
    described = documents.load(path, PipelineDescription, _SEE)
    if "#" in read_text(path, documents.MOST_BYTES, _SEE):
        fix = "import into a folder of its own, and copy the stage by hand"
        raise InputError("has comments, which would be lost", file=path, fix=fix)
    content: dict[str, Any] = described.model_dump(mode="json", exclude_unset=True)
    return content
