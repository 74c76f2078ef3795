"""Actions: per stage a variant, a batch size, and replicas as headroom over the load.

An action is a row of integers, three a stage: variant index, batch index, headroom index. The last means

    replicas = ceil(headroom * visits * reference_rps / h(v, b)), between 1 and the limit,

with h the throughput of one replica and ``reference_rps`` the maximum load of the last seconds
(``load_window_s`` of the environment), so that one policy serves light and heavy loads; ``visits``: requests
that come to the stage for each of the pipeline, by the variants that are chosen. Headroom 1 is what
the integer program chooses for that load.
"""

from __future__ import annotations

import math

import numpy as np

from ipa_rl.graph import Graph
from ipa_rl.jit import FloatArray, IntArray, Records, compiled, compiled_in_place
from ipa_rl.objective import Problem

HEADROOM = (
    0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5,
)  # fmt: skip
"""Factors on the reference load that the headroom index chooses from."""

HEADROOM_COMPONENT = 2
"""Position of the headroom index among a stage's three."""

_LEVELS = np.array(HEADROOM)
_EVEN = HEADROOM.index(1.0)


def action_sizes(problem: Problem) -> list[int]:
    """Number of choices of each component of an action, for a MultiDiscrete space."""
    sizes: list[int] = []
    for stage in problem.pipeline.stages:
        sizes += [len(stage.variants), len(stage.variants[0].batches), len(HEADROOM)]
    return sizes


def choice_names(problem: Problem) -> tuple[str, ...]:
    """What an action chooses between, in words: every variant and batch size of every stage, in order."""
    names: list[str] = []
    for stage in problem.pipeline.stages:
        names += [f"{stage.name}: {variant.name}" for variant in stage.variants]
        names += [f"{stage.name}: batch {batch}" for batch in stage.variants[0].batches]
    return tuple(names)


@compiled_in_place
def replicas(headroom: float, reference_rps: float, rate_rps: float, max_replicas: int) -> int:
    """Replicas that carry headroom * reference load, between 1 and the limit."""
    needed = math.ceil(headroom * reference_rps / rate_rps - 1e-9)
    return int(min(max(needed, 1), max_replicas))


def decode_actions(
    actions: IntArray, reference_rps: FloatArray, variants: Records, max_replicas: int, graph: Graph
) -> IntArray:
    """Decisions (environments, stages, 3) of actions (environments, 3 * stages) at those reference loads."""
    loads_rps = reference_rps[:, None] * graph.each_visits(actions[:, ::3])
    return _decode(actions, loads_rps, variants, max_replicas)


@compiled
def _decode(actions: IntArray, loads_rps: FloatArray, variants: Records, max_replicas: int) -> IntArray:
    """``loads_rps``: of each stage, (environments, stages)."""
    environments, stages = actions.shape[0], variants.shape[0]
    decisions = np.zeros((environments, stages, 3), dtype=np.int64)
    for e in range(environments):
        for s in range(stages):
            v, k, level = actions[e, 3 * s], actions[e, 3 * s + 1], actions[e, 3 * s + 2]
            rate = variants[s, v].rate_rps[k]
            decisions[e, s, 0] = v
            decisions[e, s, 1] = k
            decisions[e, s, 2] = replicas(_LEVELS[level], loads_rps[e, s], rate, max_replicas)
    return decisions


def relative_capacity(
    rows: IntArray, variants: Records, load_rps: FloatArray, least_rps: float, graph: Graph
) -> FloatArray:
    """Least n h of any stage, relative to its load, of decisions (environments, stages, 3)."""
    stages = np.arange(rows.shape[1])
    chosen = variants[stages, rows[:, :, 0]]
    rate = np.take_along_axis(chosen["rate_rps"], rows[:, :, 1, None], axis=2)[..., 0]
    carried_rps = rate * rows[:, :, 2] / graph.each_visits(rows[:, :, 0])
    return np.asarray(carried_rps.min(axis=1) / np.maximum(load_rps, least_rps), dtype=np.float64)


def encode_action(
    rows: IntArray, reference_rps: float, variants: Records, max_replicas: int, graph: Graph
) -> IntArray:
    """The action (3 * stages) that comes nearest to a configuration (stages, 3) at that reference load.

    Of the headroom levels that give the replica count closest to the wanted one, the nearest to 1.
    """
    action, visits = np.zeros(3 * len(rows), dtype=np.int64), graph.each_visits(rows[:, 0]).tolist()
    for s, (v, k, wanted) in enumerate(rows.tolist()):
        rate, own_rps = float(variants[s, v]["rate_rps"][k]), reference_rps * visits[s]
        gaps = [
            (abs(replicas(level, own_rps, rate, max_replicas) - wanted), abs(index - _EVEN), index)
            for index, level in enumerate(HEADROOM)
        ]
        action[3 * s : 3 * s + 3] = v, k, min(gaps)[2]
    return action
