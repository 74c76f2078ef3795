"""``ipa-rl build``: agents from nothing to their cards: opponents, seeds, choice, evaluation."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ipa_rl import resources
from ipa_rl.agents.opponents import read_tuned, write_opponents
from ipa_rl.cli.choice import Built, choose_seed
from ipa_rl.cli.compare import Part
from ipa_rl.cli.evaluate import assess
from ipa_rl.cli.judging import DRAWS, Draws, Most, Workers, judge, part_scenarios
from ipa_rl.cli.outputs import output_folder
from ipa_rl.cli.tables import err, save_note
from ipa_rl.interrupts import hinted
from ipa_rl.judge.jobs import Setup, make_jobs
from ipa_rl.judge.pools import Pool, make_pool
from ipa_rl.judge.preference_front import measure_front
from ipa_rl.judge.scenario import Scenario
from ipa_rl.judge.stress import Endured
from ipa_rl.judge.tuning import Validation, tune
from ipa_rl.progress import Bars, Silent
from ipa_rl.report.card import write_card
from ipa_rl.report.card_training import read_beside
from ipa_rl.report.curves import draw_curves
from ipa_rl.report.pictures import load_pyplot
from ipa_rl.report.preference_picture import draw_front
from ipa_rl.result_files import write_json
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import paper_window, scaled

SHIPPED = (
    "hyperparameters.yaml", "policy.npz", "opponents.json", "training.json", "seeds.json", "front.json",
    "bursty.json", "card.md", "curve.png", "front.png",
)  # fmt: skip
"""Files of an agent's folder that ship."""

WRITTEN_BESIDE = ("ablation.json", "search.json", "attempts.md")
"""Files that a card shows and others make: `ipa-rl ablate`, `ipa-rl search`, and a hand."""

_BURSTY_SEEDS = 10


def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Agents or their folders; all by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each agent.")] = 5,
    windows: Most = None,
    draws: Draws = DRAWS,
    candidates: Annotated[int, typer.Option(min=1, help="Checkpoints of each seed that are judged.")] = 1,
    front_windows: Annotated[int, typer.Option(min=2, help="Test windows for each preference.")] = 60,
    workers: Workers = None,
    out: Annotated[Path, typer.Option(help="Folder of the agents that are built.")] = Path("runs/agents"),
    ship: Annotated[bool, typer.Option("--ship", help="Put them where the shipped agents are.")] = False,
) -> None:
    """Tune opponents, train seeds, choose on validation, evaluate on test and under stress, write the cards.

    What is done is not done again: after a kill the same command goes on.

    Example: [bold]ipa-rl build video[/bold]
    """
    from ipa_rl.training.run import find_agent

    load_pyplot()  # the card's pictures come last: what they need is told before hours of work
    agents = [_agent(find_agent(name), out) for name in names or resources.shipped_names("agents")]
    pool = make_pool(workers, None)
    with hinted("the same command goes on"):
        for agent in agents:
            _tune(agent, pool)
        _train(agents, seeds, pool)
        for agent in agents:
            choose_seed(agent, seeds, draws, candidates, pool)
            _report(agent, windows, draws, front_windows, pool)
            if ship:
                _ship(agent.folder, resources.folder("agents") / agent.name)
            save_note([agent.folder / "card.md"])


def _agent(source: Path, out: Path) -> Built:
    from ipa_rl.training.hyperparameters import load_hyperparameters

    environment = load_hyperparameters(source / "hyperparameters.yaml").environment
    return Built(source, output_folder(out / source.resolve().name), environment)


def _tune(agent: Built, pool: Pool) -> None:
    path = agent.folder / "opponents.json"
    if path.is_file():
        return
    err.print(f"{agent.name}: opponents", soft_wrap=True)
    with Bars() as bars:
        write_opponents(tune(Validation(agent.setup()), pool, bars), path)


def _train(agents: list[Built], seeds: int, pool: Pool) -> None:
    """All seeds of all agents side by side."""
    runs = [(agent, seed) for agent in agents for seed in range(seeds)]
    missing = [(agent, seed) for agent, seed in runs if not (agent.run(seed) / "training.json").is_file()]
    with Bars() as bars:
        bars.advance("train", len(runs) - len(missing), len(runs))
        for count, _ in enumerate(pool.each(_train_one, missing), start=len(runs) - len(missing) + 1):
            bars.advance("train", count, len(runs))


def _train_one(run: tuple[Built, int]) -> None:
    from ipa_rl.training.run import train

    agent, seed = run
    work = agent.run(seed)
    train(
        agent.source,
        work,
        read_tuned(agent.folder / "opponents.json"),
        Silent(),
        lambda text: None,
        changes={"seed": seed},
        resume=(work / "checkpoints.json").is_file(),
    )


def _report(agent: Built, windows: int | None, draws: int, front_windows: int, pool: Pool) -> None:
    """Evaluation, front, pictures and card."""
    folder = agent.folder
    for name in WRITTEN_BESIDE:
        if (agent.source / name).is_file():
            shutil.copy(agent.source / name, folder / name)
    setup = agent.setup(folder)
    seeds = read_beside(folder, "seeds.json")
    trainings = [
        read_beside(agent.run(seed), "training.json") for seed in sorted({one["seed"] for one in seeds})
    ]
    draw_curves(agent.name, trainings, folder / "curve.png")
    if not (folder / "front.json").is_file():
        _front(setup, folder, front_windows, pool)
    if not (folder / "bursty.json").is_file():
        _bursty(setup, folder, pool)
    place = output_folder(folder / "test")
    if not (place / "evaluation.json").is_file():
        assess(setup, Part.test, windows, draws, place, pool)
    content = read_beside(place, "evaluation.json")
    stress = [Endured(**row) for row in content["stress"]]
    write_card(setup, content, stress, folder / "card.md", agent.source)


def _bursty(setup: Setup, folder: Path, pool: Pool) -> None:
    window = scaled(paper_window("bursty", HISTORY_S), setup.definition().workload.scale)
    jobs = make_jobs([Scenario(window)], _BURSTY_SEEDS)
    rows = judge("bursty window", setup, jobs, output_folder(folder / "bursty"), pool).rows()
    write_json({"seeds": _BURSTY_SEEDS, "rows": rows}, folder / "bursty.json")


def _front(setup: Setup, folder: Path, most: int, pool: Pool) -> None:
    from ipa_rl.training.hyperparameters import load_hyperparameters

    factors = load_hyperparameters(folder / "hyperparameters.yaml").randomisation.preferences
    definition = setup.definition()
    weights = definition.weights
    preferences = [(factor * weights.alpha, weights.beta) for factor in sorted({1.0, *factors})]
    scenarios = part_scenarios(Part.test.value, most, definition.workload.scale)
    with Bars() as bars:
        front = measure_front(setup, preferences, scenarios, folder / "front", pool, bars)
    content = {"part": Part.test.value, "windows": len(scenarios), "rows": [asdict(one) for one in front]}
    write_json(content, folder / "front.json")
    draw_front(setup.environment, front, folder / "front.png")


def _ship(folder: Path, place: Path) -> None:
    for file in SHIPPED:
        if (folder / file).is_file():
            shutil.copy(folder / file, place / file)
