"""The stages as the profiler calls them: on the cores of the demonstration."""

from __future__ import annotations

import os
from collections.abc import Callable

from ipa_rl.demo.core import VARIABLE
from ipa_rl.digits import models
from ipa_rl.digits.data import Images


def detect(variant: str, cores: int) -> Callable[[list[Images]], list[models.Place]]:
    """A detector."""
    return models.detector(variant, cores, _core())


def classify(variant: str, cores: int) -> Callable[[list[Images]], list[int]]:
    """A classifier."""
    return models.classifier(variant, cores, _core())


def _core() -> float:
    return float(os.environ[VARIABLE])


detect_sample, classify_sample = models.canvases, models.crops
