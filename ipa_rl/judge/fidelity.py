"""How far the simulators can be trusted: one against the other, and against what was measured on a cluster.

The paper's own controllers are replayed on its bursty window. Settings and measurements:
``profiles/published``. The replay follows the settings as printed; nothing in it is fitted to the
measurements.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl import resources
from ipa_rl.agents.loop import Step, control
from ipa_rl.agents.opponents import rivals
from ipa_rl.agents.program import fixed_variants, forecaster_of
from ipa_rl.agents.protocol import Decision, State
from ipa_rl.documents import read_yaml
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import compare
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.simulated_cluster import Scenario, SimulatedCluster, SimulatorKind
from ipa_rl.objective import cost_cores, pas
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.profiles.load import Allocation, load_pipeline
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder
from ipa_rl.simulation import RequestSimulator
from ipa_rl.simulation.accounting import SUMS
from ipa_rl.simulation.events import DROPPED, SERVED
from ipa_rl.solvers import FrontSolver, Optimum
from ipa_rl.workload.forecasters import LSTM

SYSTEMS = ("ipa", "fa2-low", "fa2-high", "rim")


@dataclass(frozen=True)
class ReplayOutcome:
    """A run of one system over the window.

    ``cores``, ``pas_x100``: means over the steps of what was decided, as the authors count them.
    ``seconds_over_sla_pct``: seconds of arrival whose requests' 99th percentile latency was over the SLA.
    """

    cores: float
    pas_x100: float
    seconds_over_sla_pct: float
    dropped: float


@dataclass(frozen=True)
class Replay:
    """One system of one pipeline: its settings, and what was measured."""

    pipeline: str
    system: str
    definition: Definition
    margin: float
    start: Configuration
    measured: ReplayOutcome


@dataclass(frozen=True)
class Replayed:
    """A replay's outcome beside the measured one; by step: cores and PAS x 100 (steps,).

    ``paid_cores``: the integral of all allocated cores, those that start or drain included. Means over
    several runs have the steps of the first.
    """

    replay: Replay
    outcome: ReplayOutcome
    paid_cores: float
    step_cores: FloatArray
    step_pas_x100: FloatArray

    @property
    def cores_off(self) -> float:
        """Replayed over measured mean cores, less 1."""
        return self.outcome.cores / self.replay.measured.cores - 1.0

    @property
    def pas_off(self) -> float:
        """Replayed less measured PAS x 100."""
        return self.outcome.pas_x100 - self.replay.measured.pas_x100

    @property
    def is_close(self) -> bool:
        """Whether both are as near as is aimed at."""
        return abs(self.cores_off) <= CORES_AIM and abs(self.pas_off) <= PAS_AIM


def load_replays(pipeline: str) -> list[Replay]:
    """The four systems of a pipeline, as their authors ran them."""
    path = resources.folder("profiles") / "published" / "bursty_replays.yaml"
    systems = read_yaml(path, str(path)).content[pipeline]["systems"]
    own, replays = load_definition(pipeline), []
    for system, entry in systems.items():
        pins = tuple(entry.get("base_cores", {}).items())
        allocation = Allocation(entry["threshold_rps"], entry["throughput_pct"], pins)
        weights = replace(own.weights, alpha=entry["alpha"], beta=entry["beta"])
        definition = own.with_problem(pipeline=load_pipeline(pipeline, allocation), weights=weights)
        batch, start = definition.pipeline.stages[0].variants[0].batches[0], entry["start"]
        stages = (StageConfig(v, batch, n) for v, n in zip(start["variants"], start["replicas"], strict=True))
        margin, begun = entry["margin_pct"] / 100.0, Configuration(tuple(stages))
        replays.append(
            Replay(pipeline, system, definition, margin, begun, ReplayOutcome(**entry["measured"]))
        )
    return replays


class ReplayAgent:
    """A system as released: the LSTM once it has seen two minutes, before that the maximum seen.

    Decides from the second interval on, with the queue term of the released code; where it finds no
    answer it leaves the configuration as it is.
    """

    def __init__(self, replay: Replay) -> None:
        self.name, self._margin, self._last = replay.system, replay.margin, replay.start
        definition, start = replay.definition, replay.start.stages
        if self.name.startswith("fa2"):
            definition = fixed_variants(definition, tuple(stage.variant for stage in start))
        elif self.name == "rim":
            definition = definition.with_problem(fixed_replicas=tuple(stage.replicas for stage in start))
        self._solver = FrontSolver(definition.problem, as_released=True)
        self._forecaster, self._history_s = forecaster_of(definition, LSTM), definition.history_s

    def decide(self, state: State) -> Decision:
        """The system's configuration; the history before the window was not seen."""
        seen = state.history_rps[self._history_s :]
        if len(seen) == 0:
            return Decision(self._last, 0.0)
        whole = len(seen) >= self._history_s
        forecast = self._forecaster.forecast(seen, state.clock_s) if whole else float(seen.max())
        planned = round(forecast * (1.0 + self._margin), 3)
        answer = self._solver.solve(planned)
        if isinstance(answer, Optimum):
            self._last = answer.configuration
        return Decision(self._last, planned)


def play_replay(replay: Replay, seed: int = 0) -> Replayed:
    """One run over the bursty window in the request-level simulator."""
    import torch

    torch.set_num_threads(1)  # the forecaster's network is small: threads only wait
    definition = replay.definition
    window = definition.workload.named_window("bursty", definition.history_s)
    cluster = SimulatedCluster(definition, Scenario(window), seed=seed, start=replay.start)
    steps: list[Step] = []
    control(ReplayAgent(replay), cluster, definition.problem, cluster.wait, steps.append)
    cores = np.array([cost_cores(definition.pipeline, step.applied) for step in steps], dtype=np.float64)
    scores = np.array([100.0 * pas(definition.pipeline, step.applied) for step in steps])
    over_pct, dropped = _violations(cluster, len(window.arrivals) - window.history_s)
    outcome = ReplayOutcome(float(cores.mean()), float(scores.mean()), over_pct, dropped)
    core_s = sum(one[SUMS.index("core_s")] for one in cluster.sums)
    paid = core_s / (len(steps) * definition.timing.interval_s)
    return Replayed(replay, outcome, paid, cores, scores)


def _violations(cluster: SimulatedCluster, seconds: int) -> tuple[float, float]:
    """Share of the seconds of arrival whose 99th percentile was over the SLA, in %; requests dropped."""
    assert isinstance(cluster.simulator, RequestSimulator)
    requests = cluster.simulator.requests
    served = requests[requests["status"] == SERVED]
    latency_s = served["finish_s"] - served["arrival_s"]
    second = served["arrival_s"].astype(np.int64)
    over = [
        float(np.quantile(latency_s[second == s], 0.99)) > cluster.definition.problem.sla_s
        for s in np.unique(second).tolist()
    ]
    return 100.0 * sum(over) / seconds, float((requests["status"] == DROPPED).sum())


def measured_steps(pipeline: str, system: str) -> tuple[FloatArray, FloatArray]:
    """Measured cores and PAS x 100 by step of 10 s; empty where none were printed (nlp, audio-sent)."""
    path = resources.folder("profiles") / "published" / "ipa_bursty_steps.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["pipeline"], r["system"]) == (pipeline, system)]
    cores = np.array([float(row["total_cores"]) for row in rows])
    return cores, np.array([float(row["pas_x100"]) for row in rows])


FIGURES = ("utility", "cores", "violations", "p99_s")
REPLAY_SEEDS = 5
CORES_AIM, PAS_AIM = 0.05, 1.0
"""Aimed at for video and audio-qa: mean cores within 5 %, PAS x 100 within one point."""


@dataclass(frozen=True)
class Agreement:
    """One controller in both simulators, over the same windows: figure -> (fluid, request-level)."""

    pipeline: str
    controller: str
    figures: dict[str, tuple[float, float]]


def agreement(
    pipeline: str, scenarios: Sequence[Scenario], folder: Path, pool: Pool, report: Report
) -> list[Agreement]:
    """The main controllers in both simulators. Each simulator's run is kept in the folder."""
    known = Setup(pipeline, None, SimulatorKind.fluid).controllers()
    others = ("fa2-low", "fa2-high", "rim", "static")
    only = tuple(dict.fromkeys([known.ours[0], *(one.name for one in rivals(known.opponents)), *others]))
    rows = {}
    for kind in (SimulatorKind.fluid, SimulatorKind.request_level):
        setup = Setup(pipeline, None, kind, only)
        experiment = Experiment(f"{pipeline} {kind.value}", setup, trials(scenarios, 1))
        place = output_folder(folder / f"{pipeline}-{kind.value}")
        rows[kind] = compare(experiment, place, pool, report).rows()
    return [
        Agreement(pipeline, one["controller"], {figure: (one[figure], other[figure]) for figure in FIGURES})
        for one, other in zip(rows[SimulatorKind.fluid], rows[SimulatorKind.request_level], strict=True)
    ]


def replays(pipelines: Iterable[str], report: Report) -> tuple[list[Replayed], list[Replayed]]:
    """All systems of these pipelines: means over seeds, and each one's first run."""
    waiting = [replay for pipeline in pipelines for replay in load_replays(pipeline)]
    mean, first = [], []
    for count, replay in enumerate(waiting, start=1):
        runs = [play_replay(replay, seed) for seed in range(REPLAY_SEEDS)]
        each = [asdict(run.outcome) for run in runs]
        means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        paid = sum(run.paid_cores for run in runs) / len(runs)
        mean.append(replace(runs[0], outcome=ReplayOutcome(**means), paid_cores=paid))
        first.append(runs[0])
        report.advance("replays", count, len(waiting))
    return mean, first


def as_json(simulators: Sequence[Agreement], cluster: Sequence[Replayed]) -> dict[str, Any]:
    """Both tables as plain values."""
    told = ("paid_cores", "cores_off", "pas_off", "is_close")
    return {
        "simulators": [asdict(one) for one in simulators],
        "cluster": [
            {"pipeline": one.replay.pipeline, "system": one.replay.system}
            | {"simulated": asdict(one.outcome), "measured": asdict(one.replay.measured)}
            | {name: getattr(one, name) for name in told}
            for one in cluster
        ],
    }
