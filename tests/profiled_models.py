"""Python callables with known service times, for the profiler: module, factory, sample as a user has them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

FIRST_S, EACH_S = 0.02, 0.01
LOAD_S = 0.3


def load(variant: str, cores: int) -> Callable[[list[int]], list[int]]:
    """A model that takes a + b x batch, and misbehaves where its name says so."""
    if variant == "no-weights":
        raise FileNotFoundError("weights.bin")
    if variant == "hungry":
        ballast = bytearray(os.urandom(1) * 120_000_000)
        return lambda items: items[: len(items) + 0 * len(ballast)]
    print("loading", variant)  # what a model prints must not disturb
    time.sleep(LOAD_S)

    def predict(items: list[int]) -> list[int]:
        if variant == "crashes-at-4" and len(items) == 4:
            os.kill(os.getpid(), 9)
        if variant == "hangs":
            time.sleep(3600)
        if variant == "raises":
            raise ValueError("bad input\nof two lines")
        time.sleep(FIRST_S + EACH_S * len(items))
        return items[1:] if variant == "short" else items

    return predict


def threads(variant: str, cores: int) -> Callable[[list[int]], list[int]]:
    """A model that fails unless threads and processors are as many as cores."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    if (os.environ["OMP_NUM_THREADS"], allowed) != (str(cores), cores):
        raise RuntimeError(f"{os.environ['OMP_NUM_THREADS']} threads on {allowed} processors")
    if "ipa_rl" in sys.modules or "numpy" in sys.modules:
        raise RuntimeError("something was imported beside the model")
    return lambda items: items


def sample(n: int) -> Sequence[int]:
    """Items."""
    return list(range(n))
