"""Who decides in a sidecar: the trained agent, and the integer program behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ipa_rl import resources
from ipa_rl.agents.opponents import (
    PROGRAM,
    UNTUNED_FORECASTER,
    Opponent,
    are_tuned,
    best_program,
    read_opponents,
)
from ipa_rl.agents.policy import PolicyAgent, load_policy
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.sidecar.backoff import BackOff
from ipa_rl.workload.forecasters import LSTM, make_forecaster

GIVEN_UP = "given up"
"""How the reason begins of a decision that was replaced, as it asked for what does not become ready."""

PROGRAM_ALONE = "program"
"""Instead of an agent's name: the integer program decides alone."""

_UNTUNED = Opponent(PROGRAM, UNTUNED_FORECASTER, 0.1, {})


def deciders(
    definition: Definition, agent: str, opponents: Path | None = None
) -> tuple[tuple[Agent, ...], ProgramAgent]:
    """The agents in the order in which they are asked, and the program that is last among them.

    ``agent``: a shipped name ("video"), a folder, or PROGRAM_ALONE. ``opponents``: a file of tuned ones, by
    default that beside the agent. Raises InputError, which names the difference where the policy does not fit
    the pipeline.
    """
    if agent == PROGRAM_ALONE:
        program = _program(definition, _tuned(opponents) if opponents else _UNTUNED)
        return (program,), program
    folder = resources.find(agent, "agents")
    trained = folder / "policy.npz"
    if not is_file(trained):
        fix = f"train one: ipa-rl train; or write agent: {PROGRAM_ALONE}"
        raise InputError("holds no policy.npz", file=folder, field="agent", fix=fix)
    beside = folder / "opponents.json"
    known = opponents or (beside if is_file(beside) else None)
    program = _program(definition, _tuned(known) if known else _UNTUNED)
    return (PolicyAgent("ppo", definition, load_policy(trained, definition), program), program), program


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


def least_capacity(agent: Agent) -> float:
    """Least capacity over the load that an agent is known to give on purpose: 1 but for a trained one."""
    coverage = agent.policy.coverage if isinstance(agent, PolicyAgent) else None
    return 1.0 if coverage is None else min(coverage.least_capacity, 1.0)


def _tuned(file: Path) -> Opponent:
    """The best program of a file that needs neither torch nor foresight."""
    usable = [one for one in read_opponents(file) if one.forecaster != LSTM]
    known = [one for one in usable if one.system == PROGRAM and not one.foresees]
    return best_program(known) if are_tuned(known) else _UNTUNED


def _program(definition: Definition, tuned: Opponent) -> ProgramAgent:
    return ProgramAgent(tuned.name, definition, make_forecaster(tuned.forecaster), tuned.margin)
