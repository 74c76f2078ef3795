"""deploy/examples/graphs: a detector that fans out to two classifiers, and a share that takes another way."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipa_rl.environment.definition_file import load_definition, load_problem
from ipa_rl.objective import cost_cores, stage_loads_rps
from ipa_rl.profiles import check_folder
from ipa_rl.solvers import FrontSolver, Optimum, solve_program

EXAMPLES = Path(__file__).parent.parent / "deploy" / "examples" / "graphs"


@pytest.mark.parametrize("name", ["frames", "texts"])
def test_it_has_no_faults_and_an_optimum_that_the_program_finds_too(name: str) -> None:
    assert check_folder(EXAMPLES / name) == []
    problem = load_problem(EXAMPLES / f"{name}.yaml")
    answer, program = FrontSolver(problem).solve(8.0), solve_program(problem, 8.0)
    assert isinstance(answer, Optimum)
    assert isinstance(program, Optimum)
    assert answer.objective == pytest.approx(program.objective)


def test_a_detector_that_finds_more_is_taken_where_few_frames_come() -> None:
    definition = load_definition(EXAMPLES / "frames.yaml")
    cars = []
    for load_rps in (2.0, 8.0, 30.0):
        best = definition.best_for(load_rps)
        frames, people, found = stage_loads_rps(definition.pipeline, best, load_rps)
        assert frames == load_rps
        assert people < found
        cars.append(found / load_rps)
    assert cars[0] > cars[1] > cars[2]


def test_where_three_in_ten_are_translated_that_costs_less_than_where_all_are() -> None:
    texts, chain = load_definition(EXAMPLES / "texts.yaml"), load_definition("nlp")
    costs = [cost_cores(one.pipeline, one.best_for(8.0)) for one in (texts, chain)]
    assert costs[0] < costs[1]
