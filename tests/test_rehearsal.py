"""The rehearsed cluster: what it plays, and its time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.errors import InputError
from ipa_rl.live.rehearsal import RehearsedCluster, rehearsal
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Recorded, WorkloadModel, save_workload

VIDEO = load_definition("video")


def test_another_workload_is_rehearsed_by_its_folder_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    save_workload(tmp_path / "mine", WorkloadModel(), Recorded(np.full(6000, 13)))
    content = {"load": "mine", "window": "test"}
    cluster = rehearsal(VIDEO, content, tmp_path / "sidecar.yaml")
    assert set(cluster.look().state.history_rps) == {13.0}


def test_a_part_is_played_as_a_whole() -> None:
    cluster = rehearsal(VIDEO, {"window": "validation"})
    assert len(cluster._coming) == 300_000


def test_a_window_without_a_name_is_refused() -> None:
    with pytest.raises(InputError, match="twitter has no window 'noon'"):
        rehearsal(VIDEO, {"window": "noon"})


def test_its_time_goes_on_where_loads_seen_before_ended_and_agrees_with_the_loads_clock() -> None:
    now_s = 0.0
    loads = np.full(HISTORY_STEPS + 700, 9.0)
    cluster = RehearsedCluster(VIDEO, loads, lambda: now_s, clock_s=250)
    cluster.start_after(1.8e9)
    for now_s in (0.0, 10.0, 699.0, 700.0, 5000.0):
        assert 1.8e9 <= cluster.unix_s() - now_s < 1.8e9 + 700
        assert cluster.clock_of(cluster.unix_s()) == cluster.look().state.clock_s
