"""Loads of many workloads, pooled: what is known of a new service's load, which has no past.

Stretches of the train parts of the workloads that ship, by steps of some lengths, so many of each workload
that none outweighs the others by far. A file that ships holds them (`scripts/pool.py` makes it): half a
megabyte, where reading the workloads takes hundred times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.arrays import misfit, read_arrays, write_arrays
from ipa_rl.workload.steps import by_step
from ipa_rl.workload.workload import Workload

LENGTHS_S = (1, 5, 60)
"""Lengths of steps that are kept; others are means of these."""
STRETCHES, STRETCH_STEPS = 15, 1200
"""Of each workload and length so many stretches at most, of so many steps; of the longest length all."""

Loads32 = NDArray[np.float32]


@lru_cache(maxsize=16)
def train_loads(workload: Workload, step_s: int) -> tuple[int, Loads32]:
    """The first second and the loads by step of the train part, NaN where not recorded or held out.

    Read-only, and the same for all who ask: planner and policy look back on the same past.
    """
    begin, end = workload.parts["train"]
    first = end - (end - begin) // step_s * step_s
    loads = np.empty((end - first) // step_s, dtype=np.float32)
    for i in range(0, len(loads), _AT_ONCE):
        some = slice(i, min(i + _AT_ONCE, len(loads)))
        stretch = slice(first + some.start * step_s, first + some.stop * step_s)
        known = np.where(workload.missing(stretch.start, stretch.stop), np.nan, workload.loads[stretch])
        loads[some] = workload.scale * by_step(known, step_s)
    for held_begin, held_end in workload.description.held_out:
        loads[max((held_begin - first) // step_s, 0) : max(-(-(held_end - first) // step_s), 0)] = np.nan
    loads.setflags(write=False)
    return first, loads


_AT_ONCE = 2000
"""Steps that are made at once, so that little memory is taken."""


def pooled(workloads: Iterable[Workload]) -> dict[int, Loads32]:
    """By length of a step the stretches one after the other, a NaN after each."""
    found: dict[int, list[Loads32]] = {length_s: [] for length_s in LENGTHS_S}
    for workload in workloads:
        for length_s in LENGTHS_S:
            _, loads = train_loads(workload, length_s)
            for stretch in _stretches(loads, length_s == LENGTHS_S[-1]):
                found[length_s] += [stretch, np.full(1, np.nan, dtype=np.float32)]
    return {length_s: np.concatenate(stretches) for length_s, stretches in found.items()}


def _stretches(loads: Loads32, takes_all: bool) -> Iterator[Loads32]:
    """Evenly spread, without overlap."""
    if takes_all or len(loads) <= STRETCHES * STRETCH_STEPS:
        yield loads
        return
    for begin in np.linspace(0, len(loads) - STRETCH_STEPS, STRETCHES).astype(int).tolist():
        yield loads[begin : begin + STRETCH_STEPS]


def pooled_by_step(loads: dict[int, Loads32], step_s: int) -> Loads32:
    """Loads by steps of any length, of those of the longest length that it is a multiple of."""
    length_s = max(one for one in LENGTHS_S if step_s % one == 0)
    kept = loads[length_s]
    edges = np.flatnonzero(np.isnan(kept))
    stretches = [one[np.isfinite(one)] for one in np.split(kept, edges)]
    each = [
        np.append(by_step(one.astype(np.float64), step_s // length_s), np.nan)
        for one in stretches
        if len(one)
    ]
    return np.concatenate(each).astype(np.float32)


def save_pool(loads: dict[int, Loads32], path: Path) -> None:
    """Keep them, to three digits."""
    write_arrays(
        {f"by_{one}s": array.astype(np.float16) for one, array in loads.items()}, path, compressed=True
    )


def shipped_pool() -> Path:
    """Where the file is."""
    return resources.folder("workloads") / "pool.npz"


def read_pool(path: Path) -> dict[int, Loads32]:
    """What was kept. Raises InputError where it is missing or broken."""
    names = {length_s: f"by_{length_s}s" for length_s in LENGTHS_S}
    check = partial(misfit, wanted=dict.fromkeys(names.values(), ("f2", (None,))))
    arrays = read_arrays(path, check, "pool of loads", "make it: python scripts/pool.py")
    return {length_s: arrays[name].astype(np.float32) for length_s, name in names.items()}
