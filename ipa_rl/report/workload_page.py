"""A workload as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ipa_rl.report import workload_figures as draw
from ipa_rl.report.page import Plot, write_page
from ipa_rl.report.workload_facts import COLUMNS, compared, facts, many_days, moment
from ipa_rl.workload.portrait import LoadFigures, Portrait
from ipa_rl.workload.summary import in_words
from ipa_rl.workload.workload import PARTS

_MOST_GAPS = 12


def write_workload_page(seen: Portrait, rows: Sequence[LoadFigures], path: Path) -> None:
    """Write the page. ``rows``: figures of the workload, and of those beside it."""
    workload, of = seen.workload, seen.figures
    longest = sorted(workload.description.gaps, key=lambda one: one[0] - one[1])[:_MOST_GAPS]
    write_page(
        path,
        "workload.html",
        list(_plots(seen, rows)),
        "ipa_rl.report",
        title=workload.description.title or workload.name,
        facts=[
            ("workload", workload.name),
            ("lasts", in_words(of.lasts_s)),
            ("slots", in_words(of.every_s)),
            ("mean load", f"{of.mean_rps:.3g} requests/s"),
        ],
        told=facts(seen),
        compared=compared(rows),
        columns=COLUMNS,
        parts=[(part, *_stretch(seen, *workload.parts[part])) for part in PARTS],
        held_out=[_stretch(seen, *one) for one in workload.description.held_out],
        named=[
            (name, *_stretch(seen, *one))
            for name, stretches in workload.description.windows.items()
            for one in stretches
        ],
        gaps=[_stretch(seen, *one) for one in longest],
        gap_count=len(workload.description.gaps),
        scenarios=[],
    )


def _stretch(seen: Portrait, begin: int, end: int) -> tuple[str, str, str]:
    return moment(seen.workload, begin), moment(seen.workload, end), in_words(end - begin)


def _plots(seen: Portrait, rows: Sequence[LoadFigures]) -> Iterator[Plot]:
    workload = seen.workload
    is_dated = workload.begin is not None
    yield Plot(
        "series",
        "Load over time",
        "As it was measured. Where a point stands for several values, the line is their mean, and a band "
        "goes from the lowest to the highest; drag to zoom, double-click to go back. Behind: the parts to "
        "learn from, to choose by and to report on; gaps are grey.",
        [draw.series(seen)],
    )
    for one in seen.profiles:
        found = ", the season that was found" if seen.season_s == one.period_s else ""
        note = f"The mean {one.name}{found}; the band leaves out a tenth of the {one.name}s on either side."
        yield Plot(one.name, f"A usual {one.name}", note, [draw.profile(one, is_dated)])
    if (day := many_days(seen)) is not None:
        note = "A column a day; empty where nothing is known."
        yield Plot("days", "Every day", note, [draw.days(day, workload)])
    if seen.bursts:
        note = (
            "The stretches whose load rises most in their middle third, by the median of each third; x: by "
            "how much. Short spikes do not count: they are over before a replica has started."
        )
        yield Plot("bursts", "Bursts", note, [draw.bursts(seen)])
    if any(one.dispersion for one in rows):
        note = (
            "Requests in slots of a length: variance over mean, from the differences of neighbouring slots. "
            "1, dashed, is Poisson; below, they come more evenly. Dotted: made up, not measured."
        )
        yield Plot("dispersion", "Dispersion by time scale", note, [draw.dispersion(rows[0], rows[1:])])
