"""One controller serves the window: the load, who controls, the replicas, and what came of every request."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ipa_rl.demo import autoscaler
from ipa_rl.demo.application import Application
from ipa_rl.demo.controllers import Controller, RunningSidecar, decisions, sidecar, write_settings
from ipa_rl.demo.digits.load import PREPARE_S, DigitRequest, Sending
from ipa_rl.demo.replicas import Sample, watched_replicas
from ipa_rl.demo.settings import INTERVAL_S, LEAD_S, DemoSettings
from ipa_rl.demo.view import Moment, View
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import ClusterError
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

    @property
    def is_served(self) -> bool:
        """Whether it is over and written."""
        return (self.folder / RUN).is_file()


def turns(settings: DemoSettings) -> list[Turn]:
    """All of them, run by run, so that what changes on the machine meanwhile meets all controllers."""
    return [
        Turn(controller, run, settings.served / f"run-{run}" / controller.name)
        for run in range(1, settings.runs + 1)
        for controller in Controller
    ]


def due_times(window: Window, seed: int) -> FloatArray:
    """Times of the window's requests, seconds from its begin: the same for every controller."""
    return times_within(window.arrivals[window.history_s :], np.random.default_rng(seed))


def serve(
    settings: DemoSettings,
    definition: Definition,
    application: Application,
    window: Window,
    turn: Turn,
    view: View,
) -> None:
    """Serve the window and write what came of it into the turn's folder. Raises ClusterError.

    All begin with the optimum for the loads before the window; the autoscaler with its own variants.
    """
    turn.folder.mkdir(parents=True, exist_ok=True)
    history, seed = window.arrivals[: window.history_s], settings.seed + turn.run
    scaled = turn.controller is Controller.autoscaler
    if scaled:
        chosen = autoscaler.load(settings.agent / autoscaler.FILE)
        application.deploy(autoscaler.base(definition, chosen), autoscaler.settings_of(definition, chosen))
    else:
        reference_rps = definition.reference_rps(history.astype(np.float64))
        application.deploy(definition.best_for(reference_rps))
    with ExitStack() as stack:
        samples = stack.enter_context(watched_replicas(application, definition.pipeline))
        # Load before the window, so that the controller's first decision knows it.
        rng, at_s = np.random.default_rng(seed), time.time() + PREPARE_S
        lead_s = times_within(history[-LEAD_S - INTERVAL_S : -INTERVAL_S], rng)
        _send(application, lead_s, seed, at_s)
        begin_s = at_s + LEAD_S
        controller: RunningSidecar | None = None
        if not scaled:
            time.sleep(max(at_s + _LOAD_KNOWN_S - time.time(), 0.0))
            offset_s = window.clock_s - begin_s
            config = write_settings(settings, application, turn.controller, turn.folder, offset_s)
            controller = stack.enter_context(sidecar(config))
            begin_s = controller.tick_after(begin_s) + _ORDERED_S
        rest_s = times_within(history[-INTERVAL_S:], rng)
        _send(application, rest_s[rest_s < begin_s - at_s - LEAD_S], seed, at_s + LEAD_S)
        # The window itself: its first second begins with an order of the controller.
        told: list[DigitRequest] = []
        sending = Sending(application.url, due_times(window, seed), seed, begin_s, told.append)
        while not sending.is_over:
            view.show(_moment(settings, definition, window, turn, begin_s, samples, told))
            if controller is not None:
                controller.check()
            time.sleep(_LOOK_S)
        if sending.problem:
            raise ClusterError(f"requests could not be sent: {sending.problem}")
    write_csv(turn.folder / REQUESTS, DigitRequest, sending.asked)
    write_csv(turn.folder / REPLICAS, Sample, samples)
    write_json({"begin_s": begin_s, "seed": seed}, turn.folder / RUN)


def _send(application: Application, due_s: FloatArray, seed: int, at_s: float) -> None:
    if len(due_s):
        Sending(application.url, due_s, seed, at_s)


def _moment(
    settings: DemoSettings,
    definition: Definition,
    window: Window,
    turn: Turn,
    begin_s: float,
    samples: list[Sample],
    told: list[DigitRequest],
) -> Moment:
    known, latest = decisions(turn.folder), samples[-len(definition.pipeline.stages) :]
    return Moment(
        controller=turn.controller.value,
        run=turn.run,
        runs=settings.runs,
        seconds=settings.seconds,
        passed_s=time.time() - begin_s,
        arrivals=window.arrivals[window.history_s :],
        planned_rps=known[-1]["planned_rps"] if known else None,
        stages=latest,
        told=tuple(told),
        sla_s=definition.problem.sla_s,
    )
