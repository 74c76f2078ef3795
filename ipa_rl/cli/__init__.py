"""The command line: ``ipa-rl VERB THING``.

Results go to stdout, progress to stderr. Exit status: 0 done, 1 it ran and the answer is no,
2 bad input, 130 and 143 interrupted by Ctrl-C and SIGTERM.

A verb's module is imported when the verb is called, so that ``--help`` takes no longer than it must and the
sidecar, which lives beside a pipeline with little memory, holds no more than it needs.
"""

from __future__ import annotations

import os
import sys
from functools import cached_property
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import ipa_rl
from ipa_rl import interrupts
from ipa_rl.errors import InputError

UNCOMPILED = ("envs", "profiles", "workload", "solve", "report", "sidecar", "explain", "export")
"""Verbs that gain less from compiled loops than importing numba takes (`ipa_rl.jit`)."""


class Verb(TyperCommand):
    """A verb's name and one line of help. Whatever else it has is imported when it is called."""

    def __init__(self, name: str, module: str, panel: str, line: str) -> None:
        super().__init__(name, help=line, rich_help_panel=panel)
        self.module = module

    @cached_property
    def command(self) -> Any:
        """The command itself: the function of the verb's name, or the group of verbs that is ``app``."""
        module = import_module(f"ipa_rl.cli.{self.module}")
        verbs = getattr(module, "app", None)
        if verbs is None:
            verbs = typer.Typer(add_completion=False)
            verbs.command(self.name)(getattr(module, str(self.name)))
        return typer.main.get_command(verbs)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """What click calls a command with: the context of the command itself."""
        return self.command.make_context(info_name, args, parent, **extra)


_LOOK, _JUDGE, _TRAIN, _SERVE = "Look and solve", "Judge", "Train", "Measure and serve"

VERBS = [
    Verb("envs", "envs", _LOOK, "The environments that ship, and whether an agent does."),
    Verb("profiles", "profiles", _LOOK, "Measured profiles: show them, check them, import them."),
    Verb("workload", "workload", _LOOK, "Your own load: import, pull, check, show, fit it."),
    Verb("solve", "solve", _LOOK, "The exact optimum for a load."),
    Verb("forecast", "forecast", _LOOK, "Forecasters compared on a workload."),
    Verb("compare", "compare", _JUDGE, "All controllers side by side on the same arrivals."),
    Verb("evaluate", "evaluate", _JUDGE, "All controllers on a part of the workload, and under stress."),
    Verb("benchmark", "benchmark", _JUDGE, "All controllers on many pipelines and loads, in one table."),
    Verb("report", "report", _JUDGE, "A run as one HTML page."),
    Verb("fidelity", "fidelity", _JUDGE, "How far the simulators can be trusted."),
    Verb("train", "train", _TRAIN, "Train an agent with PPO."),
    Verb("tune", "train", _TRAIN, "Find the best settings of every opponent."),
    Verb("build", "build", _TRAIN, "An agent for your pipeline and load, up to its card."),
    Verb("search", "train", _TRAIN, "Search hyperparameters by Optuna."),
    Verb("ablate", "train", _TRAIN, "Train with one part of the learner changed at a time."),
    Verb("profile", "profile", _SERVE, "Measure your models, and write a pipeline's folder."),
    Verb("demo", "demo", _SERVE, "Real models on a Ray Serve of this machine, under control."),
    Verb("sidecar", "sidecar", _SERVE, "Adapt a real pipeline until SIGTERM."),
    Verb("fleet", "fleet", _SERVE, "Several pipelines that share resources: solve, compare, drive them."),
    Verb("explain", "explain", _SERVE, "The sidecar's decision log in words."),
    Verb("export", "export", _SERVE, "Write a trained policy as ONNX."),
]


class _Verbs(TyperGroup):
    """The command line with all its verbs."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {str(verb.name): verb for verb in VERBS}


app = typer.Typer(
    name="ipa-rl",
    cls=_Verbs,
    help="Adapt multi-stage inference pipelines: exact optimum, simulator, PPO agent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ipa-rl {ipa_rl.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options of the command line itself."""


def main() -> None:
    """Run the command line; print mendable errors in one line with exit status 2."""
    interrupts.end_at_once()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    completes = "_IPA_RL_COMPLETE" in os.environ  # by which a shell asks how a line may go on
    is_compiled = name not in UNCOMPILED or sys.argv[1:3] == ["workload", "fit"]
    if not is_compiled or "--help" in sys.argv or completes:
        os.environ.setdefault("IPA_RL_INTERPRETED", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices are small: threads only wait
    usage_error: Any = typer.BadParameter.__base__  # what typer raises, whichever click it carries
    try:
        for verb in VERBS:
            if verb.name == name:
                _ = verb.command  # imported while a signal still ends the process at once
        with interrupts.raised():
            status = app(standalone_mode=False)
        sys.exit(status)
    except InputError as error:
        _fail(str(error))
    except usage_error as error:
        message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
        # without arguments the help was printed, and nothing is wrong
        _fail(f"{message}; fix: see --help" if message else "")


def _fail(message: str) -> None:
    from ipa_rl.consoles import plain_console

    if message:
        plain_console(stderr=True).print(f"error: {message}", soft_wrap=True)
    sys.exit(2)
