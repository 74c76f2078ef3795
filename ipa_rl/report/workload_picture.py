"""A workload as one picture: the load over time, its usual day and week, its bursts and its dispersion."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.report.colours import GAP, LOAD, OTHERS, PART_COLOURS, WORKLOAD
from ipa_rl.report.pyplot import literal, load_pyplot, save, title
from ipa_rl.report.resolution import bucketed
from ipa_rl.report.workload_facts import (
    begins_at,
    brightest,
    burst_points,
    burst_title,
    dispersion_points,
    many_days,
    profile_axis,
    profile_ticks,
    profile_title,
)
from ipa_rl.workload.portrait import Burst, LoadFigures, Portrait, Profile, gaps_joined
from ipa_rl.workload.summary import in_words
from ipa_rl.workload.workload import PARTS

_BUCKETS = 700
"""Most buckets of the load, one every two pixels."""
_MOST_GAPS = 150
_COLUMNS = 12
_UNITS = (("days", 86_400), ("hours", 3600), ("seconds", 1))


def draw_workload(seen: Portrait, rows: Sequence[LoadFigures], path: Path) -> None:
    """Draw it. ``rows``: figures of the workload, and of those beside it."""
    profiles, bursts = seen.profiles, seen.bursts
    panels = [["load"]] + ([[one.name for one in profiles]] if profiles else [])
    panels += [[f"burst {k}" for k in range(len(bursts))]] if bursts else []
    panels += [["dispersion", "beside"]]
    heights = [1.15, *[1.0] * (len(panels) - 2), 1.25]
    mosaic = [[name for name in row for _ in range(_COLUMNS // len(row))] for row in panels]
    figure, axes = load_pyplot().subplot_mosaic(
        mosaic, figsize=(12, 2.9 * len(panels) + 0.4), height_ratios=heights, layout="constrained"
    )
    _draw_load(axes["load"], seen)
    for one in profiles:
        _draw_profile(axes[one.name], one, is_dated=seen.workload.begin is not None)
    for k, burst in enumerate(bursts):
        _draw_burst(axes[f"burst {k}"], seen, burst)
    _draw_dispersion(axes["dispersion"], rows)
    day = many_days(seen)
    if day is None:
        _draw_peaks(axes["beside"], rows)
    else:
        _draw_days(axes["beside"], day)
    name = seen.workload.description.title or seen.workload.name
    figure.suptitle(literal(name), fontsize=13)
    save(figure, path)


def _draw_load(axis: Any, seen: Portrait) -> None:
    """The mean of each bucket, a band from the lowest to the highest, parts and gaps behind."""
    workload = seen.workload
    found = bucketed(seen.series.rps, _most_buckets(seen))
    begin = begins_at(workload)
    unit, unit_s = next((one for one in _UNITS if workload.seconds > 2 * one[1]), _UNITS[-1])

    def at(second: float) -> Any:
        if begin is None:
            return second / unit_s
        return begin.replace(tzinfo=None) + datetime.timedelta(seconds=second)

    edges = [at(k * found.size * seen.series.every_s) for k in range(len(found.mean))]
    if found.size > 1:
        axis.fill_between(edges, found.low, found.high, step="post", color=WORKLOAD, alpha=0.3, lw=0)
    axis.step(edges, found.mean, where="post", color=WORKLOAD, lw=1.0)
    top = axis.get_xaxis_transform()
    for part in PARTS:
        first, last = workload.parts[part]
        axis.axvspan(at(first), at(last), color=PART_COLOURS[part], alpha=0.10, lw=0)
        axis.text(
            at((first + last) / 2), 0.99, part, transform=top, ha="center", va="top",
            color=PART_COLOURS[part], fontsize=9,
        )  # fmt: skip
    for first, last in gaps_joined(workload, _MOST_GAPS):
        axis.axvspan(at(first), at(last), color=GAP, alpha=0.35, lw=0)
    if begin is not None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator: Any = AutoDateLocator()  # type: ignore[no-untyped-call]
        axis.xaxis.set_major_locator(locator)
        axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axis.set_xlabel(unit if begin is None else "")
    axis.margins(x=0)
    axis.set_ylim(0, 1.08 * np.nanmax(found.high, initial=1e-9))
    title(
        axis,
        f"requests/s{_slots(seen)}; grey: gaps" if workload.description.gaps else f"requests/s{_slots(seen)}",
    )


def _most_buckets(seen: Portrait) -> int:
    """So many that each is a day where one is longer than a third of it: parts of days would beat."""
    days = len(seen.series.rps) / seen.series.slots_in(86_400)
    return _BUCKETS if days * 3 < _BUCKETS else max(1, math.ceil(days))


def _slots(seen: Portrait) -> str:
    every = in_words(seen.series.every_s)
    return f", measured by {every}; seconds within are made up" if seen.workload.are_seconds_made_up else ""


def _draw_profile(axis: Any, one: Profile, *, is_dated: bool) -> None:
    at = profile_axis(one)
    axis.fill_between(at, one.low, one.high, color=WORKLOAD, alpha=0.25, lw=0)
    axis.plot(at, one.mean, color=WORKLOAD, lw=1.6)
    axis.set_xticks(*profile_ticks(one, is_dated))
    axis.set_xlabel(profile_title(one, is_dated))
    axis.set_xlim(0, one.period_s)
    axis.set_ylim(bottom=0)
    title(axis, f"a usual {one.name}, of {len(one.by_period)}")


def _draw_burst(axis: Any, seen: Portrait, one: Burst) -> None:
    minutes, rps = burst_points(seen, one)
    axis.step(minutes, rps, where="post", color=WORKLOAD, lw=1.2)
    axis.set_xlabel("minutes")
    axis.margins(x=0)
    axis.set_ylim(bottom=0)
    title(axis, burst_title(seen.workload, one))


def _draw_dispersion(axis: Any, rows: Sequence[LoadFigures]) -> None:
    """Variance over mean by time scale; dotted where it is made up."""
    for k, one in enumerate(rows):
        colour = WORKLOAD if k == 0 else OTHERS[(k - 1) % len(OTHERS)]
        for is_made_up, line in ((True, ":"), (False, "-")):
            axis.plot(
                *dispersion_points(one, is_made_up), line, color=colour, marker="o",
                lw=2.6 if k == 0 else 1.1, ms=5 if k == 0 else 2.5, zorder=3 if k == 0 else 2,
                label=None if is_made_up else literal(one.name),
            )  # fmt: skip
    axis.axhline(1, color=LOAD, ls="--", lw=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    ticks = [1, 10, 60, 600, 3600, 21_600, 86_400]
    axis.set_xticks(ticks, [in_words(one) for one in ticks])
    axis.minorticks_off()
    axis.set_xlabel("length of a slot")
    axis.legend(frameon=False, fontsize=8)
    title(axis, "variance over mean; 1 is Poisson, dotted is made up")


def _draw_days(axis: Any, one: Profile) -> None:
    """Every day as a column, its time of day upwards."""
    edges = np.arange(len(one.by_period) + 1), np.linspace(0, 24, len(one.mean) + 1)
    shades = axis.pcolormesh(*edges, one.by_period.T, vmin=0, vmax=brightest(one), cmap="viridis")
    axis.figure.colorbar(shades, ax=axis, pad=0.01).outline.set_visible(False)
    axis.set_yticks(range(0, 25, 4), [f"{hour}:00" for hour in range(0, 25, 4)])
    axis.set_xlabel("days from the begin")
    title(axis, "every day [requests/s]")


def _draw_peaks(axis: Any, rows: Sequence[LoadFigures]) -> None:
    """Peak over mean of each workload."""
    colours = [WORKLOAD, *(OTHERS[k % len(OTHERS)] for k in range(len(rows) - 1))]
    peaks = [np.nan_to_num(one.peak_over_mean) for one in rows]
    axis.barh(range(len(rows)), peaks, color=colours, alpha=0.45, height=0.75)
    for k, one in enumerate(rows):
        axis.text(0.05, k, literal(f"{one.name}, {one.mean_rps:.3g} requests/s"), va="center", fontsize=8)
    axis.set_yticks([])
    axis.invert_yaxis()
    axis.axvline(1, color=LOAD, ls="--", lw=1)
    title(axis, "highest minute over the mean")
