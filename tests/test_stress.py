"""The stress suite: loads and faults that the trace does not hold."""

from __future__ import annotations

import pytest

from ipa_rl.environment.definition import Definition
from ipa_rl.judge.experiment import Trial
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.judge.stress import BEGINS, LENGTH, SUITE, capacity_rps, stress_trials
from ipa_rl.workload.steps import HISTORY_STEPS


def suite(video: Definition, name: str) -> Scenario:
    return next(trial.scenario for trial in stress_trials(video, 1) if trial.scenario.name == name)


def test_the_suite_holds_what_its_names_say(video: Definition) -> None:
    loads = {
        trial.scenario.name: trial.scenario.window.arrivals[HISTORY_STEPS:]
        for trial in stress_trials(video, 1)
    }
    assert set(loads) == {stress.name for stress in SUITE}
    assert all(len(one) == LENGTH for one in loads.values())
    flash = loads["flash crowd"]
    before, after = flash[:BEGINS].mean(), flash[BEGINS + 5 : BEGINS + 100].mean()
    assert after == pytest.approx(10 * before, rel=0.15)
    assert (loads["zero load"][BEGINS : BEGINS + 300] == 0).all()
    peak = loads["overload"][BEGINS : BEGINS + 60].mean()
    assert peak == pytest.approx(2 * capacity_rps(video), rel=0.05)
    assert suite(video, "trace gap").disturbance.gap_s == (BEGINS - 10, BEGINS + 50)
    assert suite(video, "slow starts").disturbance.start_up_scale == 5.0
    assert suite(video, "profile error").disturbance.service_scale == 1.3


def test_stress_trials_of_one_seed_are_the_same_every_time(video: Definition) -> None:
    def key(trial: Trial) -> bytes:
        return trial.scenario.window.arrivals.tobytes()

    one, other = stress_trials(video, 2), stress_trials(video, 2)
    assert [key(trial) for trial in one] == [key(trial) for trial in other]
    assert key(one[0]) != key(one[1])
