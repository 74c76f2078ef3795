"""``ipa-rl fidelity``: how far the simulators can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipa_rl.cli.judging import Most, OutFolder, RayAddress, Workers, part_scenarios
from ipa_rl.cli.outputs import output_folder
from ipa_rl.cli.tables import JsonFlag, err, print_json, print_table, save_note
from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.judge.fidelity import Against, Agreement, agreement, as_json, as_markdown, replays
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.replays import Replayed
from ipa_rl.progress import Bars
from ipa_rl.result_files import write_json
from ipa_rl.workload.forecasters import LSTM, NO_LSTM, is_available


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
    names = _names(pipeline)
    if not is_available(LSTM):
        raise InputError(NO_LSTM.partition(":")[0], field="fidelity", fix=NO_LSTM.partition(": ")[2])
    folder = output_folder(out_folder or Path("runs") / "fidelity")
    scenarios = part_scenarios("validation", windows)
    pool = make_pool(workers, ray_address)
    simulators: list[Agreement] = []
    with Bars() as bars:
        cluster, first = replays(names, bars)
        for name in names:
            simulators += agreement(name, scenarios, folder, pool, bars)
    (folder / "fidelity.md").write_text(as_markdown(simulators, cluster, len(scenarios)), encoding="utf-8")
    write_json(as_json(simulators, cluster), folder / "fidelity.json")
    if json:
        print_json(as_json(simulators, cluster))
    else:
        for name in names:
            _print_cluster(name, [one for one in cluster if one.pipeline == name])
            _print_simulators(name, [one for one in simulators if one.pipeline == name], len(scenarios))
    save_note([folder / "fidelity.md", folder / "fidelity.json", *_draw(simulators, first, folder)])


def _names(pipeline: list[str] | None) -> list[str]:
    known = ["video", "audio-qa", "audio-sent", "sum-qa", "nlp"]
    unknown = [name for name in pipeline or [] if name not in known]
    if unknown:
        fix = f"use one of {', '.join(known)}"
        raise InputError(f"the paper has no {unknown[0]}", field="--pipeline", fix=fix)
    return [name for name in known if pipeline is None or name in pipeline]


def _print_cluster(name: str, cluster: list[Against]) -> None:
    print_table(
        f"{name}, the paper's systems on its bursty window: replayed / measured on its cluster",
        ["system", "cores", "off", "PAS", "over SLA %", "dropped"],
        [
            [
                one.system,
                f"{one.simulated.cores:.2f} / {one.measured.cores:.2f}",
                f"{100 * one.cores_off:+.1f} %",
                f"{one.simulated.pas_x100:.2f} / {one.measured.pas_x100:.2f}",
                f"{one.simulated.seconds_over_sla_pct:.1f} / {one.measured.seconds_over_sla_pct:.1f}",
                f"{one.simulated.dropped:.0f} / {one.measured.dropped:.0f}",
            ]
            for one in cluster
        ],
    )


def _print_simulators(name: str, simulators: list[Agreement], windows: int) -> None:
    print_table(
        f"{name}, validation part, {windows} windows: fluid / request-level",
        ["controller", "utility", "cores", "viol.%", "p99 s"],
        [
            [
                row.controller,
                "{:.2f} / {:.2f}".format(*row.figures["utility"]),
                "{:.1f} / {:.1f}".format(*row.figures["cores"]),
                "{:.2f} / {:.2f}".format(*(100 * value for value in row.figures["violations"])),
                "{:.2f} / {:.2f}".format(*row.figures["p99_s"]),
            ]
            for row in simulators
        ],
    )


def _draw(simulators: list[Agreement], first: list[Replayed], folder: Path) -> list[Path]:
    from ipa_rl.report.fidelity_pictures import draw_agreement, draw_replays

    pictures = [folder / "replays.png", folder / "simulators.png"]
    try:
        if any(run.replay.pipeline in ("video", "audio-qa", "sum-qa") for run in first):
            draw_replays(first, pictures[0])
        draw_agreement(simulators, pictures[1])
    except MissingExtraError as error:
        err.print(f"note: no pictures: {error}", soft_wrap=True)
    return [path for path in pictures if path.is_file()]
