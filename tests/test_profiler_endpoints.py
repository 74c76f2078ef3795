"""The profiler on real servers over HTTP: the V2 protocol, JSON, raw bytes, and servers in trouble."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipa_rl.errors import InputError
from ipa_rl.profiler import Outcome, ProfilingJob, profile
from ipa_rl.profiles import check_folder, load_pipeline
from ipa_rl.progress import Silent
from tests.inference_server import BATCH, service_s
from tests.prometheus_server import answers, free_port, wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "tests.inference_server", "{port}", "{variant}"]
TENSOR = {"name": "image", "datatype": "FP32", "shape": [3, 4, 4]}
QUICK = {"precision": 0.2, "cell_limit_s": 1.5, "warm_up_s": 0.05, "timeout_s": 60}


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of jobs start at the root of the checkout."""
    monkeypatch.chdir(ROOT)


def job(target: Any, *variants: Any, batches: tuple[int, ...] = (1, 4), **measuring: Any) -> ProfilingJob:
    stage = {
        "name": "detect",
        "stage_sla_s": 5,
        "target": target,
        "variants": [{"name": name, "accuracy": 0.5, **rest} for name, rest in variants or [("small", {})]],
    }
    whole = {"threshold_rps": 4, "batches": batches, "cores": [1], "stages": [stage]}
    return ProfilingJob.model_validate(whole | {"measuring": QUICK | measuring})


def v2(**changes: Any) -> dict[str, Any]:
    return {"v2": {"url": "http://127.0.0.1:{port}", "command": COMMAND, "inputs": [TENSOR], **changes}}


def http(path: str, **changes: Any) -> dict[str, Any]:
    base = "http://127.0.0.1:{port}"
    return {"http": {"url": f"{base}/{path}", "ready": f"{base}/ready", "command": COMMAND, **changes}}


def is_as_served(outcome: Outcome, batch: int) -> bool:
    """Whether the cell's figures are what the server takes for a full batch.

    Hardly better, as a round holds few calls; how much worse is up to a busy machine, but a batch that was
    not full, or an item counted twice, would be.
    """
    assert [str(fault) for fault in outcome.faults] == []
    (cell,) = [one for one in outcome.cells if one.batch == batch]
    assert 0.98 * service_s(batch) <= cell.latency_mean_s < 6 * service_s(batch)
    assert cell.latency_mean_s <= cell.latency_p99_s
    capacity_rps = batch / service_s(batch)
    assert capacity_rps / 6 < cell.throughput_rps <= 1.25 * capacity_rps
    return True


def test_a_v2_server_is_started_and_measured_with_batches_in_requests(tmp_path: Path) -> None:
    outcome = profile(job(v2()), tmp_path, Silent())
    assert is_as_served(outcome, 1)
    assert is_as_served(outcome, 4)
    (start,) = outcome.starts
    assert start.start_up_s is not None
    assert start.start_up_s > 0.05
    assert start.memory_mb is None or start.memory_mb > 10
    assert check_folder(tmp_path) == []
    assert load_pipeline(tmp_path).stages[0].variants[0].name == "small"


def test_json_carries_a_batch_in_the_list_that_items_names(tmp_path: Path) -> None:
    target = http("predict", json={"instances": [[1, 2]]}, items="instances", answers="predictions")
    assert is_as_served(profile(job(target, batches=(4,)), tmp_path, Silent()), 4)


def test_a_file_is_one_item_and_as_many_are_sent_as_the_server_makes_a_batch_of(tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(b"not really")
    target = http("bytes", body=str(tmp_path / "image.jpg"), headers={"Content-Type": "image/jpeg"})
    assert is_as_served(profile(job(target, batches=(BATCH,)), tmp_path, Silent()), BATCH)


def test_a_command_that_names_the_batch_is_started_for_each(tmp_path: Path) -> None:
    target = v2(command=[*COMMAND, "--batch={batch}"])
    outcome = profile(job(target, batches=(1, 2), starts=2), tmp_path, Silent())
    assert len(outcome.starts) == 4
    assert {cell.batch for cell in outcome.cells} == {1, 2}


def test_a_server_that_runs_already_is_measured_as_it_is(tmp_path: Path) -> None:
    port = free_port()
    words = [word.format(port=port, variant="small") for word in COMMAND]
    with subprocess.Popen(words) as server:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/ready"), "ready")
        target = v2(url=f"http://127.0.0.1:{port}", command=[])
        outcome = profile(job(target, ("small", {"start_up_s": 9}), batches=(2,)), tmp_path, Silent())
        assert server.poll() is None
        server.terminate()
    assert is_as_served(outcome, 2)
    assert outcome.starts[0].start_up_s is None
    assert load_pipeline(tmp_path).stages[0].variants[0].start_up_s == 9


@pytest.mark.parametrize("name", ["acme/vit-base", "a b#c?d%2Fe&f", "große:int4+8", "../small"])
def test_a_name_with_reserved_characters_is_one_segment_of_the_path(name: str, tmp_path: Path) -> None:
    """For V2 servers, and where the URL of another server names the variant."""
    by_json = http("{variant}/predict", json={"instances": [[1]]}, items="instances")
    for kind, target in (("v2", v2()), ("http", by_json)):
        (tmp_path / kind).mkdir()
        assert is_as_served(profile(job(target, (name, {}), batches=(1,)), tmp_path / kind, Silent()), 1)


TROUBLES = {
    "answers-500": "answered 500 at batch 1: no weights for this model",
    "short-answer": "an output has shape [0] for 1 items at batch 1",
    "large-answer": "answers with more than 67108864 bytes at batch 1",
    "ends-at-once": "command ended with status 1, last words: error: weights.bin is missing",
}
SILENCES = {
    "never-answers": "no answer within 8 s at batch 1",
    "never-ready": "did not answer 200 within 8 s",
}


@pytest.mark.parametrize("variant", TROUBLES)
def test_a_server_in_trouble_is_one_line_and_the_other_variants_are_kept(
    variant: str, tmp_path: Path
) -> None:
    outcome = profile(job(v2(), (variant, {}), ("small", {}), batches=(1,)), tmp_path, Silent())
    (fault,) = outcome.faults
    assert fault.field == "stages.detect.target.v2"
    assert f"variant {variant} on 1 cores: " in str(fault)
    assert TROUBLES[variant] in str(fault)
    assert fault.fix
    assert "\n" not in str(fault)
    assert [cell.variant for cell in outcome.cells] == ["small"]


@pytest.mark.parametrize("variant", SILENCES)
def test_a_server_that_keeps_silent_is_not_waited_for_without_end(variant: str, tmp_path: Path) -> None:
    (fault,) = profile(job(v2(), (variant, {}), timeout_s=8), tmp_path, Silent()).faults
    assert SILENCES[variant] in str(fault)


def test_answers_that_are_too_few_are_found_in_plain_json_as_well(tmp_path: Path) -> None:
    target = http("predict", json={"instances": [0]}, items="instances", answers="predictions")
    outcome = profile(job(target, ("short-answer", {}), batches=(4,)), tmp_path, Silent())
    assert "predictions has 3 values for 4 items" in str(outcome.faults[0])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"command": ["no-such-program"]}, "no-such-program cannot be run: no such file or directory"),
        ({"url": "127.0.0.1:{port}", "ready": "nonsense"}, "nonsense is not a URL"),
        ({"model": "other"}, "answered 404"),
        ({"url": "http://127.0.0.1:1", "ready": "http://127.0.0.1:{port}/ready"}, "ClientConnectorError"),
    ],
)
def test_a_target_that_is_written_wrongly_is_one_line(
    changes: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    (fault,) = profile(job(v2(**changes), batches=(1,)), tmp_path, Silent()).faults
    assert problem in str(fault)
    assert fault.fix


def test_a_server_that_should_run_already_and_does_not_is_one_line(tmp_path: Path) -> None:
    target = v2(url=f"http://127.0.0.1:{free_port()}", command=[])
    (fault,) = profile(job(target, ("small", {"start_up_s": 9})), tmp_path, Silent()).faults
    assert "does not answer 200" in str(fault)


def test_a_body_that_does_not_exist_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stages\.detect\.target\.http\.body: there is no file"):
        profile(job(http("bytes", body="nowhere.jpg")), tmp_path, Silent())
    assert list(tmp_path.iterdir()) == []
