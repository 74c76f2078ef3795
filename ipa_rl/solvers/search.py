"""The best choice of a graph's stages: fronts of blocks, joined one after the other and beside each other.

A block's front is what nothing else beats in latency, penalty and score. What the stages outside a block can
add at best is an envelope of lines over the block's score; with the least latency that they leave it tells
what need not be kept. Searches that keep few of each front come first: the exact one has to beat what they
find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ipa_rl.blocks import Arm, Block, Split, needed_tree, score_along, tree_of
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import Problem, each_apart
from ipa_rl.solvers import merge as kernel
from ipa_rl.solvers.merge import ALL, FIRST, ONE, THEN
from ipa_rl.solvers.options import ROUNDING, SLA_SLACK_S, Offers, Options, Picks, joined

_BEAMS = (2, 16, 128)
"""So many of each front are kept in searches for an answer that the exact one has to beat. Where none was cut
the answer is exact already."""
_FIGURES = ("latency_s", "penalty", "score", "used")
_JOINTS = {"all": ALL, "one": ONE, "first": FIRST}


@dataclass(frozen=True)
class _Outline:
    """Of a block: its least latency, and the most of score times x less penalty for any x, as an envelope.

    ``fewest``: units of each limited resource, (limits,).
    """

    fastest_s: float
    slope: FloatArray
    offset: FloatArray
    fewest: FloatArray


_EMPTY = _Outline(0.0, np.ones(1), np.zeros(1), np.zeros(1))


@dataclass(frozen=True)
class _Bound:
    """Of what is outside a block: the latency that it leaves, and what it can add over the block's score.

    ``left``: units that it leaves of each limited resource, (limits,).
    """

    latest_s: float
    slope: FloatArray
    offset: FloatArray
    left: FloatArray


@dataclass(frozen=True)
class _Front:
    """Choices of a block, arrays (choices,); ``picks`` tells them by position.

    ``used``: units of each limited resource, (choices, limits).
    """

    latency_s: FloatArray
    penalty: FloatArray
    score: FloatArray
    used: FloatArray
    picks: Callable[[int], Picks]

    def at(self, positions: IntArray) -> _Front:
        """Some of them."""
        own = self.latency_s[positions], self.penalty[positions], self.score[positions], self.used[positions]
        return _Front(*own, lambda i: self.picks(int(positions[i])))


def _one(latency_s: float, score: float, limits: int) -> _Front:
    own = np.array([latency_s]), np.zeros(1), np.array([score]), np.zeros((1, limits))
    return _Front(*own, lambda _: {})


@dataclass(frozen=True)
class _Unit:
    """A stage, what it splits into, or both: then the stage's variant says how many requests go there."""

    stage: int | None
    split: Split | None


def best_picks(problem: Problem, offers: Offers, load_rps: float) -> Picks | None:
    """The choice of each stage with the highest objective; None where none is within the SLA and the limits.

    What stages are offered may tell units of more resources than the problem limits, which then has none.
    Where arms of the graph are entangled an integer program finds it. Where stages were measured together,
    the best of what is found for each choice of variants of all of them but the last.
    """
    best, known = None, -np.inf
    for some in apart(problem, cache(offers) if problem.pipeline.accuracies else offers):
        picks = _best_picks(problem, some, load_rps, known)
        if picks is not None and (worth := _worth(problem, picks)) > known:
            best, known = picks, worth
    return best


def least_picks(problem: Problem, offers: Offers, load_rps: float) -> Picks | None:
    """The choice of each stage with the least penalty, however accurate, within the SLA and the limits."""

    def alike(stage: int, own_rps: float) -> Options:
        offered = offers(stage, own_rps)
        return replace(offered, score=np.ones(len(offered.pair)))

    whatever = replace(problem.pipeline, accuracies=()) if problem.pipeline.accuracies else problem.pipeline
    return best_picks(replace(problem, pipeline=whatever), alike, load_rps)


def apart(problem: Problem, offers: Offers) -> Iterator[Offers]:
    """What stages are offered, such that their scores multiply: the same unless some were measured together.

    Then for each choice of variants of these but the last, whose scores are corrected.
    """
    for fixed, factors in each_apart(problem):
        yield partial(_apart, offers, fixed, factors)


def _apart(
    offers: Offers, fixed: dict[int, int], factors: dict[int, FloatArray], stage: int, load_rps: float
) -> Options:
    offered = offers(stage, load_rps)
    if stage in fixed:
        offered = offered.at(np.flatnonzero(offered.variant == fixed[stage]))
    if stage in factors:
        offered = replace(offered, score=offered.score * factors[stage][offered.variant])
    return offered


def _worth(problem: Problem, picks: Picks) -> float:
    """The objective of a choice."""
    own, penalty = [0.0] * len(problem.pipeline.stages), 0.0
    for s, (offered, i) in picks.items():
        own[s], penalty = float(offered.score[i]), penalty + float(offered.penalty[i])
    return problem.weights.alpha * score_along(problem.pipeline.graph, own) - penalty


def _best_picks(problem: Problem, offers: Offers, load_rps: float, known: float) -> Picks | None:
    """As `best_picks`, of scores that multiply; None as well where none is better than what is ``known``."""
    tree = tree_of(problem.pipeline.graph)
    if tree is None:
        from ipa_rl.solvers.formulation import picks_by_program

        return picks_by_program(problem, offers, load_rps)
    picks = _Search(problem, offers, tree).best(load_rps, known)
    if not picks or not problem.limits or (used_by(picks, problem) <= limits_of(problem)).all():
        return picks
    return _Search(problem, offers, tree, _prices(problem, offers, tree, load_rps)).best(load_rps, known)


def every_best(problem: Problem, offers: Offers, load_rps: float) -> list[tuple[FloatArray, float, Picks]]:
    """For any units of the limited resources the best choice: (units, objective, choice), the leanest first.

    What takes no fewer units of any and is no better is left out. The limits themselves are lifted. Raises
    InputError where arms of the graph are entangled.
    """
    tree, found = needed_tree(problem.pipeline.graph, problem.pipeline.name), []
    for some in apart(problem, offers):
        found += _Search(problem, some, tree, np.zeros(len(problem.limits))).every_best(load_rps)
    if not problem.pipeline.accuracies or not found:
        return found
    order = _leanest_first(np.stack([units for units, *_ in found]), np.array([one[1] for one in found]))
    return [found[i] for i in order]


def _leanest_first(used: FloatArray, values: FloatArray) -> list[int]:
    """Without what takes no fewer units (choices, limits) than another, and is worth no more (choices,)."""
    none = np.zeros(len(values))
    kept = kernel.unbeaten(none, -values, none, used)
    order: list[int] = kept[np.lexsort((-values[kept], *used[kept].T[::-1]))].tolist()
    return order


def highest(candidates: Sequence[float], is_able: Callable[[float], bool]) -> float | None:
    """The highest of ascending ones that is able, as if all below it were; None where none seems to be."""
    low, high = -1, len(candidates) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if is_able(candidates[middle]) else (low, middle - 1)
    return candidates[low] if low >= 0 else None


def limits_of(problem: Problem) -> FloatArray:
    """Units of each limited resource, (limits,), a rounding more."""
    return np.array([units * (1.0 + ROUNDING) + ROUNDING for _, units in problem.limits])


def used_by(picks: Picks, problem: Problem) -> FloatArray:
    """Units that the picks occupy of each limited resource, (limits,)."""
    found = np.zeros(len(problem.limits))
    for offered, pick in picks.values():
        found += offered.used[pick]
    return found


def _at_prices(
    problem: Problem, offers: Offers, tree: Block, load_rps: float, prices: FloatArray
) -> Picks | None:
    """The best where limited resources have prices and no limits."""

    def priced(stage: int, own_rps: float) -> Options:
        offered = offers(stage, own_rps)
        return replace(offered, penalty=offered.penalty + offered.used @ prices)

    return _Search(problem, priced, tree).best(load_rps)


def _prices(problem: Problem, offers: Offers, tree: Block, load_rps: float) -> FloatArray:
    """Prices (limits,) at which the best keeps the limits, or nearly: the more the search leaves out early.

    Of one resource after the other the least price within a factor of 2 ** 0.25, found by halving.
    """
    limits, offered = limits_of(problem), cache(offers)
    prices = np.zeros(len(limits))
    for r, limit in enumerate(limits):
        low, high = -40.0, 40.0
        while high - low > 0.25:
            middle = (low + high) / 2.0
            prices[r] = 2.0**middle
            picks = _at_prices(problem, offered, tree, load_rps, prices)
            low, high = (middle, high) if picks and used_by(picks, problem)[r] > limit else (low, middle)
        prices[r] = 2.0**high
    return prices


def fastest_s(problem: Problem, offers: Offers, load_rps: float) -> float | None:
    """The least latency of all combinations; None where some stage has no option in any."""
    graph, offered = problem.pipeline.graph, cache(offers)
    governors = sorted({one for s in graph.order for one in graph.governors(s)})
    found: list[float] = []
    for groups in product(*(graph.classes(one) for one in governors)):
        among = dict(zip(governors, groups, strict=True))
        visits = graph.visits([among.get(s, (0,))[0] for s in range(len(graph.names))]).tolist()
        each = [offered(s, load_rps * one) for s, one in enumerate(visits)]
        kept = [np.isin(one.variant, among[s]) if s in among else slice(None) for s, one in enumerate(each)]
        latencies_s = [one.latency_s[own] for one, own in zip(each, kept, strict=True)]
        if all(map(len, latencies_s)):
            found.append(graph.latency_s([float(one.min()) for one in latencies_s]))
    return min(found, default=None)


class _Search:
    """One problem and what its stages are offered; outlines are kept.

    ``prices``: of limited resources, (limits,), by which what cannot be the best is left out; None lifts the
    limits.
    """

    def __init__(
        self, problem: Problem, offers: Offers, tree: Block, prices: FloatArray | None = None
    ) -> None:
        self.problem, self.graph, self.tree = problem, problem.pipeline.graph, tree
        self._offers = offers
        self._limits = np.zeros(0) if prices is None else limits_of(problem)
        self._prices = np.zeros(0) if prices is None else prices
        self._options: dict[tuple[int, float], Options] = {}
        self._outlines: dict[tuple[int, float, int | None], list[_Outline] | None] = {}
        self._groups: dict[tuple[int, float, int | None], _Outline] = {}
        self._units: dict[int, list[_Unit]] = {}
        self._tree_bounds: list[_Bound] = []
        self._known = -np.inf
        self._beam: int | None = None
        self._was_cut = False

    def best(self, load_rps: float, known: float = -np.inf) -> Picks | None:
        """As `best_picks`; what is not better than what is ``known`` may be left out."""
        latest_s, alpha = self.problem.sla_s + SLA_SLACK_S, self.problem.weights.alpha
        outlines = self._unit_outlines(self.tree, load_rps, None)
        if outlines is None:
            return None
        least = _in_a_row(outlines)
        if least.fastest_s > latest_s or (least.fewest > self._limits).any():
            return None
        limits_cost = float(self._prices @ self._limits)
        self._known = _nearly(known) - limits_cost
        if float((alpha * least.slope + least.offset).max()) < self._known:
            return None
        bound = _Bound(latest_s, np.array([alpha]), np.zeros(1), self._limits)
        picks: Picks | None = None
        for beam in (*_BEAMS, None):
            self._beam, self._was_cut = beam, False
            front = self._front(self.tree, load_rps, None, bound)
            values = alpha * front.score - front.penalty
            picks = None
            if len(values):
                best = int(np.lexsort((front.latency_s, -values))[0])
                picks = front.picks(best)
                self._known = max(self._known, _nearly(float(values[best])) - limits_cost)
            if not self._was_cut:
                break
        return picks

    def every_best(self, load_rps: float) -> list[tuple[FloatArray, float, Picks]]:
        """As the function of that name."""
        self._limits = np.full(len(self._limits), np.inf)
        latest_s, alpha = self.problem.sla_s + SLA_SLACK_S, self.problem.weights.alpha
        bound = _Bound(latest_s, np.array([alpha]), np.zeros(1), self._limits)
        front = self._front(self.tree, load_rps, None, bound)
        values = alpha * front.score - front.penalty
        order = _leanest_first(front.used, values)
        return [(front.used[i], float(values[i]), front.picks(i)) for i in order]

    def _priced(self, front: _Front) -> FloatArray:
        """Penalties with what limited resources cost at their prices."""
        return front.penalty + front.used @ self._prices if len(self._prices) else front.penalty

    def options(self, stage: int, load_rps: float) -> Options:
        """What a stage can run at a load and nothing else beats that it can run and sends on as much."""
        key = stage, load_rps
        if key not in self._options:
            offered, classes = self._offers(stage, load_rps), self.graph.classes(stage)
            groups = [offered]
            if len(classes) > 1:
                groups = [offered.at(np.flatnonzero(_any_of(offered.variant, own))) for own in classes]
            kept = [one.at(_unbeaten(*self._figures(one))) for one in groups]
            self._options[key] = kept[0] if len(kept) == 1 else joined(kept)
        return self._options[key]

    def _figures(self, offered: Options) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """What a front has of options; nothing of resources where these have no limits."""
        return offered.latency_s, offered.penalty, offered.score, offered.used[:, : len(self._limits)]

    def units(self, block: Block) -> list[_Unit]:
        """Its parts, a split together with the stage before it."""
        if id(block) not in self._units:
            found: list[_Unit] = []
            for part in block.parts:
                if isinstance(part, int):
                    found.append(_Unit(part, None))
                elif found and found[-1] == _Unit(part.by, None):
                    found[-1] = _Unit(part.by, part)
                else:
                    found.append(_Unit(None, part))
            self._units[id(block)] = found
        return self._units[id(block)]

    def groups(self, unit: _Unit, load_rps: float) -> list[tuple[int | None, IntArray | None]]:
        """The options of a unit's stage by what they send on, None for all; a variant of each group."""
        assert unit.stage is not None
        classes = self.graph.classes(unit.stage) if unit.split is not None else ()
        if len(classes) < 2:
            return [(0, None)]
        variant = self.options(unit.stage, load_rps).variant
        found = [
            (own[0], np.flatnonzero(np.logical_or.reduce([variant == v for v in own]))) for own in classes
        ]
        return [(sends, positions) for sends, positions in found if len(positions)]

    def outline(self, block: Block, load_rps: float, variant: int | None) -> _Outline | None:
        """Of a block; None where a stage has no option. ``variant``: of the stage that it was split from."""
        outlines = self._unit_outlines(block, load_rps, variant)
        return None if outlines is None else _in_a_row(outlines)

    def _unit_outlines(self, block: Block, load_rps: float, variant: int | None) -> list[_Outline] | None:
        key = id(block), load_rps, variant
        if key not in self._outlines:
            found = [self._unit_outline(unit, load_rps, variant) for unit in self.units(block)]
            outlines = [one for one in found if one is not None]
            self._outlines[key] = outlines if len(outlines) == len(found) else None
        return self._outlines[key]

    def _unit_outline(self, unit: _Unit, load_rps: float, variant: int | None) -> _Outline | None:
        if unit.stage is None:
            assert unit.split is not None
            return self._split_outline(unit.split, load_rps, variant)
        if not len(self.options(unit.stage, load_rps).pair):
            return None
        found = []
        for sends, positions in self.groups(unit, load_rps):
            own = self._choices(unit, load_rps, positions)
            lines = kernel.envelope(own.score, -self._priced(own))
            outline = _Outline(float(own.latency_s.min()), *lines, own.used.min(axis=0))
            after = _EMPTY if unit.split is None else self._split_outline(unit.split, load_rps, sends)
            if after is not None:
                found.append(_then(outline, after))
                self._groups[id(unit.split), load_rps, sends] = found[-1]
        if len(found) < 2:
            return found[0] if found else None
        slopes, offsets = np.concatenate([o.slope for o in found]), np.concatenate([o.offset for o in found])
        fewest = np.min([o.fewest for o in found], axis=0)
        return _Outline(min(o.fastest_s for o in found), *kernel.envelope(slopes, offsets), fewest)

    def _split_outline(self, split: Split, load_rps: float, variant: int | None) -> _Outline | None:
        arms = self._arm_outlines(split, load_rps, variant)
        if arms is None:
            return None
        each_s = [arm.fastest_s for arm in arms]
        together = _in_a_row(arms)
        if split.kind == "all":
            return replace(together, fastest_s=max(each_s))
        # Of the first the score is the least, which is no more than the mean of all.
        shares = [arm.probability for arm in split.arms]
        if split.kind == "first":
            shares = [1.0 / len(arms)] * len(arms)
        slope, offset = np.array([1.0 - sum(shares)]), np.zeros(1)
        for share, arm in zip(shares, arms, strict=True):
            slope = np.add.outer(slope, share * arm.slope).ravel()
            offset = np.add.outer(offset, arm.offset).ravel()
            slope, offset = kernel.envelope(slope, offset)
        fastest_s = min(each_s) if split.kind == "first" else max(each_s)
        return _Outline(fastest_s, slope, offset, together.fewest)

    def _arm_outlines(self, split: Split, load_rps: float, variant: int | None) -> list[_Outline] | None:
        found = []
        for arm, arm_rps in zip(split.arms, self._arm_loads(split, load_rps, variant), strict=True):
            outline = self.outline(arm.block, arm_rps, _needed(arm, variant))
            if outline is None:
                return None
            found.append(outline)
        return found

    def _arm_loads(self, split: Split, load_rps: float, variant: int | None) -> list[float]:
        """Requests a second of each arm."""
        edges = self.graph.edges
        return [
            load_rps
            * arm.probability
            * (1.0 if arm.edge is None else edges[arm.edge].requests_of(variant or 0))
            for arm in split.arms
        ]

    def _front(self, block: Block, load_rps: float, variant: int | None, bound: _Bound) -> _Front:
        """Of a block within a bound, unit after unit."""
        units, outlines = self.units(block), self._unit_outlines(block, load_rps, variant)
        if outlines is None:
            return _none(len(self._limits))
        if not units:
            return _one(0.0, 1.0, len(self._limits))
        bounds = self._bounds(block, outlines, bound)
        front = _one(0.0, 1.0, len(self._limits))
        for unit, rest in zip(units, bounds, strict=True):
            if not len(front.score):
                return front
            if unit.split is None:
                own = self._choices(unit, load_rps, None)
            else:
                lines = kernel.before(self._priced(front), front.score, rest.slope, rest.offset)
                left_s = rest.latest_s - float(front.latency_s.min())
                own_bound = _Bound(left_s, *lines, rest.left - front.used.min(axis=0))
                own = self._unit_front(unit, load_rps, variant, own_bound)
            front = self._joined(front, own, rest, THEN)
        return front

    def _bounds(self, block: Block, outlines: list[_Outline], bound: _Bound) -> list[_Bound]:
        """Of each unit, with those after it outside; of the whole they are the same for every beam."""
        if block is self.tree and self._tree_bounds:
            return self._tree_bounds
        found = [bound]
        for outline in reversed(outlines[1:]):
            after = found[-1]
            lines = _product(outline, after.slope, after.offset)
            found.append(_Bound(after.latest_s - outline.fastest_s, *lines, after.left - outline.fewest))
        if block is self.tree:
            self._tree_bounds = found[::-1]
        return found[::-1]

    def _choices(self, unit: _Unit, load_rps: float, positions: IntArray | None) -> _Front:
        """Options of a unit's stage."""
        stage = unit.stage
        assert stage is not None
        offered = self.options(stage, load_rps)
        offered = offered if positions is None else offered.at(positions)
        return _Front(*self._figures(offered), lambda i: {stage: (offered, i)})

    def _unit_front(self, unit: _Unit, load_rps: float, variant: int | None, bound: _Bound) -> _Front:
        """Of a split, and of the stage that it splits from where that is the unit's."""
        assert unit.split is not None
        if unit.stage is None:
            return self._split_front(unit.split, load_rps, variant, bound)
        found = []
        for sends, positions in self._promising(unit, load_rps, bound):
            own = self._choices(unit, load_rps, positions)
            lines = kernel.before(self._priced(own), own.score, bound.slope, bound.offset)
            left_s = bound.latest_s - float(own.latency_s.min())
            after_bound = _Bound(left_s, *lines, bound.left - own.used.min(axis=0))
            after = self._split_front(unit.split, load_rps, sends, after_bound)
            found.append(self._joined(own, after, bound, THEN))
        return _union(found, len(self._limits))

    def _promising(
        self, unit: _Unit, load_rps: float, bound: _Bound
    ) -> list[tuple[int | None, IntArray | None]]:
        """The groups that can be quick enough and as good as what is known; of many the most promising."""
        found: list[tuple[float, int, tuple[int | None, IntArray | None]]] = []
        for sends, positions in self.groups(unit, load_rps):
            outline = self._groups.get((id(unit.split), load_rps, sends))
            quick = outline is not None and outline.fastest_s <= bound.latest_s
            if outline is not None and quick and (outline.fewest <= bound.left).all():
                slope, offset = _product(outline, bound.slope, bound.offset)
                promise = float((slope + offset).max())
                if promise >= self._known:
                    found.append((-promise, len(found), (sends, positions)))
        self._was_cut |= self._beam is not None and len(found) > self._beam
        return [group for *_, group in sorted(found, key=lambda one: one[:2])[: self._beam]]

    def _split_front(self, split: Split, load_rps: float, variant: int | None, bound: _Bound) -> _Front:
        """Of arms beside each other, arm after arm."""
        outlines = self._arm_outlines(split, load_rps, variant)
        loads = self._arm_loads(split, load_rps, variant)
        if outlines is None:
            return _none(len(self._limits))
        joint = _JOINTS[split.kind]
        rests = [bound]
        for arm, outline in zip(reversed(split.arms), reversed(outlines), strict=True):
            lines = _lines_beside(joint, outline, arm.probability, rests[-1])
            rests.append(_Bound(bound.latest_s, *lines, rests[-1].left - outline.fewest))
        ends_s = np.inf if joint == FIRST else bound.latest_s
        missed = 1.0 - sum(arm.probability for arm in split.arms)
        begin_s, begin = np.inf if joint == FIRST else 0.0, missed if joint == ONE else 1.0
        front = _one(begin_s, begin, len(self._limits))
        for k, (arm, arm_rps, rest) in enumerate(zip(split.arms, loads, rests[-2::-1], strict=True)):
            if not len(front.score):
                return front
            fewest = front.used.min(axis=0)
            there = _Outline(0.0, *kernel.envelope(front.score, -self._priced(front)), fewest)
            lines = _lines_of_arm(joint, there, arm.probability, rest)
            own_bound = _Bound(ends_s, *lines, rest.left - fewest)
            own = self._front(arm.block, arm_rps, _needed(arm, variant), own_bound)
            is_last = k + 1 == len(split.arms)
            within = replace(rest, latest_s=bound.latest_s if is_last else ends_s)
            front = self._joined(front, own, within, joint, arm.probability)
        return front

    def _joined(self, one: _Front, other: _Front, rest: _Bound, joint: int, share: float = 1.0) -> _Front:
        """Two fronts as one, of which few are kept where there is a beam."""
        if not len(one.score) or not len(other.score):
            return _none(len(self._limits))
        latency_s, penalty, score, first, second = kernel.merge(
            one.latency_s, one.penalty, one.score, other.latency_s, other.penalty, other.score,
            rest.latest_s, rest.slope, rest.offset, self._known,
            one.used, other.used, rest.left, self._prices, joint, share,
        )  # fmt: skip

        def picks(i: int) -> Picks:
            return one.picks(int(first[i])) | other.picks(int(second[i]))

        front = _Front(latency_s, penalty, score, one.used[first] + other.used[second], picks)
        if self._beam is None or len(score) <= self._beam:
            return front
        self._was_cut = True
        reach = kernel.highest(rest.slope, rest.offset, score) - self._priced(front)
        kept = [np.argsort(-reach)[: self._beam], np.argsort(latency_s)[:4]]
        kept += [np.argsort(column)[:4] for column in front.used.T]
        return front.at(np.unique(np.concatenate(kept)))


def _nearly(value: float) -> float:
    """A rounding less."""
    return value - 1e-9 * max(1.0, abs(value)) if np.isfinite(value) else value


def _needed(arm: Arm, variant: int | None) -> int | None:
    """The variant of the stage that an arm comes from, where the arm splits before its own first stage."""
    return variant if arm.block.parts and isinstance(arm.block.parts[0], Split) else None


def _any_of(variant: IntArray, some: Sequence[int]) -> NDArray[np.bool_]:
    """Where a variant is one of some."""
    return np.asarray(np.logical_or.reduce([variant == one for one in some]))


def _none(limits: int) -> _Front:
    return _one(0.0, 1.0, limits).at(np.zeros(0, dtype=np.int64))


def _union(fronts: Sequence[_Front], limits: int) -> _Front:
    """What no choice of any of them beats."""
    if len(fronts) == 1:
        return fronts[0]
    if not fronts:
        return _none(limits)
    whose = np.concatenate([np.full(len(one.score), k) for k, one in enumerate(fronts)])
    where = np.concatenate([np.arange(len(one.score)) for one in fronts])
    own = [np.concatenate([getattr(one, name) for one in fronts]) for name in _FIGURES]
    latency_s, penalty, score, used = own
    together = _Front(latency_s, penalty, score, used, lambda i: fronts[whose[i]].picks(int(where[i])))
    return together.at(_unbeaten(latency_s, penalty, score, used))


def _unbeaten(latency_s: FloatArray, penalty: FloatArray, score: FloatArray, used: FloatArray) -> IntArray:
    """Positions of what nothing else beats."""
    found: IntArray = (
        kernel.unbeaten(latency_s, penalty, score, used)
        if used.shape[1]
        else kernel.pareto(latency_s, penalty, score)
    )
    return found


def _in_a_row(outlines: Sequence[_Outline]) -> _Outline:
    return reduce(_then, outlines) if outlines else _EMPTY


def _then(one: _Outline, other: _Outline) -> _Outline:
    """One after the other: latencies add up, scores are multiplied."""
    lines = _product(one, other.slope, other.offset)
    return _Outline(one.fastest_s + other.fastest_s, *lines, one.fewest + other.fewest)


def _product(own: _Outline, slope: FloatArray, offset: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lines over the score of what is joined to a block, from lines over the score of both."""
    found: tuple[FloatArray, FloatArray] = kernel.product(own.slope, own.offset, slope, offset)
    return found


def _lines_beside(joint: int, arm: _Outline, share: float, rest: _Bound) -> tuple[FloatArray, FloatArray]:
    """Lines over the score of the arms before this one, from lines over the score of all."""
    if joint == ALL:
        return _product(arm, rest.slope, rest.offset)
    if joint == ONE:
        found: tuple[FloatArray, FloatArray]
        found = kernel.beside(arm.slope, arm.offset, share, rest.slope, rest.offset)
        return found
    # The least of all is no more than that of those before.
    return rest.slope, rest.offset + kernel.highest(arm.slope, arm.offset, np.zeros(1))[0]


def _lines_of_arm(joint: int, before: _Outline, share: float, rest: _Bound) -> tuple[FloatArray, FloatArray]:
    """Lines over the score of an arm's own block, from lines over the score of the arms up to it."""
    if joint != ONE:
        return _lines_beside(joint, before, share, rest)
    slope, offset = kernel.beside(before.slope, before.offset, 1.0, rest.slope, rest.offset)
    return share * slope, offset
