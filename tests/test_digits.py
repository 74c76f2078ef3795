"""The digits pipeline: canvases, pace, and the accuracy that the shipped models are said to have."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.demo.digits import SIZES, STAGES, models
from ipa_rl.demo.digits.data import (
    CANVAS,
    DIGIT,
    MARGIN,
    NONE,
    PLACES,
    WITHOUT_DIGIT,
    Canvases,
    crop,
    make_canvases,
)
from ipa_rl.demo.digits.pace import Pace, share_of
from ipa_rl.demo.digits.train import MEASURED_ON, SEED, is_located, is_read
from ipa_rl.errors import InputError


@cache
def canvases() -> Canvases:
    return make_canvases("held-out", 1000, SEED)


PAIRS = [(stage, variant) for stage in STAGES for variant in SIZES[stage]]


class Clock:
    """A clock that moves as it is told."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        return self.time_s


def test_the_same_seed_makes_the_same_canvases_and_another_others() -> None:
    one, again, other = (make_canvases("held-out", 50, seed) for seed in (SEED, SEED, SEED + 1))
    assert np.array_equal(one.images, again.images)
    assert np.array_equal(one.labels, again.labels)
    assert not np.array_equal(one.images, other.images)


def test_no_digit_that_models_learn_from_is_held_out() -> None:
    from ipa_rl.demo.digits.data import HELD_OUT, _digits

    learned, held_out = _digits("train"), _digits("held-out")
    assert (len(learned[1]), len(held_out[1])) == (1797 - HELD_OUT, HELD_OUT)
    assert not {one.tobytes() for one in learned[0]} & {one.tobytes() for one in held_out[0]}


def test_a_tenth_of_the_canvases_has_no_digit_and_no_place() -> None:
    without = canvases().labels == NONE
    assert abs(without.mean() - WITHOUT_DIGIT) < 0.03
    assert (canvases().places[without] == NONE).all()
    assert ((canvases().places[~without] >= 0) & (canvases().places[~without] < PLACES)).all()
    assert canvases().images.shape[1:] == (CANVAS, CANVAS)
    assert 0.0 <= canvases().images.min() <= canvases().images.max() <= 1.0


@given(st.integers(0, PLACES - 1), st.integers(0, PLACES - 1))
def test_a_crop_shows_the_digit_at_its_place_with_a_margin(row: int, column: int) -> None:
    image = np.zeros((CANVAS, CANVAS), dtype=np.float32)
    image[row : row + DIGIT, column : column + DIGIT] = 1.0
    seen = crop(image, (row, column))
    assert seen.shape == (DIGIT + 2 * MARGIN,) * 2
    assert seen.sum() == DIGIT * DIGIT
    assert (seen[MARGIN:-MARGIN, MARGIN:-MARGIN] == 1.0).all()


@given(st.floats(0.001, 1.0), st.floats(0.0, 10.0), st.floats(0.0, 10.0), st.floats(1.0, 5.0))
def test_work_and_its_pause_take_the_processor_time_over_the_share(
    share: float, used_s: float, cold_s: float, slowdown: float
) -> None:
    """Of a pass that finds the caches as the one before left them; no pause where the machine is too busy."""
    wall, processor = Clock(), Clock()

    def work() -> str:
        took_s = used_s if processor.time_s else used_s + cold_s
        wall.time_s += took_s * slowdown
        processor.time_s += took_s
        return "done"

    result, pause_s = Pace(share, {}, wall, processor).measure("a model", work)
    busy_s = wall.time_s
    assert result == "done"
    assert busy_s + pause_s == pytest.approx(max(used_s / share, busy_s))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.1, 10.0)), min_size=1, max_size=20))
def test_work_takes_what_its_kind_took_at_its_fastest(works: list[tuple[str, float]]) -> None:
    """However long a neighbour on the same core makes it."""
    wall, processor = Clock(), Clock()
    pace = Pace(0.001, {}, wall, processor)
    for k, (kind, used_s) in enumerate(works):
        began_s = wall.time_s

        def work(used_s: float = used_s) -> None:
            wall.time_s += used_s
            processor.time_s += used_s

        _, pause_s = pace.measure(kind, work)
        least_s = min(used_s for other, used_s in works[: k + 1] if other == kind)
        assert wall.time_s - began_s + pause_s == pytest.approx(least_s / 0.001)


@given(st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_work_that_is_said_to_take_some_time_takes_that(said_s: float, used_s: float) -> None:
    """So that one replica is as fast as the next, whenever it was measured."""
    wall, processor = Clock(), Clock()

    def work() -> None:
        wall.time_s += used_s
        processor.time_s += used_s

    pace = Pace(0.001, {"a model": said_s}, wall, processor)
    for _ in range(3):
        began_s = wall.time_s
        _, pause_s = pace.measure("a model", work)
        assert wall.time_s - began_s + pause_s == pytest.approx(said_s / 0.001)


def test_a_core_is_a_small_share_and_a_replica_has_one_processor_at_most() -> None:
    assert share_of(3, core=0.02) == pytest.approx(0.06)
    assert share_of(100, core=0.02) == 1.0


def test_larger_variants_are_more_accurate() -> None:
    for stage in STAGES:
        accuracies = [models.accuracies()[stage][name] for name in SIZES[stage]]
        assert accuracies == sorted(accuracies)
        assert accuracies[-1] - accuracies[0] > 0.05


@pytest.mark.parametrize(("stage", "variant"), PAIRS)
def test_the_shipped_weights_are_as_accurate_as_recorded(stage: str, variant: str) -> None:
    """On a fifth of the canvases that were recorded, so up to their standard error."""
    network = models.load_network(stage, variant)
    right = is_located(network, canvases()) if stage == "detect" else is_read(network, canvases())
    recorded = models.accuracies()[stage][variant]
    assert right.mean() == pytest.approx(
        recorded, abs=4 * (recorded * (1 - recorded) / len(canvases())) ** 0.5
    )


@pytest.mark.slow
@pytest.mark.parametrize("detector", list(SIZES["detect"]))
def test_the_accuracy_of_a_pipeline_is_the_product_of_its_stages(detector: str) -> None:
    places = models.detect(models.load_network("detect", detector), list(canvases().images))
    crops = [crop(image, place) for image, place in zip(canvases().images, places, strict=True)]
    for classifier in SIZES["classify"]:
        read = models.classify(models.load_network("classify", classifier), crops)
        answers = np.where([place is None for place in places], NONE, read)
        product = models.accuracies()["detect"][detector] * models.accuracies()["classify"][classifier]
        assert (answers == canvases().labels).mean() == pytest.approx(product, abs=0.04)


def test_an_unknown_variant_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="conv8x2"):
        models.load_network("detect", "yolov5n")


def test_accuracies_say_how_they_were_measured() -> None:
    from importlib.resources import files

    content = json.loads((files("ipa_rl.demo.digits") / "weights" / "accuracies.json").read_text("utf-8"))
    assert (content["canvases"], content["seed"]) == (MEASURED_ON, SEED)
