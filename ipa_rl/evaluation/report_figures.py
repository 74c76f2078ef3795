"""The interactive figures of a report, as plotly figures without a theme: the page sets its colours."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ipa_rl.compiled import FloatArray, IntArray
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.evaluation.colours import VARIANTS, controller_colour
from ipa_rl.evaluation.play import Played
from ipa_rl.evaluation.stress import Endured
from ipa_rl.objective import cost_cores, pas
from ipa_rl.simulation.accounting import bin_middles_s
from ipa_rl.solvers import FrontSolver, Optimum

try:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots
except ImportError as error:
    raise MissingExtraError("plotly", "plot") from error

_PREFERENCES = np.logspace(-1, 4, 60)
_MOST_TIMES = 400


def timeline(definition: Definition, loads: IntArray, played: Sequence[Played], others: Sequence[str]) -> Any:
    """Load, PAS, cores, latency against the SLA, and queues by stage, over time."""
    stages = [stage.name for stage in definition.pipeline.stages]
    titles = ["load, and load planned for [requests/s]", "PAS x 100", "cores", "p99 latency [s]"]
    titles += [f"waiting at {stage} [requests]" for stage in stages]
    figure = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.035)
    figure.add_scatter(
        x=np.arange(len(loads)), y=loads, name="load", line={"color": "#999999", "width": 1}, row=1, col=1
    )
    seconds = np.arange(len(played[0].sums)) * definition.settings.interval_s
    for one in played:
        for row, values in enumerate(_series(one), start=1):
            figure.add_scatter(
                x=seconds,
                y=values,
                name=plain(one.name),
                legendgroup=one.name,
                showlegend=row == 1,
                visible="legendonly" if one.name in others else True,
                line={"color": controller_colour(one.name, others), "width": 1.6, "shape": "hv"},
                row=row,
                col=1,
            )
    figure.add_scatter(
        x=[0, len(loads)],
        y=[definition.problem.sla_s] * 2,
        mode="lines",
        name="SLA",
        line={"color": "#cc3311", "dash": "dash", "width": 1},
        row=4,
        col=1,
    )
    for row, title in enumerate(titles, start=1):
        figure.layout.annotations += (title_above(figure, row, title),)
    figure.update_yaxes(type="log", dtick=1, row=4, col=1)
    figure.update_xaxes(title_text="seconds", row=len(titles), col=1)
    figure.update_layout(height=150 * len(titles) + 100, hovermode="x unified")
    return figure


def plain(text: str) -> str:
    """Text that plotly shows as it is: what it would read as markup, or as a placeholder, is escaped.

    >>> plain("<b>a & b</b> %{x}")
    '&lt;b&gt;a &amp; b&lt;/b&gt; %&#123;x}'
    """
    return html.escape(text, quote=False).replace("%{", "%&#123;")


def title_above(figure: Any, row: int, text: str) -> Any:
    """A title at the left above a row, out of the way of what is drawn."""
    axis = figure.layout["yaxis" if row == 1 else f"yaxis{row}"]
    return go.layout.Annotation(
        text=plain(text),
        x=0,
        y=axis.domain[1],
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"size": 12},
    )


def _series(played: Played) -> list[FloatArray]:
    served = played.column("served")
    score = 100.0 * played.column("accuracy") / np.maximum(served, 1e-9)
    cores = played.column("core_s") / played.column("seconds")
    whole = [played.planned_rps, np.where(served > 0, score, np.nan), cores, played.p99_s]
    return whole + [played.waiting[:, s] for s in range(played.waiting.shape[1])]


def configurations(definition: Definition, served: Mapping[str, IntArray]) -> Any:
    """What served, a band a controller and stage: variants as colours, batch size and replicas in words.

    ``served``: by controller (steps, stages, 3), variant index, batch index and replicas.
    """
    figure = go.Figure()
    interval_s = definition.settings.interval_s
    bands = [(name, s) for name in served for s in range(len(definition.pipeline.stages))]
    for name, s in bands:
        stage = definition.pipeline.stages[s]
        for begin, end, (v, k, n) in _stretches(served[name][:, s]):
            variant = stage.variants[v]
            words = f"x{n}" if variant.batches[k] == 1 else f"x{n} b{variant.batches[k]}"
            figure.add_bar(
                x=[(end - begin) * interval_s],
                base=[begin * interval_s],
                y=[plain(f"{name}: {stage.name}")],
                orientation="h",
                marker={"color": VARIANTS[v % len(VARIANTS)], "line": {"width": 0}},
                text=words if end - begin >= 6 else "",
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                name=plain(f"{stage.name}: {variant.name}"),
                legendgroup=f"{stage.name} {variant.name}",
                showlegend=False,
                hovertemplate=(
                    plain(f"{name}, {stage.name}") + "<br>"
                    f"{plain(variant.name)}, batch {variant.batches[k]}, {n} replicas"
                    f"<br>{begin * interval_s} to {end * interval_s} s<extra></extra>"
                ),
            )
    _variant_legend(figure, definition, served)
    figure.update_layout(barmode="overlay", bargap=0.25, height=36 * len(bands) + 160)
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title_text="seconds")
    return figure


def _variant_legend(figure: Any, definition: Definition, served: Mapping[str, IntArray]) -> None:
    """Each variant that served once, with its colour; a click shows or hides its bands."""
    for s, stage in enumerate(definition.pipeline.stages):
        used = sorted({int(v) for one in served.values() for v in np.unique(one[:, s, 0])})
        for v in used:
            figure.add_bar(
                x=[None],
                y=[None],
                marker={"color": VARIANTS[v % len(VARIANTS)]},
                name=plain(f"{stage.name}: {stage.variants[v].name}"),
                legendgroup=f"{stage.name} {stage.variants[v].name}",
            )


def _stretches(rows: IntArray) -> list[tuple[int, int, tuple[int, int, int]]]:
    """(begin, end, row) of every run of equal rows (steps, 3)."""
    edges = [0, *(np.flatnonzero((np.diff(rows, axis=0) != 0).any(axis=1)) + 1).tolist(), len(rows)]
    return [(begin, end, tuple(rows[begin].tolist())) for begin, end in pairwise(edges)]


def latencies(definition: Definition, histograms: dict[str, FloatArray], others: Sequence[str]) -> Any:
    """Share of the served requests that took longer than a time, both on logarithmic axes."""
    figure = go.Figure()
    middles = bin_middles_s()
    for name, histogram in histograms.items():
        slower = 1.0 - np.cumsum(histogram) / max(histogram.sum(), 1e-9)
        shown = (histogram.cumsum() > 0) & (slower > 1e-6)
        figure.add_scatter(
            x=middles[shown],
            y=100 * slower[shown],
            name=plain(name),
            visible="legendonly" if name in others else True,
            line={"color": controller_colour(name, others), "width": 1.6},
            hovertemplate="%{y:.3g} % slower than %{x:.3g} s",
        )
    figure.add_scatter(
        x=[definition.problem.sla_s] * 2,
        y=[1e-3, 100],
        mode="lines",
        name="SLA",
        line={"color": "#cc3311", "dash": "dash", "width": 1},
    )
    figure.update_xaxes(type="log", title_text="latency [s]")
    figure.update_yaxes(type="log", dtick=1, title_text="requests slower [%]", range=[-2.5, 2.05])
    figure.update_layout(height=420)
    return figure


def trade_off(
    definition: Definition, rows: Sequence[dict[str, Any]], mean_load_rps: float, others: Sequence[str]
) -> Any:
    """PAS against cores; the larger the point, the more violations; the exact front at the mean load."""
    figure = go.Figure()
    most = 1.1 * max(row["cores"] for row in rows)
    front = [point for point in exact_front(definition, mean_load_rps) if point[0] <= most]
    figure.add_scatter(
        x=[cores for cores, _, _ in front],
        y=[score for _, score, _ in front],
        mode="lines+markers",
        name=f"exact optima at the mean load, {mean_load_rps:.1f} requests/s",
        line={"color": "#999999", "width": 1, "shape": "hv"},
        marker={"size": 4, "color": "#999999"},
        text=[words for _, _, words in front],
        hovertemplate="%{text}<br>%{x} cores, PAS x 100 %{y:.2f}<extra>exact optimum</extra>",
    )
    for row in rows:
        violations = 100 * row["violations"]
        figure.add_scatter(
            x=[row["cores"]],
            y=[row["pas_x100"]],
            mode="markers",
            name=plain(row["controller"]),
            marker={
                "size": 9 + 8 * np.sqrt(min(violations, 25.0)),
                "color": controller_colour(row["controller"], others),
                "opacity": 0.5 if row["controller"] in others else 0.85,
                "line": {"width": 1, "color": "#ffffff"},
            },
            hovertemplate=(
                f"%{{x:.2f}} cores, PAS x 100 %{{y:.2f}}, violations {violations:.2f} %"
                f"<extra>{plain(row['controller'])}</extra>"
            ),
        )
    figure.update_xaxes(title_text="mean cores", range=[0, most])
    figure.update_yaxes(title_text="PAS x 100")
    figure.update_layout(height=440)
    return figure


def exact_front(definition: Definition, load_rps: float) -> list[tuple[int, float, str]]:
    """(cores, PAS x 100, configuration) of the optima for accuracy weights from none to all."""
    points = {}
    weights = definition.weights
    for alpha in _PREFERENCES.tolist():
        preference = type(weights)(alpha=alpha, beta=1.0, delta=1e-6)
        answer = FrontSolver(definition.with_problem(weights=preference).problem).solve(load_rps)
        if isinstance(answer, Optimum):
            chosen = answer.configuration
            cores = cost_cores(definition.pipeline, chosen)
            points[cores] = (cores, 100.0 * pas(definition.pipeline, chosen), str(chosen))
    return [points[cores] for cores in sorted(points)]


def decision_times(times_s: dict[str, FloatArray], others: Sequence[str]) -> Any:
    """Milliseconds that a decision took, a box a controller."""
    figure = go.Figure()
    for name, values in times_s.items():
        picked = values[:: max(1, len(values) // _MOST_TIMES)]
        figure.add_box(
            x=1e3 * picked,
            name=plain(name),
            marker={"color": controller_colour(name, others), "size": 3},
            boxpoints="outliers",
            showlegend=False,
        )
    figure.update_xaxes(type="log", title_text="milliseconds a decision")
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(height=26 * len(times_s) + 120)
    return figure


def stress_bars(rows: Sequence[Endured], others: Sequence[str]) -> Any:
    """Violations and recovery by scenario, a bar a controller."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    names = list(dict.fromkeys(row.controller for row in rows))
    for name in names:
        own = [row for row in rows if row.controller == name]
        for position, values in enumerate(
            ([100 * row.violations for row in own], [row.recovery_s for row in own]), start=1
        ):
            figure.add_bar(
                x=[row.scenario for row in own],
                y=values,
                name=plain(name),
                legendgroup=name,
                showlegend=position == 1,
                visible="legendonly" if name in others else True,
                marker={"color": controller_colour(name, others)},
                row=position,
                col=1,
            )
    for position, title in enumerate(("violations [%]", "recovery [s]"), start=1):
        figure.layout.annotations += (title_above(figure, position, title),)
    figure.update_layout(height=520, barmode="group")
    return figure
