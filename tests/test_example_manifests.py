"""The manifests of deploy/examples/video, as they stand in the files."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ipa_rl.environment.definition_file import load_definition
from ipa_rl.live.kubernetes import load_description
from ipa_rl.live.kubernetes.description import KNOBS, PIPELINE, STAGE, describe
from ipa_rl.live.prometheus_settings import read_settings
from tests.example_pipeline import EXAMPLE

DEFINITION = load_definition("video")
FILES = ("crop.yaml", "classification.yaml", "router.yaml", "load.yaml")


def documents(*files: str) -> list[dict[str, Any]]:
    """All objects of the files."""
    return [one for file in files for one in yaml.safe_load_all((EXAMPLE / file).read_text(encoding="utf-8"))]


def stages() -> list[dict[str, Any]]:
    """The Deployments that opt in."""
    found = [one for one in documents(*FILES) if PIPELINE in one["metadata"].get("labels", {})]
    assert len(found) == 2
    return found


def pods() -> list[dict[str, Any]]:
    """The templates of all pods."""
    return [one["spec"]["template"]["spec"] for one in documents(*FILES) if "template" in one.get("spec", {})]


def test_the_description_is_that_of_the_environment() -> None:
    description = load_description(EXAMPLE / "pipeline.yaml", DEFINITION)
    assert [stage.name for stage in description.stages] == ["video-crop", "video-classification"]


def test_labels_and_annotations_say_what_the_description_says() -> None:
    found = {
        one["metadata"]["annotations"][STAGE]: {
            "name": one["metadata"]["name"],
            "container": one["spec"]["template"]["spec"]["containers"][0]["name"],
            **yaml.safe_load(one["metadata"]["annotations"][KNOBS]),
        }
        for one in stages()
    }
    by_labels = describe(
        {"environment": "video", "namespace": "video", "stages": found}, DEFINITION, "labels"
    )
    assert by_labels == load_description(EXAMPLE / "pipeline.yaml", DEFINITION)


def test_what_ipa_rl_writes_is_left_out_of_what_is_applied() -> None:
    for one in stages():
        env = {e["name"]: e["value"] for e in one["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert "replicas" not in one["spec"]
        assert not {"IPA_VARIANT", "IPA_BATCH_SIZE"} & env.keys()
        assert env["IPA_STAGE"] == one["metadata"]["annotations"][STAGE]


def test_capacity_never_drops_in_a_rolling_update() -> None:
    for one in stages():
        assert one["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "100%"}


@pytest.mark.parametrize("number", range(4))
def test_pods_have_no_rights_that_they_do_not_need(number: int) -> None:
    pod = pods()[number]
    assert "hostPath" not in str(pod)
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        assert container["image"] == "ipa-rl:latest"
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_the_router_has_the_limits_of_the_environment() -> None:
    router = next(one for one in documents("router.yaml") if one["kind"] == "Deployment")
    env = {e["name"]: e["value"] for e in router["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert float(env["IPA_SLA_S"]) == DEFINITION.problem.sla_s
    assert float(env["IPA_DROP_LIMIT_S"]) == DEFINITION.timing.drop_limit_s
    assert float(env["IPA_BATCH_TIMEOUT_S"]) == DEFINITION.timing.batch_timeout_s


def test_the_load_of_the_sidecar_is_understood() -> None:
    content = yaml.safe_load((EXAMPLE / "sidecar.yaml").read_text(encoding="utf-8"))
    assert read_settings(content["load"], EXAMPLE / "sidecar.yaml").limit_s() == 6.0
