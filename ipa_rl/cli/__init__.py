"""The command line: ``ipa-rl VERB THING``.

Results go to stdout, progress to stderr. Exit status: 0 done, 1 it ran and the answer is no,
2 bad input, 130 and 143 interrupted by Ctrl-C and SIGTERM.

The verbs of the sidecar are in `ipa_rl.cli.sidecar_verbs`. They run without importing the others, uncompiled
(`ipa_rl.jit`), because the sidecar lives beside a pipeline with little memory.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ipa_rl import interrupts
from ipa_rl.errors import InputError

if TYPE_CHECKING:
    import typer

    app: typer.Typer

LIGHT = ("sidecar", "explain", "export")
"""Verbs that import none of the others."""


def __getattr__(name: str) -> Any:
    """All verbs as ``app``, imported when somebody asks for them."""
    if name == "app":
        from ipa_rl.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> None:
    """Run the command line; print mendable errors in one line with exit status 2."""
    interrupts.end_at_once()
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in LIGHT:
        os.environ.setdefault("IPA_RL_INTERPRETED", "1")
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import typer

    from ipa_rl.consoles import plain_console

    usage_error: Any = typer.BadParameter.__base__  # what typer raises, whichever click it carries
    errors = plain_console(stderr=True)
    try:
        app = _app(verb)
        with interrupts.raised():
            status = app(standalone_mode=False)
        sys.exit(status)
    except InputError as error:
        errors.print(f"error: {error}", soft_wrap=True)
        sys.exit(2)
    except usage_error as error:
        message = " ".join(error.format_message().split()).rstrip(".")
        if message:  # without arguments the help was printed, and nothing is wrong
            errors.print(f"error: {message}; fix: see --help", soft_wrap=True)
        sys.exit(2)


def _app(verb: str) -> Any:
    if verb in LIGHT:
        from ipa_rl.cli.sidecar_verbs import add_light, new_app

        light = new_app()
        add_light(light)
        return light
    from ipa_rl.cli.commands import app

    return app
