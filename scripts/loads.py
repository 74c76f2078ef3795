"""The policy for any pipeline, programs, opponents and the planner on every load that ships.

    python scripts/loads.py
    python scripts/loads.py --pipelines video --scales 0.1 10 100

Every workload at so many times the mean load of Twitter's, request by request; replicas may be as many
times more, and accuracy is worth as many times more cores, so that the trade stays the same. All
opponents are tuned on the load's validation part (on Twitter: those that ship), the planner as well.
Shown are the program and the opponent that were best there, the plain program, which is what one has
without tuning, and the program and the planner that know the future. All are judged on the load's test
part and compared window by window, or run by run where windows are few. Prints a table of Markdown; what
was done stays in the folder, and a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import yaml

from ipa_rl import resources
from ipa_rl.agents.opponents import PLANNER, best_foreseeing, best_program, best_real
from ipa_rl.agents.opponents_file import read_opponents, write_opponents
from ipa_rl.agents.universal import UNIVERSAL
from ipa_rl.cli.tables import figure
from ipa_rl.files import is_file, write_text
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import Comparison, compare, interval_95
from ipa_rl.judge.experiment import Experiment, Setup, make_setup, repeated
from ipa_rl.judge.pools import Pool, make_pool
from ipa_rl.judge.simulated_cluster import part_scenarios
from ipa_rl.judge.tuning import Validation, tune, usual_windows
from ipa_rl.progress import Bars, Report
from ipa_rl.workload.workload import load_workload


def environment(pipeline: str, load: str, times: float, out: Path) -> str:
    """The shipped environment under a load of so many times the same mean, as a file."""
    content = yaml.safe_load(resources.find(pipeline, "envs").read_text(encoding="utf-8"))
    scale = times * load_workload("twitter").mean_rps / load_workload(load).mean_rps
    content["workload"] = {"load": load, "scale": round(scale, 4)}
    content["weights"]["alpha"] *= times
    limits, baselines, more = content["limits"], content["baselines"], max(round(times), 1)
    limits["max_replicas"] *= more
    baselines["rim_replicas"] = [more * one for one in baselines["rim_replicas"]]
    path = out / f"{pipeline}-{load}-{times:g}.yaml"
    write_text(yaml.safe_dump(content), path)
    return str(path)


def tuned(ships: Setup, path: Path, pool: Pool, report: Report) -> Setup:
    """With all opponents tuned on the load; on Twitter those that ship stay as they are."""
    shipped = resources.folder("agents") / ships.environment / "opponents.json"
    tuned_before = path if is_file(path) else shipped if is_file(shipped) else None
    known = read_opponents(tuned_before) if tuned_before else []
    known = tune(Validation(ships), pool, report, known=known)
    write_opponents(known, ships.definition(), path)
    return replace(ships, opponents=path)


def judged(setup: Setup, only: Sequence[str], folder: Path, pool: Pool, report: Report) -> Comparison:
    """These controllers on the windows of the test part."""
    definition = setup.definition()
    scenarios = part_scenarios(definition, "test", usual_windows(definition))
    subject = f"{definition.pipeline.name} under {definition.workload.name}"
    setup = replace(setup, only=tuple(dict.fromkeys(only)))
    return compare(Experiment(subject, setup, repeated(setup, scenarios)), folder, pool, report)


def row(pipeline: str, load: str, times: float, out: Path, pool: Pool, report: Report) -> Mapping[str, str]:
    """One line of the table."""
    place = out / f"{pipeline}-{load}-{times:g}"
    name = pipeline if (load, times) == ("twitter", 1.0) else environment(pipeline, load, times, out)
    ships = make_setup(name, resources.folder("agents") / pipeline)
    setup = tuned(ships, place.with_name(f"{place.name}-opponents.json"), pool, report)
    known = setup.controllers().opponents
    planner, knowing = (one.name for one in known if one.system == PLANNER)
    others = [one for one in known if one.system != PLANNER]
    program, best, foreseeing = (of(others).name for of in (best_program, best_real, best_foreseeing))
    plain = ships.controllers().program.name
    shipped = judged(ships, (UNIVERSAL, plain), out / f"{place.name}-shipped", pool, report)
    rivals = judged(setup, (program, best, foreseeing, planner, knowing), place, pool, report)
    means = {one["controller"]: one for one in (*shipped.rows(), *rivals.rows())}
    utility = {one: figure(means[one]["utility"]) for one in means}
    violated = {one: figure(100 * means[one]["violations"]) for one in means}
    by_program = rivals.units(program, "utility")
    return {
        "pipeline": pipeline,
        "load": load if times == 1.0 else f"{load}, {times:g} times",
        "windows": f"{len(shipped.played)} of {ships.definition().window_s} s",
        UNIVERSAL: utility[UNIVERSAL],
        "plain program": "-" if ships.controllers().tuned else utility[plain],
        "program": f"{utility[program]} ({program.removeprefix('ip ')})",
        "best opponent": f"{utility[best]} ({best})",
        "program, perfect": utility[foreseeing],
        "planner": utility[planner],
        "planner, perfect": utility[knowing],
        "universal less program": paired(shipped.units(UNIVERSAL, "utility") - by_program),
        "planner less program": paired(rivals.units(planner, "utility") - by_program),
        "violations %: universal, program, planner": ", ".join(
            violated[one] for one in (UNIVERSAL, program, planner)
        ),
    }


def paired(differences: FloatArray) -> str:
    """Their mean, with its 95 % interval."""
    low, high = interval_95(differences)
    return f"{differences.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pipelines", nargs="+", default=["video", "audio-qa", "sum-qa"])
    parser.add_argument("--loads", nargs="+", default=list(resources.shipped_names("workloads")))
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0], help="times Twitter's mean load")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/loads"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    pool, is_first = make_pool(asked.workers, None), True
    with Bars() as bars:
        for pipeline, load, times in product(asked.pipelines, asked.loads, asked.scales):
            found = row(pipeline, load, times, asked.out, pool, bars)
            if is_first:
                print(f"| {' | '.join(found)} |\n|{'---|' * len(found)}")
            print(f"| {' | '.join(found.values())} |", flush=True)
            is_first = False


if __name__ == "__main__":
    main()
