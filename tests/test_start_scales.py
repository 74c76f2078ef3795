"""What starts tell of how long starts take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.agents import State
from ipa_rl.agents.planner import make_planner
from ipa_rl.agents.start_scales import DEAD_BAND, StartMeter
from ipa_rl.jit import Records
from ipa_rl.simulation import FluidSimulator
from ipa_rl.simulation.tables import MOST_SLOWER, Timing
from ipa_rl.simulation.transitions import FLEET
from tests.pipelines import two_stages
from tests.scenarios import VIDEO

TOLD = replace(VIDEO, problem=two_stages(), timing=Timing(drop_limit_s=100.0))
INTERVAL_S = TOLD.timing.interval_s
EXPECTED_S = TOLD.pipeline.stages[0].variants[0].start_up_s


class World:
    """A meter that looks at a cluster whose starts take so many times as long as it was told."""

    def __init__(self, scale: float) -> None:
        self.simulator = FluidSimulator(TOLD.problem, replace(TOLD.timing, start_up_scale=scale))
        self.simulator.reset(0, np.array([[0, 0, 1], [0, 0, 1]]))
        self.meter, self.clock_s = StartMeter(TOLD), 0.0
        self.look()

    def look(self) -> float:
        state = State(np.zeros(120), self.simulator.fleet[0].copy(), np.zeros(2), clock_s=self.clock_s)
        return self.meter.saw(state)

    def runs(self, replicas: int, intervals: int = 1, variant: int = 0) -> float:
        """What is found after the first stage was asked for so many, and some intervals."""
        self.simulator.apply(np.array([[[variant, 0, replicas], [0, 0, 1]]]))
        for _ in range(intervals):
            self.simulator.advance(np.zeros((1, INTERVAL_S)))
            self.clock_s += INTERVAL_S
            found = self.look()
        return found


@given(st.floats(0.2, 0.9 * MOST_SLOWER))
def test_a_start_tells_its_scale_when_it_is_over(scale: float) -> None:
    world = World(scale)
    found = world.runs(3, intervals=15)
    # What a start took that was over before the next look is known to an interval only.
    slack = max(INTERVAL_S / EXPECTED_S, DEAD_BAND) if scale * EXPECTED_S <= INTERVAL_S else 0.02
    assert found == pytest.approx(scale if scale >= DEAD_BAND else 1.0, abs=slack)
    np.testing.assert_array_equal(world.meter.scales[1], 1.0)


def test_the_newest_starts_count() -> None:
    world = World(5.0)
    assert world.runs(2, intervals=10) == pytest.approx(5.0)
    world.simulator.set_world(0, 0.2, 1.0, 1.0)
    assert world.runs(1, intervals=10) == pytest.approx(5.0)  # nothing started
    assert world.runs(2, intervals=10) == 1.0


def fleet(ready: int, wanted: int, left_s: float | None) -> Records:
    found = np.zeros(2, dtype=FLEET)
    found["ready"], found["wanted"] = ready, wanted
    if left_s is not None:
        found["cohorts"], found["starting"][:, 0], found["left_s"][:, 0] = 1, wanted - ready, left_s
    return found


def seen(*fleets: Records) -> list[float]:
    """What is found from one look to the next."""
    meter = StartMeter(TOLD)
    states = (State(np.zeros(120), one, np.zeros(2), clock_s=10.0 * i) for i, one in enumerate(fleets))
    return [meter.saw(state) for state in states]


def test_what_a_cluster_says_is_left_is_no_fact_but_what_is_overdue_is() -> None:
    """A cluster that tells what the profile says is left, and a second where that is over."""
    starts = [fleet(1, 2, max(EXPECTED_S - 10.0 * i, 1.0)) for i in range(1, 6)]
    found = seen(fleet(1, 1, None), *starts, fleet(2, 2, None))
    assert found == sorted(found)
    assert found[-1] == pytest.approx((50.0 + 1.0) / EXPECTED_S, abs=0.01)


def test_replicas_that_fail_and_start_anew_began_nobody_knows_when() -> None:
    assert seen(fleet(2, 2, None), fleet(1, 2, EXPECTED_S - 3.0), fleet(2, 2, None))[-1] == 1.0


def test_what_is_stuck_says_nothing_of_others() -> None:
    waits = [fleet(1, 2, 1.0)] * round(1.2 * MOST_SLOWER * EXPECTED_S / 10.0)
    found = seen(fleet(1, 1, None), *waits)
    assert (max(found) > 0.8 * MOST_SLOWER, found[-1]) == (True, 1.0)


def test_what_was_cancelled_was_not_over() -> None:
    late = fleet(1, 2, 1.0)
    found = seen(fleet(1, 1, None), late, late, late, fleet(1, 1, None), fleet(1, 1, None))
    assert found[-1] == found[-3]


def test_who_plans_looks_further_and_keeps_more_where_starts_are_slow() -> None:
    history = np.concatenate([np.full(60, 24.0), np.full(60, 8.0)])
    simulator = FluidSimulator(VIDEO.problem, VIDEO.timing)
    simulator.reset(0, VIDEO.rows_for(30.0))
    state = State(history, simulator.fleet[0], np.zeros(2))
    usual, slow = (make_planner(VIDEO).plan(replace(state, start_scale=scale)) for scale in (None, 5.0))
    assert slow.paths_rps.shape[1] > 2 * usual.paths_rps.shape[1]
    replicas = [sum(stage.replicas for stage in plan.decision.configuration.stages) for plan in (usual, slow)]
    assert replicas[1] >= replicas[0]
