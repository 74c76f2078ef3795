"""``ipa-rl build``: agents from nothing to their cards: opponents, seeds, choice, evaluation."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ipa_rl import resources
from ipa_rl.agents.opponents import best_program, best_real, read_opponents, write_opponents
from ipa_rl.cli.compare import Part
from ipa_rl.cli.evaluate import assess
from ipa_rl.cli.judging import DRAWS, Draws, Most, Workers, judge, part_scenarios
from ipa_rl.cli.outputs import output_folder
from ipa_rl.cli.tables import err, save_note
from ipa_rl.clusters import Kind, Scenario
from ipa_rl.evaluation.card import write_card
from ipa_rl.evaluation.card_training import read_beside
from ipa_rl.evaluation.controllers import AGENT_NAME
from ipa_rl.evaluation.curves import beaten_at, draw_curves
from ipa_rl.evaluation.front import draw_front, measure_front
from ipa_rl.evaluation.jobs import Setup, make_jobs
from ipa_rl.evaluation.pools import Pool, make_pool
from ipa_rl.evaluation.stress import Endured, endured, overrun, stress_jobs
from ipa_rl.evaluation.tables import write_json
from ipa_rl.evaluation.tuning import Validation, tune
from ipa_rl.progress import Bars, Silent
from ipa_rl.workload.quantiles import HISTORY_S
from ipa_rl.workload.trace import paper_window

SHIPPED = (
    "hyperparameters.yaml", "policy.npz", "opponents.json", "training.json", "seeds.json", "front.json",
    "bursty.json", "card.md", "curve.png", "front.png",
)  # fmt: skip
"""Files of an agent's folder that ship."""

WRITTEN_BESIDE = ("ablation.json", "search.json", "attempts.md")
"""Files that a card shows and others make: `ipa-rl ablate`, `ipa-rl search`, and a hand."""

_BURSTY_SEEDS = 10
_CHOICE_DRAW = 100
"""The first draw of the stress suite that a seed is chosen by; reports begin at 0."""


@dataclass(frozen=True)
class _Agent:
    """An agent that is built: its source, its folder of the build, and the environment it is for."""

    source: Path
    folder: Path
    environment: str

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    def setup(self, agent: Path | None = None) -> Setup:
        """For the judge; ``agent``: a folder with a policy."""
        return Setup(self.environment, agent.resolve() if agent else None, Kind.request_level)


@dataclass(frozen=True)
class _Run:
    """One seed of one agent."""

    agent: _Agent
    seed: int

    @property
    def work(self) -> Path:
        """Where it trains."""
        return self.agent.folder / f"seed-{self.seed}"


def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Agents or their folders; all by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each agent.")] = 5,
    windows: Most = None,
    draws: Draws = DRAWS,
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

    agents = [_agent(find_agent(name), out) for name in names or resources.shipped_names("agents")]
    pool = make_pool(workers, None)
    for agent in agents:
        _tune(agent, pool)
    _train(agents, seeds, pool)
    for agent in agents:
        _choose(agent, seeds, draws, pool)
        _report(agent, windows, draws, front_windows, pool)
        if ship:
            _ship(agent.folder, resources.folder("agents") / agent.name)
        save_note([agent.folder / "card.md"])


def _agent(source: Path, out: Path) -> _Agent:
    from ipa_rl.training.hyperparameters import load_hyperparameters

    environment = load_hyperparameters(source / "hyperparameters.yaml").environment
    return _Agent(source, output_folder(out / source.resolve().name), environment)


def _tune(agent: _Agent, pool: Pool) -> None:
    path = agent.folder / "opponents.json"
    if path.is_file():
        return
    err.print(f"{agent.name}: opponents", soft_wrap=True)
    with Bars() as bars:
        write_opponents(tune(Validation(agent.setup()), pool, bars), path)


def _train(agents: list[_Agent], seeds: int, pool: Pool) -> None:
    """All seeds of all agents side by side."""
    runs = [_Run(agent, seed) for agent in agents for seed in range(seeds)]
    missing = [run for run in runs if not (run.work / "training.json").is_file()]
    with Bars() as bars:
        bars.advance("train", len(runs) - len(missing), len(runs))
        for count, _ in enumerate(pool.each(_train_one, missing), start=len(runs) - len(missing) + 1):
            bars.advance("train", count, len(runs))


def _train_one(run: _Run) -> None:
    from ipa_rl.training.run import train

    train(
        run.agent.source,
        run.work,
        read_opponents(run.agent.folder / "opponents.json"),
        Silent(),
        lambda text: None,
        changes={"seed": run.seed},
        resume=(run.work / "checkpoints.json").is_file(),
    )


def _choose(agent: _Agent, seeds: int, draws: int, pool: Pool) -> None:
    """The seed to ship, by the rule that chose the checkpoints, on the validation part in the judge.

    Only those take part that overrun the best opponent in the fewest scenarios of the stress suite, on draws
    that no report uses.
    """
    from ipa_rl.training.checkpoints import Checkpoint, choose

    if (agent.folder / "seeds.json").is_file():
        return
    opponents = read_opponents(agent.folder / "opponents.json")
    rivals = [one.validation for one in (best_real(opponents), best_program(opponents))]
    found = [_validated(_Run(agent, seed), draws, pool) for seed in range(seeds)]
    fewest = min(len(one["overruns"]) for one in found)
    points = {
        seed: Checkpoint(0, r["utility"], r["pas_x100"], r["cores"], r["violations"])
        for seed, r in enumerate(found)
        if len(r["overruns"]) == fewest
    }
    best = choose(list(points.values()), rivals)
    shipped = next(seed for seed, point in points.items() if point is best)
    found[shipped]["shipped"] = True
    for file in ("hyperparameters.yaml", "policy.npz", "training.json"):
        shutil.copy(_Run(agent, shipped).work / file, agent.folder / file)
    write_json(found, agent.folder / "seeds.json")


def _validated(run: _Run, draws: int, pool: Pool) -> dict[str, Any]:
    """Figures of one seed over the validation windows, and when it passed the best program."""
    scenarios = [Scenario(one) for one in Validation(run.agent.setup()).windows()]
    setup = replace(run.agent.setup(run.work), only=(AGENT_NAME,))
    place = output_folder(run.work / "validation")
    row = judge(f"{run.agent.name} {run.seed}", setup, make_jobs(scenarios, 1), place, pool).rows()[0]
    passed = beaten_at(read_beside(run.work, "training.json"), "program")
    figures = {one: row[one] for one in ("utility", "pas_x100", "cores", "violations")}
    return {
        "seed": run.seed,
        **figures,
        "passed_s": passed and passed["wall_s"],
        "overruns": _overruns(run, draws, pool),
        "shipped": False,
    }


def _overruns(run: _Run, draws: int, pool: Pool) -> list[str]:
    """The scenarios of the stress suite in which a seed overruns the best opponent, on draws of their own."""
    setup = run.agent.setup(run.work)
    known = setup.controllers()
    rival = known.best_opponent.name
    jobs = stress_jobs(known.definition, draws, _CHOICE_DRAW)
    place = output_folder(run.work / "stress")
    pair = replace(setup, only=(AGENT_NAME, rival))
    return overrun(
        endured(judge(f"stress {run.agent.name} {run.seed}", pair, jobs, place, pool)), AGENT_NAME, rival
    )


def _report(agent: _Agent, windows: int | None, draws: int, front_windows: int, pool: Pool) -> None:
    """Evaluation, front, pictures and card."""
    folder = agent.folder
    for name in WRITTEN_BESIDE:
        if (agent.source / name).is_file():
            shutil.copy(agent.source / name, folder / name)
    setup = agent.setup(folder)
    seeds = read_beside(folder, "seeds.json")
    trainings = [read_beside(_Run(agent, one["seed"]).work, "training.json") for one in seeds]
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
    write_card(setup.controllers(), content, stress, folder / "card.md")


def _bursty(setup: Setup, folder: Path, pool: Pool) -> None:
    jobs = make_jobs([Scenario(paper_window("bursty", HISTORY_S))], _BURSTY_SEEDS)
    rows = judge("bursty window", setup, jobs, output_folder(folder / "bursty"), pool).rows()
    write_json({"seeds": _BURSTY_SEEDS, "rows": rows}, folder / "bursty.json")


def _front(setup: Setup, folder: Path, most: int, pool: Pool) -> None:
    from ipa_rl.training.hyperparameters import load_hyperparameters

    factors = load_hyperparameters(folder / "hyperparameters.yaml").randomisation.preferences
    weights = setup.definition().weights
    preferences = [(factor * weights.alpha, weights.beta) for factor in sorted({1.0, *factors})]
    scenarios = part_scenarios(Part.test.value, most)
    with Bars() as bars:
        front = measure_front(setup, preferences, scenarios, folder / "front", pool, bars)
    content = {"part": Part.test.value, "windows": len(scenarios), "rows": [asdict(one) for one in front]}
    write_json(content, folder / "front.json")
    draw_front(setup.environment, front, folder / "front.png")


def _ship(folder: Path, place: Path) -> None:
    for file in SHIPPED:
        if (folder / file).is_file():
            shutil.copy(folder / file, place / file)
