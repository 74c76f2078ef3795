"""The benchmark: controllers on many pipelines and loads, by what they gain of what there is to gain.

A case is an environment and windows of its test part, or a scenario of the stress suite. A controller's score
in it is a share: 0 is the integer program as it was best on the validation part, 1 is the bound that no
controller can exceed (`ipa_rl.judge.bound`). Every opponent is tuned on the case's own load first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ipa_rl import resources
from ipa_rl.agents.opponents import PROGRAM, Opponent, best_of
from ipa_rl.agents.opponents_file import why_untuned, write_opponents
from ipa_rl.agents.trained import AGENT_NAME, FINE_TUNED
from ipa_rl.documents import load_json, read_json
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.interrupts import hinted
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import Comparison, compare
from ipa_rl.judge.evaluation import evaluation_experiments
from ipa_rl.judge.experiment import Controllers, Experiment, Setup, Trial, make_setup
from ipa_rl.judge.pools import Pool, in_order
from ipa_rl.judge.runs import describe
from ipa_rl.judge.tuning import Validation, tune, usual_windows
from ipa_rl.progress import Report
from ipa_rl.result_files import output_folder, write_json


class Group(StrEnum):
    """The shipped environments on their own load, and on every other one that ships; under stress.

    And made-up pipelines, each on loads that switch and on one that ships, and graphs, each on one of both.
    """

    pipelines = "pipelines"
    loads = "loads"
    family = "family"
    graphs = "graphs"
    stress = "stress"


GRAPHS = 20
"""Made-up graphs, seeds from 0; every other one on a load that ships."""
FAMILY = 30
"""Seeds of made-up pipelines from 0 on; whoever chooses something for the family does so on others."""
FAMILY_WINDOWS, FAMILY_TUNED = 2, 2
"""Windows that a made-up pipeline is judged on, and that its opponents are tuned on."""
STRESS_DRAWS = 5
QUICK_WINDOWS, QUICK_LOAD_WINDOWS, QUICK_TUNED, QUICK_EVERY, QUICK_DRAWS = 12, 8, 12, 3, 1
"""In the quick form: windows of a shipped environment, and of another load; windows that opponents are tuned
on there; one in so many made-up pipelines, with one load each; draws of a scenario."""
ON_OTHER_LOADS = ("video", "audio-qa", "sum-qa")
LEAST_GAP = 0.01
"""A program that leaves less of the bound leaves nothing worth a score."""


@dataclass(frozen=True)
class Case:
    """``agent``: the shipped one that plays, empty where none fits. ``most``: windows of the test part, or
    draws of the stress suite; None for as many windows as an agent is reported on. ``tuned``: validation
    windows that opponents are tuned on, where none ship; None for as many as usual.
    """

    group: Group
    environment: str
    agent: str = ""
    most: int | None = None
    tuned: int | None = None

    @property
    def name(self) -> str:
        """The folder of its run."""
        return f"{self.group}-{self.environment}"


@dataclass(frozen=True)
class Result:
    """What a controller came to in a case, or in one scenario of it: means over windows.

    ``controller``: the system; ``name``: with its forecaster. ``program``, ``bound``: utilities;
    ``program_cores``. ``decide_ms``: 99th percentile. ``trained_s``: of the agent's training, None of others.
    """

    group: Group
    case: str
    controller: str
    name: str
    utility: float
    program: float
    bound: float
    violations: float
    cores: float
    program_cores: float
    decide_ms: float
    trained_s: float | None = None

    @property
    def share(self) -> float | None:
        """Of the gap between program and bound that is closed; None where there is none to speak of."""
        gap = self.bound - self.program
        return (self.utility - self.program) / gap if gap > LEAST_GAP * abs(self.bound) else None


@dataclass(frozen=True)
class Line:
    """A controller in a group of cases: shares' mean, median and worst, the case of that; the rest are means.

    ``above``: in how many of ``cases`` it gains something. ``cost``: cores relative to the program's.
    """

    group: str
    controller: str
    cases: int
    above: int
    mean: float
    median: float
    worst: float
    worst_case: str
    violations: float
    cost: float
    decide_ms: float
    trained_s: float | None


@dataclass(frozen=True)
class _Kept:
    """The results of a case as its folder keeps them; ``fingerprint``: of all that decides them."""

    fingerprint: str
    results: list[Result]


def cases(is_quick: bool, groups: Sequence[Group]) -> list[Case]:
    """The cases of these groups, in their order."""
    shipped = [name for name in resources.shipped_names("envs") if name in resources.shipped_names("agents")]
    everywhere = resources.shipped_names("workloads")
    loads = [name for name in everywhere if name != "twitter"]
    most, on_others, tuned, draws, every = None, None, None, STRESS_DRAWS, 1
    if is_quick:
        most, on_others, tuned = QUICK_WINDOWS, QUICK_LOAD_WINDOWS, QUICK_TUNED
        draws, every = QUICK_DRAWS, QUICK_EVERY
    family, graphs = [], []
    for k, seed in enumerate(range(0, FAMILY, every)):
        both = [f"made-up-{seed}", f"made-up-{seed}@{everywhere[seed % len(everywhere)]}"]
        family += [both[k % 2]] if is_quick else both
    for seed in range(0, GRAPHS, every):
        graphs.append(
            f"made-up-graph-{seed}" + (f"@{everywhere[seed % len(everywhere)]}" if seed % 2 else "")
        )
    others = [f"{name}@{load}" for name in ON_OTHER_LOADS for load in loads]
    found: dict[Group, list[Case]] = {
        Group.pipelines: [Case(Group.pipelines, name, name, most) for name in shipped],
        Group.loads: [Case(Group.loads, one, one.split("@")[0], on_others, tuned) for one in others],
        Group.family: [Case(Group.family, name, "", FAMILY_WINDOWS, FAMILY_TUNED) for name in family],
        Group.graphs: [Case(Group.graphs, name, "", FAMILY_WINDOWS, FAMILY_TUNED) for name in graphs],
        Group.stress: [Case(Group.stress, name, name, draws) for name in shipped],
    }
    return [case for group in groups for case in found[group]]


def play_cases(
    wanted: Sequence[Case],
    own: Sequence[Any],
    out: Path,
    pool: Pool,
    report: Report,
    say: Callable[[str], None],
) -> list[Result]:
    """All of these cases, one after the other: tuned, played and bounded, or what is missing of that.

    ``own``: the user's controllers, as `own_controller` takes them. ``out``: where each case has a folder.
    Raises InputError where a controller cannot be made, or a folder cannot be written to.
    """
    results: list[Result] = []
    with hinted(f"what is done stays in {out}: the same command goes on"):
        for done, case in enumerate(wanted):
            report.advance("cases", done, len(wanted))
            results += _play_case(case, own, out, pool, report, say)
    report.advance("cases", len(wanted), len(wanted))
    return results


def _play_case(
    case: Case, own: Sequence[Any], out: Path, pool: Pool, report: Report, say: Callable[[str], None]
) -> list[Result]:
    folder = output_folder(out / case.name)
    agent = resources.folder("agents") / case.agent if case.agent else None
    setup = _tuned(make_setup(case.environment, agent, controllers=own), case.tuned, folder, pool, report)
    systems = _systems(setup.controllers())
    experiment = _experiment(case, replace(setup, only=tuple(systems.values())))
    fingerprint, path = describe(experiment).fingerprint, folder / "results.json"
    with suppress(InputError):
        kept = load_json(path, _Kept, "delete it")
        if kept.fingerprint == fingerprint:
            return kept.results
    say(f"{case.name}: {len(experiment.trials)} runs of {len(systems)} controllers")
    comparison = compare(experiment, folder, pool, report)
    bounds = _bounds(comparison, experiment.trials, pool, report)
    results = _results(case, systems, _trained_s(setup.controllers().folder), comparison, bounds)
    write_json(asdict(_Kept(fingerprint, results)), path)
    return results


def _tuned(setup: Setup, most: int | None, folder: Path, pool: Pool, report: Report) -> Setup:
    """With opponents tuned on the environment's own load: those that ship, or new ones, in the folder.

    ``most``: validation windows that they are tuned on.
    """
    if setup.controllers().tuned:
        return setup
    path, definition = folder / f"opponents-{most or 'usual'}.json", setup.definition()
    if not is_file(path) or why_untuned(path, definition):
        write_opponents(tune(Validation(setup, most), pool, report), definition, path)
    return replace(setup, opponents=path.resolve())


def _systems(known: Controllers) -> dict[str, str]:
    """Who plays, by system: the agent, the user's own, and of each system the one that was tuned best."""
    groups: dict[str, list[Opponent]] = {}
    for one in known.opponents:
        system = PROGRAM if one.is_program else one.system
        groups.setdefault(f"{system}, perfect" if one.foresees else system, []).append(one)
    ours = {name: name for name in known.ours}
    return ours | {system: best_of(group).name for system, group in groups.items()}


def _experiment(case: Case, setup: Setup) -> Experiment:
    windows, draws = case.most or usual_windows(setup.definition()), case.most or STRESS_DRAWS
    both = evaluation_experiments(setup, "test", windows, draws)
    return both["stress" if case.group is Group.stress else ""]


def _bounds(comparison: Comparison, trials: Sequence[Trial], pool: Pool, report: Report) -> FloatArray:
    """Of every window, (scenarios, seeds); what goes wrong in it can only lower what is reached."""
    from ipa_rl.judge.bound import utility_bound  # highspy and scipy take long to import

    windows = {id(one.scenario.window): one.scenario.window for one in trials}
    bound_of = partial(utility_bound, comparison.definition)
    found = dict(zip(windows, in_order(pool, bound_of, list(windows.values()), report, "bound"), strict=True))
    bounds = np.array([found[id(one.scenario.window)] for one in trials])
    return bounds.reshape(len(comparison.played), -1)


def _results(
    case: Case, systems: dict[str, str], trained_s: float | None, played: Comparison, bounds: FloatArray
) -> list[Result]:
    """One a controller; under stress one for each scenario."""
    if case.group is not Group.stress:
        return _of(case, case.environment, systems, trained_s, played, float(bounds.mean()))
    found = []
    for (scenario, alone), bound in zip(played.by_scenario(), bounds, strict=True):
        name = f"{case.environment}, {scenario}"
        found += _of(case, name, systems, trained_s, alone, float(bound.mean()))
    return found


def _of(
    case: Case,
    name: str,
    systems: dict[str, str],
    trained_s: float | None,
    played: Comparison,
    bound: float,
) -> list[Result]:
    rows = {row["controller"]: row for row in played.rows()}
    program = rows[systems[PROGRAM]]
    return [
        Result(
            group=case.group,
            case=name,
            controller=system,
            name=who,
            utility=rows[who]["utility"],
            program=program["utility"],
            bound=bound,
            violations=rows[who]["violations"],
            cores=rows[who]["cores"],
            program_cores=program["cores"],
            decide_ms=rows[who]["decide_p99_ms"],
            trained_s=trained_s if system in (AGENT_NAME, FINE_TUNED) else None,
        )
        for system, who in systems.items()
    ]


def _trained_s(folder: Path) -> float | None:
    """Wall-clock seconds of an agent's training; None where its record does not say."""
    with suppress(InputError):
        if is_file(folder / "fine-tuning.json"):
            return float(read_json(folder / "fine-tuning.json", "train again")["took_s"])
        return float(read_json(folder / "training.json", "train again")["checkpoints"][-1]["wall_s"])
    return None


def lines(results: Sequence[Result]) -> list[Line]:
    """A line for each group and controller, then one over all groups, in each of which a group counts alike.

    Best mean first. Who was not in all groups has none over all.
    """
    groups = list(dict.fromkeys(one.group for one in results))
    names = list(dict.fromkeys(one.controller for one in results))
    by_group = {(g, n): _line(g, n, results) for g in groups for n in names}
    found = [line for group in groups for line in _ranked([by_group[group, name] for name in names])]
    if len(groups) == 1:
        return found
    overall = [_over_all([by_group[group, name] for group in groups]) for name in names]
    return found + _ranked(overall)


def _ranked(some: Sequence[Line | None]) -> list[Line]:
    return sorted((one for one in some if one is not None), key=lambda one: -one.mean)


def _line(group: str, controller: str, results: Sequence[Result]) -> Line | None:
    """Of the cases of a group that leave a gap; None where the controller plays none of them."""
    mine = [one for one in results if (one.group, one.controller) == (group, controller)]
    scored = [(one.share, one) for one in mine if one.share is not None]
    if not scored:
        return None
    shares = np.array([share for share, _ in scored])
    trained = [one.trained_s for one in mine if one.trained_s is not None]
    return Line(
        group=group,
        controller=controller,
        cases=len(scored),
        above=int((shares > 0).sum()),
        mean=float(shares.mean()),
        median=float(np.median(shares)),
        worst=float(shares.min()),
        worst_case=scored[int(shares.argmin())][1].case,
        violations=float(np.mean([one.violations for _, one in scored])),
        cost=float(np.mean([one.cores / one.program_cores for _, one in scored])),
        decide_ms=float(np.median([one.decide_ms for _, one in scored])),
        trained_s=float(np.mean(trained)) if trained else None,
    )


def _over_all(parts: Sequence[Line | None]) -> Line | None:
    """Means of the groups' lines; None where one is missing."""
    known = [one for one in parts if one is not None]
    if len(known) < len(parts):
        return None
    worst = min(known, key=lambda one: one.worst)
    trained = [one.trained_s for one in known if one.trained_s is not None]
    return Line(
        group="all",
        controller=known[0].controller,
        cases=sum(one.cases for one in known),
        above=sum(one.above for one in known),
        worst=worst.worst,
        worst_case=worst.worst_case,
        trained_s=float(np.mean(trained)) if trained else None,
        **{
            name: float(np.mean([getattr(one, name) for one in known]))
            for name in ("mean", "median", "violations", "cost", "decide_ms")
        },
    )
