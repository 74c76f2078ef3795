"""What is written first where replicas change in place and get fewer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl.live.cluster import StageSeen
from ipa_rl.live.ray_serve.cluster import DeploymentView, changed_before_shrinking, is_changing, view_stage
from ipa_rl.live.ray_serve.settings import DeploymentModel, ServeStage
from ipa_rl.pipeline import StageConfig
from ipa_rl.profiles import load_pipeline

STAGE = ServeStage(load_pipeline("video").stages[0], DeploymentModel(ongoing_batches=None))
NAMES = [variant.name for variant in STAGE.stage.variants]

configurations = st.builds(
    StageConfig, st.sampled_from(NAMES), st.sampled_from((1, 2, 4, 8)), st.integers(1, 9)
)


def view_of(present: StageConfig) -> DeploymentView:
    count, pair = present.replicas, (present.variant, present.batch)
    return DeploymentView(STAGE, StageSeen(STAGE.stage.name, count, count, count, *pair, asked=pair))


@given(configurations, configurations)
def test_a_stage_that_changes_in_place_never_shrinks_in_the_same_write(
    present: StageConfig, wanted: StageConfig
) -> None:
    view = view_of(present)
    first = changed_before_shrinking([view], {STAGE: wanted})[STAGE]
    changes = (present.variant, present.batch) != (wanted.variant, wanted.batch)
    assert (first.variant, first.batch) == (wanted.variant, wanted.batch)
    assert first.replicas == (max(present.replicas, wanted.replicas) if changes else wanted.replicas)


@given(configurations)
def test_stages_that_are_not_written_stay_so(present: StageConfig) -> None:
    view = view_of(present)
    assert changed_before_shrinking([view], {}) == {}


@pytest.mark.parametrize(
    ("states", "changing"), [([], False), (["RUNNING"], False), (["RUNNING", "UPDATING"], True)]
)
def test_a_stage_changes_while_one_of_its_replicas_does(states: list[str], changing: bool) -> None:
    deployments = {"crop": {"replicas": [{"state": state} for state in states]}, "other": {}}
    assert is_changing({"deployments": deployments}, [STAGE]) == changing


def test_replicas_that_stop_or_are_too_many_hold_what_they_have() -> None:
    config = {"num_replicas": 1, "user_config": {"variant": "yolov5s", "batch_size": 1}}
    replicas = [{"state": "RUNNING"}, {"state": "RUNNING"}, {"state": "STOPPING"}]
    details = {"status": "DOWNSCALING", "deployment_config": config, "replicas": replicas}
    seen = view_stage(STAGE, {"deployments": {"crop": details}}).seen
    assert seen.ending == (("yolov5s", 2),)


@pytest.mark.parametrize(
    ("status", "known"),
    [
        ("HEALTHY", True), ("UPSCALING", True), ("DOWNSCALING", True),
        ("UPDATING", False), ("UNHEALTHY", False), ("DEPLOY_FAILED", False),
    ],
)  # fmt: skip
def test_what_replicas_serve_is_known_only_where_none_changes_or_fails(status: str, known: bool) -> None:
    config = {"num_replicas": 2, "user_config": {"variant": "yolov5s", "batch_size": 1}}
    message = "The deployment failed to start\n 3 times in a row."
    replicas = [{"state": "RUNNING"}, {"state": "STARTING", "start_time_s": 1.0}]
    details = {"status": status, "message": message, "deployment_config": config, "replicas": replicas}
    seen = view_stage(STAGE, {"deployments": {"crop": details}}).seen
    assert (seen.variant, seen.batch) == (("yolov5s", 1) if known else (None, None))
    assert (seen.ready, seen.asked) == (1, ("yolov5s", 1))
    assert seen.trouble == "The deployment failed to start 3 times in a row."
