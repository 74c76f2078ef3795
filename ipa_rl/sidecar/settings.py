"""The YAML file of the sidecar, checked and turned into values."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ipa_rl import documents
from ipa_rl.agents.opponents import PLANNER
from ipa_rl.agents.trained import why_unfit
from ipa_rl.documents import Beside, Count, NonNegative, Positive, StrictModel
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_beside
from ipa_rl.errors import InputError
from ipa_rl.files import is_folder
from ipa_rl.sidecar.dashboard_server import DashboardSettings, read_token
from ipa_rl.sidecar.fallbacks import MissingMetrics
from ipa_rl.sidecar.guard import Limits
from ipa_rl.sidecar.http_server import Port
from ipa_rl.sidecar.leader import Election
from ipa_rl.sidecar.promotion import Demotion, Promotion
from ipa_rl.sidecar.rollouts import Patience


class Mode(StrEnum):
    """Whether the agent acts, or is only compared."""

    act = "act"
    shadow = "shadow"


class GuardSettings(StrictModel):
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

    def limits(self, definition: Definition, trained_capacity: float) -> Limits:
        """What the guard holds to, within the environment's own limit of replicas.

        ``trained_capacity``: the least that the agent ever gave in training.
        """
        own, given = definition.problem.max_replicas, self.model_dump(exclude={"change_horizon_s"})
        least = trained_capacity if self.least_capacity is None else self.least_capacity
        return Limits(**given | {"max_replicas": min(self.max_replicas or own, own), "least_capacity": least})


class LogSettings(StrictModel):
    """The decision log: JSON lines, a new file at ``size_mb``, so many old ones kept."""

    path: Beside
    size_mb: Positive = 10.0
    backups: Annotated[int, Field(ge=0, le=1000)] = 5


class HistorySettings(StrictModel):
    """The loads seen: of the last ``days``, in a file where there is a ``path``."""

    path: Beside | None = None
    days: Annotated[float, Field(ge=1, le=60)] = 21.0


class TelemetrySettings(StrictModel):
    """Where /healthz, /readyz and /metrics are served; port 0 takes a free one."""

    host: str = "0.0.0.0"
    port: Port = 9404


class SidecarFile(StrictModel):
    """The file as a whole.

    ``environment``, ``agent``: shipped names, or paths; an agent may be "planner" or "program" too, and left
    out it is that of the environment's name where it fits, else the planner. ``opponents``: file of the tuned
    programs. ``cluster``: path of the description, or the description itself. ``load``: settings of the load
    source. ``latency_query``: PromQL of the measured 99th percentile, seconds. ``clock_offset_s``: added to
    the clock for the agent, whose hour is that of the loads it learned from. ``state``: a file that keeps
    what must survive a restart. ``load_history``: what is learned from; False: nothing is learned.
    """

    environment: str
    agent: str | None = None
    opponents: Beside | None = None
    alpha: Positive | None = None
    beta: Positive | None = None
    cluster: Beside | dict[str, Any]
    kubeconfig: Beside | None = None
    load: dict[str, Any] | None = None
    latency_query: str | None = None
    interval_s: Annotated[float, Field(gt=0, le=600)] | None = None
    clock_offset_s: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    mode: Mode = Mode.shadow
    guard: GuardSettings = GuardSettings()
    rollout: Patience = Patience()
    missing_metrics: MissingMetrics = MissingMetrics()
    leader_election: Election | Literal[False] = Field(default_factory=Election)
    telemetry: TelemetrySettings | Literal[False] = TelemetrySettings()
    dashboard: DashboardSettings | Literal[False] = False
    decision_log: LogSettings | None = None
    state: Beside | None = None
    load_history: HistorySettings | Literal[False] = HistorySettings()
    promotion: Promotion | None = None
    demotion: Demotion | None = None


class SidecarSettings(SidecarFile):
    """What the file says, its paths found, and what it refers to.

    ``file``: where it says so. ``definition``: its environment, by its preference. ``unfit``: why the planner
    decides though the file does not ask for it; empty where it does, or another agent decides. ``token``:
    what pressing a button of the dashboard takes; None: there are no buttons.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    file: Path
    definition: Definition
    agent: str
    unfit: str
    interval_s: float
    token: str | None = Field(repr=False)


def read_settings(path: Path, dashboard: bool = False) -> SidecarSettings:
    """Read and check the file; paths in it are relative to its folder. Raises InputError.

    ``dashboard``: it is wanted, even where the file does not ask for it.
    """
    said = documents.load(path, SidecarFile, see="docs/reference/sidecar.md")
    folder, definition = path.parent, _definition(path, said)
    _check(path, said, definition)
    agent, unfit = _agent(said, folder, definition)
    shown = said.dashboard or (dashboard and DashboardSettings())
    found: dict[str, Any] = {
        "file": path,
        "definition": definition,
        "agent": agent,
        "unfit": unfit,
        "interval_s": said.interval_s or float(definition.timing.interval_s),
        "dashboard": shown,
        "token": read_token(path, shown.token_file) if shown else None,
    }
    return SidecarSettings.model_construct(**{**dict(said), **found})


def _agent(said: SidecarFile, folder: Path, definition: Definition) -> tuple[str, str]:
    """Who decides, and where nobody was named and no agent fits, why it is the planner."""
    name = said.agent or definition.name
    agent = str(folder / name) if is_folder(folder / name) else name
    unfit = "" if said.agent else why_unfit(definition, agent)
    return (PLANNER, unfit) if unfit else (agent, "")


def _definition(path: Path, said: SidecarFile) -> Definition:
    definition = load_beside(path, said.environment)
    if said.alpha is None and said.beta is None:
        return definition
    own = definition.weights
    return definition.preferring(said.alpha or own.alpha, said.beta or own.beta)


def _check(path: Path, said: SidecarFile, definition: Definition) -> None:
    """What the file asks for must be of the environment's stages, and possible. Raises InputError."""
    given = said.missing_metrics.replicas
    names = [stage.name for stage in definition.pipeline.stages]
    if isinstance(given, dict) and sorted(given) != sorted(names):
        problem, fix = f"names {', '.join(given)}", f"give one count for each of {', '.join(names)}"
        raise InputError(problem, file=path, field="missing_metrics.replicas", fix=fix)
    least = sum(min(variant.cost_cores for variant in stage.variants) for stage in definition.pipeline.stages)
    budget = said.guard.core_budget
    if budget is not None and budget < least:
        problem = f"{budget} cores are too few for {definition.name}"
        raise InputError(problem, file=path, field="guard.core_budget", fix=f"give {least:g} or more")
