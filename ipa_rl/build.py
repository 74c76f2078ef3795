"""Agents from nothing to their cards: opponents, training, evaluation, report.

The policy for any pipeline is fitted to the environment; or, by PpoBuild, seeds of a policy of its own are
trained and one of them is chosen.

Every step leaves its files in the folder of the build, and what is there is not done again.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ipa_rl import resources
from ipa_rl.agents.opponents import PROGRAM, best_program, best_real
from ipa_rl.agents.opponents_file import read_opponents, read_tuned, why_untuned, write_opponents
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.agents.universal import SCORER, UNIVERSAL
from ipa_rl.documents import load_json
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import lasting_name, load_definition
from ipa_rl.errors import InputError
from ipa_rl.files import is_file
from ipa_rl.fine_tuning import fine_tune
from ipa_rl.judge.comparison import FIGURES, Comparison, compare
from ipa_rl.judge.evaluation import Evaluation, evaluate
from ipa_rl.judge.experiment import Experiment, Setup, repeated, trials
from ipa_rl.judge.pools import Pool
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind, named_scenario, part_scenarios
from ipa_rl.judge.stress import Endured, endured, overrun, stress_trials
from ipa_rl.judge.tuning import Validation, tune, usual_windows
from ipa_rl.progress import Bars, Silent
from ipa_rl.report.card import write_card
from ipa_rl.report.card_training import beaten_at, read_beside
from ipa_rl.report.pictures import draw_curves, draw_front
from ipa_rl.report.pyplot import load_pyplot
from ipa_rl.result_files import output_folder, write_json
from ipa_rl.training.checkpoints import Checkpoint, best_of_parts, choose, read_log
from ipa_rl.training.hyperparameters import load_hyperparameters, save_hyperparameters
from ipa_rl.training.new_agent import STEPS, new_hyperparameters
from ipa_rl.training.run import export, find_agent, train
from ipa_rl.workload.fit import check_own, check_step, fit
from ipa_rl.workload.forecasters import AUTOREGRESSIVE, is_available

SHIPPED = (
    SCORER, "fine-tuning.json", "opponents.json", "window.json", "front.json", "front.png", "card.md"
)  # fmt: skip
"""Files of a fine-tuned agent's folder that ship."""

WRITTEN_BESIDE = ("ablation.json", "search.json", "attempts.md")
"""Files that a card shows and others make: `ipa-rl ablate`, `ipa-rl search`, and a hand."""

_CHOICE_DRAW = 100
"""The first draw of the stress suite that is chosen by; reports begin at 0."""

_WINDOW_SEEDS = 10

_FIT_EPOCHS = 10
"""Passes over the train part when a build fits forecasters; `ipa-rl workload fit` makes more."""

_WATCHED_S = 5.0
"""Seconds between two looks at how far training is."""
FRONT_FACTORS: tuple[float, ...] = (0.1, 1.0, 10.0, 30.0)
"""On alpha: preferences that the policy for any pipeline is asked for."""
FRONT_FORECASTERS = tuple(
    f"{PROGRAM} {kind}" for kind in ("window-max", "moving-average", "clock", "quantile")
)
"""The program is tuned anew for each preference, over these forecasters."""

FRONT_TUNING_WINDOWS = 40


@dataclass(frozen=True)
class PpoBuild:
    """How policies of their own are trained.

    ``seeds``: runs of each; ``candidates``: checkpoints of each seed that are judged; ``steps``: of each run,
    instead of the hyperparameters'.
    """

    seeds: int
    candidates: int
    steps: int | None = None


@dataclass(frozen=True)
class Built:
    """An agent that is built: its source, the folder of its build, and the environment it is for.

    ``given``: what it is built from, an agent's folder or an environment. ``steps``: of training, instead of
    the file's.
    """

    source: Path
    folder: Path
    environment: str
    given: Path | None = None
    steps: int | None = None

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.name

    def setup(self, agent: Path | None = None, only: tuple[str, ...] | None = None) -> Setup:
        """For the judge; ``agent``: a folder with a policy; ``only``: names of controllers."""
        folder = agent.resolve() if agent else None
        return Setup(self.environment, folder, SimulatorKind.request_level, only)

    def steps_of_a_run(self) -> int:
        """How long each seed trains."""
        return self.steps or load_hyperparameters(self.source / "hyperparameters.yaml").ppo.total_steps

    def run(self, seed: int) -> Path:
        """Where a seed trains."""
        return self.folder / f"seed-{seed}"

    def candidate(self, seed: int, step: int) -> Path:
        """The folder of a checkpoint that may ship."""
        return self.run(seed) / f"step-{step}"


def build(
    names: Sequence[str],
    out: Path,
    pool: Pool,
    *,
    draws: int,
    windows: int | None,
    front_windows: int,
    ship: bool,
    ppo: PpoBuild | None = None,
) -> Iterator[Path]:
    """Build agents for environments in folders of ``out``; the card of each as soon as it is there.

    ``draws``: of each scenario of the stress suite. ``windows``: of the test part at most, by default
    `usual_windows`; ``front_windows``: for each other preference, 0 for none of them. ``ship``: put
    fine-tuned ones where the shipped agents are. ``ppo``: train policies of their own; then ``names`` may be
    agents or their folders, whose hyperparameters are taken, and for an environment's file they are made.
    Raises InputError where there is no such environment or agent.
    """
    load_pyplot()  # the card's pictures come last: what they need is told before hours of work
    agents = [begin(name, out, ppo) for name in names]
    for agent in agents:
        tune_opponents(agent, pool)
    if ppo is not None:
        train_seeds(agents, ppo.seeds, pool)
    for agent in agents:
        if ppo is None:
            fit_policy(agent, pool)
        else:
            choose_seed(agent, ppo.seeds, ppo.candidates, draws, pool)
            draw_training(agent)
        if front_windows and not (agent.folder / "front.json").is_file():
            measure_front(agent.setup(agent.folder), agent.folder, front_windows, pool)
        write_report(agent, windows, draws, pool)
        for file in SHIPPED if ship and ppo is None else ():
            (resources.folder("agents") / agent.name / file).unlink(missing_ok=True)
            _copy(agent.folder, resources.folder("agents") / agent.name, file)
        yield agent.folder / "card.md"


def begin(name: str, out: Path, ppo: PpoBuild | None) -> Built:
    """The agent that is to be built for an environment, or with ``ppo`` from an agent's hyperparameters.

    Raises InputError where its folder holds another build.
    """
    if ppo is None:
        definition = load_definition(name)
        fit_forecasters(definition)
        folder = output_folder(out / definition.name)
        begun = Built(folder, folder, lasting_name(name))
    elif is_file(Path(name)):
        begun = _new_agent(Path(name), out, ppo.steps)
    else:
        source = find_agent(name)
        environment = load_hyperparameters(source / "hyperparameters.yaml").environment
        fit_forecasters(load_definition(environment))
        begun = Built(source, output_folder(out / source.resolve().name), environment, source, ppo.steps)
    if is_file(begun.folder / ("policy.npz" if ppo is None else "fine-tuning.json")):
        fix = "give another --out, or delete the folder to build fresh"
        raise InputError(
            f"holds a build {'with' if ppo is None else 'without'} --ppo", file=begun.folder, fix=fix
        )
    path = begun.folder / "opponents.json"
    reason = why_untuned(path, load_definition(begun.environment)) if path.is_file() else ""
    if reason:
        fix = "give another --out, or delete the folder to build fresh"
        raise InputError(f"holds opponents of another build: {reason}", file=begun.folder, fix=fix)
    return begun


def _new_agent(file: Path, out: Path, steps: int | None) -> Built:
    """An agent's folder for an environment, with hyperparameters that fit it; those that are there stay."""
    definition, environment = load_definition(file), str(file.resolve())
    fit_forecasters(definition)
    folder = output_folder(out / definition.name)
    path = folder / "hyperparameters.yaml"
    if not path.is_file():
        save_hyperparameters(new_hyperparameters(environment, definition, steps or STEPS), path)
    known = load_hyperparameters(path).environment
    if Path(known).resolve() != file.resolve():
        fix = "give another --out, or rename your file"
        raise InputError(f"holds an agent of {known}", file=folder, fix=fix)
    return Built(folder, folder, environment, file, steps)


def fit_forecasters(definition: Definition) -> None:
    """Fit what forecasters know of a user's own workload, the LSTM aside, where nothing was fitted.

    Where the workload is too short for that, the general ones do, and opponents are fewer.
    """
    workload, step_s = definition.workload, definition.step_s
    if workload.folder is None or is_available(AUTOREGRESSIVE, workload, step_s):
        return
    with Bars() as bars:
        try:
            check_own(workload)
            check_step(workload, step_s)
        except InputError as error:
            bars.say(f"note: no forecasters are fitted: {error}")
            return
        bars.say(f"{workload.name}: forecasters")
        fit(workload, [step_s], bars, lstm=False, seed=0, epochs=_FIT_EPOCHS)


def tune_opponents(agent: Built, pool: Pool) -> None:
    """Leave opponents.json."""
    path, definition = agent.folder / "opponents.json", load_definition(agent.environment)
    if path.is_file():
        return
    with Bars() as bars:
        bars.say(f"{agent.name}: opponents")
        write_opponents(tune(Validation(agent.setup()), pool, bars), definition, path)


def fit_policy(agent: Built, pool: Pool) -> None:
    """Leave fine-tuning.json, and the policy that ships fitted to the environment where it is better so."""
    if (agent.folder / "fine-tuning.json").is_file():
        return
    with Bars() as bars:
        bars.say(f"{agent.name}: the policy")
        found = fine_tune(agent.environment, agent.folder, pool, bars)
        if not found.is_better:
            bars.say(
                f"{agent.name}: not better by more than chance: the policy that ships stands in its place"
            )


def train_side_by_side(source: Path, work: Path, seeds: int, steps: int | None, pool: Pool) -> list[Path]:
    """Train seeds of one agent, and nothing else; the folder of each within ``work``."""
    environment = load_hyperparameters(source / "hyperparameters.yaml").environment
    agent = Built(source, output_folder(work), environment, source, steps)
    _copy(source, work, "opponents.json")
    train_seeds([agent], seeds, pool)
    return [agent.run(seed) for seed in range(seeds)]


def train_seeds(agents: Sequence[Built], seeds: int, pool: Pool) -> None:
    """Train all seeds of all agents side by side."""
    runs = [(agent, seed) for agent in agents for seed in range(seeds)]
    missing = [(agent, seed) for agent, seed in runs if not (agent.run(seed) / "training.json").is_file()]
    if not missing:
        return
    done = threading.Event()
    with Bars() as bars, ThreadPoolExecutor(1) as watch:
        watch.submit(_watch, runs, bars, done)
        try:
            for _ in pool.each(_train_one, missing):
                pass
        finally:
            done.set()


def _watch(runs: Sequence[tuple[Built, int]], bars: Bars, done: threading.Event) -> None:
    """Show how many of all steps the runs have left behind, as their checkpoints say, until it is done."""
    most = [agent.steps_of_a_run() for agent, _ in runs]
    while not done.wait(_WATCHED_S):
        logs = [read_log(agent.run(seed) / "checkpoints.json") for agent, seed in runs]
        steps = [min(log[-1].step, total) if log else 0 for log, total in zip(logs, most, strict=True)]
        bars.advance("train, steps", sum(steps), sum(most))


def _train_one(run: tuple[Built, int]) -> None:
    agent, seed = run
    work, tuned = agent.run(seed), agent.folder / "opponents.json"
    is_tuned = not why_untuned(tuned, load_definition(agent.environment))
    steps = {} if agent.steps is None else {"ppo.total_steps": agent.steps}
    train(
        agent.source,
        work,
        read_opponents(tuned) if is_tuned else [],
        Silent(),
        lambda text: None,
        changes={"seed": seed, **steps},
        resume=(work / "checkpoints.json").is_file(),
    )


def choose_seed(agent: Built, seeds: int, candidates: int, draws: int, pool: Pool) -> None:
    """Leave the best checkpoint of the best seed: policy.npz, training.json and hyperparameters.yaml.

    All candidates are in ``seeds.json``: the best ones of each seed, by the fluid simulator, one in each of
    equal parts of its run. Of those that overrun the best opponent in the fewest scenarios of the stress
    suite, on draws that no report uses, one is chosen by the rule for checkpoints, on the validation part.
    """
    if (agent.folder / "seeds.json").is_file():
        return
    opponents = read_tuned(agent.folder / "opponents.json", load_definition(agent.environment))
    best = best_real(opponents)
    place = output_folder(agent.folder / "rival")  # its own: controllers of a folder are loaded once
    _copy(agent.folder, place, "opponents.json")
    rival = _stress(agent.setup(place, (best.name,)), draws, place, best.name, pool)
    rows = []
    for seed in range(seeds):
        training = read_beside(agent.run(seed), "training.json")
        log = read_log(agent.run(seed) / "checkpoints.json")
        for one in best_of_parts(log, (training["rival"], training["program"]), candidates):
            rows.append(_judge_candidate(agent, seed, one.step, training, draws, rival, pool))
    fewest = min(len(row["overruns"]) for row in rows)
    left = [row for row in rows if len(row["overruns"]) == fewest]
    points = [Checkpoint(row["step"], *(row[name] for name in FIGURES)) for row in left]
    chosen = choose(points, [one.validation for one in (best, best_program(opponents))])
    shipped = next(row for row, point in zip(left, points, strict=True) if point is chosen)
    for row in rows:
        row["shipped"] = row is shipped
    for file in ("hyperparameters.yaml", "policy.npz", "training.json"):
        _copy(agent.candidate(shipped["seed"], shipped["step"]), agent.folder, file)
    write_json(rows, agent.folder / "seeds.json")


def _judge_candidate(
    agent: Built,
    seed: int,
    step: int,
    training: dict[str, Any],
    draws: int,
    rival: list[Endured],
    pool: Pool,
) -> dict[str, Any]:
    """Its figures over the validation windows, and the scenarios in which it overruns the rival."""
    place = output_folder(agent.candidate(seed, step))
    export(agent.run(seed), {**training, "chosen_step": step}, place)
    setup, title = agent.setup(place, (AGENT_NAME,)), f"{agent.name} seed-{seed} {place.name}"
    scenarios = [Scenario(one) for one in Validation(agent.setup()).windows()]
    validated = _compare(
        Experiment(title, setup, repeated(setup, scenarios)), place / "validation", pool
    ).rows()[0]
    endures = _stress(setup, draws, place / "stress", title, pool)
    passed = beaten_at(training, "program")
    return {
        "seed": seed,
        "step": step,
        **{name: validated[name] for name in FIGURES},
        "passed_s": passed and passed["wall_s"],
        "draws": draws,
        "overruns": overrun(endures + rival, AGENT_NAME, rival[0].controller),
    }


def _stress(setup: Setup, draws: int, folder: Path, title: str, pool: Pool) -> list[Endured]:
    """What a controller endures, on the draws that are chosen by."""
    drawn = stress_trials(setup.definition(), draws, _CHOICE_DRAW)
    return endured(_compare(Experiment(f"stress {title}", setup, drawn), folder, pool))


def draw_training(agent: Built) -> None:
    """Curves of the seeds; what others made beside the source stands beside the agent."""
    folder = agent.folder
    for name in WRITTEN_BESIDE:
        _copy(agent.source, folder, name)
    seeds = sorted({one["seed"] for one in read_beside(folder, "seeds.json")})
    trainings = [read_beside(agent.run(seed), "training.json") for seed in seeds]
    draw_curves(agent.name, trainings, folder / "curve.png")


def write_report(agent: Built, windows: int | None, draws: int, pool: Pool) -> None:
    """Evaluation and card."""
    folder = agent.folder
    setup = agent.setup(folder)
    named = next(iter(setup.definition().workload.description.windows), None)
    if named is not None and not (folder / "window.json").is_file():
        played = trials([named_scenario(setup.definition(), named)], _WINDOW_SEEDS)
        experiment = Experiment(f"{named} window", setup, played)
        rows = _compare(experiment, folder / "window", pool).rows()
        write_json({"window": named, "seeds": _WINDOW_SEEDS, "rows": rows}, folder / "window.json")
    windows = windows or usual_windows(setup.definition())
    place = output_folder(folder / "test")
    if not (place / "evaluation.json").is_file():
        with Bars() as bars:
            evaluate(setup, "test", windows, draws, place, pool, bars)
    evaluation = load_json(place / "evaluation.json", Evaluation, "delete it, and build again")
    write_card(setup, evaluation, folder / "card.md", agent.given)


def measure_front(setup: Setup, folder: Path, most: int, pool: Pool) -> None:
    """On the test part: a policy under other preferences, beside the program tuned for each.

    One of PPO under those that it learned; else the policy for any pipeline, as it ships.
    """
    definition, who, factors = setup.definition(), UNIVERSAL, FRONT_FACTORS
    if is_file(folder / "policy.npz"):
        learned = load_hyperparameters(folder / "hyperparameters.yaml").randomisation
        who, factors = AGENT_NAME, tuple(learned.preferences)
    beta = definition.weights.beta
    most = min(most, usual_windows(definition))
    rows, played = [], repeated(setup, part_scenarios(definition, "test", most))
    for alpha in (factor * definition.weights.alpha for factor in sorted({1.0, *factors})):
        preferring = replace(setup, preference=(alpha, beta))
        with Bars() as bars:
            opponents = tune(Validation(preferring, FRONT_TUNING_WINDOWS), pool, bars, FRONT_FORECASTERS)
        place = output_folder(folder / "front" / f"{alpha:g}-{beta:g}")
        tuned = (place / "opponents.json").resolve()
        write_opponents(opponents, preferring.definition(), tuned)
        program = best_program(opponents)
        pair = replace(preferring, opponents=tuned, only=(who, program.name))
        compared = _compare(Experiment(f"alpha {alpha:g}, beta {beta:g}", pair, played), place, pool)
        agent, programmed = compared.rows()
        rows.append(
            {
                "alpha": alpha,
                "beta": beta,
                "agent": agent,
                "program": programmed,
                "margin": program.margin,
                "paired": {name: compared.paired(who, program.name, name) for name in FIGURES},
            }
        )
    front = {"part": "test", "who": who, "windows": len(compared.played), "rows": rows}
    write_json(front, folder / "front.json")
    draw_front(setup.environment, who, rows, folder / "front.png")


def _compare(experiment: Experiment, folder: Path, pool: Pool) -> Comparison:
    with Bars() as bars:
        return compare(experiment, output_folder(folder), pool, bars)


def _copy(source: Path, place: Path, name: str) -> None:
    """A file into another folder, where there is one."""
    if (source / name).is_file() and source.resolve() != place.resolve():
        shutil.copy(source / name, place / name)
