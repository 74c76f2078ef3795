"""``ipa-rl fidelity``: how far the simulators can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.judging import Most, OutFolder, RayAddress, Workers
from ipa_rl.cli.tables import JsonFlag, print_json, print_table, save_note, say
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.files import write_text
from ipa_rl.judge.fidelity import Agreement, agreement, as_json, replays
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.simulated_cluster import part_scenarios
from ipa_rl.progress import Bars
from ipa_rl.report.fidelity import CLUSTER, SIMULATORS, cluster_rows, fidelity_page, simulator_rows
from ipa_rl.result_files import output_folder, write_json
from ipa_rl.workload.forecasters import LSTM, is_available, not_available
from ipa_rl.workload.workload import load_workload

_PIPELINES = ("video", "audio-qa", "audio-sent", "sum-qa", "nlp")
"""Those of the paper."""


def fidelity(
    pipeline: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    windows: Most = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out_folder: OutFolder = None,
    json: JsonFlag = False,
) -> None:
    """Fluid against request-level on the validation part, and the paper's systems against its cluster.

    Example: [bold]ipa-rl fidelity --out runs/fidelity[/bold]
    """
    for name in pipeline or ():
        if name not in _PIPELINES:
            fix = f"use one of {', '.join(_PIPELINES)}"
            raise InputError(f"the paper has no {name}", field="--pipeline", fix=fix)
    workload = load_workload("twitter")
    if not is_available(LSTM, workload, 1):
        problem, _, fix = not_available([LSTM], workload, 1).partition(": ")
        raise InputError(problem, field="fidelity", fix=fix)
    names = [name for name in _PIPELINES if pipeline is None or name in pipeline]
    folder = output_folder(out_folder or Path("runs") / "fidelity")
    scenarios = part_scenarios(load_definition(names[0]), "validation", windows)  # of one workload all
    pool = make_pool(workers, ray_address)
    simulators: list[Agreement] = []
    with Bars() as bars:
        cluster, first = replays(names, bars)
        for name in names:
            simulators += agreement(name, scenarios, folder, pool, bars)
    paths = [folder / "fidelity.md", folder / "fidelity.json"]
    write_text(fidelity_page(simulators, cluster, len(scenarios)), paths[0])
    write_json(as_json(simulators, cluster), paths[1])
    from ipa_rl.report.pictures import draw_fidelity

    try:
        paths += draw_fidelity(simulators, first, folder)
    except MissingExtraError as error:
        say(f"note: no pictures: {error}")
    if json:
        print_json(as_json(simulators, cluster))
    else:
        title = "the paper's systems on its bursty window: replayed / measured on its cluster"
        print_table(title, CLUSTER, cluster_rows(cluster), left=2)
        title = f"validation part, {len(scenarios)} windows: fluid / request-level"
        print_table(title, SIMULATORS, simulator_rows(simulators), left=2)
    save_note(paths)
