"""The stages as the profiler calls them: on the cores of the demonstration."""

from __future__ import annotations

from collections.abc import Callable

from ipa_rl.demo.core import told_core
from ipa_rl.demo.digits import models
from ipa_rl.demo.digits.data import Images


def detect(variant: str, cores: int) -> Callable[[list[Images]], list[models.Place]]:
    """A detector."""
    core = told_core()
    return models.detector(variant, cores, core.share, core.work_s["detect"][variant])


def classify(variant: str, cores: int) -> Callable[[list[Images]], list[int]]:
    """A classifier."""
    core = told_core()
    return models.classifier(variant, cores, core.share, core.work_s["classify"][variant])


detect_sample, classify_sample = models.canvases, models.crops
