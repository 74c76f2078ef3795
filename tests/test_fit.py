"""All that is fitted to a workload: it covers what it should, on loads of any length and rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.judge.forecasts import forecast_errors
from ipa_rl.progress import Silent
from ipa_rl.workload.clock import Season, save_season, season_of
from ipa_rl.workload.fit import Fitted, check_own, fit, usual_step_s
from ipa_rl.workload.quantiles import QUANTILES, quantiles_of
from ipa_rl.workload.workload import Recorded, Workload, WorkloadModel, load_workload, save_workload

pytest.importorskip("torch")
pytestmark = pytest.mark.slow


def kept(folder: Path, counts: NDArray[np.int64], **description: object) -> Workload:
    folder.mkdir(exist_ok=True)
    return save_workload(folder, WorkloadModel.model_validate(description), Recorded(counts=counts))


def fitted_to(workload: Workload, *, lstm: bool = False, epochs: int = 5) -> Fitted:
    return fit(workload, [usual_step_s(workload)], Silent(), lstm=lstm, seed=0, epochs=epochs)


def waves(seconds: int, level_rps: float, seed: int = 0) -> NDArray[np.int64]:
    rates = level_rps * (1.0 + 0.5 * np.sin(np.arange(seconds) / 300.0))
    return np.random.default_rng(seed).poisson(rates)


@pytest.mark.parametrize("level_rps", [8.0, 4000.0])
def test_quantiles_cover_their_share_of_what_they_have_not_seen(tmp_path: Path, level_rps: float) -> None:
    found = fitted_to(kept(tmp_path, waves(6 * 3600, level_rps)), epochs=3)
    np.testing.assert_allclose(found.steps[0].covered, np.tile(QUANTILES, (8, 1)), atol=0.09)


def test_a_fit_is_better_than_the_general_quantiles_where_loads_are_others(tmp_path: Path) -> None:
    workload = kept(tmp_path, waves(4 * 3600, 4000.0))
    before = {row["forecaster"]: row["mae_rps"] for row in forecast_errors(workload, 1, "test", Silent())}
    fitted_to(workload)
    after = {row["forecaster"]: row["mae_rps"] for row in forecast_errors(workload, 1, "test", Silent())}
    assert after["quantile:50@20"] < 0.8 * before["quantile:50@20"]
    assert after["autoregressive"] < after["window-max:30"]


@pytest.mark.parametrize(
    ("seconds", "level_rps", "step_s"), [(1200, 0.01, 1), (1200, 4000.0, 1), (10 * 86_400, 0.01, 300)]
)
def test_short_and_slow_workloads_are_fitted_and_forecast(
    tmp_path: Path, seconds: int, level_rps: float, step_s: int
) -> None:
    workload = kept(tmp_path, np.random.default_rng(0).poisson(np.full(seconds, level_rps)))
    found = fitted_to(workload, lstm=seconds == 1200, epochs=1)
    assert found.found.season.period_s == 0
    assert found.steps[0].step_s >= step_s
    rows = forecast_errors(workload, found.steps[0].step_s, "test", Silent())
    assert all(np.isfinite(row["mae_rps"]) for row in rows)
    assert ("lstm" in {row["forecaster"] for row in rows}) == (seconds == 1200)
    assert found.summary()["season_s"] == 0


def test_what_knows_no_scale_forecasts_the_same_of_more_requests(tmp_path: Path) -> None:
    """With so many requests that their own noise says nothing."""
    counts = 10_000 * waves(1200, 20.0)
    few, many = (kept(tmp_path / str(k), k * counts) for k in (1, 10))
    for workload in (few, many):
        fitted_to(workload, lstm=True, epochs=1)
    errors = [
        {row["forecaster"]: row["mae_rps"] / k for row in forecast_errors(workload, 1, "test", Silent())}
        for workload, k in ((few, 1), (many, 10))
    ]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_a_new_season_takes_quantiles_with_it_that_were_fitted_by_the_old_one(tmp_path: Path) -> None:
    workload = kept(tmp_path, waves(3600, 8.0))
    fitted_to(workload)
    assert quantiles_of(workload, 1).is_own
    other = tmp_path / "fitted" / "quantiles-2s.npz"
    other.write_bytes((tmp_path / "fitted" / "quantiles-1s.npz").read_bytes())
    fitted_to(workload)
    assert other.is_file()
    save_season(Season(3600, np.linspace(0.5, 1.5, 3600)), workload)
    assert season_of(workload).period_s == 3600
    assert not other.exists()


def test_a_step_that_does_not_fit_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    workload = kept(tmp_path, waves(3600, 8.0))
    for step_s, told in ((60, "has no 10800 s without gaps"), (7, "steps of 7 s are not known")):
        with pytest.raises(InputError, match=told):
            fit(workload, [step_s], Silent(), lstm=False, seed=0)


def test_what_ships_is_not_fitted_anew_by_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="copy its folder"):
        check_own(load_workload("twitter"))
    check_own(kept(tmp_path, waves(3600, 8.0)))
