"""The YAML of a pipeline on Kubernetes, and the labels that stand for it."""

from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_rl.errors import InputError
from ipa_rl.live.kubernetes import Api, assumed, discover, load_description
from ipa_rl.live.kubernetes.description import KnobClass, describe
from ipa_rl.live.kubernetes.paths import parse_path
from tests.kubernetes_objects import Document, Namespace, deployment, inference_service
from tests.pipelines import definition_of, one_stage, two_stages

DEFINITION = definition_of(two_stages())
BOTH = {"first": {"name": "a"}, "second": {"name": "b"}}


def written(tmp_path: Path, stages: Any, **more: Any) -> Path:
    file = tmp_path / "stages.yaml"
    content = {"environment": "test", "stages": stages, **more}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


def test_a_user_writes_little(tmp_path: Path) -> None:
    description = load_description(written(tmp_path, BOTH, namespace="shop"), DEFINITION)

    first = description.stages[0]
    assert str(first) == "Deployment shop/a"
    assert first.variant.place == parse_path("env[name=IPA_VARIANT].value")
    assert first.batch.place == parse_path("env[name=IPA_BATCH_SIZE].value")
    assert first.variant.knob_class is KnobClass.cold
    assert first.cores
    assert first.writes_replicas
    assert description.namespaces == ("shop",)


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ({"first": {"name": "a"}}, "stages", "lacks second"),
        ({**BOTH, "third": {"name": "c"}}, "stages", "has unknown third"),
        ({**BOTH, "first": {"name": "a", "colour": "red"}}, "stages.first.colour", "not permitted"),
        ({**BOTH, "first": {}}, "stages.first.name", "required"),
        ({**BOTH, "first": {"name": "b"}}, "stages", "two stages name Deployment default/b"),
        ({**BOTH, "first": {"name": "a", "kind": "Pod"}}, "stages.first.kind", "Input should be"),
        (
            {**BOTH, "first": {"name": "a", "variant": {"values": {"small": "s", "huge": "h"}}}},
            "stages.first.variant.values",
            "has unknown huge and lacks medium, large",
        ),
        (
            {**BOTH, "first": {"name": "a", "replicas": {"delay_s": {"tiny": 3}}}},
            "stages.first.replicas.delay_s",
            "has unknown tiny",
        ),
        (
            {**BOTH, "first": {"name": "a", "variant": {"env": "A", "field": "image"}}},
            "stages.first.variant",
            "not both",
        ),
        ({**BOTH, "first": {"name": "a", "batch": {"class": "hot"}}}, "stages.first.batch", "put and get"),
        (
            {**BOTH, "first": {"name": "a", "variant": {"field": "a[b"}}},
            "stages.first.variant",
            "is not a path",
        ),
        (
            {**BOTH, "first": {"name": "a", "variant": {"field": "spec.x"}}},
            "stages.first.variant",
            "give seen",
        ),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(
    tmp_path: Path, change: Document, field: str, problem: str
) -> None:
    file = written(tmp_path, change)
    with pytest.raises(InputError) as caught:
        load_description(file, DEFINITION)
    assert caught.value.file == file
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert caught.value.fix


def test_a_description_of_another_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="environment: is video, the environment is test"):
        load_description(written(tmp_path, BOTH, environment="video"), DEFINITION)


@pytest.mark.parametrize("text", ["a: [", "- 1", ""])
def test_a_file_that_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "stages.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        load_description(file, DEFINITION)
    with pytest.raises(InputError, match="cannot be read"):
        load_description(tmp_path / "none.yaml", DEFINITION)


def test_measured_delays_are_what_the_simulator_assumes() -> None:
    stages = {
        "first": {"name": "a", "replicas": {"delay_s": {"large": 40}}, "variant": {"delay_s": 30}},
        "second": {"name": "b"},
    }
    description = describe({"environment": "test", "stages": stages}, DEFINITION, "text")

    changed = assumed(DEFINITION, description)

    delays = [[variant.start_up_s for variant in stage.variants] for stage in changed.pipeline.stages]
    assert delays == [[30.0, 30.0, 40.0], [9.0, 12.0, 15.0]]
    assert DEFINITION.pipeline.stages[0].variants[0].start_up_s == 9.0


def live(knob_class: str, delay_s: Any) -> Document:
    return {"class": knob_class, "put": "http://{ip}/{value}", "get": "http://{ip}/", "delay_s": delay_s}


def test_a_variant_that_running_servers_take_changes_in_place_after_its_delay() -> None:
    kept = {"manage": False}
    stages = {
        "first": {"name": "a", "cores": kept, "variant": live("hot", None), "replicas": {"delay_s": 40}},
        "second": {"name": "b", "cores": kept, "variant": live("warm", {"large": 3.5})},
    }
    description = describe({"environment": "test", "stages": stages}, DEFINITION, "text")

    first, second = assumed(DEFINITION, description).pipeline.stages

    assert [variant.reload_s for variant in first.variants] == [0.0, 0.0, 0.0]
    assert [variant.start_up_s for variant in first.variants] == [40.0, 40.0, 40.0]
    assert [variant.reload_s for variant in second.variants] == [0.0, 0.0, 3.5]
    assert [variant.start_up_s for variant in second.variants] == [9.0, 12.0, 15.0]


@pytest.mark.parametrize("described", [{"variant": {"delay_s": 5}}, {"variant": live("hot", 5)}])
def test_a_variant_that_takes_new_pods_is_rolled(described: Document) -> None:
    """A cold one, and one whose cores, which the container's follow, differ."""
    stages = {"first": {"name": "a", **described}, "second": {"name": "b"}}
    description = describe({"environment": "test", "stages": stages}, DEFINITION, "text")

    first, _ = assumed(DEFINITION, description).pipeline.stages

    assert {variant.reload_s for variant in first.variants} == {inf}


def opted_in(body: Document, stage: str, **marks: str) -> Document:
    body["metadata"]["labels"] = {"ipa-rl.dev/pipeline": "test"}
    body["metadata"]["annotations"] = {
        f"ipa-rl.dev/{key}": value for key, value in {"stage": stage, **marks}.items()
    }
    return body


def test_labels_and_annotations_say_what_the_file_would(namespace: Namespace) -> None:
    namespace.apply(opted_in(deployment("a"), "first", container="server", knobs="batch: {env: BATCH}"))
    namespace.apply(opted_in(deployment("b"), "second"))
    namespace.apply(deployment("c"))

    found = discover(Api(namespace.client), namespace.name, DEFINITION)

    stages = {
        "first": {"name": "a", "container": "server", "batch": {"env": "BATCH"}},
        "second": {"name": "b"},
    }
    content = {"environment": "test", "namespace": namespace.name, "stages": stages}
    assert found == describe(content, DEFINITION, "text")


def test_labels_that_do_not_fit_are_refused(namespace: Namespace) -> None:
    api = Api(namespace.client)
    namespace.apply(opted_in(deployment("a"), "first"))
    with pytest.raises(InputError, match="lacks second"):
        discover(api, namespace.name, DEFINITION)
    namespace.apply(opted_in(deployment("b"), "first"))
    with pytest.raises(InputError, match="is on both a and b"):
        discover(api, namespace.name, DEFINITION)
    namespace.apply(opted_in(deployment("b"), "second", knobs="colour: red"))
    with pytest.raises(InputError, match="has colour"):
        discover(api, namespace.name, DEFINITION)


def test_objects_of_any_kind_opt_in(namespace: Namespace, custom_kinds: None) -> None:
    namespace.apply(opted_in(inference_service("a"), "only"))

    found = discover(Api(namespace.client), namespace.name, definition_of(one_stage()))

    assert str(found.stages[0]) == f"InferenceService {namespace.name}/a"
