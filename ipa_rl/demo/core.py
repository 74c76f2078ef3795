"""How much of this machine's processor the demonstration calls a core.

A share that makes the largest models take the same time on every machine: a fast one and a slow one play the
same cluster, with the same SLA under the same loads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import ipa_rl
from ipa_rl.demo.kept import Kept
from ipa_rl.demo.settings import FRESH_S, Settings
from ipa_rl.digits import models
from ipa_rl.digits.variants import SIZES, STAGES
from ipa_rl.evaluation.tables import write_json
from ipa_rl.profiler.machine import this_machine

VARIABLE = "IPA_RL_DEMO_CORE"
"""The environment variable by which the processes that are profiled know the share."""

LARGEST_S = 1.0
"""What the largest models take together for one request, on a core of the demonstration and alone there."""

_FILE = "core.json"
_CALLS = 200


def core_of(settings: Settings) -> float:
    """The share, measured where it is not known: a second of work."""
    kept = Kept(settings.folder / "core", {"version": ipa_rl.__version__, "machine": _machine()}, FRESH_S)
    path = kept.folder / _FILE
    if kept.age_s() is None:
        kept.begin()
        write_json({"core": _measured()}, path)
        kept.done()
    return float(json.loads(path.read_text(encoding="utf-8"))["core"])


def _machine() -> dict[str, object]:
    return this_machine().model_dump(mode="json")


def _measured() -> float:
    """Two digits: what is measured again is the same share, most of the time."""
    detect, classify = (models.load_network(stage, list(SIZES[stage])[-1]) for stage in STAGES)
    canvases, crops = models.canvases(1), models.crops(1)
    taken_s = _least_s(lambda: models.detect(detect, canvases))
    taken_s += _least_s(lambda: models.classify(classify, crops))
    return float(f"{taken_s / LARGEST_S:.2g}")


def _least_s(work: Callable[[], object]) -> float:
    """Processor time of the fastest of many calls: with the model in the caches, beside nobody."""
    least_s = float("inf")
    for _ in range(_CALLS):
        before_s = time.thread_time()
        work()
        least_s = min(least_s, time.thread_time() - before_s)
    return least_s
