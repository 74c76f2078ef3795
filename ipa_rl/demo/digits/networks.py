"""The networks: detectors that say where the digit is, classifiers that read it.

They share one shape, so that a variant is two numbers: a residual network of 3 x 3 convolutions, so many
channels wide and so many layers deep, on which a head looks at windows of a digit's size.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ipa_rl.demo.digits.data import CROP, DIGIT, MARGIN
from ipa_rl.demo.digits.variants import Size

CLASSES = 10


_SHIFTS = (-MARGIN, 0, MARGIN)


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
