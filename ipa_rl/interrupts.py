"""Ctrl-C and SIGTERM end the command line in one line, at any moment, with the exit status of a shell.

While modules load, nothing has begun, and while the interpreter ends, all is done: a signal ends the process
at once. While a verb works the signal is raised as KeyboardInterrupt, so that what was started ends too; a
second one ends the process at once.

It imports nothing that takes time, as the package imports it first.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_AGAIN_S = 0.05
_MODULES = ("ipa_rl", "ipa_rl.cli", "ipa_rl.cli.ends_with_parent")


class _Received:
    """The signal that ends the verb, and what its user may do to go on."""

    number: int | None = None
    hint = ""


def is_command() -> bool:
    """Whether this process is ``ipa-rl``, and not a program that imports the package or a worker of it."""
    words = sys.orig_argv
    if "--multiprocessing-fork" in words:
        return False
    is_module = any(words[at : at + 2] == ["-m", name] for at in range(len(words)) for name in _MODULES)
    return is_module or sys.argv[0].endswith(("/ipa-rl", "\\ipa-rl.exe"))


def end_at_once() -> None:
    """From now on a signal ends the process with a line and nothing more."""
    _listen(_end)


@contextmanager
def raised() -> Iterator[None]:
    """Within, a signal is raised; at the end it is said in one line, and the process ends with its status.

    That holds whatever became of the KeyboardInterrupt on its way, be it another error or none.
    """
    sys.unraisablehook = _raise_again
    _listen(_raise)
    try:
        yield
    finally:
        end_at_once()
        if _Received.number is not None:
            _say(_Received.number, _Received.hint)
            sys.exit(128 + _Received.number)


@contextmanager
def hinted(hint: str) -> Iterator[None]:
    """Within, an interruption says how to go on; the innermost hint counts."""
    try:
        yield
    except KeyboardInterrupt:
        _Received.hint = _Received.hint or hint
        raise


def _listen(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell ignores SIGINT for what runs behind "&"
            signal.signal(number, handler)


def _end(number: int, _: FrameType | None) -> None:
    _say(number, "")
    os._exit(128 + number)


def _raise(number: int, _: FrameType | None) -> None:
    end_at_once()
    _Received.number = number
    raise KeyboardInterrupt


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise a KeyboardInterrupt again that hit code which cannot raise (a destructor, a callback of C)."""
    if _Received.number is None or not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
    else:
        import threading

        again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), _Received.number))
        again.daemon = True
        again.start()
        _listen(_raise)  # last: what is raised in here would be printed, not raised


def _say(number: int, hint: str) -> None:
    """Written past all buffers, which another thread may hold."""
    text = _WORDS[signal.Signals(number)] + (f"; {hint}" if hint else "")
    os.write(2, f"{text}\n".encode())
