"""Nothing that does not fit gets into compiled code: every public entrance refuses it, and stays usable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ipa_rl.agents.lookahead import LookAheadAgent
from ipa_rl.agents.policy import Policy, PolicyAgent, load_policy, save_policy
from ipa_rl.agents.program import ProgramAgent
from ipa_rl.agents.protocol import Agent, State
from ipa_rl.agents.windows import play_windows
from ipa_rl.border import number
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.environment.env import IpaEnv, IpaVectorEnv
from ipa_rl.environment.episodes import Episodes
from ipa_rl.errors import InputError
from ipa_rl.jit import Records
from ipa_rl.objective import Weights
from ipa_rl.pipeline import Configuration, Pipeline, Stage, StageConfig
from ipa_rl.simulation import FluidSimulator, RequestSimulator, Timing, decode, encode
from ipa_rl.simulation.transitions import COHORTS
from ipa_rl.solvers import FrontSolver, Optimum, solve_program
from ipa_rl.workload.forecasters import make_forecaster
from ipa_rl.workload.steps import HISTORY_STEPS, reference_load
from ipa_rl.workload.workload import Window, load_workload
from tests.pipelines import one_stage, two_stages, variant
from tests.policies import drawn_policy


@pytest.fixture(scope="module")
def video() -> Definition:
    definition = load_definition("video")
    return replace(definition, episodes=definition.episodes.model_copy(update={"episode_s": 60}))


SIZES = np.array([5, 4, 17, 5, 4, 17])

WRONG_ACTIONS: dict[str, Any] = {
    "variant too high": [5, 0, 0, 0, 0, 0],
    "batch too high": [0, 4, 0, 0, 0, 0],
    "headroom too high": [0, 0, 17, 0, 0, 0],
    "far too high": [99] * 6,
    "negative": [-1] * 6,
    "one too many": [0] * 7,
    "three too few": [0] * 3,
    "floats": [0.5] * 6,
    "whole floats": [0.0] * 6,
    "NaN": [nan] * 6,
    "infinite": [inf] * 6,
    "beyond 64 bits": [2**64] * 6,
    "beyond the signed ones": np.full(6, 2**63, dtype=np.uint64),
    "would wrap to 0 in 32 bits": [2**32] * 6,
    "words": ["0"] * 6,
    "objects": [None] * 6,
    "complex": [0j] * 6,
    "ragged": [[0, 0], [0]],
    "a scalar": 0,
    "nothing": [],
    "nested": [[0] * 6],
    "times": np.zeros(6, dtype="M8[s]"),
}


def as_single(definition: Definition) -> Callable[[Any], Any]:
    env = IpaEnv(definition)
    env.reset(seed=0)
    return env.step


def as_vector(definition: Definition) -> Callable[[Any], Any]:
    env = IpaVectorEnv(2, definition)
    env.reset(seed=0)
    return lambda action: env.step([[0] * 6, action])  # type: ignore[arg-type]


def as_stable_baselines(definition: Definition) -> Callable[[Any], Any]:
    pytest.importorskip("stable_baselines3")
    from ipa_rl.training.vec_env import SB3VectorEnv

    env = SB3VectorEnv(IpaVectorEnv(2, definition), np.ones(1, dtype=np.float32))
    env.reset()
    return lambda action: env.step([[0] * 6, action])  # type: ignore[arg-type]


@pytest.mark.parametrize("how", [as_single, as_vector, as_stable_baselines])
@pytest.mark.parametrize("name", WRONG_ACTIONS)
def test_an_action_that_is_not_in_the_action_space_is_refused(
    how: Callable[[Definition], Callable[[Any], Any]], name: str, video: Definition
) -> None:
    step = how(video)
    with pytest.raises(InputError):
        step(WRONG_ACTIONS[name])
    step([1, 1, 8, 1, 1, 8])


def test_a_refusal_says_what_is_wrong_where_and_what_to_give(video: Definition) -> None:
    with pytest.raises(InputError, match=r"actions: is 9 at \[0, 0\]; fix: give a whole number, 0 to 4"):
        as_single(video)([9] * 6)


@given(
    arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(max_dims=3, max_side=7))
    | arrays.arrays(np.int64, (6,), elements=st.integers(-3, 20))
)
def test_whatever_is_given_as_an_action_is_taken_exactly_where_it_is_in_the_space(action: Any) -> None:
    step = as_single(load_definition("video"))
    fits = action.shape == (6,) and action.dtype.kind in "iu" and ((action >= 0) & (action < SIZES)).all()
    if fits:
        assert np.isfinite(step(action)[1])
    else:
        with pytest.raises(InputError):
            step(action)


def test_a_refused_action_changes_nothing(video: Definition) -> None:
    one, other = IpaEnv(video), IpaEnv(video)
    one.reset(seed=3)
    other.reset(seed=3)
    with pytest.raises(InputError):
        one.step(np.full(6, 99))
    action = np.array([2, 1, 9, 2, 1, 9])
    assert one.step(action)[1] == other.step(action)[1]


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint64, ">i8"])
def test_actions_of_every_integer_type_and_order_are_taken_alike(kind: Any, video: Definition) -> None:
    actions = np.array([[2, 1, 9, 2, 1, 9], [0, 3, 16, 4, 0, 0]])
    expected, found = IpaVectorEnv(2, video), IpaVectorEnv(2, video)
    expected.reset(seed=1)
    found.reset(seed=1)
    wanted = expected.step(actions)
    given_as = np.asfortranarray(actions.astype(kind))
    for one, other in zip(wanted[:4], found.step(given_as)[:4], strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_episode_that_is_over_or_never_began_is_not_gone_on_with(video: Definition) -> None:
    env = IpaEnv(video)
    with pytest.raises(InputError, match="reset the environment"):
        env.step(np.zeros(6, dtype=np.int64))
    env.reset(seed=0)
    for _ in range(6):
        _, _, _, truncated, _ = env.step(np.zeros(6, dtype=np.int64))
    assert truncated
    with pytest.raises(InputError, match="reset the environment"):
        env.step(np.zeros(6, dtype=np.int64))


WHOLE = HISTORY_STEPS + 60

WRONG_OPTIONS: dict[str, Any] = {
    "too short": {"arrivals": np.ones(WHOLE - 1)},
    "one for all": {"arrivals": np.ones(1)},
    "a number": {"arrivals": 5.0},
    "an array": np.array([]),
    "NaN": {"arrivals": np.full(WHOLE, nan)},
    "infinite": {"arrivals": np.full(WHOLE, inf)},
    "negative": {"arrivals": np.full(WHOLE, -1.0)},
    "beyond all loads": {"arrivals": np.full(WHOLE, 1e300)},
    "words": {"arrivals": ["many"] * WHOLE},
    "nothing": {"arrivals": None},
    "three axes": {"arrivals": np.ones((1, 1, WHOLE))},
    "a clock that is no number": {"arrivals": np.ones(WHOLE), "clock_s": "noon"},
    "a clock that is NaN": {"arrivals": np.ones(WHOLE), "clock_s": nan},
    "a clock before time": {"arrivals": np.ones(WHOLE), "clock_s": -1},
    "a clock alone": {"clock_s": 5},
    "an unknown option": {"colour": "red"},
    "no mapping": ["arrivals"],
}


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("name", WRONG_OPTIONS)
def test_options_of_reset_that_do_not_fit_are_refused(name: str, count: int, video: Definition) -> None:
    env: Any = IpaVectorEnv(count, video) if count else IpaEnv(video)
    with pytest.raises(InputError):
        env.reset(options=WRONG_OPTIONS[name])
    env.reset(seed=0, options={})


@pytest.mark.parametrize("seed", [-1, 1.5, "one", nan, [0, 1], 2**200, True])
def test_a_seed_that_is_none_is_refused(seed: Any, video: Definition) -> None:
    with pytest.raises(InputError):
        IpaEnv(video).reset(seed=seed)
    with pytest.raises(InputError):
        IpaVectorEnv(3, video).reset(seed=seed)


def test_a_seed_of_numpy_is_a_seed(video: Definition) -> None:
    one, other = IpaVectorEnv(2, video), IpaVectorEnv(2, video)
    np.testing.assert_array_equal(one.reset(seed=np.int64(5))[0], other.reset(seed=5)[0])  # type: ignore[arg-type]


def test_the_vector_environment_plays_given_arrivals_as_the_single_one_does(video: Definition) -> None:
    loads = np.random.default_rng(0).poisson(9.0, (3, WHOLE))
    clocks = np.array([0, 1800, 3000])
    vector, single = IpaVectorEnv(3, video), IpaEnv(video)
    seen, _ = vector.reset(options={"arrivals": loads, "clock_s": clocks})
    action = np.array([2, 1, 9, 2, 1, 9])
    rewards = vector.step(np.tile(action, (3, 1)))[1]
    for i in range(3):
        ours, _ = single.reset(options={"arrivals": loads[i], "clock_s": clocks[i]})
        np.testing.assert_array_equal(ours, seen[i])
        assert single.step(action)[1] == rewards[i]


def test_arrivals_of_one_environment_are_those_of_all(video: Definition) -> None:
    vector = IpaVectorEnv(3, video)
    loads = np.full(WHOLE, 7)
    vector.reset(options={"arrivals": loads, "clock_s": 100})
    np.testing.assert_array_equal(vector.episodes.loads, np.tile(loads, (3, 1)))
    assert vector.episodes.clock_s.tolist() == [100] * 3


def test_options_for_stable_baselines_are_refused(video: Definition) -> None:
    pytest.importorskip("stable_baselines3")
    from ipa_rl.training.vec_env import SB3VectorEnv

    env = SB3VectorEnv(IpaVectorEnv(2, video), np.ones(1, dtype=np.float32))
    env.set_options({"arrivals": np.ones(WHOLE)})
    with pytest.raises(InputError, match="options"):
        env.reset()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("value", [inf, -inf, nan])
def test_no_float_of_any_width_that_is_not_finite_is_a_number(
    kind: type[np.floating[Any]], value: float
) -> None:
    with pytest.raises(InputError, match="clock_s"):
        number(kind(value), "clock_s", most=2**53)


@pytest.mark.parametrize(
    "arguments", [{"num_envs": 0}, {"num_envs": -2}, {"num_envs": 2.0}, {"num_envs": "2"}]
)
def test_a_number_of_environments_that_is_none_is_refused(arguments: Any) -> None:
    with pytest.raises(InputError, match="num_envs"):
        IpaVectorEnv(**arguments)


@pytest.mark.parametrize("arguments", [{"definition": 5}, {"definition": None}, {"render_mode": "human"}])
def test_other_arguments_of_an_environment_are_refused_by_name(arguments: dict[str, Any]) -> None:
    for make in (IpaEnv, IpaVectorEnv):
        with pytest.raises(InputError, match=next(iter(arguments))):
            make(**arguments)


WRONG_ROWS: dict[str, Any] = {
    "variant": [[0, 0, 1], [3, 0, 1]],
    "batch": [[0, 4, 1], [0, 0, 1]],
    "batch of the padding": [[0, 7, 1], [0, 0, 1]],
    "replicas": [[0, 0, -1], [0, 0, 1]],
    "replicas beyond all": [[0, 0, 2**40], [0, 0, 1]],
    "negative": [[-1, 0, 1], [0, 0, 1]],
    "one stage": [[0, 0, 1]],
    "three stages": [[0, 0, 1]] * 3,
    "two columns": [[0, 0]] * 2,
    "transposed": [[0, 0], [0, 0], [1, 1]],
    "floats": [[0.0, 0.0, 1.0]] * 2,
    "NaN": [[nan] * 3] * 2,
    "flat": [0, 0, 1, 0, 0, 1],
    "words": [["small", "1", "1"]] * 2,
}
RIGHT_ROWS = np.array([[0, 0, 1], [2, 3, 0]])


@pytest.mark.parametrize("name", WRONG_ROWS)
def test_decisions_that_no_pipeline_offers_are_refused_by_both_simulators(name: str) -> None:
    rows = WRONG_ROWS[name]
    fluid = FluidSimulator(two_stages(), Timing(), 2)
    requests = RequestSimulator(two_stages(), Timing(), np.arange(20.0), np.random.default_rng(0))
    wrong: list[Callable[[], Any]] = [
        lambda: fluid.reset(0, rows),
        lambda: fluid.apply([RIGHT_ROWS, rows]),  # type: ignore[arg-type]
        lambda: fluid.apply(rows),
        lambda: requests.place(rows),
        lambda: requests.apply(rows),
        lambda: decode(two_stages(), rows),
    ]
    for one in wrong:
        with pytest.raises(ValueError):  # noqa: PT011
            one()
    fluid.reset(1, RIGHT_ROWS)
    fluid.apply(np.array([RIGHT_ROWS] * 2))
    requests.place(RIGHT_ROWS)
    requests.apply(np.asfortranarray(RIGHT_ROWS.astype(np.int16)))
    requests.advance(5.0)
    assert requests.totals[0]["arrived"] == 5.0


@pytest.mark.parametrize(
    "loads",
    [np.ones((2, 5)), np.ones(5), 5.0, [[nan]], [[-1.0]], [[inf]], [[1e10]], [["1"]], [[1j]], [[[1.0]]]],
)
def test_loads_that_are_none_are_refused_by_the_fluid_simulator(loads: Any) -> None:
    simulator = FluidSimulator(one_stage(), Timing())
    simulator.reset(0, np.array([[0, 0, 1]]))
    with pytest.raises(InputError, match="loads"):
        simulator.advance(loads)
    simulator.advance(np.asfortranarray(np.ones((1, 3), dtype=np.int32)))
    assert simulator.totals[0]["arrived"] == 3.0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.reset(1, np.array([[0, 0, 1]])),
        lambda s: s.reset(-1, np.array([[0, 0, 1]])),
        lambda s: s.reset(0.0, np.array([[0, 0, 1]])),
        lambda s: s.fail(0, 1.5),
        lambda s: s.fail(0, -0.5),
        lambda s: s.fail(0, nan),
        lambda s: s.fail(7, 0.5),
        lambda s: s.set_world(0, nan, 1.0, 1.0),
        lambda s: s.set_world(0, 1.0, 0.0, 1.0),
        lambda s: s.set_world(0, 1.0, -1.0, 1.0),
        lambda s: s.set_world(0, 1.0, 1.0, inf),
        lambda s: s.set_world(9, 1.0, 1.0, 1.0),
        lambda s: s.set_world(0, "2", 1.0, 1.0),
    ],
)
def test_worlds_and_failures_out_of_range_are_refused_by_the_fluid_simulator(
    wrong: Callable[[FluidSimulator], None],
) -> None:
    simulator = FluidSimulator(one_stage(), Timing())
    simulator.reset(0, np.array([[0, 0, 1]]))
    with pytest.raises(InputError):
        wrong(simulator)
    simulator.advance(np.ones((1, 3)))
    assert simulator.totals[0]["served"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    "times",
    [[2.0, 1.0], [nan], [-1.0, 2.0], [inf], [[1.0, 2.0]], ["1"], [1j], 3.0, None, [2.0, nan, 3.0], [1.7e9]],
)
def test_times_of_arrival_that_do_not_ascend_from_0_are_refused(times: Any) -> None:
    with pytest.raises(InputError, match="arrivals_s"):
        RequestSimulator(one_stage(), Timing(), times, np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.advance(nan),
        lambda s: s.advance(-1.0),
        lambda s: s.advance(inf),
        lambda s: s.advance(2**31),
        lambda s: s.advance("1"),
        lambda s: s.fail(nan),
        lambda s: s.fail(2.0),
    ],
)
def test_time_and_failures_out_of_range_are_refused_by_the_judge(
    wrong: Callable[[RequestSimulator], None],
) -> None:
    simulator = RequestSimulator(one_stage(), Timing(), np.arange(5.0), np.random.default_rng(0))
    simulator.place(np.array([[0, 0, 2]]))
    with pytest.raises(InputError):
        wrong(simulator)
    simulator.advance(10.0)
    assert simulator.totals[0]["served"] == 5.0


def test_service_times_of_no_known_kind_are_refused() -> None:
    for service, rng in (("normal", np.random.default_rng(0)), ("fixed", 5)):
        with pytest.raises(InputError, match="service"):
            RequestSimulator(one_stage(), Timing(), np.arange(5.0), rng, service)  # type: ignore[arg-type]


@pytest.mark.parametrize("load", [nan, inf, -1.0, 1e300, "5", None, [5.0], 5j])
def test_a_load_that_is_none_is_refused_by_both_solvers(load: Any) -> None:
    with pytest.raises(InputError, match="load_rps"):
        FrontSolver(two_stages()).solve(load)
    with pytest.raises(InputError, match="load_rps"):
        FrontSolver(two_stages()).solve_anew(load)
    with pytest.raises(InputError, match="load_rps"):
        solve_program(two_stages(), load)


def test_a_load_of_numpy_is_a_load() -> None:
    assert isinstance(FrontSolver(two_stages()).solve(np.float64(5.0)), Optimum)
    assert isinstance(FrontSolver(two_stages()).solve(5), Optimum)


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": nan},
        {"accuracy": 1.5},
        {"units": 0},
        {"price": -1.0},
        {"start_up_s": -1.0},
        {"start_up_s": inf},
        {"reload_s": nan},
        {"batches": ()},
        {"batches": (1, 2, 2, 4)},
        {"batches": (0, 1, 2, 4)},
        {"batches": (1, 2, 4, 10**9)},
        {"latency_mean_s": (0.1,)},
        {"latency_mean_s": (0.1, 0.1, 0.1, nan)},
        {"latency_p99_s": (0.0, 0.1, 0.1, 0.1)},
        {"throughput_rps": (1.0, 2.0, 3.0, inf)},
        {"throughput_rps": (1.0, 2.0, 3.0, -4.0)},
    ],
)
def test_a_variant_with_figures_that_are_none_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"small.{next(iter(change))}"):
        replace(variant("small"), **change)


def test_pipelines_and_stages_without_content_cannot_be_made() -> None:
    with pytest.raises(InputError, match="has no variants"):
        Stage("first", ())
    with pytest.raises(InputError, match="has no stages"):
        Pipeline("empty", ())


@pytest.mark.parametrize(
    "change",
    [
        {"sla_s": nan},
        {"sla_s": 0.0},
        {"max_replicas": 0},
        {"max_replicas": 2.5},
        {"fixed_replicas": (1,)},
        {"fixed_replicas": (1, 0)},
    ],
)
def test_a_problem_out_of_range_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(two_stages(), **change)


@pytest.mark.parametrize("name", ["alpha", "beta", "delta", "rho"])
@pytest.mark.parametrize("value", [nan, inf, -1.0])
def test_weights_that_are_no_weights_cannot_be_made(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Weights(**{"alpha": 1.0, "beta": 1.0, "delta": 1.0, name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"interval_s": 0},
        {"interval_s": 1.5},
        {"drop_limit_s": nan},
        {"drop_limit_s": 0.0},
        {"batch_timeout_s": inf},
        {"start_up_scale": nan},
        {"service_scale": 0.0},
    ],
)
def test_settings_of_the_simulators_out_of_range_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        Timing(**change)


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        (
            (StageConfig("huge", 1, 1), StageConfig("small", 1, 1)),
            "first: has no variant 'huge'; fix: use one of",
        ),
        (
            (StageConfig("small", 3, 1), StageConfig("small", 1, 1)),
            "first: has no batch size 3; fix: use one of 1",
        ),
        ((StageConfig("small", 1, -1), StageConfig("small", 1, 1)), "first.replicas: is -1"),
        ((StageConfig("small", 1, nan), StageConfig("small", 1, 1)), "first.replicas: is nan"),  # type: ignore[arg-type]
        ((StageConfig("small", 1, 1),), "configuration: has 1 stages"),
    ],
)
def test_a_configuration_written_by_hand_is_refused_in_words(
    stages: tuple[StageConfig, ...], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        encode(two_stages(), Configuration(stages))


def window(seconds: int, name: str = "w") -> Window:
    return Window(name, np.full(seconds, 5), HISTORY_STEPS)


def test_windows_that_cannot_be_played_side_by_side_are_refused(video: Definition) -> None:
    def keep(episodes: Episodes, step: int) -> Any:
        del step
        return np.tile(video.rows_for(5.0), (episodes.environments, 1, 1))

    for wrong in ([], [window(HISTORY_STEPS)], [window(50)], [window(WHOLE), window(WHOLE + 10)]):
        with pytest.raises(InputError, match="windows"):
            play_windows(video, wrong, keep)
    with pytest.raises(InputError, match="decisions"):
        play_windows(video, [window(WHOLE)], lambda _, step: np.full((1, 2, 3), 50 * step))
    assert play_windows(video, [window(WHOLE)], keep).violations[0] == 0.0


def policy_agent(definition: Definition, policy: Policy) -> PolicyAgent:
    program = ProgramAgent("ip", definition, make_forecaster("last", load_workload("twitter"), 1))
    return PolicyAgent("ppo", definition, policy, program)


def other_sizes(policy: Policy) -> dict[str, Policy]:
    """The policy with parts that do not fit its environment, by what is wrong."""
    (first, bias), *rest = policy.layers
    coverage = policy.coverage
    assert coverage is not None
    return {
        "more choices": replace(policy, sizes=(9, *policy.sizes[1:])),
        "other choices": replace(policy, sizes=(4, 5, *policy.sizes[2:])),
        "fewer inputs": replace(policy, layers=((first[:, :-1], bias), *rest)),
        "other layers": replace(policy, layers=((first[:-1], bias), *rest)),
        "other outputs": replace(policy, layers=((first, bias), *rest[:-1])),
        "NaN among weights": replace(policy, layers=((first * np.float32(nan), bias), *rest)),
        "infinite bias": replace(policy, layers=((first, bias + np.float32(inf)), *rest)),
        "other variants": replace(policy, choices=policy.choices[::-1]),
        "NaN as limit": replace(policy, coverage=replace(coverage, limit=nan)),
        "NaN as least capacity": replace(policy, coverage=replace(coverage, least_capacity=nan)),
        "infinite reserve": replace(policy, coverage=replace(coverage, reserve=inf)),
        "coverage of other inputs": replace(policy, coverage=replace(coverage, mean=coverage.mean[:-1])),
    }


@pytest.mark.parametrize("name", other_sizes(drawn_policy(load_definition("video"))))
def test_a_policy_that_does_not_fit_its_environment_acts_nowhere(name: str, tmp_path: Path) -> None:
    definition = load_definition("video")
    policy = other_sizes(drawn_policy(definition))[name]
    with pytest.raises(InputError):
        policy_agent(definition, policy)
    save_policy(policy, tmp_path / "policy.npz")
    with pytest.raises(InputError, match=r"policy\.npz"):
        load_policy(tmp_path / "policy.npz", definition)
    pytest.importorskip("onnx")
    from ipa_rl.agents.onnx_export import export_policy

    with pytest.raises(InputError):
        export_policy(policy, definition, tmp_path / "policy.onnx")
    assert not (tmp_path / "policy.onnx").exists()


def fleet_of(definition: Definition, **changes: Any) -> Records:
    simulator = FluidSimulator(definition.problem, definition.timing)
    simulator.reset(0, definition.rows_for(10.0))
    fleet: Records = simulator.fleet[0].copy()
    for name, value in changes.items():
        fleet[1][name] = value
    return fleet


HISTORY = np.full(HISTORY_STEPS, 10.0)

WRONG_STATES: dict[str, Callable[[Definition], dict[str, Any]]] = {
    "too short a history": lambda d: {"history_rps": HISTORY[1:]},
    "no history": lambda d: {"history_rps": HISTORY[:0]},
    "NaN among loads": lambda d: {"history_rps": np.append(HISTORY, nan)},
    "negative loads": lambda d: {"history_rps": np.append(HISTORY, -1.0)},
    "loads by stage": lambda d: {"history_rps": np.stack([HISTORY, HISTORY])},
    "one queue": lambda d: {"queued": np.zeros(1)},
    "NaN in a queue": lambda d: {"queued": np.array([0.0, nan])},
    "one stage": lambda d: {"fleet": fleet_of(d)[:1]},
    "no records": lambda d: {"fleet": np.zeros(2)},
    "an unknown variant": lambda d: {"fleet": fleet_of(d, active=5)},
    "a negative target": lambda d: {"fleet": fleet_of(d, target=-1)},
    "an unknown batch": lambda d: {"fleet": fleet_of(d, batch=4)},
    "an unknown batch to come": lambda d: {"fleet": fleet_of(d, target_batch=99)},
    "negative replicas": lambda d: {"fleet": fleet_of(d, ready=-1)},
    "more groups than there are": lambda d: {"fleet": fleet_of(d, cohorts=COHORTS + 1)},
    "groups below none": lambda d: {"fleet": fleet_of(d, cohorts=-1)},
    "a reload that is NaN": lambda d: {"fleet": fleet_of(d, reload_left_s=nan)},
    "a clock that is NaN": lambda d: {"clock_s": nan},
}


@pytest.mark.parametrize("name", WRONG_STATES)
def test_a_state_of_no_such_pipeline_is_decided_on_by_nobody(name: str) -> None:
    video = load_definition("video")
    right = State(HISTORY, fleet_of(video), np.zeros(2))
    quantile = make_forecaster("quantile:90@25", load_workload("twitter"), 1)
    agents: list[Agent] = [
        policy_agent(video, drawn_policy(video)),
        LookAheadAgent("look-ahead", video, quantile, 0.1, 60.0),
    ]
    for agent in agents:
        with pytest.raises(InputError):
            agent.decide(replace(right, **WRONG_STATES[name](video)))
        assert len(agent.decide(right).configuration.stages) == 2


def test_a_forecast_of_quantiles_needs_its_whole_history() -> None:
    forecaster = make_forecaster("quantile:90@25", load_workload("twitter"), 1)
    for history in (HISTORY[1:], HISTORY[:0], HISTORY[:, None]):
        with pytest.raises(InputError, match="history_rps"):
            forecaster.forecast(history, 0.0)


def test_the_reference_of_a_short_history_is_that_of_what_there_is() -> None:
    assert reference_load(np.array([3.0, 2.0]), 30, 1.0) == 3.0
    assert reference_load(np.zeros(0), 30, 0.5) == 0.5
