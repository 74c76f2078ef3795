"""The mapping from actions to replicas, as the module states it."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.environment.action import HEADROOM, action_sizes, decode_actions, encode_action, replicas
from ipa_rl.simulation import Timing, encode
from ipa_rl.simulation.tables import build_variants
from ipa_rl.solvers import FrontSolver, Optimum
from tests.pipelines import two_stages

LIMIT = 50


def test_an_action_has_three_choices_a_stage() -> None:
    assert action_sizes(two_stages()) == [3, 4, len(HEADROOM)] * 2


@given(st.sampled_from(HEADROOM), st.floats(1, 500), st.floats(0.1, 50))
def test_replicas_are_headroom_times_load_over_throughput_rounded_up(
    headroom: float, load: float, rate: float
) -> None:
    wanted = math.ceil(headroom * load / rate - 1e-9)
    assert replicas(headroom, load, rate, LIMIT) == min(max(wanted, 1), LIMIT)


@given(st.floats(1, 500), st.floats(0.1, 50))
def test_more_headroom_never_gives_fewer_replicas(load: float, rate: float) -> None:
    counts = [replicas(level, load, rate, LIMIT) for level in HEADROOM]
    assert counts == sorted(counts)


@given(st.integers(1, 200))
def test_the_optimum_for_a_load_is_an_action_with_headroom_one_or_its_equal(load: int) -> None:
    problem = two_stages()
    answer = FrontSolver(problem).solve(float(load))
    assert isinstance(answer, Optimum)
    rows = encode(problem, answer.configuration)
    variants = build_variants(problem, Timing())
    action = encode_action(rows, float(load), variants, problem.max_replicas, problem.pipeline.graph)
    decoded = decode_actions(
        action[None], np.array([float(load)]), variants, problem.max_replicas, problem.pipeline.graph
    )
    np.testing.assert_array_equal(decoded[0], rows)
    assert [HEADROOM[level] for level in action[2::3]] == [1.0, 1.0]


@given(
    st.lists(st.integers(0, 2), min_size=2, max_size=2),
    st.lists(st.integers(0, len(HEADROOM) - 1), min_size=2, max_size=2),
    st.floats(1, 200),
)
def test_encoding_a_decoded_action_gives_the_same_replicas(
    chosen: list[int], levels: list[int], load: float
) -> None:
    problem = two_stages()
    variants = build_variants(problem, Timing())
    action = np.array([[chosen[0], 0, levels[0], chosen[1], 1, levels[1]]])
    planned = np.array([load])
    rows = decode_actions(action, planned, variants, problem.max_replicas, problem.pipeline.graph)
    again = encode_action(rows[0], load, variants, problem.max_replicas, problem.pipeline.graph)[None]
    np.testing.assert_array_equal(
        decode_actions(again, planned, variants, problem.max_replicas, problem.pipeline.graph), rows
    )
