"""One controller serves the window: the load, who controls, the replicas, and what came of every request."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ipa_rl.demo import autoscaler
from ipa_rl.demo.application import Application, Sample, watched_replicas
from ipa_rl.demo.cached_work import AGAIN
from ipa_rl.demo.controllers import Controller, RunningSidecar, decisions, sidecar, write_settings
from ipa_rl.demo.digits.load import PREPARE_S, DigitRequest, Sending
from ipa_rl.demo.settings import INTERVAL_S, LEAD_S, DemoSettings
from ipa_rl.demo.view import Moment, View
from ipa_rl.documents import load_json
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import ClusterError
from ipa_rl.result_files import write_json
from ipa_rl.workload.open_loop import write_csv
from ipa_rl.workload.times import times_within
from ipa_rl.workload.workload import Window

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
    seed, stages = settings.seed + turn.run, len(definition.pipeline.stages)
    if turn.controller is Controller.autoscaler:
        chosen = load_json(settings.agent / autoscaler.FILE, autoscaler.Chosen, AGAIN)
        application.deploy(autoscaler.base(definition, chosen), autoscaler.settings_of(definition, chosen))
    else:
        history_rps = window.arrivals[: window.history_s].astype(np.float64)
        application.deploy(definition.best_for(definition.reference_rps(history_rps)))
    with ExitStack() as stack:
        samples = stack.enter_context(watched_replicas(application, definition.pipeline))
        begin_s, controller = _lead(settings, application, window, turn, stack)
        told: list[DigitRequest] = []
        sending = Sending(application.url, due_times(window, seed), seed, begin_s, told.append)
        loads, sla_s = window.arrivals[window.history_s :], definition.problem.sla_s
        begun = Moment(turn.controller.value, turn.run, settings.runs, loads, sla_s)
        while sending.is_alive():
            known = decisions(turn.folder)
            planned_rps = known[-1]["planned_rps"] if known else None
            passed_s, latest = time.time() - begin_s, samples[-stages:]
            view.show(
                replace(begun, passed_s=passed_s, planned_rps=planned_rps, stages=latest, told=tuple(told))
            )
            if controller is not None:
                controller.check()
            time.sleep(_LOOK_S)
        if sending.problem:
            raise ClusterError(f"requests could not be sent: {sending.problem}")
    write_csv(turn.folder / REQUESTS, DigitRequest, sending.asked)
    write_csv(turn.folder / REPLICAS, Sample, samples)
    write_json({"begin_s": begin_s, "seed": seed}, turn.folder / RUN)


def _lead(
    settings: DemoSettings, application: Application, window: Window, turn: Turn, stack: ExitStack
) -> tuple[float, RunningSidecar | None]:
    """Load before the window, and the controller; when the window begins (an order of the controller)."""
    before, seed = window.arrivals[: window.history_s], settings.seed + turn.run
    rng, at_s = np.random.default_rng(seed), time.time() + PREPARE_S
    first_s = times_within(before[-LEAD_S - INTERVAL_S : -INTERVAL_S], rng)
    begin_s = at_s + LEAD_S
    controller: RunningSidecar | None = None
    if len(first_s):
        Sending(application.url, first_s, seed, at_s)
    if turn.controller is not Controller.autoscaler:
        time.sleep(max(at_s + _LOAD_KNOWN_S - time.time(), 0.0))
        offset_s = window.clock_s - begin_s
        config = write_settings(settings, application, turn.controller, turn.folder, offset_s)
        controller = stack.enter_context(sidecar(config))
        begin_s = controller.tick_after(begin_s) + _ORDERED_S
    rest_s = times_within(before[-INTERVAL_S:], rng)
    rest_s = rest_s[rest_s < begin_s - at_s - LEAD_S]
    if len(rest_s):
        Sending(application.url, rest_s, seed, at_s + LEAD_S)
    return begin_s, controller
