"""Definitions of environments: what ships, and what is wrong in a file."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest
import yaml

import ipa_rl  # noqa: F401  (registers the environments)
from ipa_rl import resources
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from tests.pipelines import write_environment

SHIPPED = resources.shipped_names("envs")


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
