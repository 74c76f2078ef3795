"""What is ours of an object, and what to apply so that it stays ours and the rest stays another's."""

from typing import Any

from ipa_rl.live.kubernetes.managed_fields import applied_document, owned_part
from ipa_rl.live.kubernetes.paths import parse_path


def test_the_part_that_is_owned_keeps_keys_sets_and_whole_lists() -> None:
    live = {
        "spec": {
            "items": [{"name": "a", "value": 1, "other": 2}, {"name": "b", "value": 3}],
            "whole": [1, {"x": 2}],
            "set": ["u", "v"],
            "others": 5,
        }
    }
    owned = {
        "f:spec": {
            "f:items": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:value": {}}},
            "f:whole": {},
            "f:set": {'v:"v"': {}},
            "f:gone": {},
        }
    }
    part = {"items": [{"name": "a", "value": 1}], "whole": [1, {"x": 2}], "set": ["v"]}
    assert owned_part(live, owned) == {"spec": part}


def a_pod(*entries: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """An object of two containers, with who owns what of it."""
    managed = [{"manager": name, "operation": "Apply", "fieldsV1": {"f:spec": own}} for name, own in entries]
    metadata = {"name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7", "managedFields": managed}
    containers = [{"name": "server", "image": "x"}, {"name": "log", "image": "y"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


IMAGE = parse_path("spec.containers[name=server].image")
ITEM: dict[str, Any] = {'k:{"name":"server"}': {".": {}, "f:name": {}, "f:image": {}}}


def test_of_a_list_with_keys_only_the_item_that_changes_is_applied() -> None:
    body = applied_document(a_pod(("team", {"f:containers": ITEM})), {IMAGE: "z"}, keyed=True)
    assert body["spec"] == {"containers": [{"name": "server", "image": "z"}]}
    assert body["metadata"]["resourceVersion"] == "7"


def test_a_list_that_has_one_owner_is_applied_whole() -> None:
    whole = [{"name": "server", "image": "z"}, {"name": "log", "image": "y"}]
    for live in (a_pod(("ipa-rl", {"f:containers": {}})), a_pod()):
        body = applied_document(live, {IMAGE: "z"}, keyed=False)
        assert body["spec"] == {"containers": whole}
        assert live["spec"]["containers"][0]["image"] == "x"
    by_position = {parse_path("spec.containers[0].image"): "z"}
    assert applied_document(a_pod(), by_position, keyed=True)["spec"] == {"containers": whole}


def test_what_is_ours_already_is_applied_again() -> None:
    live = a_pod(("ipa-rl", {"f:containers": ITEM}))
    log = {parse_path("spec.containers[name=log].image"): "z"}
    containers = applied_document(live, log, keyed=True)["spec"]["containers"]
    assert containers == [{"name": "server", "image": "x"}, {"name": "log", "image": "z"}]
