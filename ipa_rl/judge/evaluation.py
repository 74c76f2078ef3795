"""What a comparison came to; and an evaluation: on a part of a workload and under stress, beside rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl.agents.opponents import Opponent, best_foreseeing, rivals
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import FIGURES, Comparison, Ranked, compare, percentiles_95, resampled
from ipa_rl.judge.experiment import Controllers, Experiment, Setup, repeated
from ipa_rl.judge.pools import Pool, in_order
from ipa_rl.judge.simulated_cluster import JudgedPart, SimulatorKind, part_scenarios
from ipa_rl.judge.stress import SUITE, Endured, endured, stress_trials
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder, write_json, write_rows


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Of windows ``rows`` and ``ranking``, of the stress suite ``stress``, means over its draws.

    ``rows``: one a controller, by `Comparison.rows`; ``intervals_over``: the unit of their intervals.
    """

    environment: str
    subject: str
    simulator: str
    scenarios: int
    seeds: int
    opponents_tuned: bool
    intervals_over: str
    rows: Sequence[dict[str, Any]] = ()
    ranking: Sequence[Ranked] = ()
    stress: Sequence[Endured] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; without those of windows or of the suite, whichever was not played."""
        missing = ["regret"] if getattr(self, "regret", None) is None else []
        missing += [] if self.rows else ["rows", "ranking", "intervals_over"]
        missing += [] if self.stress else ["stress"]
        return {name: value for name, value in asdict(self).items() if name not in missing}

    def write(self, folder: Path, name: str) -> list[Path]:
        """The table as ``name``.csv, all as ``name``.json; where they are."""
        csv, json = folder / f"{name}.csv", folder / f"{name}.json"
        write_rows(self.rows or [asdict(one) for one in self.stress], csv)
        write_json(self.as_json(), json)
        return [csv, json]


@dataclass(frozen=True)
class Regret:
    """Means over windows, and the share of the gap between program and bound that is closed, with 95 %."""

    bound: float
    program: float
    agent: float
    closed: float
    closed_95: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Findings):
    """All controllers on so many ``windows`` of a part of the workload, and under stress.

    ``agent``: its name; empty where there is none. ``paired``: its differences to each rival. ``regret``:
    where there is an agent, and opponents are tuned.
    """

    part: JudgedPart
    windows: int
    agent: str
    paired: Sequence[dict[str, Any]]
    stress_draws: int
    regret: Regret | None = None


def find(comparison: Comparison, known: Controllers) -> Findings:
    """What a comparison of these controllers came to."""
    description, is_suite = comparison.description, is_stress(comparison)
    return Findings(
        environment=comparison.definition.name,
        subject=description.subject,
        simulator=description.kind.value,
        scenarios=len(description.scenarios),
        seeds=description.seeds,
        opponents_tuned=known.tuned,
        intervals_over=comparison.unit,
        rows=[] if is_suite else comparison.rows(),
        ranking=[] if is_suite else comparison.ranking(),
        stress=endured(comparison) if is_suite else [],
    )


def in_front(comparison: Comparison, known: Controllers) -> list[str]:
    """Whom pictures begin with: who is not an opponent, and the rivals in this run.

    Rivals: of programs, of other opponents and of those that foresee, whoever did best in this run.
    """
    kinds = {
        one.name: "foresees" if one.foresees else "program" if one.is_program else "other"
        for one in known.opponents
    }
    best: dict[str, str] = {}
    for name in sorted(comparison.names, key=lambda one: -float(comparison.units(one, "utility").mean())):
        best.setdefault(kinds.get(name, name), name)
    return [name for name in comparison.names if name in best.values()]


def is_stress(comparison: Comparison) -> bool:
    """Whether it is one of the stress suite."""
    return comparison.description.scenarios == tuple(stress.name for stress in SUITE)


def evaluation_experiments(
    setup: Setup, part: JudgedPart, windows: int | None, draws: int
) -> dict[str, Experiment]:
    """What is compared, by the folder within that of the run: the part's windows, and the stress suite.

    ``windows``: how many at most; ``draws``: of each scenario of the suite, which needs single requests.
    """
    definition = setup.definition()
    scenarios = part_scenarios(definition, part, windows)
    single = replace(setup, kind=SimulatorKind.request_level)
    return {
        "": Experiment(f"{part} part", setup, repeated(setup, scenarios)),
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
    comparison, suite = (
        compare(experiment, output_folder(folder / name), pool, report)
        for name, experiment in experiments.items()
    )
    evaluation = Evaluation(
        **vars(find(comparison, known)) | {"stress": endured(suite)},
        part=part,
        windows=len(comparison.played),
        agent=known.policy.name if known.policy else "",
        paired=paired(comparison, known),
        stress_draws=draws,
    )
    if known.policy is not None and known.tuned:
        from ipa_rl.judge.bound import utility_bound  # highspy and scipy take long to import

        played = [trial.scenario.window for trial in experiments[""].trials[:: comparison.description.seeds]]
        bound = np.array(in_order(pool, partial(utility_bound, known.definition), played, report, "bound"))
        ours, program = (
            comparison.units(name, "utility") for name in (known.policy.name, known.program.name)
        )
        if comparison.unit == "seeds":
            bound = np.full(len(ours), bound.mean())
        evaluation = replace(evaluation, regret=regret(ours, program, bound))
    evaluation.write(folder, "evaluation")
    return evaluation


def paired(comparison: Comparison, known: Controllers) -> list[dict[str, Any]]:
    """The agent's differences to each rival, and to the policy for any pipeline; none without policies."""
    if known.policy is None:
        return []
    told = [(one.name, _role(known, one), _settings(one)) for one in rivals(known.opponents)]
    told += [(one.name, "policy for any pipeline", "as it ships") for one in known.policies[1:]]
    return [
        {
            "rival": rival,
            "role": role,
            "settings": settings,
            "figures": [comparison.paired(known.policy.name, rival, figure) for figure in FIGURES],
        }
        for rival, role, settings in told
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
    return f"chosen on the validation part: {', '.join(words)}"


def regret(agent: FloatArray, program: FloatArray, bound: FloatArray) -> Regret | None:
    """Of utilities by unit, (units,) each; the share is of sums, bootstrapped over units.

    None where the program leaves no gap to close.
    """
    picks = resampled(len(bound))
    gained, gap = agent - program, bound - program
    if gap[picks].sum(axis=1).min() <= 0:
        return None
    return Regret(
        float(bound.mean()),
        float(program.mean()),
        float(agent.mean()),
        float(gained.sum() / gap.sum()),
        percentiles_95(gained[picks].sum(axis=1) / gap[picks].sum(axis=1)),
    )
