"""The controllers that are compared: agent, program with every forecaster, the paper's systems, static."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ipa_rl import resources
from ipa_rl.agents import Agent
from ipa_rl.agents.policy import PolicyAgent, load_policy
from ipa_rl.agents.program import ProgramAgent, fixed_replicas, fixed_variants, static_agent
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.simulation.compiled import FloatArray
from ipa_rl.workload.forecasters import make_forecaster

FORECASTERS = ("last", "window-max:30", "moving-average:30", "autoregressive", "lstm", "perfect")
"""Forecasters that the program is compared with."""


@dataclass(frozen=True)
class Settings:
    """Margins by controller, chosen on the validation part; 0 where nothing was chosen."""

    margins: dict[str, float]
    static_rps: float

    def margin(self, name: str) -> float:
        """Margin of a controller."""
        return self.margins.get(name, 0.0)
