"""Definitions of environments: what ships, and what is wrong in a file."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
import yaml

import ipa_rl  # noqa: F401  (registers the environments)
from ipa_rl import resources
from ipa_rl.environment.definition_file import lasting_name, load_definition, load_problem
from ipa_rl.environment.family import drawn_definition
from ipa_rl.errors import InputError
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.workload import load_workload
from tests.pipelines import write_environment

SHIPPED = resources.shipped_names("envs")


def test_a_folder_beside_the_file_comes_before_what_ships_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named as a shipped one, and the file given by its bare name."""
    own = write_environment(tmp_path, {"only": ("small",)})
    (tmp_path / "pipeline").rename(tmp_path / "video")
    for named in ("video", "./video"):
        own.write_text(own.read_text(encoding="utf-8").replace("pipeline: pipeline", f"pipeline: {named}"))
        monkeypatch.chdir(tmp_path)
        assert [stage.name for stage in load_definition("mine.yaml").pipeline.stages] == ["only"]


def test_the_five_pipelines_of_the_paper_are_shipped() -> None:
    assert {"video", "audio-qa", "audio-sent", "sum-qa", "nlp"} <= set(SHIPPED)


BROKEN = {
    "sla_s": ("sla_s: 6.897365", "sla_s: -1"),
    "weights.alpha": ("alpha: 2", "alpha: much"),
    "limits.max_replicas": ("  max_replicas: 100\n", ""),
    "colour": ("pipeline: video", "pipeline: video\ncolour: red"),
    "reload_s": ("pipeline: video", "pipeline: video\nreload_s: {crops: 1}"),
    "baselines.fa2_low": ("fa2_low: [yolov5n, resnet18]", "fa2_low: [yolov5n, resnet19]"),
    "baselines.rim_replicas": ("rim_replicas: [3, 3]", "rim_replicas: [3]"),
}


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", [inf, inf]), ("reload_s: 2", [2.0, 2.0]), ("reload_s: {crop: 0.5}", [0.5, inf])],
)
def test_a_definition_says_which_stages_change_their_variant_in_place(
    given: str, expected: list[float], tmp_path: Path
) -> None:
    text = (resources.folder("envs") / "video.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(f"{text}\n{given}\n", encoding="utf-8")
    stages = load_definition(path).pipeline.stages
    assert [{variant.reload_s for variant in stage.variants} for stage in stages] == [{s} for s in expected]


@pytest.mark.parametrize("field", BROKEN)
def test_a_broken_definition_names_file_field_and_fix(field: str, tmp_path: Path) -> None:
    text = (resources.folder("envs") / "video.yaml").read_text(encoding="utf-8")
    before, after = BROKEN[field]
    assert before in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_definition(path)
    assert str(caught.value).startswith(f"{path}:")
    assert field in str(caught.value)
    assert "fix: " in str(caught.value)


def test_an_unknown_environment_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="video"):
        load_definition("vidoe")


@pytest.mark.parametrize("load", ["twitter", "poisson"])
def test_a_definition_reads_the_same_in_every_process_so_that_runs_go_on(load: str, tmp_path: Path) -> None:
    path = write_environment(tmp_path, {"only": ["small"]})
    content = yaml.safe_load(path.read_text(encoding="utf-8")) | {"workload": {"load": load}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert " at 0x" not in repr(load_definition(path))


@pytest.mark.parametrize(
    ("workload", "told"),
    [
        ({"load": "on-off", "rate_rps": 30}, "peak_rps, 30, must be above rate_rps, 30"),
        ({"load": "poisson", "peak_rps": 30}, "peak_rps says nothing of the load poisson"),
        ({"load": "twitter", "rate_rps": 30}, "rate_rps says nothing of the load twitter"),
    ],
)
def test_rates_that_say_nothing_of_a_load_are_refused(
    workload: dict[str, object], told: str, tmp_path: Path
) -> None:
    path = write_environment(tmp_path, {"only": ["small"]})
    content = yaml.safe_load(path.read_text(encoding="utf-8")) | {"workload": workload}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(InputError, match=told) as caught:
        load_definition(path)
    assert caught.value.file == path
    assert caught.value.field == "workload"


def test_more_replicas_for_rim_than_there_may_be_are_refused(tmp_path: Path) -> None:
    path = write_environment(tmp_path, {"only": ["small"]}, baselines={"rim_replicas": [400]})
    with pytest.raises(InputError, match=r"has 400; fix: give at most limits\.max_replicas"):
        load_definition(path)


def placed(folder: Path, resources: object) -> Path:
    """An environment whose stage has one model on cores and on an L4."""
    path = write_environment(folder, {"only": ["small", "small@l4"]})
    described = folder / "pipeline" / "pipeline.yaml"
    content = yaml.safe_load(described.read_text(encoding="utf-8"))
    variant = content["stages"][0]["variants"][0]
    del variant["base_cores"]
    content["stages"][0]["variants"] = [variant | {"placements": [{}, {"resource": "l4"}]}]
    described.write_text(yaml.safe_dump(content), encoding="utf-8")
    environment = yaml.safe_load(path.read_text(encoding="utf-8")) | {"resources": resources}
    path.write_text(yaml.safe_dump(environment, sort_keys=False), encoding="utf-8")
    return path


def test_resources_have_prices_and_limits(tmp_path: Path) -> None:
    problem = load_problem(placed(tmp_path, {"l4": {"price": 12, "limit": 8}, "cores": {"limit": 64}}))
    assert problem.limits == (("l4", 8), ("cores", 64))
    variants = problem.pipeline.stages[0].variants
    assert [(one.resource, one.price, one.cost_cores) for one in variants] == [
        ("cores", 1, 1),
        ("l4", 12, 12),
    ]
    assert repr([one.cost_cores for one in variants]) == "[1, 12]"  # whole costs are shown as such
    assert load_definition(placed(tmp_path / "b", {"l4": {"price": 2.5}})).problem.limits == ()


RESOURCES = {
    "no price": (
        {},
        "resources.l4.price: is missing; fix: say what a unit costs, in cores: resources: {l4: ",
    ),
    "an unknown resource": ({"l4": {"price": 2}, "a10": {"price": 3}}, "resources.a10: is nothing that the "),
    "an unknown key": ({"l4": {"price": 2, "cost": 3}}, "resources.l4.cost: Extra inputs are not permitted"),
    "a price of 0": ({"l4": {"price": 0}}, "resources.l4.price: Input should be greater than 0"),
    "no limit": ({"l4": {"price": 2, "limit": 0}}, "resources.l4.limit: Input should be greater than 0"),
    "limits too low": (
        {"l4": {"price": 2, "limit": 0.5}, "cores": {"limit": 0.5}},
        "resources: 0.5 of l4, 0.5 of cores are not enough for one replica of each stage; fix: raise a limit",
    ),
}


@pytest.mark.parametrize("kind", RESOURCES)
def test_what_is_wrong_with_resources_is_told_in_a_line(kind: str, tmp_path: Path) -> None:
    given, words = RESOURCES[kind]
    with pytest.raises(InputError) as caught:
        load_definition(placed(tmp_path, given))
    assert str(caught.value).startswith(f"{tmp_path / 'mine.yaml'}:")
    assert words in str(caught.value)
    assert caught.value.fix


def test_another_workload_takes_the_place_of_an_environments_own_at_the_same_mean() -> None:
    own, other = load_definition("video"), load_definition("video@azure-conversations")
    assert (other.name, other.workload.name) == ("video@azure-conversations", "azure-conversations")
    assert other.workload.mean_rps == pytest.approx(own.workload.mean_rps)
    assert other.pipeline == own.pipeline
    assert other.weights.rho != own.weights.rho  # the default follows the load


@pytest.mark.parametrize("name", ["made-up-7", "made-up-7@twitter"])
def test_a_pipeline_of_the_family_is_an_environment_by_its_seed(name: str) -> None:
    definition = load_definition(name)
    assert definition.name == name
    drawn = drawn_definition(7, load_workload("twitter") if "@" in name else made_up("on-off", 6.0, 30.0))
    assert definition.problem == drawn.problem
    assert load_problem(name).pipeline == drawn.pipeline


def test_a_file_whose_name_has_an_at_sign_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "me@work.yaml"
    path.write_text((resources.folder("envs") / "video.yaml").read_text("utf-8"), encoding="utf-8")
    assert load_definition(path).name == "me@work"
    assert lasting_name(path) == str(path)
    assert load_definition(f"{path}@twitter").name == "me@work@twitter"


@pytest.mark.parametrize("name", ["nope@twitter", "video@nope", "made-up-7@nope", "made-up-x"])
def test_an_environment_or_workload_that_is_not_there_is_named(name: str) -> None:
    missing = "nope" if "nope" in name else name
    for ask in (load_definition, lasting_name):
        with pytest.raises(
            InputError, match=f"^{missing}: no such file or name; fix: give a path, or one of"
        ):
            ask(name)
