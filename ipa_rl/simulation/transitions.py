"""How a cluster moves from one configuration to the next: the rolling update (design, section 3).

Lowering replicas or changing the batch size takes effect at once. Raising replicas adds ready ones
after the variant's start-up delay. Changing the variant starts the new variant's replicas; the old
ones serve until all of these are ready, and both are paid for meanwhile. A newer decision replaces a
pending one without restarting what is already starting: what it no longer wants is cancelled, newest
first.
"""

from __future__ import annotations

import math

import numpy as np

from ipa_rl.compiled import Record, Records, compiled

COHORTS = 16
"""Most groups of replicas, by decision, that can be starting at once in a stage."""

FLEET = np.dtype(
    [
        ("active", np.int64),
        ("batch", np.int64),
        ("ready", np.int64),
        ("target", np.int64),
        ("target_batch", np.int64),
        ("wanted", np.int64),
        ("warm", np.int64),
        ("cohorts", np.int64),
        ("starting", np.int64, (COHORTS,)),
        ("left_s", np.float64, (COHORTS,)),
    ],
    align=True,
)
"""The replicas of one stage.

``active``, ``batch``, ``ready``: variant index, batch index and number of replicas that serve.
``target``, ``target_batch``, ``wanted``: the same of the last decision. ``warm``: replicas of the target
variant that are ready and wait for the switch. ``starting`` (count) and ``left_s`` (seconds until ready):
replicas of the target variant that start, in ``cohorts`` groups, oldest first.
"""


@compiled
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


@compiled
def starting_replicas(stage: Record) -> int:
    """Replicas of the stage that are starting."""
    total = 0
    for c in range(stage.cohorts):
        total += stage.starting[c]
    return total


@compiled
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


@compiled
def start(stage: Record, count: int, delay_s: float) -> None:
    """Start ``count`` replicas of the target variant; a full list joins them to the newest group."""
    c = min(stage.cohorts, COHORTS - 1)
    if c == stage.cohorts:
        stage.starting[c] = 0
    stage.starting[c] += count
    stage.left_s[c] = delay_s
    stage.cohorts = c + 1


@compiled
def decide(stage: Record, delay_s: float, v: int, k: int, n: int) -> None:
    """A decision arrives: n replicas of variant v at batch index k; ``delay_s`` is v's start-up."""
    if v != stage.target:
        stage.cohorts = 0
        stage.warm = 0
    stage.target = v
    stage.target_batch = k
    stage.wanted = n
    if v == stage.active:
        stage.batch = k
        stage.ready = min(stage.ready, n)
        missing = n - stage.ready - starting_replicas(stage)
    else:
        missing = n - stage.warm - starting_replicas(stage)
    if missing < 0:
        stage.warm -= cancel_newest(stage, -missing)
    elif missing > 0:
        start(stage, missing, delay_s)
    switch_if_ready(stage)


@compiled
def switch_if_ready(stage: Record) -> None:
    """The target variant takes over once all of its replicas are ready."""
    if stage.target != stage.active and stage.warm >= stage.wanted:
        place(stage, stage.target, stage.target_batch, stage.wanted)


@compiled
def lose(stage: Record, share: float, delay_s: float) -> int:
    """That share of the ready replicas, rounded up, fails; returns how many.

    The cluster starts them anew at once, after ``delay_s`` of the active variant; where a change of variant
    is under way the old variant's are not replaced.
    """
    gone = math.ceil(stage.ready * share)
    stage.ready -= gone
    if stage.target == stage.active and gone > 0:
        start(stage, gone, delay_s)
    return gone


@compiled
def pass_time(stage: Record, seconds: float) -> None:
    """Time passes: replicas whose start-up delay is over become ready."""
    done = 0
    for c in range(stage.cohorts):
        stage.left_s[c] -= seconds
        if stage.left_s[c] <= 1e-9:
            done = c + 1
    if done == 0:
        return
    for c in range(done):
        if stage.target == stage.active:
            stage.ready += stage.starting[c]
        else:
            stage.warm += stage.starting[c]
    for c in range(done, stage.cohorts):
        stage.starting[c - done] = stage.starting[c]
        stage.left_s[c - done] = stage.left_s[c]
    stage.cohorts -= done
    switch_if_ready(stage)


@compiled
def next_ready_s(stage: Record) -> float:
    """Seconds until the first starting replicas are ready; infinite where none starts."""
    return float(stage.left_s[0]) if stage.cohorts > 0 else math.inf


@compiled
def paid_cores(stage: Record, variants: Records) -> int:
    """Cores that the stage is allocated, replicas that start or wait included.

    ``variants``: VARIANT records of the stage.
    """
    serving = stage.ready * variants[stage.active].cores
    pending = stage.warm + starting_replicas(stage)
    return int(serving + pending * variants[stage.target].cores)


@compiled
def seconds_to_ready(stage: Record) -> float:
    """Seconds until the last starting replica is ready, 0 where none starts."""
    if stage.cohorts == 0:
        return 0.0
    return float(stage.left_s[stage.cohorts - 1])
