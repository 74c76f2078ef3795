"""A model on two kinds of hardware is two variants, each measured, priced and started for itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ipa_rl.errors import InputError
from ipa_rl.pipeline import Pipeline
from ipa_rl.profiles import check_folder, load_pipeline, load_profile
from tests.profile_files import HEADER, write

POINTS = """\
small,2,1,inf,0.1,0.12,10,measured,,bench,
large,4,1,inf,0.2,0.24,5,measured,,bench,
small@l4,1,8,inf,0.04,0.05,200,measured,,bench,
small@l4,1,64,inf,0.32,0.35,200,measured,,bench,
large@l4,1,8,inf,0.08,0.1,100,measured,,bench,
large@l4,2,8,inf,0.05,0.06,160,measured,,bench,
"""
TWO = """\
batches: [1, 8, 64]
stages:
- name: detect
  variants:
  - {name: large, accuracy: 0.7, start_up_s: 30, placements: [{}, {resource: l4, start_up_s: 50}]}
  - {name: small, accuracy: 0.5, start_up_s: 9, placements: [{}, {resource: l4}]}
"""


def folder(tmp_path: Path, yaml_text: str = TWO, points: str = POINTS) -> Path:
    tmp_path.mkdir(exist_ok=True)
    return write(tmp_path / "mine", f"{HEADER}\n{points}", yaml_text)


def fault(tmp_path: Path, yaml_text: str, points: str = POINTS) -> str:
    """The only one, which names the file, a field and a fix."""
    (found,) = check_folder(folder(tmp_path, yaml_text, points))
    assert found.file is not None
    assert found.field
    assert found.fix
    return str(found)


def test_each_placement_is_a_variant_and_that_on_cores_keeps_the_models_name(tmp_path: Path) -> None:
    variants = load_pipeline(folder(tmp_path)).stages[0].variants
    assert [(one.name, one.resource, one.units, one.start_up_s) for one in variants] == [
        ("small", "cores", 2, 9),
        ("small@l4", "l4", 1, 9),
        ("large", "cores", 4, 30),
        ("large@l4", "l4", 1, 50),
    ]
    assert [one.accuracy for one in variants] == [0.5, 0.5, 0.7, 0.7]


def test_a_model_may_be_on_a_device_only_and_twice_on_it_under_names_of_their_own(tmp_path: Path) -> None:
    placed = "[{resource: l4}, {resource: l4, name: pair, units: 2}]"
    described = TWO.replace("[{}, {resource: l4, start_up_s: 50}]", placed)
    points = POINTS.replace("large@l4,2", "large@pair,2").replace("large,4", "large@pair,4")
    variants = load_pipeline(folder(tmp_path, described, points)).stages[0].variants
    assert [(one.name, one.units) for one in variants[2:]] == [("large@l4", 1), ("large@pair", 2)]


def test_units_pin_the_base_allocation_among_those_that_were_measured(tmp_path: Path) -> None:
    two = load_pipeline(folder(tmp_path, TWO.replace("l4, start_up_s", "l4, units: 2, start_up_s")))
    assert (two.stages[0].variants[3].units, two.stages[0].variants[3].throughput_rps[1]) == (2, 160)
    told = fault(tmp_path, TWO.replace("l4, start_up_s", "l4, units: 4, start_up_s"))
    assert "detect.large@l4: nothing was measured on 4 units of l4; fix: use 1 or 2, or add points" in told


def test_a_share_of_a_device_may_be_a_replicas(tmp_path: Path) -> None:
    halves = POINTS.replace("small@l4,1", "small@l4,0.5")
    assert load_pipeline(folder(tmp_path, points=halves)).stages[0].variants[1].units == 0.5
    told = fault(tmp_path, TWO, POINTS.replace("small,2", "small,0.5"))
    assert "cores: is '0.5'; fix: give a whole number" in told


def test_no_other_count_of_devices_than_was_measured_is_considered(tmp_path: Path) -> None:
    tables = load_profile(folder(tmp_path)).stages[0].tables
    assert {cell.cores for cell in tables["small@l4"].cells} == {1}
    assert {cell.cores for cell in tables["large@l4"].cells} == {1, 2}
    assert {cell.cores for cell in tables["small"].cells} == {1, 2, 4, 8, 16}


def test_a_threshold_takes_the_least_units_that_carry_it_on_each_resource_for_itself(tmp_path: Path) -> None:
    described = f"threshold_rps: 120\n{TWO}"
    points = POINTS.replace("small,2,1,inf,0.1,0.12,10", "small,2,1,inf,0.002,0.003,500")
    points = points.replace("large,4,1,inf,0.2,0.24,5", "large,4,1,inf,0.004,0.005,250")
    variants = load_pipeline(folder(tmp_path, described, points)).stages[0].variants
    by_name = {one.name: one.units for one in variants}
    assert (by_name["small@l4"], by_name["large@l4"]) == (1, 2)
    assert by_name["small"] <= by_name["large"]
    told = fault(tmp_path, described.replace("120", "180"), points)
    assert "detect.large@l4: no unit count carries 180" in told


def test_devices_and_cores_learn_no_scaling_from_each_other(tmp_path: Path) -> None:
    alone = "".join(line for line in POINTS.splitlines(keepends=True) if "@" not in line)
    on_cores = TWO.replace("placements: [{}, {resource: l4}]", "base_cores: 2")
    on_cores = on_cores.replace("placements: [{}, {resource: l4, start_up_s: 50}]", "base_cores: 4")
    mixed, cores = load_pipeline(folder(tmp_path)), load_pipeline(folder(tmp_path / "b", on_cores, alone))
    for one in cores.stages[0].variants:
        assert mixed.stages[0].variant(one.name) == one


def test_of_a_device_measured_at_one_batch_size_no_other_is_promised_to_be_better(tmp_path: Path) -> None:
    points = "".join(line for line in POINTS.splitlines(keepends=True) if "l4,1,64" not in line)
    table = load_profile(folder(tmp_path, points=points)).stages[0].tables["small@l4"]
    assert [table.cell(1, batch).latency_mean_s for batch in (1, 8, 64)] == pytest.approx([0.04, 0.04, 0.32])
    assert [table.cell(1, batch).throughput_rps for batch in (1, 8, 64)] == pytest.approx([25, 200, 200])
    assert [table.cell(1, batch).mean_is_measured for batch in (1, 8, 64)] == [False, True, False]


def test_a_lender_lends_to_what_runs_on_the_same_resource(tmp_path: Path) -> None:
    lent = TWO.replace(
        "- name: detect\n", "- name: detect\n  borrow: {points: detect.csv, variant: small@l4}\n"
    )
    with_lender = load_profile(folder(tmp_path, lent)).stages[0].tables
    without = load_profile(folder(tmp_path / "b")).stages[0].tables
    assert with_lender["large"].cells == without["large"].cells
    assert (
        with_lender["large@l4"].mean_fit.scaling.marginal == with_lender["small@l4"].mean_fit.scaling.marginal
    )


def edges_of(tmp_path: Path, requests: object) -> Pipeline:
    content = yaml.safe_load(TWO)
    content["stages"].append(content["stages"][0] | {"name": "next", "points": "detect.csv"})
    content["edges"] = [{"from": "detect", "to": "next", "requests": requests}]
    return load_pipeline(folder(tmp_path, yaml.safe_dump(content)))


def test_requests_by_a_models_name_hold_for_all_of_its_placements(tmp_path: Path) -> None:
    (edge,) = edges_of(tmp_path, {"small": 2, "large": 3, "large@l4": 4}).edges
    assert edge.requests == (2, 2, 3, 4)
    with pytest.raises(InputError, match=r"says nothing of large; fix: give a figure for each"):
        edges_of(tmp_path / "b", {"small": 2, "large@l4": 4})
    with pytest.raises(
        InputError, match=r"no variant 'huge'; fix: name the variants of detect: small, large, "
    ):
        edges_of(tmp_path / "c", {"small": 2, "large": 4, "huge": 1})


FAULTS = {
    "two placements of one name": ("[{}, {resource: l4}]", "[{}, {}]", "small is placed twice"),
    "an unknown key": ("[{}, {resource: l4}]", "[{gpu: l4}]", "placements.0.gpu: Extra inputs"),
    "no placement": ("[{}, {resource: l4}]", "[]", "placements: is a list of 0; fix: give at least 1"),
    "half a core": ("[{}, {resource: l4}]", "[{units: 0.5}]", "units of cores are a whole number"),
    "no units": ("resource: l4}", "resource: l4, units: 0}", "units: Input should be greater than 0"),
    "two pins": ("9, ", "9, base_cores: 2, ", "give the placement its units"),
    "no points": ("resource: l4}", "resource: a10}", "unknown variant 'small@l4'"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_is_wrong_with_placements_is_told_in_a_line(kind: str, tmp_path: Path) -> None:
    before, after, words = FAULTS[kind]
    assert before in TWO
    faults = check_folder(folder(tmp_path, TWO.replace(before, after)))
    assert words in str(faults[0])
    assert faults[0].file is not None
    assert faults[0].fix


def test_without_placements_all_is_on_cores_at_a_price_of_one(tmp_path: Path) -> None:
    (variant,) = load_pipeline(write(tmp_path / "mine")).stages[0].variants
    assert replace(variant, resource="cores", price=1) == variant
    assert repr(variant.cost_cores) == "1"
