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
    from ipa_rl.environment.definition import Definition, load_definition
    from ipa_rl.errors import InputError
    from ipa_rl.pipeline import Configuration, Pipeline
    from ipa_rl.profiles import load_pipeline

_HOMES = {
    "Agent": "agents",
    "Configuration": "pipeline",
    "Decision": "agents",
    "Definition": "environment.definition",
    "InputError": "errors",
    "Pipeline": "pipeline",
    "State": "agents",
    "load_definition": "environment.definition",
    "load_pipeline": "profiles",
}

__all__ = [
    "Agent",
    "Configuration",
    "Decision",
    "Definition",
    "InputError",
    "Pipeline",
    "State",
    "load_definition",
    "load_pipeline",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ipa_rl.{_HOMES[name]}"), name)
