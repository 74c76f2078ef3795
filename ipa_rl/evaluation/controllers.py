"""The controllers that are compared, built from what was tuned and trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ipa_rl import resources
from ipa_rl.agents import Agent
from ipa_rl.agents.policy import PolicyAgent, load_policy
from ipa_rl.agents.program import ProgramAgent, static_agent
from ipa_rl.agents.tuning import (
    FORECASTERS,
    PERFECT,
    PROGRAM,
    STATIC,
    Opponent,
    best_program,
    read_opponents,
    system_definition,
)
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.workload.forecasters import LSTM, NO_LSTM, Loads, is_available, make_forecaster

AGENT_NAME = "ppo"
_UNTUNED_FORECASTER = "window-max:30"


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
    def best_program(self) -> Opponent:
        """The integer program that did best on the validation part, the perfect forecast aside."""
        return best_program(self.opponents)

    @property
    def perfect(self) -> Opponent:
        """The integer program with the perfect forecast."""
        return next(one for one in self.opponents if one.forecaster == PERFECT)

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


def build(definition: Definition, opponent: Opponent, arrivals: Loads) -> Agent:
    """A tuned opponent as an Agent."""
    if opponent.system == STATIC:
        return static_agent(definition, float(opponent.forecaster))
    solver = system_definition(definition, opponent.system)
    forecaster = make_forecaster(opponent.forecaster, arrivals)
    return ProgramAgent(opponent.name, solver, forecaster, opponent.margin)


def controllers(definition: Definition, agent: Path | None) -> Controllers:
    """The controllers of an environment; ``agent``: the folder of its agent, by default the shipped one."""
    folder = agent or resources.folder("agents") / definition.name
    tuned, trained = folder / "opponents.json", folder / "policy.npz"
    if agent and not (tuned.is_file() or trained.is_file()):
        fix = "give the folder of a training run"
        raise InputError("holds neither policy.npz nor opponents.json", file=agent, fix=fix)
    notes = []
    if tuned.is_file():
        opponents = read_opponents(tuned)
    else:
        opponents = untuned()
        notes.append("opponents are not tuned, margins are 0: ipa-rl tune")
    if not is_available(LSTM):
        opponents = [one for one in opponents if one.forecaster != LSTM]
        notes.append(NO_LSTM)
    policy = None
    if trained.is_file():
        policy = PolicyAgent(AGENT_NAME, definition, load_policy(trained, definition))
    else:
        notes.append("no trained agent: ipa-rl train")
    return Controllers(definition, folder, policy, tuple(opponents), "; ".join(notes))


def untuned() -> list[Opponent]:
    """Every opponent without margins, for environments that nobody tuned yet."""
    programs = [Opponent(PROGRAM, name, 0.0, {"utility": 0.0}) for name in (*FORECASTERS, PERFECT)]
    others = [
        Opponent(system, _UNTUNED_FORECASTER, 0.0, {"utility": 0.0})
        for system in ("fa2-low", "fa2-high", "rim")
    ]
    return [*programs, *others, Opponent(STATIC, "20", 0.0, {"utility": 0.0})]
