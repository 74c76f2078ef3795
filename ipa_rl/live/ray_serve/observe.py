"""What Ray Serve shows of a stage, and the FLEET records that agents decide by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipa_rl.jit import Record, Records
from ipa_rl.live.cluster import StageSeen
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.live.ray_serve.settings import ServeStage
from ipa_rl.simulation.transitions import FLEET, start

OVERDUE_S = 1.0
"""Seconds left that are shown of a replica that should be ready by now."""

_STARTING = frozenset({"STARTING", "RECOVERING"})
_SERVING = frozenset({"RUNNING", "UPDATING", "PENDING_MIGRATION"})
_CHANGING = "UPDATING"
_LONGEST = 200
_FAILING = frozenset({"UNHEALTHY", "DEPLOY_FAILED"})


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage as it is now.

    ``desired``, ``variant``, ``batch``: what is asked for; None where that is not known to the profile.
    ``ready``: replicas that serve. ``started_s``: when each of the others began to start, seconds since 1970.
    ``unsure``: a new user_config is under way, or failed in part, so that nobody can say which replica serves
    what. ``died``: replicas that ended lately. ``problem``: why it cannot be driven; ``note``: what else Ray
    Serve says; ``message``: its words on what is under way.
    """

    stage: ServeStage
    desired: int
    variant: str | None
    batch: int | None
    ready: int
    started_s: tuple[float, ...]
    unsure: bool = False
    died: int = 0
    problem: str = ""
    note: str = ""
    message: str = ""

    def seen(self) -> StageSeen:
        """The same in the terms of the controller."""
        known = self.ready > 0 and not self.unsure
        return StageSeen(
            stage=self.stage.stage.name,
            desired=self.desired,
            current=self.ready + len(self.started_s),
            ready=self.ready,
            variant=self.variant if known else None,
            batch=self.batch if known else None,
            asked=(self.variant, self.batch),
            restarts=self.died,
            problem=self.problem,
            trouble=self.message,
        )


def view_stage(stage: ServeStage, application: Document) -> StageView:
    """A stage of an application's details."""
    details = application.get("deployments", {}).get(stage.deployment)
    if details is None:
        known = ", ".join(application.get("deployments", {})) or "none yet"
        problem = f"{stage} is not there (there are: {known}); fix: correct the name"
        return StageView(stage, 0, None, None, 0, (), problem=problem)
    asked = details["deployment_config"] | override(application, stage.deployment)
    config = asked.get("user_config") or {}
    replicas = details.get("replicas") or []
    starting = (one.get("start_time_s") or 0.0 for one in replicas if one["state"] in _STARTING)
    return StageView(
        stage=stage,
        desired=_count(asked.get("num_replicas"), details),
        variant=_variant(stage, config.get(stage.variant_key)),
        batch=_batch(stage, config.get(stage.batch_key)),
        ready=sum(one["state"] in _SERVING for one in replicas),
        started_s=tuple(sorted(float(one) for one in starting)),
        unsure=details["status"] in {_CHANGING, *_FAILING},
        died=len(details.get("recent_dead_replicas") or ()),
        problem=_problem(stage, asked, config),
        note=f"{stage}: {details.get('message', '')}" if details["status"] in _FAILING else "",
        message=" ".join(str(details.get("message") or "").split())[:_LONGEST],
    )


def is_changing(application: Document, stages: Iterable[ServeStage]) -> bool:
    """Whether a replica of one of the stages changes in place now."""
    own = (application["deployments"].get(stage.deployment) or {} for stage in stages)
    return any(one["state"] == _CHANGING for details in own for one in details.get("replicas") or ())


def override(application: Document, deployment: str) -> Document:
    """What the configuration file says of a deployment; empty where it leaves it to the code."""
    config = application.get("deployed_app_config") or {}
    return next((one for one in config.get("deployments") or () if one["name"] == deployment), {})


def fleet_of(views: Sequence[StageView], start_up_scale: float, now_s: float) -> Records:
    """FLEET records by stage; ``now_s``: seconds since 1970."""
    fleet = np.zeros(len(views), dtype=FLEET)
    for s, view in enumerate(views):
        _fill(fleet[s], view, start_up_scale, now_s)
    return fleet


def _fill(record: Record, view: StageView, scale: float, now_s: float) -> None:
    """One stage. Replicas change variant and batch size in place, so all of them serve what is asked for."""
    stage = view.stage.stage
    batches = stage.variants[0].batches
    name = view.variant or stage.variants[0].name
    record["active"] = record["target"] = stage.index(name)
    record["batch"] = record["target_batch"] = batches.index(view.batch or batches[0])
    record["ready"], record["wanted"] = min(view.ready, view.desired), view.desired
    delay_s = stage.variant(name).start_up_s * scale
    left = Counter(max(round(delay_s - max(now_s - began_s, 0.0)), OVERDUE_S) for began_s in view.started_s)
    missing = view.desired - view.ready - len(view.started_s)
    if missing > 0:
        left[max(delay_s, OVERDUE_S)] += missing
    for left_s, count in sorted(left.items()):
        start(record, count, left_s)


def _count(asked: Any, details: Document) -> int:
    return asked if isinstance(asked, int) else int(details.get("target_num_replicas") or 0)


def _variant(stage: ServeStage, name: Any) -> str | None:
    return name if name in [variant.name for variant in stage.stage.variants] else None


def _batch(stage: ServeStage, size: Any) -> int | None:
    return size if size in stage.stage.variants[0].batches else None


def _problem(stage: ServeStage, asked: Document, config: Any) -> str:
    """Why a stage cannot be driven, empty where it can."""
    if asked.get("autoscaling_config") or asked.get("num_replicas") == "auto":
        return (
            f"{stage} has an autoscaling_config: Ray Serve's autoscaler writes its replicas, and two writers "
            "would undo each other's work; fix: give num_replicas instead"
        )
    if not isinstance(config, dict) or not {stage.variant_key, stage.batch_key} <= config.keys():
        keys = f"{stage.variant_key} and {stage.batch_key}"
        return f"{stage} has no {keys} in its user_config; fix: add them, or name its keys"
    return ""
