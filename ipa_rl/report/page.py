"""A run as one self-contained HTML page: verdict, tables, interactive figures; no network needed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ipa_rl
from ipa_rl.agents.opponents import PROGRAM
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.errors import MissingExtraError
from ipa_rl.files import write_text
from ipa_rl.jit import IntArray
from ipa_rl.judge.comparison import FIGURES, Comparison, read_comparison
from ipa_rl.judge.controllers import Controllers
from ipa_rl.judge.frontier import frontier
from ipa_rl.judge.ranking import rank
from ipa_rl.judge.runs import RunFolder
from ipa_rl.judge.stress import SUITE, endured
from ipa_rl.report.colours import Style, controller_styles
from ipa_rl.report.verdict import stress_verdict, verdict

try:
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    from ipa_rl.report import page_figures as draw
except ImportError as error:
    raise MissingExtraError("plotly or jinja2", "plot") from error

_MOST_SHOWN = 4
SERVING = 0.95
"""Share of the requests of which the bound in the picture of trade-offs speaks."""
_FORMATS = {"utility": (1, 2), "pas_x100": (1, 2), "cores": (1, 2), "violations": (100, 2)}


@dataclass(frozen=True)
class Plot:
    """A figure of the page, or one figure for each scenario that can be chosen."""

    key: str
    title: str
    note: str
    figures: list[Any]


def write_report(folder: Path, path: Path) -> None:
    """Write the page of a run's folder. Raises InputError where the folder holds no run that ended."""
    run = RunFolder(folder)
    comparison = read_comparison(run)
    known = comparison.description.setup().controllers()
    template = Environment(loader=PackageLoader("ipa_rl.report"), autoescape=True)
    shown = _scenarios(comparison, known)
    plots = _plots(comparison, known, run, shown)
    page = template.get_template("report.html").render(
        title=f"{comparison.definition.name}: {comparison.description.subject}",
        facts=_facts(comparison),
        verdict=_verdict(comparison, known),
        rows=_rows(comparison),
        unit=comparison.unit,
        stress=_stress_rows(comparison, known),
        scenarios=[(label, comparison.description.scenarios[s]) for label, s in shown],
        plots=plots,
        data=embedded({plot.key: [json.loads(one.to_json()) for one in plot.figures] for plot in plots}),
        plotly=get_plotlyjs(),
        version=ipa_rl.__version__,
        fingerprint=comparison.description.fingerprint[:12],
    )
    write_text(page, path)


def embedded(content: Any) -> str:
    """JSON that may stand inside a script element: no character of markup is left, whatever its text is."""
    text = json.dumps(content)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _is_stress(comparison: Comparison) -> bool:
    return comparison.description.scenarios == tuple(stress.name for stress in SUITE)


def _verdict(comparison: Comparison, known: Controllers) -> str:
    if not known.tuned:
        return (
            "No verdict: the opponents are not tuned, so none of them is the best, and being above them says "
            "little."
        )
    program = known.best_program.name
    if not _is_stress(comparison):
        return verdict(comparison, program)
    names = comparison.description.controllers
    both = AGENT_NAME in names and program in names
    return stress_verdict(endured(comparison), AGENT_NAME, program) if both else ""


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    description, definition = comparison.description, comparison.definition
    weights = definition.weights
    arrived = sum(seed[0].column("arrived").sum() for scenario in comparison.played for seed in scenario)
    return [
        ("scenarios", str(len(description.scenarios))),
        ("seeds", str(description.seeds)),
        ("requests for each controller", f"{arrived:,.0f}"),
        ("simulator", description.kind.value),
        ("SLA", f"{definition.problem.sla_s:.2f} s"),
        (
            "utility",
            f"{weights.alpha:g} accuracy - {weights.beta:g} cores - {weights.delta:g} batch - "
            f"{weights.rho:.3g} violated share",
        ),
    ]


def _rows(comparison: Comparison) -> list[dict[str, str]]:
    """The table, best first, with intervals where there are any."""
    rows = {row["controller"]: row for row in comparison.rows()}
    ranking = rank(comparison)
    places = {one.controller: str(one.place) for one in ranking}
    order = [one.controller for one in ranking] or sorted(rows, key=lambda name: -rows[name]["utility"])
    return [_row(rows[name], places.get(name, "")) for name in order]


def _row(row: dict[str, Any], place: str) -> dict[str, str]:
    cells = {"place": place, "controller": row["controller"]}
    for figure in FIGURES:
        factor, digits = _FORMATS[figure]
        cells[figure] = f"{factor * row[figure]:.{digits}f}"
        if f"{figure}_95" in row:
            low, high = (factor * bound for bound in row[f"{figure}_95"])
            cells[f"{figure}_95"] = f"{low:.{digits}f} to {high:.{digits}f}"
    cells |= {name: f"{row[name]:.2f}" for name in ("p50_s", "p99_s")}
    return cells | {"decide_p99_ms": f"{row['decide_p99_ms']:.2f}"}


def _main_names(comparison: Comparison, known: Controllers) -> list[str]:
    """The controllers that figures begin with: the agent, its rivals, and the paper's FA2-low."""
    wanted = [*known.shown, "fa2-low", *(one.name for one in known.opponents if one.foresees)]
    present = [name for name in dict.fromkeys(wanted) if name in comparison.description.controllers]
    return present[:_MOST_SHOWN]


def _others(comparison: Comparison, known: Controllers) -> list[str]:
    """The integer program's other forecasters, which stay in the background."""
    main = {*_main_names(comparison, known), *(one.name for one in known.opponents if one.foresees)}
    programs = {one.name for one in known.opponents if one.system == PROGRAM}
    return [name for name in comparison.description.controllers if name in programs - main]


def _scenarios(comparison: Comparison, known: Controllers) -> list[tuple[str, int]]:
    """Which scenarios can be looked at in detail: all of few; of many, three that are not hand-picked.

    These are where the agent, beside the best program, does worst, in the middle, and best.
    """
    names = comparison.description.scenarios
    if len(names) <= len(SUITE):
        return [(name, s) for s, name in enumerate(names)]
    compared = comparison.description.controllers
    ours = AGENT_NAME if AGENT_NAME in compared else compared[0]
    program = known.program.name if known.program.name in compared else compared[-1]
    order = np.argsort(comparison.units(ours, "utility") - comparison.units(program, "utility"))
    return [
        (f"{ours} at its worst beside {program}", int(order[0])),
        ("in the middle", int(order[len(order) // 2])),
        ("at its best", int(order[-1])),
    ]


def _plots(
    comparison: Comparison, known: Controllers, run: RunFolder, shown: Sequence[tuple[str, int]]
) -> list[Plot]:
    definition, others = comparison.definition, _others(comparison, known)
    styles = controller_styles(comparison.description.controllers, known.program.name)
    main = _main_names(comparison, known)
    seeds = comparison.description.seeds
    first = [comparison.played[s][0] for _, s in shown]
    loads: list[IntArray] = [run.loads(s * seeds) for _, s in shown]
    hidden = [*others, *_background(comparison, main)]
    plots = [
        Plot(
            "timeline",
            "Over time",
            "One run (seed 0). Click a name to show or hide it, drag to zoom, double-click to go back.",
            [
                draw.timeline(definition, load, played, styles, hidden)
                for load, played in zip(loads, first, strict=True)
            ],
        ),
        Plot(
            "configurations",
            "Configuration",
            "Variants as colours, by stage; replicas (x) and batch size (b) in the bands.",
            [
                draw.configurations(
                    definition, {one.name: one.configured for one in played if one.name in main}
                )
                for played in first
            ],
        ),
        Plot(
            "latencies",
            "Latency",
            "Over all requests that were served.",
            [_latencies(comparison, styles, others)],
        ),
    ]
    if _is_stress(comparison):
        rows = endured(comparison)
        hidden = [*others, *_background(comparison, main)]
        plots.insert(
            0, Plot("stress", "Under stress", "Means over seeds.", [draw.stress_bars(rows, styles, hidden)])
        )
    else:
        note = (
            "The larger a point, the more violations. No controller that serves "
            f"{100 * SERVING:.0f} % of the requests can be above the grey line: all loads known, changes "
            "free, replicas divisible. Hollow points served fewer."
        )
        figure = _trade_off(comparison, styles, others)
        plots.append(Plot("trade_off", "What each trades", note, [figure]))
    times = {
        name: np.concatenate([seed[i].timed_s() for scenario in comparison.played for seed in scenario])
        for i, name in enumerate(comparison.description.controllers)
    }
    note = "On the machine that ran it; compare them with each other."
    plots.append(Plot("decisions", "Decision times", note, [draw.decision_times(times, styles)]))
    return plots


def _background(comparison: Comparison, main: Sequence[str]) -> list[str]:
    return [name for name in comparison.description.controllers if name not in main]


def _latencies(comparison: Comparison, styles: Mapping[str, Style], others: Sequence[str]) -> Any:
    histograms = {
        name: np.sum([seed[i].histogram for scenario in comparison.played for seed in scenario], axis=0)
        for i, name in enumerate(comparison.description.controllers)
    }
    return draw.latencies(comparison.definition, histograms, styles, others)


def _trade_off(comparison: Comparison, styles: Mapping[str, Style], others: Sequence[str]) -> Any:
    rows, serving = comparison.rows(), serving_names(comparison)
    served_rps = served_at_least(comparison, serving)
    most = 1.1 * max(row["cores"] for row in rows)
    bound = frontier(comparison.definition.pipeline, served_rps, most)
    label = f"none above that serves {np.mean(served_rps):.3g} requests/s"
    hollow = [row["controller"] for row in rows if row["controller"] not in serving]
    return draw.trade_off(rows, bound, label, styles, others, hollow)


def serving_names(comparison: Comparison) -> list[str]:
    """The controllers that served at least SERVING of all requests; all, where none did."""
    each = [seed for scenario in comparison.played for seed in scenario]
    names = comparison.description.controllers
    found = [
        name
        for i, name in enumerate(names)
        if sum(seed[i].column("served").sum() for seed in each)
        >= SERVING * sum(seed[i].column("arrived").sum() for seed in each)
    ]
    return found or list(names)


def served_at_least(comparison: Comparison, names: Sequence[str]) -> list[float]:
    """Requests a second that each of these controllers served at least, in each scenario and seed."""
    each = [seed for scenario in comparison.played for seed in scenario]
    return [
        min(
            float(one.column("served").sum() / one.column("seconds").sum())
            for one in seed
            if one.name in names
        )
        for seed in each
    ]


def _stress_rows(comparison: Comparison, known: Controllers) -> list[dict[str, str]]:
    """The stress suite's table of the main controllers; empty for other runs."""
    if not _is_stress(comparison):
        return []
    main = _main_names(comparison, known)
    meanings = {stress.name: stress.meaning for stress in SUITE}
    return [
        {
            "scenario": row.scenario if row.controller == main[0] else "",
            "meaning": meanings[row.scenario] if row.controller == main[0] else "",
            "controller": row.controller,
            "violations": f"{100 * row.violations:.2f}",
            "recovery_s": f"{row.recovery_s:.0f}",
            "cores": f"{row.cores:.2f}",
            "utility": f"{row.utility:.2f}",
        }
        for row in sorted(endured(comparison), key=lambda one: list(meanings).index(one.scenario))
        if row.controller in main
    ]
