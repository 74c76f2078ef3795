"""How far the simulators are from each other, and from what was measured on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import rivals
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.judge.comparison import compare
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.replays import Replayed, ReplayOutcome, load_replays, mean_outcome, play_replay
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder

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


@dataclass(frozen=True)
class Against:
    """A replay of one of the paper's systems beside its measurement; ``paid_cores``: all allocated ones."""

    pipeline: str
    system: str
    simulated: ReplayOutcome
    measured: ReplayOutcome
    paid_cores: float

    @property
    def cores_off(self) -> float:
        """Simulated over measured mean cores, less 1."""
        return self.simulated.cores / self.measured.cores - 1.0

    @property
    def pas_off(self) -> float:
        """Simulated less measured PAS x 100."""
        return self.simulated.pas_x100 - self.measured.pas_x100

    @property
    def is_close(self) -> bool:
        """Whether both are as near as is aimed at."""
        return abs(self.cores_off) <= CORES_AIM and abs(self.pas_off) <= PAS_AIM


def main_controllers(setup: Setup) -> tuple[str, ...]:
    """The agent, the best program, and the paper's other systems."""
    known = setup.controllers()
    names = [AGENT_NAME] if known.policy else []
    names += [one.name for one in rivals(known.opponents)] + ["fa2-low", "fa2-high", "rim", "static"]
    return tuple(dict.fromkeys(names))


def agreement(
    pipeline: str, scenarios: Sequence[Scenario], folder: Path, pool: Pool, report: Report
) -> list[Agreement]:
    """The main controllers in both simulators. Each simulator's run is kept in the folder."""
    only = main_controllers(Setup(pipeline, None, SimulatorKind.fluid))
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


def replays(pipelines: Iterable[str], report: Report) -> tuple[list[Against], list[Replayed]]:
    """All systems of these pipelines: means over seeds beside the measurements, and each one's first run."""
    waiting = [replay for pipeline in pipelines for replay in load_replays(pipeline)]
    against, first = [], []
    for count, replay in enumerate(waiting, start=1):
        runs = [play_replay(replay, seed) for seed in range(REPLAY_SEEDS)]
        paid = sum(run.paid_cores for run in runs) / len(runs)
        against.append(Against(replay.pipeline, replay.system, mean_outcome(runs), replay.measured, paid))
        first.append(runs[0])
        report.advance("replays", count, len(waiting))
    return against, first


def as_json(simulators: Sequence[Agreement], cluster: Sequence[Against]) -> dict[str, Any]:
    """Both tables as plain values."""
    return {
        "simulators": [asdict(one) for one in simulators],
        "cluster": [
            asdict(one) | {"cores_off": one.cores_off, "pas_off": one.pas_off, "is_close": one.is_close}
            for one in cluster
        ],
    }
