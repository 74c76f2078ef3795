"""What a profile gets wrong, learned while it serves: how long stages take to serve and to start."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.agents.service_scales import ServiceMeter
from ipa_rl.agents.start_scales import StartMeter
from ipa_rl.environment.definition import Definition


@dataclass(frozen=True)
class Meters:
    """Both meters, of one pipeline."""

    service: ServiceMeter
    starts: StartMeter

    def saw(self, state: State) -> State:
        """The state, with what is learned by then."""
        return replace(state, service_scales=self.service.saw(state), start_scale=self.starts.saw(state))

    def lost_sight(self, state: State) -> State:
        """The state, with what was learned before: its loads or queues are not known."""
        self.service.lost_sight()
        return replace(state, service_scales=self.service.scales, start_scale=self.starts.saw(state))


def meters_of(definition: Definition, interval_s: float | None = None) -> Meters:
    """New ones. ``interval_s``: between two states; None for the adaptation interval."""
    return Meters(ServiceMeter(definition, interval_s), StartMeter(definition, interval_s))


@dataclass(frozen=True)
class MeasuringAgent:
    """An agent that sees what meters learn from what it decides by."""

    agent: Agent
    meters: Meters

    @property
    def name(self) -> str:
        """The agent's."""
        return self.agent.name

    def decide(self, state: State) -> Decision:
        """The agent's decision."""
        return self.agent.decide(self.meters.saw(state))
