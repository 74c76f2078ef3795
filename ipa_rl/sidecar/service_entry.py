"""How long stages really take to serve: learned from what a live cluster shows, told in words."""

from __future__ import annotations

import logging
from typing import Any

from ipa_rl.agents.protocol import State
from ipa_rl.agents.service_scales import ServiceMeter
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Seen
from ipa_rl.pipeline import Pipeline

LOG = logging.getLogger(__name__)


def learned_scales(meter: ServiceMeter, seen: Seen, state: State) -> FloatArray:
    """The scales of all stages with what is seen now; ``state``: the same for agents.

    Where queues are not counted, or loads are missing or older than an interval, nothing is learned, and what
    was learned stays. What is found anew is logged.
    """
    interval_s = meter.interval_s or meter.definition.timing.interval_s
    if not seen.queues_known or seen.loads.stale or state.stale or seen.loads.age_s > interval_s:
        meter.lost_sight()
        return meter.scales
    before = meter.scales
    after = meter.saw(state)
    for stage, old, new in zip(meter.definition.pipeline.stages, before, after, strict=True):
        if old != new:
            LOG.warning("%s %s", stage.name, _told(float(new)))
    return after


def service_entry(pipeline: Pipeline, meter: ServiceMeter | None) -> list[dict[str, Any]] | None:
    """The stages whose profile does not hold, for the decision log; None where nobody measures."""
    if meter is None:
        return None
    found = zip(pipeline.stages, meter.scales.tolist(), meter.intervals.tolist(), strict=True)
    return [
        {
            "stage": stage.name,
            "scale": scale,
            "intervals": round(intervals),
            "told": f"{stage.name} {_told(scale)}; measured over {round(intervals)} intervals",
        }
        for stage, scale, intervals in found
        if scale != 1.0
    ]


def _told(scale: float) -> str:
    """A scale in words.

    >>> _told(1.24), _told(1.0)
    ('takes 24 % longer to serve than its profile says', 'serves as its profile says')
    """
    if scale == 1.0:
        return "serves as its profile says"
    return f"takes {round(100.0 * (scale - 1.0))} % longer to serve than its profile says"
