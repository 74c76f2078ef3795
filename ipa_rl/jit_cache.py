"""Compiled functions kept on disk where that is possible, and compiled anew where it is not.

numba keeps what it compiled beside the source, or under the user's home. In a container there is often
neither: the package belongs to root, and the user has no home. Then each process compiles for itself, which
takes some ten seconds; ``NUMBA_CACHE_DIR`` names a folder to keep it in.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    InTreeCacheLocator,
    UserProvidedCacheLocator,
    UserWideCacheLocator,
)


def keep_compiled(dispatcher: Any) -> None:
    """Let a function that numba compiles load and save its machine code, where there is a place for it."""
    with suppress(RuntimeError):  # numba found no folder that it may write to
        dispatcher._cache = _Cache(dispatcher.py_func)  # type: ignore[no-untyped-call]


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


class _Cache(FunctionCache):
    """What cannot be read or written (a full disk) is compiled as if it were not there."""

    _impl_class = _Files

    def load_overload(self, signature: Any, context: Any) -> Any:
        with suppress(OSError):
            try:
                return super().load_overload(signature, context)  # type: ignore[no-untyped-call]
            except (AttributeError, ImportError):  # it names a type that has another name by now
                self.flush()  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        with suppress(OSError):
            super().save_overload(signature, compiled)  # type: ignore[no-untyped-call]
