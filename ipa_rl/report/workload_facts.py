"""A workload in words, and beside the shipped ones: what the page, the picture and the terminal say."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ipa_rl import resources
from ipa_rl.jit import FloatArray
from ipa_rl.report.resolution import bucketed
from ipa_rl.workload.faults import doubts
from ipa_rl.workload.moments import said
from ipa_rl.workload.portrait import (
    GROWTHS_S,
    PERIODS_S,
    Burst,
    LoadFigures,
    LoadSeries,
    Portrait,
    Profile,
    figures,
)
from ipa_rl.workload.summary import in_words
from ipa_rl.workload.workload import PARTS, Workload, load_workload

_MOST_JSON = 2000
"""Values of a series in the JSON."""
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MANY = 7
_SAID_SCALES_S = (1, 60, 3600)
COMPARED_SCALES_S = (1, 60)


def moment(workload: Workload, second: int) -> str:
    """A second as people read it."""
    return said(workload, second).replace("T", " ") if workload.begin else f"second {second:,}"


def facts(seen: Portrait) -> list[tuple[str, str]]:
    """What a workload is, as labels and sentences."""
    workload, described = seen.workload, seen.workload.description
    found = [
        ("lasts", _lasts(workload)),
        ("measured", _measured(workload)),
        ("load", _load(seen)),
        ("season", _season(seen)),
        ("dispersion", _dispersion(seen.figures)),
        ("growth", _growth(seen.figures)),
        ("bursts", _bursts(seen)),
        ("gaps", _gaps(seen)),
        ("split", ", ".join(f"{part} {in_words(end - begin)}" for part, (begin, end) in _parts(workload))),
        ("source", described.source or "not said"),
        ("licence", described.licence or "not said"),
    ]
    notes = [
        one for one in doubts(described, workload.recorded) if not one.startswith("nothing was recorded")
    ]
    return [*found, *(("note", one) for one in notes)]  # gaps are above


def _parts(workload: Workload) -> Iterator[tuple[str, tuple[int, int]]]:
    return ((part, workload.parts[part]) for part in PARTS)


def _lasts(workload: Workload) -> str:
    length = in_words(workload.seconds)
    if workload.begin is None:
        return f"{length}; without a date, so that its clock counts from its begin"
    return (
        f"{length}, from {moment(workload, 0)} to {moment(workload, workload.seconds)}, {workload.zone.key}"
    )


def _measured(workload: Workload) -> str:
    described, recorded = workload.description, workload.recorded
    if recorded.times_s is not None:
        return "the time of every request"
    slots = f"requests in slots of {in_words(described.resolution_s)}"
    slots += "" if described.divide_by == 1 else f", divided by {described.divide_by}"
    if not workload.are_seconds_made_up:
        return slots
    if recorded.dispersion is not None:
        how = f"variance over mean as measured slot by slot, {recorded.dispersion.mean():.3g} in the mean"
    elif described.dispersion is not None:
        how = f"variance over mean {described.dispersion:g}, as its description says"
    else:
        how = "Poisson, as nothing else is known"
    return f"{slots}; the seconds within a slot are made up: {how}"


def _load(seen: Portrait) -> str:
    of, peak_rps = seen.figures, seen.figures.peak_over_mean * seen.figures.mean_rps
    if not of.mean_rps > 0:
        return "no requests"
    slot = f"highest {'minute' if of.every_s <= 60 else 'slot'}"
    at = moment(seen.workload, seen.peak_at_s)
    return f"{of.mean_rps:.3g} requests/s; {slot} {peak_rps:.3g}, {of.peak_over_mean:.3g} times that, at {at}"


def _season(seen: Portrait) -> str:
    if seen.season_s is None:
        return "not looked for yet; ipa-rl workload fit finds it"
    names = {period_s: name for name, period_s in PERIODS_S.items()}
    return names.get(seen.season_s, in_words(seen.season_s)) if seen.season_s else "none"


def _dispersion(of: LoadFigures) -> str:
    known = [one for scale_s in _SAID_SCALES_S for one in [of.dispersion_at(scale_s)]]
    words = [
        f"{_digits(one.value)} in {in_words(one.scale_s)}{' (made up)' if one.is_made_up else ''}"
        for one in known
        if not math.isnan(one.value)
    ]
    return ", ".join(words) + " (variance over mean; Poisson is 1)" if words else "too short to say"


def _growth(of: LoadFigures) -> str:
    pairs = zip(of.growth, GROWTHS_S, strict=True)
    words = [f"x {value:.2f} within {within_s} s" for value, within_s in pairs if not math.isnan(value)]
    return f"{', '.join(words)} at one moment of 1,000" if words else "not known: slots are longer than 60 s"


def _bursts(seen: Portrait) -> str:
    if not seen.bursts:
        return "none"
    return ", ".join(
        f"x {one.factor:.1f} in {in_words(one.end_s - one.begin_s)} from {moment(seen.workload, one.begin_s)}"
        for one in seen.bursts[:3]
    )


def _gaps(seen: Portrait) -> str:
    gaps = seen.workload.description.gaps
    if not gaps:
        return "none"
    begin, end = max(gaps, key=lambda one: one[1] - one[0])
    share = 100.0 * seen.missing_s / seen.workload.seconds
    longest = f"{in_words(end - begin)} at {moment(seen.workload, begin)}"
    return f"{len(gaps)}, {share:.2g} % of the time; the longest {longest}"


def beside_shipped(seen: Portrait) -> list[LoadFigures]:
    """Its figures, then those of the shipped workloads."""
    own = seen.workload.folder
    shipped = [load_workload(name) for name in resources.shipped_names("workloads")]
    return [seen.figures, *(figures(one) for one in shipped if one.folder != own)]


def compared(rows: Sequence[LoadFigures]) -> list[dict[str, str]]:
    """A row for each workload; * is made up, - not known."""
    return [
        {
            "workload": row.name,
            "slots": in_words(row.every_s),
            "rps": _digits(row.mean_rps),
            "peak": _digits(row.peak_over_mean),
            **{f"disp {in_words(s)}": _of_scale(row, s) for s in COMPARED_SCALES_S},
            **{f"x in {s} s": _digits(one) for s, one in zip(GROWTHS_S, row.growth, strict=True)},
        }
        for row in rows
    ]


COLUMNS = (
    "rps: mean requests/s. peak: highest minute (or slot) over the mean. disp: variance over mean of the "
    "requests in a second and in a minute, from neighbouring ones; 1 is Poisson. x in 20 s: load of 20 s "
    "over that of the 20 s before, exceeded at one moment of 1,000. * made up, - not known."
)


def _of_scale(row: LoadFigures, scale_s: float) -> str:
    one = row.dispersion_at(scale_s)
    return _digits(one.value) + ("*" if one.is_made_up else "")


def _digits(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def begins_at(workload: Workload) -> datetime.datetime | None:
    """The date that its first second has on its axes: local, by the offset of then all along."""
    return None if workload.begin is None else workload.begin.astimezone(workload.zone)


def many_days(seen: Portrait) -> Profile | None:
    """The profile of the day, where there are so many that every day is worth a column."""
    return next((one for one in seen.profiles if one.name == "day" and len(one.by_period) >= _MANY), None)


def brightest(one: Profile) -> float:
    """The load from which on colours do not differ: few bins are above it."""
    return float(np.nanquantile(one.by_period, 0.995)) or 1.0


def profile_axis(one: Profile) -> list[float]:
    """Middles of its bins in seconds."""
    middles: list[float] = ((np.arange(len(one.mean)) + 0.5) * one.period_s / len(one.mean)).tolist()
    return middles


def profile_ticks(one: Profile, is_dated: bool) -> tuple[list[int], list[str]]:
    """Where numbers stand at its axis, and which."""
    if one.name == "hour":
        return list(range(0, 3601, 600)), [str(minute) for minute in range(0, 61, 10)]
    if one.name == "day":
        return list(range(0, 86_401, 14_400)), [f"{hour}:00" for hour in range(0, 25, 4)]
    days = _WEEKDAYS if is_dated else tuple(f"day {day}" for day in range(1, 8))
    return list(range(43_200, 604_800, 86_400)), list(days)


def profile_title(one: Profile, is_dated: bool) -> str:
    """What its axis counts."""
    what = {"hour": "minute of the hour", "day": "time of day", "week": "day of the week"}[one.name]
    return what if is_dated or one.name == "hour" else f"{what}, as counted from its begin"


def burst_title(workload: Workload, one: Burst) -> str:
    """How much it rises, and when, in two lines."""
    words = f"x {one.factor:.1f}, from\n{moment(workload, one.begin_s)}"
    return f"{words}, {one.part}" if one.part else words


def burst_points(seen: Portrait, one: Burst) -> tuple[list[float], list[float]]:
    """Minutes from its begin, and measured requests/s; of seconds, means of 5."""
    every_s = seen.series.every_s
    first, last = int(one.begin_s / every_s), int(np.ceil(one.end_s / every_s))
    rps = seen.series.rps[first:last]
    slots = max(1, len(rps) // 240)
    rps = rps[: len(rps) // slots * slots].reshape(-1, slots).mean(axis=1)
    return (np.arange(len(rps)) * slots * every_s / 60).tolist(), rps.tolist()


def dispersion_points(one: LoadFigures, is_made_up: bool) -> tuple[list[float], list[float]]:
    """Scales and values of the measured or of the made-up ones, as logarithmic axes can show them."""
    found = [each for each in one.dispersion if each.is_made_up == is_made_up and each.value > 0]
    return [each.scale_s for each in found], [each.value for each in found]


def as_json(seen: Portrait, rows: Sequence[LoadFigures]) -> dict[str, Any]:
    """All figures of the page, for programs; NaN where nothing is known."""
    workload = seen.workload
    return {
        "workload": workload.name,
        "folder": str(workload.folder),
        "title": workload.description.title,
        "facts": [{"label": label, "text": text} for label, text in facts(seen)],
        "seconds": workload.seconds,
        "begin": None if workload.begin is None else begins_at(workload).isoformat(),  # type: ignore[union-attr]
        "are_seconds_made_up": workload.are_seconds_made_up,
        "season_s": seen.season_s,
        "parts": workload.parts,
        "gaps": workload.description.gaps,
        "missing_s": seen.missing_s,
        "series": _series(seen.series),
        "profiles": [
            {"name": one.name, "period_s": one.period_s, "periods": len(one.by_period)}
            | {"mean_rps": _list(one.mean), "low_rps": _list(one.low), "high_rps": _list(one.high)}
            for one in seen.profiles
        ],
        "bursts": [asdict(one) for one in seen.bursts],
        "compared": [asdict(row) for row in rows],
    }


def _series(series: LoadSeries) -> dict[str, Any]:
    found = bucketed(series.rps, _MOST_JSON)
    means = {"mean_rps": _list(found.mean), "low_rps": _list(found.low), "high_rps": _list(found.high)}
    return {"every_s": series.every_s * found.size, **means}


def _list(values: FloatArray) -> list[float]:
    return [float(f"{one:.5g}") for one in values.tolist()]
