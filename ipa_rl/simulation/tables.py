"""The pipeline and the limits as arrays, for the compiled loops; configurations as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipa_rl.border import MOST_REPLICAS, number, positions, positive, whole
from ipa_rl.errors import InputError, quoted
from ipa_rl.jit import IntArray, Records
from ipa_rl.objective import Problem, scores
from ipa_rl.pipeline import MOST_BATCHES, Configuration, StageConfig
from ipa_rl.simulation.queues import ticks_a_chunk, ticks_a_second

MOST_SCALE = 1e6
"""Beyond this a factor on delays, latencies or the SLA is taken for a mistake."""

MOST_SLOWER = 10.0
"""No start-up takes so many times as long as profiled."""

VARIANT = np.dtype(
    [(name, np.float64) for name in ("cores", "start_up_s", "reload_s", "accuracy", "score")]
    + [("batch", np.int64, (MOST_BATCHES,))]
    + [(name, np.float64, (MOST_BATCHES,)) for name in ("mean_s", "p99_s", "rate_rps")],
    align=True,
)
"""One variant; ``cores`` is what a replica costs, ``score`` what alpha weighs (`ipa_rl.objective.scores`),
``reload_s`` infinite where ready replicas do not change to it in place."""

LIMITS = np.dtype(
    [(name, np.float64) for name in ("sla_s", "drop_limit_s", "batch_timeout_s")]
    + [(name, np.int64) for name in ("ticks", "ticks_a_chunk")]
)
"""``ticks``: the fluid simulator's in a second; queues hold the arrivals of ``ticks_a_chunk`` together."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of the cluster and its queues that the profile does not say.

    ``drop_limit_s``: a request older than this that still waits is dropped. ``batch_timeout_s``: a
    batch that has not filled by then starts unfilled. ``start_up_scale`` multiplies every
    variant's start-up delay, ``service_scale`` every latency; throughput is divided by it.
    """

    interval_s: int = 10
    drop_limit_s: float = 10.0
    batch_timeout_s: float = 1.0
    start_up_scale: float = 1.0
    service_scale: float = 1.0

    def __post_init__(self) -> None:
        whole(self.interval_s, "interval_s", 1, 86_400)
        positive(self.drop_limit_s, "drop_limit_s")
        number(self.batch_timeout_s, "batch_timeout_s")
        number(self.start_up_scale, "start_up_scale", most=MOST_SCALE)
        positive(self.service_scale, "service_scale", MOST_SCALE)


def build_variants(problem: Problem, timing: Timing) -> Records:
    """VARIANT records, (stages, variants), padded with zeros where a stage has fewer variants.

    Raises InputError unless all variants of a stage offer the same batch sizes, and not too many.
    """
    stages = problem.pipeline.stages
    table = np.zeros((len(stages), max(len(stage.variants) for stage in stages)), dtype=VARIANT)
    for s, stage in enumerate(stages):
        offered = stage.variants[0].batches
        odd = [variant.name for variant in stage.variants if variant.batches != offered]
        if odd or len(offered) > MOST_BATCHES:
            told = f"{', '.join(odd)} differs from {list(offered)}" if odd else f"are {len(offered)}"
            fix = f"give all variants of a stage the same batch sizes, {MOST_BATCHES} at most"
            raise InputError(told, field=f"{stage.name}.batches", fix=fix)
        for v, variant in enumerate(stage.variants):
            row, count = table[s, v], len(variant.batches)
            row["cores"], row["accuracy"] = variant.cost_cores, variant.accuracy
            row["start_up_s"] = variant.start_up_s * timing.start_up_scale
            row["reload_s"] = variant.reload_s
            row["score"] = scores(stage, problem.weights)[v]
            row["batch"][:count] = variant.batches
            row["mean_s"][:count] = variant.latency_mean_s
            row["p99_s"][:count] = variant.latency_p99_s
            row["rate_rps"][:count] = variant.throughput_rps
            row["mean_s"] *= timing.service_scale
            row["p99_s"] *= timing.service_scale
            row["rate_rps"] /= timing.service_scale
    return table


def starting_as_seen(variants: Records, fleet: Records, scale: float = 1.0) -> Records:
    """VARIANT records (stages, variants) whose start-ups take longer, where those under way are seen to.

    So many times at least (``scale``), and as many as the slowest has left over what all of it should take,
    so that to cancel it and start another never looks faster than to wait for it. Who takes more than
    MOST_SLOWER times as long is stuck, and says nothing of others. ``fleet``: FLEET records (stages,).
    """
    stages = np.flatnonzero(fleet["cohorts"])
    expected_s = variants["start_up_s"][stages, fleet["target"][stages]]
    left_s = fleet["left_s"][stages, fleet["cohorts"][stages] - 1]
    times = np.divide(left_s, expected_s, out=np.ones(len(stages)), where=expected_s > 0)
    slower = times[times <= MOST_SLOWER].max(initial=scale)
    if slower == 1.0:
        return variants
    seen = variants.copy()
    seen["start_up_s"] *= slower
    return seen


def build_limits(problem: Problem, timing: Timing) -> Records:
    """LIMITS, one record in an array of shape (1,)."""
    ticks = ticks_a_second(problem.sla_s, timing.drop_limit_s)
    chunk = ticks_a_chunk(timing.drop_limit_s, ticks, len(problem.pipeline.graph.routes))
    row = (problem.sla_s, timing.drop_limit_s, timing.batch_timeout_s, ticks, chunk)
    return np.array([row], dtype=LIMITS)


def choices_below(problem: Problem) -> IntArray:
    """What variant index, batch index and replicas of a decision stay below, (stages, 3)."""
    rows = [(len(s.variants), len(s.variants[0].batches), MOST_REPLICAS + 1) for s in problem.pipeline.stages]
    return np.array(rows, dtype=np.int64)


def replicas_there(problem: Problem, fleet: Records) -> tuple[dict[tuple[str, int], int], ...]:
    """The replicas of each stage that exist, by variant and batch size; ``fleet``: FLEET (stages,)."""
    found = []
    for stage, one in zip(problem.pipeline.stages, fleet, strict=True):
        own: dict[tuple[str, int], int] = {}
        starting = int(one["starting"][: one["cohorts"]].sum())
        serving = (one["active"], one["batch"], one["ready"])
        for v, k, count in (serving, (one["target"], one["target_batch"], one["warm"] + starting)):
            variant = stage.variants[int(v)]
            key = variant.name, variant.batches[int(k)]
            own[key] = own.get(key, 0) + int(count)
        found.append(own)
    return tuple(found)


def held_rows(fleet: Records) -> IntArray:
    """What was decided last, (stages, 3), of which `decode` takes one; a replica of each stage at least."""
    now = np.stack([fleet[name] for name in ("target", "target_batch", "wanted")], axis=-1)
    return np.maximum(now.astype(np.int64), [0, 0, 1])


def ready_rows(fleet: Records) -> IntArray:
    """What serves, (..., stages, 3), of which `decode` takes one; ``fleet``: FLEET records (..., stages)."""
    return np.stack([fleet[name] for name in ("active", "batch", "ready")], axis=-1).astype(np.int64)


def encode(problem: Problem, configuration: Configuration) -> IntArray:
    """A configuration as (stages, 3): variant index, batch index, replicas.

    Raises InputError where the pipeline does not offer it.
    """
    stages = problem.pipeline.stages
    if len(configuration.stages) != len(stages):
        fix = f"give the {len(stages)} of {problem.pipeline.name}"
        raise InputError(f"has {len(configuration.stages)} stages", field="configuration", fix=fix)
    rows = []
    for stage, chosen in zip(stages, configuration.stages, strict=True):
        names = [variant.name for variant in stage.variants]
        if not isinstance(chosen.variant, str) or chosen.variant not in names:
            fix = f"use one of {', '.join(names)}"
            raise InputError(f"has no variant {quoted(str(chosen.variant))}", field=stage.name, fix=fix)
        v = names.index(chosen.variant)
        batches = stage.variants[v].batches
        batch = whole(chosen.batch, f"{stage.name}.batch", 1, batches[-1])
        if batch not in batches:
            fix = f"use one of {', '.join(map(str, batches))}"
            raise InputError(f"has no batch size {batch}", field=stage.name, fix=fix)
        replicas = whole(chosen.replicas, f"{stage.name}.replicas", 0, MOST_REPLICAS)
        rows.append((v, batches.index(batch), replicas))
    return np.array(rows, dtype=np.int64)


def decode(problem: Problem, rows: IntArray) -> Configuration:
    """The configuration of (stages, 3) rows of variant index, batch index, replicas.

    Raises InputError where they do not fit the pipeline.
    """
    below = choices_below(problem)
    checked = positions(rows, "rows", below.shape, below)
    chosen = []
    for stage, (v, k, n) in zip(problem.pipeline.stages, checked.tolist(), strict=True):
        variant = stage.variants[v]
        chosen.append(StageConfig(variant.name, variant.batches[k], n))
    return Configuration(tuple(chosen))
