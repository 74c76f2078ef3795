"""Compiled functions kept on disk where that is possible, and compiled anew where it is not.

numba keeps what it compiled beside the source, or under the user's home. In a container there is often
neither: the package belongs to root, and the user has no home. Then each process compiles for itself, which
takes some ten seconds; ``NUMBA_CACHE_DIR`` names a folder to keep it in.

Of several processes that begin at once, the first to need a function compiles it, and the others wait for it.

What is compiled holds what it calls and the constants that it names, of other modules too. numba only looks
at when the function's own file changed; here what is kept counts as long as all of these are the same
(`digest`), so that nothing old runs after a pull or an edit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from types import CodeType
from typing import Any

import numpy as np
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # Windows: each process compiles for itself
    flock = None  # type: ignore[assignment]

PATIENCE_S = 60.0
"""How long another process, which may be one that was stopped, is waited for."""


def keep_compiled(dispatcher: Any) -> None:
    """Let a function that numba compiles load and save its machine code, where there is a place for it."""
    with suppress(RuntimeError):  # numba found no folder that it may write to
        cache = dispatcher._cache = _Cache(dispatcher)
        load_or_compile = dispatcher.compile

        def compile_in_turn(signature: Any) -> Any:
            with global_compiler_lock, _turn(cache.lock):
                return load_or_compile(signature)

        dispatcher.compile = compile_in_turn


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """While no other process compiles the same; where files cannot be locked, or it takes long, at once.

    A caller takes its turn before what it calls, and no two functions call each other.
    """
    file = None
    with suppress(OSError):
        if flock is not None:
            file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            _wait_for(file)
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):
                lock.unlink()  # who waits for it finds what is compiled, and who comes now as well
            os.close(file)


def _wait_for(file: int) -> None:
    end_s = monotonic() + PATIENCE_S
    while True:
        try:
            return flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if monotonic() > end_s:
                return None
        sleep(0.02)


class _HomeLocator(UserWideCacheLocator):
    """The user's cache folder, where the user has one.

    Without HOME and without an entry in the system's list of users, "~" would become a folder of that name.
    """

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        try:
            Path.home()
        except RuntimeError:
            return None
        return super().from_function(function, file)  # type: ignore[no-untyped-call]


class _Files(CompileResultCacheImpl):
    _locator_classes = [UserProvidedCacheLocator, InTreeCacheLocator, _HomeLocator]  # noqa: RUF012


def digest(dispatcher: Dispatcher) -> str:
    """Of a compiled function's code and options, what it calls, and constants that these name."""
    found, met, left = sha256(), {dispatcher}, [dispatcher]
    for one in left:
        found.update(repr(sorted(one.targetoptions.items())).encode())
        codes = [one.py_func.__code__]
        for code in codes:
            codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
            plain = [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
            found.update(repr((code.co_code, code.co_names, plain)).encode())
            for name in code.co_names:
                value = one.py_func.__globals__.get(name)
                if isinstance(value, Dispatcher):
                    left += [value] if value not in met else []
                    met.add(value)
                elif isinstance(value, np.ndarray):
                    found.update(repr((value.dtype, value.shape, value.tobytes())).encode())
                elif isinstance(value, type):
                    found.update(repr(getattr(value, "_fields", ())).encode())
                elif isinstance(value, int | float | str | tuple):
                    found.update(repr(value).encode())
    return found.hexdigest()


class _Cache(FunctionCache):
    """What cannot be read or written (a full disk) is compiled as if it were not there."""

    _impl_class = _Files

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher.py_func)  # type: ignore[no-untyped-call]
        self._dispatcher = dispatcher

    @property
    def lock(self) -> Path:
        """What is locked while it is compiled."""
        return Path(self._cache_file._index_path).with_suffix(".lock")

    def load_overload(self, signature: Any, context: Any) -> Any:
        # Not before, as what it calls may be defined after it. What is saved is stamped with it as well.
        self._cache_file._source_stamp = digest(self._dispatcher)
        with suppress(OSError):
            try:
                return super().load_overload(signature, context)  # type: ignore[no-untyped-call]
            except (AttributeError, ImportError):  # it names a type that has another name by now
                self.flush()  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        with suppress(OSError):
            super().save_overload(signature, compiled)  # type: ignore[no-untyped-call]
