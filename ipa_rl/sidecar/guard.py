"""The guard of a live cluster: what may be asked for at once, and in all.

Pure functions. A decision that keeps every limit passes untouched. Else the present configuration is moved
towards it, stage by stage, as far as the limits let it; so what comes out is never further from the present
than allowed, whatever an agent asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ipa_rl.objective import Problem, cost_cores, stage_loads_rps
from ipa_rl.pipeline import Configuration, Pipeline, Stage, StageConfig
from ipa_rl.sidecar.model_estimate import capacities_rps, capacity_rps, rate_rps, replicas_for
from ipa_rl.solvers.cut import Cut
from ipa_rl.solvers.transition import Occupied, most_on_the_way


@dataclass(frozen=True, slots=True)
class Limits:
    """What the guard holds to; None lifts a limit.

    ``max_replicas``: of one stage. ``core_budget``: cores of the whole pipeline. ``step_replicas``: most by
    which the replicas of a stage may change in a step, ``step_cores``: most by which the cores of the whole
    may. ``variant_interval_s``: least seconds between two changes of a stage's variant. ``least_capacity``:
    capacity of every stage over the observed load, at least. ``units``: (resource, units) that are occupied
    at most; ``room``: while a change is under way, where that is more.
    """

    max_replicas: int
    core_budget: int | None = None
    step_replicas: int | None = None
    step_cores: int | None = None
    variant_interval_s: float = 0.0
    least_capacity: float = 1.0
    units: tuple[tuple[str, float], ...] = ()
    room: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision is checked against.

    ``present``: what the cluster is asked for, a stage each, None where it is not known. ``since_change_s``:
    seconds since the variant of each stage changed. ``load_rps``: the observed load, NaN where it is not
    known: then no capacity is asked for. ``occupied``: replicas that exist, by stage.
    """

    present: tuple[StageConfig | None, ...]
    since_change_s: tuple[float, ...]
    load_rps: float
    occupied: Occupied = ()


@dataclass(frozen=True, slots=True)
class Guarded:
    """What may be applied, and in words what was changed for it."""

    configuration: Configuration
    edits: tuple[str, ...] = ()

    def entry(self) -> dict[str, Any]:
        """For the decision log."""
        stages = [asdict(stage) for stage in self.configuration.stages]
        return {"guard": list(self.edits), "configuration": stages}


def guarded_change(problem: Problem, limits: Limits, wanted: Configuration, now: Situation) -> Guarded:
    """A decision as it may be applied now.

    Where limits contradict one another the change a step comes first, then the budget, then the least time
    between variant changes, then the capacity for the load.
    """
    stages = problem.pipeline.stages
    edits: list[str] = []
    each = zip(stages, wanted.stages, now.present, now.since_change_s, strict=True)
    steady = [_steady(limits, *one, edits) for one in each]
    counted = [_counted(limits, *one, edits) for one in zip(stages, steady, strict=True)]
    target = _carry_load(problem.pipeline, counted, limits, now.load_rps, edits)
    result = _Reach(problem, limits, now).settled(target)
    edits += (
        f"{stage.name}: {_words(asked)} held to {_words(given)} by the limits on cores and changes"
        for stage, asked, given in zip(stages, target.stages, result.stages, strict=True)
        if asked != given
    )
    return Guarded(result, tuple(edits))


def _steady(
    limits: Limits,
    stage: Stage,
    wanted: StageConfig,
    present: StageConfig | None,
    since_s: float,
    edits: list[str],
) -> StageConfig:
    """The present variant, with as much capacity as was wanted, where it is too early to change it."""
    if present is None or wanted.variant == present.variant or since_s >= limits.variant_interval_s:
        return wanted
    left_s = limits.variant_interval_s - since_s
    edits.append(f"{stage.name}: keeps {present.variant}, as it may change in {left_s:.0f} s again")
    return replace(present, replicas=replicas_for(capacity_rps(stage, wanted), rate_rps(stage, present)))


def _counted(limits: Limits, stage: Stage, wanted: StageConfig, edits: list[str]) -> StageConfig:
    """Replicas from one to the limit."""
    replicas = min(max(wanted.replicas, 1), limits.max_replicas)
    if replicas != wanted.replicas:
        edits.append(
            f"{stage.name}: {wanted.replicas} replicas cut to {replicas}, 1 to {limits.max_replicas}"
        )
    return replace(wanted, replicas=replicas)


def _carry_load(
    pipeline: Pipeline, wanted: Sequence[StageConfig], limits: Limits, load_rps: float, edits: list[str]
) -> Configuration:
    """Enough replicas for the observed load, as far as the limit lets; as wanted where no load is known."""
    if math.isnan(load_rps):
        return Configuration(tuple(wanted))
    found = []
    loads_rps = stage_loads_rps(pipeline, Configuration(tuple(wanted)), load_rps)
    for stage, one, own_rps in zip(pipeline.stages, wanted, loads_rps, strict=True):
        needed = replicas_for(limits.least_capacity * own_rps, rate_rps(stage, one))
        replicas = max(min(needed, limits.max_replicas), one.replicas)
        if replicas > one.replicas:
            edits.append(
                f"{stage.name}: {one.replicas} replicas raised to {replicas} for {own_rps:.4g} requests/s"
            )
        found.append(replace(one, replicas=replicas))
    return Configuration(tuple(found))


class _Reach:
    """What may be asked for at once: limits on cores and replicas around the present configuration."""

    def __init__(self, problem: Problem, limits: Limits, now: Situation) -> None:
        self.problem, self.limits, self.now, self.present = problem, limits, now, now.present
        self.least, self.most = 0.0, math.inf if limits.core_budget is None else float(limits.core_budget)
        self.cut = Cut(problem, limits.core_budget, limits.max_replicas, limits.units, limits.room)
        known = [one for one in now.present if one is not None]
        if limits.step_cores is not None and len(known) == len(now.present):
            cost = self.cores(known)
            self.least = float(cost - limits.step_cores)
            self.most = max(min(self.most, float(cost + limits.step_cores)), self.least)

    def settled(self, target: Configuration) -> Configuration:
        """What lies within the limits, and would be left as it is if it were decided.

        Cores that one stage may not have in this step may carry another stage's load. Two or three passes
        are needed; where it goes round in circles, it is what carries the most of them.
        """
        limits, now, passed = self.limits, self.now, [target]
        while True:
            if limits.core_budget is not None or limits.units:
                held = [since_s < limits.variant_interval_s for since_s in now.since_change_s]
                target = self.cut.of(target, now.present, held, now.load_rps, now.occupied)
            reached = target if self.hold(target) else self.moved(target)
            if reached in passed:
                return max(passed[passed.index(reached) :], key=self.carried)
            passed.append(reached)
            target = _carry_load(self.problem.pipeline, reached.stages, limits, now.load_rps, [])

    def carried(self, configuration: Configuration) -> tuple[float, str]:
        """The capacity of a configuration; its words make the order a whole one."""
        carried_rps = min(capacities_rps(self.problem.pipeline, configuration))
        return carried_rps, " ".join(map(_words, configuration.stages))

    def moved(self, target: Configuration) -> Configuration:
        """What lies furthest on the way from the present to the target, stage by stage."""
        stages = list(self.start(target))
        moved = True
        while moved:
            moved = False
            for s in self.order(stages, target.stages):
                towards = self.towards(s, stages[s], target.stages[s])
                best = next((one for one in towards if self.fits(stages, s, one)), None)
                if best is not None:
                    stages[s], moved = best, True
                    break
        return Configuration(tuple(self.shrunk(stages)))

    def replicas(self, s: int) -> tuple[int, int]:
        """Fewest and most replicas of a stage."""
        present, step = self.present[s], self.limits.step_replicas
        if present is None or step is None:
            return 1, self.limits.max_replicas
        low = max(present.replicas - step, 1)
        return low, max(min(present.replicas + step, self.limits.max_replicas), low)

    def cores(self, stages: Sequence[StageConfig]) -> float:
        """What a configuration costs, in cores."""
        return cost_cores(self.problem.pipeline, Configuration(tuple(stages)))

    def hold(self, configuration: Configuration) -> bool:
        """Whether a configuration keeps all limits."""
        for s, one in enumerate(configuration.stages):
            low, high = self.replicas(s)
            if not low <= one.replicas <= high:
                return False
        within = self.least <= self.cores(configuration.stages) <= self.most
        return within and self._has_room(configuration.stages)

    def start(self, target: Configuration) -> Iterator[StageConfig]:
        """The present; where it is not known, one replica of what is wanted."""
        for s, (present, wanted) in enumerate(zip(self.present, target.stages, strict=True)):
            low, high = self.replicas(s)
            base = replace(wanted, replicas=1) if present is None else present
            yield replace(base, replicas=min(max(base.replicas, low), high))

    def order(self, stages: Sequence[StageConfig], target: Sequence[StageConfig]) -> list[int]:
        """Stages in which they are moved: those that shrink, then those that carry the least."""
        carried_rps = capacities_rps(self.problem.pipeline, Configuration(tuple(stages)))
        keys = [
            (wanted.replicas >= one.replicas, carried_rps[s], s)
            for s, (one, wanted) in enumerate(zip(stages, target, strict=True))
        ]
        return [s for *_, s in sorted(keys)]

    def towards(self, s: int, at: StageConfig, wanted: StageConfig) -> Iterator[StageConfig]:
        """Configurations of a stage from the wanted one back to ``at``, which is left out."""
        low, high = self.replicas(s)
        goal = min(max(wanted.replicas, low), high)
        if (at.variant, at.batch) != (wanted.variant, wanted.batch):
            yield replace(wanted, replicas=goal)
            away = range(low, high + 1) if high - low <= 400 else ()
            nearest = sorted(away, key=lambda count: abs(count - goal))
            yield from (replace(wanted, replicas=count) for count in nearest[1:])
            return
        if goal > at.replicas:  # one by one, so that all stages grow alike
            yield replace(wanted, replicas=at.replicas + 1)
        yield from (replace(wanted, replicas=count) for count in range(goal, at.replicas))

    def fits(self, stages: Sequence[StageConfig], s: int, one: StageConfig) -> bool:
        """Whether the cores stay within the limits with a stage changed, or come nearer to them."""
        before, after = self.cores(stages), self._with(stages, s, one)
        within = min(self.least, before) <= after <= max(self.most, before)
        return within and self._has_room([*stages[:s], one, *stages[s + 1 :]], stages)

    def _has_room(self, stages: Sequence[StageConfig], before: Sequence[StageConfig] | None = None) -> bool:
        """Whether units are within their limits on the way as well, or no more of them taken than before."""
        limits, pipeline, there = self.limits, self.problem.pipeline, self.now.occupied
        if not limits.units:
            return True
        wanted = Configuration(tuple(stages))
        if replace(self.cut, budget=None).fits(wanted, there):
            return True
        if before is None:
            return False
        now = most_on_the_way(pipeline, Configuration(tuple(before)), there)
        then = most_on_the_way(pipeline, wanted, there)
        return all(then.get(name, 0.0) <= now.get(name, 0.0) for name, _ in limits.units)

    def shrunk(self, stages: list[StageConfig]) -> list[StageConfig]:
        """The cores brought within the limit: replicas go where most capacity is to spare, then variants."""
        while self.cores(stages) > self.most:
            allowed = [one for one in self._cheaper(stages) if self._with(stages, *one[2:]) >= self.least]
            if not allowed:
                break
            *_, s, one = max(allowed, key=lambda found: (*found[:3], found[3].variant))
            stages[s] = one
        return stages

    def _with(self, stages: Sequence[StageConfig], s: int, one: StageConfig) -> float:
        """Cores with a stage changed."""
        return self.cores([*stages[:s], one, *stages[s + 1 :]])

    def _cheaper(self, stages: Sequence[StageConfig]) -> Iterator[tuple[bool, float, int, StageConfig]]:
        """What takes fewer cores: whether by a replica less, the capacity to spare or cores saved, where."""
        carried_rps = capacities_rps(self.problem.pipeline, Configuration(tuple(stages)))
        for s, (stage, one) in enumerate(zip(self.problem.pipeline.stages, stages, strict=True)):
            if one.replicas > self.replicas(s)[0]:
                spare_rps = carried_rps[s] - self.now.load_rps
                yield True, spare_rps, s, replace(one, replicas=one.replicas - 1)
            for variant in stage.variants:
                saved = (stage.variant(one.variant).cost_cores - variant.cost_cores) * one.replicas
                if saved > 0:
                    yield False, saved, s, replace(one, variant=variant.name)


def _words(config: StageConfig) -> str:
    return f"{config.replicas} x {config.variant} at batch {config.batch}"
