"""The trained agent of a folder or the planner, and the integer program that they fall back to.

Judge and sidecar both build them here. They differ on purpose in the program behind the agent. The judge
takes the best that was tuned, or, untuned, the plain one of `untuned`, so that figures show the program as
the paper has it. A sidecar (`load_agents`) takes the best that runs without torch, or `RESERVED`: nobody
watches it, so that its untuned program keeps a tenth in reserve.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ipa_rl import resources
from ipa_rl.agents.opponents import (
    PLANNER,
    PROGRAM,
    UNTUNED_FORECASTER,
    Opponent,
    best_program,
    program_agent,
)
from ipa_rl.agents.opponents_file import read_opponents, why_untuned
from ipa_rl.agents.planner import PlannerAgent, make_planner
from ipa_rl.agents.policy import PolicyAgent, load_policy
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent
from ipa_rl.agents.steers import FACTORS
from ipa_rl.agents.universal import SCORER, UNIVERSAL, UniversalAgent, load_scorer, make_universal
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.workload.forecasters import LSTM

AGENT_NAME = "ppo"
FINE_TUNED = "fine-tuned"
"""Names of what training leaves in a folder: a policy of its own, or the policy for any pipeline (SCORER)."""

PROGRAM_ALONE = "program"
"""Instead of an agent's name: the integer program decides alone."""

UNTRAINED = (UNIVERSAL, PLANNER, PROGRAM_ALONE)
"""Instead of an agent's name: who needs no training for a pipeline."""

RESERVED = Opponent(PROGRAM, UNTUNED_FORECASTER, 0.1, {})
"""The program of a sidecar for which nothing was tuned."""


def load_agents(
    definition: Definition, agent: str, opponents: Path | None = None, budget_s: float | None = None
) -> tuple[tuple[Agent, ...], ProgramAgent]:
    """The agents in the order in which a sidecar asks them, and the program that is last among them.

    ``agent``: a shipped name ("nlp"; "universal" where none of that name was trained), a folder, "universal",
    "planner", or "program" for the program alone.
    ``opponents``: a file of tuned ones, by default that beside the agent. ``budget_s``: a planner takes the
    best so far after so long, and a policy for any pipeline asks for what is new after it has decided; None
    plays and asks all. Raises InputError, which names the difference where the policy
    does not fit the pipeline.
    """
    program = program_behind(definition, agent, opponents)
    if agent in UNTRAINED or _stands_in(agent):
        behind = program_agent(definition, program)
        if agent == PROGRAM_ALONE:
            return (behind,), behind
        if agent != PLANNER:
            universal = make_universal(definition)
            universal.asks_later = budget_s is not None
            return (universal, behind), behind
        planner = make_planner(definition)
        planner.budget_s = budget_s
        return (planner, behind), behind
    folder = resources.find(agent, "agents")
    if not is_trained(folder):
        fix = f"train one: ipa-rl train; or write agent: {PLANNER}"
        raise InputError(f"holds neither policy.npz nor {SCORER}", file=folder, field="agent", fix=fix)
    trained = trained_agent(definition, folder, program)
    if isinstance(trained, UniversalAgent):
        trained.asks_later = budget_s is not None
    behind = trained.program if isinstance(trained, PolicyAgent) else program_agent(definition, program)
    return (trained, behind), behind


def _stands_in(agent: str) -> bool:
    """Whether it is a shipped name where training gained nothing: the policy for any pipeline decides."""
    is_shipped = agent in resources.shipped_names("agents")
    return is_shipped and not is_trained(resources.folder("agents") / agent)


def is_trained(folder: Path) -> bool:
    """Whether it holds what training leaves."""
    return is_file(folder / "policy.npz") or is_file(folder / SCORER)


def why_unfit(definition: Definition, agent: str) -> str:
    """Why an agent, a shipped name or a folder, is not one for an environment; empty where it is.

    The policy for any pipeline would decide for any; what it was fitted to is told by opponents beside it.
    """
    try:
        folder = resources.find(agent, "agents")
        if is_file(folder / SCORER):
            load_scorer(folder / SCORER)
        elif is_file(folder / "policy.npz"):
            load_policy(folder / "policy.npz", definition)
            return ""
        elif not _stands_in(agent):
            return f"{folder} holds neither policy.npz nor {SCORER}"
    except InputError as error:
        return str(error)
    beside = folder / "opponents.json"
    reason = why_untuned(beside, definition) if is_file(beside) else ""
    return reason and f"{beside}: {reason}"


def program_behind(definition: Definition, agent: str, opponents: Path | None = None) -> Opponent:
    """The program that a sidecar falls back to, of the same arguments: tuned, or RESERVED."""
    if agent not in UNTRAINED and opponents is None:
        beside = resources.find(agent, "agents") / "opponents.json"
        opponents = beside if is_file(beside) else None
    return _best_without_torch(definition, opponents)


def trained_agent(definition: Definition, folder: Path, program: Opponent) -> PolicyAgent | UniversalAgent:
    """The agent that a folder holds: its SCORER, or its policy.npz, which falls back to that program."""
    if is_file(folder / SCORER):
        return replace(make_universal(definition, folder / SCORER), name=FINE_TUNED)
    policy = load_policy(folder / "policy.npz", definition)
    return PolicyAgent(AGENT_NAME, definition, policy, program_agent(definition, program))


def least_capacity(agent: Agent) -> float:
    """Least capacity over the load that an agent is known to give on purpose; the program gives 1."""
    if isinstance(agent, PlannerAgent | UniversalAgent):
        return FACTORS[0]
    coverage = agent.policy.coverage if isinstance(agent, PolicyAgent) else None
    return 1.0 if coverage is None else min(coverage.least_capacity, 1.0)


def _best_without_torch(definition: Definition, file: Path | None) -> Opponent:
    """The best program of a file of opponents tuned for it that needs neither torch nor foresight."""
    if file is None or why_untuned(file, definition):
        return RESERVED
    usable = [one for one in read_opponents(file) if one.forecaster != LSTM]
    programs = [one for one in usable if one.is_program and not one.foresees]
    return best_program(programs) if programs else RESERVED
