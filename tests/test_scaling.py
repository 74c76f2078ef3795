"""The fits of a profile: what is measured and what is modelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.profiles import load_pipeline, load_profile, scaling
from ipa_rl.profiles.scaling import Scaling, fit, known_fits
from tests.profile_files import PIPELINES


class FittedAnew(dict[str, list[float]]):
    """Every fit is made again, held against the one that ships, and gives way to it.

    What a fit borrows is of others' solutions, whose last digits differ from machine to machine.
    """

    def __contains__(self, made_from: object) -> bool:
        return False

    def __setitem__(self, made_from: str, solution: list[float]) -> None:
        shipped = known_fits()
        assert made_from in shipped, "run scripts/fit_profiles.py"
        assert solution == pytest.approx(shipped[made_from], rel=1e-5, abs=1e-5)
        super().__setitem__(made_from, shipped[made_from])


def test_the_fits_that_ship_are_those_of_the_points_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    known_fits.cache_clear()
    shipped, anew = set(known_fits()), FittedAnew()
    monkeypatch.setattr(scaling, "known_fits", lambda: anew)
    for name in resources.shipped_names("profiles"):
        load_profile(name)
    assert anew.keys() == shipped, "run scripts/fit_profiles.py"


@pytest.mark.parametrize("name", PIPELINES)
def test_latency_never_falls_with_the_batch_and_the_tail_is_never_below_the_mean(name: str) -> None:
    for stage in load_pipeline(name).stages:
        for variant in stage.variants:
            assert list(variant.latency_mean_s) == sorted(variant.latency_mean_s)
            assert list(variant.latency_p99_s) == sorted(variant.latency_p99_s)
            pairs = zip(variant.latency_mean_s, variant.latency_p99_s, strict=True)
            assert all(p99 >= mean for mean, p99 in pairs)


def test_capacity_is_what_was_measured_where_the_replica_was_saturated() -> None:
    stages = load_profile("video").stages
    cell = stages[0].tables["yolov5n"].cell(1, 1)
    assert cell.throughput_is_measured
    assert cell.throughput_rps == pytest.approx(15.08, abs=0.01)


def test_a_cell_that_nobody_measured_is_marked_as_modelled() -> None:
    stages = load_profile("video").stages
    cell = stages[0].tables["yolov5l"].cell(4, 1)
    assert not (cell.mean_is_measured)
    assert not (cell.throughput_is_measured)
    assert "borrowed" in str(stages[0].tables["yolov5l"].mean_fit)


def test_throughput_capped_by_the_load_is_not_read_as_capacity() -> None:
    stages = load_profile("nlp").stages
    cell = stages[0].tables["dinalzein-xlm-roberta-base-finetuned-language-identification"].cell(16, 1)
    assert not cell.throughput_is_measured
    assert cell.throughput_rps > 21


@given(st.floats(0.01, 2), st.floats(0.0, 1.0), st.floats(0.05, 1.0))
def test_the_fit_finds_the_model_that_made_the_points(first: float, serial: float, marginal: float) -> None:
    def latency_s(cores: int, batch: int) -> float:
        return first * (1 + marginal * (batch - 1)) * (serial + (1 - serial) / cores)

    latencies: dict[tuple[float, int], float] = {
        (c, b): latency_s(c, b) for c in (1, 2, 4, 8) for b in (1, 2, 8)
    }
    fitted = fit(latencies, Scaling(0.5, 0.5))
    for cores, batch in ((16, 1), (1, 64), (4, 4)):
        assert fitted.latency_s(cores, batch) == pytest.approx(latency_s(cores, batch), rel=1e-3)
