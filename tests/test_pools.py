"""The same figures wherever a comparison runs; workers end with their parent."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ipa_rl.errors import InputError
from ipa_rl.judge.comparison import Comparison
from ipa_rl.judge.pools import Here, Processes, Ray
from tests.processes import children_of, is_running
from tests.prometheus_server import wait_until
from tests.short_comparison import run, same_but_for_time


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return run(tmp_path_factory.mktemp("here"), Here())


@pytest.mark.slow
def test_processes_give_the_very_same_numbers(reference: Comparison, tmp_path: Path) -> None:
    assert same_but_for_time(reference, run(tmp_path, Processes(2)))


@pytest.mark.slow
def test_a_process_has_one_thread_for_its_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    pool = Processes(1)
    assert list(pool.each(os.getenv, ["OPENBLAS_NUM_THREADS"])) == [(0, "1")]


@pytest.mark.slow
def test_what_a_worker_of_ray_raises_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        list(Ray("local").each(partial(operator.floordiv, 1), [0]))
    assert "RayTaskError" not in type(raised.value).__name__


@pytest.mark.slow
def test_a_ray_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Ray cluster answers at"):
        run(tmp_path, Ray("127.0.0.1:1"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes by Linux's /proc")
def test_workers_end_when_the_command_is_killed(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "ipa_rl", "compare", "video", "--part", "validation", "--workers", "2"]
    command = subprocess.Popen([*words, "--out", str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_until(lambda: any((tmp_path / "jobs").glob("*.npz")), "a job is done", 60.0)
    workers = children_of(command.pid)
    assert len(workers) >= 2
    command.kill()
    command.wait()
    wait_until(lambda: not any(is_running(worker) for worker in workers), "the workers have ended", 60.0)
