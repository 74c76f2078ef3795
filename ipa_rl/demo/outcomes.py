"""What came of a window, measured or predicted, in the same terms, and the figures that follow from it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from ipa_rl.demo.application import Sample
from ipa_rl.demo.cached_work import AGAIN
from ipa_rl.demo.controllers import decisions
from ipa_rl.demo.digits.load import DROPPED, FAILED, SERVED
from ipa_rl.demo.serving import REPLICAS, REQUESTS, RUN, Turn
from ipa_rl.documents import read_json
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.objective import utility
from ipa_rl.pipeline import Configuration, Stage, StageConfig

SHOWN = ("utility", "pas_x100", "cores", "violated_pct", "mean_s", "p99_s")
"""The figures that every table shows."""

_CARRIED_OUT_S = 2.0
"""So long after a step what it ordered is seen."""

_SAMPLES = TypeAdapter(list[Sample])


@dataclass(frozen=True)
class Outcomes:
    """Requests (requests,) that were due in the window, and what served them by interval (steps,).

    ``due_s``: since the window's begin. ``latency_s``: NaN where a request was not served. ``right``: the
    share of right answers that it stands for: measured 0 or 1 by its label, predicted the product of the
    accuracies of the variants that served it; NaN where it was not served. ``cores``: mean, starting replicas
    included. ``batches``: mean sum of batch sizes. ``replicas``: (steps, stages) that serve at the end.
    """

    due_s: FloatArray
    latency_s: FloatArray
    right: FloatArray
    cores: FloatArray
    batches: FloatArray
    replicas: FloatArray

    def served(self) -> NDArray[np.bool_]:
        """Which were served, (requests,)."""
        return ~np.isnan(self.latency_s)


def figures(definition: Definition, outcomes: Outcomes) -> dict[str, float]:
    """Utility, PAS x 100, cores, violations in percent, latencies of served requests (NaN without any)."""
    served = outcomes.served()
    latency_s = outcomes.latency_s[served] if served.any() else np.array([np.nan])
    accuracy = float(outcomes.right[served].mean()) if served.any() else float("nan")
    in_time = outcomes.latency_s <= definition.problem.sla_s
    violations = float((~in_time).mean()) if len(served) else 0.0
    cores, batches = float(outcomes.cores.mean()), float(outcomes.batches.mean())
    return {
        "utility": utility(definition.weights, accuracy, cores, batches, violations),
        "pas_x100": 100.0 * accuracy,
        "cores": cores,
        "violated_pct": 100.0 * violations,
        "mean_s": float(latency_s.mean()),
        "p50_s": float(np.quantile(latency_s, 0.5)),
        "p99_s": float(np.quantile(latency_s, 0.99)),
        "requests": float(len(served)),
        "served": float(served.sum()),
    }


def by_interval(definition: Definition, outcomes: Outcomes) -> Mapping[str, FloatArray]:
    """Mean and p99 latency, PAS x 100 and violated share of the requests due in each interval, (steps,)."""
    interval_s, steps = definition.timing.interval_s, len(outcomes.cores)
    step = (outcomes.due_s // interval_s).astype(np.int64)
    found = {name: np.full(steps, np.nan) for name in ("mean_s", "p99_s", "pas_x100", "violated_pct")}
    for k in range(steps):
        own = step == k
        if own.any():
            part = replace(outcomes, latency_s=outcomes.latency_s[own], right=outcomes.right[own])
            of_part = figures(definition, part)
            for name, values in found.items():
                values[k] = of_part[name]
    return found


# A turn that was served, read from its folder


@dataclass(frozen=True)
class ServedTurn:
    """``outcomes``: of the window; ``figures``: of these. ``start``: what served when it began.
    ``configurations``: what was asked for after each step. ``planned_rps``: (steps,), NaN for the autoscaler.
    ``histories_rps``: the loads of every second that the controller saw at each step, none for the
    autoscaler. ``by``: steps by who decided. ``failed``, ``dropped``: requests.
    """

    turn: Turn
    outcomes: Outcomes
    figures: dict[str, float]
    start: Configuration
    configurations: tuple[Configuration, ...]
    planned_rps: FloatArray
    histories_rps: tuple[FloatArray, ...]
    by: dict[str, int]
    failed: int
    dropped: int

    def row(self) -> list[str]:
        """As a view shows it."""
        return [self.turn.controller.value, *(f"{self.figures[name]:.2f}" for name in SHOWN)]


def read_turn(definition: Definition, turn: Turn, seconds: int) -> ServedTurn:
    """What came of a turn. Raises InputError where its folder is broken."""
    begin_s = float(read_json(turn.folder / RUN, AGAIN)["begin_s"])
    rows = _read_csv(turn, REQUESTS)
    outcome = np.array([row["outcome"] for row in rows])
    served = outcome == SERVED
    right = np.array([row["digit"] == row["label"] for row in rows], dtype=np.float64)
    latency_s = np.array([float(row["latency_s"]) for row in rows])
    samples = _SAMPLES.validate_python(_read_csv(turn, REPLICAS))
    stages, interval_s = definition.pipeline.stages, definition.timing.interval_s
    own = [
        [replace(one, time_s=one.time_s - begin_s) for one in samples if one.stage == stage.name]
        for stage in stages
    ]
    times = range(0, seconds // interval_s * interval_s, interval_s)
    seen = [[_at(each, t + _CARRIED_OUT_S) for each in own] for t in times]
    configurations = tuple(
        Configuration(tuple(StageConfig(one.variant, one.batch, one.wanted) for one in each)) for each in seen
    )
    outcomes = Outcomes(
        due_s=np.array([float(row["due_s"]) for row in rows]),
        latency_s=np.where(served, latency_s, np.nan),
        right=np.where(served, right, np.nan),
        cores=np.array(
            [
                sum(_mean_cores(*one, t, t + interval_s) for one in zip(stages, own, strict=True))
                for t in times
            ]
        ),
        batches=np.array([float(sum(one.batch for one in each)) for each in seen]),
        replicas=np.array([[float(_at(each, t + interval_s).ready) for each in own] for t in times]),
    )
    decided = _decided(turn, begin_s, len(times), interval_s)
    first = [_at(each, 0.0) for each in own]
    return ServedTurn(
        turn=turn,
        outcomes=outcomes,
        figures=figures(definition, outcomes),
        start=Configuration(tuple(StageConfig(one.variant, one.batch, max(one.ready, 1)) for one in first)),
        configurations=configurations,
        planned_rps=np.array([np.nan if one is None else one["planned_rps"] for one in decided], dtype=float),
        histories_rps=_histories(decided),
        by=dict(Counter(one["by"] for one in decided if one is not None)),
        failed=int((outcome == FAILED).sum()),
        dropped=int((outcome == DROPPED).sum()),
    )


def _read_csv(turn: Turn, name: str) -> list[dict[str, str]]:
    with (turn.folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _at(own: list[Sample], time_s: float) -> Sample:
    """The last sample of a stage by then, or its first."""
    return next((one for one in reversed(own) if one.time_s <= time_s), own[0])


def _mean_cores(stage: Stage, own: list[Sample], begin_s: float, end_s: float) -> float:
    """Of a stage in a stretch of time."""
    within = [one for one in own if begin_s <= one.time_s < end_s] or [_at(own, begin_s)]
    return float(np.mean([one.paid * stage.variant(one.variant).cost_cores for one in within]))


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
