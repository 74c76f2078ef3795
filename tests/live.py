"""A sidecar over a rehearsed cluster and a clock of its own, for specifications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, Decision, State
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Applied, Seen
from ipa_rl.live.rehearsal import RehearsedCluster
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.sidecar.fallbacks import MissingMetrics
from ipa_rl.sidecar.guard import Limits
from ipa_rl.sidecar.promotion import Rule
from ipa_rl.sidecar.sidecar import Sidecar
from ipa_rl.workload.forecasters import WindowMaximum
from ipa_rl.workload.steps import HISTORY_STEPS

VIDEO = load_definition("video")
FREE = Limits(max_replicas=100, least_capacity=0.0)
HOLD = MissingMetrics()
PROGRAM = ProgramAgent("ip", VIDEO, WindowMaximum(30), margin=0.1)
INTERVAL_S = 10.0


def two(replicas: int, variant: str = "yolov5n", other: str = "resnet18", batch: int = 1) -> Configuration:
    """The same replicas and batch size in both stages."""
    return Configuration((StageConfig(variant, batch, replicas), StageConfig(other, batch, replicas)))


@dataclass
class Wants:
    """An agent that wants what it is told, or fails as it is told."""

    configuration: Configuration
    name: str = "ppo"
    error: Exception | None = None
    fallback: str = ""

    def decide(self, state: State) -> Decision:
        """What it is told."""
        del state
        if self.error is not None:
            raise self.error
        return Decision(self.configuration, 10.0, self.fallback)


@dataclass
class Shown:
    """A LiveCluster that shows what another sees, changed; remembers what was asked of it."""

    inner: RehearsedCluster
    change: Callable[[Seen], Seen] = lambda seen: seen
    error: Exception | None = None
    applied: list[Configuration] = field(default_factory=list)
    planned: list[Configuration] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    refuses: tuple[str, ...] = ()

    def look(self) -> Seen:
        """What the inner one sees, changed."""
        if self.error is not None:
            raise self.error
        return self.change(self.inner.look())

    def apply(self, configuration: Configuration) -> Applied:
        """Applied for real."""
        self.applied.append(configuration)
        return replace(self.inner.apply(configuration), refused=self.refuses)

    def plan(self, configuration: Configuration) -> Applied:
        """Planned only."""
        self.planned.append(configuration)
        return self.inner.plan(configuration)

    def record_event(
        self, stage: str, reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """Kept."""
        self.events.append((stage, reason, message))


@dataclass
class Told:
    """An EntryLog that keeps what it is told."""

    entries: list[Mapping[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def write(self, entry: Mapping[str, Any]) -> None:
        """A step, made or failed."""
        if "failed" in entry:
            self.failures.append(entry["failed"])
        else:
            self.entries.append(entry)

    @property
    def handovers(self) -> list[str]:
        """Who got control, each time that it changed hands."""
        modes = [entry["mode"] for entry in self.entries]
        return [new for old, new in pairwise(modes) if new != old]


@dataclass
class World:
    """A clock, a pipeline at a steady load (or at ``loads``), and the sidecar that drives it."""

    agents: tuple[Agent, ...] = (PROGRAM,)
    load_rps: float = 10.0
    mode: str = "act"
    definition: Definition = VIDEO
    parts: dict[str, Any] = field(default_factory=dict)
    time_s: float = 0.0
    loads: FloatArray | None = None

    def __post_init__(self) -> None:
        loads = np.full(HISTORY_STEPS + 600, self.load_rps) if self.loads is None else self.loads
        self.cluster = Shown(RehearsedCluster(self.definition, loads, lambda: self.time_s))
        self.told = Told()
        self.sidecar = self.another()

    def another(self, **changes: Any) -> Sidecar:
        """A sidecar over the same pipeline: another copy, or the same one restarted."""
        parts: dict[str, Any] = {
            "definition": self.definition, "cluster": self.cluster, "agents": self.agents,
            "program": PROGRAM, "limits": FREE, "missing": HOLD,
            "rule": Rule(self.mode, "agent", None, None), "events": self.cluster, "logs": (),
            "now": lambda: self.time_s, "wall": lambda: 1.7e9 + self.time_s, **self.parts, **changes,
        }  # fmt: skip
        return Sidecar(**{**parts, "logs": (self.told, *parts["logs"])})

    def steps(self, count: int, sidecar: Sidecar | None = None) -> None:
        """So many steps, one every interval; afterwards one more interval has passed."""
        for _ in range(count):
            (sidecar or self.sidecar).attempt()
            self.time_s += INTERVAL_S

    def by_hand(self, configuration: Configuration) -> None:
        """Somebody else asks the pipeline for a configuration."""
        self.cluster.inner.apply(configuration)

    def asked(self) -> Configuration:
        """What the pipeline is asked for."""
        return Configuration(
            tuple(StageConfig(*one.asked, one.desired) for one in self.cluster.inner.look().stages)  # type: ignore[arg-type]
        )


def stale(problem: str = "no sample for 40 s") -> Callable[[Seen], Seen]:
    """The same with loads that are too old."""

    def change(seen: Seen) -> Seen:
        loads = replace(seen.loads, stale=True, age_s=40.0, problem=problem)
        return replace(seen, loads=loads, state=replace(seen.state, stale=True))

    return change


def never_measured(seen: Seen) -> Seen:
    """The same where no load was ever measured."""
    nothing = np.full(len(seen.loads.history_rps), np.nan)
    loads = replace(seen.loads, stale=True, age_s=float("inf"), history_rps=nothing, problem="no samples")
    return replace(seen, loads=loads, state=replace(seen.state, stale=True, history_rps=nothing))
