"""What the judge foretells of a turn, and its promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipa_rl.agents.protocol import Decision, State
from ipa_rl.demo.overhead import throughput_rps
from ipa_rl.demo.prediction import Promise, predict, replay
from ipa_rl.demo.serving import due_times
from ipa_rl.environment.definition import Definition
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.workload.workload import Window

SMALL = Configuration((StageConfig("conv8x2", 1, 1), StageConfig("conv4x1", 1, 1)))


def test_recorded_decisions_are_replayed_on_the_same_requests(digits: Definition) -> None:
    arrivals = np.full(120 + 30, 5, dtype=np.int64)
    due_s = due_times(Window("steady", arrivals, 120), 0)
    window = Window("steady", arrivals, 120, due_s)
    two = Configuration(tuple(replace(one, replicas=2) for one in SMALL.stages))
    outcomes = replay(digits, [SMALL, two], window, SMALL, seed=0)
    assert np.array_equal(outcomes.due_s, due_s)
    assert outcomes.served().all()
    assert outcomes.cores.tolist() == [2.0, 4.0, 4.0]
    accuracies = [
        stage.variant(one.variant).accuracy
        for stage, one in zip(digits.pipeline.stages, SMALL.stages, strict=True)
    ]
    assert outcomes.right == pytest.approx(np.full(len(due_s), np.prod(accuracies)))


class Follows:
    """As many replicas as requests came in the last second, at most two."""

    name = "follows"

    def decide(self, state: State) -> Decision:
        last_rps = float(state.history_rps[-1])
        stages = tuple(replace(one, replicas=max(min(round(last_rps), 2), 1)) for one in SMALL.stages)
        return Decision(Configuration(stages), last_rps)


def test_predictions_are_those_of_a_controller_that_sees_what_it_saw(digits: Definition) -> None:
    window = Window("steady", np.full(120 + 40, 1, dtype=np.int64), 120)
    seen = [np.array([0.0, load]) for load in (1.0, 2.0, 1.0)]
    outcomes = predict(digits, Follows(), window, SMALL, 0, seen)
    assert outcomes.cores.tolist() == pytest.approx([2.0, 4.0, 2.0, 2.0])


def test_predictions_are_those_of_a_controller_behind_the_sidecars_guard(digits: Definition) -> None:
    load = 150
    assert throughput_rps(digits.pipeline, SMALL) < load
    window = Window("steady", np.full(120 + 30, load, dtype=np.int64), 120)
    seen = [np.append(np.full(119, float(load)), 1.0)] * 3
    outcomes = predict(digits, Follows(), window, SMALL, 0, seen)
    assert outcomes.cores.min() >= 4.0


def test_a_promise_holds_within_its_bound() -> None:
    assert Promise("mean", 1.0, 1.1, 15.0, is_relative=True).holds
    assert not Promise("mean", 1.0, 1.2, 15.0, is_relative=True).holds
    assert Promise("violations", 1.0, 2.5, 2.0, is_relative=False).holds
