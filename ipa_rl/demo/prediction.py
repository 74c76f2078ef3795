"""What the request-level simulator says of the same arrivals, to the request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ipa_rl.agents.loop import Cluster, Guard, Step, control
from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.agents.trained import least_capacity
from ipa_rl.demo.outcomes import Outcomes
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, Record
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.simulated_cluster import SimulatedCluster
from ipa_rl.pipeline import Configuration
from ipa_rl.sidecar.guard import Limits, Situation, guarded_change
from ipa_rl.sidecar.observed import recent_load_rps
from ipa_rl.simulation import RequestSimulator
from ipa_rl.simulation.accounting import TOTALS
from ipa_rl.simulation.events import SERVED
from ipa_rl.workload.trace import Window


@dataclass
class _Recorded:
    """Decides as somebody did before, step by step."""

    configurations: Sequence[Configuration]
    name: str = "recorded"
    _step: int = field(init=False, default=0)

    def decide(self, state: State) -> Decision:
        """The next one; the last again where there is no next."""
        found = self.configurations[min(self._step, len(self.configurations) - 1)]
        self._step += 1
        return Decision(found, float(state.history_rps[-1]))


@dataclass(frozen=True)
class _Seeing:
    """A simulated cluster that shows the loads which somebody saw, step by step: a counter's seconds do not
    begin with the window's.
    """

    cluster: SimulatedCluster
    histories_rps: Iterator[FloatArray]

    def observe(self) -> State:
        """Its own loads once there are no others."""
        state = self.cluster.observe()
        return replace(state, history_rps=next(self.histories_rps, state.history_rps))

    def apply(self, configuration: Configuration) -> None:
        """The cluster's."""
        self.cluster.apply(configuration)


def predict(
    definition: Definition,
    agent: Agent,
    window: Window,
    start: Configuration,
    seed: int,
    histories_rps: Sequence[FloatArray],
) -> Outcomes:
    """The window under the agent and the sidecar's guard, from a configuration on.

    ``window`` knows its exact times of arrival; ``histories_rps``: the loads that were seen at each step.
    """
    cluster = SimulatedCluster(definition, Scenario(window), seed=seed, start=start)
    seeing = _Seeing(cluster, iter(histories_rps))
    return _play(definition, agent, cluster, seeing, _guard(definition, agent))


def replay(
    definition: Definition,
    configurations: Sequence[Configuration],
    window: Window,
    start: Configuration,
    seed: int,
) -> Outcomes:
    """The window under what was carried out before, a configuration a step: the plant alone."""
    cluster = SimulatedCluster(definition, Scenario(window), seed=seed, start=start)
    return _play(definition, _Recorded(configurations), cluster, cluster, None)


def _play(
    definition: Definition,
    agent: Agent,
    cluster: SimulatedCluster,
    shown: Cluster,
    guard: Guard | None,
) -> Outcomes:
    """``shown``: the cluster as the agent sees it."""
    totals: list[Record] = []
    ready: list[list[int]] = []

    def wait() -> bool:
        totals.append(cluster.wait())
        ready.append([int(stage["ready"]) for stage in cluster.simulator.fleet])
        return not cluster.ended()

    def record(step: Step) -> None:
        del step

    control(agent, shown, definition.problem, wait, record, guard)
    assert isinstance(cluster.simulator, RequestSimulator)
    cluster.simulator.advance(_until_all_ended_s(definition))
    return _outcomes(cluster.simulator, np.array(totals, dtype=TOTALS), ready)


def _guard(definition: Definition, agent: Agent) -> Guard:
    """That of a sidecar as the demonstration sets it up."""
    stages = len(definition.pipeline.stages)
    limits = Limits(definition.problem.max_replicas, least_capacity=least_capacity(agent))

    def check(configuration: Configuration, state: State) -> Configuration:
        situation = Situation((None,) * stages, (float("inf"),) * stages, recent_load_rps(state))
        return guarded_change(definition.problem, limits, configuration, situation).configuration

    return check


def _until_all_ended_s(definition: Definition) -> float:
    """Until the last request is served or dropped."""
    slowest_s = sum(v.latency_p99_s[-1] for stage in definition.pipeline.stages for v in stage.variants[-1:])
    return definition.timing.drop_limit_s + 3.0 * slowest_s


def _outcomes(simulator: RequestSimulator, totals: np.ndarray, ready: list[list[int]]) -> Outcomes:
    requests = simulator.requests
    served = requests["status"] == SERVED
    return Outcomes(
        due_s=requests["arrival_s"].copy(),
        latency_s=np.where(served, requests["finish_s"] - requests["arrival_s"], np.nan),
        right=np.where(served, requests["accuracy"], np.nan),
        cores=totals["core_s"] / totals["seconds"],
        batches=totals["batch_s"] / totals["seconds"],
        replicas=np.array(ready, dtype=np.float64),
    )
