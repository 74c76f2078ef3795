"""The interactive figures of a demonstration: what was measured, and what was predicted, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ipa_rl.demo.controllers import Controller
from ipa_rl.demo.outcomes import Outcomes, by_interval
from ipa_rl.demo.results import Judged
from ipa_rl.environment.definition import Definition
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.report.page_figures import title_above

COLOURS: Mapping[Controller, str] = {
    Controller.agent: "#0b84b5",
    Controller.program: "#d1495b",
    Controller.autoscaler: "#3d5a80",
}
"""Those of agent, program and threshold autoscaler in every other picture."""

_ROW_PX = 150


def measured(definition: Definition, loads: IntArray, own: Sequence[Judged]) -> Any:
    """Load, cores, replicas by stage, PAS by labels, mean and 99th percentile latency."""
    replicas = [f"ready replicas of {stage.name}" for stage in definition.pipeline.stages]
    titles = ["load, and load planned for [requests/s]", "cores", *replicas, "PAS x 100, by labels"]
    titles += ["mean latency [s]", "p99 latency [s]"]
    figure = _rows(titles)
    _draw_load(figure, loads)
    for one in own:
        controller = one.result.turn.controller
        planned = one.result.measured.planned_rps
        series = [planned, *_series(definition, one.result.measured.outcomes, with_pas=True)]
        _draw(figure, definition, controller.value, COLOURS[controller], "solid", series)
    _draw_sla(figure, definition, len(loads), len(titles))
    return figure


def prediction(definition: Definition, loads: IntArray, own: Sequence[Judged]) -> Any:
    """Cores, replicas, mean and 99th percentile latency: measured, predicted, replayed."""
    replicas = [f"ready replicas of {stage.name}" for stage in definition.pipeline.stages]
    titles = ["load [requests/s]", "cores", *replicas, "mean latency [s]", "p99 latency [s]"]
    figure = _rows(titles)
    _draw_load(figure, loads)
    for one in own:
        controller = one.result.turn.controller
        lines = [("measured", "solid", one.result.measured.outcomes)]
        if one.predicted_outcomes is not None:
            lines.append(("predicted", "dot", one.predicted_outcomes))
        lines.append(("replayed", "dash", one.replayed_outcomes))
        for what, dash, outcomes in lines:
            nothing = np.full(len(outcomes.cores), np.nan)
            series = [nothing, *_series(definition, outcomes, with_pas=False)]
            name = f"{controller.value}, {what}"
            shown = controller is Controller.agent and what != "replayed"
            _draw(figure, definition, name, COLOURS[controller], dash, series, shown)
    _draw_sla(figure, definition, len(loads), len(titles))
    return figure


def _rows(titles: Sequence[str]) -> Any:
    figure = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.035)
    for row, title in enumerate(titles, start=1):
        figure.layout.annotations += (title_above(figure, row, title),)
    figure.update_xaxes(title_text="seconds", row=len(titles), col=1)
    figure.update_layout(height=_ROW_PX * len(titles) + 100, hovermode="x unified")
    return figure


def _series(definition: Definition, outcomes: Outcomes, with_pas: bool) -> list[FloatArray]:
    found = by_interval(definition, outcomes)
    series = [outcomes.cores, *outcomes.replicas.T]
    return [*series, *([found["pas_x100"]] if with_pas else []), found["mean_s"], found["p99_s"]]


def _draw_load(figure: Any, loads: IntArray) -> None:
    line = {"color": "#999999", "width": 1}
    figure.add_scatter(x=np.arange(len(loads)), y=loads, name="load", line=line, row=1, col=1)


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
    interval_s = definition.timing.interval_s
    for row, values in enumerate(series, start=1):
        figure.add_scatter(
            x=np.arange(len(values)) * interval_s,
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


def _draw_sla(figure: Any, definition: Definition, seconds: int, rows: int) -> None:
    line = {"color": "#cc3311", "dash": "dash", "width": 1}
    sla = go.Scatter(x=[0, seconds], y=[definition.problem.sla_s] * 2, mode="lines", name="SLA", line=line)
    figure.add_trace(sla, row=rows, col=1)
