"""Files that users name: what is none is told at once, and never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ipa_rl import documents, resources
from ipa_rl.agents.opponents_file import read_opponents
from ipa_rl.agents.policy import load_policy
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.files import exists, is_file, is_folder, read_bytes, read_text, replacing, write_text
from ipa_rl.judge.runs import RunFolder
from ipa_rl.live.cluster import ClusterError
from ipa_rl.live.prometheus_settings import Secret, UnreadableSecretError
from ipa_rl.live.ray_serve.api import ServeApi
from ipa_rl.profiler.job import ProfilingJob, read_job
from ipa_rl.profiler.measurements_file import Book
from ipa_rl.profiles.points import read_points
from ipa_rl.sidecar.explain import read_log
from ipa_rl.sidecar.orders import Orders
from ipa_rl.sidecar.promotion import load_state
from ipa_rl.sidecar.settings import SidecarFile, read_settings
from ipa_rl.training.checkpoints import read_log as read_checkpoints
from ipa_rl.training.hyperparameters import load_hyperparameters
from ipa_rl.workload.lstm import read_lstm
from ipa_rl.workload.quantiles import read_table
from ipa_rl.workload.recordings import import_workload


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def bound(path: Path) -> Path:
    socket.socket(socket.AF_UNIX).bind(str(path))
    return path


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (pipe, "is a named pipe, not a file"),
        (bound, "is a socket, not a file"),
        (lambda path: Path("/dev/zero"), "is a device, not a file"),
        (lambda path: path.parent, "is a folder"),
        (lambda path: path, "cannot be read: no such file or directory"),
        (lambda path: path.parent / ("x" * 5000), "cannot be read: file name too long"),
        (lambda path: path.parent / "a\0b", "is not a file name"),
        (lambda path: path.parent / "a\ud800b", "is not a file name"),
    ],
)
def test_what_is_no_file_is_told_at_once(made: Callable[[Path], Path], told: str, tmp_path: Path) -> None:
    path = made(tmp_path / "a")
    with pytest.raises(InputError, match=f"{told}; fix: give one") as caught:
        read_bytes(path, 1000, "give one")
    assert str(caught.value).isprintable()
    assert not is_file(path)
    assert is_folder(path) == path.is_dir() if "\ud800" not in str(path) and len(str(path)) < 4000 else True
    assert exists(path) == ("cannot be read" not in told and "file name" not in told)


def test_a_mark_of_byte_order_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufeffé".encode())
    assert read_text(tmp_path / "a", 10, "") == "é"


JOB = {
    "threshold_rps": 4, "batches": [1], "cores": [1],
    "stages": [
        {
            "name": "a", "stage_sla_s": 1, "target": {"callable": "models:load"},
            "variants": [{"name": "b", "accuracy": 0.5}],
        }
    ],
}  # fmt: skip

READERS: dict[str, Callable[[Path], object]] = {
    "yaml": lambda path: documents.load(path, SidecarFile, "docs"),
    "policy": lambda path: load_policy(path, load_definition("video")),
    "opponents": read_opponents,
    "lstm": partial(read_lstm, step_s=1),
    "quantiles": read_table,
    "recording": lambda path: import_workload(path, path.parent),
    "hyperparameters": load_hyperparameters,
    "job": read_job,
    "sidecar": read_settings,
    "environment": load_definition,
    "checkpoints": read_checkpoints,
    "decision log": read_log,
}


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_a_named_pipe(reader: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a named pipe|is not a file"):
        READERS[reader](pipe(tmp_path / "a.yaml"))


def test_a_named_pipe_among_the_files_of_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    pipe(tmp_path / "run.json")
    with pytest.raises(InputError, match="is a named pipe"):
        RunFolder(tmp_path).description()
    points = read_points(pipe(tmp_path / "crop.csv"), ["a"])
    assert "is a named pipe" in str(points.faults[0])
    assert load_state(pipe(tmp_path / "state")) == {}
    with pytest.raises(InputError, match="is a named pipe"):
        Book(pipe(tmp_path / "measured.jsonl"), ProfilingJob.model_validate(JOB))
    order = Orders(pipe(tmp_path / "order")).current
    assert order is not None
    assert order.wish == "pause"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "a\ud800b", "x" * 300 + ".yaml"])
def test_a_name_that_cannot_be_one_is_no_such_file(name: str) -> None:
    with pytest.raises(InputError, match="no such file or name") as caught:
        resources.find(name, "envs")
    assert str(caught.value).isprintable()


def test_a_token_in_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(UnreadableSecretError, match="is a named pipe"):
        Secret(file=pipe(tmp_path / "token")).read("bearer_token_file")
    serve = ServeApi("http://127.0.0.1:1", tmp_path / "token")
    with pytest.raises(ClusterError, match="is a named pipe"):
        serve.applications()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"half of the ne")
            raise KeyboardInterrupt

    write_text("old\n", path)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old\n"
    write_text("näw\n", path)
    assert path.read_text(encoding="utf-8") == "näw\n"
    assert list(tmp_path.iterdir()) == [path]
