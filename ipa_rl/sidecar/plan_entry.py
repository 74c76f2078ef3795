"""What a planner expected and weighed: for the decision log, and in words for `ipa-rl explain` and the page.

The words are made here, so that the log says the same as whoever shows it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ipa_rl.agents.planner import Candidate, Plan
from ipa_rl.agents.protocol import Decision
from ipa_rl.objective import cost_cores
from ipa_rl.pipeline import Configuration, Pipeline, StageConfig

RUNNERS_UP = 3
FAN_POINTS = 6
FAN = {"low_rps": 0.1, "median_rps": 0.5, "high_rps": 0.9}
"""Quantiles of the load paths that are told."""

Present = Sequence[StageConfig | None]


def plan_entry(pipeline: Pipeline, decision: Decision, present: Present) -> dict[str, Any] | None:
    """The fan of loads, what was chosen, and the best of the others; None where no planner decided.

    ``present``: what each stage is asked for now, None where that is not known.
    """
    plan = decision.grounds
    if not isinstance(plan, Plan):
        return None
    best, *others = plan.candidates
    seen, runners_up = {best.configuration}, list[dict[str, Any]]()
    for one in others:
        if one.configuration not in seen and len(runners_up) < RUNNERS_UP:
            seen.add(one.configuration)
            runners_up.append(_runner_up(pipeline, one, best, present))
    return {
        "reference_rps": plan.reference_rps,
        "paths": best.paths,
        "utility": best.utility,
        "candidates": len(plan.candidates),
        "told": f"{_moves(pipeline, best.configuration, present)}; {_expected(best)}{_newness(plan)}",
        "fan": _fan(plan),
        "runners_up": runners_up,
    }


def _fan(plan: Plan) -> dict[str, list[float]]:
    """The mean loads of FAN_POINTS stretches of time, over all paths; ``until_s`` from now each lasts."""
    parts = np.array_split(np.arange(plan.paths_rps.shape[1]), min(FAN_POINTS, plan.paths_rps.shape[1]))
    means_rps = np.stack([plan.paths_rps[:, part].mean(axis=1) for part in parts])
    quantiles = {name: np.quantile(means_rps, level, axis=1).tolist() for name, level in FAN.items()}
    return {"until_s": [float((part[-1] + 1) * plan.step_s) for part in parts], **quantiles}


def _runner_up(pipeline: Pipeline, one: Candidate, best: Candidate, present: Present) -> dict[str, Any]:
    more_cores = cost_cores(pipeline, one.configuration) - cost_cores(pipeline, best.configuration)
    cores = f"{_counted(abs(more_cores), 'core')} {'more' if more_cores > 0 else 'fewer'}"
    error = "" if math.isnan(one.error) else f" ± {one.error:.2g}"
    dropped = f", dropped after {one.paths} of {best.paths} paths" if one.paths < best.paths else ""
    told = [
        _moves(pipeline, one.configuration, present),
        cores if more_cores else "as many cores",
        f"expected utility {abs(one.behind):.2g}{error} {'below' if one.behind >= 0 else 'above'}{dropped}",
    ]
    return {
        "configuration": [asdict(stage) for stage in one.configuration.stages],
        "more_cores": more_cores,
        "behind": one.behind,
        "error": one.error,
        "paths": one.paths,
        "told": "; ".join(told),
    }


def _expected(best: Candidate) -> str:
    return f"expected utility {best.utility:.4g} over {_counted(best.paths, 'path')}"


def _newness(plan: Plan) -> str:
    """What is done where the load does what it never did."""
    if not plan.is_new:
        return ""
    left_out = f"what carries less than {plan.least_rps:.3g} requests/s is left out"
    does = left_out if plan.least_rps else "no candidate carries it"
    return f"; the load is new: {does}, what can be spared counts, and so does a policy that met many such"


def _moves(pipeline: Pipeline, configuration: Configuration, present: Present) -> str:
    """What a configuration starts and stops.

    >>> from ipa_rl.profiles import load_pipeline
    >>> video, now = load_pipeline("video"), (StageConfig("yolov5n", 1, 2), StageConfig("resnet18", 1, 3))
    >>> after = Configuration((StageConfig("yolov5n", 1, 4), StageConfig("resnet34", 1, 2)))
    >>> _moves(video, after, now)
    'starts 2 replicas of yolov5n, changes classification to 2 replicas of resnet34'
    """
    told = []
    for stage, now, then in zip(pipeline.stages, present, configuration.stages, strict=True):
        replicas = f"{_counted(then.replicas, 'replica')} of {then.variant}"
        if now is None:
            told.append(f"asks for {replicas}")
            continue
        more = then.replicas - now.replicas
        if now.variant != then.variant:
            told.append(f"changes {stage.name} to {replicas}")
        elif more:
            told.append(
                f"{'starts' if more > 0 else 'stops'} {_counted(abs(more), 'replica')} of {then.variant}"
            )
        if now.batch != then.batch:
            told.append(f"sets the batch size of {stage.name} to {then.batch}")
    return ", ".join(told) or "leaves all as it is"


def _counted(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'' if count == 1 else 's'}"
