"""Compilation to machine code, in one typed place.

The simulator advances each environment by itself in plain loops over records, so that an episode is
the same to the bit whatever the number of environments beside it; numba makes the loops fast.

A controller that decides every few seconds needs no speed, and numba costs it more than 100 MB of memory.
So where ``IPA_RL_INTERPRETED=1`` is set before ipa_rl is imported, or numba is not installed, the same
functions run as the plain Python that they are, with the same results.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
Records: TypeAlias = NDArray[np.void]
"""A structured array; its dtype is named in the docstring of the function that takes it."""
Record: TypeAlias = Any
"""One element of a structured array, read and written by field inside compiled functions."""

INTERPRETED_VARIABLE = "IPA_RL_INTERPRETED"
INTERPRETED = os.environ.get(INTERPRETED_VARIABLE) == "1" or find_spec("numba") is None
"""Whether functions run as plain Python in this process."""


def compiled(function: F) -> F:
    """The function compiled by numba on first call, and kept on disk for the next process where it can be."""
    return _interpreted(function) if INTERPRETED else _compiled(function, makes_arrays=True)


def compiled_in_place(function: F) -> F:
    """As `compiled`, of what only reads and writes what it is given, and makes no arrays.

    numba then counts no references, and the function becomes part of what calls it: passing arrays and
    records on took half of the time of rollouts, and more of the request-level simulator's.
    """
    return _interpreted(function) if INTERPRETED else _compiled(function, makes_arrays=False)


def _compiled(function: F, makes_arrays: bool) -> F:
    import numba

    from ipa_rl.jit_cache import keep_compiled

    options: dict[str, Any] = {"error_model": "numpy", "_nrt": makes_arrays, "forceinline": not makes_arrays}
    dispatcher = numba.njit(**options)(function)
    keep_compiled(dispatcher)
    return cast(F, dispatcher)


def _interpreted(function: F) -> F:
    """The function itself, for which fields of records are at hand as attributes, as numba has them."""
    taken = {name: kind for name, kind in function.__annotations__.items() if name != "return"}
    if _NUMBERS.issuperset(taken.values()):
        return function

    @wraps(function)
    def call(*arguments: object) -> object:
        return function(*[one if type(one) in _AS_THEY_ARE else _with_attributes(one) for one in arguments])

    return cast(F, call)


def _with_attributes(value: object) -> object:
    """Structured arrays, records and named tuples of these as views whose fields are attributes."""
    kind = type(value)
    if kind is np.ndarray and cast("NDArray[Any]", value).dtype.names:
        return cast("NDArray[Any]", value).view(np.recarray)
    if kind is np.void:
        return np.asarray(value).view(np.recarray)[()]
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return kind(*map(_with_attributes, value))
    return value


_AS_THEY_ARE: set[type] = {int, float, bool, list, SimpleNamespace, np.recarray, np.record}
_NUMBERS = {"int", "float", "bool"}


def plain(value: T) -> T:
    """What Python reads several times as fast as arrays, where functions are interpreted; else the value.

    Arrays and records, those in named tuples as well, become lists and objects, copied: index them by one
    position at a time.
    """
    return cast(T, _plain(value)) if INTERPRETED else value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        fields = value._fields  # type: ignore[attr-defined]
        return SimpleNamespace(**dict(zip(fields, map(_plain, value), strict=True)))
    if isinstance(value, np.void):
        return SimpleNamespace(**{name: value[name].tolist() for name in value.dtype.names or ()})
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value] if value.dtype.names else value.tolist()
    return value
