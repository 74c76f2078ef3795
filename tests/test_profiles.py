"""Profile files: every kind of fault is named; what is measured and what is modelled; allocations."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.errors import InputError
from ipa_rl.profiles import check_folder, load_pipeline, load_profile
from ipa_rl.profiles.points import read_points
from tests.profile_files import DESCRIPTION, GOOD, HEADER, PIPELINES, line, write


@pytest.mark.parametrize("name", PIPELINES)
def test_the_shipped_pipelines_have_no_faults(name: str) -> None:
    assert check_folder(resources.folder("profiles") / name) == []


def test_base_allocations_of_video_come_out_as_the_papers() -> None:
    crop, classification = load_pipeline("video").stages
    assert {v.name: v.units for v in crop.variants} == {
        "yolov5n": 1, "yolov5s": 1, "yolov5m": 2, "yolov5l": 4, "yolov5x": 8,
    }  # fmt: skip
    assert [v.units for v in classification.variants] == [1, 1, 1, 1, 2]


def test_base_allocations_of_the_audio_stage_come_out_as_the_papers() -> None:
    assert [v.units for v in load_pipeline("audio-qa").stages[0].variants] == [1, 2, 4]


@pytest.mark.parametrize(
    ("name", "variants", "replicas"),
    [
        ("video", (0, None), (3, None)),
        ("audio-qa", (None, 1), (None, 6)),
        ("sum-qa", (0, 1), (12, 8)),
        ("nlp", (0, 0, 0), (6, 22, 12)),
    ],
)
def test_replicas_that_the_paper_fixed_for_rim_are_what_the_bursty_peak_needs(
    name: str, variants: tuple[int | None, ...], replicas: tuple[int | None, ...]
) -> None:
    """RIM's printed replicas of the light variants carry about 34 requests/s."""
    for stage, which, printed in zip(load_pipeline(name).stages, variants, replicas, strict=True):
        if which is not None:
            assert 34 / stage.variants[which].throughput_rps[0] == pytest.approx(printed, abs=1.5)


DESCRIPTION_FAULTS = {
    "threshold_rps": ("threshold_rps: 4", "threshold_rps: 0"),
    "accuracy": ("accuracy: 0.5", "accuracy: 50"),
    "colour": ("batches: [1, 4]", "batches: [1, 4]\ncolour: red"),
    "batches": ("batches: [1, 4]", "batches: [4, 1]"),
    "variants": (
        "  - {name: small, accuracy: 0.5, start_up_s: 9}",
        "  - {name: small, accuracy: 0.5, start_up_s: 9}\n  - {name: small, accuracy: 0.6, start_up_s: 9}",
    ),
    "start_up_s": ("start_up_s: 9", "start_up_s: soon"),
    "stages": ("stages:", "stages: ["),
}


@pytest.mark.parametrize("field", DESCRIPTION_FAULTS)
def test_a_broken_description_names_file_and_field(field: str, tmp_path: Path) -> None:
    before, after = DESCRIPTION_FAULTS[field]
    assert before in DESCRIPTION
    folder = write(tmp_path / "mine", yaml=DESCRIPTION.replace(before, after))
    fault = check_folder(folder)[0]
    assert fault.file == folder / "pipeline.yaml"
    assert fault.fix
    assert field == "stages" or field in str(fault.field)


def test_a_missing_points_file_and_a_missing_folder_are_faults(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine")
    (folder / "detect.csv").unlink()
    assert "detect.csv" in str(check_folder(folder)[0])
    assert "is not a folder" in str(check_folder(tmp_path / "nowhere")[0])


def test_a_user_adds_a_pipeline_by_adding_files(tmp_path: Path) -> None:
    pipeline = load_pipeline(write(tmp_path / "mine"))
    assert pipeline.name == "mine"
    assert pipeline.stages[0].variants[0].throughput_rps == (10.0, 11.0)


def test_loading_a_faulty_pipeline_raises_its_first_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"detect\.csv:5: latency_p99_s"):
        load_pipeline(write(tmp_path / "mine", f"{HEADER}\n{GOOD}{line(batch='2', latency_p99_s='nan')}"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_change_of_a_file_ever_ends_in_anything_but_faults(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes of a good file are replaced, removed or added at random."""
    raw = bytearray(f"{HEADER}\n{GOOD}".encode())
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path = tmp_path / "detect.csv"
    path.write_bytes(bytes(raw))
    found = read_points(path, ["small"])
    assert found.points or found.faults
    for fault in found.faults:
        assert "\n" not in str(fault).replace(str(path), "")


@pytest.mark.parametrize("name", PIPELINES)
def test_each_file_of_a_pipeline_is_opened_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    really_open = os.open

    def noted(path: str | Path, flags: int) -> int:
        opened.append(os.path.realpath(path))
        return really_open(path, flags)

    monkeypatch.setattr("ipa_rl.files.os.open", noted)
    load_profile(name)
    assert len(opened) >= 2
    assert sorted(opened) == sorted(set(opened))


def test_a_copy_of_a_shipped_pipeline_is_as_good_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(resources.folder("profiles") / "video", tmp_path / "video")
    assert load_pipeline(tmp_path / "video").stages == load_pipeline("video").stages


NO_THRESHOLD = DESCRIPTION.replace("threshold_rps: 4\n", "").replace("  stage_sla_s: 5\n", "")


def test_without_a_threshold_the_least_cores_that_were_measured_are_the_allocation(tmp_path: Path) -> None:
    points = f"{HEADER}\n{line(cores='6', throughput_rps='0.5', latency_mean_s='2', latency_p99_s='3')}"
    folder = write(tmp_path / "mine", points + line(cores="12"), NO_THRESHOLD)
    assert check_folder(folder) == []
    [variant] = load_pipeline(folder).stages[0].variants
    assert (variant.units, variant.throughput_rps[0]) == (6, 0.5)


def test_without_a_threshold_base_cores_are_still_kept(tmp_path: Path) -> None:
    pinned = NO_THRESHOLD.replace("start_up_s: 9", "start_up_s: 9, base_cores: 3")
    assert load_pipeline(write(tmp_path / "mine", yaml=pinned)).stages[0].variants[0].units == 3


def test_a_threshold_needs_no_stage_sla(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", yaml=DESCRIPTION.replace("  stage_sla_s: 5\n", ""))
    assert load_pipeline(folder).stages[0].variants[0].units == 1


def test_a_threshold_that_nothing_carries_is_a_fault_that_says_it_may_be_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", yaml=DESCRIPTION.replace("rps: 4", "rps: 4000"))
    assert "leave it out" in str(check_folder(folder)[0])


def test_measured_cores_and_batches_of_any_size_count_as_measured(tmp_path: Path) -> None:
    points = [line(cores="14", batch=b, throughput_rps=rps) for b, rps in (("3", "10"), ("128", "12.5"))]
    yaml = NO_THRESHOLD.replace("[1, 4]", "[1, 3, 96, 128]")
    folder = write(tmp_path / "mine", "\n".join([HEADER, *points]), yaml)
    [variant] = load_pipeline(folder).stages[0].variants
    assert variant.units == 14
    assert (variant.throughput_rps[1], variant.throughput_rps[3]) == (10, 12.5)
    assert list(variant.latency_mean_s) == sorted(variant.latency_mean_s)
    table = load_profile(folder).stages[0].tables["small"]
    assert table.cell(14, 128).throughput_is_measured
    assert not table.cell(14, 96).throughput_is_measured


def test_start_ups_of_half_an_hour_and_latencies_of_ten_minutes_are_taken(tmp_path: Path) -> None:
    slow = line(load_rps="0.02", latency_mean_s="600", latency_p99_s="600", throughput_rps="0.0016666")
    yaml = NO_THRESHOLD.replace("start_up_s: 9", "start_up_s: 1800")
    [variant] = load_pipeline(write(tmp_path / "mine", f"{HEADER}\n{slow}", yaml)).stages[0].variants
    assert (variant.start_up_s, variant.throughput_rps[0]) == (1800, 0.0016666)


def test_a_longer_latency_or_start_up_is_a_fault_that_names_the_limit(tmp_path: Path) -> None:
    slow = f"{HEADER}\n{line(latency_mean_s='601', latency_p99_s='601', throughput_rps='0.001')}"
    assert "more than 600 s" in str(check_folder(write(tmp_path / "mine", slow))[0])
    late = DESCRIPTION.replace("start_up_s: 9", "start_up_s: 3601")
    assert "at most 3600 s" in str(check_folder(write(tmp_path / "mine", yaml=late))[0])
