"""What a policy for any pipeline learns from: states of many pipelines, and what each answer came to.

A made-up pipeline is played with the policy as it is. At every state all answers of the optimum are played
forward from there over the loads that really came, with the program after them, which knows no more than
its forecast. So each state tells of all its answers how far they are behind the best. One state's figures
are as random as its loads; over many states they average to what is to be expected, whatever the load,
which no forecaster of load paths has to be right for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ipa_rl import resources
from ipa_rl.agents.outlooks import Outlooks, horizon_s
from ipa_rl.agents.protocol import State
from ipa_rl.agents.steer_features import PATH_LEVELS, Expected, SteerFeatures, forecasts_of
from ipa_rl.agents.steers import Answers
from ipa_rl.agents.universal import Scorer
from ipa_rl.environment.definition import Definition, EpisodesModel, RewardModel
from ipa_rl.environment.episodes import Episodes
from ipa_rl.environment.family import WIDE, drawn_definition
from ipa_rl.environment.randomisation import Randomisation
from ipa_rl.jit import FloatArray
from ipa_rl.simulation.outlook import roll_out
from ipa_rl.workload.futures import FEWEST_MOMENTS
from ipa_rl.workload.pool import train_loads
from ipa_rl.workload.steps import by_step
from ipa_rl.workload.synthetic import made_up
from ipa_rl.workload.workload import load_workload

FIRST_SEED = 1000
"""Of the pipelines that are learned from; those below are to choose by and to report on."""
DECISIONS = 30
"""In each episode."""
DRAWN_EPISODES, OWN_EPISODES = 1, 6
"""Of a made-up pipeline, as more pipelines teach more than more states of each, and of one's own."""
WORLDS = Randomisation(synthetic_share=0.25, failure_share=0.15, share=0.5, load=(0.5, 2.0))
"""Loads that the workload never had, and replicas that fail, so that the policy knows what to do then."""
PREFERENCES = (0.2, 30.0)
"""Factors on what accuracy is worth, in two pipelines of five."""
SLOWER_STARTS = (1.0, 1.0, 1.0, 2.0, 4.0)
"""Starts take so many times as long as profiled, and are seen to."""
AT_RANDOM = (0.02, 0.1, 0.3)
"""Shares of the decisions that are taken at random."""
PARTS = 3
"""Of a recorded load, as long as an episode each, at least: what is not played foretells it."""
_EXPECTED = PATH_LEVELS.index(0.9)
"""The quantile that the program plans for, after the answer."""

Half = NDArray[np.float16]


@dataclass(frozen=True)
class Lessons:
    """States (states,) and their answers, one after the other (answers,).

    ``of_state`` (states, STATE_FEATURES), ``of_answers`` (answers, ANSWER_FEATURES); ``counts`` (states,):
    how many answers each has. ``behind`` (answers,): how far each is behind the state's best, in utility over
    the pipeline's mean cost. ``seeds`` (states,): of the pipelines.
    """

    of_state: Half
    of_answers: Half
    counts: NDArray[np.int16]
    behind: NDArray[np.float32]
    seeds: NDArray[np.int32]


def joined(lessons: Sequence[Lessons]) -> Lessons:
    """All in one."""
    parts = {name: [vars(one)[name] for one in lessons] for name in vars(lessons[0])}
    return Lessons(**{name: np.concatenate(arrays) for name, arrays in parts.items()})


@dataclass(frozen=True)
class Course:
    """An environment to learn in, whose starts take ``slower`` times as long as profiled.

    ``seed``: of its ``episodes``, and of the decisions at random.
    """

    seed: int
    definition: Definition
    slower: float
    episodes: int

    def world(self, ahead_s: int, reward: RewardModel) -> Definition:
        """What really happens: DECISIONS and ``ahead_s`` of load, slow starts, failures, made-up loads."""
        definition = self.definition
        slower = self.slower * definition.timing.start_up_scale
        episode_s = DECISIONS * definition.timing.interval_s + ahead_s
        return replace(
            definition,
            timing=replace(definition.timing, start_up_scale=slower),
            episodes=EpisodesModel(part="train", episode_s=episode_s),
            randomisation=WORLDS,
            reward=reward,
        )


def drawn_course(seed: int) -> Course:
    """A made-up pipeline with its load and preference.

    Longer workloads are drawn more often, by the square root of their lengths; where one is too short for
    the pipeline's start-ups, the load is made up.
    """
    rng = np.random.default_rng([seed, 25])
    shipped = [load_workload(name) for name in resources.shipped_names("workloads")]
    lengths = np.sqrt([len(one.part("train")) for one in shipped])
    drawn = shipped[rng.choice(len(shipped), p=lengths / lengths.sum())]
    workload = made_up("on-off", 6.0, 30.0) if rng.random() < 0.2 else drawn
    definition, slower = drawn_definition(seed, workload, WIDE), float(rng.choice(SLOWER_STARTS))
    if len(workload.part("train")) < PARTS * needed_s(definition, slower):
        definition = drawn_definition(seed, made_up("on-off", 6.0, 30.0), WIDE)
    if rng.random() < 0.4:
        factor = math.exp(rng.uniform(*np.log(PREFERENCES)))
        definition = definition.preferring(factor * definition.weights.alpha, definition.weights.beta)
    return Course(seed, definition, slower, DRAWN_EPISODES)


def own_course(definition: Definition, seed: int) -> Course:
    """Of one environment, under the loads of its own train part.

    Starts are slow in some, where the train part is long enough to see them through.
    """
    slower = float(np.random.default_rng([seed, 25]).choice(SLOWER_STARTS))
    is_long = len(definition.workload.part("train")) >= needed_s(definition, slower)
    return Course(seed, definition, slower if is_long else 1.0, OWN_EPISODES)


def needed_s(definition: Definition, slower: float = 1.0) -> int:
    """Seconds of load without a gap that an episode takes."""
    return definition.history_s + _ahead_s(definition, slower) + DECISIONS * definition.timing.interval_s


def attend(course: Course, scorer: Scorer | None) -> Lessons:
    """The lessons of a course, decided by ``scorer``, or by who knows what comes where there is none."""
    seed, definition, slower = course.seed, course.definition, course.slower
    interval_s, rng = definition.timing.interval_s, np.random.default_rng([seed, 26])
    ahead_s, history_s = _ahead_s(definition, slower), definition.history_s
    world = course.world(ahead_s, RewardModel(shaping=False))
    episodes = Episodes(world, course.episodes)
    for e in range(course.episodes):
        episodes.reset(e, rng)
    pupil = _Pupil(definition, scorer, float(rng.choice(AT_RANDOM)), rng)
    found: list[list[FloatArray]] = []
    expected = [_expected(pupil.features, episodes, e) for e in range(course.episodes)]
    for step in range(DECISIONS):
        now_s = step * interval_s
        decisions = []
        for e in range(course.episodes):
            state = State(
                episodes.loads[e, : history_s + now_s],
                episodes.simulator.fleet[e],
                episodes.simulator.waiting()[e],
                clock_s=float(episodes.clock_s[e] + now_s),
                start_scale=slower,
            )
            coming = episodes.loads[e, history_s + now_s : history_s + now_s + ahead_s]
            rows, *lesson = pupil.lesson(state, coming, expected[e][step:])
            found.append(lesson)
            decisions.append(rows)
        episodes.step(np.stack(decisions))
    of_state, of_answers, behind = zip(*found, strict=True)
    return Lessons(
        np.stack(of_state).astype(np.float16),
        np.concatenate(of_answers).astype(np.float16),
        np.array([len(one) for one in behind], dtype=np.int16),
        np.concatenate(behind).astype(np.float32),
        np.full(len(found), seed, dtype=np.int32),
    )


def _expected(features: SteerFeatures, episodes: Episodes, e: int) -> list[Expected]:
    """What was to be expected at the begin of each interval, by who has not recorded the episode."""
    definition, forecasts = features.definition, features.forecasts
    interval_s, history_s, step_s = definition.timing.interval_s, definition.history_s, definition.step_s
    loads, clock_s, begins_s = episodes.loads[e], int(episodes.clock_s[e]), int(episodes.begins_s[e])
    if begins_s >= 0 and forecasts.futures.name == definition.workload.name:
        first, _ = train_loads(definition.workload, step_s)
        spans = (begins_s + end_s - first for end_s in (-history_s, len(loads) - history_s))
        futures = forecasts.futures.without(*(span // step_s for span in spans))
        if len(futures.at) < FEWEST_MOMENTS:
            futures = forecasts.futures.others or forecasts.futures
        features = SteerFeatures(features.optima, replace(forecasts, futures=futures))
    return [
        features.expected(loads[: history_s + k * interval_s], float(clock_s + k * interval_s))
        for k in range((len(loads) - history_s) // interval_s + 1)
    ]


def _ahead_s(definition: Definition, slower: float) -> int:
    """How far rollouts look, in whole steps."""
    return -(-horizon_s(definition, slower) // definition.step_s) * definition.step_s


class _Pupil:
    """Decides in one pipeline, and finds out what each answer would have come to."""

    def __init__(
        self, definition: Definition, scorer: Scorer | None, at_random: float, rng: np.random.Generator
    ) -> None:
        self.definition, self.scorer, self.at_random, self.rng = definition, scorer, at_random, rng
        self.outlooks = Outlooks(definition, margin=0.0)
        self.features = SteerFeatures(self.outlooks.optima, forecasts_of(definition))
        self.cost = definition.mean_cost

    def lesson(
        self, state: State, coming: FloatArray, expected: list[Expected]
    ) -> tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray]:
        """What is decided, (stages, 3); the features; how far each answer is behind."""
        # What ships was learned so; asked for means as well it does better where requests come in clumps.
        answers, of_state, of_answers = self.features.look(state, expected[0], asks_means=False)
        behind = self._behind(state, answers, coming, expected)
        if self.rng.random() < self.at_random:
            best = int(self.rng.integers(len(behind)))
        elif self.scorer is None:
            best = int(behind.argmin())
        else:
            best = int(self.scorer.scores(of_state, of_answers).argmax())
        return answers.rows[best], of_state, of_answers, behind

    def _behind(
        self, state: State, answers: Answers, coming: FloatArray, expected: list[Expected]
    ) -> FloatArray:
        """How far each answer is behind the best over the loads that come, (answers,)."""
        ends = len(coming) // self.definition.timing.interval_s
        later = [one.reference_rps * one.of_paths[self.features.reach, _EXPECTED] for one in expected[1:ends]]
        path_rps = by_step(coming, self.definition.step_s)[None]
        outlook = self.outlooks.of(state, path_rps, expected_rps=np.array(later)[None])
        utilities = np.full((len(answers.rows), 1), np.nan)
        everyone, ways = np.arange(len(answers.rows)), answers.keep_variants.astype(np.int64)
        roll_out(state.fleet, state.queued, answers.rows, ways, outlook, everyone, 0, 1, utilities)
        return np.asarray((utilities.max() - utilities[:, 0]) / self.cost)
