"""The verbs of the sidecar, which import nothing of the others."""

from __future__ import annotations

import typer

from ipa_rl.cli import explain, export, sidecar


def new_app() -> typer.Typer:
    """The command line without verbs."""
    return typer.Typer(
        name="ipa-rl",
        help="Adapt multi-stage inference pipelines: exact optimum, simulator, PPO agent.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        add_completion=False,
    )


def add_light(app: typer.Typer) -> None:
    """Add the verbs of the sidecar."""
    app.command("sidecar")(sidecar.sidecar)
    app.command("explain")(explain.explain)
    app.command("export")(export.export)
