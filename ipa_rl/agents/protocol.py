"""The seam between what decides and what is decided about."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from ipa_rl.border import MOST_RPS, amounts, as_array, number
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.objective import Allotment
from ipa_rl.pipeline import Configuration
from ipa_rl.simulation.tables import MOST_SCALE, MOST_SLOWER
from ipa_rl.simulation.transitions import check_fleet


@dataclass(frozen=True, slots=True)
class State:
    """What a cluster shows: past loads (one a second, newest last), replicas, requests that wait.

    ``fleet``: FLEET records by stage (`ipa_rl.simulation.transitions`); ``queued``: requests by stage.
    ``stale``: the newest load is not known, and the history shows the last that was. ``clock_s``: what the
    clock says now, in seconds (`ipa_rl.workload.clock`). ``service_scales``: how many times as long as its
    profile says each stage takes to serve (`ipa_rl.agents.service_scales`); None where nobody measures that.
    ``start_scale``: how many times as long as profiled starts are to be expected to take
    (`ipa_rl.agents.start_scales`), likewise. ``allotted``: of resources that others share; None where nobody
    does.
    """

    history_rps: FloatArray
    fleet: Records
    queued: FloatArray
    stale: bool = False
    clock_s: float = 0.0
    service_scales: FloatArray | None = None
    start_scale: float | None = None
    allotted: Allotment | None = None


def checked_state(state: State, below: IntArray, history_s: int) -> State:
    """The state, for compiled code.

    Raises InputError where it is not one of this pipeline, or shows less than ``history_s`` of loads.
    ``below``: `ipa_rl.simulation.tables.choices_below`.
    """
    seconds = as_array(state.history_rps, "history_rps").size
    history_rps = amounts(state.history_rps, "history_rps", (seconds,), MOST_RPS)
    if seconds < history_s:
        raise InputError(f"has {seconds} s", field="history_rps", fix=f"give {history_s} or more")
    queued = amounts(state.queued, "queued", below.shape[:1], math.inf)
    check_fleet(state.fleet, below)
    clock_s = number(state.clock_s, "clock_s")
    scales = state.service_scales
    if scales is not None:
        scales = amounts(scales, "service_scales", below.shape[:1], MOST_SCALE)
    start_scale = state.start_scale
    if start_scale is not None:
        start_scale = number(start_scale, "start_scale", 1.0, MOST_SLOWER)
    return replace(
        state,
        history_rps=history_rps,
        queued=queued,
        clock_s=clock_s,
        service_scales=scales,
        start_scale=start_scale,
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to run, and the load (requests a second) that it was planned for.

    ``planned_rps``: the forecast with its margin, or the reference load where an agent forecasts none.
    ``fallback``: why an agent's own decision was replaced by the program's; empty where it was not.
    ``grounds``: what an agent that can tell made it from (`ipa_rl.agents.planner.Plan`), for whoever logs it.
    """

    configuration: Configuration
    planned_rps: float
    fallback: str = ""
    grounds: Any = field(default=None, compare=False, repr=False)


@runtime_checkable
class AsksLater(Protocol):
    """An agent that asks after its decision for what it had no time for, so that it is known at the next."""

    def catch_up(self, within_s: float) -> None:
        """For so many seconds of the processor at most."""
        ...


class Agent(Protocol):
    """Chooses a configuration every adaptation interval."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    def decide(self, state: State) -> Decision:
        """The configuration to run from now on."""
        ...
