"""A simulated pipeline behind the seam of live clusters: the sidecar rehearsed without a cluster.

The fluid simulator serves a window of the workload over and over, in step with a clock. It measures its own
loads, so it is the LoadSource too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from ipa_rl import documents, resources
from ipa_rl.agents.protocol import State
from ipa_rl.documents import Name, StrictModel
from ipa_rl.environment.definition import Definition
from ipa_rl.files import is_folder
from ipa_rl.jit import FloatArray, Record
from ipa_rl.live.cluster import Applied, Loads, Seen, StageSeen, changed_knobs
from ipa_rl.pipeline import Configuration, Stage
from ipa_rl.simulation import FluidSimulator, encode
from ipa_rl.simulation.transitions import starting_replicas
from ipa_rl.workload.workload import PARTS, load_workload


class RehearsalModel(StrictModel):
    """What is rehearsed: a window of the environment's workload, ``speed`` times as fast as it was.

    ``load``: of another workload, shipped or the folder of one, relative to the settings.
    ``window``: one that has a name, or a part ("train", "validation", "test"), which may last for weeks; by
    default the first that has a name, or else the first of the test part.
    """

    load: Name | None = None
    window: Name | None = None
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0


def rehearsal(
    definition: Definition, content: Mapping[str, Any] | None, file: Path | None = None
) -> RehearsedCluster:
    """The cluster that the settings in ``file`` describe. Raises InputError."""
    see = "docs/reference/sidecar.md"
    model = documents.check(content or {}, RehearsalModel, see, file, under="cluster.rehearsal")
    workload = definition.workload
    if model.load:
        beside = resources.beside(file or Path(), model.load)
        workload = load_workload(beside if is_folder(beside) else model.load)
    name = model.window or next(iter(workload.description.windows), None)
    if name in PARTS and name not in workload.description.windows:
        begin, end = workload.parts[name]
        begin = max(begin, definition.history_s)
        window = workload.stretch(name, begin, end - begin, definition.history_s)
    else:
        of_load = replace(definition, workload=workload)
        window = workload.named_window(name, definition.history_s) if name else of_load.windows("test")[0]
    loads, speed = window.arrivals.astype(np.float64), model.speed
    return RehearsedCluster(definition, loads, lambda: time.monotonic() * speed, window.clock_s)


class RehearsedCluster:
    """A LiveCluster and LoadSource in a simulator.

    ``loads``: (history + seconds,) requests in each second, those of the history before it begins;
    the others repeat for ever. ``now``: seconds, from which the simulator learns how much time has passed.
    It begins with the optimum for the load seen last, ready. ``clock_s``: what the
    loads' own clock says when it begins.
    """

    def __init__(
        self,
        definition: Definition,
        loads: FloatArray,
        now: Callable[[], float],
        clock_s: int = 0,
    ) -> None:
        self.definition, self.now, self._clock_s = definition, now, clock_s
        self._simulator = FluidSimulator(definition.problem, definition.timing)
        history_s = definition.history_s
        start = definition.best_for(definition.reference_rps(loads[:history_s]))
        self._simulator.reset(0, encode(definition.problem, start))
        self._history, self._coming = loads[:history_s], loads[history_s:]
        self._begin, self._served = now(), 0
        self._first_lap_s = 0.0
        self.start_after(time.time())

    def start_after(self, unix_s: float) -> None:
        """Its time, in seconds since 1970, begins after a moment, when the loads' clock is at their begin."""
        laps = math.ceil((unix_s - self._clock_s) / len(self._coming))
        self._first_lap_s = float(laps * len(self._coming) + self._clock_s)

    def unix_s(self) -> float:
        """Its time now: ``speed`` times as fast as ours."""
        return self._first_lap_s + self.now() - self._begin

    def clock_of(self, unix_s: float) -> float:
        """What the loads' own clock says at a moment of that time."""
        return self._clock_s + (unix_s - self._clock_s) % len(self._coming)

    def loads(self, seconds: int) -> Loads:
        """The last loads, always known."""
        self._pass_time()
        return Loads(self._history[-seconds:].copy(), 0.0, stale=False)

    def look(self) -> Seen:
        """What the simulator shows."""
        loads = self.loads(self.definition.history_s)
        fleet = self._simulator.fleet[0].copy()
        pairs = zip(self.definition.pipeline.stages, fleet, strict=True)
        stages = tuple(_seen(stage, record) for stage, record in pairs)
        queued = np.asarray(self._simulator.waiting()[0], dtype=np.float64)
        clock_s = float(self._clock_s + self._served % len(self._coming))
        return Seen(State(loads.history_rps, fleet, queued, clock_s=clock_s), loads, stages)

    def apply(self, configuration: Configuration) -> Applied:
        """Decide; the changes take the simulated time."""
        planned = self.plan(configuration)
        self._simulator.apply(encode(self.definition.problem, configuration)[None])
        return planned

    def plan(self, configuration: Configuration) -> Applied:
        """What `apply` would change."""
        pairs = zip(self.look().stages, configuration.stages, strict=True)
        changes = [changed_knobs(seen.stage, seen.asked, seen.desired, wanted) for seen, wanted in pairs]
        return Applied(configuration, tuple(chain.from_iterable(changes)))

    def _pass_time(self) -> None:
        seconds = int(self.now() - self._begin) - self._served
        if seconds <= 0:
            return
        at = (self._served + np.arange(seconds)) % len(self._coming)
        self._served += seconds
        self._simulator.advance(self._coming[None, at])
        self._simulator.clear_totals()
        self._history = np.concatenate([self._history, self._coming[at]])[-len(self._history) :]


def _seen(stage: Stage, record: Record) -> StageSeen:
    """One stage of the fleet as a cluster shows it."""
    batches = stage.variants[0].batches
    ready = int(record["ready"])
    return StageSeen(
        stage=stage.name,
        desired=int(record["wanted"]),
        current=ready + int(record["warm"]) + int(starting_replicas(record)),
        ready=ready,
        variant=stage.variants[record["active"]].name,
        batch=batches[record["batch"]],
        asked=(stage.variants[record["target"]].name, batches[record["target_batch"]]),
    )
