"""Arguments that several verbs take; a shell completes the names of what ships."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl import resources
from ipa_rl.errors import InputError
from ipa_rl.files import is_file


def _environments() -> list[str]:
    return resources.shipped_names("envs")


def _agents() -> list[str]:
    return resources.shipped_names("agents")


def _pipelines() -> list[str]:
    return resources.shipped_names("profiles")


def _workloads() -> list[str]:
    return resources.shipped_names("workloads")


Environment = Annotated[
    str,
    typer.Argument(
        help="Shipped name (video) or YAML file; video@LOAD: under another load.",
        autocompletion=_environments,
    ),
]
AgentName = Annotated[
    str, typer.Argument(help="Shipped agent (video) or its folder.", autocompletion=_agents)
]
PipelineName = Annotated[
    str, typer.Argument(help="Shipped name (video) or folder.", autocompletion=_pipelines)
]
WorkloadName = Annotated[
    str, typer.Argument(help="Shipped name (twitter) or folder.", autocompletion=_workloads)
]
Ppo = Annotated[
    bool, typer.Option("--ppo", help="Train a policy of its own with PPO, by an agent's hyperparameters.")
]


def refuse(problem: str, fix: str, options: Mapping[str, int | None]) -> None:
    """Raise InputError where one of the options is given."""
    for option, value in options.items():
        if value is not None:
            raise InputError(problem, field=option, fix=fix)


def refuse_ppo(name: str, options: Mapping[str, int | None]) -> None:
    """Raise InputError where what is given makes sense with --ppo only."""
    refuse("is of training with PPO", "leave it out, or add --ppo", options)
    if is_file(Path(name) / "hyperparameters.yaml"):
        fix = "add --ppo, or give an environment"
        raise InputError("is an agent with hyperparameters", field=name, fix=fix)
