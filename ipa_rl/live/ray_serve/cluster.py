"""A pipeline on Ray Serve behind the seam of live clusters: how its deployments are seen and changed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ipa_rl.agents.protocol import State
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, Records
from ipa_rl.live.cluster import (
    Applied,
    Change,
    ClusterError,
    LoadSource,
    Seen,
    StageSeen,
    changed_knobs,
    enter_starting,
)
from ipa_rl.live.ray_serve.api import Document, ServeApi
from ipa_rl.live.ray_serve.placements import actor_options, option_changes
from ipa_rl.live.ray_serve.settings import ServeSettings, ServeStage
from ipa_rl.pipeline import CORES, Configuration, StageConfig, Variant
from ipa_rl.simulation.transitions import FLEET

_STARTING = frozenset({"STARTING", "RECOVERING"})
_SERVING = frozenset({"RUNNING", "UPDATING", "PENDING_MIGRATION"})
_CHANGING = "UPDATING"
_STOPPING = "STOPPING"
_FAILING = frozenset({"UNHEALTHY", "DEPLOY_FAILED"})
_BUSY = frozenset({"DELETING", "NOT_STARTED"})
_LONGEST_MESSAGE = 200
_CHANGES_WITHIN_S, _POLL_S = 1.0, 0.1
_OF_INSTANCE = ("proxy_location", "target_capacity")


@dataclass
class RayServeCluster:
    """Reads everything again at every call and remembers nothing.

    ``queue``: requests that wait by stage, None where that is not known now; zeros are shown then.
    ``clock_offset_s``: what is added to the seconds since 1970 for agents, whose hour is that of the loads
    they learned from.
    """

    definition: Definition
    settings: ServeSettings
    loads: LoadSource
    queue: Callable[[], FloatArray | None] = lambda: None
    clock_offset_s: float = 0.0

    def __post_init__(self) -> None:
        self.api = ServeApi(self.settings.address, self.settings.token_file, self.settings.timeout_s)
        self._stages = self.settings.of(self.definition.pipeline)

    def look(self) -> Seen:
        """What is seen now. Raises ClusterError where the cluster does not answer."""
        views = self._views(self.api.applications())
        now_s, loads, queued = time.time(), self.loads.loads(self.definition.history_s), self.queue()
        state = State(
            history_rps=loads.history_rps,
            fleet=fleet_of(views, self.definition.timing.start_up_scale, now_s),
            queued=np.zeros(len(views)) if queued is None else queued,
            stale=loads.stale,
            clock_s=self.definition.workload.clock_at(now_s + self.clock_offset_s),
        )
        lines = [line for view in views for line in (view.seen.problem, view.note) if line]
        stages = tuple(view.seen for view in views)
        return Seen(state, loads, stages, problems=tuple(lines), queues_known=queued is not None)

    def apply(self, configuration: Configuration) -> Applied:
        """Move towards a configuration. Raises ClusterError where the cluster does not answer.

        Ray Serve changes replicas in place only once those that are to go are gone, and these serve, or
        start, until then. So a stage that changes and shrinks takes two writes: it changes first. Where other
        replicas are started instead, fewer of them wait for a later call, when those serve.

        Ray Serve has no way to write only if nobody else has written since. Of two writes in the same moment
        one is lost; if it is ours, the next step writes it again.
        """
        instance = self.api.applications()
        applied, wanted = self._plan(instance, configuration)
        if not wanted:
            return applied
        name = self.settings.application
        first = changed_before_shrinking(self._views(instance), wanted)
        if first != wanted:
            self.api.deploy(edited(instance, name, first))
            instance = self._once_changed([stage for stage in first if first[stage] != wanted[stage]])
        self.api.deploy(edited(instance, name, wanted))
        return applied

    def plan(self, configuration: Configuration) -> Applied:
        """What `apply` would do, nothing written (dry run)."""
        return self._plan(self.api.applications(), configuration)[0]

    def close(self) -> None:
        """Close the connection."""
        self.api.close()

    def _once_changed(self, stages: Sequence[ServeStage]) -> Document:
        """The instance when replicas were seen to change and none does, or after _CHANGES_WITHIN_S."""
        end_s, seen = time.monotonic() + _CHANGES_WITHIN_S, False
        while True:
            instance = self.api.applications()
            changing = is_changing(self._application(instance), stages)
            if (seen and not changing) or time.monotonic() >= end_s:
                return instance
            seen = seen or changing
            time.sleep(_POLL_S)

    def _views(self, instance: Document) -> list[DeploymentView]:
        application = self._application(instance)
        return [view_stage(stage, application) for stage in self._stages]

    def _application(self, instance: Document) -> Document:
        name = self.settings.application
        found: Document | None = instance["applications"].get(name)
        if found is None:
            known = ", ".join(instance["applications"]) or "none"
            fix = "deploy it, or correct its name"
            raise ClusterError(f"no application {name} (there are: {known}); fix: {fix}")
        return found

    def _plan(
        self, instance: Document, configuration: Configuration
    ) -> tuple[Applied, dict[ServeStage, StageConfig]]:
        """What changes and what is refused, and the stages to write."""
        locked = _locked(self._application(instance), self.settings.application)
        asked: list[StageConfig] = []
        changes: list[Change] = []
        waiting: list[Change] = []
        refused: list[str] = []
        writes: dict[ServeStage, StageConfig] = {}
        for view, one in zip(self._views(instance), configuration.stages, strict=True):
            seen, limit = view.seen, self.definition.problem.max_replicas
            within = replace(one, replicas=min(max(one.replicas, 1), limit))
            moves = _moves(view, within.variant)
            own = changed_knobs(seen.stage, seen.asked, seen.desired, within) + moves
            if reason := seen.problem or (locked if own else "") or (_loses_capacity(view) if moves else ""):
                refused.append(f"{seen.stage}: {reason}")
                variant, batch = seen.asked
                within = StageConfig(variant or one.variant, batch or one.batch, max(seen.desired, 1))
                own = []
            written = within
            if own and within.replicas < seen.desired and (moves or view.is_moving):
                waiting += [one for one in own if one.knob == "replicas"]
                own = [one for one in own if one.knob != "replicas"]
                written = replace(within, replicas=seen.desired)
            if own:
                changes += own
                writes[view.stage] = written
            asked.append(within)
        whole = Configuration(tuple(asked))
        return Applied(whole, tuple(changes), waiting=tuple(waiting), refused=tuple(refused)), writes


def _locked(application: Document, name: str) -> str:
    """Why an application cannot be changed, empty where it can."""
    if application["status"] in _BUSY:
        return f"application {name} is {application['status']}"
    if application.get("deployed_app_config") is None:
        return (
            f"application {name} was deployed from Python and has no configuration to change; fix: deploy it "
            "from a file (serve build, then serve deploy or serve run FILE)"
        )
    return ""


def _moves(view: DeploymentView, variant: str) -> list[Change]:
    """What changes of ray_actor_options with a variant."""
    stage = view.stage
    found = option_changes(stage.placements, stage.stage.variant(variant), view.actor_options)
    changes = []
    for option, pair in found.items():
        before, after = ("unset" if one is None else f"{one:g}" for one in pair)
        changes.append(Change(stage.stage.name, option[-1], before, after))
    return changes


def _loses_capacity(view: DeploymentView) -> str:
    """Why other replicas would not start before those that serve stop; empty where they do."""
    if view.max_surge_percent > 0:
        return ""
    fix = "give the deployment max_surge_percent: 100"
    return f"Ray Serve stops replicas of {view.stage} before those with other resources serve; fix: {fix}"


# What is seen


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One stage as it is now.

    ``started_s``: when each of the replicas that do not serve yet began to start, seconds since 1970.
    ``note``: what else Ray Serve says, empty where it says nothing. ``actor_options``: what is asked of Ray
    for a replica. ``max_surge_percent``: how many more may start before others stop. ``is_moving``: whether
    other replicas may be starting in the place of those that serve.
    """

    stage: ServeStage
    seen: StageSeen
    started_s: tuple[float, ...] = ()
    note: str = ""
    actor_options: Document = field(default_factory=dict)
    max_surge_percent: int = 0
    is_moving: bool = False


def view_stage(stage: ServeStage, application: Document) -> DeploymentView:
    """A stage of an application's details.

    Nobody can say which replica serves what while a new user_config is under way, or where it failed in part.
    """
    details, name = application.get("deployments", {}).get(stage.deployment), stage.stage.name
    if details is None:
        known = ", ".join(application.get("deployments", {})) or "none yet"
        problem = f"{stage} is not there (there are: {known}); fix: correct the name"
        return DeploymentView(stage, StageSeen(name, 0, 0, 0, None, None, (None, None), problem=problem))
    asked = _asked(application, stage)
    config = asked.get("user_config")
    keys = config if isinstance(config, dict) else {}
    given, size = keys.get(stage.model.variant_key), keys.get(stage.model.batch_key)
    variant = given if given in [one.name for one in stage.stage.variants] else None
    batch = size if size in stage.stage.variants[0].batches else None
    count = asked.get("num_replicas")
    replicas = details.get("replicas") or []
    ready = sum(one["state"] in _SERVING for one in replicas)
    starting = (one.get("start_time_s") or 0.0 for one in replicas if one["state"] in _STARTING)
    started_s = tuple(sorted(float(one) for one in starting))
    changing = details["status"] == _CHANGING
    running = details["deployment_config"].get("ray_actor_options") or {}
    # Just after a write Ray Serve still tells of the state before it.
    behind = variant and option_changes(stage.placements, stage.stage.variant(variant), running)
    desired = count if isinstance(count, int) else int(details.get("target_num_replicas") or 0)
    # Those that are beyond what is asked for end soon; Ray Serve does not say what ending ones served.
    stopping = sum(one["state"] == _STOPPING for one in replicas)
    beyond, first = stopping + max(ready - desired, 0), stage.stage.variants[0].name
    ending = [(variant or first, beyond)] if beyond else []
    is_moving = bool(stage.restarts and (changing or behind))
    if is_moving and ready + stopping:  # nor which of them are of before, and so hold what other variants do
        ending += [(one.name, ready + stopping) for one in _larger_elsewhere(stage, variant or first)]
    sure = ready > 0 and not changing and not behind and details["status"] not in _FAILING
    seen = StageSeen(
        stage=name,
        desired=desired,
        current=ready + len(started_s),
        ready=ready,
        variant=variant if sure else None,
        batch=batch if sure else None,
        asked=(variant, batch),
        restarts=len(details.get("recent_dead_replicas") or ()),
        problem=_problem(stage, asked, keys),
        trouble=" ".join(str(details.get("message") or "").split())[:_LONGEST_MESSAGE],
        ending=tuple(ending),
    )
    note = f"{stage}: {details.get('message', '')}" if details["status"] in _FAILING else ""
    return DeploymentView(
        stage,
        seen,
        started_s,
        note,
        actor_options=asked.get("ray_actor_options") or {},
        max_surge_percent=asked.get("max_surge_percent") or 0,
        is_moving=is_moving,
    )


def _larger_elsewhere(stage: ServeStage, name: str) -> list[Variant]:
    """Of each resource the variant of the most units; of its own where that is more than it takes."""
    asked, most = stage.stage.variant(name), dict[str, Variant]()
    for one in stage.stage.variants:
        if one.resource not in most or one.units > most[one.resource].units:
            most[one.resource] = one
    return [one for one in most.values() if one.resource != asked.resource or one.units > asked.units]


def _asked(application: Document, stage: ServeStage) -> Document:
    """What is asked of a deployment: what the configuration file says comes before what the code says."""
    live: Document = application["deployments"][stage.deployment]["deployment_config"]
    config = application.get("deployed_app_config") or {}
    own = (one for one in config.get("deployments") or () if one["name"] == stage.deployment)
    return live | next(own, {})


def _problem(stage: ServeStage, asked: Document, user_config: Document) -> str:
    """Why a stage cannot be driven, empty where it can."""
    if asked.get("autoscaling_config") or asked.get("num_replicas") == "auto":
        return (
            f"{stage} has an autoscaling_config: Ray Serve's autoscaler writes its replicas, and two writers "
            "would undo each other's work; fix: give num_replicas instead"
        )
    keys = (stage.model.variant_key, stage.model.batch_key)
    if not set(keys) <= user_config.keys():
        return f"{stage} has no {' and '.join(keys)} in its user_config; fix: add them, or name its keys"
    return ""


def is_changing(application: Document, stages: Iterable[ServeStage]) -> bool:
    """Whether a replica of one of the stages changes in place now."""
    own = (application["deployments"].get(stage.deployment) or {} for stage in stages)
    return any(one["state"] == _CHANGING for details in own for one in details.get("replicas") or ())


def fleet_of(views: Sequence[DeploymentView], start_up_scale: float, now_s: float) -> Records:
    """FLEET records by stage; ``now_s``: seconds since 1970.

    All of a stage are taken to serve what is asked for: most changes are in place, and Ray Serve does not say
    which replica is one of before.
    """
    fleet = np.zeros(len(views), dtype=FLEET)
    for record, view in zip(fleet, views, strict=True):
        stage, seen, (variant, batch) = view.stage.stage, view.seen, view.seen.asked
        batches, name = stage.variants[0].batches, variant or stage.variants[0].name
        record["active"] = record["target"] = stage.index(name)
        record["batch"] = record["target_batch"] = batches.index(batch or batches[0])
        record["ready"], record["wanted"] = min(seen.ready, seen.desired), seen.desired
        missing = seen.desired - seen.current
        delay_s = stage.variant(name).start_up_s * start_up_scale
        enter_starting(record, view.started_s, missing, delay_s, now_s)
    return fleet


# What is written


def changed_before_shrinking(
    views: Iterable[DeploymentView], wanted: Mapping[ServeStage, StageConfig]
) -> dict[ServeStage, StageConfig]:
    """The same, with the replicas that are there in stages that change in place and shrink."""
    found = dict(wanted)
    for view in views:
        one = wanted.get(view.stage)
        if one is not None and (one.variant, one.batch) != view.seen.asked:
            found[view.stage] = replace(one, replicas=max(one.replicas, view.seen.desired))
    return found


def edited(instance: Document, application: str, wanted: Mapping[ServeStage, StageConfig]) -> Document:
    """The configuration of the whole Serve instance with some deployments of an application changed.

    All other applications stay as they were deployed: Ray Serve deletes one that is left out.
    """
    applications = []
    for details in instance["applications"].values():
        config = details.get("deployed_app_config")
        if config is None:
            continue  # made by Python (serve.run); configuration files do not touch it
        if details["name"] == application:
            config = copy.deepcopy(config)
            for stage, one in wanted.items():
                _edit(config, _asked(details, stage), stage, one)
        applications.append(config)
    whole: Document = {key: instance[key] for key in _OF_INSTANCE if instance.get(key) is not None}
    http = instance.get("http_options") or {}
    options = {key: http[key] for key in ("host", "port") if http.get(key) is not None}
    return whole | {"http_options": options, "applications": applications}


def _edit(config: Document, present: Document, stage: ServeStage, wanted: StageConfig) -> None:
    """Change one deployment in an application's configuration; ``present``: what is asked of it now."""
    deployments = config.setdefault("deployments", [])
    own = next((one for one in deployments if one["name"] == stage.deployment), None)
    if own is None:
        own = {"name": stage.deployment}
        deployments.append(own)
    keys, variant = stage.model, stage.stage.variant(wanted.variant)
    user_config = present.get("user_config") or {}
    user_config = {**user_config, keys.variant_key: wanted.variant, keys.batch_key: wanted.batch}
    if keys.cores_key is not None:
        user_config.pop(keys.cores_key, None)
        user_config |= {keys.cores_key: variant.units} if variant.resource == CORES else {}
    options = present.get("ray_actor_options") or {}
    if (changed := actor_options(stage.placements, variant, options)) != options:
        own["ray_actor_options"] = changed
    own["num_replicas"], own["user_config"] = wanted.replicas, user_config
    if keys.ongoing_batches is not None:
        own["max_ongoing_requests"] = keys.ongoing_batches * wanted.batch
