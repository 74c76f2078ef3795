"""How a cluster moves from one configuration to the next (design, section 3).

Lowering replicas or changing the batch size takes effect at once. Raising replicas adds ready ones
after the variant's start-up delay. A newer decision replaces a pending one without restarting what is
already starting: what it no longer wants is cancelled, newest first.

Changing the variant is a rolling update: the new variant's replicas start; the old ones serve until all
of these are ready, and both are paid for meanwhile. Where the new variant's ``reload_s`` is finite, the
same replicas change in place: they serve the old variant until the reload is over, then all change
together, and replicas that are still starting come up as the new one. Those that become ready before
serve what the others serve; surplus ones leave at the change, so that capacity does not drop before it.
"""

from __future__ import annotations

import math

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray, Record, Records, compiled_in_place

COHORTS = 32
"""Most groups of replicas, by decision, that can be starting at once in a stage; of more, neighbours join."""

FLEET = np.dtype(
    [(name, np.int64) for name in ("active", "batch", "ready", "target", "target_batch", "wanted", "warm")]
    + [("reload_left_s", np.float64), ("cohorts", np.int64)]
    + [("starting", np.int64, (COHORTS,)), ("left_s", np.float64, (COHORTS,))],
    align=True,
)
"""The replicas of one stage.

``active``, ``batch``, ``ready``: variant index, batch index and number of replicas that serve.
``target``, ``target_batch``, ``wanted``: the same of the last decision. ``warm``: replicas of the target
variant that are ready and wait for the switch. ``reload_left_s``: while the target variant is not the active
one, seconds until the ready replicas have changed to it in place, infinite in a rolling update.
``starting`` (count) and ``left_s`` (seconds until ready): replicas of the target variant that start, in
``cohorts`` groups, oldest first.
"""


_LIMITED = {"active": 0, "target": 0, "batch": 1, "target_batch": 1, "ready": 2, "wanted": 2, "warm": 2}
"""Fields of FLEET, and which of the limits of a stage's decisions is theirs."""


def check_fleet(fleet: Records, below: IntArray) -> None:
    """Raises InputError where FLEET records (stages,) hold positions or numbers that no pipeline has.

    ``below``: `ipa_rl.simulation.tables.choices_below`.
    """
    if not isinstance(fleet, np.ndarray) or fleet.dtype != FLEET or fleet.shape != below.shape[:1]:
        fix = f"give FLEET, {list(below.shape[:1])}"
        raise InputError("is not a fleet of this pipeline", field="fleet", fix=fix)
    fits = (fleet["cohorts"] >= 0) & (fleet["cohorts"] <= COHORTS) & ~np.isnan(fleet["reload_left_s"])
    for name, column in _LIMITED.items():
        fits &= (fleet[name] >= 0) & (fleet[name] < below[:, column])
    starting = (fleet["starting"] >= 0) & (fleet["starting"] < below[:, 2:]) & ~np.isnan(fleet["left_s"])
    fits &= (starting | (np.arange(COHORTS) >= fleet["cohorts"][:, None])).all(axis=1)
    if not fits.all():
        odd = int(fits.argmin())
        fix = "give variants and batch sizes that the stage has, and replicas from 0"
        raise InputError(f"stage {odd} is out of range", field="fleet", fix=fix)


def cohorts_of(fleet: Records) -> tuple[IntArray, FloatArray]:
    """Replicas that start, and seconds until they are ready, 0 where none do: both (stages, COHORTS).

    ``fleet``: FLEET records (stages,).
    """
    starting = fleet["starting"] * (np.arange(COHORTS) < fleet["cohorts"][:, None])
    return starting, np.where(starting > 0, fleet["left_s"], 0.0)


@compiled_in_place
def place(stage: Record, v: int, k: int, n: int) -> None:
    """The stage runs n ready replicas of variant v at batch index k, with nothing pending."""
    stage.active = v
    stage.target = v
    stage.batch = k
    stage.target_batch = k
    stage.ready = n
    stage.wanted = n
    stage.warm = 0
    stage.cohorts = 0


@compiled_in_place
def place_all(fleet: Records, rows: IntArray) -> None:
    """The configuration (stages, 3) is ready from the start."""
    for s in range(rows.shape[0]):
        place(fleet[s], rows[s, 0], rows[s, 1], rows[s, 2])


@compiled_in_place
def copy_stage(stage: Record, into: Record) -> None:
    """The other record is as this one."""
    into.active, into.batch, into.ready = stage.active, stage.batch, stage.ready
    into.target, into.target_batch, into.wanted = stage.target, stage.target_batch, stage.wanted
    into.warm, into.reload_left_s, into.cohorts = stage.warm, stage.reload_left_s, stage.cohorts
    for c in range(stage.cohorts):
        into.starting[c], into.left_s[c] = stage.starting[c], stage.left_s[c]


@compiled_in_place
def starting_replicas(stage: Record) -> int:
    """Replicas of the stage that are starting."""
    total = 0
    for c in range(stage.cohorts):
        total += stage.starting[c]
    return total


@compiled_in_place
def changes_in_place(stage: Record) -> bool:
    """Whether ready replicas of the stage are about to change to the target variant."""
    return bool(stage.target != stage.active and stage.reload_left_s < math.inf)


@compiled_in_place
def cancel_newest(stage: Record, surplus: int) -> int:
    """Cancel up to ``surplus`` starting replicas, newest first; return how many are left to cancel."""
    while surplus > 0 and stage.cohorts > 0:
        c = stage.cohorts - 1
        gone = min(surplus, stage.starting[c])
        stage.starting[c] -= gone
        surplus -= gone
        if stage.starting[c] == 0:
            stage.cohorts = c
    return surplus


@compiled_in_place
def start(stage: Record, count: int, delay_s: float) -> None:
    """Start ``count`` replicas of the target variant.

    They are ready no earlier than those that started before, even if the earlier variant starts more slowly.
    """
    if stage.cohorts == COHORTS:
        _join_neighbours(stage)
    c = stage.cohorts
    stage.starting[c] = count
    stage.left_s[c] = max(delay_s, stage.left_s[c - 1]) if c > 0 else delay_s
    stage.cohorts = c + 1


@compiled_in_place
def _join_neighbours(stage: Record) -> None:
    """Two neighbouring groups that start become one, ready as the later: where that spans the least time.

    So where start-ups take many intervals, nobody starts more than a small part of a start-up later.
    """
    earlier, span_s = 0, math.inf
    for c in range(stage.cohorts - 1):
        since_s = stage.left_s[c - 1] if c > 0 else 0.0  # what is ready by then is not of these two
        if stage.left_s[c + 1] - since_s < span_s:
            earlier, span_s = c, stage.left_s[c + 1] - since_s
    stage.starting[earlier + 1] += stage.starting[earlier]
    for c in range(earlier, stage.cohorts - 1):
        stage.starting[c], stage.left_s[c] = stage.starting[c + 1], stage.left_s[c + 1]
    stage.cohorts -= 1


@compiled_in_place
def decide(stage: Record, variants: Records, v: int, k: int, n: int) -> None:
    """A decision arrives: n replicas of variant v at batch index k; ``variants``: VARIANT of the stage."""
    if v != stage.target:
        if variants[v].reload_s == math.inf:
            stage.cohorts = 0
        stage.warm = 0
        stage.reload_left_s = variants[v].reload_s
    stage.target = v
    stage.target_batch = k
    stage.wanted = n
    if v == stage.active:
        stage.batch = k
        stage.ready = min(stage.ready, n)
    there = stage.ready if v == stage.active or changes_in_place(stage) else stage.warm
    missing = n - there - starting_replicas(stage)
    if missing < 0:
        stage.warm -= min(stage.warm, cancel_newest(stage, -missing))
    elif missing > 0:
        start(stage, missing, variants[v].start_up_s)
    switch_if_ready(stage)


@compiled_in_place
def switch_if_ready(stage: Record) -> None:
    """The target variant takes over once all of its replicas are ready, or the ready ones have reloaded."""
    if changes_in_place(stage):
        if stage.reload_left_s <= 1e-9:
            stage.active = stage.target
            stage.batch = stage.target_batch
            stage.ready = min(stage.ready, stage.wanted)
    elif stage.target != stage.active and stage.warm >= stage.wanted:
        place(stage, stage.target, stage.target_batch, stage.wanted)


@compiled_in_place
def lose(stage: Record, variants: Records, share: float) -> None:
    """That share of the ready replicas, rounded up, fails; ``variants``: VARIANT of the stage.

    The cluster starts them again at once; where a rolling update is under way the old variant's are not
    replaced.
    """
    stage.ready -= math.ceil(stage.ready * share)
    missing = stage.wanted - stage.ready - starting_replicas(stage)
    if missing > 0 and (stage.target == stage.active or changes_in_place(stage)):
        start(stage, missing, variants[stage.target].start_up_s)


@compiled_in_place
def pass_time(stage: Record, seconds: float) -> None:
    """Time passes: replicas whose start-up delay is over become ready, reloads come to their end."""
    stage.reload_left_s -= seconds
    done = 0
    for c in range(stage.cohorts):
        stage.left_s[c] -= seconds
        if stage.left_s[c] <= 1e-9:
            done = c + 1
    for c in range(done):
        if stage.target == stage.active or changes_in_place(stage):
            stage.ready += stage.starting[c]
        else:
            stage.warm += stage.starting[c]
    for c in range(done, stage.cohorts):
        stage.starting[c - done] = stage.starting[c]
        stage.left_s[c - done] = stage.left_s[c]
    stage.cohorts -= done
    switch_if_ready(stage)


@compiled_in_place
def next_ready_s(stage: Record) -> float:
    """Seconds until starting replicas become ready or a reload is over; infinite where nothing is pending."""
    ready_s = stage.left_s[0] if stage.cohorts > 0 else math.inf
    return float(min(ready_s, stage.reload_left_s) if changes_in_place(stage) else ready_s)


@compiled_in_place
def paid_cores(stage: Record, variants: Records) -> float:
    """What the stage costs, in cores, replicas that start or wait included.

    ``variants``: VARIANT records of the stage.
    """
    pending = stage.warm + starting_replicas(stage)
    return float(stage.ready * variants[stage.active].cores + pending * variants[stage.target].cores)


@compiled_in_place
def seconds_to_ready(stage: Record) -> float:
    """Seconds until the last starting replica is ready and the reload is over, 0 where neither is."""
    ready_s = stage.left_s[stage.cohorts - 1] if stage.cohorts > 0 else 0.0
    return float(max(ready_s, stage.reload_left_s) if changes_in_place(stage) else ready_s)
