"""The request trace: its parts, the paper's windows, and stretches free of missing data.

Loads are requests a second, one value a second, divided by 8 and rounded down as in the paper
(arXiv 2308.12871). The split is that of section 7 of the design.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.errors import InputError, quoted

DAMPING_FACTOR = 8
LONGEST_GAP_S = 10
"""A stretch with a longer run of raw zeros misses data and is left out."""

HORIZON_S = 20
"""Seconds ahead that a forecast covers: two adaptation intervals, as in the paper."""

Loads: TypeAlias = NDArray[np.float64] | NDArray[np.int64]
"""Requests in each second."""

Part = Literal["train", "validation", "test"]
PARTS: dict[Part, tuple[int, int]] = {
    "train": (0, 1_200_000),
    "validation": (1_200_000, 1_500_000),
    "test": (1_500_000, 1_800_000),
}
PAPER_WINDOWS: dict[str, tuple[tuple[int, int], ...]] = {
    "bursty": ((1_301_160, 1_302_360),),
    "steady-low": ((1_299_600, 1_300_800),),
    "steady-high": ((1_768_800, 1_769_400), (1_768_800, 1_769_400)),
    "fluctuating": ((1_301_400, 1_302_000), (1_308_600, 1_309_200)),
}
HELD_OUT = tuple(
    (start - 3600, end + 3600)
    for stretches in PAPER_WINDOWS.values()
    for start, end in stretches
    if end <= PARTS["validation"][1]
)
"""The hour around each of the paper's windows, which the validation part leaves out."""


@dataclass(frozen=True)
class Window:
    """A stretch of arrivals, and the loads before it.

    ``arrivals``: (history_s + length,) requests in each second; the first ``history_s`` have passed.
    ``times_s``: exact times of the others, in seconds since the history's end, where they are known.
    ``clock_s``: what the clock says at the history's end, in seconds; on the trace its own second. It runs on
    where stretches of the trace were joined.
    """

    name: str
    arrivals: NDArray[np.int64]
    history_s: int
    times_s: NDArray[np.float64] | None = None
    clock_s: int = 0


@cache
def load_raw() -> NDArray[np.uint16]:
    """The trace as recorded, not divided. Raises InputError where the file is missing or broken."""
    path = resources.folder("profiles") / "trace" / "twitter_rps.npy.xz"
    try:
        with lzma.open(path) as file:
            return np.asarray(np.load(file, allow_pickle=False), dtype=np.uint16)
    except (OSError, ValueError, EOFError, lzma.LZMAError) as error:
        fix = "restore the file from the repository"
        raise InputError("is not a readable trace", file=path, fix=fix) from error


@cache
def load_trace() -> NDArray[np.int64]:
    """Loads of the whole trace, requests a second."""
    return load_raw().astype(np.int64) // DAMPING_FACTOR


def thinned(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """So many of the requests, evenly spread: of 0.5 every second one; a share over 1 repeats some.

    >>> thinned(np.array([3, 0, 4, 1]), 0.5).tolist()
    [1, 0, 2, 1]
    """
    sums = np.floor(np.cumsum(counts) * share + 1e-9).astype(np.int64)
    return np.asarray(np.diff(sums, prepend=0), dtype=np.int64)


def scaled(window: Window, scale: float) -> Window:
    """The window with ``scale`` times its requests (`thinned`), for windows without exact times."""
    return window if scale == 1.0 else replace(window, arrivals=thinned(window.arrivals, scale))


def load_part(part: Part) -> NDArray[np.int64]:
    """Loads of one part. Validation still holds the stretches that `starts` leaves out."""
    begin, end = PARTS[part]
    return load_trace()[begin:end]


def true_maxima(loads: Loads, at: NDArray[np.int64], horizon_s: int = HORIZON_S) -> NDArray[np.float64]:
    """The maximum of the horizon_s seconds from each second of ``at`` on."""
    views = np.lib.stride_tricks.sliding_window_view(loads, horizon_s)
    return np.asarray(views[at].max(axis=1), dtype=np.float64)


def paper_window(name: str, history_s: int = 0) -> Window:
    """One of the paper's windows, its stretches one after the other. Raises InputError on other names.

    >>> int(paper_window("bursty").arrivals.sum())
    14437
    """
    if name not in PAPER_WINDOWS:
        fix = f"use one of {', '.join(PAPER_WINDOWS)}"
        raise InputError(f"no window {quoted(name)}", field="window", fix=fix)
    first = PAPER_WINDOWS[name][0][0]
    loads = [load_trace()[start:end] for start, end in PAPER_WINDOWS[name]]
    arrivals = np.concatenate([load_trace()[first - history_s : first], *loads])
    return Window(name, arrivals, history_s, clock_s=first)


@cache
def missing_before() -> NDArray[np.int64]:
    """Seconds of missing data (runs of zeros longer than LONGEST_GAP_S) before each second."""
    empty = np.concatenate([[False], load_raw() == 0, [False]])
    edges = np.flatnonzero(np.diff(empty.astype(np.int8)))
    missing = np.zeros(len(load_raw()), dtype=np.int64)
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - begin > LONGEST_GAP_S:
            missing[begin:end] = 1
    return np.concatenate([[0], np.cumsum(missing)])


def is_whole(begin: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which stretches begin:end (seconds of the trace) miss no data and touch no held-out hour.

    Outside of the validation part nothing is held out, as no paper window but the test part's is there.
    """
    missing = missing_before()
    whole = missing[end] == missing[begin]
    for held_begin, held_end in HELD_OUT:
        whole &= (end <= held_begin) | (begin >= held_end)
    return np.asarray(whole, dtype=np.bool_)


@cache
def starts(part: Part, length_s: int, history_s: int) -> NDArray[np.int64]:
    """Every second of a part at which a whole stretch of that length, with its history, may begin."""
    begin, end = PARTS[part]
    candidates = np.arange(begin + history_s, end - length_s + 1)
    return candidates[is_whole(candidates - history_s, candidates + length_s)]


def stretch(part: Part, start: int, length_s: int, history_s: int) -> Window:
    """A stretch of a part that begins at a second of the trace, its history before it."""
    arrivals = load_trace()[start - history_s : start + length_s]
    return Window(f"{part} {start}", arrivals, history_s, clock_s=start)


def windows(part: Part, length_s: int, history_s: int) -> list[Window]:
    """Windows of a part, one after the other without overlap, those with missing data left out."""
    begin, end = PARTS[part]
    candidates = np.arange(begin + history_s, end - length_s + 1, length_s)
    whole = is_whole(candidates - history_s, candidates + length_s)
    return [stretch(part, start, length_s, history_s) for start in candidates[whole].tolist()]


def forget_trace() -> None:
    """Give the memory of the trace back (20 MB), which is read again where it is needed once more."""
    for kept in (load_raw, load_trace, missing_before, starts):
        kept.cache_clear()
