"""Adapt multi-stage inference pipelines: exact optimum, simulator, reinforcement-learning agent.

The names below are what a user needs, and they are stable (docs/reference/python.md). Each is imported when
it is first used, so that importing the package takes no time. Once the package is imported,
``gymnasium.make("ipa_rl/video-v1")`` works.
"""

from typing import TYPE_CHECKING, Any

from ipa_rl import interrupts

if interrupts.is_command():
    interrupts.end_at_once()  # before anything that takes time is imported

from ipa_rl.environment.registration import register_with_gymnasium

__version__ = "0.1.0"

register_with_gymnasium()

if TYPE_CHECKING:
    from ipa_rl.agents import Agent, Decision, State
    from ipa_rl.agents.gymnasium_agent import GymnasiumAgent
    from ipa_rl.agents.planner import make_planner
    from ipa_rl.agents.trained import load_agents
    from ipa_rl.environment.definition import Definition
    from ipa_rl.environment.definition_file import load_definition
    from ipa_rl.errors import InputError
    from ipa_rl.judge.comparison import compare
    from ipa_rl.judge.experiment import Experiment, make_setup, trials
    from ipa_rl.judge.play import figures, play
    from ipa_rl.judge.simulated_cluster import named_scenario
    from ipa_rl.pipeline import Configuration, Pipeline, StageConfig
    from ipa_rl.profiles import load_pipeline
    from ipa_rl.solvers import solve
    from ipa_rl.training.vec_env import SB3VectorEnv
    from ipa_rl.workload.workload import Workload, load_workload

__all__ = [
    "Agent",
    "Configuration",
    "Decision",
    "Definition",
    "Experiment",
    "GymnasiumAgent",
    "InputError",
    "Pipeline",
    "SB3VectorEnv",
    "StageConfig",
    "State",
    "Workload",
    "compare",
    "figures",
    "load_agents",
    "load_definition",
    "load_pipeline",
    "load_workload",
    "make_planner",
    "make_setup",
    "named_scenario",
    "play",
    "solve",
    "trials",
]

_HOMES = {
    "agents": ("Agent", "Decision", "State"),
    "agents.gymnasium_agent": ("GymnasiumAgent",),
    "agents.planner": ("make_planner",),
    "agents.trained": ("load_agents",),
    "environment.definition": ("Definition",),
    "environment.definition_file": ("load_definition",),
    "errors": ("InputError",),
    "judge.comparison": ("compare",),
    "judge.experiment": ("Experiment", "make_setup", "trials"),
    "judge.play": ("figures", "play"),
    "judge.simulated_cluster": ("named_scenario",),
    "pipeline": ("Configuration", "Pipeline", "StageConfig"),
    "profiles": ("load_pipeline",),
    "solvers": ("solve",),
    "training.vec_env": ("SB3VectorEnv",),
    "workload.workload": ("Workload", "load_workload"),
}
"""The modules that the names are imported from."""


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"ipa_rl.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
