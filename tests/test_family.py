"""The seeded family of made-up pipelines."""

from __future__ import annotations

import pytest

from ipa_rl.environment.family import MADE_UP, drawn_definition
from ipa_rl.solvers import Optimum
from ipa_rl.workload.synthetic import made_up

LOAD = made_up("poisson", 6.0, 30.0)


def test_the_same_seed_draws_the_same_pipeline() -> None:
    assert drawn_definition(3, LOAD).problem == drawn_definition(3, LOAD).problem
    assert drawn_definition(3, LOAD).problem != drawn_definition(4, LOAD).problem


@pytest.mark.slow
def test_pipelines_differ_in_size_and_speed_and_can_serve_their_load() -> None:
    drawn = [drawn_definition(seed, LOAD) for seed in range(30)]
    stages = {len(one.pipeline.stages) for one in drawn}
    assert min(stages) == 1
    assert max(stages) == max(MADE_UP.stages)
    slas_s = [one.problem.sla_s for one in drawn]
    assert max(slas_s) > 50.0 * min(slas_s)
    for one in drawn:
        assert isinstance(one.solver.solve(one.workload.mean_rps), Optimum)
