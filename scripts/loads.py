"""The shipped agents on other loads than the one they learned, beside opponents that were tuned on these.

    python scripts/loads.py

Every workload that ships, at the mean load of Twitter's. All opponents are tuned on the load's validation
part; shown are the integer program and the opponent that were best there, and the plain program: what one has
without tuning. All are judged on the load's test part, request by request, and compared window by window (run
by run where windows are few). Prints a table of Markdown; what was done stays in the folder, and a run that
was cut off goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from ipa_rl import resources
from ipa_rl.agents.opponents_file import write_opponents
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.cli.tables import figure
from ipa_rl.files import is_file, write_text
from ipa_rl.judge.comparison import Comparison, compare, interval_95
from ipa_rl.judge.experiment import Experiment, Setup, make_setup, repeated
from ipa_rl.judge.pools import Pool, make_pool
from ipa_rl.judge.simulated_cluster import part_scenarios
from ipa_rl.judge.tuning import Validation, tune, usual_windows
from ipa_rl.progress import Bars, Report
from ipa_rl.workload.workload import load_workload


def environment(pipeline: str, load: str, out: Path) -> str:
    """The shipped environment under a load of the same mean, as a file."""
    content = yaml.safe_load(resources.find(pipeline, "envs").read_text(encoding="utf-8"))
    scale = load_workload("twitter").mean_rps / load_workload(load).mean_rps
    content["workload"] = {"load": load, "scale": round(scale, 4)}
    write_text(yaml.safe_dump(content), out / f"{pipeline}-{load}.yaml")
    return str(out / f"{pipeline}-{load}.yaml")


def judged(setup: Setup, only: tuple[str, ...], folder: Path, pool: Pool, report: Report) -> Comparison:
    """These controllers on the windows of the test part."""
    definition = setup.definition()
    scenarios = part_scenarios(definition, "test", usual_windows(definition))
    subject = f"{definition.pipeline.name} under {definition.workload.name}"
    setup = replace(setup, only=only)
    return compare(Experiment(subject, setup, repeated(setup, scenarios)), folder, pool, report)


def row(pipeline: str, load: str, out: Path, pool: Pool, report: Report) -> Mapping[str, str]:
    """One line of the table."""
    agent = resources.folder("agents") / pipeline
    name, there = pipeline, agent / "opponents.json"
    if load != "twitter":
        name, there = environment(pipeline, load, out), out / f"{pipeline}-{load}-opponents.json"
    ships = make_setup(name, agent)
    if not is_file(there):
        write_opponents(tune(Validation(ships), pool, report), ships.definition(), there)
    tuned = replace(ships, opponents=there)
    program, best = tuned.controllers().program.name, tuned.controllers().best_opponent.name
    plain = ships.controllers().program.name
    shipped = judged(ships, (AGENT_NAME, plain), out / f"{pipeline}-{load}-shipped", pool, report)
    rivals = judged(tuned, (program, best), out / f"{pipeline}-{load}-tuned", pool, report)
    means = {one["controller"]: one for one in shipped.rows()}
    differences = shipped.units(AGENT_NAME, "utility") - rivals.units(program, "utility")
    low, high = interval_95(differences)
    theirs = {one["controller"]: one for one in rivals.rows()}
    return {
        "pipeline": pipeline,
        "load": load,
        "windows": f"{len(shipped.played)} of {ships.definition().window_s} s",
        "agent": figure(means[AGENT_NAME]["utility"]),
        "plain program": "-" if ships.controllers().tuned else figure(means[plain]["utility"]),
        "program": f"{figure(theirs[program]['utility'])} ({program.removeprefix('program ')})",
        "best opponent": f"{figure(theirs[best]['utility'])} ({best})",
        "agent less program": f"{differences.mean():+.2f} ({low:+.2f} to {high:+.2f})",
        "violations %: agent": figure(100 * means[AGENT_NAME]["violations"]),
        "program's": figure(100 * theirs[program]["violations"]),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pipelines", nargs="+", default=["video", "audio-qa", "sum-qa"])
    parser.add_argument("--loads", nargs="+", default=list(resources.shipped_names("workloads")))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/loads"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    pool, is_first = make_pool(asked.workers, None), True
    with Bars() as bars:
        for pipeline in asked.pipelines:
            for load in asked.loads:
                found = row(pipeline, load, asked.out, pool, bars)
                if is_first:
                    print(f"| {' | '.join(found)} |\n|{'---|' * len(found)}")
                print(f"| {' | '.join(found.values())} |", flush=True)
                is_first = False


if __name__ == "__main__":
    main()
