"""Steers: what the optimum is asked for, and which answers there are to choose from."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.agents.steers import GRID, Optima, on_grid
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.jit import FloatArray
from ipa_rl.simulation import encode

VIDEO = load_definition("video")
OPTIMA = Optima(VIDEO)

loads_of_interest = st.lists(st.floats(0.1, 60.0), min_size=1, max_size=8, unique=True).map(sorted)


@given(loads_of_interest, st.floats(0.1, 60.0), st.floats(1.0, 40.0))
@settings(max_examples=50, deadline=None)
def test_each_answer_stands_once_and_what_was_decided_last_is_among_them(
    loads_rps: list[float], held_rps: float, reference_rps: float
) -> None:
    held = encode(VIDEO.problem, VIDEO.best_for(held_rps))
    answers = OPTIMA.answers(held, reference_rps, loads_rps, held_rps)
    for keeps in (False, True):
        of_kind = answers.rows[answers.keep_variants == keeps]
        assert len(np.unique(of_kind, axis=0)) == len(of_kind)
        assert (of_kind == held).all(axis=(1, 2)).sum() == 1
    kept = answers.rows[answers.keep_variants]
    assert (kept[:, :, 0] == held[:, 0]).all()
    assert answers.go_on.sum() <= answers.are_held.sum() == 2


@given(loads_of_interest, st.floats(1.0, 40.0))
@settings(max_examples=50, deadline=None)
def test_what_is_asked_among_all_variants_carries_the_load_that_it_was_asked_for(
    loads_rps: list[float], reference_rps: float
) -> None:
    held = encode(VIDEO.problem, VIDEO.best_for(5.0))
    answers = OPTIMA.answers(held, reference_rps, loads_rps, 5.0)
    for steer, rows, planned_rps in zip(answers.steers, answers.rows, answers.planned_rps, strict=True):
        if steer.factor is None:
            assert planned_rps == OPTIMA.capacity_rps(rows)
        elif not steer.keeps_variants:
            assert OPTIMA.capacity_rps(rows) >= planned_rps - 1e-9


@given(st.lists(st.floats(1e-5, 1e6), min_size=1, max_size=8).map(np.array))
def test_the_grid_is_above_a_load_and_within_a_step_of_it(loads_rps: FloatArray) -> None:
    found = GRID ** on_grid(loads_rps).astype(np.float64)
    assert (found >= loads_rps * (1.0 - 1e-9)).all()
    assert (found <= loads_rps * GRID * (1.0 + 1e-9)).all()
