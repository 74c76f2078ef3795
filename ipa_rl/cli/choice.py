"""Which seed ships, and which of its checkpoints: judged request by request, as trained and under stress."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import best_program, best_real, read_tuned
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.cli.judging import judge
from ipa_rl.cli.outputs import output_folder
from ipa_rl.judge.comparison import FIGURES
from ipa_rl.judge.jobs import Setup, make_jobs
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.judge.stress import Endured, endured, overrun, stress_jobs
from ipa_rl.judge.tuning import Validation
from ipa_rl.report.card_training import read_beside
from ipa_rl.report.curves import beaten_at
from ipa_rl.result_files import write_json

_CHOICE_DRAW = 100
"""The first draw of the stress suite that is chosen by; reports begin at 0."""


@dataclass(frozen=True)
class Built:
    """An agent that is built: its source, its folder of the build, and the environment it is for."""

    source: Path
    folder: Path
    environment: str

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    def setup(self, agent: Path | None = None) -> Setup:
        """For the judge; ``agent``: a folder with a policy."""
        return Setup(self.environment, agent.resolve() if agent else None, SimulatorKind.request_level)

    def run(self, seed: int) -> Path:
        """Where a seed trains."""
        return self.folder / f"seed-{seed}"


def choose_seed(agent: Built, seeds: int, draws: int, candidates: int, pool: Pool) -> None:
    """Ship the best checkpoint of the best seed: policy.npz, training.json and hyperparameters.yaml.

    All are in ``seeds.json``: of each seed ``candidates``, the best ones, by the fluid simulator, of so many
    equal parts of its run. Of those that overrun the best opponent in the fewest scenarios of the stress
    suite (``draws`` of each, which no report uses) the rule that chooses checkpoints chooses, on the
    validation part.
    """
    if (agent.folder / "seeds.json").is_file():
        return
    rival = _rival(agent, draws, pool)
    found = [one for seed in range(seeds) for one in _judged(agent, seed, candidates, draws, rival, pool)]
    shipped = _best(agent, found)
    for row in found:
        row["shipped"] = row is shipped
    for file in ("hyperparameters.yaml", "policy.npz", "training.json"):
        shutil.copy(_place(agent, shipped["seed"], shipped["step"]) / file, agent.folder / file)
    write_json(found, agent.folder / "seeds.json")


def _best(agent: Built, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    from ipa_rl.training.checkpoints import Checkpoint, choose

    opponents = read_tuned(agent.folder / "opponents.json")
    rivals = [one.validation for one in (best_real(opponents), best_program(opponents))]
    fewest = min(len(one["overruns"]) for one in found)
    left = [one for one in found if len(one["overruns"]) == fewest]
    points = [Checkpoint(one["step"], *(one[name] for name in FIGURES)) for one in left]
    best = choose(points, rivals)
    return next(one for one, point in zip(left, points, strict=True) if point is best)


def _place(agent: Built, seed: int, step: int) -> Path:
    return agent.run(seed) / f"step-{step}"


def _judged(
    agent: Built, seed: int, candidates: int, draws: int, rival: list[Endured], pool: Pool
) -> list[dict[str, Any]]:
    """Figures of the candidates of a seed over the validation windows, and what they overrun."""
    from ipa_rl.training.checkpoints import best_of_parts, read_log
    from ipa_rl.training.run import export

    run = agent.run(seed)
    training = read_beside(run, "training.json")
    log = read_log(run / "checkpoints.json")
    passed = beaten_at(training, "program")
    rows = []
    for one in best_of_parts(log, (training["rival"], training["program"]), candidates):
        place = output_folder(_place(agent, seed, one.step))
        export(run, {**training, "chosen_step": one.step}, place)
        rows.append(
            {
                "seed": seed,
                "step": one.step,
                **_validated(agent, place, pool),
                "passed_s": passed and passed["wall_s"],
                "overruns": _overruns(agent, place, draws, rival, pool),
            }
        )
    return rows


def _validated(agent: Built, place: Path, pool: Pool) -> dict[str, float]:
    scenarios = [Scenario(one) for one in Validation(agent.setup()).windows()]
    setup = replace(agent.setup(place), only=(AGENT_NAME,))
    folder = output_folder(place / "validation")
    row = judge(_title(agent, place), setup, make_jobs(scenarios, 1), folder, pool).rows()[0]
    return {name: row[name] for name in FIGURES}


def _overruns(agent: Built, place: Path, draws: int, rival: list[Endured], pool: Pool) -> list[str]:
    own = _endured(
        agent.setup(place), AGENT_NAME, draws, place / "stress", f"stress {_title(agent, place)}", pool
    )
    return overrun(own + rival, AGENT_NAME, rival[0].controller)


def _rival(agent: Built, draws: int, pool: Pool) -> list[Endured]:
    """What the best opponent endures."""
    name = best_real(read_tuned(agent.folder / "opponents.json")).name
    setup = agent.setup(agent.folder)
    return _endured(setup, name, draws, agent.folder / "rival", f"stress {name}", pool)


def _endured(setup: Setup, name: str, draws: int, folder: Path, title: str, pool: Pool) -> list[Endured]:
    jobs = stress_jobs(setup.definition(), draws, _CHOICE_DRAW)
    return endured(judge(title, replace(setup, only=(name,)), jobs, output_folder(folder), pool))


def _title(agent: Built, place: Path) -> str:
    return f"{agent.name} {place.parent.name} {place.name}"
