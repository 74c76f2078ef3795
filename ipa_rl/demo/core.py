"""How much of this machine's processor the demonstration calls a core, and the models as they run on it.

A share that makes the largest models take the same time on every machine: a fast one and a slow one play the
same cluster, with the same SLA under the same loads. Times of models are measured once, at the start, and are
what every replica keeps to: minutes in which a neighbour uses the other thread of the same core are up to
half as long again, and one replica would be slower than the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ipa_rl
from ipa_rl.demo.cached_work import AGAIN, Kept
from ipa_rl.demo.digits import SIZES, STAGES, models
from ipa_rl.demo.digits.data import Images
from ipa_rl.demo.digits.pace import Pace, share_of
from ipa_rl.demo.settings import FRESH_S, DemoSettings
from ipa_rl.documents import load_json
from ipa_rl.profiler.processes import this_machine
from ipa_rl.result_files import write_json

VARIABLE = "IPA_RL_DEMO_CORE"
"""The environment variable by which the processes that are profiled know the file."""

LARGEST_S = 1.0
"""What the largest models take together for one request, on a core of the demonstration and alone there."""

LARGEST_BATCH = 8

_LEAST_ROUNDS, _WITHIN_S = 20, 10.0


@dataclass(frozen=True)
class Core:
    """``share``: of a processor. ``work_s``: its time by stage and variant, of batches of 1, 2, 3 ..."""

    share: float
    work_s: dict[str, dict[str, list[float]]]


def core_of(settings: DemoSettings) -> Core:
    """As it is kept, measured where it is not: ten seconds or so."""
    machine = this_machine().model_dump(mode="json")
    kept = Kept(settings.folder / "core", {"version": ipa_rl.__version__, "machine": machine}, FRESH_S)
    if kept.age_s() is None:
        kept.begin()
        write_json(asdict(_measured()), core_file(settings))
        kept.done()
    return read_core(core_file(settings))


def core_file(settings: DemoSettings) -> Path:
    """Where it is kept."""
    return settings.folder / "core" / "core.json"


def read_core(path: Path) -> Core:
    """What a file keeps. Raises InputError."""
    return load_json(path, Core, AGAIN)


def _measured() -> Core:
    """The least of many rounds, in each of which every model serves every batch once."""
    images = {"detect": models.canvases(LARGEST_BATCH), "classify": models.crops(LARGEST_BATCH)}
    kinds = [(stage, variant) for stage in STAGES for variant in SIZES[stage]]
    networks = {kind: models.load_network(*kind) for kind in kinds}
    work_s = {stage: {name: [float("inf")] * LARGEST_BATCH for name in SIZES[stage]} for stage in STAGES}
    begin_s, rounds = time.monotonic(), 0
    while rounds < _LEAST_ROUNDS or time.monotonic() - begin_s < _WITHIN_S:
        for (stage, variant), network in networks.items():
            for k in range(LARGEST_BATCH):
                batch = images[stage][: k + 1]
                models.INFER[stage](network, batch)  # fills the caches
                before_s = time.thread_time()
                models.INFER[stage](network, batch)
                took_s = time.thread_time() - before_s
                work_s[stage][variant][k] = min(work_s[stage][variant][k], took_s)
        rounds += 1
    largest_s = sum(work_s[stage][list(SIZES[stage])[-1]][0] for stage in STAGES)
    return Core(largest_s / LARGEST_S, work_s)


# The stages as the profiler calls them


def _paced(stage: str, variant: str, cores: int) -> Callable[[list[Images]], list[Any]]:
    """On the core of the file that the environment variable names: canvases to places, or crops to digits."""
    core, network = read_core(Path(os.environ[VARIABLE])), models.load_network(stage, variant)
    pace = Pace(share_of(cores, core.share), dict(enumerate(core.work_s[stage][variant], start=1)))

    def serve(images: list[Images]) -> list[Any]:
        found, pause_s = pace.measure(len(images), partial(models.INFER[stage], network, images))
        time.sleep(pause_s)
        return found

    return serve


detect, classify = partial(_paced, "detect"), partial(_paced, "classify")
detect_sample, classify_sample = models.canvases, models.crops
