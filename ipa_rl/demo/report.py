"""The demonstration as one self-contained HTML page, in the form of `ipa_rl.report.page`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import ipa_rl
from ipa_rl.demo.controllers import Controller
from ipa_rl.demo.core import core_of
from ipa_rl.demo.profiling import Profile
from ipa_rl.demo.results import DRAWS, SHOWN, Held, Judged, mean_of
from ipa_rl.demo.settings import Settings
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import MissingExtraError
from ipa_rl.files import write_text
from ipa_rl.jit import IntArray
from ipa_rl.profiler.machine import this_machine
from ipa_rl.simulation import encode

try:
    from jinja2 import ChoiceLoader, Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    from ipa_rl.demo import report_figures as draw
    from ipa_rl.report.page import Plot, embedded
    from ipa_rl.report.page_figures import configurations
except ImportError as error:
    raise MissingExtraError("plotly or jinja2", "demo") from error

_COLUMNS = (*SHOWN, "dropped", "failed", "requests")
_DIFFERENCES = ("mean_s", "p99_s", "cores", "pas_x100", "violated_pct")


@dataclass(frozen=True)
class _Cell:
    value: str
    range: str


def write_report(
    settings: Settings,
    definition: Definition,
    profile: Profile,
    judged: Sequence[Judged],
    promises: Sequence[Held],
) -> None:
    """Write the page of a demonstration that is over."""
    loaders = ChoiceLoader([PackageLoader("ipa_rl.demo"), PackageLoader("ipa_rl.report")])
    template = Environment(loader=loaders, autoescape=True).get_template("demo.html")
    plots = _plots(settings, definition, judged)
    page = template.render(
        title="Digits on Ray Serve: agent, integer program and Ray Serve's autoscaler",
        facts=_facts(settings, definition, profile),
        verdict=verdict(judged),
        runs=settings.runs,
        utility=_utility(definition),
        rows=[_row(judged, controller) for controller in Controller],
        draws=DRAWS,
        promises=[_promise(one) for one in promises],
        differences=[row for one in judged for row in _differences(one)],
        profile=_profile_rows(definition),
        batches=definition.pipeline.stages[0].variants[0].batches,
        profile_note=_profile_note(profile),
        plots=plots,
        scenarios=[(f"run {run}", f"run {run}") for run in range(1, settings.runs + 1)],
        data=embedded({plot.key: [json.loads(one.to_json()) for one in plot.figures] for plot in plots}),
        plotly=get_plotlyjs(),
        version=ipa_rl.__version__,
    )
    write_text(page, settings.report)


def verdict(judged: Sequence[Judged]) -> str:
    """Who did best, in a sentence."""
    means = {one: mean_of(judged, one) for one in Controller}
    agent = means[Controller.agent]
    parts = []
    for other in (Controller.program, Controller.autoscaler):
        gap = agent["utility"] - means[other]["utility"]
        parts.append(f"{gap:+.2f} against {'the ' if other is Controller.program else ''}{other.value}")
    return (
        f"The agent's utility is {agent['utility']:.2f}: {', '.join(parts)}; PAS x 100 by labels "
        f"{agent['pas_x100']:.1f}, {agent['cores']:.2f} cores, {agent['violated_pct']:.1f} % violated."
    )


def _facts(settings: Settings, definition: Definition, profile: Profile) -> list[tuple[str, str]]:
    machine = this_machine()
    window = settings.window()
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


def _utility(definition: Definition) -> str:
    weights = definition.weights
    return (
        f"{weights.alpha:g} accuracy - {weights.beta:g} cores - {weights.delta:g} batch - "
        f"{weights.rho:.3g} violated share"
    )


def _row(judged: Sequence[Judged], controller: Controller) -> dict[str, Any]:
    own = [one.result for one in judged if one.result.turn.controller is controller]
    each = [
        {**one.figures, "dropped": float(one.measured.dropped), "failed": float(one.measured.failed)}
        for one in own
    ]
    return {
        "controller": controller.value,
        "note": _decided(own[0].measured.by),
        "cells": [_cell([one[name] for one in each], name) for name in _COLUMNS],
    }


def _decided(by: dict[str, int]) -> str:
    return ", ".join(f"{count} decisions by {'itself' if who == 'ppo' else who}" for who, count in by.items())


def _cell(values: list[float], name: str) -> _Cell:
    digits = 0 if name in ("dropped", "failed", "requests") else 2
    spread = f"{min(values):.{digits}f} to {max(values):.{digits}f}" if len(values) > 1 else ""
    return _Cell(f"{np.mean(values):.{digits}f}", spread)


def _promise(one: Held) -> dict[str, str]:
    unit = " %" if one.is_relative else " points"
    return {
        "what": one.what,
        "measured": f"{one.measured:.2f}",
        "predicted": f"{one.predicted:.2f}",
        "off": f"{one.off:+.1f}{unit}",
        "bound": f"{one.bound:g}{unit}",
        "holds": "yes" if one.holds else "no",
    }


def _differences(one: Judged) -> list[dict[str, Any]]:
    sources = {
        "measured": one.result.figures,
        "predicted": one.predicted,
        "stretched": one.stretched,
        "replayed": one.replayed,
    }
    return [
        {
            "controller": one.result.turn.controller.value,
            "run": one.result.turn.run,
            "source": source,
            "cells": [f"{values[name]:.2f}" for name in _DIFFERENCES],
        }
        for source, values in sources.items()
        if values is not None
    ]


def _profile_rows(definition: Definition) -> list[dict[str, Any]]:
    return [
        {
            "stage": stage.name,
            "variant": one.name,
            "accuracy": f"{one.accuracy:.3f}",
            "cells": [
                cell
                for k in range(len(one.batches))
                for cell in (
                    f"{one.latency_mean_s[k]:.3f}",
                    f"{one.latency_p99_s[k]:.3f}",
                    f"{one.throughput_rps[k]:.1f}",
                )
            ],
        }
        for stage in definition.pipeline.stages
        for one in stage.variants
    ]


def _profile_note(profile: Profile) -> str:
    return (
        "As the solvers and the simulator see it: the models on one core here, "
        f"{profile.added.slowdown:.2f} times as long as alone, and the {1000 * profile.added.batch_s:.0f} ms "
        "that Ray Serve adds to a batch."
    )


def _plots(settings: Settings, definition: Definition, judged: Sequence[Judged]) -> list[Plot]:
    window = settings.window()
    loads = window.arrivals[window.history_s :]
    by_run = [[one for one in judged if one.result.turn.run == run] for run in range(1, settings.runs + 1)]
    note = "Click a name to show or hide it. "
    return [
        Plot(
            "timeline",
            "Over time, measured",
            note + "Latency and PAS are of the requests that were due in an interval.",
            [draw.measured(definition, loads, own) for own in by_run],
        ),
        Plot(
            "configurations",
            "Configuration",
            "Variants as colours, by stage; replicas asked for (x) and batch size (b) in the bands.",
            [configurations(definition, _configured(definition, own)) for own in by_run],
        ),
        Plot(
            "prediction",
            "Predicted and measured, over time",
            note + "Solid: measured; dotted: predicted; dashed: replayed with the decisions that were taken.",
            [draw.prediction(definition, loads, own) for own in by_run],
        ),
    ]


def _configured(definition: Definition, own: Sequence[Judged]) -> dict[str, IntArray]:
    """What was asked for, by controller (steps, stages, 3)."""
    return {
        one.result.turn.controller.value: np.stack(
            [encode(definition.problem, asked) for asked in one.result.measured.configurations]
        )
        for one in own
    }
