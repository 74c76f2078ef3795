"""How much of this machine's processor the demonstration calls a core, and how long the models take on it.

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

import ipa_rl
from ipa_rl.demo.cached_work import AGAIN, Kept
from ipa_rl.demo.digits import models
from ipa_rl.demo.digits.variants import SIZES, STAGES
from ipa_rl.demo.settings import FRESH_S, Settings
from ipa_rl.documents import load_json
from ipa_rl.profiler.machine import this_machine
from ipa_rl.result_files import write_json

VARIABLE = "IPA_RL_DEMO_CORE"
"""The environment variable by which the processes that are profiled know the file."""

LARGEST_S = 1.0
"""What the largest models take together for one request, on a core of the demonstration and alone there."""

LARGEST_BATCH = 8

_FILE = "core.json"
_LEAST_ROUNDS, _WITHIN_S = 20, 10.0


@dataclass(frozen=True)
class Core:
    """``share``: of a processor. ``work_s``: its time by stage and variant, of batches of 1, 2, 3 ..."""

    share: float
    work_s: dict[str, dict[str, list[float]]]


def core_of(settings: Settings) -> Core:
    """As it is kept, measured where it is not: ten seconds or so."""
    kept = Kept(settings.folder / "core", {"version": ipa_rl.__version__, "machine": _machine()}, FRESH_S)
    if kept.age_s() is None:
        kept.begin()
        write_json(asdict(_measured()), core_file(settings))
        kept.done()
    return read_core(core_file(settings))


def core_file(settings: Settings) -> Path:
    """Where it is kept."""
    return settings.folder / "core" / _FILE


def told_core() -> Core:
    """That of the file which the environment variable names."""
    return read_core(Path(os.environ[VARIABLE]))


def read_core(path: Path) -> Core:
    """What a file keeps. Raises InputError."""
    return load_json(path, Core, AGAIN)


def _machine() -> dict[str, object]:
    return this_machine().model_dump(mode="json")


def _measured() -> Core:
    """The least of many rounds, in each of which every model serves every batch once."""
    works = {
        (stage, variant, batch): work
        for stage in STAGES
        for variant in SIZES[stage]
        for batch, work in enumerate(_works(stage, variant), start=1)
    }
    least_s = dict.fromkeys(works, float("inf"))
    begin_s, rounds = time.monotonic(), 0
    while rounds < _LEAST_ROUNDS or time.monotonic() - begin_s < _WITHIN_S:
        for kind, work in works.items():
            work()
            least_s[kind] = min(least_s[kind], _taken_s(work))
        rounds += 1
    batches = range(1, LARGEST_BATCH + 1)
    work_s = {
        stage: {variant: [least_s[stage, variant, batch] for batch in batches] for variant in SIZES[stage]}
        for stage in STAGES
    }
    largest_s = sum(work_s[stage][list(SIZES[stage])[-1]][0] for stage in STAGES)
    return Core(largest_s / LARGEST_S, work_s)


def _works(stage: str, variant: str) -> list[Callable[[], object]]:
    """A model with batches of 1 to `LARGEST_BATCH`."""
    network = models.load_network(stage, variant)
    infer, made = (models.detect, models.canvases) if stage == "detect" else (models.classify, models.crops)
    images = made(LARGEST_BATCH)
    return [partial(infer, network, images[:batch]) for batch in range(1, LARGEST_BATCH + 1)]


def _taken_s(work: Callable[[], object]) -> float:
    """Processor time."""
    before_s = time.thread_time()
    work()
    return time.thread_time() - before_s
