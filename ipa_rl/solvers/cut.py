"""What a decision becomes where it takes more than there is: the exact optimum within the budget.

First the observed load that all stages carry, as far as the budget lets; then the decision's own variants and
batch sizes, or else, stage by stage, those or what runs, where they carry as much: so one stage changes after
the other where there is no room to change all at once; then the objective of the integer program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ipa_rl.jit import FloatArray
from ipa_rl.objective import Problem, carried_rps, cost_cores, units_of
from ipa_rl.pipeline import Configuration, StageConfig
from ipa_rl.solvers.options import (
    ROUNDING,
    Offers,
    Options,
    Pairs,
    configuration,
    fills,
    only,
    options,
    pipeline_rps,
    stage_pairs,
)
from ipa_rl.solvers.search import best_picks, highest, least_picks, limits_of, used_by
from ipa_rl.solvers.transition import Occupied, most_on_the_way, units_on_the_way, units_there

_ANY_SLA_S = 1e12


@dataclass(frozen=True, slots=True)
class Cut:
    """At most so many replicas a stage, and a budget; caps of the problem hold too.

    ``budget``: cores that what is asked for costs, None for no limit. ``units``: (resource, units) that are
    occupied at most. ``room``: likewise while old and new replicas run beside each other, where that is more.
    Where more are occupied already, nothing grows until they are not.
    """

    problem: Problem
    budget: float | None
    most_replicas: int
    units: tuple[tuple[str, float], ...] = ()
    room: tuple[tuple[str, float], ...] = ()

    def on_the_way(self, resource: str, units: float) -> float:
        """What may be occupied of a resource meanwhile, of which ``units`` may be in the end."""
        return max(dict(self.room).get(resource, units), units)

    def fits(self, wanted: Configuration, occupied: Occupied) -> bool:
        """Whether a configuration is within the budget, and so is the way to it."""
        if self.budget is not None and cost_cores(self.problem.pipeline, wanted) > self.budget + ROUNDING:
            return False
        pipeline = self.problem.pipeline
        there, taken = units_there(pipeline, occupied), most_on_the_way(pipeline, wanted, occupied)
        left = units_of(pipeline, wanted)
        for name, most in self.units:
            meanwhile = max(self.on_the_way(name, most), there.get(name, 0.0))
            if left.get(name, 0.0) > most + ROUNDING or taken.get(name, 0.0) > meanwhile + ROUNDING:
                return False
        return True

    def of(
        self,
        wanted: Configuration,
        present: Sequence[StageConfig | None],
        held: Sequence[bool],
        load_rps: float,
        occupied: Occupied = (),
    ) -> Configuration:
        """The decision where it is within the budget; else the optimum, or the leanest where nothing is.

        ``present``: what runs, None where it is not known. ``held``: whether the variant of a stage is to
        stay, which is lifted where the budget cannot be kept otherwise. ``load_rps``: observed, NaN where it
        is not known; then what the decision would carry counts. ``occupied``: replicas that exist.
        """
        if self.fits(wanted, occupied):
            return wanted
        stages = self.problem.pipeline.stages
        planned_rps = carried_rps(self.problem.pipeline, wanted)
        goal_rps = load_rps if load_rps > 0 else planned_rps
        search = _Search(self, occupied, goal_rps)
        best: _Found | None = None
        for stays in (held, [False] * len(held)):
            offered = [
                only(pairs, (pairs.variant == stage.index(one.variant)) | (not own))
                for stage, pairs, one, own in zip(stages, search.whole, wanted.stages, stays, strict=True)
            ]
            best = best or search.most(offered, goal_rps)
        if best is None:
            return search.leanest(present)
        running = [own if one is None else one for own, one in zip(wanted.stages, present, strict=True)]
        decided, runs = (
            [
                (pairs.variant == stage.index(one.variant)) & (pairs.batch == one.batch)
                for stage, pairs, one in zip(stages, search.whole, kept, strict=True)
            ]
            for kept in (wanted.stages, running)
        )
        either = [one | other for one, other in zip(decided, runs, strict=True)]
        for kept, hurried in ((decided, False), (either, True)):
            own_pairs = [only(pairs, one) for pairs, one in zip(search.whole, kept, strict=True)]
            found = search.most(own_pairs, goal_rps, hurried)
            if found is not None and found.load_rps >= best.load_rps:
                further = search.most(own_pairs, max(goal_rps, planned_rps), hurried)
                return (further or found).configuration
        return best.configuration


def levels_rps(problem: Problem, offered: Sequence[Pairs], most_rps: float) -> FloatArray:
    """Loads, ascending, beyond which some stage needs another replica; those up to the highest, and that."""
    counts = np.arange(1, problem.max_replicas + 1)
    levels = pipeline_rps(problem, [np.outer(counts, pairs.rate_rps) for pairs in offered])
    return np.unique(np.minimum(levels, most_rps))


@dataclass(frozen=True)
class _Found:
    """The best configuration that carries a load (requests a second)."""

    load_rps: float
    configuration: Configuration


class _Search:
    """The most that fits a cut, and the best of what carries it."""

    def __init__(self, cut: Cut, occupied: Occupied, goal_rps: float) -> None:
        self.cut, self.goal_rps = cut, goal_rps
        limits = [("cores that are paid for", cut.budget)] if cut.budget is not None else []
        there = units_there(cut.problem.pipeline, occupied)
        each = [(name, most, cut.on_the_way(name, most)) for name, most in cut.units]
        self._over = np.array([there.get(name, 0.0) > way for name, _, way in each], dtype=np.bool_)
        self._beside = np.array([way <= most for _, most, way in each], dtype=np.bool_) & ~self._over
        rooms = zip(each, self._over, strict=True)
        self._meanwhile = [(name, way) for (name, most, way), over in rooms if way > most and not over]
        self.problem = replace(
            cut.problem,
            max_replicas=cut.most_replicas,
            fixed_replicas=None,
            waits=False,
            limits=(*limits, *cut.units, *((f"{name} meanwhile", most) for name, most in self._meanwhile)),
        )
        self.whole = stage_pairs(self.problem)
        stages = self.problem.pipeline.stages
        self._occupied = occupied or tuple({} for _ in stages)

    def most(self, offered: list[Pairs], goal_rps: float, hurried: bool = True) -> _Found | None:
        """The highest load up to a goal that fits, and the best that carries it; None where nothing fits.

        ``hurried``: within the SLA, where anything is that fits. Batches fill at the load that comes.
        """
        loads_rps = levels_rps(self.problem, offered, goal_rps).tolist()
        for sla_s in (self.problem.sla_s, _ANY_SLA_S) if hurried else (_ANY_SLA_S,):
            problem = replace(self.problem, sla_s=sla_s)
            load_rps = highest(loads_rps, partial(self._is_enough, problem, offered))
            if load_rps is not None:
                picks = best_picks(problem, self._offers(offered, load_rps), load_rps)
                return _Found(load_rps, configuration(problem, picks, offered)) if picks else None
        return None

    def leanest(self, present: Sequence[StageConfig | None]) -> Configuration:
        """A replica of each stage: where units are limited of what runs, else of what costs the least."""
        chosen = []
        for stage, now, pairs in zip(self.problem.pipeline.stages, present, self.whole, strict=True):
            i = int(pairs.cores.argmin())
            least = StageConfig(stage.variants[pairs.variant[i]].name, int(pairs.batch[i]), 1)
            chosen.append(replace(now, replicas=1) if now is not None and self.cut.units else least)
        return Configuration(tuple(chosen))

    def _offers(self, offered: list[Pairs], load_rps: float) -> Offers:
        """What stages can run that carry a load, filling batches at the load that comes."""
        stages, factor = self.problem.pipeline.stages, self.goal_rps / load_rps
        resources, pays = [name for name, _ in self.cut.units], self.cut.budget is not None

        def offers(s: int, own_rps: float) -> Options:
            pairs = offered[s]
            found = options(self.problem, pairs, own_rps, as_released=False)
            latency_s = (pairs.service_s + fills(pairs, own_rps * factor, as_released=False))[found.pair]
            what, there = (found.variant, pairs.batch[found.pair]), self._occupied[s]
            way = units_on_the_way(stages[s], (*what, found.replicas), there, resources)
            grows = way > units_on_the_way(stages[s], (*what, 0 * found.replicas), there, resources)
            alone = units_on_the_way(stages[s], (*what, found.replicas), {}, resources)
            used = np.where(self._beside, way, alone)
            used = np.column_stack([used, way[:, ~self._beside & ~self._over]])
            if pays:
                used = np.column_stack([found.replicas * pairs.cores[found.pair], used])
            kept = np.flatnonzero(~(grows & self._over).any(axis=1))
            return replace(found, latency_s=latency_s, used=used).at(kept)

        return offers

    def _is_enough(self, problem: Problem, offered: list[Pairs], load_rps: float) -> bool:
        """Whether anything that carries a load fits."""
        offers, limits = self._offers(offered, load_rps), limits_of(problem)

        def leanest(stage: int, own_rps: float) -> Options:
            one = offers(stage, own_rps)
            return replace(one, penalty=one.used[:, 0] if len(limits) == 1 else np.zeros(len(one.pair)))

        unlimited = replace(problem, limits=()) if len(limits) == 1 else problem
        picks = least_picks(unlimited, leanest, load_rps)
        return picks is not None and bool((used_by(picks, problem) <= limits).all())
