"""What a pipeline occupies of resources while it changes: old and new replicas run beside each other.

Replicas of another variant serve until those of the wanted one are ready, and replicas that are not wanted
any more hold their units until they are gone (`ipa_rl.simulation.transitions`). Where a batch size is taken
at the start only, another one needs other replicas as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.pipeline import Configuration, Pipeline, Stage

Occupied: TypeAlias = Sequence[Mapping[tuple[str, int], int]]
"""Of each stage the replicas that exist, ready or not, by variant and batch size; empty where not known."""
ENDING, LEAVING = 0, -1
"""The batch size of replicas that serve no more, and hold their units until they are gone; and of those that
serve until a rolling update is through, which may be at any moment: who wants them back gets new ones."""


def units_on_the_way(
    stage: Stage,
    option: tuple[IntArray, IntArray, IntArray],
    occupied: Mapping[tuple[str, int], int],
    resources: Sequence[str],
) -> FloatArray:
    """Units of each resource that a stage occupies at most until what is wanted runs alone.

    ``option``: variants by position, batch sizes and replicas, (options,) each; ``occupied``: replicas that
    exist. The result is (options, resources).
    """
    variant, batch, replicas = option
    held = np.array([[one.units * (one.resource == name) for name in resources] for one in stage.variants])
    reloads = np.array([math.isfinite(one.reload_s) for one in stage.variants])[variant]
    own, others, beside = (
        np.zeros(len(variant)),
        np.zeros(len(variant)),
        np.zeros((len(variant), len(resources))),
    )
    for (name, size), count in occupied.items():
        v = stage.index(name)
        if size == ENDING:
            beside += count * held[v]
            continue
        stays = ((variant == v) | reloads) & ((batch == size) | (not stage.cold_batch)) & (size != LEAVING)
        own += count * stays
        others += count * ~stays
        kept = np.maximum(held[v] - held[variant], 0.0)  # who reloads holds what it had until that is over
        beside += count * np.where(stays[:, None], kept, held[v])
    own = np.maximum(own, others) if stage.rolls_whole else own
    return np.asarray(beside + np.maximum(replicas, own)[:, None] * held[variant])


def units_there(pipeline: Pipeline, occupied: Occupied) -> dict[str, float]:
    """Units of each resource that the replicas occupy that exist."""
    found = dict.fromkeys(pipeline.resources, 0.0)
    for stage, own in zip(pipeline.stages, occupied or [{}] * len(pipeline.stages), strict=True):
        for (name, _), count in own.items():
            variant = stage.variant(name)
            found[variant.resource] += count * variant.units
    return found


def most_on_the_way(pipeline: Pipeline, wanted: Configuration, occupied: Occupied) -> dict[str, float]:
    """Units of each resource that a pipeline occupies at most until a configuration runs alone."""
    resources = pipeline.resources
    found = np.zeros(len(resources))
    for s, (stage, one) in enumerate(zip(pipeline.stages, wanted.stages, strict=True)):
        option = np.array([stage.index(one.variant)]), np.array([one.batch]), np.array([one.replicas])
        found += units_on_the_way(stage, option, occupied[s] if occupied else {}, resources)[0]
    return dict(zip(resources, found.tolist(), strict=True))
