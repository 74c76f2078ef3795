"""The trained models as callables: what replicas run, and what the profiler measures.

The networks share one shape, so that a variant is two numbers: the width in channels and the depth in layers
of a residual network of 3 x 3 convolutions, on which a head looks at windows of a digit's size.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from ipa_rl.demo.digits import SIZES, Size
from ipa_rl.demo.digits.data import CROP, DIGIT, MARGIN, PLACES, Images, crop, make_canvases
from ipa_rl.errors import InputError

Place: TypeAlias = tuple[int, int] | None
"""Row and column of a digit's upper left corner; None: there is no digit."""

CLASSES = 10
_SHIFTS = (-MARGIN, 0, MARGIN)
_SAMPLE_SEED = 1
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_MB = 1024 * 1024


class Features(nn.Module):
    """Convolutions that keep the size, each but the first added to its input."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        widths = [1] + [size.channels] * size.depth
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.channels = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """(count, 1, height, width) to (count, channels, height, width)."""
        found = images
        for layer in self.layers:
            made = torch.relu(layer(found))
            found = made if made.shape[1] != found.shape[1] or found is images else found + made
        return found


class Detector(nn.Module):
    """Scores of the places, row by row, and of there being no digit, as the last one."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.features = Features(size)
        self.head = nn.Conv2d(self.features.channels, 1, DIGIT)
        self.none = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        """(count, CANVAS, CANVAS) to (count, PLACES^2 + 1)."""
        scores = self.head(self.features(images[:, None])).flatten(1)
        return torch.cat([scores, self.none.expand(len(images), 1)], 1)


class Classifier(nn.Module):
    """Scores of the ten digits; once trained, the mean over a crop shifted by a pixel each way."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.features = Features(size)
        self.head = nn.Linear(self.features.channels * CROP**2, CLASSES)

    def forward(self, crops: Tensor) -> Tensor:
        """(count, 10, 10) to (count, 10)."""
        if self.training:
            return self._scores(crops)
        views = [crops.roll((down, right), (1, 2)) for down in _SHIFTS for right in _SHIFTS]
        return self._scores(torch.cat(views)).view(len(views), len(crops), CLASSES).mean(0)

    def _scores(self, crops: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(crops[:, None]).flatten(1))
        return scores


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


INFER: Mapping[str, Callable[..., list[Any]]] = {"detect": detect, "classify": classify}
"""What each stage does with a network and a batch."""


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
    if variant not in SIZES.get(stage, {}):
        fix = f"one of {', '.join(SIZES.get(stage, SIZES))}"
        raise InputError(f"no variant {variant} of {stage}", field="variant", fix=fix)
    torch.set_num_threads(1)
    _keep_memory()
    network = make_network(stage, SIZES[stage][variant])
    with _weights(f"{stage}.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        own = {name: torch.from_numpy(arrays[f"{variant}/{name}"]) for name in network.state_dict()}
    network.load_state_dict(own)
    return network.eval()


def _keep_memory() -> None:
    """Serve all but huge buffers from memory that stays with the process; nothing where there is no glibc.

    By default glibc maps large buffers anew for every call of a model, or does not, by what the process did
    before: page faults then double the processor time of the same batch in one process and not in the next.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 32 * _MB)
        mallopt(_TRIM_THRESHOLD, 256 * _MB)
        mallopt(_TOP_PAD, 16 * _MB)


def make_network(stage: str, size: Size) -> Detector | Classifier:
    """A network of a stage with new weights."""
    return Detector(size) if stage == "detect" else Classifier(size)


def _weights(name: str) -> Any:
    return files("ipa_rl.demo.digits") / "weights" / name
