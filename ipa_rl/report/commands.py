"""Commands as their users type them: what repeats a result, and what is still to be done."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from ipa_rl import resources
from ipa_rl.agents.trained import AGENT_NAME
from ipa_rl.agents.windows import validation_windows
from ipa_rl.environment.definition_file import spelled
from ipa_rl.files import is_file
from ipa_rl.judge.evaluation import Evaluation
from ipa_rl.judge.experiment import Controllers, Setup
from ipa_rl.judge.simulated_cluster import SimulatorKind, part_scenarios
from ipa_rl.judge.tuning import usual_windows
from ipa_rl.report.card_training import read_beside

_AGAIN = "runs/again"


def typed(path: Path) -> str:
    """A path as it is typed in the present folder, quoted where a shell needs that."""
    whole, here = path.resolve(), Path.cwd()
    return shlex.quote(str(whole.relative_to(here) if whole.is_relative_to(here) else whole))


def environment_argument(environment: str) -> str:
    """A name, or a path; with the workload that takes the place of its own, where there is one."""
    return spelled(environment, lambda path, _: typed(Path(path)))


def agent_argument(folder: Path) -> str:
    """The name of a shipped agent, or its folder."""
    is_shipped = folder.resolve().parent == resources.folder("agents").resolve()
    return folder.name if is_shipped and folder.name in resources.shipped_names("agents") else typed(folder)


def tune_command(setup: Setup, known: Controllers) -> str:
    """What tunes the opponents of a comparison for the next one."""
    beside = known.folder if known.folder.is_dir() else Path("agents") / known.definition.name
    words = ["ipa-rl tune", environment_argument(setup.environment), *_preference(setup)]
    return " ".join([*words, "--out", typed(beside / "opponents.json")])


def repeat_commands(setup: Setup, evaluation: Evaluation, source: Path | None) -> list[str]:
    """What makes an agent and its evaluation again, beside the present ones.

    Where the user's own controllers were evaluated, the evaluation alone. ``source``: the folder that the
    agent was built from, where it was just built.
    """
    known = setup.controllers()
    folder = known.folder
    judge = _evaluate(setup, evaluation, typed(setup.agent) if setup.agent else None)
    if known.own:
        return [judge]
    if seeds := read_beside(folder, "seeds.json"):
        agent = agent_argument(source or folder)
        judged = Counter(one["seed"] for one in seeds)
        words = ["ipa-rl build", agent, "--ppo", "--seeds", len(judged), "--candidates", max(judged.values())]
        words += ["--draws", seeds[0]["draws"]]
        words += _front_windows(folder)
        words += _effort(known, evaluation, source)
        words += [] if agent in resources.shipped_names("agents") else ["--out", _AGAIN]
        was_judged_anew = evaluation.stress_draws != seeds[0]["draws"]
        return [" ".join(map(str, words)), *([judge] if was_judged_anew else [])]
    if is_file(folder / "fine-tuning.json"):
        environment = environment_argument(setup.environment)
        if is_file(folder / "opponents.json"):
            words = ["ipa-rl build", environment, "--draws", evaluation.stress_draws, *_front_windows(folder)]
            words += _fewer_windows(known, evaluation)
            words += [] if environment in resources.shipped_names("agents") else ["--out", _AGAIN]
            is_built = evaluation.part == "test" and setup.kind is not SimulatorKind.fluid
            build = " ".join(map(str, words))
            return [build] if is_built and setup.preference is None else [build, judge]
        return [f"ipa-rl train {environment} --out {_AGAIN}", _evaluate(setup, evaluation, _AGAIN)]
    if evaluation.agent != AGENT_NAME or not (folder / "hyperparameters.yaml").is_file():
        return [judge]
    again = _AGAIN if setup.agent else f"runs/{folder.name}"
    train = ["ipa-rl train", agent_argument(folder), "--ppo", "--out", again]
    played = (read_beside(folder, "training.json") or {}).get("validation_windows")
    if played is not None and played < len(validation_windows(known.definition)):
        train += ["--validation-windows", str(played)]
    return [" ".join(train), _evaluate(setup, evaluation, again)]


def _effort(known: Controllers, evaluation: Evaluation, source: Path | None) -> list[Any]:
    """What was less than usual; of an agent that was built from an environment, steps of its training."""
    words = _fewer_windows(known, evaluation)
    if source is None or not is_file(source):
        return words
    from ipa_rl.training.hyperparameters import load_hyperparameters  # training needs torch

    return [*words, "--steps", load_hyperparameters(known.folder / "hyperparameters.yaml").ppo.total_steps]


def _front_windows(folder: Path) -> list[Any]:
    front = read_beside(folder, "front.json")
    return ["--front-windows", front["windows"]] if front else []


def _fewer_windows(known: Controllers, evaluation: Evaluation) -> list[Any]:
    usual = usual_windows(known.definition)
    return ["--windows", evaluation.windows] if evaluation.windows < usual else []


def _evaluate(setup: Setup, evaluation: Evaluation, agent: str | None) -> str:
    words = ["ipa-rl evaluate", environment_argument(setup.environment)]
    words += ["--agent", agent] if agent else []
    words += ["--part", evaluation.part]
    if evaluation.windows < len(part_scenarios(setup.definition(), evaluation.part, None)):
        words += ["--windows", str(evaluation.windows)]
    words += ["--draws", str(evaluation.stress_draws)]
    words += ["--fluid"] if setup.kind is SimulatorKind.fluid else []
    words += [f"--controller {shlex.quote(one.place)}" for one in setup.own]
    return " ".join([*words, *_preference(setup)])


def _preference(setup: Setup) -> list[str]:
    if setup.preference is None:
        return []
    alpha, beta = setup.preference
    return ["--alpha", f"{alpha!r}", "--beta", f"{beta!r}"]
