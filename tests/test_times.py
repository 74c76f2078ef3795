"""Exact times of arrival: made from counts, and read from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipa_rl.agents.program import static_agent
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.judge.play import play
from ipa_rl.judge.simulated_cluster import Scenario
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.times import read_times, times_within


def test_times_lie_in_their_seconds_and_ascend() -> None:
    counts = np.array([3, 0, 5, 1])
    times_s = times_within(counts, np.random.default_rng(0))
    assert (np.diff(times_s) >= 0).all()
    assert np.bincount(times_s.astype(int), minlength=4).tolist() == counts.tolist()


def test_exact_times_are_served_as_they_are(video: Definition, tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    times = np.arange(0.0, 200.0, 0.25)
    path.write_text("\n".join(f"{one:.2f}" for one in times), encoding="utf-8")
    window = read_times(path, HISTORY_STEPS, 10)
    played = play(video, static_agent(video, 8.0), Scenario(window))
    assert window.times_s is not None
    assert window.times_s[:2].tolist() == [0.0, 0.25]
    assert played.column("arrived").tolist() == [40.0] * 8


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e6, 1e9])
def test_times_since_1970_begin_at_the_second_of_the_first(unit: float, tmp_path: Path) -> None:
    """As logs have them: in seconds, milliseconds, microseconds or nanoseconds."""
    path = tmp_path / "log.txt"
    times = 0.25 + np.arange(0.0, 200.0, 0.5)
    path.write_text("\n".join(f"{(1_714_650_000 + one) * unit:.6f}" for one in times), encoding="utf-8")
    window = read_times(path, HISTORY_STEPS, 10)
    assert window.arrivals.tolist() == [2] * 200
    assert window.times_s == pytest.approx(times[times >= HISTORY_STEPS] - HISTORY_STEPS, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1.0\nsoon\n", r":2: is not a time: 'soon'"),
        ("1.0\nnan\n", r":2: is not a time: 'nan'"),
        ("3.0\n2.5\n", r":2: 2\.5 comes after 3"),
        ("-1\n", r":1: -1 comes after 0"),
        ("1.0\n2.0\n", r"ends at 2 s; fix: give at least 130 s"),
        ("", r"ends at 0 s"),
        ("1.0\n2026-05-02T11:40:00Z\n", r":2: is not a time: '2026-05-02T11:40:00Z'; fix: .*date -f"),
        ("[02/May/2026:11:40:00 +0000]\n", r"date -f FILE"),
        ("0\n9000000\n", r"ends at 9e\+06 s; fix: give at most 2678400 s"),
        ("0\n1e300\n", r"ends at 1e\+300 s"),
        ("1714650000\n1714650000000\n", r"ends at 1\.7\d+e\+12 s"),
    ],
)
def test_faults_of_a_file_of_times_are_named(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "times.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        read_times(path, HISTORY_STEPS, 10)
