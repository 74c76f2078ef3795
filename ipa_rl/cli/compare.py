"""``ipa-rl compare``: controllers on the same arrivals."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ipa_rl.cli.arguments import Environment
from ipa_rl.cli.judging import (
    AgentFolder,
    Alpha,
    Beta,
    Fluid,
    OutFolder,
    OwnControllers,
    RayAddress,
    Seeds,
    Workers,
    print_findings,
    say_notes,
)
from ipa_rl.cli.tables import JsonFlag, print_json, save_note, say
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.judge.comparison import compare as judge
from ipa_rl.judge.evaluation import Findings, find
from ipa_rl.judge.experiment import SEEDS, Experiment, Setup, make_setup, repeated, trials
from ipa_rl.judge.pools import make_pool
from ipa_rl.judge.runs import default_folder, run_folder
from ipa_rl.judge.simulated_cluster import (
    JudgedPart,
    named_scenario,
    part_scenarios,
    stretch_scenarios,
)
from ipa_rl.judge.stress import stress_trials
from ipa_rl.judge.tuning import affordable
from ipa_rl.progress import Bars
from ipa_rl.workload.moments import said, second_of
from ipa_rl.workload.workload import Window

FEW_REQUESTS = 100_000
"""A workload without named windows is compared on so many windows of its test part as hold these."""


def compare(
    environment: Environment,
    window: Annotated[
        str | None,
        typer.Option(
            help="A window of the workload that has a name: by default the first; of a workload "
            "without any, windows of the test part."
        ),
    ] = None,
    part: Annotated[JudgedPart | None, typer.Option(help="All windows of a part instead.")] = None,
    suite: Annotated[
        Literal["stress"] | None, typer.Option(help="Loads and faults that the workload lacks.")
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", help="Begin of a stretch of the workload: seconds from its begin, or a time."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="End of that stretch; of the workload by default.")
    ] = None,
    windows: Annotated[
        int | None,
        typer.Option(min=1, help="N windows, evenly spread: of the part (test by default) or that stretch."),
    ] = None,
    seeds: Seeds = None,
    fluid: Fluid = False,
    agent: AgentFolder = None,
    controller: OwnControllers = None,
    alpha: Alpha = None,
    beta: Beta = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    out_folder: OutFolder = None,
    json: JsonFlag = False,
) -> None:
    """All controllers side by side, every request accounted for: table, ranking, CSV, JSON and pictures.

    Examples: [bold]ipa-rl compare video[/bold]
    [bold]ipa-rl compare video --part validation --windows 50[/bold]
    [bold]ipa-rl compare mine.yaml --from 2026-03-01 --to 2026-03-02[/bold]
    [bold]ipa-rl compare video --suite stress[/bold]
    """
    setup = make_setup(environment, agent, fluid, alpha, beta, controller or ())
    known = setup.controllers()
    stretch = None if begin is None and end is None else _stretch(setup.definition(), begin, end)
    experiment = _experiment(setup, window, part, suite, stretch, windows, seeds)
    if stretch and windows is None:
        _say_left_out(stretch, experiment.trials[0].scenario.window)
    default = default_folder("compare", setup, experiment.subject, windows=windows, seeds=seeds)
    folder = run_folder(out_folder, default, {"": experiment}, say)
    with Bars() as bars:
        comparison = judge(experiment, folder, make_pool(workers, ray_address), bars)
    findings = find(comparison, known)
    paths = findings.write(folder, "comparison")
    if len(comparison.played) == 1:
        from ipa_rl.report.pictures import draw_comparison

        try:
            paths += draw_comparison(comparison, known, folder)
        except MissingExtraError as error:
            say(f"note: no pictures: {error}")
    if json:
        print_json(findings.as_json())
    else:
        print_findings(findings, _size(findings), known.shown)
    say_notes(setup)
    save_note(paths)
    say(f"a page to look at: ipa-rl report {folder}")


def _stretch(definition: Definition, begin: str | None, end: str | None) -> tuple[int, int]:
    """The seconds of the workload that --from and --to mean."""
    workload = definition.workload
    first = 0 if begin is None else second_of(workload, begin, "--from")
    last = len(workload.loads) if end is None else second_of(workload, end, "--to")
    if first >= last:
        raise InputError("lies before --from", field="--to", fix="give a later moment")
    return first, last


def _say_left_out(stretch: tuple[int, int], played: Window) -> None:
    """That a stretch is shorter than was asked for."""
    left_out_s = stretch[1] - stretch[0] - (len(played.arrivals) - played.history_s)
    if left_out_s:
        say(f"note: {left_out_s} s of it are left out: they were not recorded, or are the history before it")


def _experiment(
    setup: Setup,
    window: str | None,
    part: JudgedPart | None,
    suite: str | None,
    stretch: tuple[int, int] | None,
    most: int | None,
    seeds: int | None,
) -> Experiment:
    """What the options ask for. Raises InputError where they contradict each other."""
    options = {"--window": window, "--part": part, "--suite": suite, "--from and --to": stretch}
    given = [option for option, value in options.items() if value is not None]
    if most is not None and (window or suite):
        given.append("--windows")
    if len(given) > 1:
        raise InputError("cannot be combined", field=" and ".join(given), fix="give one of them")
    definition = setup.definition()
    if suite:
        return Experiment(f"{suite} suite", setup, stress_trials(definition, seeds or SEEDS))
    if stretch:
        found = stretch_scenarios(definition, *stretch, most)
        subject = "{} to {}".format(*(said(definition.workload, one) for one in stretch))
        return Experiment(subject, setup, repeated(setup, found, seeds))
    named = next(iter(definition.workload.description.windows), None)
    if part or most is not None or not (window or named):
        if part is None and most is None:
            most = affordable(definition.windows("test"), FEW_REQUESTS)
        found = part_scenarios(definition, part or "test", most)
        return Experiment(f"{part or 'test'} part", setup, repeated(setup, found, seeds))
    scenario = named_scenario(definition, window or str(named))
    return Experiment(f"{scenario.name} window", setup, trials([scenario], seeds or SEEDS))


def _size(findings: Findings) -> str:
    """How much was compared, in words."""
    size = f"{findings.scenarios} windows" if findings.scenarios > 1 else findings.subject
    if findings.seeds > 1:
        size += f" x {findings.seeds} seeds"
    return f"{size}, {findings.simulator} simulator"
