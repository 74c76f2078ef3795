"""An evaluation: all controllers on a part of the trace and under stress, the agent beside its rivals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ipa_rl.agents.opponents import Opponent, best_foreseeing, rivals
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.judge.comparison import FIGURES, Comparison, compare
from ipa_rl.judge.experiment import Controllers, Experiment, Setup, trials
from ipa_rl.judge.findings import Evaluation, find
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.scenario import JudgedPart, part_scenarios
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.judge.stress import endured, stress_trials
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder


def evaluation_experiments(
    setup: Setup, part: JudgedPart, windows: int | None, draws: int
) -> dict[str, Experiment]:
    """What is compared, by the folder within that of the run: the part's windows, and the stress suite.

    ``windows``: how many at most; ``draws``: of each scenario of the suite, which needs single requests.
    """
    definition = setup.definition()
    scenarios = part_scenarios(part, windows, definition.workload.scale)
    single = replace(setup, kind=SimulatorKind.request_level)
    return {
        "": Experiment(f"{part} part", setup, trials(scenarios, 1)),
        "stress": Experiment("stress suite", single, stress_trials(definition, draws)),
    }


def evaluate(
    setup: Setup,
    part: JudgedPart,
    windows: int | None,
    draws: int,
    folder: Path,
    pool: Pool,
    report: Report,
) -> Evaluation:
    """Run an evaluation, or what is missing of it; write evaluation.csv and evaluation.json."""
    known = setup.controllers()
    experiments = evaluation_experiments(setup, part, windows, draws)
    compared = {
        name: compare(experiment, output_folder(folder / name), pool, report)
        for name, experiment in experiments.items()
    }
    comparison, suite = compared[""], compared["stress"]
    evaluation = Evaluation(
        **vars(find(comparison, known)) | {"stress": endured(suite)},
        part=part,
        windows=len(comparison.played),
        paired=paired(comparison, known),
        stress_draws=draws,
    )
    if known.policy is not None and known.tuned:
        from ipa_rl.judge.bound import bounds, regret  # highspy and scipy take long to import

        windows_played = [trial.scenario.window for trial in experiments[""].trials]
        bound = bounds(setup, windows_played, pool, report)
        ours, program = (comparison.units(name, "utility") for name in (AGENT_NAME, known.program.name))
        evaluation = replace(evaluation, regret=regret(ours, program, bound))
    evaluation.write(folder, "evaluation")
    return evaluation


def paired(comparison: Comparison, known: Controllers) -> list[dict[str, Any]]:
    """The agent's differences to each rival; none where no agent was trained."""
    if known.policy is None:
        return []
    return [
        {
            "rival": one.name,
            "role": _role(known, one),
            "settings": _settings(one),
            "figures": [comparison.paired(AGENT_NAME, one.name, figure) for figure in FIGURES],
        }
        for one in rivals(known.opponents)
    ]


def _role(known: Controllers, opponent: Opponent) -> str:
    """What it is the best of, in words."""
    roles = {
        "best program": known.program,
        "best opponent": known.best_opponent,
        "best with foresight": best_foreseeing(known.opponents),
    }
    return " and ".join(label for label, found in roles.items() if found == opponent)


def _settings(opponent: Opponent) -> str:
    """What tuning chose for it, in words."""
    words = [f"margin {100 * opponent.margin:.0f} %"]
    if opponent.name == opponent.system:
        words.insert(0, opponent.basis)
    words += [f"{name} {value:g}" for name, value in opponent.options.items()]
    return ", ".join(words)
