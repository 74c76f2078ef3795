"""The controllers that are compared, built from what was tuned and trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ipa_rl import resources
from ipa_rl.agents import Agent
from ipa_rl.agents.opponents import (
    Opponent,
    are_tuned,
    best_foreseeing,
    best_real,
    build,
    fallback_program,
    read_opponents,
    rivals,
    untuned,
)
from ipa_rl.agents.policy import PolicyAgent
from ipa_rl.agents.trained import AGENT_NAME, trained_agent
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.workload.forecasters import LSTM, NO_LSTM, is_available
from ipa_rl.workload.trace import Loads


@dataclass(frozen=True)
class Controllers:
    """What is compared in one environment: a policy where one was trained, and the opponents.

    ``folder`` holds the agent and its tuned opponents; ``note`` says in words what is missing there.
    """

    definition: Definition
    folder: Path
    policy: PolicyAgent | None
    opponents: tuple[Opponent, ...]
    note: str

    @property
    def tuned(self) -> bool:
        """Whether the opponents are; else none of them is the best."""
        return are_tuned(self.opponents)

    @property
    def program(self) -> Opponent:
        """The integer program that the agent falls back to: the best one, where they are tuned."""
        return fallback_program(self.opponents)

    @property
    def shown(self) -> list[str]:
        """Whom tables and pictures begin with: the agent and its rivals; of untuned opponents the program."""
        agent = [AGENT_NAME] if self.policy else []
        return agent + ([one.name for one in rivals(self.opponents)] or [self.program.name])

    @property
    def best_opponent(self) -> Opponent:
        """The opponent that did best on the validation part, those that foresee aside."""
        return best_real(self.opponents)

    @property
    def perfect(self) -> Opponent:
        """The best of those that know the loads to come."""
        return best_foreseeing(self.opponents)

    def names(self) -> list[str]:
        """Names in the order of tables: agent, programs, the paper's systems, static."""
        first = [self.policy.name] if self.policy else []
        return first + [opponent.name for opponent in self.opponents]

    def only(self, names: Sequence[str]) -> Controllers:
        """Those of these names."""
        policy = self.policy if AGENT_NAME in names else None
        opponents = tuple(one for one in self.opponents if one.name in names)
        return replace(self, policy=policy, opponents=opponents)

    def agents(self, arrivals: Loads) -> list[Agent]:
        """The controllers for one stretch of arrivals, which only the perfect forecaster looks at."""
        first: list[Agent] = [self.policy] if self.policy else []
        return first + [build(self.definition, one, arrivals) for one in self.opponents]


def controllers(definition: Definition, agent: Path | None, opponents: Path | None = None) -> Controllers:
    """The controllers of an environment.

    ``agent``: the folder of its agent, by default the shipped one; ``opponents``: tuned opponents, by default
    those beside the agent.
    """
    folder = agent or resources.folder("agents") / definition.name
    tuned, trained = opponents or folder / "opponents.json", folder / "policy.npz"
    if agent and not (is_file(tuned) or is_file(trained)):
        fix = "give the folder of a training run"
        raise InputError("holds neither policy.npz nor opponents.json", file=agent, fix=fix)
    notes = []
    known = read_opponents(tuned) if is_file(tuned) else untuned()
    if not are_tuned(known):
        notes.append("opponents are not tuned: their margins are 0, and none of them is the best")
    if not is_available(LSTM):
        known = [one for one in known if one.forecaster != LSTM]
        notes.append(NO_LSTM)
    policy = None
    if is_file(trained):
        policy = trained_agent(definition, folder, fallback_program(known))
    else:
        notes.append("no trained agent: ipa-rl train")
    return Controllers(definition, folder, policy, tuple(known), "; ".join(notes))
