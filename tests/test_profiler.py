"""The profiler on Python callables: what it finds, what it writes, what it does when things go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ipa_rl.cli import app
from ipa_rl.errors import InputError
from ipa_rl.profiler import Outcome, ProfilingJob, profile, read_job
from ipa_rl.profiler.processes import usable_cores
from ipa_rl.profiles import check_folder, load_pipeline, load_profile
from ipa_rl.profiles.points import read_points
from ipa_rl.progress import Silent
from tests.processes import children_of
from tests.profiled_models import EACH_S, FIRST_S, LOAD_S

pytestmark = pytest.mark.slow

QUICK = {"precision": 0.2, "cell_limit_s": 1.5, "warm_up_s": 0.05, "timeout_s": 60}
BUSY = 2.0
"""How much longer a model may seem to take on a machine that is busy with other things."""


def job(
    *variants: str, batches: tuple[int, ...] = (1, 4), target: Any = None, **changes: Any
) -> ProfilingJob:
    """A job of one stage, one core, and variants by name."""
    stage = {
        "name": "detect",
        "stage_sla_s": 5,
        "target": target or {"callable": "tests.profiled_models:load"},
        "variants": [{"name": name, "accuracy": 0.5} for name in variants or ("small",)],
    }
    measuring = QUICK | changes.pop("measuring", {})
    whole = {"threshold_rps": 4, "batches": batches, "cores": [1], "measuring": measuring, "stages": [stage]}
    return ProfilingJob.model_validate(whole | changes)


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A profile of a model with known service times."""
    folder = tmp_path_factory.mktemp("profiled")
    return folder, profile(job(batches=(1, 2, 8)), folder, Silent())


def test_the_profile_finds_the_service_times_of_the_model(profiled: tuple[Path, Outcome]) -> None:
    stages = load_profile(profiled[0]).stages
    table = stages[0].tables["small"]
    for batch in (1, 2, 8):
        true_s, cell = FIRST_S + EACH_S * batch, table.cell(1, batch)
        assert true_s <= cell.latency_mean_s < BUSY * true_s
        assert batch / true_s / BUSY < cell.throughput_rps <= batch / true_s
        assert cell.throughput_rps == pytest.approx(batch / cell.latency_mean_s, rel=0.02)
    assert table.mean_fit.latency_s(1, 4) == pytest.approx(FIRST_S + 4 * EACH_S, rel=BUSY - 1)


def test_the_folder_has_no_faults_and_makes_a_pipeline(profiled: tuple[Path, Outcome]) -> None:
    folder, outcome = profiled
    assert outcome.faults == ()
    assert check_folder(folder) == []
    assert load_pipeline(folder).stages[0].variants[0].batches == (1, 2, 8)


def test_every_point_is_read_as_capacity_and_says_how_good_it_is(profiled: tuple[Path, Outcome]) -> None:
    points = read_points(profiled[0] / "detect.csv", ["small"]).points
    assert [point.batch for point in points] == [1, 2, 8]
    for point in points:
        assert point.is_saturated
        assert "95 % intervals" in point.note
        assert "calls in" in point.note


def test_start_up_load_time_memory_and_machine_are_written(profiled: tuple[Path, Outcome]) -> None:
    model = load_profile(profiled[0]).description
    (variant,) = model.stages[0].variants
    assert variant.load_s is not None
    assert variant.load_s >= LOAD_S
    assert variant.start_up_s > variant.load_s
    assert model.measured is not None
    assert model.measured.machine.cores == usable_cores()
    if sys.platform == "linux":
        assert variant.memory_mb is not None
        assert 5 < variant.memory_mb < 100


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the memory of a process")
def test_memory_is_the_models_at_its_most(tmp_path: Path) -> None:
    (start,) = profile(job("hungry", batches=(1,)), tmp_path, Silent()).starts
    assert start.memory_mb is not None
    assert start.memory_mb > 120


def test_a_replica_has_its_threads_and_processors_and_a_process_of_its_own(tmp_path: Path) -> None:
    target = {"callable": "tests.profiled_models:threads"}
    cores = [1, 2] if usable_cores() > 1 else [1]
    outcome = profile(job(batches=(1,), target=target, cores=cores), tmp_path, Silent())
    assert [str(fault) for fault in outcome.faults] == []
    assert [cell.cores for cell in outcome.cells] == cores


def on_l4(target: str = "load", **changes: Any) -> ProfilingJob:
    """A job of one stage whose variants run on one L4."""
    content = job(batches=(1,)).model_dump(mode="json", exclude_unset=True, by_alias=True)
    stage = {"resource": "l4", "target": {"callable": f"tests.profiled_models:{target}"}}
    content["stages"][0] |= stage | changes
    del content["cores"]
    return ProfilingJob.model_validate(content)


def test_what_runs_on_a_device_is_written_as_placed_there_and_has_all_processors(tmp_path: Path) -> None:
    outcome = profile(on_l4(), tmp_path, Silent())
    assert [str(fault) for fault in outcome.faults] == []
    (variant,) = load_pipeline(tmp_path).stages[0].variants
    assert (variant.name, variant.resource, variant.units) == ("small@l4", "l4", 1)
    with pytest.raises(InputError, match=r"targets\.detect: was started with"):
        profile(job(batches=(1,)), tmp_path, Silent())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resource": "cores", "units": [1]}, "units are of another resource than cores"),
        ({"resource": "cores"}, "cores is missing"),
        ({"variants": [{"name": "small", "accuracy": 0.5, "base_cores": 2}]}, "its stage runs on l4"),
    ],
)
def test_a_job_says_either_cores_or_a_resource(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        on_l4(**changes)


def test_what_was_measured_is_not_measured_again(profiled: tuple[Path, Outcome]) -> None:
    folder, before = profiled
    assert profile(job(batches=(1, 2, 8)), folder, Silent()).cells == before.cells


class Interrupting:
    """Ctrl-C once a number of cells is there."""

    def __init__(self, after: int) -> None:
        self._after = after

    def advance(self, part: str, done: int, total: int) -> None:
        if done == self._after:
            raise KeyboardInterrupt


def test_a_run_that_was_cut_off_goes_on_with_the_cells_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        profile(job(), tmp_path, Interrupting(after=1))
    book = tmp_path / "measured.jsonl"
    first = book.read_text(encoding="utf-8").splitlines()[1]
    with book.open("a", encoding="utf-8") as file:
        file.write('{"cell": {"stage": "det')  # as a kill leaves it
    outcome = profile(job(), tmp_path, Silent())
    assert [cell.batch for cell in outcome.cells] == [1, 4]
    assert outcome.cells[0].latency_mean_s == json.loads(first)["cell"]["latency_mean_s"]


def test_variants_and_batch_sizes_can_be_added_later(tmp_path: Path) -> None:
    before = profile(job(batches=(1,)), tmp_path, Silent())
    after = profile(job("small", "large", batches=(1, 2)), tmp_path, Silent())
    assert before.cells[0] in after.cells
    assert len(after.cells) == 4


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("machine", "processor", "another"),
        ("measuring", "precision", 0.5),
        ("targets", "detect", {"callable": "models:other"}),
    ],
)
def test_a_folder_that_was_begun_otherwise_is_left_alone(
    part: str, field: str, value: Any, profiled: tuple[Path, Outcome], tmp_path: Path
) -> None:
    head, *rest = (profiled[0] / "measured.jsonl").read_text(encoding="utf-8").splitlines()
    begun = json.loads(head)
    begun[part][field] = value
    book = tmp_path / "measured.jsonl"
    book.write_text("\n".join([json.dumps(begun), *rest]) + "\n", encoding="utf-8")
    before = book.read_bytes()
    with pytest.raises(InputError, match=rf"measured\.jsonl: {part}\.{field}: was started with .*; fix: "):
        profile(job(batches=(1, 2, 8)), tmp_path, Silent())
    assert book.read_bytes() == before


FAULTS = {
    "no-weights": ("variants", "FileNotFoundError: weights.bin"),
    "raises": ("target.callable", "ValueError: bad input of two lines at batch 1"),
    "short": ("target.callable", "gave 0 values for 1 items at batch 1"),
    "crashes-at-4": ("target", "signal 9 at batch 4"),
    "hangs": ("target", "no answer within 5 s at batch 1"),
}


@pytest.mark.parametrize("variant", FAULTS)
def test_a_variant_that_fails_is_named_and_the_others_are_kept(variant: str, tmp_path: Path) -> None:
    field, problem = FAULTS[variant]
    asked = job(variant, "small", measuring={"timeout_s": 5})
    outcome = profile(asked, tmp_path, Silent())
    (fault,) = outcome.faults
    assert fault.field == f"stages.detect.{field}"
    assert f"variant {variant} on 1 cores: " in str(fault)
    assert problem in str(fault)
    assert fault.fix
    assert "\n" not in str(fault)
    assert [cell.batch for cell in outcome.cells if cell.variant == "small"] == [1, 4]
    assert check_folder(tmp_path) == []


def test_a_cell_that_was_measured_before_the_process_died_is_kept(tmp_path: Path) -> None:
    outcome = profile(job("crashes-at-4"), tmp_path, Silent())
    assert [cell.batch for cell in outcome.cells] == [1]


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ({"callable": "no.module:load"}, "callable"),
        ({"callable": "tests.profiled_models:nothing"}, "callable"),
        ({"callable": "tests.profiled_models:load", "sample": "tests.profiled_models:nothing"}, "sample"),
    ],
)
def test_what_cannot_be_imported_is_one_fault_not_one_a_variant(
    target: Any, field: str, tmp_path: Path
) -> None:
    outcome = profile(job("small", "large", target=target), tmp_path, Silent())
    (fault,) = outcome.faults
    assert fault.field == f"stages.detect.target.{field}"
    assert outcome.files == ()


def test_more_cores_than_there_are_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cores: 4096 on a machine of"):
        profile(job(cores=[1, 4096]), tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []


BROKEN = {
    "threshold_rps": ("threshold_rps: 4", "threshold_rps: 0"),
    "batches": ("batches: [1]", "batches: [one]"),
    "stages.0.target": (
        "callable: 'models:load'",
        "callable: 'models:load', http: {url: 'http://x', json: {}}",
    ),
    "stages.0.target.callable": ("models:load", "models.load"),
    "stages.0.target.colour": ("callable:", "colour: red, callable:"),
    "stages.0.target.http": ("callable: 'models:load'", "http: {url: 'http://x'}"),
    "stages.0": ("callable: 'models:load'", "http: {url: 'http://x', json: {a: 1}}"),
    "stages.0.variants.0.accuracy": ("accuracy: 0.5", "accuracy: 50"),
}
GOOD = """\
threshold_rps: 4
batches: [1]
cores: [1]
stages:
- name: detect
  stage_sla_s: 5
  target: {callable: 'models:load'}
  variants: [{name: small, accuracy: 0.5}]
"""


@pytest.mark.parametrize("field", BROKEN)
def test_a_broken_job_file_names_file_field_and_fix(field: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert read_job(path).stages[0].target.callable == "models:load"
    before, after = BROKEN[field]
    assert before in GOOD
    path.write_text(GOOD.replace(before, after), encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_job(path)
    assert raised.value.file == path
    assert str(raised.value.field).startswith(field)
    assert raised.value.fix


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a: [", b"", b"5"])
def test_a_file_that_is_no_job_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"job\.yaml:.* .*fix: ") as raised:
        read_job(path)
    assert "\n" not in str(raised.value)


MODELS = """\
import time

def load(variant, cores):
    if variant == "broken":
        raise RuntimeError("no such weights")
    def predict(items):
        time.sleep(0.01 + 0.005 * len(items))
        return items
    return predict

def sample(n):
    return [0] * n
"""


def a_job_folder(tmp_path: Path, *variants: str, batches: tuple[int, ...] = (1, 4)) -> Path:
    """A job file and its models beside it, as a user has them."""
    (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")
    asked = job(*variants, batches=batches, target={"callable": "models:load"})
    content = asked.model_dump(mode="json", exclude_none=True)
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def ipa_rl(*words: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    line = [sys.executable, "-m", "ipa_rl", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, encoding="utf-8")


def test_from_models_to_a_picture_on_the_command_line(tmp_path: Path) -> None:
    path, folder = a_job_folder(tmp_path), tmp_path / "mine"
    done = ipa_rl("profile", path, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "start-up s" in done.stdout
    assert all(len(line.rstrip()) <= 80 for line in done.stdout.splitlines())
    assert (folder / "fits.png").stat().st_size > 10_000
    checked = CliRunner().invoke(app, ["profiles", "check", str(folder)])
    assert checked.exit_code == 0
    picture = tmp_path / "again.png"
    shown = CliRunner().invoke(app, ["profiles", "show", str(folder), "--plot", str(picture)])
    assert shown.exit_code == 0
    assert picture.is_file()
    again = CliRunner().invoke(app, ["profile", str(path), "--out", str(folder), "--json"])
    assert [cell["batch"] for cell in json.loads(again.stdout)["cells"]] == [1, 4]


def test_a_variant_that_fails_ends_the_command_with_status_2_and_one_line(tmp_path: Path) -> None:
    path, folder = a_job_folder(tmp_path, "small", "broken"), tmp_path / "mine"
    done = ipa_rl("profile", path, "--out", folder)
    assert done.returncode == 2
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith(f"error: {path}: stages.detect.variants: variant broken on 1 cores: RuntimeError")
    assert "Traceback" not in done.stderr
    assert check_folder(folder) == []


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_ends_what_it_started_and_says_how_to_go_on(
    sign: signal.Signals, status: int, tmp_path: Path
) -> None:
    many = tuple(range(1, 65))  # so that it is not done before the signal comes, however busy the machine
    path, folder = a_job_folder(tmp_path, batches=many), tmp_path / "mine"
    words = [sys.executable, "-m", "ipa_rl", "profile", str(path), "--out", str(folder)]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    book = folder / "measured.jsonl"
    while not (book.is_file() and '"cell"' in book.read_text(encoding="utf-8")):
        assert running.poll() is None
        time.sleep(0.05)
    workers = children_of(running.pid)
    running.send_signal(sign)
    _, said = running.communicate(timeout=120)
    assert running.returncode == status
    assert "Traceback" not in said
    assert str(folder) in said or sign == signal.SIGTERM
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_the_logs_hold_what_a_model_prints(profiled: tuple[Path, Outcome]) -> None:
    (log,) = (profiled[0] / "logs").iterdir()
    assert "loading small" in log.read_text(encoding="utf-8")
    assert os.access(log, os.R_OK)
