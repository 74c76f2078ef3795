"""A graph as rollouts see it: its stages, and where arms meet, one after the other.

What stands at each is filled in while rollouts are played (`ipa_rl.simulation.outlook`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ipa_rl.blocks import Block, Split, needed_tree
from ipa_rl.errors import InputError
from ipa_rl.graph import SURE
from ipa_rl.jit import FloatArray, IntArray, Records
from ipa_rl.objective import Problem
from ipa_rl.simulation.flow import Flow, flow_of
from ipa_rl.simulation.together import Together

STAGE, ALL, FIRST, ONE = 0, 1, 2, 3
"""What a station is: a stage, or where arms meet of which all are awaited, or the first, or one was taken."""

MOST_ARMS = 16

STATION = np.dtype(
    [(name, np.int64) for name in ("kind", "stage", "parent", "before", "begins", "arms")]
    + [("arm", np.int64, (MOST_ARMS,)), ("share", np.float64, (MOST_ARMS,))]
    + [(name, np.float64) for name in ("reached", "earlier_s", "level", "visits")]
    + [(name, np.int64) for name in ("servers", "batch")]
    + [("cores", np.float64)]
    + [(name, np.float64) for name in ("capacity", "score", "mean_s", "longer_s", "service_s", "service_scv")]
    + [(name, np.float64) for name in ("most_wait_s", "most_longer_s", "queue", "inflow", "there")]
    + [(name, np.float64) for name in ("flow", "behind", "was_behind", "dropped", "longest_s", "highest_scv")]
    + [(name, np.float64) for name in ("wait_s", "wait_longer_s", "typical_s", "most_s", "squares")]
    + [("product", np.float64)],
    align=True,
)
"""A stage while its replicas stay as they are, and what is in it; or where arms meet.

``before``: the station that it follows, -1 for none; ``parent``: of the stage whose requests come to it or
are gathered. ``begins``: whether an arm begins here, of which the accuracy is told apart. ``arm``: the last
stations of so many ``arms``, -1 where an arm has none, each for its ``share`` of the requests. ``reached``:
share of the requests that comes here, each ``level`` times, ``visits`` in all. ``earlier_s``: what ends here
must do so earlier than the SLA.

``servers``: ready replicas; ``cores`` are paid for. ``capacity``: requests that it serves in a tick.
``mean_s`` of service, and ``longer_s`` by which the tail's is longer; ``service_s``: of a batch, by the
rate. ``most_wait_s``, ``most_longer_s``: `wait_s` where it is busiest. In a tick: ``queue`` waited before
it, ``inflow`` came in it, ``there`` is both; ``flow`` went on, ``behind`` has not come so far,
``was_behind`` before, and ``dropped`` never will. ``longest_s`` and ``highest_scv`` until here: as
`ipa_rl.queueing.randomness` takes them. ``wait_s`` and by how much longer the tail's is are part
of the times until here: ``typical_s``, ``most_s`` with waits, and ``squares`` of what the tail takes longer.
``product``: of the scores until here, since the arm began.
"""


class Layout(NamedTuple):
    """What rollouts know of the graph.

    ``stations``: STATION, each after those before it. ``routes``: which arm is taken at each station where
    one is, (routes, stations); ``shares`` of the requests that take each route. ``carried``: requests that a
    stage gets for each of its parent's, by variant of it, (stages, variants); ``is_even``: one everywhere.
    ``is_chain``: whether no arms meet. ``together``: stages that were measured together.
    """

    stations: Records
    routes: IntArray
    shares: FloatArray
    carried: FloatArray
    is_even: bool
    is_chain: bool
    together: Together


def layout_of(problem: Problem) -> Layout:
    """The pipeline's. Raises InputError where arms are entangled, or are too many."""
    flow = flow_of(problem)
    tree = needed_tree(problem.pipeline.graph, f"{problem.pipeline.name}: edges")
    laid = _Laid(problem, flow)
    laid.block(tree, -1, begins=False)
    routes = _routes(laid, tree)
    chosen = np.zeros((len(routes), len(laid.rows)), dtype=np.int64)
    for r, (_, arms) in enumerate(routes):
        for station, arm in arms.items():
            chosen[r, station] = arm
    is_even = flow.carried.shape[1] == 0
    carried = np.ones((len(flow.carried), 1)) if is_even else flow.carried
    shares = np.array([share for share, _ in routes])
    return Layout(
        laid.stations(), chosen, shares, carried, is_even, not laid.of_split, together=flow.together
    )


class _Laid:
    """Stations of blocks, one after the other."""

    def __init__(self, problem: Problem, flow: Flow) -> None:
        self.problem, self.flow = problem, flow
        self.rows: list[dict[str, Any]] = []
        self.of_stage: dict[int, int] = {}
        self.of_split: dict[int, int] = {}

    def block(self, block: Block, before: int, begins: bool) -> int:
        """The last station of a block that follows one; that one itself where the block is empty."""
        for part in block.parts:
            if isinstance(part, int):
                self.of_stage[part] = len(self.rows)
                row = {"kind": STAGE, "stage": part, "reached": float(self.flow.nodes["reached"][part])}
                if not self.problem.pipeline.graph.leaving[part]:
                    row["earlier_s"] = self.problem.earlier_s(self.problem.pipeline.stages[part])
                parent = int(self.flow.nodes["parent"][part])
                row["parent"] = self.of_stage[parent] if parent >= 0 else -1
            else:
                row = self._meeting(part, before)
                self.of_split[id(part)] = len(self.rows)
            self.rows.append({**row, "before": before, "begins": begins})
            before, begins = len(self.rows) - 1, False
        return before

    def _meeting(self, split: Split, before: int) -> dict[str, Any]:
        kind = {"all": ALL, "first": FIRST, "one": ONE}[split.kind]
        ends = [self.block(one.block, before, begins=True) if one.block.parts else -1 for one in split.arms]
        shares = [one.probability for one in split.arms]
        if kind == ONE and sum(shares) < SURE:
            ends, shares = [*ends, -1], [*shares, 1.0 - sum(shares)]
        if len(ends) > MOST_ARMS:
            fix = f"let {MOST_ARMS} edges leave a stage at most"
            raise InputError(f"{len(ends)} arms leave one stage", field="edges", fix=fix)
        return {"kind": kind, "ends": ends, "shares": shares, "parent": -1, "reached": 1.0}

    def stations(self) -> Records:
        """STATION as they are before anything came."""
        found = np.zeros(len(self.rows), dtype=STATION)
        for row, given in zip(found, self.rows, strict=True):
            for name in ("kind", "parent", "before", "begins", "reached"):
                row[name] = given[name]
            row["stage"], row["earlier_s"] = given.get("stage", -1), given.get("earlier_s", 0.0)
            row["level"], row["visits"] = 1.0, given["reached"]
            ends, shares = given.get("ends", ()), given.get("shares", ())
            row["arms"], row["arm"][: len(ends)], row["share"][: len(ends)] = len(ends), ends, shares
        return found


def _routes(laid: _Laid, block: Block) -> list[tuple[float, dict[int, int]]]:
    """Ways through all alternatives of a block: how likely, and which arm at which station."""
    found: list[tuple[float, dict[int, int]]] = [(1.0, {})]
    for part in block.parts:
        if isinstance(part, int):
            continue
        own = [_routes(laid, arm.block) for arm in part.arms]
        if part.kind == "one":
            at, missed = laid.of_split[id(part)], 1.0 - sum(arm.probability for arm in part.arms)
            ways = [
                (arm.probability * share, {**taken, at: k})
                for k, (arm, routes) in enumerate(zip(part.arms, own, strict=True))
                for share, taken in routes
            ]
            ways += [(missed, {at: len(part.arms)})] if missed > 1.0 - SURE else []
        else:
            ways = [(1.0, {})]
            for routes in own:
                ways = [(p * q, {**one, **other}) for p, one in ways for q, other in routes]
        found = [(p * q, {**one, **other}) for p, one in found for q, other in ways]
    return found
