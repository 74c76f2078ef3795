"""Ways to share resources compared: the same fleet, the same arrivals, the same controller."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ipa_rl.agents.protocol import Agent
from ipa_rl.agents.trained import load_agents
from ipa_rl.environment.definition import Definition
from ipa_rl.fleet.fleet_file import Fleet
from ipa_rl.jit import FloatArray
from ipa_rl.judge.fleet_play import SHARINGS, FleetPlayed, Sharing, play_fleet
from ipa_rl.judge.simulated_cluster import JudgedPart, Scenario, part_scenarios
from ipa_rl.progress import Bars


def compare_fleet(
    fleet: Fleet, controller: str, part: JudgedPart, windows: int, seed: int, bars: Bars
) -> dict[str, Any]:
    """Figures of each way, by pipeline and in all, as means over windows. Raises InputError."""
    scenarios = fleet_scenarios(fleet, part, windows)
    agent_for = partial(_agent_for, controller)
    played: dict[Sharing, list[FleetPlayed]] = {sharing: [] for sharing in SHARINGS}
    for i, own in enumerate(scenarios):
        for k, sharing in enumerate(SHARINGS):
            bars.advance("fleets", i * len(SHARINGS) + k, len(scenarios) * len(SHARINGS))
            played[sharing].append(play_fleet(fleet, own, agent_for, sharing, seed))
    worths = {sharing: _worths(each) for sharing, each in played.items()}
    told = {sharing: _told(each, worths[sharing], worths["joint"]) for sharing, each in played.items()}
    del told["joint"]["behind_joint"], told["joint"]["error"]
    head = {"fleet": str(fleet.file), "controller": controller, "part": part, "windows": len(scenarios)}
    return {**head, "seed": seed, "sharings": told}


def fleet_scenarios(fleet: Fleet, part: JudgedPart, windows: int) -> list[list[Scenario]]:
    """A scenario of each pipeline, so many times; as many as the one of fewest windows has.

    Each pipeline begins with another window, so that those under the same workload do not rise together.
    """
    each = [part_scenarios(one.definition, part, windows) for one in fleet.members]
    turned = [own[i % len(own) :] + own[: i % len(own)] for i, own in enumerate(each)]
    return [list(own) for own in zip(*turned, strict=False)]


def _agent_for(controller: str, definition: Definition) -> Agent:
    return load_agents(definition, controller)[0][0]


def _worths(played: list[FleetPlayed]) -> FloatArray:
    """Of the whole fleet in each window, (windows,)."""
    return np.array([sum(own["worth"] for own in one.figures()) for one in played])


def _told(played: list[FleetPlayed], worths: FloatArray, joint: FloatArray) -> dict[str, Any]:
    """Means over windows, and how far the whole is from the joint optimum's, with its standard error."""
    behind = worths - joint
    error = float(behind.std(ddof=1) / np.sqrt(len(behind))) if len(behind) > 1 else float("nan")
    figures = [one.figures() for one in played]
    pipelines = []
    for i, member in enumerate(played[0].fleet.members):
        names = figures[0][i]
        means = {name: float(np.mean([own[i][name] for own in figures])) for name in names}
        pipelines.append({"pipeline": member.name, **means})
    return {
        "pipelines": pipelines,
        "worth": float(worths.mean()),
        "behind_joint": float(behind.mean()),
        "error": error,
        "highest_share": max(one.highest_share for one in played),
    }
