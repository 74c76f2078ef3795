"""The interactive figures of a workload's page, as plotly figures without a theme."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from ipa_rl.errors import MissingExtraError
from ipa_rl.report.colours import GAP, LOAD, OTHERS, PART_COLOURS, WORKLOAD
from ipa_rl.report.page_figures import plain
from ipa_rl.report.resolution import (
    MOST_SHOWN,
    axis_title,
    axis_unit,
    dated_axis,
    embedded_series,
    milliseconds,
    time_axis,
)
from ipa_rl.report.workload_facts import (
    begins_at,
    brightest,
    burst_points,
    burst_title,
    dispersion_points,
    profile_axis,
    profile_ticks,
    profile_title,
)
from ipa_rl.workload.portrait import LoadFigures, Portrait, Profile, gaps_joined
from ipa_rl.workload.summary import in_words
from ipa_rl.workload.workload import PARTS, Workload

try:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots
except ImportError as error:
    raise MissingExtraError("plotly", "plot") from error

_MOST_GAPS = 150


def series(seen: Portrait) -> Any:
    """The load over the whole time; its parts as backgrounds, its gaps in grey."""
    workload, end_s = seen.workload, seen.workload.seconds
    begin, unit = begins_at(workload), axis_unit(end_s)
    origin = 0
    axis, words = time_axis(end_s), axis_title(end_s)
    if begin is not None:
        unit, origin = 1000, milliseconds(begin)
        axis, words = dated_axis(end_s, begin), f"time, UTC{begin.isoformat()[-6:]}"
    figure = go.Figure()
    figure.add_scatter(
        meta=embedded_series(seen.series.rps, seen.series.every_s, MOST_SHOWN) | {"period_s": 86_400},
        name="load",
        line={"color": WORKLOAD, "width": 1.2, "shape": "hv"},
        hovertemplate="%{y:.4~g}%{text}<extra></extra>",
        showlegend=False,
    )
    at = [(begin_s * unit + origin, after_s * unit + origin) for begin_s, after_s in workload.parts.values()]
    for part, (first, last) in zip(PARTS, at, strict=True):
        figure.add_shape(**_ground(first, last, PART_COLOURS[part], 0.13))
        figure.add_annotation(
            x=(first + last) / 2, y=1, yref="y domain", yanchor="bottom", text=part, showarrow=False,
            font={"color": PART_COLOURS[part], "size": 12},
        )  # fmt: skip
    for begin_s, after_s in gaps_joined(workload, _MOST_GAPS):
        figure.add_shape(**_ground(begin_s * unit + origin, after_s * unit + origin, GAP, 0.35))
    figure.update_xaxes(title_text=words, **axis)
    figure.update_yaxes(title_text="requests/s", rangemode="tozero")
    meta = {"end_s": end_s, "unit": unit, "begin": origin}
    return figure.update_layout(height=380, hovermode="x unified", meta=meta)


def _ground(first: float, last: float, colour: str, opacity: float) -> dict[str, Any]:
    """A stretch of time in a colour, behind the load."""
    return {
        "type": "rect", "x0": first, "x1": last, "y0": 0, "y1": 1, "yref": "y domain", "layer": "below",
        "fillcolor": colour, "opacity": opacity, "line": {"width": 0},
    }  # fmt: skip


def profile(one: Profile, is_dated: bool) -> Any:
    """The mean of each bin, and a band from low periods to high ones."""
    figure = go.Figure()
    known = np.isfinite(one.mean)  # a polygon has no holes
    x = np.array(profile_axis(one))[known].tolist()
    high, low = one.high[known].tolist(), one.low[known].tolist()
    band = {"x": [*x, *x[::-1]], "y": [*high, *low[::-1]]}
    figure.add_scatter(
        **band, mode="lines", fill="toself", line={"width": 0, "color": WORKLOAD}, opacity=0.4,
        name=f"from the 10th to the 90th percentile of {len(one.by_period)} {one.name}s", hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=one.mean[known].tolist(), mode="lines", line={"width": 2, "color": WORKLOAD}, name="mean",
        hovertemplate="%{y:.4~g} requests/s<extra></extra>",
    )  # fmt: skip
    ticks, labels = profile_ticks(one, is_dated)
    title = profile_title(one, is_dated)
    figure.update_xaxes(tickvals=ticks, ticktext=labels, title_text=title, range=[0, one.period_s])
    figure.update_yaxes(title_text="requests/s", rangemode="tozero")
    return figure.update_layout(height=320)


def days(one: Profile, workload: Workload) -> Any:
    """Every day as a column, its time of day upwards; the darker, the more requests."""
    begin = begins_at(workload)
    x: list[Any] = list(range(1, len(one.by_period) + 1))
    if begin is not None:
        x = [(begin + datetime.timedelta(days=k)).date().isoformat() for k in range(len(one.by_period))]
    hours = [second / 3600 for second in profile_axis(one)]
    shown = [[None if np.isnan(v) else float(f"{v:.4g}") for v in row] for row in one.by_period.T]
    figure = go.Figure(
        go.Heatmap(
            x=x, y=hours, z=shown, colorscale="Viridis", hoverongaps=False,
            zmin=0,
            zmax=brightest(one),
            colorbar={"title": {"text": "requests/s", "side": "right"}, "thickness": 12},
            hovertemplate="%{x}, %{y:.2f} h: %{z} requests/s<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="day" if begin is None else None, showgrid=False)
    figure.update_yaxes(title_text="hour of the day", tickvals=list(range(0, 25, 4)), showgrid=False)
    return figure.update_layout(height=380)


def bursts(seen: Portrait) -> Any:
    """Each burst at the resolution of the recording, minutes from its begin."""
    titles = [plain(burst_title(seen.workload, one)).replace("\n", "<br>") for one in seen.bursts]
    rows = -(-len(titles) // 2)
    figure = make_subplots(rows=rows, cols=2, subplot_titles=titles, vertical_spacing=0.28 / rows)
    for k, one in enumerate(seen.bursts):
        minutes, rps = burst_points(seen, one)
        figure.add_scatter(
            x=minutes, y=rps, mode="lines", line={"color": WORKLOAD, "width": 1.4, "shape": "hv"},
            row=k // 2 + 1, col=k % 2 + 1, hovertemplate="%{y:.4~g} requests/s<extra></extra>",
            showlegend=False,
        )  # fmt: skip
    figure.update_annotations(font_size=12)
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(title_text="minutes", row=rows)
    return figure.update_layout(height=240 * rows + 60)


def dispersion(own: LoadFigures, others: Sequence[LoadFigures]) -> Any:
    """Variance over mean by time scale, beside other workloads; what is made up is dotted."""
    figure = go.Figure()
    colours = dict(zip((one.name for one in others), OTHERS, strict=False))
    for one in (*others, own):
        colour = WORKLOAD if one is own else colours.get(one.name, LOAD)
        width, points = (3, {"size": 8}) if one is own else (1.3, {"size": 4})
        for is_made_up, dash in ((True, "dot"), (False, "solid")):
            scales, values = dispersion_points(one, is_made_up)
            figure.add_scatter(
                x=scales, y=values, mode="lines+markers", marker=points, name=plain(one.name),
                line={"color": colour, "dash": dash, "width": width}, legendgroup=one.name,
                showlegend=not is_made_up,
                hovertemplate=f"{plain(one.name)}: %{{y:.3g}}<extra></extra>",
            )  # fmt: skip
    figure.add_hline(y=1, line={"color": LOAD, "dash": "dash", "width": 1})
    ticks = [1, 10, 60, 600, 3600, 21_600, 86_400]
    labels = [in_words(one) for one in ticks]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=labels, title_text="length of a slot")
    figure.update_yaxes(type="log", tickformat="~g", title_text="variance over mean")
    return figure.update_layout(height=460)
