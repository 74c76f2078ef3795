"""Checks at the border of compiled code: what comes in from outside fits, is in range and is finite.

Compiled loops look up positions without checking them, which makes them fast: one that is out of range reads
and writes memory of somebody else. So whoever takes actions, decisions, loads or a pipeline from outside
checks them once, here, and what is inside is trusted. All raise InputError, which is a ValueError.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import FloatArray, IntArray

MOST_REPLICAS = 2**31 - 1
"""Replicas of a stage, as Kubernetes counts them."""

MOST_RPS = 1e9
"""Requests a second beyond which a load is taken for a mistake."""

MOST_S = 1e12
"""Seconds beyond which a duration is taken for a mistake."""


def positions(values: ArrayLike, field: str, shape: tuple[int, ...], below: IntArray) -> IntArray:
    """Whole numbers of that shape, from 0 and each below its entry of ``below`` (its last axes).

    Any integer type is taken; floats, which would be rounded, are not.
    """
    array = _fitting(values, field, "iu", "whole numbers", shape)
    found = np.ascontiguousarray(array, dtype=np.int64)  # unsigned ones above its range come out negative
    outside = (found < 0) | (found >= below)
    if outside.any():
        at = tuple(np.argwhere(outside)[0].tolist())
        fix = f"give a whole number, 0 to {np.broadcast_to(below, shape)[at] - 1}"
        raise InputError(f"is {array[at]} at {list(at)}", field=field, fix=fix)
    return found


def amounts(values: ArrayLike, field: str, shape: tuple[int, ...], most: float) -> FloatArray:
    """Finite numbers of that shape, 0 to ``most``."""
    array = _fitting(values, field, "iuf", "numbers", shape)
    found = np.ascontiguousarray(array, dtype=np.float64)
    within = (found >= 0.0) & (found <= most)  # as NaN is not
    if not within.all():
        at = tuple(np.argwhere(~within)[0].tolist())
        raise InputError(f"is {array[at]} at {list(at)}", field=field, fix=f"give a number, 0 to {most:g}")
    return found


def as_array(values: ArrayLike, field: str) -> NDArray[Any]:
    """The values as an array of any kind and shape."""
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:  # rows of different lengths, mostly
        raise InputError("is not an array", field=field, fix="give rows of the same length") from error


def _fitting(values: ArrayLike, field: str, kinds: str, what: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = as_array(values, field)
    if array.dtype.kind not in kinds:
        raise InputError(f"holds {array.dtype}", field=field, fix=f"give {what}, {list(shape)}")
    if array.shape != shape:
        raise InputError(f"has shape {list(array.shape)}", field=field, fix=f"give {list(shape)}")
    return array


def whole(value: object, field: str, least: int, most: int) -> int:
    """A whole number within these."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(f"is {_told(value)}", field=field, fix=f"give a whole number, {least} to {most}")
    return int(value)


def number(value: object, field: str, least: float = 0.0, most: float = MOST_S) -> float:
    """A number within these, which NaN is not."""
    # a narrow float would round the limit to its own kind, and infinity be within it
    found = float(value) if isinstance(value, np.floating) else value
    if not isinstance(found, int | float | np.integer) or not least <= found <= most:
        raise InputError(f"is {_told(value)}", field=field, fix=f"give a number, {least:g} to {most:g}")
    return float(found)


def _told(value: object) -> str:
    return f"an array {list(value.shape)}" if isinstance(value, np.ndarray) else quoted(value)


def positive(value: object, field: str, most: float = MOST_S) -> float:
    """A number above 0, at most ``most``."""
    if number(value, field, 0.0, most) == 0.0:
        raise InputError("is 0", field=field, fix=f"give a number above 0, {most:g} at most")
    return float(value)  # type: ignore[arg-type]
