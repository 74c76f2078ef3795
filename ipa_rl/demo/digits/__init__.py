"""A pipeline of real models to serve: where on a canvas is the handwritten digit, and which one is it?

Its variants by name are here, for those who need no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

STAGES = ("detect", "classify")


@dataclass(frozen=True, slots=True)
class Size:
    """Channels and convolutions of a variant."""

    channels: int
    depth: int


SIZES: Mapping[str, Mapping[str, Size]] = {
    "detect": {
        "conv8x2": Size(8, 2),
        "conv12x3": Size(12, 3),
        "conv16x4": Size(16, 4),
        "conv24x5": Size(24, 5),
    },
    "classify": {
        "conv4x1": Size(4, 1),
        "conv8x2": Size(8, 2),
        "conv16x3": Size(16, 3),
        "conv24x4": Size(24, 4),
    },
}
"""The variants by stage, the smallest first."""
