"""The interactive figures of a report, as plotly figures without a theme: the page sets its colours."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ipa_rl.environment.definition import Definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.judge.play import Played
from ipa_rl.judge.stress import Endured
from ipa_rl.report.colours import LOAD, SLA, Fill, Style, variant_fills
from ipa_rl.report.resolution import (
    MOST_HIDDEN,
    MOST_SERVED,
    MOST_SHOWN,
    axis_title,
    axis_unit,
    embedded_band,
    embedded_series,
    most_of_each,
    time_axis,
)
from ipa_rl.simulation.accounting import bin_middles_s

try:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots
except ImportError as error:
    raise MissingExtraError("plotly", "plot") from error

_MOST_TIMES = 400

Styles: TypeAlias = Mapping[str, Style]
"""By controller."""


def timeline(
    definition: Definition,
    loads: IntArray,
    played: Sequence[Played],
    styles: Styles,
    hidden: Sequence[str],
    figures: int = 1,
) -> Any:
    """Load, PAS, cores, latency against the SLA, and queues by stage, over time.

    ``figures``: how many of its kind a page has, which share the numbers that it may hold.
    """
    titles = ["load, and load planned for [requests/s]", "PAS x 100", "cores", "p99 latency [s]"]
    titles += [f"waiting at {stage.name} [requests]" for stage in definition.pipeline.stages]
    most_hidden = most_of_each(len(hidden) * len(titles) * figures, MOST_HIDDEN)
    most_shown = most_of_each((len(played) - len(hidden) + 1) * len(titles) * figures, MOST_SHOWN)
    figure = over_time(titles, loads, most_shown)
    for one in played:
        line = _line(styles[one.name]) | {"shape": "hv"}
        most = most_hidden if one.name in hidden else most_shown
        for row, values in enumerate((*one.series(), *one.waiting.T), start=1):
            series = embedded_series(values, definition.timing.interval_s, most)
            place = {"row": row, "col": 1, "showlegend": row == 1, "legendgroup": one.name}
            figure.add_scatter(
                meta=series, line=line, hovertemplate=_VALUE, **_named(one.name, hidden), **place
            )
    ends = [0, len(loads) * axis_unit(len(loads))]
    figure.add_scatter(x=ends, y=[definition.problem.sla_s] * 2, row=4, col=1, **SLA_LINE)
    figure.update_yaxes(type="log", tickformat="~g", row=4, col=1)
    return figure


_VALUE = "%{y:.4~g}%{text}"
SLA_LINE: Mapping[str, Any] = {
    "mode": "lines", "name": "SLA", "line": {"color": SLA, "dash": "dash", "width": 1},
}  # fmt: skip


def over_time(titles: Sequence[str], loads: IntArray, most: int = MOST_SHOWN) -> Any:
    """A row for each title, over the seconds of the loads, which are drawn in the first.

    ``most``: numbers of the loads that the page may hold.
    """
    figure = _titled_rows(titles, spacing=0.035)
    line = {"color": LOAD, "width": 1, "shape": "hv"}
    load = embedded_series(loads, 1, most)
    figure.add_scatter(meta=load, name="load", line=line, hovertemplate=_VALUE, row=1, col=1)
    _set_time_axis(figure, len(loads))
    return figure.update_layout(height=150 * len(titles) + 100, hovermode="x unified")


def _set_time_axis(figure: Any, end_s: float, **more: Any) -> None:
    """The axis of all rows, titled below the last; ``more``: that the page is to know of."""
    figure.update_xaxes(**time_axis(end_s))
    *_, last = figure.select_xaxes()
    last.title.text = axis_title(end_s)
    figure.update_layout(meta={"end_s": end_s, "unit": axis_unit(end_s), **more})


def _titled_rows(titles: Sequence[str], spacing: float) -> Any:
    """Rows over one axis, each title at the left above its row, out of the way of what is drawn."""
    figure = make_subplots(rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=spacing)
    place = {"x": 0, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    for title, axis in zip(titles, figure.select_yaxes(), strict=True):
        figure.add_annotation(
            text=plain(title), y=axis.domain[1], showarrow=False, font={"size": 12}, **place
        )
    return figure


def _named(name: str, others: Sequence[str]) -> dict[str, Any]:
    """A controller's name; ``others`` are shown once somebody clicks it."""
    return {"name": plain(name), "visible": "legendonly" if name in others else True}


def plain(text: str) -> str:
    """Text that plotly shows as it is: what it would read as markup, placeholder or mathematics is escaped.

    >>> plain("<b>a & b</b> %{x} $5")
    '&lt;b&gt;a &amp; b&lt;/b&gt; %&#123;x} &#36;5'
    """
    return html.escape(text, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")


def wrapped(text: str, width: int = 40) -> str:
    """Plain text in lines that fit a narrow page."""
    return "<br>".join(map(plain, textwrap.wrap(text, width))) or " "


def configurations(definition: Definition, served: Mapping[str, IntArray], figures: int = 1) -> Any:
    """What served, a band a controller and stage: variants as colours, batch size and replicas in words.

    ``served``: by controller (steps, stages, 3), variant index, batch index and replicas. ``figures``: as in
    `timeline`.
    """
    figure, fills = go.Figure(), variant_fills(definition.pipeline)
    stages = definition.pipeline.stages
    names = [(name, s) for name in served for s in range(len(stages))]
    most = most_of_each(len(names) * figures, MOST_SERVED)
    bands = [
        embedded_band(served[name][:, s], stages[s], definition.timing.interval_s, most) for name, s in names
    ]
    labels = [wrapped(f"{name}: {stages[s].name}", 24) for name, s in names]
    for k, (name, s) in enumerate(names):
        whose = plain(f"{name}, {stages[s].name}")
        for v in sorted({one["variant"] for one in bands[k]["rows"]}):
            variant = stages[s].variants[v].name
            figure.add_bar(
                meta={"band": k, "variant": v},
                y=[labels[k]],
                orientation="h",
                marker=_fill(fills[s][v]),
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                name=plain(f"{stages[s].name}: {variant}"),
                legendgroup=f"{stages[s].name} {variant}",
                showlegend=False,
                hovertemplate=f"{whose}<br>{plain(variant)}, %{{customdata}}<extra></extra>",
            )
    for s, stage in enumerate(stages):  # each variant that served once; a click hides it
        for v in sorted({int(v) for one in served.values() for v in np.unique(one[:, s, 0])}):
            variant = stage.variants[v].name
            group, words = f"{stage.name} {variant}", wrapped(f"{stage.name}: {variant}")
            figure.add_bar(x=[None], y=[None], marker=_fill(fills[s][v]), name=words, legendgroup=group)
    figure.update_layout(barmode="overlay", bargap=0.25, height=36 * len(bands) + 160)
    figure.update_yaxes(autorange="reversed", automargin=True, categoryarray=labels)
    end_s = max(band["end_s"] for band in bands)
    _set_time_axis(figure, end_s, bands=bands)
    return figure


def _fill(fill: Fill) -> dict[str, Any]:
    """The marker of a bar."""
    pattern = {"shape": fill.pattern, "fillmode": "overlay", "fgcolor": "#ffffff", "size": 6, "solidity": 0.3}
    return {"color": fill.colour, "line": {"width": 0}, "pattern": pattern}


def _line(style: Style) -> dict[str, Any]:
    return {"color": style.colour, "dash": style.dash, "width": 1.6}


def latencies(
    definition: Definition, histograms: dict[str, FloatArray], styles: Styles, others: Sequence[str]
) -> Any:
    """Share of the served requests that took longer than a time, both on logarithmic axes."""
    figure = go.Figure()
    middles = bin_middles_s()
    for name, histogram in histograms.items():
        slower = 1.0 - np.cumsum(histogram) / max(histogram.sum(), 1e-9)
        shown = (histogram.cumsum() > 0) & (slower > 1e-6)
        figure.add_scatter(
            x=middles[shown],
            y=100 * slower[shown],
            line=_line(styles[name]),
            hovertemplate="%{y:.3g} % slower than %{x:.3g} s",
            **_named(name, others),
        )
    figure.add_scatter(x=[definition.problem.sla_s] * 2, y=[1e-3, 100], **SLA_LINE)
    figure.update_xaxes(type="log", tickformat="~g", nticks=6, title_text="latency [s]")
    figure.update_yaxes(type="log", dtick=1, title_text="requests slower [%]", range=[-2.5, 2.05])
    return figure.update_layout(height=420)


def trade_off(
    rows: Sequence[dict[str, Any]],
    bound: FloatArray,
    label: str,
    styles: Styles,
    others: Sequence[str],
    hollow: Sequence[str],
) -> Any:
    """PAS against cores; the larger the point, the more violations.

    ``bound``: (points, 2), cores and PAS x 100 that none can exceed but ``hollow`` ones; ``label``: its name.
    """
    line = {"color": LOAD, "width": 1.5}
    figure = go.Figure(go.Scatter(x=bound[:, 0], y=bound[:, 1], mode="lines", name=label, line=line))
    for row in rows:
        name, violations = row["controller"], 100 * row["violations"]
        style, is_hollow = styles[name], name in hollow
        marker = {
            "size": 9 + 8 * np.sqrt(min(violations, 25.0)),
            "color": style.colour,
            "symbol": f"{style.symbol}-open" if is_hollow else style.symbol,
            "opacity": 0.5 if name in others else 0.85,
            "line": {} if is_hollow else {"width": 1, "color": "#ffffff"},
        }
        words = f"%{{x:.2f}} cores, PAS x 100 %{{y:.2f}}, violations {violations:.2f} %"
        figure.add_scatter(
            x=[row["cores"]],
            y=[row["pas_x100"]],
            mode="markers",
            name=plain(name),
            marker=marker,
            hovertemplate=f"{words}<extra>{plain(name)}</extra>",
        )
    figure.update_xaxes(title_text="mean cores", range=[0, bound[-1, 0]])
    figure.update_yaxes(title_text="PAS x 100")
    return figure.update_layout(height=440)


def decision_times(times_s: dict[str, FloatArray], styles: Styles) -> Any:
    """Milliseconds that a decision took, a box a controller."""
    figure = go.Figure()
    for name, values in times_s.items():
        marker = {"color": styles[name].colour, "symbol": styles[name].symbol, "size": 3}
        picked = 1e3 * values[:: max(1, len(values) // _MOST_TIMES)]
        figure.add_box(x=picked, name=plain(name), marker=marker, boxpoints="outliers", showlegend=False)
    figure.update_xaxes(type="log", tickformat="~g", title_text="milliseconds a decision")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure.update_layout(height=26 * len(times_s) + 120)


def stress_bars(rows: Sequence[Endured], styles: Styles, others: Sequence[str]) -> Any:
    """Violations and recovery by scenario, a bar a controller."""
    figure = _titled_rows(("violations [%]", "recovery [s]"), spacing=0.08)
    for name in dict.fromkeys(row.controller for row in rows):
        own = [row for row in rows if row.controller == name]
        scenarios, style = [row.scenario for row in own], {"color": styles[name].colour}
        both = ([100 * row.violations for row in own], [row.recovery_s for row in own])
        for position, values in enumerate(both, start=1):
            place = {"row": position, "col": 1, "showlegend": position == 1, "legendgroup": name}
            figure.add_bar(x=scenarios, y=values, marker=style, **_named(name, others), **place)
    return figure.update_layout(height=520, barmode="group")
