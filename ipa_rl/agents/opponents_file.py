"""``opponents.json``: opponents at their best, and the pipeline and workload that they were tuned on.

On another pipeline or another load their margins mean nothing: whoever reads the file for such an environment
is told that nobody tuned opponents for it.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ipa_rl.agents.opponents import (
    FA2_HIGH,
    FA2_LOW,
    HPA,
    LOOK_AHEAD,
    PLANNER,
    PLANNING,
    STATIC,
    Opponent,
    are_tuned,
)
from ipa_rl.border import MOST_RPS
from ipa_rl.documents import check_json, read_json
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError, quoted
from ipa_rl.files import is_file
from ipa_rl.pipeline import CORES
from ipa_rl.result_files import write_json

_FIX = "tune again: ipa-rl tune ENV --replace"


@dataclass(frozen=True)
class TunedOn:
    """What opponents were tuned on; ``fingerprint``: of pipeline, limits, weights and the workload."""

    pipeline: str
    workload: str
    fingerprint: str

    def __str__(self) -> str:
        """In words."""
        return f"pipeline {self.pipeline} under workload {self.workload}"


@dataclass(frozen=True)
class _File:
    """The file."""

    opponents: list[Opponent]
    tuned_on: TunedOn


def tuned_on(definition: Definition) -> TunedOn:
    """What opponents that are tuned in an environment are tuned on, its preference aside."""
    workload = definition.workload
    times = "" if workload.scale == 1 else f" x {workload.scale:g}"
    digest = hashlib.sha256(repr(_facts(definition)).encode())
    digest.update(workload.part("train").tobytes())
    digest.update(workload.part("validation").tobytes())
    return TunedOn(definition.pipeline.name, f"{workload.name}{times}", digest.hexdigest()[:16])


def _facts(definition: Definition) -> list[object]:
    """What decides who is best; to four digits, as fits differ in the tenth on other machines."""
    problem, workload = definition.problem, definition.workload
    served = [
        (stage.name, one.name, one.units, _rounded(one.accuracy, one.start_up_s, *one.latency_mean_s))
        for stage in definition.pipeline.stages
        for one in stage.variants
    ]
    weights = definition.weights
    ratio = weights.alpha / weights.beta if weights.beta > 0 else math.inf
    own, timing = ratio * math.exp(-definition.preference), definition.timing
    limits = (problem.sla_s, timing.drop_limit_s, timing.batch_timeout_s, timing.start_up_scale)
    whole = (problem.max_replicas, timing.interval_s, weights.normalize_accuracy)
    facts: list[object] = [served, whole, _rounded(own, weights.delta, workload.scale, *limits)]
    # Only where there is more than cores: files of pipelines on cores alone stay valid.
    placed = [
        (stage.name, one.name, one.resource, _rounded(one.price))
        for stage in definition.pipeline.stages
        for one in stage.variants
        if one.resource != CORES or one.price != 1
    ]
    facts += [placed, problem.limits] if placed or problem.limits else []
    return [*facts, definition.pipeline.accuracies] if definition.pipeline.accuracies else facts


def _rounded(*values: float) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def write_opponents(opponents: Sequence[Opponent], definition: Definition, path: Path) -> None:
    """Keep them as JSON, with what they were tuned on."""
    write_json(asdict(_File(list(opponents), tuned_on(definition))), path)


def read_opponents(path: Path) -> list[Opponent]:
    """Opponents tuned before, whatever on. Raises InputError where the file is broken."""
    return _read(path).opponents


def why_untuned(path: Path, definition: Definition) -> str:
    """In words, why a file holds no opponents tuned for an environment; empty where it does."""
    if not is_file(path):
        return "nobody tuned them"
    file = _read(path)
    if not are_tuned(file.opponents):
        return "not all of them were measured on the validation part"
    mine = tuned_on(definition)
    if file.tuned_on == mine:
        return ""
    if str(file.tuned_on) == str(mine):
        return f"{mine} has changed since they were tuned"
    return f"they were tuned on {file.tuned_on}, not on {mine}"


def read_tuned(path: Path, definition: Definition) -> list[Opponent]:
    """Opponents that something is chosen by. Raises InputError also where nobody tuned them for it."""
    reason = why_untuned(path, definition)
    if reason:
        fix = f"ipa-rl tune ENV --out {shlex.quote(str(path))}"
        raise InputError(f"holds no opponents to choose by: {reason}", file=path, fix=fix)
    return read_opponents(path)


def _read(path: Path) -> _File:
    """The file. Raises InputError where it is broken."""
    found = check_json(read_json(path, _FIX), _File, path, _FIX)
    for k, one in enumerate(found.opponents):
        problem = _problem(one)
        if problem:
            raise InputError(problem, file=path, field=f"opponents.{k}", fix=_FIX)
    return found


_OPTIONS: Mapping[str, set[str]] = {LOOK_AHEAD: {"pays_within_s"}, HPA: {"target", "stabilisation_s"}}


def _problem(one: Opponent) -> str:
    """Why an opponent cannot be built; empty where it can."""
    if one.system not in (*PLANNING, LOOK_AHEAD, PLANNER, HPA, STATIC):
        return f"{quoted(one.system)} is not a system"
    if set(one.options) != _OPTIONS.get(one.system, set()):
        return f"has other options than {one.system} takes"
    for name, value in one.options.items():
        if not (0 < value < math.inf or (value == 0 and name == "stabilisation_s")):
            return f"{name} is {value:g}, out of range"
    if one.system == HPA and one.variants not in (FA2_LOW, FA2_HIGH):
        return f"variants is {quoted(one.variants)}; {HPA} runs {FA2_LOW} or {FA2_HIGH}"
    if one.system == STATIC and not 0 < one.load_rps <= MOST_RPS:
        return f"load_rps is {one.load_rps:g}, not a load"
    return ""
