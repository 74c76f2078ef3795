"""deploy/examples/mixed: models on cores and on two kinds of GPU, of which loads and limits choose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ipa_rl.environment.definition_file import load_problem
from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import compare
from ipa_rl.judge.experiment import Experiment, Setup, trials
from ipa_rl.judge.simulated_cluster import SimulatorKind
from ipa_rl.profiles import check_folder
from ipa_rl.solvers import FrontSolver
from tests.command_line import fits, ipa_rl
from tests.scenarios import scenario

EXAMPLE = Path(__file__).parent.parent / "deploy" / "examples" / "mixed"
ENVIRONMENT = EXAMPLE / "images.yaml"


def other(folder: Path, **resources: Mapping[str, float]) -> Path:
    """The environment with other prices or limits."""
    shutil.copytree(EXAMPLE / "images", folder / "images")
    content = yaml.safe_load(ENVIRONMENT.read_text(encoding="utf-8"))
    content["resources"] |= resources
    path = folder / "images.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def solved(path: Path, load_rps: float) -> dict[str, Any]:
    found = json.loads(ipa_rl("solve", path, "--load", load_rps, "--json").stdout)
    assert isinstance(found, dict)
    return found


def test_its_pipeline_has_no_faults() -> None:
    assert check_folder(EXAMPLE / "images") == []


def test_what_stages_run_on_changes_with_the_load() -> None:
    solver, on = FrontSolver(load_problem(ENVIRONMENT)), set()
    stages = solver.problem.pipeline.stages
    for load_rps in (5, 20, 1000, 6000):
        chosen = solver.solve(load_rps).to_run.stages
        placed = (stage.variant(one.variant) for stage, one in zip(stages, chosen, strict=True))
        on.add(tuple(one.resource for one in placed))
    assert len(on) >= 3
    assert {resource for both in on for resource in both} == {"cores", "rtx3090", "rtx4090"}


def test_solve_tells_the_units_of_each_resource_beside_the_cost(tmp_path: Path) -> None:
    found = solved(ENVIRONMENT, 1000)
    assert found["units"] == {"cores": 0, "rtx3090": 2, "rtx4090": 0}
    assert found["limits"] == {"rtx3090": 2, "rtx4090": 4, "cores": 256}
    assert [(stage["resource"], stage["units"]) for stage in found["stages"]] == [("rtx3090", 1)] * 2
    assert found["cores"] == 20
    printed = ipa_rl("solve", ENVIRONMENT, "--load", "1000").stdout
    assert "occupied: cores 0 of 256, rtx3090 2 of 2, rtx4090 0 of 4" in printed
    assert ", 20 cores, " in printed
    assert fits(printed)


@pytest.mark.parametrize("solver", ["front", "program"])
def test_a_tighter_limit_moves_models_elsewhere(solver: str, tmp_path: Path) -> None:
    path = other(tmp_path, rtx3090={"price": 10, "limit": 1})
    done = ipa_rl("solve", path, "--load", "1000", "--json", "--solver", solver)
    assert json.loads(done.stdout)["units"]["rtx3090"] == 1
    dearer = other(tmp_path / "b", rtx3090={"price": 12.5})
    found = solved(dearer, 1000)
    assert found["cores"] == 25
    assert "rtx3090" not in found["limits"]


def test_a_price_that_is_not_whole_is_shown_as_it_is(tmp_path: Path) -> None:
    path = other(tmp_path, rtx3090={"price": 6.1})
    assert ", 12.2 cores, " in ipa_rl("solve", path, "--load", "1000").stdout


def test_too_few_units_are_named_with_how_many_more_would_do(tmp_path: Path) -> None:
    done = ipa_rl("solve", ENVIRONMENT, "--load", "60000")
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert "infeasible: no configuration serves 60000 requests/s, as 2 of rtx3090 are not enough" in words
    assert "more of rtx3090" in words
    found = solved(ENVIRONMENT, 60000)
    assert found["binding"] == ["rtx3090"]
    assert found["repair"]["extra_units"]["rtx3090"] > 2


def test_limits_that_leave_no_replica_of_a_stage_are_a_fault_of_the_file(tmp_path: Path) -> None:
    few: dict[str, Mapping[str, float]] = {
        "rtx3090": {"price": 10, "limit": 0.5},
        "rtx4090": {"price": 16, "limit": 1},
        "cores": {"limit": 13},
    }
    with pytest.raises(InputError) as caught:
        load_problem(other(tmp_path, **few))
    assert str(caught.value).startswith(f"{tmp_path / 'images.yaml'}: resources: ")
    assert "not enough for one replica of each stage; fix: raise a limit" in str(caught.value)


@pytest.mark.slow
def test_planner_and_program_play_it_and_move_models_as_the_load_changes(tmp_path: Path) -> None:
    loads = np.concatenate([np.full(360, 5), np.full(300, 4000)])
    setup = Setup(str(ENVIRONMENT), None, SimulatorKind.fluid, ("planner", "ip window-max:30"))
    played = compare(Experiment("a step", setup, trials([scenario(loads)], 1)), tmp_path / "run").played
    stages = setup.definition().pipeline.stages
    for one in played[0][0]:
        on = [
            tuple(stage.variants[v].resource for stage, v in zip(stages, chosen, strict=True))
            for chosen in one.configured[:, :, 0].tolist()
        ]
        assert on[20] != on[-1]
        assert one.column("served").sum() > 1e6
