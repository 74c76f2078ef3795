"""An agent in a sidecar asks for nothing that was given up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.sidecar.backoff import BackOff

GIVEN_UP = "given up"
"""How the reason begins of a decision that was replaced, as it asked for what does not become ready."""


@dataclass(frozen=True)
class Restrained:
    """An agent that asks for nothing that was given up: the program answers within the rest instead.

    ``program``: the whole one; ``back_off``: what is given up now.
    """

    agent: Agent
    program: ProgramAgent
    back_off: BackOff

    @property
    def name(self) -> str:
        """The agent's."""
        return self.agent.name

    def decide(self, state: State) -> Decision:
        """The agent's decision, where all of it can be delivered."""
        decision = self.agent.decide(state)
        excess = self.back_off.excess(decision.configuration)
        if not excess:
            return decision
        within = replace(self.program, definition=self.back_off.definition).decide(state)
        return replace(within, fallback=f"{GIVEN_UP}: {excess}")
