"""Benchmarks of other tools become points: the very figures, in every format, and nothing made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.profiles import check_folder, load_pipeline, load_profile
from ipa_rl.profiles.benchmarks import Selection, Told, import_benchmarks, placement_of
from ipa_rl.profiles.points import Point, read_points
from tests import benchmark_files as files
from tests.benchmark_files import EXCERPTS, TOLD, Measured, sweeps

ALL = Selection()
ON_GPU = Told(accuracy={"": 0.7}, start_up_s={"": 20.0})


def points_of(folder: Path, models: Sequence[str]) -> list[Point]:
    """The points of the folder's stage, which has no faults."""
    assert check_folder(folder) == []
    return list(read_points(folder / "model.csv", list(models)).points)


def assert_same(folder: Path, sweep: Sequence[Measured], has_p99: bool = True) -> None:
    """Points and tables are what was measured, in seconds and items a second."""
    points = points_of(folder, [one.model for one in sweep])
    assert len(points) == len(sweep)
    by_cell = {(point.variant, point.batch): point for point in points}
    for one in sweep:
        point = by_cell[one.model, one.batch]
        assert point.throughput_rps == pytest.approx(one.items_rps, rel=1e-9)
        assert point.latency_mean_s == pytest.approx(one.mean_s, rel=1e-9)
        assert point.latency_p99_s == (pytest.approx(one.p99_s, rel=1e-9) if has_p99 else None)
        assert point.cores == 4
    cells = {name: table for stage in load_profile(folder).stages for name, table in stage.tables.items()}
    for one in sweep:
        cell = cells[one.model].cell(4, one.batch)
        assert cell.throughput_rps == pytest.approx(one.items_rps, rel=1e-9)
        assert cell.latency_mean_s == pytest.approx(one.mean_s, rel=1e-9)
        assert not has_p99 or cell.latency_p99_s == pytest.approx(one.p99_s, rel=1e-9)


def imported(paths: Sequence[Path], folder: Path, choice: Selection = ALL, told: Told = TOLD) -> None:
    import_benchmarks(paths, folder, "model", told, choice)


def in_a_folder(check: Callable[[Path], None]) -> None:
    with TemporaryDirectory() as folder:
        check(Path(folder))


@settings(max_examples=30)
@given(sweeps(), st.sampled_from([",", ";", "\t"]))
def test_model_analyzer_gives_back_the_very_figures(sweep: list[Measured], separator: str) -> None:
    def check(folder: Path) -> None:
        imported([files.model_analyzer(folder / "a.csv", sweep, separator)], folder / "out")
        assert_same(folder / "out", sweep)

    in_a_folder(check)


@settings(max_examples=30)
@given(sweeps(most_models=1))
def test_perf_analyzer_gives_back_the_very_figures_and_the_batch_of_a_request(sweep: list[Measured]) -> None:
    def check(folder: Path) -> None:
        name = sweep[0].model
        imported([files.perf_analyzer(folder / "p.csv", sweep)], folder / "out", Selection(names=[name]))
        assert_same(folder / "out", sweep)

    in_a_folder(check)


@settings(max_examples=30)
@given(sweeps(request_batches=(1,)))
def test_guidellm_gives_back_the_very_figures_of_closed_and_open_loops(sweep: list[Measured]) -> None:
    def check(folder: Path) -> None:
        imported([files.guidellm(folder / "g.json", sweep)], folder / "out")
        assert_same(folder / "out", sweep)

    in_a_folder(check)


@settings(max_examples=30)
@given(sweeps(most_models=1, request_batches=(1,)))
def test_inference_perf_gives_back_the_very_figures_of_all_its_stages(sweep: list[Measured]) -> None:
    def check(folder: Path) -> None:
        paths = [files.inference_perf(folder / f"stage_{k}.json", one) for k, one in enumerate(sweep)]
        imported(paths, folder / "out", Selection(names=[sweep[0].model]))
        assert_same(folder / "out", sweep)

    in_a_folder(check)


@settings(max_examples=30)
@given(sweeps(), st.floats(1.0, 99.0))
def test_timm_gives_back_the_very_figures_with_the_accuracy_of_the_weights(
    sweep: list[Measured], top1: float
) -> None:
    def check(folder: Path) -> None:
        paths = files.timm(folder / "a.csv", folder / "s.csv", sweep, top1)
        imported(paths, folder / "out", told=Told(start_up_s={"": 1800.0}, cores={"": 4}))
        assert_same(folder / "out", sweep, has_p99=False)
        for variant in load_pipeline(folder / "out").stages[0].variants:
            assert variant.accuracy == pytest.approx(top1 / 100, rel=1e-6)
            assert (variant.units, variant.start_up_s) == (4, 1800)

    in_a_folder(check)


ASKED = {
    "model_analyzer.csv": ["accuracy", "--start-up SECONDS"],
    "perf_analyzer.csv": ["--name NAME", "--accuracy FRACTION", "--start-up SECONDS", "--cores N"],
    "guidellm.json": ["--accuracy FRACTION", "--start-up SECONDS", "--cores N"],
    "inference_perf.json": ["--name NAME", "--accuracy FRACTION", "--start-up SECONDS", "--cores N"],
    "timm_speed.csv": ["accuracy", "--start-up SECONDS", "--cores N"],
}


@pytest.mark.parametrize("name", ASKED)
def test_what_a_file_does_not_say_is_asked_for_in_one_message_and_nothing_is_written(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as asked:
        imported([EXCERPTS / name], tmp_path / "out", told=Told())
    assert name in str(asked.value)
    for words in ASKED[name]:
        assert words in str(asked.value)
    assert not (tmp_path / "out").exists()


def test_only_what_is_still_missing_is_asked_for() -> None:
    told = Told(accuracy={"resnet18": 0.7, "resnet34": 0.74}, start_up_s={"": 9})
    with pytest.raises(InputError) as asked:
        imported(
            [EXCERPTS / "timm_speed.csv"], Path("out"), Selection(variants=["resnet18", "resnet34"]), told
        )
    assert "resnet18@160" in str(asked.value)
    told = Told({"resnet18@224": 0.7}, {"": 9}, {"resnet18@224": 1})
    choice = Selection(variants=["resnet18@224", "resnet34@224"])
    with pytest.raises(InputError) as asked:
        imported([EXCERPTS / "timm_speed.csv"], Path("out"), choice, told)
    assert asked.value.fix == "add --accuracy resnet34@224=FRACTION --cores resnet34@224=N"


def test_of_a_file_on_a_gpu_no_cores_are_asked_for() -> None:
    with pytest.raises(InputError) as asked:
        imported([EXCERPTS / "model_analyzer.csv"], Path("out"), told=Told())
    assert "cores" not in str(asked.value)


def test_requests_in_flight_are_a_batch_and_the_slower_of_two_readings_is_left_out(tmp_path: Path) -> None:
    found = import_benchmarks([EXCERPTS / "model_analyzer.csv"], tmp_path, "model", ON_GPU, Selection())
    assert any("has more throughput" in why for why in found.left_out)
    assert any("a batch of 1 takes longer than one of 4" in why for why in found.left_out)
    names = {one.variant for one in found.stage.readings if one.variant}
    points = points_of(tmp_path, [f"{name}@gpu" for name in names])
    default = [one for one in points if one.variant == "add_sub_config_default@gpu"]
    figures = [(one.batch, one.throughput_rps, one.latency_p99_s) for one in default]
    assert figures == [(1, 2508.0, 0.0005), (2, 6176.0, 0.0006), (4, 13205.0, 0.0005)]


def test_at_one_concurrency_a_batch_is_that_of_a_request(tmp_path: Path) -> None:
    choice = Selection(variants=["add_sub_config_default"], concurrency=1)
    imported([EXCERPTS / "model_analyzer.csv"], tmp_path, choice, ON_GPU)
    points = points_of(tmp_path, ["add_sub_config_default@gpu"])
    assert [(point.batch, point.throughput_rps) for point in points] == [(1, 2508.0), (2, 4876.1)]
    with pytest.raises(InputError, match="use one of 1, 2"):
        imported([EXCERPTS / "model_analyzer.csv"], tmp_path / "b", Selection(concurrency=3), ON_GPU)


def test_what_was_measured_on_a_gpu_occupies_one_of_it_and_no_cores(tmp_path: Path) -> None:
    imported([EXCERPTS / "model_analyzer.csv"], tmp_path, told=ON_GPU)
    variants = load_pipeline(tmp_path).stages[0].variants
    assert {(one.resource, one.units) for one in variants} == {("gpu", 1)}
    assert {one.name.partition("@")[2] for one in variants} == {"gpu"}
    with pytest.raises(
        InputError, match=r"--cores: all was measured on gpu, not on cores; fix: leave it out"
    ):
        imported([EXCERPTS / "model_analyzer.csv"], tmp_path / "b", told=TOLD)


def test_one_model_on_several_kinds_of_hardware_is_one_variant_with_placements(tmp_path: Path) -> None:
    speeds = [tmp_path / f"benchmark-infer-{end}.csv" for end in ("amp-cu124-rtx4090-dynamo", "fp32-cpu-i9")]
    for path, batch in zip(speeds, (64, 1), strict=True):
        files.timm(tmp_path / "a.csv", path, [Measured("small", batch, 1, 0.02, 0.03)], 70.0)
    told = Told(start_up_s={"": 20.0}, cores={"": 14})
    imported([tmp_path / "a.csv", *speeds], tmp_path / "out", told=told)
    (described,) = load_profile(tmp_path / "out").description.stages[0].variants
    assert described.placements is not None
    assert [one.resource for one in described.placements] == ["cores", "rtx4090"]
    variants = load_pipeline(tmp_path / "out").stages[0].variants
    assert [(one.name, one.units) for one in variants] == [("small", 14), ("small@rtx4090", 1)]


def test_what_a_file_does_not_say_of_devices_is_told_for_all_files_or_for_each(tmp_path: Path) -> None:
    perf = [EXCERPTS / "perf_analyzer.csv", tmp_path / "other.csv"]
    perf[1].write_bytes(perf[0].read_bytes())
    each = Selection(names=["small"], placements=[placement_of("l4"), placement_of("h100=2")])
    imported(perf, tmp_path / "out", each, ON_GPU)
    variants = load_pipeline(tmp_path / "out").stages[0].variants
    assert [(one.name, one.units) for one in variants] == [("small@h100", 2), ("small@l4", 1)]
    with pytest.raises(InputError, match="2 resources for 1 file of readings; fix: give one for all"):
        imported(perf[:1], tmp_path / "b", each, ON_GPU)
    as_cores = Selection(placements=[placement_of("cores")])
    imported([EXCERPTS / "model_analyzer.csv"], tmp_path / "c", as_cores)
    assert load_pipeline(tmp_path / "c").resources == ("cores",)


@pytest.mark.parametrize("text", ["", "=2", "l4=", "l4=0", "l4=many", "l4=-1", "cores=4", "l4=nan"])
def test_a_device_that_is_no_device_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--resource: is ") as refused:
        placement_of(text)
    assert refused.value.fix


def test_a_pipeline_of_two_stages_grows_stage_by_stage_each_with_its_own_batches(tmp_path: Path) -> None:
    import_benchmarks([EXCERPTS / "perf_analyzer.csv"], tmp_path, "detect", TOLD, Selection(names=["small"]))
    import_benchmarks(
        [EXCERPTS / "inference_perf.json"], tmp_path, "answer", TOLD, Selection(names=["llama"])
    )
    assert check_folder(tmp_path) == []
    source = load_profile(tmp_path).description.source
    assert source == "perf_analyzer: perf_analyzer.csv; inference-perf: inference_perf.json"
    detect, answer = load_pipeline(tmp_path).stages
    assert (detect.name, detect.variants[0].batches) == ("detect", (1, 2, 3, 4))
    assert (answer.name, answer.variants[0].batches) == ("answer", (21,))
    with pytest.raises(InputError, match="has a stage answer already"):
        import_benchmarks([EXCERPTS / "guidellm.json"], tmp_path, "answer", TOLD, Selection())


def test_a_description_with_comments_is_not_rewritten(tmp_path: Path) -> None:
    imported([EXCERPTS / "guidellm.json"], tmp_path)
    path = tmp_path / "pipeline.yaml"
    path.write_text("# mine\n" + path.read_text())
    with pytest.raises(InputError, match="comments, which would be lost"):
        import_benchmarks([EXCERPTS / "guidellm.json"], tmp_path, "other", TOLD, Selection())


def test_batches_may_be_chosen_and_those_not_measured_are_modelled(tmp_path: Path) -> None:
    paths = [EXCERPTS / "timm_accuracy.csv", EXCERPTS / "timm_speed.csv"]
    import_benchmarks(paths, tmp_path, "model", TOLD, Selection(variants=["resnet18"]), None, [1, 16])
    table = load_profile(tmp_path).stages[0].tables["resnet18"]
    assert load_pipeline(tmp_path).stages[0].variants[0].batches == (1, 16)
    assert table.cell(4, 1).throughput_is_measured
    assert not table.cell(4, 16).throughput_is_measured


REFUSED: dict[str, tuple[list[str], Selection, str]] = {
    "two formats": (["guidellm.json", "perf_analyzer.csv"], Selection(), "one after the other"),
    "no benchmark": (["README.md"], Selection(), "is of no format that is known"),
    "no such variant": (["guidellm.json"], Selection(variants=["small"]), "use some of e2e-mock-model"),
    "a name too many": (["perf_analyzer.csv"], Selection(names=["a", "b"]), "2 names for 1 file"),
    "a name that is not needed": (["guidellm.json"], Selection(names=["a"]), "the files name their models"),
    "no file": (["nothing.csv"], Selection(), "cannot be read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_imported_is_refused_with_the_fix(kind: str, tmp_path: Path) -> None:
    names, choice, words = REFUSED[kind]
    with pytest.raises(InputError) as refused:
        imported([EXCERPTS / name for name in names], tmp_path, choice)
    assert words in str(refused.value)
    assert refused.value.fix


def test_too_many_variants_are_refused_with_a_ladder_of_some(tmp_path: Path) -> None:
    sweep = [Measured(f"m{k}", 1, 1, 0.01 * k, 0.02 * k) for k in range(1, 31)]
    with pytest.raises(InputError) as refused:
        imported([files.model_analyzer(tmp_path / "a.csv", sweep)], tmp_path / "out")
    assert "30 variants" in str(refused.value)
    assert "--variants m1" in str(refused.value)


@pytest.mark.parametrize("name", [path.name for path in sorted(EXCERPTS.iterdir())])
@settings(max_examples=40)
@given(data=st.data())
def test_no_change_of_a_file_ever_ends_in_anything_but_a_pipeline_or_a_fault(
    name: str, data: st.DataObject
) -> None:
    """Bytes of a good file are replaced, removed or added at random."""
    raw = bytearray((EXCERPTS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(raw) - 1))
        raw[position : position + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))

    def check(folder: Path) -> None:
        path = folder / name
        path.write_bytes(bytes(raw))
        with suppress(InputError):
            imported([path], folder / "out", Selection(names=["small"] * (name[0] in "pi")))

    in_a_folder(check)


def test_a_stage_is_named_so_that_its_file_can_be() -> None:
    with pytest.raises(InputError, match="letters, digits"):
        import_benchmarks([EXCERPTS / "guidellm.json"], Path("out"), "../up", TOLD, ALL)
