"""What Kustomize builds of deploy/: the pods' rights, the settings, who is allowed what on paper."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ipa_rl.cli.sidecar import sidecar
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.live.kubernetes import load_description
from ipa_rl.live.kubernetes.description import ROLE, write_roles
from ipa_rl.live.prometheus_settings import read_settings as read_load
from ipa_rl.sidecar.settings import Mode, read_settings
from tests.manifests import (
    DEPLOY,
    OVERLAYS,
    ROOT,
    built,
    controller,
    in_namespace,
    needs_kustomize,
    of_kind,
    overlay,
    settings_text,
)

pytestmark = needs_kustomize

WITH_PODS = ("shadow", "act", "sidecar")
LOOKS = {"get", "list"}
HISTORY = DEPLOY / "kustomize" / "components" / "history"


def rules(name: str) -> dict[str, list[dict[str, Any]]]:
    """Rules of the controller's Roles in an overlay, by the Role's name."""
    return {one["metadata"]["name"]: one["rules"] for one in of_kind(overlay(name), "Role")}


def write_settings(folder: Path, name: str) -> Path:
    """The settings of an overlay as a file."""
    path = folder / "sidecar.yaml"
    path.write_text(settings_text(overlay(name)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "mode"), [("shadow", Mode.shadow), ("act", Mode.act), ("sidecar", Mode.shadow)]
)
def test_the_settings_are_read_and_observe_only_unless_the_overlay_acts(
    tmp_path: Path, name: str, mode: Mode
) -> None:
    settings = read_settings(write_settings(tmp_path, name))
    assert settings.mode is mode
    assert settings.leader_election
    assert (settings.leader_election.namespace, settings.leader_election.name) == (None, "ipa-rl")
    assert settings.cluster == {"discover": None}
    assert settings.load is not None
    assert read_load(settings.load, settings.file).limit_s() == 15.0


def test_acting_has_limits_and_a_way_back(tmp_path: Path) -> None:
    settings = read_settings(write_settings(tmp_path, "act"))
    assert settings.demotion is not None
    limits = settings.guard
    assert None not in (limits.core_budget, limits.step_cores, limits.step_replicas)


def test_acting_and_watching_differ_in_nothing_else() -> None:
    shadow, act = (yaml.safe_load(settings_text(overlay(name))) for name in ("shadow", "act"))
    assert {**shadow, "mode": "act"} == {k: v for k, v in act.items() if k not in ("guard", "demotion")}


@pytest.mark.parametrize("name", WITH_PODS)
def test_the_container_writes_nowhere_but_into_what_is_mounted(name: str) -> None:
    settings = yaml.safe_load(settings_text(overlay(name)))
    pod, container = controller(overlay(name))
    volumes = {one["name"]: one for one in pod["volumes"]}
    mounts = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
    assert "emptyDir" in mounts[str(Path(settings["state"]).parent)]
    assert "emptyDir" in mounts[str(Path(settings["decision_log"]["path"]).parent)]
    assert "emptyDir" in mounts[str(Path(settings["load_history"]["path"]).parent)]
    log, days = settings["decision_log"], settings["load_history"]["days"]
    loads_mb = 2 * 1.25 * days * 86_400 * len("1700000000,1234\n") / 1e6  # twice, while it is written anew
    assert log["size_mb"] * (log["backups"] + 1) + loads_mb < 200  # of the volume's 200 MiB
    assert container["args"] == ["--config", "/etc/ipa-rl/sidecar.yaml"]
    assert mounts["/etc/ipa-rl"]["configMap"]["name"].startswith("ipa-rl-settings-")


@pytest.mark.parametrize("name", WITH_PODS)
def test_pods_keep_the_restricted_standard(name: str) -> None:
    pod, container = controller(overlay(name))
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = container["securityContext"]
    assert own["readOnlyRootFilesystem"]
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert {next(iter(set(one) - {"name"})) for one in pod["volumes"]} <= {"configMap", "emptyDir"}


@pytest.mark.parametrize("name", WITH_PODS)
def test_pods_ask_for_what_was_measured(name: str) -> None:
    _, container = controller(overlay(name))
    assert container["resources"] == {
        "requests": {"cpu": "50m", "memory": "160Mi"},
        "limits": {"memory": "256Mi"},
    }
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_a_pod_of_its_own_is_ready_once_a_step_succeeded_and_a_router_does_not_wait_for_that() -> None:
    _, alone = controller(overlay("shadow"))
    assert alone["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    _, beside = controller(overlay("sidecar"))
    assert "readinessProbe" not in beside


def test_beside_a_router_there_are_no_other_pods_and_the_routers_account_has_the_rights() -> None:
    documents = overlay("sidecar")
    pod, _ = controller(documents)
    assert [one["name"] for one in pod["containers"]] == ["ipa-rl", "router"]
    names = {one["metadata"]["name"] for one in of_kind(documents, "Deployment", "PodDisruptionBudget")}
    assert "ipa-rl" not in names
    bound = of_kind(documents, "RoleBinding")
    assert {one["roleRef"]["name"] for one in bound} == {"ipa-rl-lease", "ipa-rl-read", "video-router"}
    assert {one["subjects"][0]["name"] for one in bound} == {pod["serviceAccountName"]}


def test_in_shadow_mode_no_rule_writes_anything_but_the_lease() -> None:
    for name in ("shadow", "sidecar"):
        found = rules(name)
        assert "ipa-rl-write" not in found
        assert all(set(rule["verbs"]) <= LOOKS for rule in found["ipa-rl-read"])
        assert {r for rule in found["ipa-rl-lease"] for r in rule["resources"]} == {"leases"}


def test_acting_adds_rights_to_patch_the_objects_and_to_write_events() -> None:
    found = rules("act")
    assert {rule: found[rule] for rule in rules("shadow")} == rules("shadow")
    assert {verb for rule in found["ipa-rl-write"] for verb in rule["verbs"]} == {"patch", "create"}
    creates = [rule["resources"] for rule in found["ipa-rl-write"] if "create" in rule["verbs"]]
    assert creates == [["events"]]


def test_rights_to_act_are_for_objects_by_name() -> None:
    """Those of the demonstration here; `ipa-rl sidecar --role` prints those of a pipeline."""
    for rule in rules("act")["ipa-rl-write"]:
        assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["video-classification", "video-crop"]
    description = load_description(DEPLOY / "examples" / "video" / "pipeline.yaml", load_definition("video"))
    (role,) = write_roles(description)
    assert role["rules"] == rules("act")["ipa-rl-write"]
    (bound,) = [one for one in of_kind(overlay("act"), "RoleBinding") if one["metadata"]["name"] == ROLE]
    assert bound["roleRef"]["name"] == role["metadata"]["name"]


PIPELINE = """
environment: video
cluster:
  environment: video
  namespace: shop
  stages:
    crop: {kind: InferenceService, name: one}
    classification: {kind: SeldonDeployment, name: two}
"""


def test_the_rights_that_the_command_prints_take_the_place_of_the_demonstrations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the guide has it: printed into a file, and patched in by an overlay of one's own."""
    (tmp_path / "sidecar.yaml").write_text(PIPELINE, encoding="utf-8")
    sidecar(tmp_path / "sidecar.yaml", role=True)
    (tmp_path / "role.yaml").write_text(capsys.readouterr().out, encoding="utf-8")
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    (text,) = [
        one.split("```")[0] for one in page.split("```yaml\n") if one.startswith("patches:\n- path: role")
    ]
    own = {"namespace": "shop", "resources": [os.path.relpath(OVERLAYS / "act", tmp_path.resolve())]}
    content = yaml.safe_dump(own | yaml.safe_load(text))
    (tmp_path / "kustomization.yaml").write_text(content, encoding="utf-8")
    (role,) = [one for one in of_kind(built(tmp_path), "Role") if one["metadata"]["name"] == ROLE]
    assert role["metadata"]["namespace"] == "shop"
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in role["rules"]] == [
        (["seldondeployments", "seldondeployments/scale"], ["two"], ["patch"]),
        (["inferenceservices"], ["one"], ["patch"]),
        (["events"], None, ["create"]),
    ]


def test_no_right_reaches_beyond_the_namespace_or_is_a_wildcard() -> None:
    for name in WITH_PODS:
        documents = overlay(name)
        assert not of_kind(documents, "ClusterRole", "ClusterRoleBinding")
        assert "'*'" not in str([one["rules"] for one in of_kind(documents, "Role")])


def test_two_copies_are_kept_apart_and_not_evicted_at_once() -> None:
    documents = overlay("act")
    (deployment,) = of_kind(documents, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    (budget,) = of_kind(documents, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for selector in (
        budget["spec"]["selector"]["matchLabels"],
        of_kind(documents, "NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"],
        of_kind(documents, "Service")[0]["spec"]["selector"],
        of_kind(overlay("monitoring"), "PodMonitor")[0]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


def test_only_the_metrics_are_let_in_and_only_what_is_asked_is_let_out() -> None:
    (policy,) = of_kind(overlay("act"), "NetworkPolicy")
    spec = policy["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert [port["port"] for rule in spec["ingress"] for port in rule["ports"]] == [9404]
    let_out = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    assert let_out == {53, 443, 6443, 9090, 8080}
    anywhere = [{port["port"] for port in rule["ports"]} for rule in spec["egress"] if "to" not in rule]
    assert anywhere == [{443, 6443}]


def test_beside_a_router_only_prometheus_is_let_in_to_the_metrics_and_anybody_to_the_router() -> None:
    documents = overlay("sidecar")
    (policy,) = (one for one in of_kind(documents, "NetworkPolicy") if one["metadata"]["name"] == "ipa-rl")
    (router,) = (one for one in of_kind(documents, "Deployment") if one["metadata"]["name"] == "video-router")
    spec, pod = policy["spec"], router["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert spec["policyTypes"] == ["Ingress"]  # what the router asks is the router's matter
    served = {one["containerPort"] for container in pod["spec"]["containers"] for one in container["ports"]}
    let_in = {port["port"]: "from" in rule for rule in spec["ingress"] for port in rule["ports"]}
    assert let_in == {8080: False, 9404: True}
    assert let_in.keys() == served


def test_another_namespace_is_one_line_of_an_overlay(tmp_path: Path) -> None:
    documents = in_namespace(tmp_path, "act", "shop")
    assert {one["metadata"]["namespace"] for one in documents} == {"shop"}
    for binding in of_kind(documents, "RoleBinding"):
        assert binding["subjects"][0]["namespace"] == "shop"


def test_the_overlay_of_the_guide_builds(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    (text,) = [one.split("```")[0] for one in page.split("```yaml\n") if one.startswith("# my-pipeline")]
    folder = tmp_path / "my-pipeline"
    folder.mkdir()
    (folder / "sidecar.yaml").write_text("environment: video\n", encoding="utf-8")
    (tmp_path / "deploy").symlink_to(DEPLOY)
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    documents = built(folder)
    assert re.fullmatch(r"registry\.example/ipa-rl@sha256:[0-9a-f]{64}", controller(documents)[1]["image"])
    assert settings_text(documents) == "environment: video\n"
    assert {one["metadata"]["namespace"] for one in documents} == {"shop"}


def test_beside_a_router_acting_is_one_component_more(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    (text,) = [one.split("```")[0] for one in page.split("```yaml\n") if one.startswith("components:")]
    own = OVERLAYS / "sidecar"
    base = (own / "kustomization.yaml").read_text(encoding="utf-8").split("- target: {kind: RoleBinding")[0]
    kustomize = os.path.relpath(own.parent.parent, tmp_path.resolve())
    more = yaml.safe_load(text)
    content = yaml.safe_load(base)
    content["patches"] += more["patches"]
    content["components"] = [one.replace("../..", kustomize) for one in more["components"]]
    content["resources"] = [
        f"{kustomize}/base",
        os.path.relpath(DEPLOY / "examples/video", tmp_path.resolve()),
    ]
    (tmp_path / "container.yaml").write_text((own / "container.yaml").read_text(encoding="utf-8"))
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    bound = of_kind(built(tmp_path), "RoleBinding")
    assert "ipa-rl-write" in {one["roleRef"]["name"] for one in bound}
    assert {one["subjects"][0]["name"] for one in bound} == {"video-router"}


def test_other_settings_bring_new_pods() -> None:
    names = {controller(overlay(name))[0]["volumes"][0]["configMap"]["name"] for name in ("shadow", "act")}
    assert len(names) == 2


def test_rules_for_the_operator_are_those_of_the_file() -> None:
    rules_file = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))
    (operator,) = of_kind(overlay("monitoring"), "PrometheusRule")
    assert operator["spec"] == rules_file


def test_what_was_learned_outlives_the_pod_with_the_component_history(tmp_path: Path) -> None:
    folder = tmp_path / "overlay"
    folder.mkdir()
    resource, component = (os.path.relpath(one, folder) for one in (OVERLAYS / "shadow", HISTORY))
    content: dict[str, Any] = {"kind": "Kustomization", "apiVersion": "kustomize.config.k8s.io/v1beta1"}
    content |= {"resources": [resource], "components": [component]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    objects = built(folder)
    claims = [one["metadata"]["name"] for one in objects if one["kind"] == "PersistentVolumeClaim"]
    (deployment,) = (one["spec"] for one in objects if one["kind"] == "Deployment")
    (volume,) = (one for one in deployment["template"]["spec"]["volumes"] if one["name"] == "state")
    assert volume == {"name": "state", "persistentVolumeClaim": {"claimName": claims[0]}}
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
