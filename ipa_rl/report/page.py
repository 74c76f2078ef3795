"""A run as one self-contained HTML page: verdict, tables, interactive figures; no network needed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ipa_rl
from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.files import write_text
from ipa_rl.judge.comparison import Comparison, read_comparison
from ipa_rl.judge.evaluation import Findings, find, in_front
from ipa_rl.judge.experiment import Controllers
from ipa_rl.judge.frontier import frontier
from ipa_rl.judge.runs import RunFolder
from ipa_rl.judge.stress import SUITE
from ipa_rl.objective import Weights
from ipa_rl.report.cells import bracketed, shown
from ipa_rl.report.colours import controller_styles
from ipa_rl.report.verdict import verdict

try:
    from jinja2 import ChoiceLoader, Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    from ipa_rl.report import page_figures as draw
except ImportError as error:
    raise MissingExtraError("plotly or jinja2", "plot") from error

SERVING = 0.95
"""Share of the requests of which the bound in the picture of trade-offs speaks."""


@dataclass(frozen=True)
class Plot:
    """A figure of the page, or one figure for each scenario that can be chosen."""

    key: str
    title: str
    note: str
    figures: list[Any]


def write_page(path: Path, template: str, plots: Sequence[Plot], package: str, **values: Any) -> None:
    """Write a page by a template of a package, which may extend ``page.html``; with all that it needs."""
    loaders = ChoiceLoader([PackageLoader(package), PackageLoader("ipa_rl.report")])
    page = Environment(loader=loaders, autoescape=True).get_template(template)
    figures = {plot.key: [json.loads(one.to_json()) for one in plot.figures] for plot in plots}
    data, plotly = packed(json.dumps(figures, separators=(",", ":"))), packed(get_plotlyjs())
    version = ipa_rl.__version__
    write_text(page.render(plots=plots, data=data, plotly=plotly, version=version, **values), path)


def packed(text: str) -> str:
    """Text as a script element holds it: gzip in base64, a third of its size and free of markup."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def write_report(folder: Path, path: Path) -> None:
    """Write the page of a run's folder. Raises InputError where the folder holds no run that ended."""
    comparison = read_comparison(folder)
    known = comparison.description.setup().controllers()
    findings = find(comparison, known)
    scenarios = _scenarios(comparison, known)
    main = in_front(comparison, known)
    write_page(
        path,
        "report.html",
        _plots(comparison, known, findings, RunFolder(folder), [s for _, s in scenarios]),
        "ipa_rl.report",
        title=f"{findings.environment}: {findings.subject}",
        facts=_facts(comparison),
        verdict=verdict(comparison, known),
        rows=sorted(findings.rows, key=lambda one: -float(one["utility"])),
        places={one.controller: one.place for one in findings.ranking},
        shown=shown,
        bracketed=bracketed,
        unit=findings.intervals_over,
        stress=[row for row in findings.stress if row.controller in main],
        meanings={stress.name: stress.meaning for stress in SUITE},
        scenarios=[(label, comparison.description.scenarios[s]) for label, s in scenarios],
        fingerprint=comparison.description.fingerprint[:12],
    )


def formula(weights: Weights) -> str:
    """The utility in words."""
    return (
        f"{weights.alpha:g} PAS - {weights.beta:g} cores - {weights.delta:g} batch sizes - "
        f"{weights.rho:.3g} violated share"
    )


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    description, definition = comparison.description, comparison.definition
    arrived = sum(trial[0].column("arrived").sum() for trial in comparison.trials)
    return [
        ("scenarios", str(len(description.scenarios))),
        ("seeds", str(description.seeds)),
        ("requests for each controller", f"{arrived:,.0f}"),
        ("simulator", description.kind.value),
        ("SLA", f"{definition.problem.sla_s:.2f} s"),
        ("utility", formula(definition.weights)),
    ]


def _scenarios(comparison: Comparison, known: Controllers) -> list[tuple[str, int]]:
    """Which scenarios can be looked at in detail: all of few; of many, three that are not hand-picked.

    These are where the agent, beside the best program, does worst, in the middle, and best.
    """
    names, compared = comparison.description.scenarios, comparison.names
    if len(names) <= len(SUITE):
        return [(name, s) for s, name in enumerate(names)]
    ours = next((name for name in known.ours if name in compared), compared[0])
    program = known.program.name if known.program.name in compared else compared[-1]
    order = np.argsort(comparison.by_window(ours, "utility") - comparison.by_window(program, "utility"))
    return [
        (f"{ours} at its worst beside {program}", int(order[0])),
        ("in the middle", int(order[len(order) // 2])),
        ("at its best", int(order[-1])),
    ]


def _plots(
    comparison: Comparison,
    known: Controllers,
    findings: Findings,
    run: RunFolder,
    scenarios: Sequence[int],
) -> list[Plot]:
    names, main = comparison.names, in_front(comparison, known)
    styles = controller_styles(names, next((name for name in main if name in known.programs), ""))
    hidden = [name for name in names if name not in main]
    pale = [name for name in hidden if name in known.programs]  # the program's other forecasters
    columns = dict(zip(names, zip(*comparison.trials, strict=True), strict=True))
    histograms = {name: np.sum([one.histogram for one in each], axis=0) for name, each in columns.items()}
    latencies = draw.latencies(comparison.definition, histograms, styles, pale)
    times = {name: np.concatenate([one.timed_s() for one in each]) for name, each in columns.items()}
    note = "On the machine that ran it; compare them with each other."
    plots = [
        *_detailed(comparison, run, scenarios, styles, hidden),
        Plot("latencies", "Latency", "Over all requests that were served.", [latencies]),
        Plot("decisions", "Decision times", note, [draw.decision_times(times, styles)]),
    ]
    if findings.stress:
        bars = draw.stress_bars(findings.stress, styles, hidden)
        return [Plot("stress", "Under stress", "Means over seeds.", [bars]), *plots]
    return [*plots[:-1], _trade_off(comparison, findings, styles, pale), plots[-1]]


def _detailed(
    comparison: Comparison, run: RunFolder, scenarios: Sequence[int], styles: draw.Styles, hidden: list[str]
) -> Iterator[Plot]:
    """What can be looked at scenario by scenario."""
    definition, description = comparison.definition, comparison.description
    first = {s: comparison.played[s][0] for s in scenarios}
    loads = {s: run.loads(s * description.seeds, description) for s in scenarios}
    yield Plot(
        "timeline",
        "Over time",
        "One run (seed 0). Click a name to show or hide it, drag to zoom, double-click to go back. Where a "
        "point stands for several values, the line is their mean, and a band goes from the lowest to the "
        "highest.",
        [
            draw.timeline(definition, loads[s], played, styles, hidden, len(scenarios))
            for s, played in first.items()
        ],
    )
    main = [[one for one in played if one.name not in hidden] for played in first.values()]
    yield Plot(
        "configurations",
        "Configuration",
        "Variants as colours, by stage; replicas (x) and batch size (b) in the bands. Where changes are "
        "closer than a few pixels, what served longest; zoom in to see each.",
        [
            draw.configurations(definition, {one.name: one.configured for one in each}, len(scenarios))
            for each in main
        ],
    )


def _trade_off(comparison: Comparison, findings: Findings, styles: draw.Styles, pale: list[str]) -> Plot:
    serving = serving_names(comparison)
    served_rps = served_at_least(comparison, serving)
    most_cores = 1.1 * max(row["cores"] for row in findings.rows)
    try:
        bound = frontier(comparison.definition.pipeline, served_rps, most_cores)
        label = f"none above that serves {np.mean(served_rps):.3g} requests/s"
    except InputError:
        bound, label = np.zeros((0, 2)), "grey line not known: too many combinations of variants"
    hollow = [name for name in comparison.names if name not in serving]
    note = (
        "The larger a point, the more violations. No controller that serves "
        f"{100 * SERVING:.0f} % of the requests can be above the grey line: all loads known, changes "
        "free, replicas divisible. Hollow points served fewer."
    )
    figure = draw.trade_off(findings.rows, bound, label, styles, pale, hollow)
    return Plot("trade_off", "What each trades", note, [figure])


def serving_names(comparison: Comparison) -> list[str]:
    """The controllers that served at least SERVING of all requests; all, where none did."""
    found = []
    for name, each in zip(comparison.names, zip(*comparison.trials, strict=True), strict=True):
        served, arrived = (sum(one.column(what).sum() for one in each) for what in ("served", "arrived"))
        found += [name] if served >= SERVING * arrived else []
    return found or list(comparison.names)


def served_at_least(comparison: Comparison, names: Sequence[str]) -> list[float]:
    """Requests a second that each of these controllers served at least, in each scenario and seed."""
    return [
        min(
            float(one.column("served").sum() / one.column("seconds").sum())
            for one in trial
            if one.name in names
        )
        for trial in comparison.trials
    ]
