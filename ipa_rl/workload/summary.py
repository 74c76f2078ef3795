"""A recording in a few words."""

from __future__ import annotations

import numpy as np

from ipa_rl.workload.workload import Recorded, WorkloadModel


def summary(description: WorkloadModel, recorded: Recorded) -> dict[str, str]:
    """When it was, how long it lasted, how high the load was and what is missing, in words by name."""
    slot_s, counts = description.resolution_s, recorded.counts
    if counts is None:
        assert recorded.times_s is not None
        counts = np.bincount(recorded.times_s.astype(np.int64))
    seconds, requests = len(counts) * slot_s, int(counts.sum())
    missing_s = sum(end - begin for begin, end in description.gaps)
    rps = requests / max(seconds - missing_s, slot_s)
    begin, dated = description.start, ", no date"
    zone = description.time_zone or ("UTC" if begin is not None and begin.tzinfo else "zone unknown")
    if begin is not None:
        dated = f", from {begin:%Y-%m-%d %H:%M:%S} ({zone})"
    return {
        "span": in_words(seconds) + dated,
        "load": f"{requests:,} requests, {rps:.3g}/s; at most {int(counts.max()):,} in {in_words(slot_s)}",
        "gaps": f"{len(description.gaps)}, {in_words(missing_s)} in all" if missing_s else "none",
    }


def in_words(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> in_words(3502.3), in_words(0.25), in_words(90_000)
    ('58 min 22 s', '0.25 s', '1 d 1 h')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    sizes = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    k = next(k for k, (size, _) in enumerate(sizes) if seconds >= size)
    (large, first), (small, second) = sizes[k], sizes[k + 1]
    rest = int(seconds % large // small)
    return f"{int(seconds // large):,} {first}" + (f" {rest} {second}" if rest else "")
