"""The card of an agent: it claims what is known, and its commands are commands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from ipa_rl import resources
from ipa_rl.agents import State
from ipa_rl.agents.opponents import MEASURED, Opponent, untuned
from ipa_rl.agents.opponents_file import write_opponents
from ipa_rl.agents.own import own_controller
from ipa_rl.cli import app
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.judge.comparison import FIGURES
from ipa_rl.judge.evaluation import Evaluation
from ipa_rl.judge.experiment import Setup
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.judge.stress import SUITE, Endured
from ipa_rl.report.card import write_card
from tests.pipelines import write_environment
from tests.policies import ppo_folder

VIDEO = load_definition("video")
STAGES = {"detect": ["small", "large"], "<i>classify</i>": ["small", "large"]}


def evaluated(setup: Setup) -> Evaluation:
    """An evaluation in which the agent, where there is one, has the lowest utility of all."""
    names = setup.controllers().names()
    rows = [
        {
            "controller": name,
            **dict.fromkeys(FIGURES, float(k)),
            **{f"{figure}_95": (float(k), float(k)) for figure in FIGURES},
            **dict.fromkeys(("p50_s", "p99_s", "decide_p99_ms", "fallbacks"), 0.1),
        }
        for k, name in enumerate(names)
    ]
    return Evaluation(
        environment="mine",
        subject="validation part",
        simulator=setup.kind.value,
        scenarios=3,
        seeds=1,
        opponents_tuned=setup.controllers().tuned,
        intervals_over="windows",
        rows=rows,
        stress=[Endured(one.name, name, 1.0, 0.0, 0.0, 2.0, 0.1) for one in SUITE for name in names],
        part="validation",
        windows=3,
        agent=names[0] if setup.controllers().policies else "",
        paired=[],
        stress_draws=2,
    )


def card(setup: Setup, place: Path, source: Path | None = None) -> str:
    """The text of a card."""
    write_card(setup, evaluated(setup), place / "card.md", source)
    return (place / "card.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """All that a card tells to type."""
    return [
        line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]


def parsed(command: str, made: set[str]) -> dict[str, Any]:
    """The options of a command, as the command line reads them; what it reads must be there or ``made``."""
    program, verb, *words = shlex.split(command)
    assert program == "ipa-rl"
    group: Any = typer.main.get_command(app)
    options: dict[str, Any] = group.commands[verb].make_context(verb, words).params
    for kind, name in (("envs", "environment"), ("agents", "agent")):
        given = str(options.get(name) or "")
        assert not given or given in made or resources.find(given, kind).exists()
    return options


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of one's own in the present folder, whose name needs quoting."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "my files"
    place.mkdir()
    return write_environment(place, STAGES)


@pytest.fixture
def agents(environment: Path) -> Path:
    """A folder of an agent that was trained with PPO, without opponents."""
    folder = environment.parent / "run"
    ppo_folder(folder)
    (folder / "opponents.json").unlink()
    shutil.copy(resources.folder("agents") / "video" / "hyperparameters.yaml", folder)
    judged = {"utility": 1.0, "pas_x100": 1.0, "cores": 1.0, "violations": 0.0}
    training = {"chosen_step": 100, "checkpoints": [{"step": 100, "wall_s": 1.0, **judged}]}
    (folder / "training.json").write_text(json.dumps(training), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "kept", [[], untuned(), [replace(one, validation={"utility": 0.0}) for one in untuned()]]
)
def test_untuned_opponents_give_no_verdict_and_no_best(agents: Path, kept: list[Opponent]) -> None:
    if kept:
        write_opponents(kept, VIDEO, agents / "opponents.json")
    setup = Setup("video", agents, SimulatorKind.fluid)
    known = setup.controllers()
    text = card(setup, agents)
    assert "not tuned" in known.note
    assert "None: the opponents are not tuned" in text
    assert not re.search("best (program|opponent)|Weak spots|\\| yes", text)


def test_a_tuned_file_is_told_from_one_in_which_somebody_is_not(agents: Path) -> None:
    figures = dict.fromkeys(MEASURED, 1.0)
    tuned = [replace(one, validation=figures) for one in untuned()]
    write_opponents(tuned, VIDEO, agents / "opponents.json")
    assert Setup("video", agents, SimulatorKind.fluid).controllers().tuned
    write_opponents([*tuned[:-1], replace(tuned[-1], validation={})], VIDEO, agents / "opponents.json")
    assert not Setup("video", agents, SimulatorKind.fluid, preference=(2.0, 1.0)).controllers().tuned


def test_a_card_where_none_was_trained_is_of_the_policy_for_any_pipeline(environment: Path) -> None:
    text = card(Setup(str(environment), None, SimulatorKind.fluid), environment.parent)
    assert text.startswith("# mine: universal")
    assert "PPO" not in text
    assert "&lt;i&gt;classify" in text
    (tune, evaluate) = commands(text)
    assert parsed(tune, set())["environment"] == "my files/mine.yaml"
    assert parsed(evaluate, set())["fluid"]


@pytest.mark.parametrize("kind", list(SimulatorKind))
@pytest.mark.parametrize("preference", [None, (30.0, 1.5)])
def test_the_commands_of_a_trained_agent_s_card_train_and_judge_it_so_again(
    agents: Path, kind: SimulatorKind, preference: tuple[float, float] | None
) -> None:
    record = json.loads((agents / "training.json").read_text(encoding="utf-8"))
    (agents / "training.json").write_text(json.dumps(record | {"validation_windows": 3}), encoding="utf-8")
    text = card(Setup("video", agents, kind, preference=preference), agents)
    tune, train, evaluate = commands(text)
    assert Path(parsed(tune, set())["out"]) == Path("my files/run/opponents.json")
    trained = parsed(train, set())
    assert (trained["name"], trained["ppo"], trained["validation_windows"]) == ("my files/run", True, 3)
    judged = parsed(evaluate, {str(trained["out"])})
    assert judged["agent"] == trained["out"] != agents
    assert (judged["part"], judged["windows"], judged["draws"]) == ("validation", 3, 2)
    assert judged["fluid"] is (kind is SimulatorKind.fluid)
    assert (judged["alpha"], judged["beta"]) == (preference or (None, None))


def test_a_built_agent_is_built_again_from_what_it_was_built_from(agents: Path, tmp_path: Path) -> None:
    judged = {"utility": 1.0, "pas_x100": 1.0, "cores": 1.0, "violations": 0.0}
    rest: dict[str, Any] = {**judged, "passed_s": None, "draws": 2, "overruns": [], "shipped": False}
    seeds = [{"seed": s, "step": k, **rest} for s in (0, 1) for k in (0, 1)]
    source = tmp_path / "source"
    shutil.copytree(agents, source)
    write_opponents(
        [replace(one, validation=dict.fromkeys(MEASURED, 1.0)) for one in untuned()],
        VIDEO,
        agents / "opponents.json",
    )
    shipped = resources.folder("agents") / "video"
    (agents / "training.json").unlink()
    (agents / "seeds.json").write_text(json.dumps(seeds), encoding="utf-8")
    for given, said in ((source, "source"), (None, "my files/run"), (shipped, "video")):
        (build,) = commands(card(Setup("video", agents, SimulatorKind.fluid), agents, given))
        options = parsed(build, set())
        assert options["names"] == [said]
        assert (options["seeds"], options["candidates"], options["draws"]) == (2, 2, 2)
        assert (options["out"] == Path("runs/agents")) is (said == "video")


def test_a_built_agent_that_was_judged_anew_on_other_draws_says_both(agents: Path) -> None:
    seed: dict[str, Any] = dict.fromkeys(("utility", "pas_x100", "cores", "violations"), 1.0)
    seed |= {"seed": 0, "passed_s": None, "draws": 20, "overruns": [], "shipped": True}
    (agents / "seeds.json").write_text(json.dumps([seed]), encoding="utf-8")
    (agents / "training.json").unlink()
    tuned = [replace(one, validation=dict.fromkeys(MEASURED, 1.0)) for one in untuned()]
    write_opponents(tuned, VIDEO, agents / "opponents.json")
    text = card(Setup("video", agents, SimulatorKind.fluid), agents)
    build, evaluate = (parsed(one, set()) for one in commands(text))
    assert (build["draws"], evaluate["draws"]) == (20, 2)


@pytest.mark.parametrize("name", resources.shipped_names("envs"))
def test_the_shipped_cards_hold_commands(name: str) -> None:
    text = (resources.folder("agents") / name / "card.md").read_text(encoding="utf-8")
    assert parsed(commands(text)[0], set())["names"] == [name]
    assert load_definition(name).name == name


def test_a_fine_tuned_agent_s_card_says_what_it_came_to_and_fits_it_again(environment: Path) -> None:
    folder = environment.parent / "fitted"
    folder.mkdir()
    shutil.copy(resources.folder("agents") / "universal" / "scorer.npz", folder)
    before = {"utility": 1.0, "pas_x100": 40.0, "cores": 3.0, "violations": 0.02}
    fitted = {"states": 32_400, "windows": 60, "before": before, "after": before | {"utility": 1.5}}
    fitted |= {"gain": 0.5, "gain_95": (0.25, 0.75), "took_s": 61.0}
    (folder / "fine-tuning.json").write_text(json.dumps(fitted), encoding="utf-8")
    text = card(Setup(str(environment), folder, SimulatorKind.request_level), folder)
    assert text.startswith("# mine: fine-tuned")
    assert "32,400 states under its own load, in 61 s" in text
    assert "+0.500 [+0.250, +0.750]" in text
    _, train, evaluate = commands(text)
    fits = parsed(train, set())
    assert (fits["name"], fits["ppo"]) == ("my files/mine.yaml", False)
    assert parsed(evaluate, {str(fits["out"])})["agent"] == fits["out"]


def test_users_controllers_are_evaluated_again_by_their_places(tmp_path: Path) -> None:
    class Idle:
        def decide(self, state: State) -> None: ...

    own = replace(own_controller(Idle, load_definition("video")), place="my file.py:Idle")
    setup = Setup("video", None, SimulatorKind.fluid, own=(own,))
    text = card(setup, tmp_path)
    (command,) = commands(text)
    assert parsed(command, set())["controller"] == ["my file.py:Idle"]
    assert "| Idle |" in text
