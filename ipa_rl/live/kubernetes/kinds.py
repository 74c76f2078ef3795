"""The kinds of objects that stages are, and where each keeps the pods' containers and the replicas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ipa_rl.live.kubernetes.api import Document
from ipa_rl.live.kubernetes.paths import Item, Path, find, parse_path, read

PREFIX = "ipa-rl.dev"
"""Of this project's labels and annotations."""

PAUSED = f"{PREFIX}/paused"


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    ``replicas``: paths of the fields that say how many; with ``scales`` they are written through the scale
    subresource. ``keyed``: the lists of its pods' template merge by key. ``pod_label``: label of its pods
    whose value is the object's name; empty where pods are found by their owners.
    """

    name: str
    api_version: str
    plural: str
    replicas: tuple[Path, ...]
    scales: bool
    keyed: bool
    pod_label: str = ""

    @property
    def group(self) -> str:
        """The API group."""
        return self.api_version.partition("/")[0]

    @property
    def resource(self) -> str:
        """The name that rules of RBAC give it."""
        return f"{self.plural}.{self.group}"

    def collection(self, namespace: str) -> str:
        """Where the API server keeps the objects of a namespace."""
        return f"/apis/{self.api_version}/namespaces/{namespace}/{self.plural}"


DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments", (parse_path("spec.replicas"),), True, True)
SELDON = Kind(
    "SeldonDeployment",
    "machinelearning.seldon.io/v1",
    "seldondeployments",
    (parse_path("spec.replicas"),),
    True,
    False,
    "seldon-deployment-id",
)
KSERVE = Kind(
    "InferenceService",
    "serving.kserve.io/v1beta1",
    "inferenceservices",
    (parse_path("spec.predictor.minReplicas"), parse_path("spec.predictor.maxReplicas")),
    False,
    False,
    "serving.kserve.io/inferenceservice",
)
KINDS = {kind.name: kind for kind in (DEPLOYMENT, SELDON, KSERVE)}


@dataclass(frozen=True)
class Container:
    """The container that serves a stage: its path in the object, its name in the pods."""

    path: Path
    name: str

    @property
    def pod(self) -> Path:
        """The path of the pod's spec, of which the object may hold more than that."""
        return self.path[:-1] if self.siblings is None else self.path[:-2]

    @property
    def siblings(self) -> Path | None:
        """The path of the list that holds all containers of the pod, None where it is the only one."""
        return self.path[:-1] if isinstance(self.path[-1], Item) else None


def keda_paused(document: Document | None) -> bool:
    """Whether KEDA's annotation holds an object."""
    return read(document, ("metadata", "annotations", "autoscaling.keda.sh/paused")) not in (None, "false")


def find_container(kind: Kind, live: Document, name: str | None) -> Container | str:
    """The container of that name (without a name the only one), or why it cannot be found."""
    if kind is KSERVE and name is None and read(live, ("spec", "predictor", "model")) is not None:
        return Container(("spec", "predictor", "model"), "kserve-container")  # as KServe names it in pods
    lists = list(_container_lists(kind, live))
    if name is None:
        names = [c["name"] for path in lists for c in read(live, path) or [] if "name" in c]
        if len(names) != 1:
            return f"has containers {', '.join(names) or '(none)'}; fix: say which with container: NAME"
        name = names[0]
    for path in lists:
        if find(read(live, path) or [], Item("name", name)) is not None:
            return Container((*path, Item("name", name)), name)
    return f"has no container {name}; fix: name one that it has"


def _container_lists(kind: Kind, live: Document) -> Iterator[Path]:
    """Paths of the lists of containers of an object."""
    if kind is DEPLOYMENT:
        yield parse_path("spec.template.spec.containers")
    elif kind is KSERVE:
        yield parse_path("spec.predictor.containers")
    else:
        for p, predictor in enumerate(read(live, ("spec", "predictors")) or []):
            for c in range(len(predictor.get("componentSpecs") or [])):
                yield parse_path(f"spec.predictors[{p}].componentSpecs[{c}].spec.containers")


def replicas_overridden(kind: Kind, live: Document) -> str:
    """Why writing ``spec.replicas`` of a SeldonDeployment changes nothing; empty where it does."""
    if kind is not SELDON:
        return ""
    overriding: list[str] = []
    for p, predictor in enumerate(read(live, ("spec", "predictors")) or []):
        place = f"spec.predictors[{p}]"
        overriding += [f"{place}.replicas"] if predictor.get("replicas") is not None else []
        for c, component in enumerate(predictor.get("componentSpecs") or []):
            given = (name for name in ("replicas", "hpaSpec", "kedaSpec") if component.get(name) is not None)
            overriding += [f"{place}.componentSpecs[{c}].{name}" for name in given]
    return f"{overriding[0]} overrides spec.replicas; fix: remove it" if overriding else ""


def update_strategy(kind: Kind, live: Document) -> dict[str, Any] | None:
    """How a Deployment's pods are replaced; None where something else replaces them.

    A SeldonDeployment's operator decides itself; so does KServe, unless it makes Deployments (its mode
    ``RawDeployment``, since 0.16 ``Standard``).
    """
    if kind is DEPLOYMENT:
        return read(live, ("spec", "strategy")) or {}
    given = read(live, ("spec", "predictor", "deploymentStrategy"))
    mode = read(live, ("metadata", "annotations", "serving.kserve.io/deploymentMode"))
    if kind is KSERVE and (given or mode in ("RawDeployment", "Standard")):
        return given or {}
    return None
