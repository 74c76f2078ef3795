"""The trained models as callables: what replicas run, and what the profiler measures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np
import torch

from ipa_rl.demo.digits.data import PLACES, Images, crop, make_canvases
from ipa_rl.demo.digits.memory import keep_memory
from ipa_rl.demo.digits.networks import Classifier, Detector
from ipa_rl.demo.digits.pace import CORE, Pace, by_batch, share_of
from ipa_rl.demo.digits.variants import SIZES, Size
from ipa_rl.errors import InputError

Place: TypeAlias = tuple[int, int] | None
"""Row and column of a digit's upper left corner; None: there is no digit."""

_SAMPLE_SEED = 1


def detect(network: Detector, images: Sequence[Images]) -> list[Place]:
    """Where the digit is on each canvas."""
    with torch.inference_mode():
        best = network(torch.from_numpy(np.stack(images))).argmax(1).tolist()
    return [None if k == PLACES * PLACES else divmod(k, PLACES) for k in best]


def classify(network: Classifier, crops: Sequence[Images]) -> list[int]:
    """The digit of each crop."""
    with torch.inference_mode():
        found: list[int] = network(torch.from_numpy(np.stack(crops))).argmax(1).tolist()
    return found


def detector(
    variant: str, cores: int = 1, core: float = CORE, work_s: Sequence[float] = ()
) -> Callable[[list[Images]], list[Place]]:
    """A detector on so many cores of the demonstration: a batch of canvases to places.

    ``work_s``: processor time of batches of 1, 2, 3 ..., where it is known. Raises InputError.
    """
    network, pace = load_network("detect", variant), Pace(share_of(cores, core), by_batch(work_s))
    return lambda images: pace.run(len(images), lambda: detect(network, images))


def classifier(
    variant: str, cores: int = 1, core: float = CORE, work_s: Sequence[float] = ()
) -> Callable[[list[Images]], list[int]]:
    """A classifier likewise: a batch of crops to digits. Raises InputError."""
    network, pace = load_network("classify", variant), Pace(share_of(cores, core), by_batch(work_s))
    return lambda crops: pace.run(len(crops), lambda: classify(network, crops))


def canvases(count: int) -> list[Images]:
    """Inputs of a detector, from the digits that were held out."""
    return list(make_canvases("held-out", count, _SAMPLE_SEED).images)


def crops(count: int) -> list[Images]:
    """Inputs of a classifier, likewise."""
    made = make_canvases("held-out", count, _SAMPLE_SEED)
    places = [tuple(place) if place[0] >= 0 else None for place in made.places.tolist()]
    return [crop(image, place) for image, place in zip(made.images, places, strict=True)]


@cache
def accuracies() -> Mapping[str, Mapping[str, float]]:
    """Measured accuracy by stage and variant, a fraction (`ipa_rl.demo.digits.train` has the definition)."""
    found: dict[str, dict[str, float]] = json.loads(_weights("accuracies.json").read_text("utf-8"))["stages"]
    return found


def load_network(stage: str, variant: str) -> Any:
    """A trained network, on one thread. Raises InputError for a name that is not known."""
    torch.set_num_threads(1)
    keep_memory()
    network = make_network(stage, _size(stage, variant))
    with _weights(f"{stage}.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        own = {name: torch.from_numpy(arrays[f"{variant}/{name}"]) for name in network.state_dict()}
    network.load_state_dict(own)
    return network.eval()


def make_network(stage: str, size: Size) -> Detector | Classifier:
    """A network of a stage with new weights."""
    return Detector(size) if stage == "detect" else Classifier(size)


def _size(stage: str, variant: str) -> Size:
    try:
        return SIZES[stage][variant]
    except KeyError as error:
        fix = f"one of {', '.join(SIZES.get(stage, SIZES))}"
        raise InputError(f"no variant {variant} of {stage}", field="variant", fix=fix) from error


def _weights(name: str) -> Any:
    return files("ipa_rl.demo.digits") / "weights" / name
