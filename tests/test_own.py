"""A user's own controllers: found by name, made anew for each trial, checked; their faults in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.agents import Decision, State
from ipa_rl.agents.own import OwnController, own_controller
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.judge.comparison import Comparison, compare, read_comparison
from ipa_rl.judge.experiment import Experiment, make_setup, trials
from ipa_rl.judge.play import Played, play
from ipa_rl.judge.pools import Here, Pool, Processes, Ray
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.pipeline import Configuration, StageConfig
from tests.command_line import ipa_rl
from tests.scenarios import short, state
from tests.short_comparison import same_but_for_time

VIDEO = load_definition("video")
STEADY = state(np.full(300, 10.0), VIDEO)

TEXT = """
import ipa_rl

class Steady:
    name = "steady"

    def __init__(self, definition):
        self.definition = definition
        self.decided = 0

    def decide(self, state):
        print("thinking")
        self.decided += 1
        return ipa_rl.Decision(self.definition.best_for(10.0 + self.decided), 10.0)

class Doubled:
    def forecast(self, history_rps, clock_s):
        return 2 * history_rps[-1]

doubled = Doubled()

def made(definition):
    return Steady(definition)
"""


class Kept:
    """Needs nothing; keeps what runs in every stage."""

    def decide(self, state: State) -> Configuration:
        stages = zip(VIDEO.pipeline.stages, state.fleet["active"], state.fleet["batch"], strict=True)
        return Configuration(
            tuple(StageConfig(s.variants[v].name, s.variants[v].batches[k], 1) for s, v, k in stages)
        )


class Highest:
    def forecast(self, history_rps: FloatArray, clock_s: float) -> float:
        return float(history_rps.max())


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder, which Python forgets at the end."""
    (tmp_path / "my_controllers.py").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def decided(given: Any, seen: State = STEADY) -> Decision:
    return own_controller(given, VIDEO).build(VIDEO).decide(seen)


def played(found: OwnController) -> Played:
    return play(VIDEO, found.build(VIDEO), short("bursty"), SimulatorKind.fluid)


@pytest.mark.parametrize(
    ("place", "name", "planned_rps"),
    [
        ("my_controllers:Steady", "steady", 10.0),
        ("my_controllers:made", "steady", 10.0),
        ("my_controllers.py:Steady", "steady", 10.0),
        ("my_controllers:doubled", "ip doubled", 20.0),
        ("./my_controllers.py:Doubled", "ip Doubled", 20.0),
    ],
)
def test_a_class_a_function_and_an_object_are_found_by_module_or_file(
    place: str, name: str, planned_rps: float
) -> None:
    found = own_controller(place, VIDEO)
    assert found.name == name
    assert decided(place).planned_rps == planned_rps


@pytest.mark.parametrize("made_of", [Kept, Kept(), partial(Kept), lambda definition: Kept()])
def test_python_gives_a_class_an_object_or_what_makes_one(made_of: Any) -> None:
    assert decided(made_of).configuration == Kept().decide(STEADY)


def test_a_configuration_alone_was_planned_for_the_reference_load() -> None:
    assert decided(Kept).planned_rps == VIDEO.reference_rps(STEADY.history_rps)


def test_a_forecaster_becomes_the_integer_program_that_plans_for_its_forecasts() -> None:
    decision = decided(Highest)
    assert decision == Decision(VIDEO.best_for(10.0), 10.0)


def test_files_of_one_name_in_two_folders_are_two_modules(here: Path) -> None:
    for folder, planned_rps in (("one", 3.0), ("two", 7.0)):
        (here / folder).mkdir()
        text = TEXT.replace(", 10.0)", f", {planned_rps})")
        (here / folder / "mine.py").write_text(text, encoding="utf-8")
        assert decided(f"{folder}/mine.py:Steady").planned_rps == planned_rps


def test_each_trial_begins_with_a_new_one() -> None:
    for place in ("my_controllers:Steady", "my_controllers:made"):
        found = own_controller(place, VIDEO)
        assert np.array_equal(played(found).configured, played(found).configured)


def test_an_object_is_copied_for_each_trial() -> None:
    class Counting(Kept):
        count = 0

        def decide(self, state: State) -> Configuration:
            self.count += 1
            return super().decide(state)

    counting = Counting()
    played(own_controller(counting, VIDEO))
    assert counting.count == 0


def test_what_a_controller_writes_into_the_state_changes_nothing() -> None:
    class Scribbling(Kept):
        def decide(self, state: State) -> Configuration:
            found = super().decide(state)
            state.history_rps[:], state.queued[:], state.fleet["ready"] = 0.0, 1e6, 0
            return found

    honest, scribbling = (played(own_controller(one, VIDEO)) for one in (Kept, Scribbling))
    assert np.array_equal(honest.sums, scribbling.sums)


DECIDE = "    def decide(self, state): "

FAULTS = {
    "class C:\n    pass": "controller C: is a C without a method; fix: give it decide(state), or forecast(",
    "C = 3": "controller C: is 3; fix: give it decide(state)",
    "class D: pass": "has no 'C'; fix: it defines D",
    "import gone": "bad.py:1: controller bad.py:C: importing it raised ModuleNotFoundError: No module",
    "\nclass C(:": "bad.py:2: controller bad.py:C: importing it raised SyntaxError",
    f"class C:\n    def __init__(self, definition, gain): ...\n{DECIDE}...": (
        "bad.py:2: controller C: making it requires definition, gain; fix: let it require the definition"
    ),
    "class C:\n    def __init__(self):\n        1 / 0": (
        "bad.py:3: controller C: making it raised ZeroDivisionError: division by zero"
    ),
    f"class C:\n    name = 3\n{DECIDE}...": "controller C: its name is 3; fix: give a text",
    f"class C:\n{DECIDE}\n        return {{}}['gone']": (
        "bad.py:3: controller C: decide raised KeyError: 'gone'"
    ),
    f"class C:\n{DECIDE}exit(0)": "bad.py:2: controller C: decide raised SystemExit: 0",
    "class C:\n    def decide(self): ...": "bad.py:2: controller C: decide raised TypeError: C.decide()",
    f"class C:\n{DECIDE}...": (
        "bad.py:2: controller C: what decide gave is None; fix: return ipa_rl.Decision("
    ),
    f"from ipa_rl import *\nclass C:\n{DECIDE}return Configuration((('a', 1, 2),))": (
        "bad.py:3: controller C: what decide gave has a tuple for a stage; fix: give ipa_rl.StageConfig("
    ),
    f"from ipa_rl import *\nclass C:\n{DECIDE}return Configuration((StageConfig('a', 1, 2),))": (
        "bad.py:3: controller C: what decide gave: configuration has 1 stages; fix: give the 2 of video"
    ),
    "class C:\n    def forecast(self, history_rps, clock_s): return float('nan')": (
        "bad.py:2: controller C: what forecast gave is nan; fix: give a number"
    ),
    "class C:\n    def __init__(self, definition): self.definition = definition\n"
    f"{DECIDE}return self.definition.best_for(-1.0)": (
        "bad.py:3: controller C: decide raised InputError: load_rps: is -1.0"
    ),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_of_a_users_code_is_told_in_one_line_with_its_line(text: str, here: Path) -> None:
    (here / "bad.py").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        decided("bad.py:C")
    assert FAULTS[text] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("gone:C", "controller gone:C: no module 'gone'; fix: run the command in the folder that holds gone"),
        ("gone.py:C", "gone.py: controller gone.py:C: no such file; fix: give the path of a Python file"),
        ("my_controllers", "names no module and class; fix: give my_module:MyController"),
        ("my_controllers:", "names no module and class"),
        (
            "my_controllers:Gone",
            "my_controllers.py has no 'Gone'; fix: it defines Steady, Doubled, doubled, made",
        ),
    ],
)
def test_what_is_not_found_is_named_with_what_there_is(place: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        own_controller(place, VIDEO)
    assert words in str(caught.value)


STAGES = st.builds(
    StageConfig,
    st.sampled_from([one.name for stage in VIDEO.pipeline.stages for one in stage.variants] + ["", "gpt"]),
    st.sampled_from([0, 1, 2, 8, 64, 65, -1, 2.0, True]),
    st.sampled_from([-1, 0, 1, 5, 10_000, 2**40, 1.0]),
)


@given(stages=st.lists(STAGES, min_size=1, max_size=3))
def test_any_configuration_runs_within_the_limits_or_is_refused_by_name(stages: list[StageConfig]) -> None:
    class Any:
        name = "any"

        def decide(self, state: State) -> Configuration:
            return Configuration(tuple(stages))

    try:
        done = played(own_controller(Any, VIDEO))
    except InputError as error:
        assert "controller any: what decide gave" in str(error)  # noqa: PT017
        return
    assert done.configured[:, :, 2].max() <= VIDEO.problem.max_replicas


def test_a_name_that_another_controller_has_is_refused() -> None:
    class Mine(Kept):
        name = "universal"

    with pytest.raises(InputError, match="controller universal: is the name of another"):
        make_setup("video", controllers=[Mine])
    with pytest.raises(InputError, match="controller Kept: is the name of another"):
        make_setup("video", controllers=[Kept, Kept])


def run(folder: Path, pool: Pool, *controllers: Any) -> Comparison:
    setup = make_setup("video", fluid=True, controllers=controllers)
    return compare(Experiment("short", setup, trials([short("bursty")], seeds=2)), folder, pool)


def test_a_run_is_read_again_without_the_users_code(here: Path) -> None:
    run(here / "run", Here(), "my_controllers.py:Steady")
    (here / "my_controllers.py").unlink()
    again = read_comparison(here / "run")
    assert again.names[:2] == ("universal", "steady")
    assert again.description.setup().controllers().shown[:2] == ["universal", "steady"]


def test_a_changed_file_is_another_run_and_an_unchanged_one_the_same(here: Path) -> None:
    first, same = (own_controller("my_controllers.py:Steady", VIDEO) for _ in range(2))
    assert first == same
    (here / "copy").mkdir()
    (here / "copy" / "my_controllers.py").write_text(f"{TEXT}\n# changed", encoding="utf-8")
    changed = own_controller("copy/my_controllers.py:Steady", VIDEO)
    assert changed.fingerprint != first.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("pool", [Processes(2), Ray("local")], ids=["processes", "ray"])
def test_workers_find_them_again_and_give_the_very_same_numbers(pool: Pool, here: Path) -> None:
    places = ("my_controllers:Steady", "my_controllers.py:Doubled")
    assert same_but_for_time(run(here / "a", Here(), *places), run(here / "b", pool, *places))


@pytest.mark.slow
def test_a_fault_in_a_worker_is_told_as_one_in_the_command(here: Path) -> None:
    (here / "bad.py").write_text("class C:\n    def decide(self, state):\n        1 / 0", encoding="utf-8")
    done = ipa_rl("compare", "video", "--fluid", "--controller", "bad:C", "--workers", "2", cwd=here)
    assert done.returncode == 2
    *_, last = done.stderr.splitlines()
    assert last == "error: bad.py:3: controller C: decide raised ZeroDivisionError: division by zero"


@pytest.mark.slow
def test_the_command_shows_them_beside_the_others(here: Path) -> None:
    words = ("--seeds", "2", "--workers", "1", "--json")
    both = ("--controller", "my_controllers:Steady", "--controller", "my_controllers.py:doubled")
    done = ipa_rl("compare", "video", "--fluid", *both, *words, cwd=here)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)  # what they print went elsewhere
    assert [row["controller"] for row in content["rows"]][:3] == ["universal", "steady", "ip doubled"]
    assert {"steady", "ip doubled"} <= {one["controller"] for one in content["ranking"]}


def test_the_stress_suite_shows_them(here: Path) -> None:
    found = make_setup("video", controllers=["my_controllers:Steady"]).controllers()
    assert found.shown[:2] == ["universal", "steady"]
