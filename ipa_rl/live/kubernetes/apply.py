"""Carrying out a plan: one request a write, in order, each refusal reported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from ipa_rl.live.cluster import Applied, Change
from ipa_rl.live.kubernetes.api import Api, ApiError
from ipa_rl.live.kubernetes.changes import Plan, Write, held
from ipa_rl.live.kubernetes.description import StageObject
from ipa_rl.live.kubernetes.fields import applied_document
from ipa_rl.live.kubernetes.ownership import conflict
from ipa_rl.live.kubernetes.servers import Servers
from ipa_rl.pipeline import Configuration

TRIES = 5
"""How often a change is made anew of an object that another changed in between."""


@dataclass
class _Outcome:
    changes: list[Change] = field(default_factory=list)
    waiting: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def carry_out(api: Api, servers: Servers, plan: Plan, written: Callable[[Write], None]) -> Applied:
    """Write what a plan says; ``written`` is told of each write that was made.

    Raises ClusterError where the cluster stops answering; what was written stays.

    What of a stage comes after a refused write of the same stage is left: without the replicas that were to
    come first, new pods might serve less. It is tried again at the next step, which reads everything anew.
    """
    outcome = _Outcome(waiting=list(plan.waiting), refused=list(plan.refused))
    stopped: set[str] = set()
    scaled: dict[str, int] = {}
    kept: set[str] = set()
    for write in plan.writes:
        name = write.view.stage.stage.name
        if name in stopped:
            outcome.waiting += write.changes
            continue
        problem = _write(api, servers, write, name in scaled)
        if problem:
            stopped.add(name)
            kept |= set() if write.puts else {name}
            outcome.refused.append(f"{name}: {problem}")
        else:
            outcome.changes += write.changes
            written(write)
            if write.scale is not None:
                scaled[name] = write.scale
    applied = as_applied(plan, outcome.changes, outcome.waiting, outcome.refused)
    return replace(applied, configuration=_asked(plan, kept, scaled))


def _asked(plan: Plan, kept: Collection[str], scaled: Mapping[str, int]) -> Configuration:
    """What is asked for now: what it was, where the API server refused something; replicas as scaled."""
    stages = []
    for view, one in zip(plan.views, plan.configuration.stages, strict=True):
        name, before = view.stage.stage.name, held(view, one)
        stages.append(replace(before, replicas=scaled.get(name, before.replicas)) if name in kept else one)
    return Configuration(tuple(stages))


def foretold(plan: Plan) -> Applied:
    """What carrying out a plan would do, nothing written."""
    changes = [change for write in plan.writes for change in write.changes]
    return as_applied(plan, changes, list(plan.waiting), list(plan.refused))


def as_applied(plan: Plan, changes: list[Change], waiting: list[Change], refused: list[str]) -> Applied:
    """The answer to an apply."""
    return Applied(plan.configuration, tuple(changes), tuple(waiting), tuple(refused))


def difference(applied: Applied) -> str:
    """Changes as a diff to read: one block a stage, what waits and what is refused beneath.

    >>> from ipa_rl.pipeline import Configuration
    >>> print(difference(Applied(Configuration(()), (Change("detect", "replicas", "2", "3"),))))
    detect
    - replicas: 2
    + replicas: 3
    """
    lines: list[str] = []
    for stage in dict.fromkeys(change.stage for change in applied.changes):
        lines.append(stage)
        for change in (one for one in applied.changes if one.stage == stage):
            lines += [f"- {change.knob}: {change.before}", f"+ {change.knob}: {change.after}"]
    lines += [f"waits: {change}" for change in applied.waiting]
    lines += [f"refused: {line}" for line in applied.refused]
    return "\n".join(lines) or "nothing differs"


def _write(api: Api, servers: Servers, write: Write, scaled: bool) -> str:
    """Why a write was refused, empty where it was made; ``scaled``: what was read is old."""
    stage = write.view.stage
    try:
        if write.scale is not None:
            api.scale(stage.path, write.scale)
        elif write.puts:
            return next((p for put in write.puts if (p := servers.take(*put))), "")
        else:
            _apply_fields(api, write, scaled)
    except ApiError as error:
        return _refusal(stage, write, error)
    return ""


def _apply_fields(api: Api, write: Write, scaled: bool) -> None:
    stage, live = write.view.stage, write.view.live
    assert live is not None  # a stage without an object has no writes
    if scaled:
        live = api.get(stage.path)
    for left in reversed(range(TRIES)):
        body = applied_document(live, write.fields, stage.kind.keyed)
        try:
            api.apply(stage.path, body)
            return
        except ApiError as error:
            owned = any(cause.reason == "FieldManagerConflict" for cause in error.causes)
            if error.status != 409 or owned or not left:
                raise
        live = api.get(stage.path)


def _refusal(stage: StageObject, write: Write, error: ApiError) -> str:
    if error.status == 409:
        return conflict(stage, error)
    if error.status == 404:
        return f"{stage} is gone; done again once it is back"
    if error.status == 403:
        what = f"{stage.kind.resource}{'/scale' if write.scale is not None else ''}"
        return f"{stage} may not be changed; fix: allow the verb patch on {what} ({error.message})"
    return f"{stage} was not changed: {error}"
