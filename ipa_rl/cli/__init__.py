"""The command line: ``ipa-rl VERB THING``.

Results go to stdout, progress to stderr. Exit status: 0 done, 1 it ran and the answer is no,
2 bad input.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.console import Console

from ipa_rl.cli import build, compare, evaluate, fidelity, forecast, learner, profiles, report, solve, train
from ipa_rl.errors import InputError

UsageError: Any = typer.BadParameter.__base__
"""What typer raises for arguments that it cannot take, whichever click it carries."""

app = typer.Typer(
    name="ipa-rl",
    help="Adapt multi-stage inference pipelines: exact optimum, simulator, PPO agent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)
app.command("solve")(solve.solve)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("fidelity")(fidelity.fidelity)
app.command("train")(train.train)
app.command("build")(build.build)
app.command("search")(learner.search)
app.command("ablate")(learner.ablate)
app.command("tune")(train.tune)
app.add_typer(forecast.app, name="forecast")
app.add_typer(profiles.app, name="profiles")


def main() -> None:
    """Run the command line; print mendable errors in one line with exit status 2."""
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        sys.exit(app(standalone_mode=False))
    except InputError as error:
        errors.print(f"error: {error}")
        sys.exit(2)
    except UsageError as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        if message:  # without arguments the help was printed, and nothing is wrong
            errors.print(f"error: {message}; fix: see --help")
        sys.exit(2)
