"""`ipa-rl` within this process: its exit status and its words, without the seconds of a start."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest.mock import patch

from ipa_rl.cli import main

WIDTH = 80


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


def ipa_rl(*words: object, cwd: Path | None = None) -> Ended:
    """The command in a terminal of 80 columns; ``cwd``: the folder that it runs in."""
    out, err, status = StringIO(), StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        patch.dict(os.environ, {"COLUMNS": str(WIDTH)}),
        patch.object(sys, "argv", ["ipa-rl", *map(str, words)]),
        patch.object(sys, "unraisablehook", sys.unraisablehook),
        chdir(cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Ended(status, out.getvalue(), err.getvalue())


def fits(text: str) -> bool:
    """Whether no line is wider than the terminal."""
    return all(len(line.rstrip()) <= WIDTH for line in text.splitlines())
