"""``ipa-rl benchmark``: every controller on many pipelines and loads, in one table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ipa_rl.agents.own import own_controller
from ipa_rl.cli.judging import OutFolder, OwnControllers, RayAddress, Workers
from ipa_rl.cli.tables import Columns, JsonFlag, print_items, print_json, save_note, say
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.files import write_text
from ipa_rl.judge.benchmark import Group, cases, lines, play_cases
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.runs import folder_of
from ipa_rl.progress import Bars
from ipa_rl.report.benchmark_table import benchmark_tables, without_gap
from ipa_rl.result_files import output_folder, write_json


def benchmark(
    quick: Annotated[
        bool, typer.Option("--quick", help="Few windows, draws and pipelines: under an hour on two cores.")
    ] = False,
    only: Annotated[list[Group] | None, typer.Option(help="This group of cases alone; repeatable.")] = None,
    controller: OwnControllers = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out_folder: OutFolder = None,
    json: JsonFlag = False,
) -> None:
    """Every controller on many pipelines and loads: which share of what is to be gained it gains.

    Shipped pipelines on their own and on other loads, made-up pipelines, the stress suite. Of a share, 0 is
    the integer program at its best, and 1 a bound that no controller can exceed.

    Examples: [bold]ipa-rl benchmark --quick[/bold]
    [bold]ipa-rl benchmark --quick --controller mine.py:Mine --only family[/bold]
    """
    groups = [group for group in Group if only is None or group in only]
    own = controller or []
    names = [own_controller(one, load_definition("video")).name for one in own]
    words = ["benchmark", *(["quick"] if quick else []), *names]
    folder = output_folder(out_folder or folder_of(words))
    with Bars() as bars:
        pool = make_pool(workers, ray_address)
        results = play_cases(cases(quick, groups), own, folder, pool, bars, bars.say)
    found = lines(results)
    write_json(
        {"lines": [asdict(one) for one in found], "results": [asdict(one) for one in results]},
        folder / "benchmark.json",
    )
    write_text(benchmark_tables(found), folder / "benchmark.md")
    if json:
        print_json([asdict(one) for one in found])
    else:
        for group in dict.fromkeys(one.group for one in found):
            print_items(f"Benchmark, {group}", _COLUMNS, [one for one in found if one.group == group])
    for name in without_gap(results):
        say(f"note: {name} is in no table: its program leaves less than 1 % of the bound")
    save_note([folder / "benchmark.json", folder / "benchmark.md"])


_COLUMNS: Columns = {
    "controller": "controller",
    "above": lambda one: f"{one.above} of {one.cases}",
    "mean %": lambda one: f"{100 * one.mean:.0f}",
    "median": lambda one: f"{100 * one.median:.0f}",
    "worst": lambda one: f"{100 * one.worst:.0f}",
    "viol.%": lambda one: f"{100 * one.violations:.2f}",
    "cost": "cost",
    "ms p99": "decide_ms",
}
