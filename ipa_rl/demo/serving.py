"""One controller serves the window: the load, who controls, the replicas, and what came of every request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.demo import autoscaler
from ipa_rl.demo.application import Application
from ipa_rl.demo.controllers import Controller, Sidecar, decisions, sidecar, write_settings
from ipa_rl.demo.digits.load import Asked
from ipa_rl.demo.replicas import ReplicaWatch, Sample
from ipa_rl.demo.sending import PREPARE_S, Sending
from ipa_rl.demo.settings import INTERVAL_S, LEAD_S, Settings
from ipa_rl.demo.view import Now, View
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import ClusterError
from ipa_rl.pipeline import Configuration
from ipa_rl.result_files import write_json
from ipa_rl.workload.open_loop import write_csv
from ipa_rl.workload.times import times_within
from ipa_rl.workload.trace import Window

REQUESTS, REPLICAS, RUN = "requests.csv", "replicas.csv", "run.json"

_LOAD_KNOWN_S = 1.5
"""Load before the sidecar begins, so that the first thing it measures is no load of zero."""

_ORDERED_S = 0.15
"""So long after a step begins what it orders is written: it looks and decides. In the simulator that takes no
time, so the window's seconds count from orders.
"""

_LOOK_S = 0.5


@dataclass(frozen=True)
class Turn:
    """One controller's turn at the window."""

    controller: Controller
    run: int
    folder: Path


def turns(settings: Settings) -> list[Turn]:
    """All of them, run by run, so that what changes on the machine meanwhile meets all controllers."""
    return [
        Turn(controller, run, settings.served / f"run-{run}" / controller.folder)
        for run in range(1, settings.runs + 1)
        for controller in Controller
    ]


def serve(
    settings: Settings,
    definition: Definition,
    application: Application,
    window: Window,
    turn: Turn,
    view: View,
) -> None:
    """Serve the window and write what came of it into the turn's folder. Raises ClusterError."""
    turn.folder.mkdir(parents=True, exist_ok=True)
    start, autoscaling = _start(settings, definition, window, turn.controller)
    application.deploy(start, autoscaling)
    with ExitStack() as stack:
        watch = stack.enter_context(ReplicaWatch(application, definition.pipeline))
        served = _Served(settings, definition, application, window, turn, watch)
        begin_s, controller = served.lead(stack)
        asked = served.window(begin_s, controller, view)
    _write(turn, asked, watch.samples, begin_s, settings)


def _start(
    settings: Settings, definition: Definition, window: Window, controller: Controller
) -> tuple[Configuration, dict[str, Any] | None]:
    """The optimum for the loads before the window; the autoscaler's own variants."""
    if controller is Controller.autoscaler:
        chosen = autoscaler.load(settings.agent / autoscaler.FILE)
        return autoscaler.base(definition, chosen), autoscaler.settings_of(definition, chosen)
    history = window.arrivals[: window.history_s].astype(np.float64)
    return definition.best_for(definition.reference_rps(history)), None


class _Served:
    """The course of one turn."""

    def __init__(
        self,
        settings: Settings,
        definition: Definition,
        application: Application,
        window: Window,
        turn: Turn,
        watch: ReplicaWatch,
    ) -> None:
        self._settings, self._definition, self._application = settings, definition, application
        self._window, self._turn, self._watch = window, turn, watch
        self._told: list[Asked] = []
        self._seed = settings.seed + turn.run

    def lead(self, stack: ExitStack) -> tuple[float, Sidecar | None]:
        """Load before the window, and the controller; when the window begins (an order of the controller)."""
        before = self._window.arrivals[: self._window.history_s]
        rng = np.random.default_rng(self._seed)
        at_s = time.time() + PREPARE_S
        first = times_within(before[-LEAD_S - INTERVAL_S : -INTERVAL_S], rng)
        self._send(first, at_s)
        begin_s, controller = at_s + LEAD_S, None
        if self._turn.controller is not Controller.autoscaler:
            time.sleep(max(at_s + _LOAD_KNOWN_S - time.time(), 0.0))
            config = write_settings(
                self._settings,
                self._application,
                self._turn.controller,
                self._turn.folder,
                self._window.clock_s - begin_s,
            )
            controller = stack.enter_context(sidecar(config))
            begin_s = controller.tick_after(begin_s) + _ORDERED_S
        rest = times_within(before[-INTERVAL_S:], rng)
        self._send(rest[rest < begin_s - at_s - LEAD_S], at_s + LEAD_S)
        return begin_s, controller

    def window(self, begin_s: float, controller: Sidecar | None, view: View) -> list[Asked]:
        """Send it, show it; every request, once the last has ended."""
        sending = Sending(
            self._application.url, due_times(self._window, self._seed), self._seed, begin_s, self._told.append
        )
        while not sending.is_over:
            view.show(self._now(begin_s))
            if controller is not None:
                controller.check()
            time.sleep(_LOOK_S)
        if sending.problem:
            raise ClusterError(f"requests could not be sent: {sending.problem}")
        return sending.asked

    def _send(self, due_s: FloatArray, at_s: float) -> None:
        if len(due_s):
            Sending(self._application.url, due_s, self._seed, at_s)

    def _now(self, begin_s: float) -> Now:
        known = decisions(self._turn.folder)
        return Now(
            controller=self._turn.controller.value,
            run=self._turn.run,
            runs=self._settings.runs,
            seconds=self._settings.seconds,
            passed_s=time.time() - begin_s,
            arrivals=self._window.arrivals[self._window.history_s :],
            planned_rps=known[-1]["planned_rps"] if known else None,
            stages=self._watch.latest(),
            paid=sum(one.paid for one in self._watch.latest()),
            told=tuple(self._told),
            sla_s=self._definition.problem.sla_s,
        )


def due_times(window: Window, seed: int) -> FloatArray:
    """Times of the window's requests, seconds from its begin: the same for every controller."""
    return times_within(window.arrivals[window.history_s :], np.random.default_rng(seed))


def _write(
    turn: Turn, asked: Sequence[Asked], samples: Sequence[Sample], begin_s: float, settings: Settings
) -> None:
    write_csv(turn.folder / REQUESTS, Asked, asked)
    write_csv(turn.folder / REPLICAS, Sample, samples)
    write_json({"begin_s": begin_s, "seed": settings.seed + turn.run}, turn.folder / RUN)


def is_served(turn: Turn) -> bool:
    """Whether the turn is over and written."""
    return (turn.folder / RUN).is_file()
