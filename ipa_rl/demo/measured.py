"""A turn that was served, read from its folder."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from ipa_rl.demo.cached_work import AGAIN
from ipa_rl.demo.controllers import decisions
from ipa_rl.demo.digits.load import SERVED
from ipa_rl.demo.outcomes import Outcomes
from ipa_rl.demo.replicas import Sample
from ipa_rl.demo.serving import REPLICAS, REQUESTS, RUN, Turn
from ipa_rl.documents import load_json
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.pipeline import Configuration, StageConfig

_CARRIED_OUT_S = 2.0
"""So long after a step what it ordered is seen."""


@dataclass(frozen=True)
class Measured:
    """``outcomes``: of the window. ``start``: what served when it began. ``configurations``: what was asked
    for after each step. ``planned_rps``: (steps,), NaN for the autoscaler. ``histories_rps``: the loads of
    every second that the controller saw at each step, none for the autoscaler. ``by``: steps by who decided.
    ``failed``, ``dropped``: requests.
    """

    outcomes: Outcomes
    start: Configuration
    configurations: tuple[Configuration, ...]
    planned_rps: FloatArray
    histories_rps: tuple[FloatArray, ...]
    by: dict[str, int]
    failed: int
    dropped: int


@dataclass(frozen=True)
class _Run:
    begin_s: float


def read_turn(definition: Definition, turn: Turn, seconds: int) -> Measured:
    """What came of a turn."""
    run = load_json(turn.folder / RUN, _Run, AGAIN)
    interval_s = definition.timing.interval_s
    steps = seconds // interval_s
    samples = _samples(turn, run.begin_s)
    rows = list(_rows(turn))
    outcome = np.array([row["outcome"] for row in rows])
    served = outcome == SERVED
    right = np.array([row["digit"] == row["label"] for row in rows], dtype=np.float64)
    latency_s = np.array([float(row["latency_s"]) for row in rows])
    stages = [stage.name for stage in definition.pipeline.stages]
    times = range(0, steps * interval_s, interval_s)
    cores = [_mean_sum(definition, samples, t, t + interval_s) for t in times]
    asked = tuple(_asked(samples, stages, t + _CARRIED_OUT_S) for t in times)
    outcomes = Outcomes(
        due_s=np.array([float(row["due_s"]) for row in rows]),
        latency_s=np.where(served, latency_s, np.nan),
        right=np.where(served, right, np.nan),
        cores=np.array(cores),
        batches=np.array([float(sum(one.batch for one in c.stages)) for c in asked]),
        replicas=np.array([[float(_at(samples, s, t + interval_s).ready) for s in stages] for t in times]),
    )
    decided = _decided(turn, run.begin_s, steps, interval_s)
    first = [_at(samples, stage, 0.0) for stage in stages]
    return Measured(
        outcomes=outcomes,
        start=Configuration(tuple(StageConfig(one.variant, one.batch, max(one.ready, 1)) for one in first)),
        configurations=asked,
        planned_rps=np.array([np.nan if one is None else one["planned_rps"] for one in decided], dtype=float),
        histories_rps=_histories(decided),
        by=dict(Counter(one["by"] for one in decided if one is not None)),
        failed=int((outcome == "failed").sum()),
        dropped=int((outcome == "dropped").sum()),
    )


def _rows(turn: Turn) -> Iterable[dict[str, str]]:
    with (turn.folder / REQUESTS).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _samples(turn: Turn, begin_s: float) -> list[Sample]:
    """With times from the window's begin."""
    with (turn.folder / REPLICAS).open(encoding="utf-8", newline="") as file:
        return [
            Sample(
                time_s=float(row["time_s"]) - begin_s,
                stage=row["stage"],
                variant=row["variant"],
                batch=int(row["batch"]),
                wanted=int(row["wanted"]),
                ready=int(row["ready"]),
                paid=int(row["paid"]),
            )
            for row in csv.DictReader(file)
        ]


def _at(samples: list[Sample], stage: str, time_s: float) -> Sample:
    """The last sample of a stage by then, or its first."""
    own = [one for one in samples if one.stage == stage]
    return next((one for one in reversed(own) if one.time_s <= time_s), own[0])


def _mean_sum(definition: Definition, samples: list[Sample], begin_s: float, end_s: float) -> float:
    """Mean cores in a stretch of time."""
    total = 0.0
    for stage in definition.pipeline.stages:
        own = [one for one in samples if one.stage == stage.name and begin_s <= one.time_s < end_s]
        own = own or [_at(samples, stage.name, begin_s)]
        total += float(np.mean([one.paid * stage.variant(one.variant).cores for one in own]))
    return total


def _asked(samples: list[Sample], stages: list[str], time_s: float) -> Configuration:
    found = [_at(samples, stage, time_s) for stage in stages]
    return Configuration(tuple(StageConfig(one.variant, one.batch, one.wanted) for one in found))


def _decided(turn: Turn, begin_s: float, steps: int, interval_s: int) -> list[dict[str, Any] | None]:
    """The entry of the decision log by step; None where there is none."""
    found: list[dict[str, Any] | None] = [None] * steps
    for entry in decisions(turn.folder):
        passed_s = datetime.fromisoformat(entry["time"]).timestamp() - begin_s
        k = int((passed_s + 0.5) // interval_s)  # the log's time is that of the step's end
        if 0 <= k < steps:
            found[k] = entry
    return found


def _histories(decided: Sequence[dict[str, Any] | None]) -> tuple[FloatArray, ...]:
    """By step; that of the step before where one is missing, or of the first."""
    known = next((one for one in decided if one is not None), None)
    if known is None:
        return ()
    found = []
    for entry in decided:
        known = known if entry is None else entry
        found.append(np.array(known["history_rps"], dtype=np.float64))
    return tuple(found)
