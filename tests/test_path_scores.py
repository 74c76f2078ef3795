"""Load paths as forecasts of distributions: what is scored how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.errors import InputError
from ipa_rl.judge.path_scores import STEPS, moments_of, path_scores
from ipa_rl.workload.futures import TrueFuture, crps, futures_of
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel, save_workload


def noisy(folder: Path, seconds: int = 12_000) -> Workload:
    counts = np.random.default_rng(0).poisson(20.0, seconds)
    return save_workload(folder, WorkloadModel(), Recorded(counts))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(-50, 50))
def test_the_score_is_the_area_between_forecast_and_truth(samples: list[float], truth: float) -> None:
    """The integral of the squared difference of the two distribution functions."""
    edges = np.unique([*samples, truth])
    below = np.array([(np.array(samples) <= edge).mean() for edge in edges[:-1]])
    area = float(((below - (edges[:-1] >= truth)) ** 2 * np.diff(edges)).sum())
    assert crps(np.array([samples]), np.array([truth]))[0] == pytest.approx(area, abs=1e-9)


def test_who_knows_the_future_errs_by_nothing(tmp_path: Path) -> None:
    workload = noisy(tmp_path)
    moments = moments_of(workload, 1, "test", 1)
    truth = TrueFuture(workload.loads[: moments.seconds[0] + STEPS][-STEPS - 120 :], 1)
    (score,) = path_scores(workload, 1, moments, truth, 32, (60,))
    assert score.maximum == score.total == score.quantiles == 0.0


def test_paths_of_the_same_kind_of_load_cover_what_comes(tmp_path: Path) -> None:
    workload = noisy(tmp_path)
    moments = moments_of(workload, 1, "test", 300)
    near, far = path_scores(workload, 1, moments, futures_of(workload, 1, STEPS), 32, (10, 60))
    for score in (near, far):
        np.testing.assert_allclose(score.covered, [50, 80, 90, 95, 99], atol=12.0)
    assert far.total < near.total < near.maximum < 20.0


def test_a_part_too_short_to_score_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="test part is too short"):
        moments_of(noisy(tmp_path, 900), 1, "test")
