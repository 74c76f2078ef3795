"""What a real cluster adds to the seams: loads that are measured, changes that may fail, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ipa_rl.agents.protocol import State
from ipa_rl.errors import one_line
from ipa_rl.jit import FloatArray, Record
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.simulation.transitions import start

OVERDUE_S = 1.0
"""Seconds left that are shown of a replica that should be ready by now."""


@dataclass(frozen=True, slots=True)
class Loads:
    """Recent loads, one a second, newest last.

    ``history_rps``: (seconds,) requests a second, gaps filled with the last known load. ``age_s``: seconds
    since the newest measurement. ``stale``: it is too old, or there is none; then the history is not to be
    acted on, and never means that there is no load. ``problem``: why, in one line; where loads are not stale,
    what of them is doubted and left out; empty where all is well. ``measured_rps``: the history with its
    gaps, NaN where nothing was measured; None where all of it was.
    """

    history_rps: FloatArray
    age_s: float
    stale: bool
    problem: str = ""
    measured_rps: FloatArray | None = None


class LoadSource(Protocol):
    """Where recent loads come from."""

    def loads(self, seconds: int) -> Loads:
        """The last ``seconds`` loads. Never raises for a source that does not answer: it is stale then."""
        ...


@dataclass(frozen=True, slots=True)
class StageSeen:
    """One stage as the cluster shows it.

    ``desired``, ``current``, ``ready``: replicas asked for, existing, and ready. ``variant``, ``batch``: what
    the ready pods really serve (by most of them); None where none is ready or a name is not known. ``asked``:
    variant and batch of the newest template. ``restarts``: of its containers; ``unschedulable``: pods that
    find no node. ``problem``: why the stage cannot be driven, empty where it can. ``serving``: variant, batch
    and number of ready pods, None where not known; empty where all serve the same. ``trouble``: in the
    cluster's words why pods do not become ready, empty where it says nothing. ``ending``: variants and
    numbers of pods that serve no more, and hold what they asked for until they are gone.
    """

    stage: str
    desired: int
    current: int
    ready: int
    variant: str | None
    batch: int | None
    asked: tuple[str | None, int | None]
    restarts: int = 0
    unschedulable: int = 0
    problem: str = ""
    serving: tuple[tuple[str | None, int | None, int], ...] = ()
    trouble: str = ""
    ending: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one object: before and after.

    ``knob``: variant, batch, replicas, or what follows the variant (cores, devices, where its pods run).
    """

    stage: str
    knob: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.knob} {self.before} -> {self.after}"


def changed_knobs(
    stage: str, asked: tuple[str | None, int | None], desired: int, wanted: StageConfig
) -> list[Change]:
    """One change a knob that differs; ``asked``: variant and batch size, ``desired``: replicas asked for."""
    pairs = {
        "variant": (asked[0], wanted.variant),
        "batch": (asked[1], wanted.batch),
        "replicas": (desired, wanted.replicas),
    }
    return [Change(stage, knob, str(old), str(new)) for knob, (old, new) in pairs.items() if old != new]


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of applying a configuration.

    ``changes``: what was written, empty where nothing differed. ``waiting``: changes put off until something
    else is ready, so that capacity never drops. ``refused``: what was not done, and why (another writer,
    quota, permission, conflict). ``configuration``: what is asked for now, cut to what fits. ``set_back``:
    what another writer had changed of what was asked for, and is undone.
    """

    configuration: Configuration
    changes: tuple[Change, ...] = ()
    waiting: tuple[Change, ...] = ()
    refused: tuple[str, ...] = ()
    set_back: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """The whole pipeline as the cluster shows it, and the State that agents decide by.

    ``queues_known``: whether somebody counts the requests that wait; where not, the State shows zeros.
    """

    state: State
    loads: Loads
    stages: tuple[StageSeen, ...]
    paused: bool = False
    problems: Sequence[str] = field(default_factory=tuple)
    queues_known: bool = True


def enter_starting(
    record: Record, began_s: Iterable[float], missing: int, start_up_s: float, now_s: float
) -> None:
    """Enter the replicas that start into a FLEET record, those that are ready first first.

    ``began_s``: when each began, seconds since 1970 as ``now_s``, though by another clock. ``missing``: asked
    for and not there yet; all of their start-up is before them.
    """
    left = Counter(max(round(start_up_s - max(now_s - one, 0.0)), OVERDUE_S) for one in began_s)
    if missing > 0:
        left[max(start_up_s, OVERDUE_S)] += missing
    for left_s, count in sorted(left.items()):
        start(record, count, left_s)


class LiveCluster(Protocol):
    """A real cluster: more is seen of it, and changes answer with what came of them."""

    def look(self) -> Seen:
        """What is seen now. Raises ClusterError where the cluster does not answer."""
        ...

    def apply(self, configuration: Configuration) -> Applied:
        """Move towards a configuration. Raises ClusterError where the cluster does not answer."""
        ...

    def plan(self, configuration: Configuration) -> Applied:
        """What `apply` would do, nothing written (dry run)."""
        ...


class ClusterError(RuntimeError):
    """The cluster did not answer, or answered what cannot be acted on; the controller holds and retries.

    The text is the reason in one line, whatever a server wrote into it.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(one_line(problem))


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What stands in the lease over which copies elect a leader; ``holder`` is empty where it was released.

    ``acquired``, ``renewed``: when, by the holder's clock. ``transitions``: how often the holder changed.
    ``handover``: what the holder leaves to whoever leads next, a short text.
    """

    holder: str
    lease_s: float
    acquired: datetime
    renewed: datetime
    transitions: int = 0
    handover: str = ""
