"""``measured.jsonl``: what was measured, line by line as soon as it is there, so that a kill loses one cell.

The first line says how and on what machine; a run goes on only where both are the same.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ipa_rl.errors import InputError, shortened
from ipa_rl.files import exists, read_lines, write_text
from ipa_rl.json_text import parse
from ipa_rl.profiler.cells import MeasuredCell
from ipa_rl.profiler.job import JobStage, ProfilingJob
from ipa_rl.profiler.processes import this_machine
from ipa_rl.profiler.replica import Place, Start

_LONGEST_LINE = 1_000_000


class Book:
    """Cells and starts of a profile's folder, kept on disk."""

    def __init__(self, path: Path, job: ProfilingJob) -> None:
        """Open it, or begin it. Raises InputError where it was begun otherwise."""
        self._path = path
        self.cells: list[MeasuredCell] = []
        self.starts: list[Start] = []
        head = _head(job)
        lines = _lines(path)
        if lines:
            _check_same(path, lines[0], head)
            head["targets"] = {**lines[0]["targets"], **head["targets"]}
        for line in lines[1:]:
            self._take(line)
        write_text("".join(json.dumps(line) + "\n" for line in [head, *lines[1:]]), path)

    def add_cell(self, cell: MeasuredCell) -> None:
        """Keep a cell."""
        self.cells.append(cell)
        self._append({"cell": asdict(cell)})

    def add_start(self, start: Start) -> None:
        """Keep a start."""
        self.starts.append(start)
        self._append({"start": asdict(start)})

    def has(self, place: Place, batch: int) -> bool:
        """Whether the cell was measured already."""
        asked = (place.stage.name, place.variant, place.cores, batch)
        return any((cell.stage, cell.variant, cell.cores, cell.batch) == asked for cell in self.cells)

    def _append(self, line: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _take(self, line: dict[str, Any]) -> None:
        try:
            if "cell" in line:
                self.cells.append(MeasuredCell(**line["cell"]))
            else:
                self.starts.append(Start(**line["start"]))
        except (KeyError, TypeError) as error:
            fix = "delete the file, and measure again"
            raise InputError("was not written by this version", file=self._path, fix=fix) from error


def _head(job: ProfilingJob) -> dict[str, Any]:
    """Everything that decides figures; cells may be added to a job, and its weights changed."""
    return {
        "machine": this_machine().model_dump(mode="json"),
        "measuring": job.measuring.model_dump(mode="json"),
        "targets": {stage.name: _target(stage) for stage in job.stages},
    }


def _target(stage: JobStage) -> dict[str, Any]:
    """What is measured, and where it runs if not on cores alone."""
    on = {} if stage.on_cores else {"resource": stage.resource}
    return stage.target.model_dump(mode="json") | on


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines; one that a kill cut short is left out."""
    if not exists(path):
        return []
    found = []
    for text in read_lines(path, _LONGEST_LINE, "delete the file, and measure again"):
        try:
            line = parse(text)
        except ValueError:
            line = None
        if not isinstance(line, dict):
            break
        found.append(line)
    return found


def _check_same(path: Path, kept: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise InputError, naming the first difference, unless both runs measure the same in the same way."""
    fix = "give another --out, or delete this file and measure again"
    for part, now in asked.items():
        before = kept.get(part)
        if not isinstance(before, dict):
            raise InputError("is not what ipa-rl profile writes", file=path, fix=fix)
        for name, value in now.items():
            is_new_stage = part == "targets" and name not in before
            if before.get(name) != value and not is_new_stage:
                then, is_now = (
                    shortened(one if isinstance(one, str) else json.dumps(one), 60)
                    for one in (before.get(name), value)
                )
                problem = f"was started with {then}, now it is {is_now}"
                raise InputError(problem, file=path, field=f"{part}.{name}", fix=fix)
