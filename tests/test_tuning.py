"""Opponents are tuned on the judge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipa_rl.agents.opponents import Opponent, build
from ipa_rl.judge import tuning
from ipa_rl.judge.experiment import SEEDS, Setup
from ipa_rl.judge.play import figures, play
from ipa_rl.judge.pools import Here
from ipa_rl.judge.simulated_cluster import Scenario, SimulatorKind
from ipa_rl.judge.tuning import Validation, try_judge, tune
from ipa_rl.progress import Silent
from ipa_rl.workload.workload import Window
from tests.scenarios import VIDEO


@pytest.mark.slow
def test_tuning_keeps_the_best_setting_of_each_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few settings: what is kept was judged, and no other of its group did better in the judge."""
    monkeypatch.setattr(tuning, "MARGINS", (0.0, 0.3))
    validation = Validation(Setup("video", None, SimulatorKind.request_level), most=2)
    kept = tune(validation, Here(), Silent(), only=["ip window-max", "hpa"])
    assert [one.system for one in kept] == ["ip", "hpa"]
    program = kept[0]
    again = try_judge(validation, replace(program, validation={}))
    assert again == program
    other = try_judge(validation, replace(program, margin=0.3 if program.margin == 0.0 else 0.0))
    assert other.validation["utility"] <= program.validation["utility"]
    groups = ["ip window-max", "hpa"]
    assert tune(validation, Here(), Silent(), only=groups, known=kept) == kept  # nothing is tried again


def test_the_judge_of_tuning_gives_what_the_control_loop_gives(bursty: Window) -> None:
    """Planned for as a whole, a program does what it does step by step; few windows are run several times."""
    opponent = Opponent("ip", "window-max:60", 0.1, {})
    validation = Validation(Setup("video", None, SimulatorKind.request_level), most=1)
    (window,) = validation.windows()
    agent, scenario = build(VIDEO, opponent, window.arrivals), Scenario(window)
    each = [figures(VIDEO, play(VIDEO, agent, scenario, seed=seed)) for seed in range(SEEDS)]
    for name, value in try_judge(validation, opponent).validation.items():
        assert value == pytest.approx(sum(one[name] for one in each) / SEEDS, rel=1e-9)
