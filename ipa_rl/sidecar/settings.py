"""The YAML file of the sidecar, checked and turned into values."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ipa_rl import documents
from ipa_rl.documents import Count, NonNegative, Positive, StrictModel
from ipa_rl.environment.definition import Definition, load_definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file, is_folder
from ipa_rl.sidecar.fallbacks import Behaviour, Missing
from ipa_rl.sidecar.guard import Limits
from ipa_rl.sidecar.http_server import (
    DashboardModel,
    DashboardSettings,
    TelemetryModel,
    dashboard_settings,
)
from ipa_rl.sidecar.leader import Election
from ipa_rl.sidecar.promotion import Demotion, Promotion
from ipa_rl.sidecar.rollouts import Patience


class Mode(StrEnum):
    """Whether the agent acts, or is only compared."""

    act = "act"
    shadow = "shadow"


class GuardModel(StrictModel):
    """Limits of the guard; what is left out does not limit. See `ipa_rl.sidecar.guard.Limits`.

    ``least_capacity``: left out, the least that the agent ever gave in training. ``change_horizon_s``:
    seconds within which a change must pay (`ipa_rl.sidecar.change_payoff`), 0 for none; left out, by the
    start-up delays.
    """

    max_replicas: Count | None = None
    core_budget: Count | None = None
    step_replicas: Count | None = None
    step_cores: Count | None = None
    variant_interval_s: NonNegative = 0.0
    least_capacity: NonNegative | None = None
    change_horizon_s: NonNegative | None = None


class RolloutModel(StrictModel):
    """How long a change may take until it is given up. See `ipa_rl.sidecar.rollouts.Patience`."""

    start_ups: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 5.0
    least_s: NonNegative = 45.0
    back_off_s: NonNegative = 120.0
    most_back_off_s: NonNegative = 3600.0


class MissingModel(StrictModel):
    """What holds where loads are missing, in KEDA's words.

    What is there holds at once; after ``after_s`` the ``behaviour`` does. ``replicas``: one
    count for all stages, or one by stage.
    """

    after_s: NonNegative = 60.0
    behaviour: Behaviour = Behaviour.current
    replicas: Count | dict[str, Count] | None = None

    @model_validator(mode="after")
    def _check(self) -> MissingModel:
        if self.behaviour is not Behaviour.current and self.replicas is None:
            raise ValueError(f"{self.behaviour.value} needs replicas")
        return self


class ElectionModel(StrictModel):
    """The Lease. ``identity``: by default the name of the pod or the machine."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")] = "ipa-rl"
    namespace: str | None = None
    identity: str | None = None
    lease_s: Positive = 15.0
    renew_s: Positive = 10.0
    retry_s: Positive = 2.0

    @model_validator(mode="after")
    def _check(self) -> ElectionModel:
        if not self.lease_s > self.renew_s > self.retry_s:
            raise ValueError("lease_s must be longer than renew_s, and that longer than retry_s")
        return self


class LogModel(StrictModel):
    """The decision log: JSON lines, a new file at ``size_mb``, so many old ones kept."""

    path: Path
    size_mb: Positive = 10.0
    backups: Annotated[int, Field(ge=0, le=1000)] = 5


class PromotionModel(StrictModel):
    """When a shadowed agent takes over: utility better by ``by``, on average for ``for_s``."""

    by: NonNegative = 0.1
    for_s: Positive = 3600.0
    more_violations: NonNegative = 0.005


class DemotionModel(StrictModel):
    """When it hands back: a prediction off by more than its bound for ``for_s``, a share each."""

    load_error: Positive = 1.0
    capacity_error: Positive = 0.5
    latency_error: Positive = 1.0
    for_s: Positive = 300.0


class SidecarModel(StrictModel):
    """The file as a whole."""

    environment: str
    agent: str | None = None
    opponents: Path | None = None
    alpha: Positive | None = None
    beta: Positive | None = None
    cluster: str | dict[str, Any]
    kubeconfig: Path | None = None
    load: dict[str, Any] | None = None
    latency_query: str | None = None
    interval_s: Annotated[float, Field(gt=0, le=600)] | None = None
    clock_offset_s: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    mode: Mode = Mode.shadow
    guard: GuardModel = GuardModel()
    rollout: RolloutModel = RolloutModel()
    missing_metrics: MissingModel = MissingModel()
    leader_election: ElectionModel | Literal[False] = ElectionModel()
    telemetry: TelemetryModel | Literal[False] = TelemetryModel()
    dashboard: DashboardModel | Literal[False] = False
    decision_log: LogModel | None = None
    state: Path | None = None
    promotion: PromotionModel | None = None
    demotion: DemotionModel | None = None


@dataclass(frozen=True)
class LogSettings:
    """Where decisions are logged, and how much of that is kept."""

    path: Path
    size_bytes: int
    backups: int


@dataclass(frozen=True)
class SidecarSettings:
    """What the file says, checked.

    ``agent``: name or folder of the agent; ``opponents``: file of the tuned programs.
    ``cluster``: path of the description, or the description itself. ``load``: settings of the load source.
    ``latency_query``: PromQL of the measured 99th percentile, seconds.
    ``clock_offset_s``: added to the clock for the agent, whose hour is that of the loads it learned from.
    ``lease``: namespace (None: the pod's) and name. ``telemetry``: host and port. ``state``: a file that
    keeps what must survive a restart. ``patience``: with replicas that do not become ready.
    ``least_capacity``: replaces that of ``limits``. None: left out.
    """

    file: Path
    definition: Definition
    agent: str
    opponents: Path | None
    cluster: Path | Mapping[str, Any]
    kubeconfig: Path | None
    load: Mapping[str, Any] | None
    latency_query: str | None
    interval_s: float
    clock_offset_s: float
    mode: Mode
    limits: Limits
    patience: Patience
    least_capacity: float | None
    change_horizon_s: float | None
    missing: Missing
    lease: tuple[str | None, str] | None
    election: Election
    telemetry: tuple[str, int] | None
    dashboard: DashboardSettings | None
    log: LogSettings | None
    state: Path | None
    promotion: Promotion | None
    demotion: Demotion | None


def read_settings(path: Path, dashboard: bool = False) -> SidecarSettings:
    """Read and check the file; paths in it are relative to its folder. Raises InputError.

    ``dashboard``: it is wanted, even where the file does not ask for it.
    """
    model = documents.load(path, SidecarModel, see="docs/reference/sidecar.md")
    shown = model.dashboard or (DashboardModel() if dashboard else None)
    definition = _definition(path, model)
    _check_stages(path, model, definition)
    _check_budget(path, model, definition)
    election = model.leader_election or ElectionModel()
    return SidecarSettings(
        file=path,
        definition=definition,
        agent=_agent(path, model, definition),
        opponents=_beside(path, model.opponents) if model.opponents else None,
        cluster=_beside(path, model.cluster) if isinstance(model.cluster, str) else model.cluster,
        kubeconfig=_beside(path, model.kubeconfig) if model.kubeconfig else None,
        load=model.load,
        latency_query=model.latency_query,
        interval_s=model.interval_s or float(definition.timing.interval_s),
        clock_offset_s=model.clock_offset_s,
        mode=model.mode,
        limits=_limits(model.guard, definition),
        patience=Patience(**model.rollout.model_dump()),
        least_capacity=model.guard.least_capacity,
        change_horizon_s=model.guard.change_horizon_s,
        missing=_missing(model.missing_metrics, definition),
        lease=(election.namespace, election.name) if model.leader_election else None,
        election=Election(_identity(election), election.lease_s, election.renew_s, election.retry_s),
        telemetry=(model.telemetry.host, model.telemetry.port) if model.telemetry else None,
        dashboard=dashboard_settings(path, shown) if shown else None,
        log=_log(path, model.decision_log) if model.decision_log else None,
        state=_beside(path, model.state) if model.state else None,
        promotion=Promotion(**model.promotion.model_dump()) if model.promotion else None,
        demotion=Demotion(**model.demotion.model_dump()) if model.demotion else None,
    )


def _beside(path: Path, named: str | Path) -> Path:
    return path.parent / named


def _definition(path: Path, model: SidecarModel) -> Definition:
    beside = _beside(path, model.environment)
    definition = load_definition(beside if is_file(beside) else model.environment)
    if model.alpha is None and model.beta is None:
        return definition
    own = definition.weights
    return definition.preferring(model.alpha or own.alpha, model.beta or own.beta)


def _agent(path: Path, model: SidecarModel, definition: Definition) -> str:
    named = model.agent or definition.name
    beside = _beside(path, named)
    return str(beside) if is_folder(beside) else named


def _check_stages(path: Path, model: SidecarModel, definition: Definition) -> None:
    given = model.missing_metrics.replicas
    names = [stage.name for stage in definition.pipeline.stages]
    if isinstance(given, dict) and sorted(given) != sorted(names):
        raise InputError(
            f"names {', '.join(given)}",
            file=path,
            field="missing_metrics.replicas",
            fix=f"give one count for each of {', '.join(names)}",
        )


def _check_budget(path: Path, model: SidecarModel, definition: Definition) -> None:
    least = sum(min(variant.cores for variant in stage.variants) for stage in definition.pipeline.stages)
    budget = model.guard.core_budget
    if budget is not None and budget < least:
        problem = f"{budget} cores carry no configuration of {definition.name}"
        raise InputError(problem, file=path, field="guard.core_budget", fix=f"give {least} or more")


def _limits(model: GuardModel, definition: Definition) -> Limits:
    own = definition.problem.max_replicas
    values = model.model_dump(exclude={"least_capacity", "change_horizon_s"})
    return Limits(**values | {"max_replicas": min(model.max_replicas or own, own)})


def _missing(model: MissingModel, definition: Definition) -> Missing:
    names = [stage.name for stage in definition.pipeline.stages]
    given = model.replicas
    counts = tuple(given[name] for name in names) if isinstance(given, dict) else (given or 1,) * len(names)
    return Missing(model.after_s, model.behaviour, counts)


def _log(path: Path, model: LogModel) -> LogSettings:
    return LogSettings(_beside(path, model.path), round(model.size_mb * 1_000_000), model.backups)


def _identity(model: ElectionModel) -> str:
    return model.identity or os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
