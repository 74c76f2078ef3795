"""The demonstration as one self-contained HTML page, in the form of `ipa_rl.report.page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipa_rl.demo.controllers import Controller
from ipa_rl.demo.core import core_of
from ipa_rl.demo.outcomes import SHOWN, by_interval
from ipa_rl.demo.prediction import DRAWS, JudgedTurn, Promise, means
from ipa_rl.demo.profiling import ServedProfile
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import IntArray
from ipa_rl.profiler.processes import this_machine
from ipa_rl.simulation import encode

try:
    from ipa_rl.report.page import Plot, formula, write_page
    from ipa_rl.report.page_figures import SLA_LINE, configurations, over_time
except ImportError as error:
    raise MissingExtraError("plotly or jinja2", "demo") from error

_COUNTS = ("dropped", "failed", "requests")

COLOURS: Mapping[Controller, str] = {
    Controller.agent: "#0b84b5",
    Controller.program: "#d1495b",
    Controller.autoscaler: "#3d5a80",
}
"""Those of agent, program and threshold autoscaler in every other picture."""


def write_report(
    settings: DemoSettings,
    definition: Definition,
    profile: ServedProfile,
    judged: Sequence[JudgedTurn],
    promises: Sequence[Promise],
) -> None:
    """Write the page of a demonstration that is over."""
    write_page(
        settings.report,
        "demo.html",
        _plots(settings, definition, judged),
        "ipa_rl.demo",
        title="Digits on Ray Serve: agent, integer program and Ray Serve's autoscaler",
        facts=_facts(settings, definition, profile),
        verdict=verdict(judged),
        runs=settings.runs,
        utility=formula(definition.weights),
        rows=[_row(judged, controller) for controller in Controller],
        draws=DRAWS,
        promises=promises,
        judged=judged,
        stages=definition.pipeline.stages,
        profile_note=(
            "As the solvers and the simulator see it: the models on one core here, "
            f"{profile.added.slowdown:.2f} times as long as alone, and the "
            f"{1000 * profile.added.batch_s:.0f} ms that Ray Serve adds to a batch."
        ),
        scenarios=[(f"run {run}", f"run {run}") for run in range(1, settings.runs + 1)],
    )


def verdict(judged: Sequence[JudgedTurn]) -> str:
    """Who did best, in a sentence."""
    found = {one: means([each.served.figures for each in _of(judged, one)]) for one in Controller}
    agent = found[Controller.agent]
    gaps = {one: agent["utility"] - found[one]["utility"] for one in Controller}
    return (
        f"The agent's utility is {agent['utility']:.2f}: {gaps[Controller.program]:+.2f} against the "
        f"{Controller.program.value}, {gaps[Controller.autoscaler]:+.2f} against "
        f"{Controller.autoscaler.value}; PAS x 100 by labels {agent['pas_x100']:.1f}, "
        f"{agent['cores']:.2f} cores, {agent['violated_pct']:.1f} % violated."
    )


def _of(judged: Sequence[JudgedTurn], controller: Controller) -> list[JudgedTurn]:
    return [one for one in judged if one.served.turn.controller is controller]


def _facts(settings: DemoSettings, definition: Definition, profile: ServedProfile) -> list[tuple[str, str]]:
    machine, window = this_machine(), settings.window()
    return [
        ("machine", f"{machine.cores} cores, {machine.processor}"),
        ("a core here", f"{100 * core_of(settings).share:.2g} % of a real one"),
        ("window", f"{settings.seconds} s of {definition.workload.name}, {window.name}, at its own pace"),
        ("interval", f"{definition.timing.interval_s} s"),
        ("SLA", f"{definition.problem.sla_s:.2f} s"),
        ("start-up", f"{profile.probed.start_up_s:.1f} s"),
        ("change of variant", f"{profile.probed.reload_s:.1f} s, in place"),
        ("Ray Serve adds", f"{1000 * profile.added.batch_s:.0f} ms a batch, in each stage"),
        ("busy replicas take", f"{profile.added.slowdown:.2f} times as long as models alone"),
        ("seed", str(settings.seed)),
    ]


def _row(judged: Sequence[JudgedTurn], controller: Controller) -> dict[str, Any]:
    """A controller's figures, mean over its runs, and their range where there are several."""
    own = [one.served for one in _of(judged, controller)]
    each = [{**one.figures, "dropped": one.dropped, "failed": one.failed} for one in own]
    cells = []
    for name in (*SHOWN, *_COUNTS):
        values, digits = [one[name] for one in each], 0 if name in _COUNTS else 2
        spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}" if len(values) > 1 else ""
        cells.append({"value": f"{np.mean(values):.{digits}f}", "range": spread})
    by = own[0].by.items()
    note = ", ".join(f"{count} decisions by {'itself' if who == 'ppo' else who}" for who, count in by)
    return {"controller": controller.value, "note": note, "cells": cells}


def _plots(settings: DemoSettings, definition: Definition, judged: Sequence[JudgedTurn]) -> list[Plot]:
    window = settings.window()
    loads = window.arrivals[window.history_s :]
    by_run = [[one for one in judged if one.served.turn.run == run + 1] for run in range(settings.runs)]
    asked = [
        {
            one.served.turn.controller.value: np.stack(
                [encode(definition.problem, configuration) for configuration in one.served.configurations]
            )
            for one in own
        }
        for own in by_run
    ]
    note = "Click a name to show or hide it. "
    return [
        Plot(
            "timeline",
            "Over time, measured",
            note + "Latency and PAS are of the requests that were due in an interval.",
            [_timeline(definition, loads, own) for own in by_run],
        ),
        Plot(
            "configurations",
            "Configuration",
            "Variants as colours, by stage; replicas asked for (x) and batch size (b) in the bands.",
            [configurations(definition, one) for one in asked],
        ),
        Plot(
            "prediction",
            "Predicted and measured, over time",
            note + "Solid: measured; dotted: predicted; dashed: replayed with the decisions that were taken.",
            [_timeline(definition, loads, own, compared=True) for own in by_run],
        ),
    ]


def _timeline(
    definition: Definition, loads: IntArray, own: Sequence[JudgedTurn], compared: bool = False
) -> Any:
    """Load, cores, replicas, PAS by labels, mean and 99th percentile latency, over time, as measured.

    ``compared``: in place of PAS and of the load that was planned for, what was predicted and replayed.
    """
    replicas = [f"ready replicas of {stage.name}" for stage in definition.pipeline.stages]
    titles = ["load [requests/s]" if compared else "load, and load planned for [requests/s]", "cores"]
    titles += [*replicas, *([] if compared else ["PAS x 100, by labels"])]
    titles += ["mean latency [s]", "p99 latency [s]"]
    figure, interval_s = over_time(titles, loads), definition.timing.interval_s
    for one in own:
        controller, served = one.served.turn.controller, one.served
        ways = [("measured", "solid", served.outcomes)]
        if compared and one.predicted_outcomes is not None:
            ways.append(("predicted", "dot", one.predicted_outcomes))
        if compared:
            ways.append(("replayed", "dash", one.replayed_outcomes))
        for way, dash, outcomes in ways:
            found = by_interval(definition, outcomes)
            series = [outcomes.cores, *outcomes.replicas.T, found["mean_s"], found["p99_s"]]
            if not compared:
                series.insert(-2, found["pas_x100"])
            planned = np.full(len(outcomes.cores), np.nan) if compared else served.planned_rps
            name = f"{controller.value}, {way}" if compared else controller.value
            shown = not compared or (controller is Controller.agent and way != "replayed")
            line = {"color": COLOURS[controller], "width": 1.8, "shape": "hv", "dash": dash}
            for row, values in enumerate([planned, *series], start=1):  # one entry in the legend for all rows
                figure.add_scatter(
                    x=np.arange(len(values)) * interval_s, y=values, name=name, legendgroup=name,
                    showlegend=row == 2, visible=True if shown else "legendonly", mode="lines", line=line,
                    row=row, col=1,
                )  # fmt: skip
    level = [definition.problem.sla_s] * 2
    figure.add_scatter(x=[0, len(loads)], y=level, row=len(titles), col=1, **SLA_LINE)
    return figure
