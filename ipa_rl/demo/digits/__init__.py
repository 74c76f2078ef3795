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
    "detect": {f"conv{c}x{d}": Size(c, d) for c, d in ((8, 2), (12, 3), (16, 4), (24, 5))},
    "classify": {f"conv{c}x{d}": Size(c, d) for c, d in ((4, 1), (8, 2), (16, 3), (24, 4))},
}
"""The variants by stage, the smallest first."""
