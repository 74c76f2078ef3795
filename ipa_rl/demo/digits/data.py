"""Labelled canvases: a handwritten digit somewhere among fragments of others and noise, or none at all.

The digits are the 1,797 images of 8 x 8 pixels that come with scikit-learn (UCI, Alpaydin and Kaynak 1998).
They are split once into those that models learn from and those held out; a canvas takes its digit and its
fragments from one part only. Everything follows from the part, the count and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import MissingExtraError

Images: TypeAlias = NDArray[np.float32]
Labels: TypeAlias = NDArray[np.int64]
Part = Literal["train", "held-out"]

CANVAS, DIGIT, MARGIN = 24, 8, 1
"""Sides of a canvas and a digit, and what a crop has beyond a digit on each side: pixels."""

CROP = DIGIT + 2 * MARGIN

PLACES = CANVAS - DIGIT + 1
"""Places of a digit along one side."""

NONE = -1
"""The label, and the place, of a canvas without a digit."""

HELD_OUT = 597
WITHOUT_DIGIT = 0.1
_SPLIT_SEED = 20
_FRAGMENTS, _FRAGMENT = (5, 12), (4, 7)
_CONTRAST = (0.5, 1.0)
_THROUGH = 0.3
_NOISE = 0.16


@dataclass(frozen=True, slots=True)
class Canvases:
    """``images``: (count, CANVAS, CANVAS), 0 to 1. ``places``: (count, 2), row and column of the digit's
    upper left corner, NONE where there is none. ``labels``: (count,), 0 to 9 or NONE.
    """

    images: Images
    places: Labels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


def make_canvases(part: Part, count: int, seed: int) -> Canvases:
    """So many canvases of a part. Raises MissingExtraError without scikit-learn."""
    digits, labels = _digits(part)
    rng = np.random.default_rng([seed, part == "train"])
    images = np.zeros((count, CANVAS, CANVAS), dtype=np.float32)
    places = np.full((count, 2), NONE, dtype=np.int64)
    chosen = np.full(count, NONE, dtype=np.int64)
    for i, image in enumerate(images):
        for _ in range(rng.integers(*_FRAGMENTS)):
            _lay_fragment(image, digits[rng.integers(len(digits))], rng)
        if rng.random() >= WITHOUT_DIGIT:
            k, place = rng.integers(len(digits)), rng.integers(PLACES, size=2)
            chosen[i], places[i] = labels[k], place
            row, column = place
            image[row : row + DIGIT, column : column + DIGIT] *= _THROUGH
            _lay(image, digits[k] * np.float32(rng.uniform(*_CONTRAST)), place)
    images += rng.normal(0.0, _NOISE, images.shape).astype(np.float32)
    return Canvases(np.clip(images, 0.0, 1.0), places, chosen)


def crop(image: Images, place: tuple[int, int] | None) -> Images:
    """The square of a digit at a place, with its margin; the middle of the canvas where there is none.

    >>> crop(np.zeros((CANVAS, CANVAS), dtype=np.float32), (0, 16)).shape
    (10, 10)
    """
    row, column = place if place is not None else (PLACES // 2, PLACES // 2)
    return np.pad(image, MARGIN)[row : row + CROP, column : column + CROP]


@cache
def _digits(part: Part) -> tuple[Images, Labels]:
    """Images (count, DIGIT, DIGIT), 0 to 1, and labels of a part."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "digits") from error
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    own = order[HELD_OUT:] if part == "train" else order[:HELD_OUT]
    return (images[own] / 16.0).astype(np.float32).reshape(-1, DIGIT, DIGIT), labels[own].astype(np.int64)


def _lay(image: Images, patch: Images, place: NDArray[np.int64]) -> None:
    row, column = place
    under = image[row : row + patch.shape[0], column : column + patch.shape[1]]
    np.maximum(under, patch[: under.shape[0], : under.shape[1]], out=under)


def _lay_fragment(image: Images, digit: Images, rng: np.random.Generator) -> None:
    """A part of a digit, anywhere."""
    height, width = rng.integers(*_FRAGMENT, size=2)
    row, column = rng.integers(DIGIT - height + 1), rng.integers(DIGIT - width + 1)
    piece = digit[row : row + height, column : column + width]
    _lay(image, piece * np.float32(rng.uniform(*_CONTRAST)), rng.integers(CANVAS, size=2))
