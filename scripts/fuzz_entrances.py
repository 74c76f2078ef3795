"""Public entrances of environments, simulators, solvers and agents, called with arguments broken by chance.

What is not refused has to work: observations, rewards and figures are numbers, and they are after a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np

from ipa_rl.agents.lookahead import LookAheadAgent
from ipa_rl.agents.policy import Policy, PolicyAgent, fit_coverage
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import State
from ipa_rl.agents.windows import play_windows
from ipa_rl.environment.action import action_sizes, choice_names
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaEnv, IpaVectorEnv
from ipa_rl.environment.observation import observation_names
from ipa_rl.environment.randomisation import Drawn
from ipa_rl.errors import InputError
from ipa_rl.objective import Problem, Weights
from ipa_rl.pipeline import Configuration, StageConfig, Variant
from ipa_rl.simulation import FluidSimulator, RequestSimulator, Timing, decode, encode
from ipa_rl.solvers import FrontSolver, solve_program
from ipa_rl.workload.forecasters import WindowMaximum, make_forecaster
from ipa_rl.workload.steps import HISTORY_STEPS
from ipa_rl.workload.workload import Window, load_workload

VIDEO = load_definition("video")
SHORT = replace(VIDEO, episodes=VIDEO.episodes.model_copy(update={"episode_s": 60}))
PROBLEM, STAGES = VIDEO.problem, len(VIDEO.pipeline.stages)
SECONDS = HISTORY_STEPS + 60
ACTION, ROWS = np.zeros(3 * STAGES, dtype=np.int64), VIDEO.rows_for(20.0)
PROGRAM = ProgramAgent("ip", VIDEO, WindowMaximum(30), margin=0.1)


def _policy() -> Policy:
    """A policy with weights drawn by chance."""
    rng, sizes = np.random.default_rng(0), tuple(action_sizes(PROBLEM))
    seen = rng.normal(0.5, 1.0, (500, len(observation_names(PROBLEM)))).astype(np.float32)
    widths = (seen.shape[1], 8, sum(sizes))
    weights = [rng.normal(size=(n, m)).astype(np.float32) for m, n in pairwise(widths)]
    layers = tuple((weight, weight[:, 0]) for weight in weights)
    coverage = fit_coverage(seen, rng.uniform(0.8, 2.0, 500), rng.uniform(0.0, 40.0, 500), reserve=0.5)
    return Policy(layers, sizes, choice_names(PROBLEM), coverage)


POLICY = _policy()

_ODD: tuple[Any, ...] = (
    0, 1, -1, 5, 17, 2**31, 2**63, -(2**63), 2**64, 2**200, 0.0, 0.5, -0.0, 1e-300, 1e300, float("nan"),
    float("inf"), -float("inf"), None, True, "", "1", "nan", b"1", 1j, (), [], {}, {"a": 1}, [[1], [1, 2]],
    [None], ["1"], object(), np.float32(1.5), np.int8(-1), np.uint64(2**63), np.array(3), np.bool_(True),
    np.longdouble(1), np.datetime64("2020-01-01"), np.ma.array([1] * 6), np.zeros((0, 6)), range(6),
)  # fmt: skip
_KINDS = ("i1", "u1", "i2", "<i4", ">i4", "i8", ">i8", "u8", "f2", "f4", "f8", ">f8", "c8", "?", "O", "U3")


def odd(rng: Random) -> Any:
    """Something that hardly is what is asked for."""
    return rng.choice(_ODD)


def bent(array: Any, rng: Random) -> Any:
    """An array as it should be, or with another type, order, shape or some entries."""
    found: Any = np.array(array)
    for _ in range(rng.choice((0, 1, 1, 2))):
        what = rng.choice((0, 1, 2, 6) if found.ndim == 0 else range(7))
        if what == 0 and found.size and found.dtype.kind in "if":
            entry = np.array(rng.choice((-1, 1, 3, 4, 5, 16, 17, 99, 2**30)))
            found.flat[rng.randrange(found.size)] = entry.astype(found.dtype)
        elif what == 1:
            with suppress(ValueError):  # texts that are no numbers stay texts
                found = found.astype(rng.choice(_KINDS))
        elif what == 2 and found.dtype.kind == "f" and found.size:
            found.flat[rng.randrange(found.size)] = rng.choice((np.nan, np.inf, -np.inf, -1.0, 1e300))
        elif what == 3:
            found = np.asfortranarray(found)[..., ::-1]
        elif what == 4:
            found = rng.choice((found[None], found[:-1], found.ravel(), np.concatenate([found, found])))
        elif what == 5:
            found = found.tolist()
        else:
            return odd(rng)
        found = np.array(found)
    return found


def either(array: Any, rng: Random) -> Any:
    """The array bent, or something odd."""
    return odd(rng) if rng.random() < 0.3 else bent(array, rng)


def _tried(call: Callable[[], Any]) -> None:
    """What is refused is refused; what follows has to work all the same."""
    try:
        call()
    except InputError:
        return


def _numbers(*values: Any) -> None:
    for value in values:
        if not np.isfinite(np.asarray(value, dtype=np.float64)).all():
            raise AssertionError("not a number came out")


def step(rng: Random) -> None:
    """One environment: steps, of which some are in the space."""
    env = IpaEnv(SHORT)
    env.reset(seed=rng.randrange(1000))
    for _ in range(3):
        _tried(lambda: env.step(either(ACTION, rng)))
    env.reset(seed=1)
    observation, reward, _, _, info = env.step(ACTION)
    _numbers(observation, reward, list(info.values()))
    env.render()


def reset(rng: Random) -> None:
    """One environment and many: seeds and options."""
    options: Any = {"arrivals": either(np.full(SECONDS, 7.0), rng), "clock_s": either(np.array(5), rng)}
    if rng.random() < 0.3:
        options = rng.choice((odd(rng), {"arrivals": odd(rng)}, {"clock_s": 3}, {"other": 1}))
    count = rng.choice((0, 1, 3))
    env: Any = IpaVectorEnv(count, SHORT) if count else IpaEnv(SHORT)
    if count and isinstance(options, dict) and rng.random() < 0.5:
        options = {**options, "arrivals": either(np.full((count, SECONDS), 7.0), rng)}
    _tried(lambda: env.reset(seed=rng.choice((None, 3, odd(rng), [1] * count)), options=options))
    env.reset(seed=1)
    _numbers(env.step(np.tile(ACTION, (count, 1)) if count else ACTION)[1])


def vector(rng: Random) -> None:
    """Many environments: steps."""
    env = IpaVectorEnv(2, SHORT)
    env.reset(seed=rng.randrange(1000))
    for _ in range(3):
        _tried(lambda: env.step(either(np.stack([ACTION, ACTION]), rng)))
    env.reset(seed=1)
    _numbers(*env.step(np.stack([ACTION, ACTION]))[:2])


def construction(rng: Random) -> None:
    """Arguments of environments."""
    definition, mode = rng.choice((SHORT, odd(rng))), rng.choice((None, "ansi", odd(rng)))
    if rng.random() < 0.5:
        IpaEnv(definition, mode)
    else:
        IpaVectorEnv(rng.choice((1, odd(rng))), definition, mode)


def episodes(rng: Random) -> None:
    """Episodes begun by hand, in worlds drawn by hand."""
    env = IpaVectorEnv(2, SHORT)
    env.reset(seed=0)
    drawn = replace(Drawn(), **{rng.choice(("start_up", "service", "load", "sla", "lost")): odd(rng)})
    arrivals, clock_s = either(np.full(SECONDS, 7.0), rng), rng.choice((0, odd(rng)))
    _tried(lambda: env.episodes.begin(rng.choice((0, 1, odd(rng))), arrivals, clock_s, drawn))
    _tried(lambda: env.episodes.step(either(np.stack([ROWS, ROWS]), rng)))
    _numbers(env.episodes.observe())


def fluid(rng: Random) -> None:
    """The fluid simulator."""
    simulator = FluidSimulator(PROBLEM, VIDEO.timing, 2)
    for environment in range(2):
        simulator.reset(environment, ROWS)
    calls: list[Callable[[], Any]] = [
        lambda: simulator.reset(rng.choice((0, odd(rng))), either(ROWS, rng)),
        lambda: simulator.apply(either(np.stack([ROWS, ROWS]), rng)),
        lambda: simulator.advance(either(np.full((2, 3), 8.0), rng)),
        lambda: simulator.fail(rng.choice((1, odd(rng))), rng.choice((0.5, odd(rng)))),
        lambda: simulator.set_world(rng.choice((1, odd(rng))), *(rng.choice((1.5, odd(rng))) for _ in "123")),
    ]
    for _ in range(5):
        _tried(rng.choice(calls))
    simulator.advance(np.full((2, 30), 8.0))
    _numbers(simulator.waiting(), *(simulator.totals[name] for name in ("served", "core_s", "histogram")))


def requests(rng: Random) -> None:
    """The request-level simulator."""
    times: Any = np.linspace(0.0, 20.0, 100)
    generator = np.random.default_rng(rng.randrange(1000))
    _tried(lambda: RequestSimulator(PROBLEM, VIDEO.timing, either(times, rng), generator))
    _tried(lambda: RequestSimulator(PROBLEM, VIDEO.timing, times, odd(rng), odd(rng)))
    simulator = RequestSimulator(PROBLEM, VIDEO.timing, times, generator)
    calls: list[Callable[[], Any]] = [
        lambda: simulator.place(either(ROWS, rng)),
        lambda: simulator.apply(either(ROWS, rng)),
        lambda: simulator.advance(rng.choice((2.5, odd(rng)))),
        lambda: simulator.fail(rng.choice((0.5, odd(rng)))),
    ]
    for _ in range(6):
        _tried(rng.choice(calls))
    simulator.advance(60.0)
    if simulator.totals[0]["served"] + simulator.totals[0]["dropped"] != len(times):
        raise AssertionError("requests are not accounted for")


def solvers(rng: Random) -> None:
    """Both solvers, with any load and problem."""
    problem = _problem(rng) if rng.random() < 0.5 else PROBLEM
    solve = solve_program if rng.random() < 0.1 else lambda one, load: FrontSolver(one).solve(load)
    load: Any = odd(rng) if rng.random() < 0.5 else 10.0 ** rng.uniform(-9, 9)
    _numbers(solve(problem, load).load_rps)


def _problem(rng: Random) -> Problem:
    """The pipeline of video with figures replaced."""
    stage = PROBLEM.pipeline.stages[0]
    variant: Variant = stage.variants[0]
    for name in rng.sample(("accuracy", "units", "start_up_s", "reload_s"), 2):
        variant = replace(variant, **{name: odd(rng)}) if rng.random() < 0.5 else variant
    for name in ("batches", "latency_mean_s", "latency_p99_s", "throughput_rps"):
        if rng.random() < 0.2:
            given: list[Any] = list(getattr(variant, name))
            given[rng.randrange(len(given))] = odd(rng)
            changed: dict[str, Any] = {name: tuple(given[: rng.choice((1, 4, 4))])}
            variant = replace(variant, **changed)
    pipeline = replace(PROBLEM.pipeline, stages=(replace(stage, variants=(variant,)),))
    alpha, beta, delta = (rng.choice((1.0, odd(rng))) for _ in "123")
    weights = Weights(alpha, beta, delta)
    limits: dict[str, Any] = {
        "sla_s": rng.choice((5.0, odd(rng))),
        "max_replicas": rng.choice((10, odd(rng))),
    }
    found = replace(PROBLEM, pipeline=pipeline, weights=weights, **limits)
    FluidSimulator(found, Timing(**{rng.choice(("drop_limit_s", "service_scale")): odd(rng)}))
    return found


def configurations(rng: Random) -> None:
    """Configurations written by hand, there and back."""
    name = VIDEO.pipeline.stages[0].variants[0].name
    stages = [
        StageConfig(rng.choice((name, odd(rng))), rng.choice((1, 3, odd(rng))), rng.choice((2, odd(rng))))
        for _ in range(rng.choice((1, 2, 2, 2, 3)))
    ]
    _tried(lambda: decode(PROBLEM, encode(PROBLEM, Configuration(tuple(stages)))))
    decode(PROBLEM, either(ROWS, rng))


def windows(rng: Random) -> None:
    """Windows played side by side by a rule that decides anything."""
    lengths = rng.choice(([], [SECONDS], [SECONDS] * 2, [SECONDS, SECONDS + 10], [50], [HISTORY_STEPS]))
    given = [Window("w", bent(np.full(length, 7), rng), HISTORY_STEPS) for length in lengths]
    if any(not isinstance(one.arrivals, np.ndarray) or one.arrivals.ndim != 1 for one in given):
        return
    found = play_windows(VIDEO, given, lambda _, step: either(np.stack([ROWS] * len(given)), rng))
    _numbers(found.utility)


def states(rng: Random) -> None:
    """Agents asked about any state."""
    simulator = FluidSimulator(PROBLEM, VIDEO.timing)
    simulator.reset(0, ROWS)
    fleet = simulator.fleet[0]
    for name in rng.sample(fleet.dtype.names or (), 2):
        fleet[name] = rng.choice((0, 1, 4, 5, -1, 16, 17, 2**40))
    whole = State(np.full(HISTORY_STEPS, 9.0), fleet, np.zeros(STAGES))
    history = np.full(rng.choice((0, 1, HISTORY_STEPS - 1, HISTORY_STEPS, 500)), 9.0)
    state = replace(whole, history_rps=either(history, rng), queued=either(whole.queued, rng))
    agents = (
        PolicyAgent("ppo", VIDEO, POLICY, PROGRAM),
        LookAheadAgent(
            "look-ahead", VIDEO, make_forecaster("quantile:90@25", load_workload("twitter"), 1), 0.1, 60.0
        ),
    )
    encode(PROBLEM, rng.choice(agents).decide(rng.choice((state, whole))).configuration)


def policies(rng: Random) -> None:
    """Policies with arrays of other types, shapes and numbers."""
    layers: list[list[Any]] = [list(layer) for layer in POLICY.layers]
    layer, part = rng.randrange(len(layers)), rng.randrange(2)
    broken = bent(layers[layer][part], rng)
    layers[layer][part] = broken if isinstance(broken, np.ndarray) else np.zeros(3)
    sizes = tuple(rng.choice((POLICY.sizes, POLICY.sizes[:-1], (99, *POLICY.sizes[1:]))))
    policy = replace(POLICY, layers=tuple((weight, bias) for weight, bias in layers), sizes=sizes)
    PolicyAgent("ppo", VIDEO, policy, PROGRAM)


ENTRANCES: dict[str, Callable[[Random], object]] = {
    "step": step, "reset": reset, "vector": vector, "construction": construction, "episodes": episodes,
    "fluid": fluid, "requests": requests, "solvers": solvers, "configurations": configurations,
    "windows": windows, "states": states, "policies": policies,
}  # fmt: skip
"""By name; whatever they raise beside InputError is a finding."""
