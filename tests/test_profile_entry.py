"""How long stages really take to serve, in a sidecar: learned, planned by and told."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ipa_rl.agents.meters import meters_of
from ipa_rl.agents.trained import load_agents
from ipa_rl.live.cluster import Seen
from ipa_rl.sidecar.explain import account
from ipa_rl.sidecar.profile_entry import service_entry, start_entry
from ipa_rl.sidecar.telemetry import Metrics
from tests.live import VIDEO, World

SCALES = [1.3, 1.0]
WORLD = VIDEO.with_problem(pipeline=VIDEO.pipeline.serving(SCALES))
"""Its first stage takes 30 % longer than the profile of VIDEO says."""


def loads() -> NDArray[np.float64]:
    return np.concatenate([np.full(120, 12.0), np.tile(np.repeat([12.0, 30.0, 20.0], 40), 6)])


def slower(**parts: object) -> World:
    """A planner that was told VIDEO drives WORLD."""
    agents, program = load_agents(VIDEO, "planner")
    told = {"definition": VIDEO, "program": program, "meters": meters_of(VIDEO), **parts}
    return World(agents=agents, definition=WORLD, loads=loads(), parts=told)


def test_a_stage_that_is_slower_than_profiled_is_told_and_planned_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    measures, alone = slower(), slower(meters=None)
    with caplog.at_level(logging.WARNING, logger="ipa_rl.sidecar.profile_entry"):
        measures.steps(40)
    alone.steps(40)
    step = measures.told.entries[-1]
    (found,) = step["service"]
    assert found["stage"] == VIDEO.pipeline.stages[0].name
    assert found["scale"] == pytest.approx(1.3, rel=0.09)
    percent = round(100 * (found["scale"] - 1.0))
    expected = f"{found['stage']} takes {percent} % longer to serve than its profile says; measured over"
    assert found["told"].startswith(expected)
    assert expected in " ".join(" ".join(account(step)).split())
    assert "longer to serve than its profile says" in caplog.text
    waited, waited_alone = (
        np.mean([sum(one["queued"]) for one in world.told.entries]) for world in (measures, alone)
    )
    assert waited < waited_alone


def test_a_stage_that_starts_more_slowly_than_profiled_is_told(caplog: pytest.LogCaptureFixture) -> None:
    agents, program = load_agents(VIDEO, "planner")
    slow = replace(VIDEO, timing=replace(VIDEO.timing, start_up_scale=5.0))
    told = {"definition": VIDEO, "program": program, "meters": meters_of(VIDEO)}
    world = World(agents=agents, definition=slow, loads=loads(), parts=told)
    with caplog.at_level(logging.WARNING, logger="ipa_rl.sidecar.profile_entry"):
        world.steps(20)
    found = world.told.entries[-1]["starts"]
    assert {one["scale"] for one in found} <= {5.0}
    expected = f"{found[0]['stage']} takes 5 times as long to start as its profile says"
    assert expected in caplog.text
    assert expected in " ".join(" ".join(account(world.told.entries[-1])).split())


def test_a_metric_shows_the_scale_of_every_stage() -> None:
    metrics, meters = Metrics(), meters_of(VIDEO)
    meters.service.scales, meters.starts.scales = np.array([1.24, 1.0]), np.array([1.0, 3.0])
    world = World(parts={"meters": meters, "logs": (metrics,)})
    world.steps(1)
    shown = [
        metrics.registry.get_sample_value(f"ipa_rl_{name}_scale", {"stage": stage.name})
        for name in ("service", "start")
        for stage in VIDEO.pipeline.stages
    ]
    assert shown == [1.24, 1.0, 1.0, 3.0]


def test_where_nobody_measures_or_all_is_as_profiled_nothing_is_told() -> None:
    world = World(parts={"meters": meters_of(VIDEO)})
    world.steps(3)
    assert world.told.entries[-1]["service"] == []
    assert world.told.entries[-1]["starts"] == []
    assert service_entry(VIDEO.pipeline, None) is start_entry(VIDEO.pipeline, None) is None
    assert not any("profile says" in line for line in account(world.told.entries[-1]))


@pytest.mark.parametrize(
    "unseen",
    [
        lambda seen: replace(seen, queues_known=False, state=replace(seen.state, queued=np.zeros(2))),
        lambda seen: replace(seen, loads=replace(seen.loads, age_s=25.0)),
        lambda seen: replace(seen, loads=replace(seen.loads, stale=True)),
    ],
    ids=["queues", "age", "stale"],
)
def test_what_is_not_known_teaches_nothing_and_what_was_learned_stays(unseen: object) -> None:
    meters = meters_of(VIDEO)
    meter, world = meters.service, slower(meters=meters)
    world.cluster.change = unseen  # type: ignore[assignment]
    world.steps(20)
    np.testing.assert_array_equal(meter.intervals, 0.0)
    meter.scales = np.array([1.2, 1.0])
    world.steps(2)
    assert [one["scale"] for one in world.told.entries[-1]["service"]] == [1.2]


def test_the_program_that_stands_beside_plans_by_it_too() -> None:
    meters = meters_of(VIDEO)
    world = World(load_rps=40.0, parts={"meters": meters, "definition": VIDEO})
    world.steps(1)
    meters.service.scales = np.array([1.8, 1.8])

    def uncounted(seen: Seen) -> Seen:
        return replace(seen, queues_known=False)

    world.cluster.change = uncounted
    world.steps(1)
    before, after = (one["program"]["worth"]["cores"] for one in world.told.entries)
    assert after > before
