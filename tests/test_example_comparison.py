"""What was measured on a live pipeline, read from its files, beside what the simulator says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace as Object

import pytest

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.workload.open_loop import write_csv
from tests.example_pipeline import EXAMPLE

sys.path.insert(0, str(EXAMPLE))

from compare import compare, measured
from serving.load import Sent, arrival_times
from watch import rows_of

DEFINITION = load_definition("video")
WARM_UP_S = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 30 s: two requests a second, the last interval's late; one core, then three."""
    sent = [Sent(t / 2, t / 2, 7.5 if t / 2 > 20 else 1.0, "served", 0.3, "a,b") for t in range(2 * 35)]
    sent.append(Sent(8.0, 8.0, 1.0, "dropped", 0.0, ""))
    write_csv(tmp_path / "requests.csv", Sent, sent)
    lines = ["time_s,stage,variant,ready,all"]
    for second in range(-5, 30):
        lines.append(f"{second}.2,crop,yolov5n,1,1")
        if second >= 20:
            lines.append(f"{second}.2,classification,resnet152,0,1")
    (tmp_path / "pods.csv").write_text("\n".join(lines), encoding="utf-8")
    start = {
        "crop": {"variant": "yolov5n", "batch": 1, "replicas": 1},
        "classification": {"variant": "resnet18", "batch": 1, "replicas": 1},
    }
    run = {"begin": 340, "warm_up_s": WARM_UP_S, "minutes": 0.5, "seed": 0, "agent": "universal"}
    run |= {"environment": "video", "start": start}
    (tmp_path / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return tmp_path


def test_requests_count_in_the_interval_in_which_they_ended(folder: Path) -> None:
    timeline = measured(DEFINITION, folder, WARM_UP_S, steps=3)
    assert timeline.served.tolist() == [20.0, 13.0, 14.0]
    assert timeline.violated.tolist() == [1.0, 0.0, 14.0]
    assert timeline.pas_x100.tolist() == pytest.approx([30.0, 30.0, 30.0])
    assert timeline.p99_s.tolist() == pytest.approx([1.0, 1.0, 7.5], abs=0.1)


def test_cores_are_those_of_all_pods_and_replicas_those_that_are_ready(folder: Path) -> None:
    timeline = measured(DEFINITION, folder, WARM_UP_S, steps=3)
    assert timeline.cores.tolist() == [1.0, 1.0, 3.0]
    assert timeline.replicas.tolist() == [[1.0, 0.0]] * 3


def test_the_comparison_is_written_and_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(folder)
    figures = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    due_s = arrival_times("bursty", 335, 35, 1.0, 0)
    assert figures["simulated"]["served"] == pytest.approx((due_s >= WARM_UP_S).sum(), abs=8)
    assert figures["measured"]["cores"] == pytest.approx(5 / 3)
    assert (folder / "comparison.png").stat().st_size > 10_000
    assert "simulated" in capsys.readouterr().out


def test_pods_that_ended_are_not_counted_and_those_that_start_are() -> None:
    def pod(stage: str, variant: str, phase: str, ready: str) -> Object:
        env = [Object(name="IPA_STAGE", value=stage), Object(name="IPA_VARIANT", value=variant)]
        status = Object(phase=phase, conditions=[Object(type="Ready", status=ready)])
        return Object(spec=Object(containers=[Object(env=env)]), status=status)

    router = Object(
        spec=Object(containers=[Object(env=None)]), status=Object(phase="Running", conditions=None)
    )
    pods = [
        pod("crop", "yolov5n", "Running", "True"),
        pod("crop", "yolov5n", "Pending", "False"),
        pod("crop", "yolov5s", "Failed", "False"),
        router,
    ]
    assert rows_of(3.0, pods) == [(3.0, "crop", "yolov5n", 1, 2)]
