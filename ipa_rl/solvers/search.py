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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ipa_rl.blocks import Arm, Block, Split, needed_tree, score_along, tree_of
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.objective import Problem, each_apart
from ipa_rl.solvers import merge as kernel
from ipa_rl.solvers.merge import ALL, FIRST, ONE, THEN
from ipa_rl.solvers.options import ROUNDING, SLA_SLACK_S, Offers, Options, Picks

_BEAMS = (2, 16, 128)
"""So many of each front are kept in searches for an answer that the exact one has to beat. Where none was cut
the answer is exact already."""
_JOINTS = {"all": ALL, "one": ONE, "first": FIRST}


class _Outline(NamedTuple):
    """Of a block: its least latency, and the most of score times x less penalty for any x, as an envelope.

    ``lines``: that, (2, lines). ``fewest``: units of each limited resource, (limits,).
    """

    fastest_s: float
    lines: FloatArray
    fewest: FloatArray


_EMPTY = _Outline(0.0, np.array([[1.0], [0.0]]), np.zeros(1))


class _Bound(NamedTuple):
    """Of what is outside a block: the latency that it leaves, and what it can add over the block's score.

    ``lines``: that, (2, lines). ``left``: units that it leaves of each limited resource, (limits,).
    """

    latest_s: float
    lines: FloatArray
    left: FloatArray


@dataclass(frozen=True)
class _Front:
    """Choices of a block, the quickest first; ``picks`` tells them by position.

    ``figures`` (3, choices): latency, penalty, score. ``used``: units of each limited resource, (choices,
    limits).
    """

    figures: FloatArray
    used: FloatArray
    picks: Callable[[int], Picks]

    def __len__(self) -> int:
        return len(self.used)

    def at(self, positions: IntArray) -> _Front:
        """Some of them."""
        kept = self.figures.take(positions, axis=1), self.used[positions]
        return _Front(*kept, lambda i: self.picks(int(positions[i])))


@dataclass(frozen=True)
class _Unit:
    """A stage, what it splits into, or both: then the stage's variant says how many requests go there."""

    stage: int | None
    split: Split | None


@dataclass(frozen=True)
class _Group:
    """Options of a unit's stage that send on as much as its variant ``sends`` does.

    ``outline``: together with what they send it to.
    """

    sends: int
    own: _Front
    outline: _Outline


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
        yield partial(_apart, offers, fixed, factors) if factors else offers


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
    kept = kernel.unbeaten(np.array([none, -values, none]), used)
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
        self._begin = self._one(0.0, 1.0)
        self._none = self._begin.at(np.zeros(0, dtype=np.int64))
        self._groups: dict[tuple[int, float], list[_Group]] = {}
        self._outlines: dict[tuple[int, float, int | None], list[_Outline] | None] = {}
        self._ways: dict[tuple[int, float, int | None], list[tuple[Arm, float, _Outline]] | None] = {}
        self._units: dict[int, list[_Unit]] = {}
        self._tree_bounds: list[_Bound] = []
        self._known = -np.inf
        self._beam: int | None = None
        self._was_cut = False

    def _one(self, latency_s: float, score: float) -> _Front:
        """What costs nothing."""
        figures = np.array([[latency_s], [0.0], [score]])
        return _Front(figures, np.zeros((1, len(self._limits))), lambda _: {})

    def best(self, load_rps: float, known: float = -np.inf) -> Picks | None:
        """As `best_picks`; what is not better than what is ``known`` may be left out."""
        outlines = self._unit_outlines(self.tree, load_rps, None)
        if outlines is None:
            return None
        bound, alpha = self._whole(), self.problem.weights.alpha
        self._tree_bounds = bounds = _bounds(outlines, bound)
        first, after = outlines[0], bounds[0]
        if first.fastest_s > after.latest_s or (first.fewest > after.left).any():
            return None
        limits_cost = float(self._prices @ self._limits)
        self._known = _nearly(known) - limits_cost
        if kernel.most(first.lines, after.lines) < self._known:
            return None
        picks: Picks | None = None
        for beam in (*_BEAMS, None):
            self._beam, self._was_cut = beam, False
            front = self._front(self.tree, load_rps, None, bound)
            picks = None
            if len(front):
                latency_s, penalty, score = front.figures
                values = alpha * score - penalty
                best = int(np.lexsort((latency_s, -values))[0])
                picks = front.picks(best)
                self._known = max(self._known, _nearly(float(values[best])) - limits_cost)
            if not self._was_cut:
                break
        return picks

    def every_best(self, load_rps: float) -> list[tuple[FloatArray, float, Picks]]:
        """As the function of that name."""
        self._limits = np.full(len(self._limits), np.inf)
        front = self._front(self.tree, load_rps, None, self._whole())
        values = self.problem.weights.alpha * front.figures[2] - front.figures[1]
        order = _leanest_first(front.used, values)
        return [(front.used[i], float(values[i]), front.picks(i)) for i in order]

    def _whole(self) -> _Bound:
        """Of the whole graph, outside of which there is nothing."""
        worth = np.array([[self.problem.weights.alpha], [0.0]])
        return _Bound(self.problem.sla_s + SLA_SLACK_S, worth, self._limits)

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

    def groups(self, unit: _Unit, load_rps: float) -> list[_Group]:
        """What a unit's stage can run at a load, by what it sends on; without what cannot be.

        Of each group what nothing else in it beats.
        """
        assert unit.stage is not None
        key = unit.stage, load_rps
        if key not in self._groups:
            offered, classes = self._offers(unit.stage, load_rps), self.graph.classes(unit.stage)
            found = []
            every = self._choices(unit.stage, offered)
            for variants in classes:
                own = every
                if len(classes) > 1:
                    own = every.at(np.flatnonzero(_any_of(offered.variant, variants)))
                own = own.at(_unbeaten(own.figures, own.used))
                if not len(own):
                    continue
                outline = self._outline_of(own)
                if unit.split is not None:
                    after = self._split_outline(unit.split, load_rps, variants[0])
                    if after is None:
                        continue
                    outline = _then(outline, after)
                found.append(_Group(variants[0], own, outline))
            self._groups[key] = found
        return self._groups[key]

    def _choices(self, stage: int, offered: Options) -> _Front:
        """What a stage is offered, not in order yet; without units where these have no limits."""
        figures = np.array([offered.latency_s, offered.penalty, offered.score])
        return _Front(figures, offered.used[:, : len(self._limits)], lambda i: {stage: (offered, i)})

    def _unit_outlines(self, block: Block, load_rps: float, variant: int | None) -> list[_Outline] | None:
        """Of the parts of a block; None where a stage has no option.

        ``variant``: of the stage that the block was split from.
        """
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
        found = [group.outline for group in self.groups(unit, load_rps)]
        if len(found) < 2:
            return found[0] if found else None
        lines, fewest = np.concatenate([one.lines for one in found], axis=1), [one.fewest for one in found]
        fastest_s = min(one.fastest_s for one in found)
        return _Outline(fastest_s, kernel.envelope(lines[0], lines[1]), np.min(fewest, axis=0))

    def _split_outline(self, split: Split, load_rps: float, variant: int | None) -> _Outline | None:
        ways = self._arms(split, load_rps, variant)
        if ways is None:
            return None
        arms = [outline for _, _, outline in ways]
        each_s = [arm.fastest_s for arm in arms]
        together = _in_a_row(arms)
        if split.kind == "all":
            return together._replace(fastest_s=max(each_s))
        # Of the first the score is the least, which is no more than the mean of all.
        shares = [arm.probability for arm in split.arms]
        if split.kind == "first":
            shares = [1.0 / len(arms)] * len(arms)
        lines = np.array([[1.0 - sum(shares)], [0.0]])
        for share, arm in zip(shares, arms, strict=True):
            slope = np.add.outer(lines[0], share * arm.lines[0]).ravel()
            lines = kernel.envelope(slope, np.add.outer(lines[1], arm.lines[1]).ravel())
        return _Outline(min(each_s) if split.kind == "first" else max(each_s), lines, together.fewest)

    def _arms(
        self, split: Split, load_rps: float, variant: int | None
    ) -> list[tuple[Arm, float, _Outline]] | None:
        """The arms of a split, each with its requests a second; None where a stage has no option."""
        key = id(split), load_rps, variant
        if key not in self._ways:
            found, edges = [], self.graph.edges
            for arm in split.arms:
                sent = 1.0 if arm.edge is None else edges[arm.edge].requests_of(variant or 0)
                arm_rps = load_rps * arm.probability * sent
                outlines = self._unit_outlines(arm.block, arm_rps, _needed(arm, variant))
                if outlines is None:
                    break
                found.append((arm, arm_rps, _in_a_row(outlines)))
            self._ways[key] = found if len(found) == len(split.arms) else None
        return self._ways[key]

    def _front(self, block: Block, load_rps: float, variant: int | None, bound: _Bound) -> _Front:
        """Of a block within a bound, unit after unit."""
        outlines = self._unit_outlines(block, load_rps, variant)
        if outlines is None:
            return self._none
        if not outlines:
            return self._begin
        bounds = self._tree_bounds if block is self.tree else []
        front = self._begin
        for unit, rest in zip(self.units(block), bounds or _bounds(outlines, bound), strict=True):
            if not len(front):
                return front
            if unit.split is None:
                own = self.groups(unit, load_rps)[0].own
            else:
                own = self._unit_front(unit, load_rps, variant, self._after(front, rest))
            front = self._joined(front, own, rest, THEN)
        return front

    def _after(self, front: _Front, rest: _Bound) -> _Bound:
        """Of what follows on some choices, with the rest after it."""
        own = self._outline_of(front)
        lines = kernel.product(own.lines, rest.lines)
        return _Bound(rest.latest_s - own.fastest_s, lines, rest.left - own.fewest)

    def _outline_of(self, front: _Front) -> _Outline:
        """Of some choices, one at least."""
        lines = kernel.offered(front.figures, front.used, self._prices)
        fewest = front.used.min(axis=0) if len(self._limits) else self._limits
        return _Outline(float(front.figures[0, 0]), lines, fewest)

    def _unit_front(self, unit: _Unit, load_rps: float, variant: int | None, bound: _Bound) -> _Front:
        """Of a split, and of the stage that it splits from where that is the unit's."""
        assert unit.split is not None
        if unit.stage is None:
            return self._split_front(unit.split, load_rps, variant, bound)
        found = []
        for group in self._promising(unit, load_rps, bound):
            after = self._split_front(unit.split, load_rps, group.sends, self._after(group.own, bound))
            found.append(self._joined(group.own, after, bound, THEN))
        return _union(found) if found else self._none

    def _promising(self, unit: _Unit, load_rps: float, bound: _Bound) -> list[_Group]:
        """The groups that can be quick enough and as good as what is known; of many the most promising."""
        found: list[tuple[float, int, _Group]] = []
        for group in self.groups(unit, load_rps):
            outline = group.outline
            if outline.fastest_s <= bound.latest_s and (outline.fewest <= bound.left).all():
                promise = kernel.most(outline.lines, bound.lines)
                if promise >= self._known:
                    found.append((-promise, len(found), group))
        self._was_cut |= self._beam is not None and len(found) > self._beam
        return [group for *_, group in sorted(found, key=lambda one: one[:2])[: self._beam]]

    def _split_front(self, split: Split, load_rps: float, variant: int | None, bound: _Bound) -> _Front:
        """Of arms beside each other, arm after arm."""
        ways = self._arms(split, load_rps, variant)
        if ways is None:
            return self._none
        joint = _JOINTS[split.kind]
        rests = [bound]
        for arm, _, outline in reversed(ways):
            lines = _lines_beside(joint, outline.lines, arm.probability, rests[-1].lines)
            rests.append(_Bound(bound.latest_s, lines, rests[-1].left - outline.fewest))
        ends_s = np.inf if joint == FIRST else bound.latest_s
        missed = 1.0 - sum(arm.probability for arm in split.arms)
        front = self._one(np.inf if joint == FIRST else 0.0, missed if joint == ONE else 1.0)
        for k, ((arm, arm_rps, _), rest) in enumerate(zip(ways, rests[-2::-1], strict=True)):
            if not len(front):
                return front
            there = self._outline_of(front)
            lines = _lines_of_arm(joint, there.lines, arm.probability, rest.lines)
            own_bound = _Bound(ends_s, lines, rest.left - there.fewest)
            own = self._front(arm.block, arm_rps, _needed(arm, variant), own_bound)
            is_last = k + 1 == len(split.arms)
            within = rest._replace(latest_s=bound.latest_s if is_last else ends_s)
            front = self._joined(front, own, within, joint, arm.probability)
        return front

    def _joined(self, one: _Front, other: _Front, rest: _Bound, joint: int, share: float = 1.0) -> _Front:
        """Two fronts as one, of which few are kept where there is a beam."""
        options = len(other)
        if not len(one) or not options:
            return self._none
        figures, used, at = kernel.merge(
            one.figures, other.figures, rest.latest_s, rest.lines, self._known,
            one.used, other.used, rest.left, self._prices, joint, share,
        )  # fmt: skip

        def picks(i: int) -> Picks:
            first, second = divmod(int(at[i]), options)
            return one.picks(first) | other.picks(second)

        front = _Front(figures, used, picks)
        if self._beam is None or len(at) <= self._beam:
            return front
        self._was_cut = True
        return front.at(kernel.promising(figures, used, self._prices, rest.lines, self._beam))


def _nearly(value: float) -> float:
    """A rounding less."""
    return value - 1e-9 * max(1.0, abs(value)) if np.isfinite(value) else value


def _needed(arm: Arm, variant: int | None) -> int | None:
    """The variant of the stage that an arm comes from, where the arm splits before its own first stage."""
    return variant if arm.block.parts and isinstance(arm.block.parts[0], Split) else None


def _any_of(variant: IntArray, some: Sequence[int]) -> NDArray[np.bool_]:
    """Where a variant is one of some."""
    return np.asarray(np.logical_or.reduce([variant == one for one in some]))


def _union(fronts: Sequence[_Front]) -> _Front:
    """What no choice of any of them beats."""
    if len(fronts) == 1:
        return fronts[0]
    whose = np.repeat(np.arange(len(fronts)), [len(one) for one in fronts])
    where = np.concatenate([np.arange(len(one)) for one in fronts])
    figures = np.concatenate([one.figures for one in fronts], axis=1)
    used = np.concatenate([one.used for one in fronts])
    together = _Front(figures, used, lambda i: fronts[whose[i]].picks(int(where[i])))
    return together.at(_unbeaten(figures, used))


def _unbeaten(figures: FloatArray, used: FloatArray) -> IntArray:
    """Positions of what nothing else beats."""
    found: IntArray = kernel.unbeaten(figures, used) if used.shape[1] else kernel.pareto(figures)
    return found


def _bounds(outlines: Sequence[_Outline], bound: _Bound) -> list[_Bound]:
    """Of each unit of a block within a bound, with those after it outside."""
    found = [bound]
    for outline in reversed(outlines[1:]):
        after = found[-1]
        lines = kernel.product(outline.lines, after.lines)
        found.append(_Bound(after.latest_s - outline.fastest_s, lines, after.left - outline.fewest))
    return found[::-1]


def _in_a_row(outlines: Sequence[_Outline]) -> _Outline:
    return reduce(_then, outlines) if outlines else _EMPTY


def _then(one: _Outline, other: _Outline) -> _Outline:
    """One after the other: latencies add up, scores are multiplied."""
    lines = kernel.product(one.lines, other.lines)
    return _Outline(one.fastest_s + other.fastest_s, lines, one.fewest + other.fewest)


def _lines_beside(joint: int, arm: FloatArray, share: float, rest: FloatArray) -> FloatArray:
    """Lines over the score of the arms before this one, from lines over the score of all."""
    found: FloatArray
    if joint == ALL:
        found = kernel.product(arm, rest)
    elif joint == ONE:
        found = kernel.beside(arm, share, rest)
    else:  # the least of all is no more than that of those before
        found = rest + np.array([[0.0], kernel.highest(arm, np.zeros(1))])
    return found


def _lines_of_arm(joint: int, before: FloatArray, share: float, rest: FloatArray) -> FloatArray:
    """Lines over the score of an arm's own block, from lines over the score of the arms up to it."""
    if joint != ONE:
        return _lines_beside(joint, before, share, rest)
    return np.asarray(kernel.beside(before, 1.0, rest) * np.array([[share], [1.0]]))
