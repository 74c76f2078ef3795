"""A fleet through its loads, all pipelines side by side, and what came of it.

Each pipeline has a simulated cluster of its own, request by request; what they share is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ipa_rl.agents.loop import within_limits
from ipa_rl.agents.protocol import Agent, State
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.reward import summarize
from ipa_rl.errors import InputError
from ipa_rl.fleet.choices import Member, in_order
from ipa_rl.fleet.fleet_file import Fleet
from ipa_rl.fleet.ledger import Grant, Ledger, Need, need_of, needed_rps
from ipa_rl.jit import FloatArray, Records
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster
from ipa_rl.objective import Allotment
from ipa_rl.pipeline import Configuration
from ipa_rl.simulation.accounting import SUMS
from ipa_rl.simulation.tables import replicas_there
from ipa_rl.solvers.transition import Occupied, units_there

Sharing = Literal["joint", "apart", "first come"]
"""How resources are shared: by the joint optimum of every interval; by fixed parts, those of the joint
optimum for mean loads; or so that whoever asks first has what is free."""

SHARINGS: tuple[Sharing, ...] = ("joint", "apart", "first come")


@dataclass(frozen=True)
class FleetPlayed:
    """What came of it: TOTALS ``sums`` (steps, pipelines, len(SUMS)), and by step what was occupied.

    ``occupied``: units (steps, resources), old and new replicas together.
    """

    fleet: Fleet
    sums: FloatArray
    occupied: FloatArray

    def figures(self) -> list[dict[str, float]]:
        """Of each pipeline: utility, PAS x 100, cores, violated share; ``worth``: as the fleet counts it."""
        found = []
        for i, member in enumerate(self.fleet.members):
            sums = dict(zip(SUMS, self.sums[:, i].sum(axis=0).tolist(), strict=True))
            own = summarize(member.definition.weights, sums)
            found.append({**own, "worth": member.priority * own["utility"] / member.unit})
        return found

    @property
    def highest_share(self) -> float:
        """The most of any limit that was occupied."""
        return float((self.occupied / np.array(list(self.fleet.limits.values()))).max())


@dataclass
class _Player:
    """One pipeline of the fleet in its window."""

    member: Member
    agent: Agent
    cluster: SimulatedCluster
    decided: Configuration | None = None

    @property
    def definition(self) -> Definition:
        """Its environment."""
        return self.member.definition

    def units(self, resources: Sequence[str]) -> FloatArray:
        """What it occupies now, (resources,)."""
        there = self._there(self.cluster.simulator.fleet)
        return in_order(units_there(self.definition.pipeline, there), resources)

    def need(self, state: State) -> Need:
        """For the load that came, with some to spare."""
        load_rps = needed_rps(self.definition, state.history_rps)
        return need_of(self.definition, load_rps, state.fleet, self._there(state.fleet), self.decided)

    def _there(self, fleet: Records) -> Occupied:
        return replicas_there(self.definition.problem, fleet)

    def step(self, state: State, allotted: Allotment) -> None:
        """Decide within an allotment, and begin to move."""
        seen = replace(state, allotted=allotted)
        self.decided = self.agent.decide(seen).configuration
        self.cluster.apply(within_limits(self.definition.problem, self.decided, seen))


def play_fleet(
    fleet: Fleet,
    scenarios: Sequence[Scenario],
    agent_for: Callable[[Definition], Agent],
    sharing: Sharing,
    seed: int = 0,
) -> FleetPlayed:
    """All pipelines at once, a scenario each, until the first is over; a decision an interval.

    ``agent_for``: who decides for an environment.
    Raises InputError where intervals differ.
    """
    check_intervals(fleet)
    ledger, resources = fleet.ledger(), list(fleet.limits)
    players = _players(fleet, ledger, scenarios, agent_for, seed)
    parts = _fixed_parts(fleet, ledger) if sharing == "apart" else []
    occupied, grants, goes_on = [], list[Grant](), True
    while goes_on:
        states = [one.cluster.observe() for one in players]
        if sharing == "joint":
            grants = ledger.grants([one.need(state) for one, state in zip(players, states, strict=True)])
        for i, (player, state) in enumerate(zip(players, states, strict=True)):
            if sharing == "joint":
                allotted = grants[i].allotment
            else:
                others = np.sum([one.units(resources) for one in players if one is not player], axis=0)
                free = np.maximum(ledger.limits - others, 0.0)
                own = parts[i] if sharing == "apart" else free
                allotted = Allotment(ledger.named(own))
            player.step(state, allotted)
        occupied.append(np.sum([one.units(resources) for one in players], axis=0))
        more = [one.cluster.wait() for one in players]  # all of them, whoever is over first
        goes_on = all(more)
    sums = np.array([one.cluster.sums for one in players]).swapaxes(0, 1)
    return FleetPlayed(fleet, sums, np.array(occupied))


def check_intervals(fleet: Fleet) -> None:
    """All pipelines decide at the same moments. Raises InputError."""
    each = sorted({one.definition.timing.interval_s for one in fleet.members})
    if len(each) > 1:
        problem = f"the pipelines decide every {' and '.join(f'{one} s' for one in each)}"
        fix = "give their environments the same adaptation_interval_s"
        raise InputError(problem, file=fleet.file, field="pipelines", fix=fix)


def _players(
    fleet: Fleet,
    ledger: Ledger,
    scenarios: Sequence[Scenario],
    agent_for: Callable[[Definition], Agent],
    seed: int,
) -> list[_Player]:
    """All begin, ready, with the joint optimum for the loads seen last."""
    members = list(zip(fleet.members, scenarios, strict=True))
    histories = [one.window.arrivals[: one.window.history_s].astype(np.float64) for one in scenarios]
    loads_rps = [
        member.definition.reference_rps(seen) for member, seen in zip(fleet.members, histories, strict=True)
    ]
    choices, joint = ledger.joint(loads_rps)
    found = []
    for (member, scenario), one, pick in zip(members, choices, joint.picks.tolist(), strict=True):
        start, definition = one.configurations[pick], member.definition
        cluster = SimulatedCluster(definition, scenario, seed=seed, start=start, keeps_requests=False)
        found.append(_Player(member, agent_for(definition), cluster))
    return found


def _fixed_parts(fleet: Fleet, ledger: Ledger) -> list[FloatArray]:
    """Each pipeline's part of the limits, by the joint optimum for mean loads; what that leaves likewise."""
    choices, joint = ledger.joint([one.definition.workload.mean_rps for one in fleet.members])
    own = np.array([one.units[pick] for one, pick in zip(choices, joint.picks.tolist(), strict=True)])
    shares = own / np.maximum(own.sum(axis=0), 1e-12)
    return list(own + np.floor((ledger.limits - own.sum(axis=0)) * shares + 1e-9))
