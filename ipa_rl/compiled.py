"""Compilation to machine code, in one typed place.

The simulator advances each environment by itself in plain loops over records, so that an episode is
the same to the bit whatever the number of environments beside it; numba makes the loops fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])

IntArray: TypeAlias = NDArray[np.int64]
FloatArray: TypeAlias = NDArray[np.float64]
Records: TypeAlias = NDArray[np.void]
"""A structured array; its dtype is named in the docstring of the function that takes it."""
Record: TypeAlias = Any
"""One element of a structured array, read and written by field inside compiled functions."""


def compiled(function: F) -> F:
    """The function compiled by numba on first call, and kept on disk for the next process."""
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))
