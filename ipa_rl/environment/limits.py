"""What resources have: no more is occupied while old and new replicas run beside each other either."""

from __future__ import annotations

from ipa_rl.jit import Records
from ipa_rl.objective import Allotment, Problem
from ipa_rl.pipeline import Configuration
from ipa_rl.simulation.tables import decode, held_rows, replicas_there
from ipa_rl.solvers.cut import Cut

RECENT_S = 10
"""The load that a cut must carry is the highest of so many seconds."""


def as_limits_let(
    problem: Problem,
    wanted: Configuration,
    fleet: Records,
    load_rps: float,
    allotted: Allotment | None = None,
) -> Configuration:
    """The configuration as far as limits and an allotment let a fleet (stages,) move to it.

    ``load_rps``: observed, NaN where it is not known.
    """
    most = problem.limits_under(allotted)
    if not most.units:
        return wanted
    held = decode(problem, held_rows(fleet)).stages
    cut = Cut(problem, None, problem.max_replicas, most.units, most.room)
    return cut.of(wanted, held, [False] * len(held), load_rps, replicas_there(problem, fleet))
