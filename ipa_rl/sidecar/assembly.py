"""The sidecar that the settings describe, put together from its parts."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipa_rl
from ipa_rl.agents.meters import meters_of
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent
from ipa_rl.agents.trained import least_capacity, load_agents, program_behind
from ipa_rl.documents import check
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.live.cluster import LiveCluster, LoadSource
from ipa_rl.live.deadlines import Deadline
from ipa_rl.live.prometheus import PrometheusLoads
from ipa_rl.live.prometheus_settings import read_settings as read_load
from ipa_rl.live.rehearsal import RehearsedCluster, rehearsal
from ipa_rl.live.set_backs import SetBacks
from ipa_rl.sidecar.announcements import EventSink
from ipa_rl.sidecar.change_payoff import ChangePayoff, default_horizon_s
from ipa_rl.sidecar.dashboard import Dashboard, about
from ipa_rl.sidecar.dashboard_server import Buttons, DashboardServer
from ipa_rl.sidecar.decision_log import DecisionLog, EntryLog
from ipa_rl.sidecar.guard import Limits
from ipa_rl.sidecar.leader import Campaign, Elector
from ipa_rl.sidecar.learning import Learner
from ipa_rl.sidecar.load_history import LoadHistory
from ipa_rl.sidecar.orders import Orders
from ipa_rl.sidecar.process import Pulse, Stop, Ticks
from ipa_rl.sidecar.promotion import Rule
from ipa_rl.sidecar.settings import SidecarSettings
from ipa_rl.sidecar.sidecar import Effect, Sidecar

if TYPE_CHECKING:
    from ipa_rl.live.kubernetes import KubernetesDescription
    from ipa_rl.sidecar.telemetry import Metrics

LOG = logging.getLogger("ipa_rl.sidecar")
PLANS_FOR, REHEARSED_FOR = 0.02, 0.2
"""A planner takes that share of the interval at most. A step plans twice: here, and for the comparison."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PATIENCE_STEPS, _LEAST_PATIENCE_S = 3, 60.0


@dataclass
class Assembled:
    """A sidecar, and what belongs to it; ``closing`` ends all of it.

    ``metrics`` and their ``port``, ``campaign`` (the election), ``page`` (the dashboard's address): None
    where there is none.
    """

    sidecar: Sidecar
    metrics: Metrics | None
    campaign: Campaign | None
    port: int | None
    page: str | None
    closing: ExitStack

    def run(self, stop: Stop, interval_s: float) -> None:
        """One step at every tick, until the end is asked for."""
        self.begin(interval_s)
        ticks, skipped = Ticks(interval_s, stop.wait), 0
        self.sidecar.attempt()
        while ticks.next():
            if ticks.skipped > skipped:
                count, skipped = ticks.skipped - skipped, ticks.skipped
                LOG.warning("steps were skipped, as one took too long", extra={"count": count})
                if self.metrics is not None:
                    self.metrics.skipped.inc(count)
            self.sidecar.attempt()
        LOG.info("ends", extra={"steps": self.sidecar.steps, "failures": self.sidecar.failures})

    def begin(self, interval_s: float) -> None:
        """Stand for election, and say so."""
        self._stand_for_election()
        LOG.info("begins", extra={"interval_s": interval_s, "port": self.port, "page": self.page})
        if self.sidecar.learner is not None:
            self.sidecar.learner.tell()

    def step_once(self, stop: Stop) -> Effect | None:
        """One step, and what it did; None where it failed."""
        self._stand_for_election()
        if self.campaign is not None:  # a lease that is free is had at the first try
            elector = self.campaign.elector
            deadline_s = time.monotonic() + elector.election.renew_s
            while not elector.leads() and time.monotonic() < deadline_s and not stop.wait(0.1):
                pass
        return self.sidecar.attempt()

    def _stand_for_election(self) -> None:
        """The lease is released at the end, whatever ends it."""
        if self.campaign is not None:
            self.campaign.start()
            self.closing.callback(self.campaign.stop)


@dataclass(frozen=True)
class _Outside:
    """What the settings name outside of the process."""

    definition: Definition
    cluster: LiveCluster
    latency: Callable[[], float | None] = lambda: None
    events: EventSink | None = None
    elector: Elector | None = None
    now: Callable[[], float] = time.monotonic
    set_backs: SetBacks = field(default_factory=SetBacks)
    rehearsed: RehearsedCluster | None = None


def assemble(
    settings: SidecarSettings,
    dry_run: bool = False,
    deadline: Deadline | None = None,
    shares: bool = False,
) -> Assembled:
    """Put everything together; nothing is written yet. Raises InputError where something does not fit.

    ``deadline``: holds for what is asked outside, now and in every step. ``shares``: what the pipeline
    occupies is limited by others.
    """
    closing, deadline = ExitStack(), deadline or Deadline()
    with deadline.holds():
        outside = _outside(settings, closing, dry_run, shares)
    definition = outside.definition
    budget_s = (REHEARSED_FOR if outside.rehearsed else PLANS_FOR) * settings.interval_s
    agents, program = load_agents(definition, settings.agent, settings.opponents, budget_s)
    if settings.unfit:
        LOG.info("the planner decides: no trained agent fits: %s", settings.unfit)
    definition.workload.forget()  # whatever is kept from now on takes its place in memory
    limits = settings.guard.limits(definition, least_capacity(agents[0]))
    rule = Rule(settings.mode.value, "agent", settings.promotion, settings.demotion)
    state = None if dry_run else settings.state
    orders = Orders(state.with_suffix(".order.json") if state else None)
    pulse = Pulse(max(_PATIENCE_STEPS * settings.interval_s, _LEAST_PATIENCE_S))
    logs, page = ((), None) if dry_run else _logs(settings, definition, agents[0].name, orders, closing)
    metrics, port = None, None
    if settings.telemetry and not dry_run:
        from ipa_rl.sidecar.telemetry import Metrics, TelemetryServer

        metrics = Metrics()
        metrics.info.labels(ipa_rl.__version__, definition.name, agents[0].name).set(1)
        telemetry = TelemetryServer(settings.telemetry.host, settings.telemetry.port, metrics, pulse)
        closing.callback(telemetry.close)
        logs, port = (*logs, metrics), telemetry.port
    sidecar = Sidecar(
        definition=definition,
        cluster=outside.cluster,
        agents=agents,
        program=program,
        limits=limits,
        missing=settings.missing_metrics,
        rule=rule,
        elector=outside.elector,
        logs=logs,
        orders=orders,
        events=outside.events,
        latency=outside.latency,
        state=state,
        patience=settings.rollout,
        dry_run=dry_run,
        idle_s=0.0 if dry_run else budget_s,
        deadline=deadline,
        set_backs=outside.set_backs,
        payoff=_payoff(settings, definition, limits),
        learner=None if dry_run else _learner(settings, outside, agents, program, closing),
        meters=meters_of(definition, settings.interval_s),
        pulse=pulse,
        now=outside.now,
    )
    campaign = Campaign(outside.elector, pulse.healthy) if outside.elector else None
    return Assembled(sidecar, metrics, campaign, port, page, closing)


def _learner(
    settings: SidecarSettings,
    outside: _Outside,
    agents: tuple[Agent, ...],
    program: ProgramAgent,
    closing: ExitStack,
) -> Learner | None:
    """Who learns of the loads seen, and its thread; None where the settings say so."""
    if not settings.load_history:
        return None
    definition, kept, rehearsed = outside.definition, settings.load_history, outside.rehearsed
    end_s = math.inf if rehearsed else time.time() + 60.0
    history = LoadHistory(definition.step_s, kept.days, kept.path, end_s)
    unix_s: Callable[[], float] = time.time
    clock_of: Callable[[float], float] = partial(_clock_of, definition, settings.clock_offset_s)
    if rehearsed is not None:
        rehearsed.start_after(max(time.time(), history.newest_s))
        unix_s, clock_of = rehearsed.unix_s, rehearsed.clock_of
    opponent = program_behind(definition, settings.agent, settings.opponents)
    learner = Learner(definition, history, agents, program, opponent, unix_s, clock_of)
    learner.start()
    closing.callback(learner.close)
    return learner


def _clock_of(definition: Definition, offset_s: float, unix_s: float) -> float:
    """What the clock of an environment's workload says."""
    return definition.workload.clock_at(unix_s + offset_s)


def _payoff(settings: SidecarSettings, definition: Definition, limits: Limits) -> ChangePayoff | None:
    """What a change must pay, by the true start-up delays; None where it need not."""
    given = settings.guard.change_horizon_s
    horizon_s = default_horizon_s(definition, settings.interval_s) if given is None else given
    problem = replace(definition.problem, max_replicas=limits.max_replicas)
    scale = definition.timing.start_up_scale
    return ChangePayoff(problem, horizon_s, scale, limits.core_budget) if horizon_s else None


def _logs(
    settings: SidecarSettings, definition: Definition, agent: str, orders: Orders, closing: ExitStack
) -> tuple[tuple[EntryLog, ...], str | None]:
    """Where entries go, the dashboard among them; its address, None where it is not wanted."""
    logs: list[EntryLog] = []
    if log := settings.decision_log:
        logs.append(DecisionLog(log.path, round(log.size_mb * 1e6), log.backups))
    if not settings.dashboard:
        return tuple(logs), None
    token = settings.token
    dashboard = Dashboard(about(definition, agent, settings.interval_s), orders, pressable=token is not None)
    server = DashboardServer(settings.dashboard, dashboard, Buttons(orders, token))
    closing.callback(server.close)
    return (*logs, dashboard), server.address


def _outside(settings: SidecarSettings, closing: ExitStack, dry_run: bool, shares: bool) -> _Outside:
    """The cluster that the settings name, by its kind."""
    described = settings.cluster
    if isinstance(described, Path) or not (kinds := described.keys() & {"rehearsal", "ray_serve"}):
        return _kubernetes(settings, closing, dry_run, shares)
    kind = min(kinds)
    if len(described) > 1:
        fix = "remove the other fields"
        raise InputError(
            "cannot be combined with other fields", file=settings.file, field=f"cluster.{kind}", fix=fix
        )
    if kind == "ray_serve":
        return _ray_serve(settings, described[kind], closing)
    cluster = rehearsal(settings.definition, described[kind], settings.file)
    return _Outside(settings.definition, cluster, now=cluster.now, rehearsed=cluster)


def _ray_serve(settings: SidecarSettings, content: Any, closing: ExitStack) -> _Outside:
    """An application on Ray Serve. There is no Lease to elect by: one copy of the controller runs."""
    from ipa_rl.live.ray_serve.cluster import RayServeCluster
    from ipa_rl.live.ray_serve.loads import RayServeLoads
    from ipa_rl.live.ray_serve.settings import SEE, ServeLoadModel, assumed, read_cluster

    described = read_cluster(content, settings.definition, settings.file)
    definition = assumed(settings.definition, described)
    deployments = [stage.deployment for stage in described.of(definition.pipeline)]
    loads: RayServeLoads | PrometheusLoads
    if settings.load is not None and set(settings.load) == {"ray_serve"}:
        given = settings.load["ray_serve"] or {}
        described_load = check(given, ServeLoadModel, SEE, settings.file, under="load.ray_serve")
        loads = RayServeLoads(described_load, settings.definition.history_s)
    else:
        loads = _loads(settings)
    closing.callback(loads.close)
    cluster = RayServeCluster(
        definition,
        described,
        loads,
        queue=partial(loads.queued, deployments),
        clock_offset_s=settings.clock_offset_s,
    )
    closing.callback(cluster.close)
    return _Outside(definition, cluster, _measured_latency(settings, loads))


def described(settings: SidecarSettings) -> KubernetesDescription:
    """The objects of Kubernetes that the settings describe; asks the cluster where they are discovered.

    Raises InputError where something does not fit, or the cluster is not Kubernetes.
    """
    from ipa_rl.live import kubernetes
    from ipa_rl.live.kubernetes.description import describe

    cluster, definition = settings.cluster, settings.definition
    if isinstance(cluster, Path):
        return kubernetes.load_description(cluster, definition)
    if set(cluster) == {"discover"}:
        namespace = cluster["discover"] or own_namespace(settings, "cluster.discover")
        api = kubernetes.Api(kubernetes.connect(settings.kubeconfig))
        return kubernetes.discover(api, str(namespace), definition)
    return describe(dict(cluster), definition, settings.file, under="cluster")


def _kubernetes(settings: SidecarSettings, closing: ExitStack, dry_run: bool, shares: bool) -> _Outside:
    """The real cluster: the only place here that imports the Kubernetes client."""
    from ipa_rl.live import kubernetes
    from ipa_rl.live.kubernetes.lease import LeaseLock

    loads = _loads(settings)
    closing.callback(loads.close)
    description = described(settings)
    client = kubernetes.connect(settings.kubeconfig)
    definition = kubernetes.assumed(settings.definition, description)
    names = [stage.name for stage in definition.pipeline.stages]
    cluster = kubernetes.KubernetesCluster(
        definition,
        description,
        loads,
        client,
        queue=partial(loads.queued, names),
        clock_offset_s=settings.clock_offset_s,
        sparing=shares or bool(definition.problem.limits),
    )
    closing.callback(cluster.close)
    elector = None
    if (election := settings.leader_election) and not dry_run:
        namespace = election.namespace or own_namespace(settings, "leader_election.namespace")
        timeout_s = min(4.0, election.renew_s / 2.5)
        lock = LeaseLock(kubernetes.connect(settings.kubeconfig), namespace, election.name, timeout_s)
        elector = Elector(lock, election)
    latency = _measured_latency(settings, loads)
    return _Outside(definition, cluster, latency, cluster, elector, set_backs=cluster.set_backs)


def _loads(settings: SidecarSettings) -> PrometheusLoads:
    if settings.load is None:
        fix = "say where loads are measured; see docs/reference/sidecar.md"
        raise InputError("is missing", file=settings.file, field="load", fix=fix)
    return PrometheusLoads(read_load(settings.load, settings.file, under="load"))


def _measured_latency(settings: SidecarSettings, loads: LoadSource) -> Callable[[], float | None]:
    query = settings.latency_query
    return partial(loads.scalar, query) if query and isinstance(loads, PrometheusLoads) else lambda: None


def own_namespace(settings: SidecarSettings, field: str) -> str:
    """The namespace of the pod. Raises InputError outside a pod."""
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        fix = "name the namespace; only a pod knows its own"
        raise InputError("is missing", file=settings.file, field=field, fix=fix) from error
