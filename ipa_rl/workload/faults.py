"""What is worth a look in a recording before anything is learned from it."""

from __future__ import annotations

import datetime

import numpy as np

from ipa_rl.jit import IntArray
from ipa_rl.workload.workload import Recorded, WorkloadModel

_SHORT_S = 3600
_IMPLAUSIBLE_RPS = (1e-4, 3e5)
_SILENT_S, _SILENT_REQUESTS = 60, 50


def doubts(description: WorkloadModel, recorded: Recorded) -> list[str]:
    """Doubts about a recording, each with what can be done: rates, spans, gaps, silences."""
    resolution_s = description.resolution_s
    if recorded.times_s is not None:
        counts, resolution_s = np.bincount(recorded.times_s.astype(np.int64)), 1.0
    else:
        assert recorded.counts is not None
        counts = recorded.counts.astype(np.int64)
    seconds = len(counts) * resolution_s
    found = []
    rps = counts.sum() / seconds
    if counts.sum() and not _IMPLAUSIBLE_RPS[0] <= rps <= _IMPLAUSIBLE_RPS[1]:
        found.append(f"{rps:.3g} requests/s over {seconds:.3g} s: is a unit off by 1000? see --unit")
    if seconds < _SHORT_S:
        whole, part = f"{seconds / 60:.3g} min", f"{seconds / 360:.2g} min"
        found.append(f"{whole} are short: {part} to choose by, {part} to report by; give a day or more")
    return [*found, *_gaps(description), *_silences(description, counts, resolution_s)]


def _gaps(description: WorkloadModel) -> list[str]:
    gaps = description.gaps
    if not gaps:
        return []
    for begin, end in gaps:
        if end - begin == 3600 and _may_be_left_out(description, begin):
            return [f"an hour is missing from {begin} s on, as when daylight saving begins: see --zone"]
    first = ", ".join(f"{begin} to {end} s" for begin, end in gaps[:3])
    more = f" and {len(gaps) - 3} more" if len(gaps) > 3 else ""
    return [f"nothing was recorded from {first}{more}; windows leave these gaps out"]


def _may_be_left_out(description: WorkloadModel, begin: int) -> bool:
    """Whether clocks are put forward at that second: early on a Sunday, in a zone that nobody named."""
    if description.start is None or description.start.tzinfo is not None or description.time_zone:
        return False
    at = description.start + datetime.timedelta(seconds=begin)
    return at.weekday() == 6 and at.hour <= 3 and at.minute == 0


def _silences(description: WorkloadModel, counts: IntArray, resolution_s: float) -> list[str]:
    """Stretches without a request in which many should have come, and that are no gaps."""
    filled = np.flatnonzero(counts)
    if len(filled) < 2:
        return []
    empty = np.diff(filled) - 1
    expected = counts.mean() * empty
    long = (empty * resolution_s >= _SILENT_S) & (expected >= _SILENT_REQUESTS)
    told = []
    for k in np.flatnonzero(long).tolist():
        begin, end = int((filled[k] + 1) * resolution_s), int(filled[k + 1] * resolution_s)
        if not any(first < end and after > begin for first, after in description.gaps):
            told.append(f"[{begin}, {end}]")
    if not told:
        return []
    first = ", ".join(told[:3]) + (", ..." if len(told) > 3 else "")
    problem = f"no request in {len(told)} long stretch{'es' * (len(told) > 1)}"
    return [f"{problem}; if nothing was recorded then, say so in workload.yaml: gaps: [{first}]"]
