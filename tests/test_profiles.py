"""Profile files: every kind of fault is named; what is measured and what is modelled; allocations."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.errors import InputError, one_a_cause
from ipa_rl.profiles import check_folder, load_pipeline, load_profile
from ipa_rl.profiles.points import COLUMNS, read_points
from ipa_rl.profiles.scaling import Scaling, fit, known_fits

PIPELINES = ("video", "audio-qa", "audio-sent", "sum-qa", "nlp")
HEADER = ",".join(COLUMNS)
GOOD = """\
small,1,1,20,0.1,0.12,10,measured,,bench,
small,1,4,20,0.36,0.4,11,measured,,bench,
small,2,1,40,0.06,0.07,16,measured,,bench,
"""
DESCRIPTION = """\
threshold_rps: 4
batches: [1, 4]
stages:
- name: detect
  stage_sla_s: 5
  variants:
  - {name: small, accuracy: 0.5, start_up_s: 9}
"""


def write(folder: Path, csv: str | bytes = f"{HEADER}\n{GOOD}", yaml: str = DESCRIPTION) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pipeline.yaml").write_text(yaml, encoding="utf-8")
    data = csv if isinstance(csv, bytes) else csv.encode("utf-8")
    (folder / "detect.csv").write_bytes(data)
    return folder


@pytest.mark.parametrize("name", PIPELINES)
def test_the_shipped_pipelines_have_no_faults(name: str) -> None:
    assert check_folder(resources.folder("profiles") / name) == []


def test_the_fits_that_ship_are_those_of_the_points_that_ship() -> None:
    known_fits.cache_clear()
    shipped = dict(known_fits())
    known_fits().clear()
    for name in resources.shipped_names("profiles"):
        load_profile(name)
    assert known_fits().keys() == shipped.keys(), "run scripts/fit_profiles.py"
    for made_from, solution in known_fits().items():
        assert shipped[made_from] == pytest.approx(solution, rel=1e-5, abs=1e-5)


def test_base_allocations_of_video_come_out_as_the_papers() -> None:
    crop, classification = load_pipeline("video").stages
    assert {v.name: v.cores for v in crop.variants} == {
        "yolov5n": 1, "yolov5s": 1, "yolov5m": 2, "yolov5l": 4, "yolov5x": 8,
    }  # fmt: skip
    assert [v.cores for v in classification.variants] == [1, 1, 1, 1, 2]


def test_base_allocations_of_the_audio_stage_come_out_as_the_papers() -> None:
    assert [v.cores for v in load_pipeline("audio-qa").stages[0].variants] == [1, 2, 4]


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


@pytest.mark.parametrize("name", PIPELINES)
def test_latency_never_falls_with_the_batch_and_the_tail_is_never_below_the_mean(name: str) -> None:
    for stage in load_pipeline(name).stages:
        for variant in stage.variants:
            assert list(variant.latency_mean_s) == sorted(variant.latency_mean_s)
            assert list(variant.latency_p99_s) == sorted(variant.latency_p99_s)
            pairs = zip(variant.latency_mean_s, variant.latency_p99_s, strict=True)
            assert all(p99 >= mean for mean, p99 in pairs)


def test_capacity_is_what_was_measured_where_the_replica_was_saturated() -> None:
    stages = load_profile("video").stages
    cell = stages[0].tables["yolov5n"].cell(1, 1)
    assert cell.throughput_is_measured
    assert cell.throughput_rps == pytest.approx(15.08, abs=0.01)


def test_a_cell_that_nobody_measured_is_marked_as_modelled() -> None:
    stages = load_profile("video").stages
    cell = stages[0].tables["yolov5l"].cell(4, 1)
    assert not (cell.mean_is_measured)
    assert not (cell.throughput_is_measured)
    assert "borrowed" in str(stages[0].tables["yolov5l"].mean_fit)


def test_throughput_capped_by_the_load_is_not_read_as_capacity() -> None:
    stages = load_profile("nlp").stages
    cell = stages[0].tables["dinalzein-xlm-roberta-base-finetuned-language-identification"].cell(16, 1)
    assert not cell.throughput_is_measured
    assert cell.throughput_rps > 21


@given(st.floats(0.01, 2), st.floats(0.0, 1.0), st.floats(0.05, 1.0))
def test_the_fit_finds_the_model_that_made_the_points(first: float, serial: float, marginal: float) -> None:
    def latency_s(cores: int, batch: int) -> float:
        return first * (1 + marginal * (batch - 1)) * (serial + (1 - serial) / cores)

    latencies = {(c, b): latency_s(c, b) for c in (1, 2, 4, 8) for b in (1, 2, 8)}
    fitted = fit(latencies, Scaling(0.5, 0.5))
    for cores, batch in ((16, 1), (1, 64), (4, 4)):
        assert fitted.latency_s(cores, batch) == pytest.approx(latency_s(cores, batch), rel=1e-3)


def line(**changes: str) -> str:
    fields = dict(zip(COLUMNS, GOOD.splitlines()[0].split(","), strict=True)) | changes
    return ",".join(fields[column] for column in COLUMNS) + "\n"


FAULTS: dict[str, tuple[str | bytes, int, str]] = {
    "missing column": (HEADER.replace(",cores", "") + "\n" + GOOD, 1, "cores"),
    "unknown column": (HEADER.replace("note", "notes") + "\n" + GOOD, 1, "notes"),
    "negative latency": (f"{HEADER}\n{GOOD}{line(batch='2', latency_mean_s='-0.1')}", 5, "latency_mean_s"),
    "zero cores": (f"{HEADER}\n{GOOD}{line(cores='0')}", 5, "cores"),
    "half a batch": (f"{HEADER}\n{GOOD}{line(batch='1.5')}", 5, "batch"),
    "latency falls": (
        f"{HEADER}\n{GOOD}{line(batch='8', latency_mean_s='0.05', latency_p99_s='0.06')}", 5,
        "latency_mean_s",
    ),
    "unknown variant": (f"{HEADER}\n{GOOD}{line(variant='smal')}", 5, "variant"),
    "duplicate point": (f"{HEADER}\n{GOOD}{line()}", 5, "variant"),
    "NaN": (f"{HEADER}\n{GOOD}{line(batch='2', latency_p99_s='nan')}", 5, "latency_p99_s"),
    "infinite": (f"{HEADER}\n{GOOD}{line(batch='2', throughput_rps='inf')}", 5, "throughput_rps"),
    "not a number": (f"{HEADER}\n{GOOD}{line(batch='2', load_rps='many')}", 5, "load_rps"),
    "milliseconds": (
        f"{HEADER}\n{GOOD}{line(batch='2', latency_mean_s='190', latency_p99_s='210')}", 5, "latency_mean_s",
    ),
    "too few fields": (f"{HEADER}\n{GOOD}small,1,1\n", 5, "line"),
    "empty file": ("", 1, ""),
    "header only": (f"{HEADER}\n", 0, ""),
    "not UTF-8": (f"{HEADER}\n{GOOD}".encode() + b"sm\xe4ll,1,1\n", 5, ""),
    "tail below the mean": (f"{HEADER}\n{GOOD}{line(batch='2', latency_p99_s='0.01')}", 5, "latency_p99_s"),
    "latency falls where the loads differ": (
        f"{HEADER}\n{GOOD}{line(batch='8', load_rps='160', latency_mean_s='0.05', throughput_rps='150')}", 5,
        "latency_mean_s",
    ),
    "means in milliseconds": (
        f"{HEADER}\n{GOOD}{line(batch='2', latency_mean_s='100')}", 5, "latency_mean_s",
    ),
    "throughput above the load": (
        f"{HEADER}\n{GOOD}{line(batch='2', throughput_rps='90')}", 5, "throughput_rps",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_names_file_line_field_and_fix(kind: str, tmp_path: Path) -> None:
    csv, at, field = FAULTS[kind]
    folder = write(tmp_path / "mine", csv)
    faults = check_folder(folder)
    assert faults, kind
    fault = next(one for one in faults if not field or one.field == field)
    assert fault.file == folder / "detect.csv"
    assert fault.line == (at or None)
    assert fault.fix
    assert "\n" not in str(fault)


def test_an_unknown_variant_comes_with_the_name_that_was_meant(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", f"{HEADER}\n{GOOD}{line(variant='smal')}")
    assert "did you mean small?" in str(check_folder(folder)[0])


SHEETS = {
    "semicolons and decimal commas": (";", ","),
    "semicolons and decimal points": (";", "."),
    "tabs and decimal commas": ("\t", ","),
    "tabs and decimal points": ("\t", "."),
}


@pytest.mark.parametrize("kind", SHEETS)
def test_a_file_of_a_spreadsheet_is_read_as_its_country_writes_it(kind: str, tmp_path: Path) -> None:
    separator, decimal = SHEETS[kind]
    text = "\n".join(
        separator.join(field.replace(".", decimal) for field in row.split(","))
        for row in f"{HEADER}\n{GOOD}".splitlines()
    )
    folder = write(tmp_path / "mine", text)
    assert check_folder(folder) == []
    as_usual = read_points(write(tmp_path / "usual") / "detect.csv", ["small"])
    assert read_points(folder / "detect.csv", ["small"]).points == as_usual.points


def one_fault(folder: Path) -> InputError:
    (fault,) = one_a_cause(check_folder(folder))
    return fault


def test_what_is_wrong_with_a_spreadsheet_is_one_fault(tmp_path: Path) -> None:
    mixed = f"{HEADER}\n{GOOD}".replace(",", ";").replace("0.36", "0,36")
    assert "decimal commas (line 3) and decimal points (line 2)" in str(one_fault(write(tmp_path, mixed)))
    bars = f"{HEADER}\n{GOOD}".replace(",", "|")
    assert "separate them by commas, semicolons or tabs" in str(one_fault(write(tmp_path, bars)))
    assert "separator" in str(one_fault(write(tmp_path, f"{HEADER}\n{GOOD.replace('0.', '0,')}")))
    endless = f"{HEADER}\n{GOOD}{line(note='x' * 200_000)}"
    assert "field larger than field limit" in str(one_fault(write(tmp_path, endless)))


def test_milliseconds_in_a_column_are_one_fault(tmp_path: Path) -> None:
    rows = [line(batch=str(n), latency_mean_s="", latency_p99_s=str(200 * n)) for n in range(5, 77)]
    fault = one_fault(write(tmp_path, f"{HEADER}\n{GOOD}{''.join(rows)}"))
    assert (fault.line, fault.field) == (5, "latency_p99_s")
    assert "divide milliseconds by 1000" in str(fault)


def test_a_queue_at_another_load_is_no_latency_that_falls(tmp_path: Path) -> None:
    """The latency of an overloaded batch of 1 holds the wait; a full batch of 4 takes longer all the same."""
    queue = line(load_rps="80", latency_mean_s="2", latency_p99_s="3")
    rows = f"{HEADER}\n{queue}{GOOD.partition(chr(10))[2]}"
    assert check_folder(write(tmp_path, rows)) == []


def test_a_figure_that_a_smaller_batch_raised_is_not_marked_as_measured(tmp_path: Path) -> None:
    """A fall by less than a quarter is noise: the table never falls, and says that the figure is modelled."""
    noisy = line(batch="4", load_rps="160", latency_mean_s="0.09", latency_p99_s="0.1", throughput_rps="48")
    folder = write(tmp_path, f"{HEADER}\n{GOOD.splitlines()[0]}\n{noisy}")
    cell = load_profile(folder).stages[0].tables["small"].cell(1, 4)
    assert cell.latency_mean_s == 0.1
    assert not cell.mean_is_measured
    assert cell.throughput_is_measured


def test_checking_twice_as_many_points_takes_twice_as_many_steps(tmp_path: Path) -> None:
    def steps(count: int) -> int:
        rows = "".join(line(note=str(n), latency_mean_s=str(0.1 + n / 1e5)) for n in range(count))
        folder = write(tmp_path / str(count), f"{HEADER}\n{GOOD}{rows}")
        calls = 0

        def count_call(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count_call)
        try:
            assert check_folder(folder) == []
        finally:
            sys.setprofile(None)
        return calls

    few, many = steps(300), steps(600)
    assert many < 2.2 * few


DESCRIPTION_FAULTS = {
    "threshold_rps": ("threshold_rps: 4\n", ""),
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
