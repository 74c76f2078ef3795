"""timm's tables, joined by architecture and image size."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ipa_rl.errors import InputError
from ipa_rl.profiles.benchmarks.readings import Found
from ipa_rl.profiles.benchmarks.timm import read_timm
from tests.benchmark_files import EXCERPTS

SPEED, ACCURACY = EXCERPTS / "timm_speed.csv", EXCERPTS / "timm_accuracy.csv"


def read(*picks: str) -> Found:
    return read_timm([ACCURACY, SPEED], picks)


def test_accuracy_counts_at_the_image_size_of_the_speed() -> None:
    found = read("resnet50@224", "resnet50.a1_in1k", "resnet50.tv2_in1k@176")
    assert found.accuracy == pytest.approx(
        {"resnet50@224": 0.80846, "resnet50.a1_in1k": 0.8124, "resnet50.tv2_in1k@176": 0.79434}
    )
    assert [one.throughput_rps for one in found.readings] == [67.2, 55.91, 74.75]
    assert [one.latency_mean_s for one in found.readings] == [0.014865, 0.017869, 0.013362]


def test_of_several_weights_the_most_accurate_are_meant_and_named() -> None:
    [reading] = read("resnet18@224").readings
    assert reading.note == "224 pixels, accuracy of resnet18.a1_in1k"


def test_thousands_may_be_separated() -> None:
    assert read("eva_giant_patch14_560").parameters_millions == {"eva_giant_patch14_560": 1014.45}


def test_without_picks_every_architecture_is_one_variant() -> None:
    found = read()
    assert len({one.variant for one in found.readings}) == len(found.readings) == 6


@pytest.mark.parametrize(
    ("picks", "words"),
    [
        (["resnet19"], "did you mean resnet18"),
        (["resnet18@512"], "use resnet18@160 or resnet18@224 or resnet18@288"),
        (["resnet18.other"], "no accuracy of"),
    ],
)
def test_a_pick_that_is_not_there_is_refused_with_those_that_are(picks: Sequence[str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        read(*picks)
    assert words in str(refused.value)


def test_accuracies_alone_are_no_benchmark() -> None:
    with pytest.raises(InputError, match="infer_samples_per_sec: "):
        read_timm([ACCURACY], [])
