"""Load paths: possible futures of a load, each equally likely, as the workload's own past went on.

What is known is the train part. The moments that look most like the present are its neighbours: in the level
of the load, the shape of the last steps and, where the workload has a season, the time of it. What came after
each of them, relative to its reference load, is a path. A method of analogues (Lorenz, 1969, J. Atmos. Sci.
26): nothing is fitted, and a future is as bursty as the past was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.workload.clock import REFERENCE_STEPS, season_of
from ipa_rl.workload.pool import pooled_by_step, read_pool, shipped_pool, train_loads
from ipa_rl.workload.rests import rest
from ipa_rl.workload.steps import HISTORY_STEPS, Loads, by_step, least_rps, reference_load
from ipa_rl.workload.trend_paths import trend_paths
from ipa_rl.workload.workload import Workload

EDGES_STEPS = (0, 1, 2, 5, 10, 20, 40, 80)
"""The shape: the load of the last step, of the one before, the mean of the 3 before them, and so on."""
FEATURES = len(EDGES_STEPS) + 1
"""Level, shape, roughness."""
APART_STEPS = 5
"""Moments that are nearer to each other than this look and go on alike, and would all be taken."""
NEAR_STEPS = 20
"""A moment of the same time of the season is no further from it."""
MOST_MOMENTS, MOST_COMPARED = 100_000, 10_000
"""So many are known at most, evenly spread; and so many are compared, where no season says which.

On Twitter's validation part the paths are no better with four times as many, of which the nearest overlap.
"""
NEW_SHARE = 4
"""Where the load does what it never did, one in so many paths goes on by its trend, and as many as others do:
those moments that look most like a long climb fall back, for instance."""
GENERAL = "all that ship"
"""The name of the futures that serve where a workload has none: they know no scale, but shapes."""


class Ahead(NamedTuple):
    """Loads of each of the next steps, (paths, steps).

    ``is_new``: the load does what it never did, so that little is to be said of what comes.
    """

    paths_rps: FloatArray
    is_new: bool


class LoadPaths(Protocol):
    """Expects many possible loads."""

    def ahead(self, history_rps: Loads, clock_s: float, count: int, steps: int) -> Ahead:
        """So many steps ahead, ``count`` paths at most.

        After ``history_rps`` (one value a second, newest last); ``clock_s``: what the clock says then.
        """
        ...


@dataclass(frozen=True)
class TrueFuture:
    """The one path that will come, of a recorded window; for comparison only."""

    arrivals: Loads
    step_s: int

    def ahead(self, history_rps: Loads, clock_s: float, count: int, steps: int) -> Ahead:
        """What comes after as many seconds as the history has; its last step again after the end."""
        known = np.asarray(self.arrivals[len(history_rps) :], dtype=np.float64)
        ahead = by_step(known[: min(steps, len(known) // self.step_s) * self.step_s], self.step_s)
        last = ahead[-1] if len(ahead) else by_step(history_rps, self.step_s)[-1]
        return Ahead(np.concatenate([ahead, np.full(steps - len(ahead), last)])[None], is_new=False)


@dataclass(frozen=True, eq=False)
class RecordedFutures:
    """Moments of a recorded load, in the order of their time of the season.

    ``name``: of the load. ``loads``: by step; ``at``: positions of the moments in it, after each of which at
    least ``steps`` are known; ``features``, times their ``weights``, and ``reference_rps``: what they looked
    like; ``season_s``: the time of the season of each, within ``period_s``, 0 where there is none. ``far``:
    further from its nearest moments, in squares, the present is like none of them. ``others``: of others.
    ``compared``: where no season says which, so many moments are compared at most.
    """

    name: str
    loads: NDArray[np.float32]
    at: NDArray[np.int32]
    features: NDArray[np.float32]
    weights: NDArray[np.float32]
    reference_rps: NDArray[np.float32]
    season_s: NDArray[np.int32]
    period_s: int
    step_s: int
    steps: int
    far: float = math.inf
    others: RecordedFutures | None = None
    compared: int = MOST_COMPARED

    def ahead(self, history_rps: Loads, clock_s: float, count: int, steps: int) -> Ahead:
        """As the moments went on that look most like the present.

        Where even those do not, half of the paths are, and the others go on as the load's own trend and as
        the ``others`` do. Where that is further ahead than the moments were chosen for, a path goes on with
        its mean.
        """
        history = by_step(history_rps, self.step_s)[-HISTORY_STEPS:]
        reference_rps = reference_load(history, REFERENCE_STEPS, least_rps(self.step_s))
        now = _features(history[None], np.array([reference_rps]))[0]
        alike, is_new = self._alike(now, reference_rps, clock_s, count, steps)
        share = len(alike) // NEW_SHARE if is_new else 0
        if not share:
            return Ahead(alike, is_new)
        found = [trend_paths(history, share, steps)]
        if self.others is not None:
            found.append(self.others._alike(now, reference_rps, clock_s, share, steps).paths_rps)
        found.insert(0, alike[: len(alike) - sum(map(len, found))])
        turns = [np.arange(len(paths)) / max(len(paths), 1) for paths in found]
        return Ahead(np.concatenate(found)[np.argsort(np.concatenate(turns), kind="stable")], is_new)

    def _alike(self, now: FloatArray, reference_rps: float, clock_s: float, count: int, steps: int) -> Ahead:
        """Paths of the moments that look most like the present, ``now``, and whether even those do not."""
        near = self.near(clock_s, 4 * count)
        nearest, far = _nearest(_squares(self.features.take(near, axis=0), self.weights * now), count)
        best = near[nearest]
        ahead = self.loads[self.at[best, None] + np.arange(min(steps, self.steps))]
        paths = np.asarray(ahead * (reference_rps / self.reference_rps[best, None]), dtype=np.float64)
        if steps > self.steps:
            paths = np.pad(paths, [(0, 0), (0, steps - self.steps)], mode="mean")
        return Ahead(paths, far > self.far)

    def without(self, begin: int, end: int) -> RecordedFutures:
        """The same as if nothing were known of the steps from ``begin`` to ``end`` of the load.

        Who learns there must not be told what comes; ``others`` may know it as well, and go.
        """
        stays = (self.at + self.steps <= begin) | (self.at - HISTORY_STEPS >= end)
        kept = {name: vars(self)[name][stays] for name in ("at", "features", "reference_rps", "season_s")}
        return replace(self, **kept, others=None)

    def at_scale(self, factor: float) -> RecordedFutures:
        """Of a load that is so many times as high."""
        if factor == 1.0:
            return self
        features = self.features.copy()
        features[:, 0] += self.weights[0] * np.float32(math.log(factor))
        of_loads = {name: np.float32(factor) * vars(self)[name] for name in ("loads", "reference_rps")}
        return replace(self, features=features, **of_loads)

    @property
    def alone(self) -> RecordedFutures:
        """The same, whose paths are those of its moments whatever the present looks like."""
        return replace(self, far=math.inf)

    def near(self, clock_s: float, enough: int) -> IntArray:
        """The moments of the same time of the season; all, or so many of all, where these are too few."""
        every = np.arange(0, len(self.at), max(len(self.at) // self.compared, 1))
        if not self.period_s:
            return every
        reach_s, time_s = NEAR_STEPS * self.step_s, clock_s % self.period_s
        # Whole seconds, as the season's are: else all of these become numbers of another type, each time.
        edges = np.ceil([time_s - reach_s, time_s + reach_s]).astype(np.int32)
        around = [np.searchsorted(self.season_s, edges + turn) for turn in self._turns]
        near = np.concatenate([np.arange(*one) for one in around])
        return near if len(near) >= enough else every

    @property
    def _turns(self) -> tuple[int, int, int]:
        """The season before, this one, and the next: what is near its end is near its begin."""
        return (-self.period_s, 0, self.period_s)


def _features(histories: FloatArray, reference_rps: FloatArray) -> FloatArray:
    """What moments are compared by, (moments, FEATURES), of (moments, steps).

    The logarithm of the level, the shape below it, and how rough the load is: the root of the mean squared
    difference of neighbouring steps.
    """
    newest_first = np.cumsum(histories[:, ::-1], axis=1)
    sums = np.concatenate([np.zeros((len(histories), 1)), newest_first], axis=1)[:, EDGES_STEPS]
    relative = np.diff(sums, axis=1) / np.diff(EDGES_STEPS) / reference_rps[:, None]
    apart = np.diff(histories[:, -EDGES_STEPS[-1] :], axis=1) / reference_rps[:, None]
    rough = np.sqrt((apart**2).mean(axis=1))
    return np.concatenate([np.log(reference_rps)[:, None], relative, rough[:, None]], axis=1)


def futures_of(workload: Workload, step_s: int, steps: int, compared: int = MOST_COMPARED) -> RecordedFutures:
    """The moments of a workload's train part that have a history, and so many steps after them.

    Of a workload whose train part is too short, those of all that ship (`general_futures`). ``compared``: as
    RecordedFutures has it. Raises InputError where these are too short as well.
    """
    origin = workload.origin or workload
    found = _futures_of(origin, step_s, steps, compared)
    return found if found.name == GENERAL else found.at_scale(workload.scale / origin.scale)


@lru_cache(maxsize=16)
def _futures_of(workload: Workload, step_s: int, steps: int, compared: int) -> RecordedFutures:
    """As `futures_of`, of a workload that is known at all scales."""
    first, loads = train_loads(workload, step_s)
    period_s = season_of(workload).period_s
    found = recorded_futures(
        workload.name, loads, lambda at: workload.clocks_s(first + at * step_s), period_s, step_s, steps
    )
    others = replace(_general(step_s, steps), compared=compared)
    found = replace(found, compared=compared)
    if len(found.at) >= FEWEST_MOMENTS:
        return mixed(found, others if len(others.at) >= FEWEST_MOMENTS else None)
    if len(others.at) < FEWEST_MOMENTS:
        fix = "give shorter intervals or start-ups"
        raise InputError(f"no load that ships has {steps * step_s} s to look ahead", field="horizon", fix=fix)
    return mixed(others, None)


@lru_cache(maxsize=8)
def _general(step_s: int, steps: int) -> RecordedFutures:
    return general_futures(read_pool(shipped_pool()), step_s, steps)


def general_futures(pool: dict[int, NDArray[np.float32]], step_s: int, steps: int) -> RecordedFutures:
    """The moments of a pool of loads, which knows neither a clock nor a level."""
    loads = pooled_by_step(pool, step_s)
    return recorded_futures(GENERAL, loads, lambda at: at, 0, step_s, steps, level_weight=0.0)


def recorded_futures(
    name: str,
    loads: NDArray[np.float32],
    clocks_s: Callable[[IntArray], IntArray],
    period_s: int,
    step_s: int,
    steps: int,
    pause_s: float = 0.0,
    level_weight: float = 1.0,
) -> RecordedFutures:
    """The moments of loads by step, NaN where not known, around which all is known.

    That is a history, and ``steps`` after it. ``clocks_s``: what the clock says at positions in the loads,
    ascending. ``pause_s``: rests after every few milliseconds, so that another thread of the process goes on.
    ``level_weight``: how much the level counts.
    """
    unknown = np.flatnonzero(np.isnan(loads))
    at = np.arange(HISTORY_STEPS, len(loads) - steps + 1, max(-(-len(loads) // MOST_MOMENTS), APART_STEPS))
    before, until = (np.searchsorted(unknown, at + ahead) for ahead in (-HISTORY_STEPS, steps))
    at = at[before == until].astype(np.int32)
    season_s = (clocks_s(at.astype(np.int64)) % max(period_s, 1)).astype(np.int32)
    order = np.argsort(season_s, kind="stable")
    at, season_s = at[order], season_s[order]
    features, references = np.empty((len(at), FEATURES), np.float32), np.empty(len(at), np.float32)
    for first in range(0, len(at), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        histories = loads[at[some, None] + np.arange(-EDGES_STEPS[-1], 0)].astype(np.float64)
        reference_rps = np.maximum(histories[:, -REFERENCE_STEPS:].max(axis=1), least_rps(step_s))
        features[some], references[some] = _features(histories, reference_rps), reference_rps
        rest(pause_s)
    weights = _weights(features, level_weight)
    features *= weights
    return RecordedFutures(name, loads, at, features, weights, references, season_s, period_s, step_s, steps)


def mixed(futures: RecordedFutures, others: RecordedFutures | None, pause_s: float = 0.0) -> RecordedFutures:
    """The same, which share paths with the load's trend and with ``others`` where it does what it never did.

    That is further from its nearest moments than nearly all of these are from theirs, but those of the same
    minutes. ``pause_s``: rests now and then, as `recorded_futures` does.
    """
    distances = []
    for i in np.unique(np.linspace(0, len(futures.at) - 1, _SAMPLED).astype(int)):
        near = futures.near(int(futures.season_s[i]), 4 * _NEAREST)
        apart = near[abs(futures.at[near] - futures.at[i]) >= HISTORY_STEPS]
        if len(apart):
            squares = _squares(futures.features.take(apart, axis=0), futures.features[i])
            distances.append(_nearest(squares, _NEAREST)[1])
        rest(pause_s)
    far = float(np.quantile(distances, _NEARLY_ALL)) if distances else math.inf
    return replace(futures, far=far, others=others)


def _squares(features: NDArray[np.float32], now: NDArray[Any]) -> NDArray[Any]:
    """How far moments (moments, FEATURES) are from the present, in squares: as a product, which is faster."""
    apart = features - now
    return np.asarray((apart * apart) @ np.ones(FEATURES, dtype=np.float32))


def _nearest(distances: NDArray[Any], count: int) -> tuple[IntArray, float]:
    """The ``count`` nearest, or all, and their mean distance."""
    count = min(count, len(distances))
    nearest = np.argpartition(distances, count - 1)[:count]
    return nearest, float(distances[nearest].mean())


def _weights(features: NDArray[np.float32], level_weight: float) -> NDArray[np.float32]:
    """One over the deviation of features (moments, entries), of the level so many times as much."""
    if not len(features):
        return np.ones(features.shape[1], dtype=np.float32)
    weights = 1.0 / np.maximum(features.std(axis=0, dtype=np.float64), _LEAST_DEVIATION)
    weights[0] *= level_weight
    return np.asarray(weights, dtype=np.float32)


_AT_ONCE = 2000
"""Moments whose features are made at once, so that little memory is taken."""
_LEAST_DEVIATION = 1e-3
_SAMPLED, _NEAREST, _NEARLY_ALL = 200, 64, 0.97
"""How far is far: by so many moments, of so many of the nearest, for such a share of them."""
FEWEST_MOMENTS = 40
"""A workload of fewer moments has no futures of its own."""


def crps(samples: FloatArray, truth: FloatArray) -> FloatArray:
    """Of equally likely samples (moments, samples): mean distance to the truth, less half of that to others.

    The continuous ranked probability score of each moment (Gneiting and Raftery, 2007, J. Am. Stat. Assoc.
    102).

    >>> crps(np.array([[1.0, 3.0]]), np.array([2.0])).tolist()
    [0.5]
    """
    ascending, count = np.sort(samples, axis=1), samples.shape[1]
    apart = np.abs(samples - truth[:, None]).mean(axis=1)
    ranks = 2.0 * np.arange(1, count + 1) - count - 1.0
    return np.asarray(apart - (ascending * ranks).sum(axis=1) / count**2, dtype=np.float64)
