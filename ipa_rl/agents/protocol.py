"""The seam between what decides and what is decided about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ipa_rl.compiled import FloatArray, Records
from ipa_rl.pipeline import Configuration


@dataclass(frozen=True, slots=True)
class State:
    """What a cluster shows: past loads (one a second, newest last), replicas, requests that wait.

    ``fleet``: FLEET records by stage (`ipa_rl.simulation.transitions`); ``queued``: requests by stage.
    ``stale``: the newest load is not known, and the history shows the last that was. ``clock_s``: what the
    clock says now, in seconds (`ipa_rl.workload.clock`).
    """

    history_rps: FloatArray
    fleet: Records
    queued: FloatArray
    stale: bool = False
    clock_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to run, and the load (requests a second) that it was planned for.

    ``fallback``: why an agent's own decision was replaced by the program's; empty where it was not.
    """

    configuration: Configuration
    planned_rps: float
    fallback: str = ""


class Agent(Protocol):
    """Chooses a configuration every adaptation interval."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    def decide(self, state: State) -> Decision:
        """The configuration to run from now on."""
        ...
