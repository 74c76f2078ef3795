"""How long stages really take to serve and to start: learned from what a live cluster shows, and told."""

from __future__ import annotations

import logging
from typing import Any

from ipa_rl.agents.meters import Meters
from ipa_rl.agents.protocol import State
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Seen
from ipa_rl.pipeline import Pipeline

LOG = logging.getLogger(__name__)


def learned(meters: Meters, seen: Seen, state: State) -> State:
    """The state, with all scales as they are learned by what is seen now; ``state``: the same for agents.

    Where queues are not counted, or loads are missing or older than an interval, nothing is learned of how
    long stages serve, and what was learned stays. What is found anew is logged.
    """
    service, starts = meters.service, meters.starts
    interval_s = service.interval_s or service.definition.timing.interval_s
    is_unknown = not seen.queues_known or seen.loads.stale or state.stale or seen.loads.age_s > interval_s
    before = service.scales, starts.scales.copy()
    state = meters.lost_sight(state) if is_unknown else meters.saw(state)
    stages = service.definition.pipeline.stages
    for does, old, new in (("serve", before[0], service.scales), ("start", before[1], starts.scales)):
        for s in (old != new).nonzero()[0].tolist():
            LOG.warning("%s %s", stages[s].name, _told(does, float(new[s])))
    return state


def service_entry(pipeline: Pipeline, meters: Meters | None) -> list[dict[str, Any]] | None:
    """The stages that serve otherwise than profiled, for the decision log; None where nobody measures."""
    if meters is None:
        return None
    found = _entry(pipeline, "serve", meters.service.scales)
    intervals = dict(zip([stage.name for stage in pipeline.stages], meters.service.intervals, strict=True))
    for one in found:
        one["intervals"] = round(intervals[one["stage"]])
        one["told"] += f"; measured over {one['intervals']} intervals"
    return found


def start_entry(pipeline: Pipeline, meters: Meters | None) -> list[dict[str, Any]] | None:
    """The stages whose last starts took longer than profiled, likewise."""
    return None if meters is None else _entry(pipeline, "start", meters.starts.scales)


def _entry(pipeline: Pipeline, does: str, scales: FloatArray) -> list[dict[str, Any]]:
    """Those whose scale is not 1."""
    return [
        {"stage": stage.name, "scale": scale, "told": f"{stage.name} {_told(does, scale)}"}
        for stage, scale in zip(pipeline.stages, scales.tolist(), strict=True)
        if scale != 1.0
    ]


def _told(does: str, scale: float) -> str:
    """A scale in words.

    >>> _told("serve", 1.24), _told("start", 5.0)
    ('takes 24 % longer to serve than its profile says', 'takes 5 times as long to start as its profile says')
    """
    if scale == 1.0:
        return f"takes as long to {does} as its profile says"
    if scale < 2.0:
        return f"takes {round(100.0 * (scale - 1.0))} % longer to {does} than its profile says"
    return f"takes {scale:.3g} times as long to {does} as its profile says"
