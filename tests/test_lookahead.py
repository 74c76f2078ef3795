"""The look-ahead program weighs a change against staying."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.agents.lookahead import LookAheadAgent
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.judge.simulated_cluster import SimulatedCluster
from ipa_rl.pipeline import Configuration
from ipa_rl.simulation import encode
from ipa_rl.workload.forecasters import WindowMaximum
from tests.pipelines import in_place
from tests.scenarios import VIDEO, steady


@given(st.integers(1, 60), st.floats(0.0, 0.5))
@settings(max_examples=30, deadline=None)
def test_a_look_ahead_whose_changes_are_free_is_the_program(load: int, margin: float) -> None:
    state = SimulatedCluster(VIDEO, steady(load)).observe()
    free = LookAheadAgent("free", VIDEO, WindowMaximum(30), margin, pays_within_s=1e12)
    program = ProgramAgent("ip", VIDEO, WindowMaximum(30), margin)
    mine, theirs = free.decide(state).configuration, program.decide(state).configuration
    assert VIDEO.solver.problem == VIDEO.problem
    np.testing.assert_array_equal(encode(VIDEO.problem, mine)[:, 2], encode(VIDEO.problem, theirs)[:, 2])


def test_a_look_ahead_keeps_a_configuration_that_is_not_worth_leaving() -> None:
    """From the optimum for 20 requests/s, 19 offer a saving that is less than what the start costs."""
    dear = LookAheadAgent("dear", VIDEO, WindowMaximum(30), 0.0, pays_within_s=1.0)
    held = VIDEO.best_for(20.0)
    cluster = SimulatedCluster(VIDEO, steady(8.0), start=held)
    chosen = dear.decide(cluster.observe()).configuration
    for kept, one in zip(held.stages, chosen.stages, strict=True):
        assert one.variant == kept.variant
        assert one.replicas <= kept.replicas


def test_a_look_ahead_changes_variants_in_place_as_if_that_were_free() -> None:
    """It holds on to none of them where only more replicas would have to start."""
    reloading = replace(VIDEO, problem=in_place(VIDEO.problem, 1.0))
    held = VIDEO.best_for(3.0)
    more = tuple(replace(stage, replicas=VIDEO.problem.max_replicas) for stage in held.stages)
    cluster = SimulatedCluster(reloading, steady(20.0), start=Configuration(more))
    dear = LookAheadAgent("dear", reloading, WindowMaximum(30), 0.0, pays_within_s=1.0)
    chosen = dear.decide(cluster.observe()).configuration
    assert chosen == VIDEO.best_for(20.0)
    assert [one.variant for one in chosen.stages] != [one.variant for one in held.stages]
