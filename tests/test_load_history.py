"""The loads that a sidecar has seen: what is kept, what is unknown, what a file gives back."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray
from ipa_rl.live.cluster import Loads
from ipa_rl.sidecar.load_history import HEADER, LoadHistory

BEGIN_S = 1_700_000_000
LOADS = st.lists(st.one_of(st.floats(0, 1e5), st.just(math.nan)), min_size=150, max_size=400)


def seen(rps: FloatArray, until: int, stale: bool = False) -> Loads:
    """The 120 s before second ``until`` of a series; NaN is filled, as a source of loads does."""
    part = rps[max(until - 120, 0) : until]
    return Loads(np.nan_to_num(part, nan=7.0), 0.0, stale, measured_rps=part)


def filled(history: LoadHistory, rps: FloatArray, every: int = 10) -> LoadHistory:
    """A history that has seen a series, step by step."""
    for until in range(every, len(rps) + 1, every):
        history.saw(seen(rps, until), BEGIN_S + until + 0.3)
    return history


def known(history: LoadHistory) -> dict[int, float]:
    """Loads by the second at which their step begins."""
    recent = history.recent(float)
    at = np.flatnonzero(np.isfinite(recent.rps))
    return {int(recent.first + k) * history.step_s: float(recent.rps[k]) for k in at}


@settings(max_examples=20)
@given(LOADS, st.integers(1, 60))
def test_every_second_is_kept_once_and_what_was_not_measured_stays_unknown(
    values: list[float], every: int
) -> None:
    rps = np.array(values)
    history = filled(LoadHistory(1, 0.01), rps, every)
    whole = rps[: len(rps) // every * every]
    true = {BEGIN_S + k: np.float32(one) for k, one in enumerate(whole.tolist()) if math.isfinite(one)}
    assert known(history) == true


def test_stale_loads_are_unknown_and_never_zero() -> None:
    history = LoadHistory(1, 0.1)
    history.saw(seen(np.full(120, 9.0), 120), BEGIN_S)
    history.saw(seen(np.zeros(120), 120, stale=True), BEGIN_S + 500)
    history.saw(seen(np.full(120, 9.0), 120), BEGIN_S + 1000)
    assert set(known(history).values()) == {9.0}
    assert history.known_s == 120 + 120
    assert history.between(BEGIN_S - 10, BEGIN_S) is not None
    gap = history.between(BEGIN_S + 100, BEGIN_S + 200)
    assert gap is not None
    assert np.isnan(gap).all()
    assert history.between(BEGIN_S + 990, BEGIN_S + 1010) is None


def test_longer_steps_are_means_of_their_seconds() -> None:
    history = filled(LoadHistory(60, 1.0), np.arange(240.0), every=60)
    begin = BEGIN_S // 60 * 60
    assert all(at % 60 == 0 for at in known(history))
    offset = begin + 60 - BEGIN_S  # the first whole minute begins there
    assert known(history)[begin + 60] == pytest.approx(offset + 29.5)


def test_what_is_older_than_the_days_asked_for_falls_out() -> None:
    history = LoadHistory(3600, 1.0)
    for hour in range(100):
        history.saw(Loads(np.full(3600, float(hour)), 0.0, stale=False), (hour + 1) * 3600.0)
    assert list(known(history).values()) == list(range(76, 100))


def test_a_clock_that_was_set_back_forgets_what_seems_to_be_still_to_come() -> None:
    history = filled(LoadHistory(1, 0.01), np.full(300, 5.0))
    history.saw(seen(np.full(120, 6.0), 120), BEGIN_S - 5000.0)
    assert set(known(history).values()) == {6.0}
    assert max(known(history)) == BEGIN_S - 5001


@settings(max_examples=20)
@given(LOADS)
def test_a_file_gives_back_what_was_seen(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    path = tmp_path_factory.mktemp("history") / "loads.csv"
    history = filled(LoadHistory(1, 0.01, path), np.array(values))
    history.save()
    again = known(LoadHistory(1, 0.01, path))
    assert again.keys() == known(history).keys()
    assert list(again.values()) == pytest.approx(list(known(history).values()), rel=1e-3)
    assert path.read_bytes().startswith(HEADER)


def test_a_file_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "loads.csv"
    history = LoadHistory(600, 1.0, path)
    for k in range(1000):
        history.saw(Loads(np.full(600, 1.5), 0.0, stale=False), (k + 1) * 600.0)
        history.save()
        assert len(path.read_bytes().splitlines()) <= 1 + 1.25 * 144
    assert len(known(LoadHistory(600, 1.0, path))) == 144


def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "loads.csv"
    path.write_bytes(HEADER + b"1700000000,4\n1700000001,nan\nx\n1700000002,-1\n1700000003,5,9,9\n17000")
    history = LoadHistory(1, 0.01, path)
    assert known(history) == {1_700_000_000: 4.0}
    assert caplog.records[0].__dict__["lines"] == 5
    history.saw(seen(np.full(120, 9.0), 120), BEGIN_S + 500.0)
    history.save()
    assert len(known(LoadHistory(1, 0.01, path))) == 121


def test_times_still_to_come_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "loads.csv"
    path.write_bytes(HEADER + b"1700000000,4\n1800000000,4\n")
    assert known(LoadHistory(1, 0.01, path, end_s=1.75e9)) == {1_700_000_000: 4.0}


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("name,age\nann,3\n")
    with pytest.raises(InputError, match=r"mine.csv: load_history.path: does not begin with time,load_rps"):
        LoadHistory(1, 0.01, path)
    assert path.read_text() == "name,age\nann,3\n"


def test_a_full_disk_loses_no_step_and_what_was_seen_is_written_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loads.csv"
    history = LoadHistory(1, 0.01, path)
    caplog.set_level(logging.INFO)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr("ipa_rl.sidecar.load_history.append", full)
        for k in range(1, 6):
            history.saw(seen(np.full(120, 9.0), 120), BEGIN_S + 10.0 * k)
            history.save()
    assert [r.getMessage() for r in caplog.records] == [
        "the history of loads cannot be written: No space left on device"
    ]
    history.save()
    assert len(known(LoadHistory(1, 0.01, path))) == len(known(history)) == 160
