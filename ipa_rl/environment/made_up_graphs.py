"""Graphs of made-up pipelines: where requests go from stage to stage, drawn at random.

From the first stage on, piece by piece, until all stages have a place: one that follows; two beside each
other, that are both asked, or raced, or of which a request takes one, and that meet again or end; or one that
gets several requests of each, which the next one gathers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ipa_rl.graph import Edge, Join
from ipa_rl.pipeline import Stage

MOST_REQUESTS = 6.0
"""Of one, that a stage sends on."""


def with_edges(
    stages: tuple[Stage, ...], rng: np.random.Generator
) -> tuple[tuple[Stage, ...], tuple[Edge, ...]]:
    """The stages, some of which join now, and the edges between them."""
    drawn = _Drawn(list(stages), rng)
    last, pieces = 0, [drawn.follows, drawn.gathers, drawn.beside, drawn.beside]
    while drawn.left:
        pieces = pieces if drawn.left > 1 else [drawn.follows]
        piece = pieces[int(rng.integers(len(pieces)))]
        is_last_chance = drawn.left == 2 and all(edge.is_plain for edge in drawn.edges) and drawn.is_chain
        last = drawn.beside(last) if is_last_chance and piece == drawn.follows else piece(last)
    return tuple(drawn.stages), tuple(drawn.edges)


class _Drawn:
    """Stages of which the first ``placed`` have a place."""

    def __init__(self, stages: list[Stage], rng: np.random.Generator) -> None:
        self.stages, self.rng, self.placed = stages, rng, 1
        self.edges: list[Edge] = []

    @property
    def left(self) -> int:
        return len(self.stages) - self.placed

    @property
    def is_chain(self) -> bool:
        return len(self.edges) == len({edge.source for edge in self.edges})

    def next(self) -> int:
        self.placed += 1
        return self.placed - 1

    def edge(self, source: int, target: int, probability: float = 1.0, several: bool = False) -> None:
        """``several``: requests go there for each, more by the more accurate variants."""
        count, requests = len(self.stages[source].variants), (1.0,)
        if several:
            found = np.sort(self.rng.uniform(1.0, MOST_REQUESTS, count)).round(1)
            requests = tuple(found.tolist())
        names = self.stages[source].name, self.stages[target].name
        self.edges.append(Edge(*names, requests, probability))

    def join(self, stage: int, kind: Join) -> None:
        self.stages[stage] = replace(self.stages[stage], join=kind)

    def follows(self, last: int) -> int:
        """A stage that gets what another one has served."""
        self.edge(last, self.next())
        return self.placed - 1

    def gathers(self, last: int) -> int:
        """A stage that gets several of each, and one that gathers their answers."""
        middle, gathering = self.next(), self.next()
        self.edge(last, middle, several=True)
        self.edge(middle, gathering)
        self.join(gathering, "all")
        return gathering

    def beside(self, last: int) -> int:
        """Two stages beside each other; the one where they meet, or where they end the first of them."""
        is_choice = bool(self.rng.random() < 0.4)
        share = round(float(self.rng.uniform(0.2, 0.8)), 2)
        shares = (share, round(1.0 - share, 2)) if is_choice else (1.0, 1.0)
        ends = [self.next(), self.next()]
        for end, own in zip(list(ends), shares, strict=True):
            self.edge(last, end, own)
        if self.left >= 2 and self.rng.random() < 0.4:
            ends[0] = self.follows(ends[0])
        if not self.left:
            return ends[0]
        meet = self.next()
        for end in ends:
            self.edge(end, meet)
        if not is_choice and self.rng.random() < 0.3:
            self.join(meet, "first")
        return meet
