"""``ipa-rl export``: a policy that was trained with PPO, as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.agents.onnx_export import export_policy
from ipa_rl.agents.policy import load_policy
from ipa_rl.cli.tables import save_note
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.result_files import output_file


def export(
    agent: Annotated[Path, typer.Argument(help="Folder of an agent that was trained with PPO.")],
    out_file: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("policy.onnx"),
    environment: Annotated[
        str | None, typer.Option(help="Its environment; by default that of the folder's name.")
    ] = None,
) -> None:
    """Write a policy that was trained with PPO as ONNX, for ONNX Runtime; needs the extra "onnx".

    Example: [bold]ipa-rl export runs/video --out policy.onnx[/bold]
    """
    definition = load_definition(environment or agent.name)
    policy = load_policy(agent / "policy.npz", definition)
    export_policy(policy, definition, output_file(out_file))
    save_note([out_file])
