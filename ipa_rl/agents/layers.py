"""Layers of a network as named arrays of an ``.npz`` file: weight_0, bias_0, weight_1, ..."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.arrays import Headers, Wanted

Matrix = NDArray[np.float32]
Layer = tuple[Matrix, Matrix]
"""Weight (out, in) and bias (out,); of several networks at once one more axis before."""


def arrays_of(layers: Sequence[Layer]) -> dict[str, NDArray[Any]]:
    """What a file holds of layers, by name."""
    return {
        f"{kind}_{i}": one
        for i, layer in enumerate(layers)
        for kind, one in zip(("weight", "bias"), layer, strict=True)
    }


def layers_of(arrays: Mapping[str, NDArray[Any]]) -> tuple[Layer, ...]:
    """The layers that a file holds."""
    return tuple((arrays[f"weight_{i}"], arrays[f"bias_{i}"]) for i in range(_depth(arrays)))


def wanted_layers(
    headers: Headers, inputs: int | None, outputs: int | None = None, networks: tuple[int | None, ...] = ()
) -> Wanted:
    """What layers must be to fit one to the next, one at least.

    ``inputs``, ``outputs``: of the first and of the last; None for any number. ``networks``: the axis before.
    """
    wanted: Wanted = {}
    rows, depth = inputs, max(_depth(headers), 1)
    for i in range(depth):
        columns, found = rows, headers.get(f"weight_{i}")
        rows = found.shape[-2] if found is not None and len(found.shape) > 1 else None
        rows = outputs if i == depth - 1 and outputs is not None else rows
        wanted[f"weight_{i}"] = "f4", (*networks, rows, columns)
        wanted[f"bias_{i}"] = "f4", (*networks, rows)
    return wanted


def _depth(names: Collection[str]) -> int:
    """How many layers there are among arrays of these names."""
    return sum(name.startswith("weight_") for name in names)
