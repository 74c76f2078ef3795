"""Whether the load that a controller has seen foretells itself better than the futures that it began with."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.clock import REFERENCE_STEPS
from ipa_rl.workload.futures import FEWEST_MOMENTS, RecordedFutures, crps, mixed, recorded_futures
from ipa_rl.workload.recent_fits import (
    DAY_S,
    LEAST_DAYS_OF_CLOCK,
    NEWEST,
    Fits,
    Recent,
    clearly_better,
    least_s,
)
from ipa_rl.workload.rests import rest
from ipa_rl.workload.steps import HISTORY_STEPS, least_rps, reference_load

OWN = "the load seen"
"""The name of its futures."""
_JUDGED, _PATHS = 240, 32


@dataclass(frozen=True, eq=False)
class Judged:
    """The better futures; ``is_own``: of the ``known_s`` seconds of load seen, and not those given.

    ``known_s``: 0 where nothing was compared yet.
    """

    futures: RecordedFutures
    is_own: bool
    known_s: int


def least_days_s(step_s: int) -> int:
    """Seconds of load from which on its futures are compared with those given: days, as loads follow days."""
    return max(LEAST_DAYS_OF_CLOCK * DAY_S, least_s(step_s))


def better_futures(
    recent: Recent, given: RecordedFutures, used: Judged, fits: Fits, steps: int, pause_s: float = 0.0
) -> Judged:
    """Those of the load seen, or those given, by the maxima of the next ``steps`` in the newest part.

    ``used``: what is in use, which stays unless the other is clearly better. ``fits``: by their season
    moments are compared, and those given too where the load follows their clock. ``pause_s``: rests now and
    then, so that another thread of the process goes on.
    """
    follows = fits.clock == "given" or fits.season.period_s == given.period_s
    given = given if follows else replace(given, period_s=0)
    if recent.known_s < least_days_s(recent.step_s):
        return Judged(given, False, 0)

    def own_until(end: int) -> RecordedFutures:
        loads, period_s = recent.rps[:end], fits.season.period_s
        return recorded_futures(OWN, loads, recent.clocks_s, period_s, recent.step_s, steps, pause_s)

    # The load seen foretells the newest part from the older one.
    split = int(len(recent.rps) * (1.0 - NEWEST))
    older, at = own_until(split), _newest(recent, split, steps)
    if len(older.at) < FEWEST_MOMENTS or len(at) < FEWEST_MOMENTS:
        return Judged(given, False, 0)
    losses = {
        is_own: _losses(futures, recent, at, steps, pause_s)
        for is_own, futures in ((False, given), (True, older))
    }
    del older  # it takes megabytes
    is_own = used.is_own ^ clearly_better(losses[not used.is_own], losses[used.is_own])
    if not is_own:
        return Judged(given, False, recent.known_s)
    own = mixed(own_until(len(recent.rps)), given.others or given, pause_s)
    return Judged(own, True, recent.known_s)


def _newest(recent: Recent, split: int, steps: int) -> IntArray:
    """Moments of the newest part around which all is known, evenly spread."""
    candidates = np.arange(split + HISTORY_STEPS, len(recent.rps) - steps + 1)
    candidates = candidates[:: max(len(candidates) // _JUDGED, 1)]
    spans = (recent.rps[one - HISTORY_STEPS : one + steps] for one in candidates.tolist())
    return candidates[np.array([np.isfinite(span).all() for span in spans], dtype=np.bool_)]


def _losses(futures: RecordedFutures, recent: Recent, at: IntArray, steps: int, pause_s: float) -> FloatArray:
    """The continuous ranked probability score (`crps`) of the maximum to come, relative to the reference."""
    step_s, clocks_s = recent.step_s, recent.clocks_s(at)
    futures = futures.alone  # what was recorded is judged, not what stands in for it
    losses = np.empty(len(at))
    for row, (moment, clock_s) in enumerate(zip(at.tolist(), clocks_s.tolist(), strict=True)):
        history = recent.rps[moment - HISTORY_STEPS : moment].astype(np.float64)
        reference_rps = reference_load(history, REFERENCE_STEPS, least_rps(step_s))
        paths, _ = futures.ahead(np.repeat(history, step_s), clock_s, _PATHS, steps)
        came = recent.rps[moment : moment + steps].max(keepdims=True).astype(np.float64)
        losses[row] = crps(paths.max(axis=1)[None], came)[0] / reference_rps
        rest(pause_s)
    return losses
