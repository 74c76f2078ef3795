"""The guard looks ahead: the program's answer is taken where it is expected to be clearly better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ipa_rl.agents.rollout_guard import CHANCE, RolloutGuard, make_rollout_guard
from ipa_rl.environment.action import HEADROOM
from ipa_rl.jit import IntArray
from ipa_rl.workload.futures import Ahead
from ipa_rl.workload.steps import Loads
from tests.scenarios import VIDEO
from tests.test_policy import ANYTHING, EVEN, always, state

LARGEST_BATCH = len(VIDEO.pipeline.stages[0].variants[0].batches) - 1
LEAST = 0


class Steady:
    """Futures in which the load stays what it is, or else is ``otherwise`` as high on some of the paths."""

    def __init__(self, otherwise: float = 1.0, on: int = 0) -> None:
        self.otherwise, self.on, self.asked = otherwise, on, 0

    def ahead(self, history_rps: Loads, clock_s: float, count: int, steps: int) -> Ahead:
        self.asked += 1
        paths_rps = np.full((count, steps), history_rps[-1])
        paths_rps[: self.on] *= self.otherwise
        return Ahead(paths_rps, is_new=False)


def choice(replicas: int) -> IntArray:
    return np.array([[0, 0, replicas], [0, 0, replicas]])


def test_a_choice_that_cannot_serve_what_comes_is_worse_and_it_is_said_by_how_much() -> None:
    decision = always([0, 0, LEAST, 0, 0, LEAST], ANYTHING).decide(state(30))
    assert HEADROOM[LEAST] < 1.0
    assert decision.fallback.startswith("worse: the program is expected to be ")
    assert decision.configuration == VIDEO.best_for(33.0)


def test_a_choice_too_slow_for_the_sla_is_worse() -> None:
    agent = always([0, LARGEST_BATCH, EVEN, 0, LARGEST_BATCH, EVEN], ANYTHING)
    assert agent.decide(state(20)).fallback == ""
    assert replace(agent, definition=VIDEO.with_problem(sla_s=1.0)).decide(state(20)).fallback[:5] == "worse"


def test_a_choice_that_wastes_cores_is_worse() -> None:
    guard = RolloutGuard(VIDEO, Steady())
    assert guard.why_worse(state(10), choice(20), VIDEO.rows_for(11.0))[:5] == "worse"
    assert guard.why_worse(state(10), choice(3), choice(2)) == ""  # not clearly


def test_what_happens_on_too_few_of_the_paths_may_be_chance() -> None:
    often, seldom = RolloutGuard(VIDEO, Steady(8.0, on=16)), RolloutGuard(VIDEO, Steady(8.0, on=1))
    assert CHANCE > 1.0  # standard errors: of one path in many, one
    assert often.why_worse(state(10), choice(1), choice(9))[:5] == "worse"
    assert seldom.why_worse(state(10), choice(1), choice(9)) == ""


def test_what_the_program_would_do_too_is_not_played() -> None:
    futures = Steady()
    guard = RolloutGuard(VIDEO, futures)
    assert guard.why_worse(state(10), choice(2), choice(2)) == ""
    assert futures.asked == 0


def test_a_policy_in_training_is_not_guarded() -> None:
    assert always([0, 0, LEAST, 0, 0, LEAST], None).decide(state(30)).fallback == ""


@pytest.mark.parametrize("load", [0, 1, 10, 40])
def test_the_same_state_gives_the_same_answer(load: int) -> None:
    one, other = (make_rollout_guard(VIDEO) for _ in range(2))
    both = choice(1), VIDEO.rows_for(2.0 * max(load, 1))
    assert one.why_worse(state(load), *both) == other.why_worse(state(load), *both)
