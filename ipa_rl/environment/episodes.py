"""Episodes of many environments side by side; Gymnasium's two interfaces are thin layers over this."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipa_rl.border import MOST_RPS, amounts, number, positions, whole
from ipa_rl.environment.action import action_sizes, decode_actions
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.limits import RECENT_S, as_limits_let
from ipa_rl.environment.observation import Observer
from ipa_rl.environment.randomisation import NOMINAL, Drawn
from ipa_rl.environment.reward import (
    SHAPING_LEAST,
    interval_utilities,
    optimum_by_load,
    summarize,
    take_shaping,
    weight_records,
)
from ipa_rl.errors import InputError
from ipa_rl.jit import FloatArray, IntArray
from ipa_rl.simulation import FluidSimulator
from ipa_rl.simulation.accounting import SUMS, sums_of
from ipa_rl.simulation.tables import choices_below, decode, encode
from ipa_rl.workload.clock import season_of
from ipa_rl.workload.eventful import eventful
from ipa_rl.workload.quantiles import RECENT
from ipa_rl.workload.steps import least_rps
from ipa_rl.workload.synthetic import USUAL_RPS, poisson_arrivals, random_rates

LATEST_CLOCK_S = 2**53
"""Seconds that a clock may have counted."""

_STATE = ("loads", "clock_s", "fails_s", "lost", "episode_totals", "preference")


class Episodes:
    """Environments that advance together, each with arrivals, clock and random generator of its own.

    ``loads``: (environments, history + episode) requests a second; those of the history have passed
    when the episode begins, at ``clock_s`` (environments,) of the clock, and at the second ``begins_s`` of
    the workload, -1 where the load is made up. Before its first episode an
    environment stands at the end of one. ``reference_rps``: the loads that the next actions are relative to.
    ``preferred``: the definition under each preference; ``preference`` (environments,): the position of each
    environment's. ``fails_s``: second of the episode at which the share ``lost``
    of every stage's replicas fails. ``episode_totals``: the SUMS since each episode's start,
    (environments, sums).
    """

    def __init__(self, definition: Definition, environments: int) -> None:
        self.definition = definition
        self.environments = environments
        self.simulator = FluidSimulator(definition.problem, definition.timing, environments, by_latency=False)
        self._each = np.arange(environments)[:, None]
        self.episode_s = definition.episode_s
        self._history_s = definition.history_s
        self.loads: FloatArray = np.zeros((environments, self._history_s + self.episode_s))
        self.reference_rps: FloatArray = np.ones(environments)
        self.clock_s: IntArray = np.zeros(environments, dtype=np.int64)
        self.begins_s: IntArray = np.full(environments, -1)
        self._usual: FloatArray = np.ones(environments)
        self.fails_s: FloatArray = np.full(environments, np.inf)
        self.lost: FloatArray = np.zeros(environments)
        self.episode_totals: FloatArray = np.zeros((environments, len(SUMS)))
        own = definition.weights
        factors = definition.randomisation.preferences
        self.preferred = [
            definition,
            *(definition.preferring(factor * own.alpha, own.beta) for factor in factors),
        ]
        self.preference: IntArray = np.zeros(environments, dtype=np.int64)
        self._observer = Observer(definition)
        self._shifts = np.array([one.preference for one in self.preferred])
        self._weights = weight_records([one.weights for one in self.preferred])
        self._weights["rho"] *= definition.reward.violation_factor
        # How much larger rewards are under each preference: as rho, which follows the program's mean cost
        # there, 1 at least. alpha itself does not matter: what it adds to every configuration, the shaping
        # takes away again, and divided by it what is left would be too small to learn.
        rhos = [one.weights.rho / own.rho if own.rho > 0 else 1.0 for one in self.preferred]
        self._sizes = np.maximum(rhos, 1.0)
        self._unit_rps = definition.load_unit_rps
        self._choices = np.array(action_sizes(definition.problem), dtype=np.int64)
        self.simulator.clock[:] = self.episode_s

    @cached_property
    def _optima(self) -> FloatArray:
        """Of each preference, (preferences, 2, loads)."""
        return np.stack([optimum_by_load(one.problem, self._unit_rps) for one in self.preferred])

    @cached_property
    def _starts(self) -> IntArray:
        """The seconds of the workload at which episodes may begin. Raises InputError where there are none."""
        workload, drawn = self.definition.workload, self.definition.episodes
        if drawn.eventful is None:
            found = workload.starts(drawn.part, self.episode_s, self._history_s)
        else:
            least = least_rps(self.definition.step_s)
            these = eventful(workload, drawn.part, self.episode_s, self._history_s, least, drawn.eventful)
            found = np.array([int(one.name.split()[-1]) for one in these])
        if not len(found):
            problem = f"no {self.episode_s} s without gaps after {self._history_s} s of history"
            fix = f"give shorter episodes, or a longer {drawn.part} part"
            raise InputError(problem, file=workload.name, field="episode_s", fix=fix)
        return found

    def reset(self, environment: int, rng: np.random.Generator) -> None:
        """Begin an episode drawn from the definition's workload and randomisation."""
        workload, starts = self.definition.workload, self._starts
        start = int(starts[rng.integers(len(starts))])
        arrivals = workload.stretch("episode", start, self.episode_s, self._history_s).arrivals
        clock_s = workload.clock_s(start)
        drawn = self.definition.randomisation.draw(rng)
        if drawn.synthetic:
            unit_s = self.definition.unit_s
            rates = random_rates(-(-len(arrivals) // unit_s), rng) * (workload.level_rps / USUAL_RPS)
            rates = np.repeat(rates, unit_s)[: len(arrivals)]
            arrivals = poisson_arrivals(rates, rng)
            clock_s = int(rng.integers(season_of(workload).period_s or 1))
        self.begin(environment, arrivals, clock_s, drawn)
        self.begins_s[environment] = -1 if drawn.synthetic else start

    def begin(
        self, environment: int, arrivals: FloatArray | IntArray, clock_s: int = 0, drawn: Drawn = NOMINAL
    ) -> None:
        """Begin an episode with these arrivals, history first, at the optimum for the reference load.

        ``clock_s``: what the clock says at the history's end. Raises InputError where the arrivals are not
        the history's and ``episode_s`` loads, or another argument is out of range.
        """
        shape = (self._history_s + self.episode_s,)
        whole(environment, "environment", 0, self.environments - 1)
        whole(clock_s, "clock_s", 0, LATEST_CLOCK_S)
        whole(drawn.preference, "preference", 0, len(self.preferred) - 1)
        number(drawn.lost, "lost", most=1.0)
        arrivals = amounts(arrivals, "arrivals", shape, MOST_RPS)
        loads = amounts(arrivals * number(drawn.load, "load"), "arrivals", shape, MOST_RPS)
        self.simulator.set_world(environment, drawn.start_up, drawn.service, drawn.sla)
        self.preference[environment] = drawn.preference
        self.clock_s[environment] = clock_s
        self.loads[environment] = loads
        self._usual[environment] = self.loads[environment, self._history_s :].mean()
        fails = drawn.lost > 0
        self.fails_s[environment] = drawn.fails_at * self.episode_s if fails else np.inf
        self.lost[environment] = drawn.lost
        reference_rps = self.definition.reference_rps(self.loads[environment, : self._history_s])
        self.simulator.reset(environment, self.preferred[drawn.preference].rows_for(reference_rps))
        self.episode_totals[environment] = 0.0

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` goes on from, as plain arrays; random generators are their owners'."""
        own = {name: getattr(self, name).copy() for name in _STATE}
        return own | self.simulator.state()

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a `state` of episodes of the same definition and number.

        Raises InputError where it is not; then begin new episodes.
        """
        for name, own in self.state().items():
            given = state[name]
            if given.dtype != own.dtype or given.shape != own.shape:
                raise InputError(
                    f"is {given.dtype} {given.shape}", field=name, fix=f"{own.dtype} {own.shape}"
                )
        most = {"loads": MOST_RPS, "lost": 1.0, "fails_s": math.inf, "seconds": float(self.episode_s)}
        most |= {"clock_s": LATEST_CLOCK_S, "preference": len(self.preferred) - 1}
        for name, highest in most.items():
            amounts(state[name], name, state[name].shape, highest)
        self.simulator.restore(state)
        for name in _STATE:
            getattr(self, name)[:] = state[name]
        self._usual[:] = self.loads[:, self._history_s :].mean(axis=1)

    def observe(self) -> NDArray[np.float32]:
        """Observations (environments, entries), float32."""
        simulator = self.simulator
        observations, self.reference_rps = self._observer.observe(
            self.loads,
            self._now(),
            self.clock(),
            simulator.fleet,
            simulator.waiting(),
            simulator.sla_s,
            self._shifts[self.preference],
        )
        return observations

    def clock(self) -> IntArray:
        """What the clock says now, in seconds, (environments,)."""
        return self.clock_s + self.simulator.clock.astype(np.int64)

    def recent_load(self) -> FloatArray:
        """Mean load of the last RECENT steps, (environments,)."""
        times = self._now()[:, None] - 1 - np.arange(RECENT * self.definition.step_s)
        return np.asarray(np.take_along_axis(self.loads, times, axis=1).mean(axis=1), dtype=np.float64)

    def ahead(self, seconds: int) -> FloatArray:
        """The true maximum of the next seconds, (environments,); for teachers that know the window."""
        times = np.minimum(self._now()[:, None] + np.arange(seconds), self.loads.shape[1] - 1)
        return np.asarray(np.take_along_axis(self.loads, times, axis=1).max(axis=1), dtype=np.float64)

    def decisions(self, actions: IntArray | Sequence[IntArray]) -> IntArray:
        """Decisions (environments, stages, 3) that the actions (environments, 3 * stages) stand for.

        Raises InputError where they are not in the action space.
        """
        actions = positions(actions, "actions", (self.environments, len(self._choices)), self._choices)
        limit = self.definition.problem.max_replicas
        graph = self.definition.pipeline.graph
        return decode_actions(actions, self.reference_rps, self.simulator.variants, limit, graph)

    def step(self, decisions: IntArray) -> FloatArray:
        """One adaptation interval under these decisions; returns the rewards (environments,).

        Where resources are limited a decision is held to what they have, as by the judge and the sidecar.
        Raises InputError where a decision does not fit the pipeline, or an episode is over.
        """
        simulator, interval_s = self.simulator, self.definition.timing.interval_s
        seconds = self._now()[:, None] + np.arange(interval_s)
        try:
            loads = self.loads[self._each, seconds]
        except IndexError as error:  # past the last load
            raise InputError("the episode is over", field="step", fix="reset the environment") from error
        simulator.apply(self._within_limits(decisions))
        for e in np.flatnonzero(self.fails_s < simulator.clock + interval_s):
            simulator.fail(int(e), float(self.lost[e]))
            self.fails_s[e] = np.inf
        simulator.clear_totals()
        simulator.advance(loads)
        self.episode_totals += sums_of(simulator.totals)
        reward, totals = self.definition.reward, simulator.totals
        usual_rps = np.maximum(self._usual, SHAPING_LEAST * self._unit_rps)
        rewards = np.empty(self.environments)
        interval_utilities(self._weights[self.preference], totals, usual_rps, rewards)
        if reward.shaping:
            take_shaping(self._optima, self.preference, self._unit_rps, totals, usual_rps, rewards)
        return rewards * reward.scale / self._sizes[self.preference]

    def _within_limits(self, decisions: IntArray) -> IntArray:
        """What may be applied of decisions (environments, stages, 3)."""
        problem = self.definition.problem
        if not problem.limits:
            return decisions
        below = choices_below(problem)
        decisions = positions(decisions, "decisions", (self.environments, *below.shape), below)
        held, now = decisions.copy(), self._now()
        for e, rows in enumerate(decisions):
            load_rps = float(self.loads[e, max(now[e] - RECENT_S, 0) : now[e]].max())
            wanted = decode(problem, rows)
            held[e] = encode(problem, as_limits_let(problem, wanted, self.simulator.fleet[e], load_rps))
        return held

    def ended(self) -> NDArray[np.bool_]:
        """Whose arrivals are over, (environments,)."""
        left_s = self.episode_s - self.simulator.clock
        return np.asarray(left_s < self.definition.timing.interval_s, dtype=np.bool_)

    def summary(self, environment: int) -> dict[str, float]:
        """The episode so far: utility, PAS x 100, mean cores, violated share."""
        sums = dict(zip(SUMS, self.episode_totals[environment].tolist(), strict=True))
        return summarize(self.preferred[self.preference[environment]].weights, sums)

    def _now(self) -> IntArray:
        return self._history_s + self.simulator.clock.astype(np.int64)
