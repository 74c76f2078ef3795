"""Variants on several kinds of hardware on Ray Serve: what replicas ask Ray for, and how they move."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.live.cluster import Loads
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.live.ray_serve.cluster import RayServeCluster
from ipa_rl.live.ray_serve.settings import ServeSettings, assumed, read_cluster
from ipa_rl.objective import Problem
from ipa_rl.pipeline import Configuration, StageConfig
from tests.pipelines import definition_of, placed_stage

MARK = "accelerator_type:L4"
L4 = {"num_gpus": 1, "resources": {MARK: 0.001}}
FILE = Path("sidecar.yaml")


def definition(problem: Problem | None = None) -> Definition:
    return definition_of(problem or placed_stage())


def settings(placements: Document, problem: Problem | None = None, **stage: Any) -> ServeSettings:
    content = {"application": "shop", "placements": placements, "stages": {"only": stage}}
    return read_cluster(content, definition(problem), FILE)


@dataclass
class KeptServe:
    """What Ray Serve keeps of one application: as deployed, with as many replicas as are asked for.

    ``running``: what it has taken up of it, where that is not all yet.
    """

    config: Document
    status: str = "HEALTHY"
    deployed: list[Document] = field(default_factory=list)
    running: Document | None = None
    asked_for: int = 0

    def applications(self) -> Document:
        self.asked_for += 1
        (own,) = self.config["deployments"]
        running = [{"state": "RUNNING"}] * own["num_replicas"]
        taken_up = self.running or own
        details = {"status": self.status, "deployment_config": taken_up, "replicas": running}
        shop = {
            "name": "shop",
            "status": "RUNNING",
            "deployed_app_config": self.config,
            "deployments": {"only": details},
        }
        return {"applications": {"shop": shop}}

    def deploy(self, whole: Document) -> None:
        (self.config,) = copy.deepcopy(whole["applications"])
        self.deployed += self.config["deployments"]


class NoLoads:
    """A load source that nobody looks at."""

    def loads(self, seconds: int) -> Loads:
        return Loads(np.zeros(seconds), 0.0, stale=True)


def serve(variant: str = "small", replicas: int = 2, **more: Any) -> KeptServe:
    """The stage as a file deployed it."""
    own = {
        "name": "only",
        "num_replicas": replicas,
        "max_surge_percent": 100,
        "user_config": {"variant": variant, "batch_size": 1},
        **more,
    }
    return KeptServe({"name": "shop", "import_path": "shop:app", "deployments": [own]})


def cluster(kept: KeptServe, placements: Document, **stage: Any) -> RayServeCluster:
    found = RayServeCluster(definition(), settings(placements, **stage), NoLoads())
    found.api.close()
    found.api = kept  # type: ignore[assignment]
    return found


def want(variant: str, replicas: int, batch: int = 1) -> Configuration:
    return Configuration((StageConfig(variant, batch, replicas),))


# The settings


@pytest.mark.parametrize(
    ("placements", "name", "problem"),
    [
        ({}, "l4", "says nothing for small@l4 of stage only"),
        ({"l4": {}}, "l4", "says nothing for small@l4 of stage only"),
        ({"l4": L4, "a100": L4}, "a100", "places no variant"),
        ({"l4": {"num_gpus": 0.75}}, "l4", "gives small@2l4 of stage only 1.5 of num_gpus; Ray takes shares"),
        ({"l4": {"num_gpus": -1}}, "l4.num_gpus", "greater than 0"),
        ({"l4": {"gpus": 1}}, "l4.gpus", "not permitted"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(placements: Document, name: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        settings(placements)
    assert (caught.value.file, caught.value.field) == (FILE, f"cluster.ray_serve.placements.{name}")
    assert problem in caught.value.problem
    assert caught.value.fix


def test_a_stage_whose_variants_ask_ray_for_different_things_is_rolled() -> None:
    (stage,) = placed_stage().pipeline.stages
    names = [one.name for one in stage.variants]
    pipeline = replace(placed_stage().pipeline, stages=(stage.with_delays({}, dict.fromkeys(names, 0.5)),))
    problem = replace(placed_stage(), pipeline=pipeline)

    rolled = assumed(definition(problem), settings({"l4": L4}, problem)).pipeline.stages[0]
    cores = replace(pipeline, stages=(replace(pipeline.stages[0], variants=pipeline.stages[0].variants[:2]),))
    on_cores = replace(problem, pipeline=cores)
    in_place = assumed(definition(on_cores), settings({}, on_cores)).pipeline.stages[0]
    counted = assumed(definition(on_cores), settings({"cores": {"num_cpus": 1}}, on_cores)).pipeline.stages[0]

    assert {one.reload_s for one in rolled.variants} == {math.inf}
    assert {one.reload_s for one in in_place.variants} == {0.5}
    assert {one.reload_s for one in counted.variants} == {math.inf}


# What is written


def test_a_variant_moves_to_devices_and_back_in_one_write_each_and_waits_for_nothing() -> None:
    foreign = {"memory": 100.0, "resources": {"rack": 0.1}, "num_cpus": 1}
    kept = serve(ray_actor_options=foreign)
    driven = cluster(kept, {"l4": L4, "cores": {"num_cpus": 1}}, cores_key="cores")

    there = driven.apply(want("small@2l4", 2))
    on_devices = kept.config["deployments"][0]
    assert kept.asked_for == 1
    back = driven.apply(want("small-fast", 3))

    assert on_devices["ray_actor_options"] == {
        "memory": 100.0,
        "num_cpus": 1,
        "num_gpus": 2,
        "resources": {"rack": 0.1, MARK: 0.002},
    }
    assert on_devices["user_config"] == {"variant": "small@2l4", "batch_size": 1}
    assert [str(one) for one in there.changes] == [
        "only: variant small -> small@2l4",
        "only: num_gpus unset -> 2",
        f"only: {MARK} unset -> 0.002",
    ]
    assert len(kept.deployed) == 2
    on_cores = kept.config["deployments"][0]
    assert on_cores["ray_actor_options"] == {"memory": 100.0, "resources": {"rack": 0.1}, "num_cpus": 2}
    assert on_cores["user_config"]["cores"] == 2
    assert not back.waiting
    assert not driven.apply(want("small-fast", 3)).changes


def test_while_replicas_move_what_those_of_before_hold_is_counted() -> None:
    """Ray Serve does not say which they are, so all that serve and stop may hold devices."""
    on_devices = {"num_gpus": 2, "resources": {MARK: 0.002}}
    kept = serve("small@2l4", 4, ray_actor_options=on_devices)
    driven = cluster(kept, {"l4": L4, "cores": {"num_cpus": 1}}, cores_key="cores")
    before = copy.deepcopy(kept.config["deployments"][0])
    assert driven.look().stages[0].ending == ()
    driven.apply(want("small", 4))
    kept.running = before  # not taken up yet
    assert ("small@2l4", 4) in driven.look().stages[0].ending
    kept.running, kept.status = None, "UPDATING"
    assert ("small@2l4", 4) in driven.look().stages[0].ending
    kept.status = "HEALTHY"
    assert driven.look().stages[0].ending == ()


def test_without_placements_nothing_of_actor_options_is_written() -> None:
    problem = placed_stage()
    (stage,) = problem.pipeline.stages
    pipeline = replace(problem.pipeline, stages=(replace(stage, variants=stage.variants[:2]),))
    kept = serve(ray_actor_options={"num_cpus": 0.5})
    driven = RayServeCluster(
        definition(replace(problem, pipeline=pipeline)),
        settings({}, replace(problem, pipeline=pipeline)),
        NoLoads(),
    )
    driven.api = kept  # type: ignore[assignment]

    driven.apply(want("small-fast", 2))

    assert kept.config["deployments"][0]["ray_actor_options"] == {"num_cpus": 0.5}


def test_fewer_replicas_wait_until_those_with_other_resources_serve() -> None:
    kept = serve(replicas=4)
    driven = cluster(kept, {"l4": L4})

    kept.running = kept.config["deployments"][0]
    begun = driven.apply(want("small@l4", 1))
    at_once = driven.apply(want("small@l4", 1))
    kept.running, kept.status = None, "UPDATING"
    meanwhile = driven.apply(want("small@l4", 1))
    kept.status = "HEALTHY"
    finished = driven.apply(want("small@l4", 1))

    assert kept.deployed[0]["num_replicas"] == 4
    assert [str(one) for one in begun.waiting] == ["only: replicas 4 -> 1"]
    assert begun.waiting == at_once.waiting == meanwhile.waiting
    assert not at_once.changes
    assert not meanwhile.changes
    assert [str(one) for one in finished.changes] == ["only: replicas 4 -> 1"]
    assert kept.deployed[-1]["num_replicas"] == 1


def test_a_deployment_that_stops_replicas_before_others_serve_is_refused() -> None:
    kept = serve(max_surge_percent=0)
    driven = cluster(kept, {"l4": L4})

    applied = driven.apply(want("small@l4", 2))

    assert not kept.deployed
    assert "only: Ray Serve stops replicas of deployment only before those" in applied.refused[0]
    assert "fix: give the deployment max_surge_percent: 100" in applied.refused[0]
    assert applied.configuration == want("small", 2)
    assert driven.apply(want("small", 3)).changes  # replicas alone lose nothing


def test_what_is_written_is_what_ray_takes() -> None:
    schema = pytest.importorskip("ray.serve.schema")
    kept = serve()
    cluster(kept, {"l4": L4, "cores": {"num_cpus": 1}}).apply(want("small@l4", 2))

    deployment = schema.DeploymentSchema.model_validate(kept.config["deployments"][0])

    assert deployment.ray_actor_options.num_gpus == 1
    assert deployment.ray_actor_options.resources == {MARK: 0.001}
