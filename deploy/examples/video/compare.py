"""What was measured in a run of run.py against what the simulator says: ``python compare.py FOLDER``.

Reads requests.csv, pods.csv and run.json; writes comparison.json and comparison.png, and prints a table.
"""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from serving.load import arrival_times

from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.experiment import controllers
from ipa_rl.judge.play import Played, play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.report.pyplot import load_pyplot
from ipa_rl.workload.workload import Window

_COLOURS = {"measured": "#d1495b", "simulated": "#0b84b5"}


@dataclass(frozen=True)
class Timeline:
    """By adaptation interval; requests count in the interval in which they ended.

    ``replicas``: (steps, stages) that serve at the end of each. ``served``, ``violated``: requests.
    """

    cores: FloatArray
    pas_x100: FloatArray
    p99_s: FloatArray
    replicas: FloatArray
    served: FloatArray
    violated: FloatArray


def compare(folder: Path) -> None:
    """Compare a run with the simulator."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    definition = load_definition(run["environment"])
    due_s = arrival_times(
        "bursty",
        run["begin"] - run["warm_up_s"],
        round(run["warm_up_s"] + run["minutes"] * 60),
        rate_scale=1.0,
        seed=run["seed"],
    )
    steps = round(run["minutes"] * 60) // definition.timing.interval_s
    timelines = {
        "measured": measured(definition, folder, run["warm_up_s"], steps),
        "simulated": simulated(definition, run, due_s),
    }
    figures = {name: _figures(one) for name, one in timelines.items()}
    (folder / "comparison.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    _print(figures)
    loads = np.bincount(due_s.astype(int))[run["warm_up_s"] :]
    draw(definition, loads.astype(np.float64), timelines, folder / "comparison.png")


def measured(definition: Definition, folder: Path, warm_up_s: int, steps: int) -> Timeline:
    """From the requests that were sent and the pods that were seen."""
    interval_s = definition.timing.interval_s
    pods = _pods(definition, folder / "pods.csv", steps)
    pas, p99_s = np.full(steps, np.nan), np.full(steps, np.nan)
    served, violated = np.zeros(steps), np.zeros(steps)
    ended: list[list[tuple[float, float, str]]] = [[] for _ in range(steps)]
    with (folder / "requests.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            latency_s = float(row["latency_s"])
            step = int((float(row["due_s"]) + latency_s - warm_up_s) // interval_s)
            if 0 <= step < steps:
                ended[step].append((latency_s, float(row["pas"]), row["outcome"]))
    for step, requests in enumerate(ended):
        good = [(latency_s, accuracy) for latency_s, accuracy, outcome in requests if outcome == "served"]
        served[step] = len(good)
        violated[step] = sum(
            outcome != "served" or latency_s > definition.problem.sla_s for latency_s, _, outcome in requests
        )
        if good:
            p99_s[step] = np.quantile([latency_s for latency_s, _ in good], 0.99)
            pas[step] = 100.0 * np.mean([accuracy for _, accuracy in good])
    return Timeline(pods[0], pas, p99_s, pods[1], served, violated)


def _pods(definition: Definition, path: Path, steps: int) -> tuple[FloatArray, FloatArray]:
    """Mean cores by interval, and ready replicas (steps, stages) at its end."""
    interval_s = definition.timing.interval_s
    stages = {stage.name: s for s, stage in enumerate(definition.pipeline.stages)}
    cores: dict[float, float] = {}
    ready: dict[float, FloatArray] = {}
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            time_s, s = float(row["time_s"]), stages[row["stage"]]
            variant = definition.pipeline.stages[s].variant(row["variant"])
            cores[time_s] = cores.get(time_s, 0.0) + variant.cost_cores * int(row["all"])
            ready.setdefault(time_s, np.zeros(len(stages)))[s] += int(row["ready"])
    times = np.array(sorted(cores))
    by_time = np.array([cores[t] for t in times.tolist()])
    mean, last = np.full(steps, np.nan), np.full((steps, len(stages)), np.nan)
    for step in range(steps):
        inside = np.flatnonzero((times >= step * interval_s) & (times < (step + 1) * interval_s))
        if len(inside):
            mean[step] = by_time[inside].mean()
            last[step] = ready[float(times[inside[-1]])]
    return mean, last


def simulated(definition: Definition, run: dict[str, Any], due_s: FloatArray) -> Timeline:
    """The same arrivals, to the request, from the same configuration, under the same controller."""
    warm_up_s = run["warm_up_s"]
    counts = np.bincount(due_s.astype(int)).astype(np.int64)
    # Agents look back so far: what came before the first request is taken to be like its first second.
    counts = np.pad(counts, (max(definition.history_s - warm_up_s, 0), 0), mode="edge")
    clock_s = definition.workload.named_window("bursty", 0).clock_s + run["begin"]
    history_s = max(warm_up_s, definition.history_s)
    window = Window("bursty", counts, history_s, due_s[due_s >= warm_up_s] - warm_up_s, clock_s)
    agents = {agent.name: agent for agent in controllers(definition, None).agents(counts.astype(np.float64))}
    if run["agent"] not in agents:
        sys.exit(f"error: no controller {run['agent']}; fix: one of {', '.join(agents)}")
    stages = (StageConfig(**run["start"][stage.name]) for stage in definition.pipeline.stages)
    start = Configuration(tuple(stages))
    return _timeline(play(definition, agents[run["agent"]], Scenario(window), seed=run["seed"], start=start))


def _timeline(played: Played) -> Timeline:
    served = played.column("served")
    pas = 100.0 * played.column("accuracy") / np.maximum(served, 1e-9)
    return Timeline(
        cores=played.column("core_s") / played.column("seconds"),
        pas_x100=np.where(served > 0, pas, np.nan),
        p99_s=played.p99_s,
        replicas=played.configured[:, :, 2].astype(np.float64),
        served=served,
        violated=played.column("late") + played.column("dropped"),
    )


def _figures(timeline: Timeline) -> dict[str, float]:
    served = timeline.served.sum()
    pas = np.nansum(timeline.pas_x100 * timeline.served)
    return {
        "cores": float(np.nanmean(timeline.cores)),
        "pas_x100": float(pas / max(served, 1.0)),
        "violated_pct": float(100.0 * timeline.violated.sum() / max(served, 1.0)),
        "median_p99_s": float(np.nanmedian(timeline.p99_s)),
        "worst_p99_s": float(np.nanmax(timeline.p99_s)),
        "served": float(served),
    }


def _print(figures: dict[str, dict[str, float]]) -> None:
    names = list(figures["measured"])
    print(f"{'':>10} " + " ".join(f"{name:>13}" for name in names))
    for which, values in figures.items():
        print(f"{which:>10} " + " ".join(f"{values[name]:>13.2f}" for name in names))


def draw(definition: Definition, loads: FloatArray, timelines: dict[str, Timeline], path: Path) -> None:
    """Load, replicas by stage, cores, PAS and latency over time, measured and simulated."""
    pyplot = load_pyplot()
    names = [stage.name for stage in definition.pipeline.stages]
    count = 4 + len(names)
    figure, axes = pyplot.subplots(count, 1, figsize=(9, 1.9 * count), sharex=True, layout="constrained")
    axes[0].plot(np.arange(len(loads)), loads, color="#999999", lw=0.8)
    interval_s = definition.timing.interval_s
    for name, one in timelines.items():
        series = [*one.replicas.T, one.cores, one.pas_x100, one.p99_s]
        for axis, values in zip(axes[1:], series, strict=True):
            seconds = np.arange(len(values)) * interval_s
            axis.step(seconds, values, where="post", color=_COLOURS[name], lw=1.4, label=name)
    axes[-1].axhline(definition.problem.sla_s, color="black", ls="--", lw=1, label="SLA")
    replicas = [f"ready replicas of {name}" for name in names]
    titles = ["load [requests/s]", *replicas, "cores", "PAS x 100", "p99 latency [s]"]
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0)
    for axis in axes[1 : 2 + len(names)]:
        axis.yaxis.get_major_locator().set_params(integer=True)
    axes[-2].set_ylim(np.floor(axes[-2].get_ylim()[0]) - 1, np.ceil(axes[-2].get_ylim()[1]) + 1)
    axes[-2].ticklabel_format(useOffset=False)
    axes[-1].set_yscale("log", subs=(3,))
    axes[-1].yaxis.set_major_formatter("{x:g}")
    axes[-1].yaxis.set_minor_formatter("{x:g}")
    axes[-1].set_xlabel("seconds")
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


if __name__ == "__main__":
    compare(Path(sys.argv[1]))
