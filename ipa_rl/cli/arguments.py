"""Arguments that several verbs take; a shell completes the names of what ships."""

from __future__ import annotations

from typing import Annotated

import typer

from ipa_rl import resources


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
