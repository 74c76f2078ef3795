"""The demonstration as one self-contained HTML page, in the form of `ipa_rl.report.page`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipa_rl.demo.controllers import Controller
from ipa_rl.demo.core import core_of
from ipa_rl.demo.outcomes import SHOWN, Outcomes, by_interval
from ipa_rl.demo.prediction import DRAWS, JudgedTurn, Promise, means
from ipa_rl.demo.profiling import Profile
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.profiler.machine import this_machine
from ipa_rl.simulation import encode

try:
    from plotly.subplots import make_subplots

    from ipa_rl.report.page import Plot, write_page
    from ipa_rl.report.page_figures import configurations, title_above
except ImportError as error:
    raise MissingExtraError("plotly or jinja2", "demo") from error

_COUNTS = ("dropped", "failed", "requests")
_DIFFERENCES = ("mean_s", "p99_s", "cores", "pas_x100", "violated_pct")

COLOURS: Mapping[Controller, str] = {
    Controller.agent: "#0b84b5",
    Controller.program: "#d1495b",
    Controller.autoscaler: "#3d5a80",
}
"""Those of agent, program and threshold autoscaler in every other picture."""

_ROW_PX = 150


def write_report(
    settings: DemoSettings,
    definition: Definition,
    profile: Profile,
    judged: Sequence[JudgedTurn],
    promises: Sequence[Promise],
) -> None:
    """Write the page of a demonstration that is over."""
    weights = definition.weights
    write_page(
        settings.report,
        "demo.html",
        _plots(settings, definition, judged),
        "ipa_rl.demo",
        title="Digits on Ray Serve: agent, integer program and Ray Serve's autoscaler",
        facts=_facts(settings, definition, profile),
        verdict=verdict(judged),
        runs=settings.runs,
        utility=(
            f"{weights.alpha:g} accuracy - {weights.beta:g} cores - {weights.delta:g} batch - "
            f"{weights.rho:.3g} violated share"
        ),
        rows=[_row(judged, controller) for controller in Controller],
        draws=DRAWS,
        promises=[promise_cells(one) for one in promises],
        differences=[row for one in judged for row in _differences(one)],
        profile=_profile_rows(definition),
        batches=definition.pipeline.stages[0].variants[0].batches,
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


def promise_cells(one: Promise) -> dict[str, str]:
    """A promise as tables show it."""
    unit = " %" if one.is_relative else " points"
    return {
        "what": one.what,
        "measured": f"{one.measured:.2f}",
        "predicted": f"{one.predicted:.2f}",
        "off": f"{one.off:+.1f}{unit}",
        "bound": f"{one.bound:g}{unit}",
        "holds": "yes" if one.holds else "no",
    }


def _of(judged: Sequence[JudgedTurn], controller: Controller) -> list[JudgedTurn]:
    return [one for one in judged if one.served.turn.controller is controller]


def _facts(settings: DemoSettings, definition: Definition, profile: Profile) -> list[tuple[str, str]]:
    machine, window = this_machine(), settings.window()
    return [
        ("machine", f"{machine.cores} cores, {machine.processor}"),
        ("a core here", f"{100 * core_of(settings).share:.2g} % of a real one"),
        ("window", f"{settings.seconds} s from second {window.clock_s:,} of the trace, at its own pace"),
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


def _differences(one: JudgedTurn) -> list[dict[str, Any]]:
    sources = {
        "measured": one.served.figures,
        "predicted": one.predicted,
        "stretched": one.stretched,
        "replayed": one.replayed,
    }
    return [
        {
            "controller": one.served.turn.controller.value,
            "run": one.served.turn.run,
            "source": source,
            "cells": [f"{values[name]:.2f}" for name in _DIFFERENCES],
        }
        for source, values in sources.items()
        if values is not None
    ]


def _profile_rows(definition: Definition) -> list[dict[str, Any]]:
    rows = []
    for stage in definition.pipeline.stages:
        for one in stage.variants:
            points = zip(one.latency_mean_s, one.latency_p99_s, one.throughput_rps, strict=True)
            cells = [cell for a, b, c in points for cell in (f"{a:.3f}", f"{b:.3f}", f"{c:.1f}")]
            accuracy = f"{one.accuracy:.3f}"
            rows.append({"stage": stage.name, "variant": one.name, "accuracy": accuracy, "cells": cells})
    return rows


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
            [_measured(definition, loads, own) for own in by_run],
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
            [_predicted(definition, loads, own) for own in by_run],
        ),
    ]


def _measured(definition: Definition, loads: IntArray, own: Sequence[JudgedTurn]) -> Any:
    """Load, cores, replicas by stage, PAS by labels, mean and 99th percentile latency."""
    replicas = [f"ready replicas of {stage.name}" for stage in definition.pipeline.stages]
    titles = ["load, and load planned for [requests/s]", "cores", *replicas, "PAS x 100, by labels"]
    figure = _rows(definition, [*titles, "mean latency [s]", "p99 latency [s]"], loads)
    for one in own:
        controller, outcomes = one.served.turn.controller, one.served.outcomes
        found = by_interval(definition, outcomes)
        series = [one.served.planned_rps, outcomes.cores, *outcomes.replicas.T]
        series += [found["pas_x100"], found["mean_s"], found["p99_s"]]
        _draw(figure, definition, controller.value, COLOURS[controller], "solid", series)
    return figure


def _predicted(definition: Definition, loads: IntArray, own: Sequence[JudgedTurn]) -> Any:
    """Cores, replicas, mean and 99th percentile latency: measured, predicted, replayed."""
    replicas = [f"ready replicas of {stage.name}" for stage in definition.pipeline.stages]
    titles = ["load [requests/s]", "cores", *replicas, "mean latency [s]", "p99 latency [s]"]
    figure = _rows(definition, titles, loads)
    for one in own:
        controller = one.served.turn.controller
        lines: list[tuple[str, str, Outcomes | None]] = [
            ("measured", "solid", one.served.outcomes),
            ("predicted", "dot", one.predicted_outcomes),
            ("replayed", "dash", one.replayed_outcomes),
        ]
        for what, dash, outcomes in lines:
            if outcomes is None:
                continue
            found, nothing = by_interval(definition, outcomes), np.full(len(outcomes.cores), np.nan)
            series = [nothing, outcomes.cores, *outcomes.replicas.T, found["mean_s"], found["p99_s"]]
            name = f"{controller.value}, {what}"
            shown = controller is Controller.agent and what != "replayed"
            _draw(figure, definition, name, COLOURS[controller], dash, series, shown)
    return figure


def _rows(definition: Definition, titles: Sequence[str], loads: IntArray) -> Any:
    """A row a title, the load in the first and the SLA in the last one."""
    figure = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.035)
    for row, title in enumerate(titles, start=1):
        figure.layout.annotations += (title_above(figure, row, title),)
    figure.update_xaxes(title_text="seconds", row=len(titles), col=1)
    figure.update_layout(height=_ROW_PX * len(titles) + 100, hovermode="x unified")
    thin, sla_s = {"color": "#999999", "width": 1}, definition.problem.sla_s
    figure.add_scatter(x=np.arange(len(loads)), y=loads, name="load", line=thin, row=1, col=1)
    dashed = {"color": "#cc3311", "dash": "dash", "width": 1}
    ends, level = [0, len(loads)], [sla_s, sla_s]
    figure.add_scatter(
        x=ends, y=level, mode="lines", name="SLA", line=dashed, legendrank=1001,
        row=len(titles), col=1,
    )  # fmt: skip
    return figure


def _draw(
    figure: Any,
    definition: Definition,
    name: str,
    colour: str,
    dash: str,
    series: Sequence[FloatArray],
    shown: bool = True,
) -> None:
    """One line in every row, one entry in the legend."""
    for row, values in enumerate(series, start=1):
        figure.add_scatter(
            x=np.arange(len(values)) * definition.timing.interval_s,
            y=values,
            name=name,
            legendgroup=name,
            showlegend=row == 2,
            visible=True if shown else "legendonly",
            mode="lines",
            line={"color": colour, "width": 1.8, "shape": "hv", "dash": dash},
            row=row,
            col=1,
        )
