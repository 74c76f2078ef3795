"""Which objects the stages are and where their knobs live: a YAML file, or labels and annotations.

The models (pydantic) say what the file may hold. They are checked once, here, and trusted everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path as File
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ipa_rl import documents
from ipa_rl.documents import Delay, Name, StrictModel
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.live.kubernetes.api import Api, ApiError, Document
from ipa_rl.live.kubernetes.kinds import KINDS, PREFIX, Container, Kind
from ipa_rl.live.kubernetes.paths import Item, Path, parse_path
from ipa_rl.live.kubernetes.placements import Placement, PlacementModel, best_placed, placements_of
from ipa_rl.pipeline import CORES, Stage
from ipa_rl.yaml_text import parse

_SEE = "docs/reference/kubernetes.md"

PIPELINE = f"{PREFIX}/pipeline"
STAGE = f"{PREFIX}/stage"
CONTAINER = f"{PREFIX}/container"
KNOBS = f"{PREFIX}/knobs"

ROLE = "ipa-rl-write"

Delays = Delay | dict[str, Delay] | None


class KnobClass(StrEnum):
    """What a change needs: nothing (hot), a reload in running servers (warm), new pods (cold)."""

    hot = "hot"
    warm = "warm"
    cold = "cold"


class Knob(StrictModel):
    """Where a knob lives: an environment variable, or a field, of the container or of the object.

    ``field``: a path within the container, or, where it begins with ``spec.`` or ``metadata.``, within the
    object; then ``seen`` is its path within the pods. ``values``: what is written by variant (by batch size),
    where it is not its name. ``put``, ``get``: URLs at which a running server takes and tells the value, with
    ``{ip}`` and ``{value}``; hot and warm knobs live there, and in no field.
    """

    env: Name | None = None
    field: Name | None = None
    seen: Name | None = None
    values: dict[str, str] = Field(default_factory=dict)
    knob_class: Annotated[KnobClass, Field(alias="class")] = KnobClass.cold
    delay_s: Delays = None
    put: Name | None = None
    get: Name | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Knob:
        if self.env and self.field:
            raise ValueError("give env or field, not both")
        _ = self.place, self.seen and parse_path(self.seen)  # ValueError where one is not a path
        if self.of_object and not self.seen:
            raise ValueError("give seen: where the pods show what field says")
        if self.cold == bool(self.put and self.get) or (not self.cold and (self.env or self.field)):
            raise ValueError("a hot or warm knob has put and get, a cold one env or field")
        return self

    def or_env(self, variable: str) -> Knob:
        """The same, in that environment variable of the container where nothing says its place."""
        return self if self.env or self.field or self.put else self.model_copy(update={"env": variable})

    @property
    def cold(self) -> bool:
        """Whether a change needs new pods."""
        return self.knob_class is KnobClass.cold

    @property
    def place(self) -> Path:
        """The path of a cold knob within the container, or within the object where `of_object`."""
        return parse_path(self.field or f"env[name={self.env}].value")

    @property
    def of_object(self) -> bool:
        """Whether the path begins at the object."""
        return (self.field or "").startswith(("spec.", "metadata."))

    def path(self, container: Container) -> Path:
        """Where the object keeps a cold knob."""
        return self.place if self.of_object else (*container.path, *self.place)

    def pod_path(self, container: str) -> Path:
        """Where the pods show a cold knob."""
        seen = parse_path(self.seen) if self.seen else self.place
        return seen if self.of_object else ("spec", "containers", Item("name", container), *seen)

    def written(self, name: str) -> str:
        """The field's value for a variant or batch size."""
        return self.values.get(name, name)

    def meant(self, value: Any, names: list[str]) -> list[str]:
        """Which of the names a field's value stands for."""
        written = [name for name in names if self.written(name) == str(value)]
        return written or [name for name in names if name == str(value)]


class CoresModel(StrictModel):
    """Whether the container's cores follow the variant's base allocation (requests, and limits too)."""

    manage: bool = True
    limits: bool = True


class ReplicasModel(StrictModel):
    """Whether replicas are written, or published as a metric for an autoscaler to follow."""

    mode: Literal["write", "publish"] = "write"
    delay_s: Delays = None


class StageObjectModel(StrictModel):
    """The object of a stage and its knobs."""

    kind: Literal["Deployment", "SeldonDeployment", "InferenceService"] = "Deployment"
    name: Name
    namespace: Name | None = None
    container: Name | None = None
    variant: Knob = Knob()
    batch: Knob = Knob()
    cores: CoresModel = CoresModel()
    replicas: ReplicasModel = ReplicasModel()


class DescriptionModel(StrictModel):
    """The file as a whole."""

    environment: Name
    namespace: Name = "default"
    stages: dict[str, StageObjectModel]
    placements: dict[str, PlacementModel] = Field(default_factory=dict)


@dataclass(frozen=True)
class StageObject:
    """The object that a stage is.

    ``cores``: requests, limits or both, where they follow the variant; empty where neither does.
    ``placements``: of its variants, by the resource's name in the environment.
    ``writes_replicas``: false where they are published instead. ``start_up_s``: by variant, where it was
    measured. ``reload_s``: by variant, as `ipa_rl.pipeline.Variant` has it: infinite where a change needs new
    pods.
    """

    stage: Stage
    kind: Kind
    name: str
    namespace: str
    container: str | None
    variant: Knob
    batch: Knob
    cores: tuple[str, ...]
    placements: Mapping[str, Placement]
    writes_replicas: bool
    start_up_s: Mapping[str, float]
    reload_s: Mapping[str, float]

    @property
    def knobs(self) -> dict[str, Knob]:
        """The knobs beside replicas and cores, by the name that configurations give them."""
        return {"variant": self.variant, "batch": self.batch}

    @property
    def replicas_paths(self) -> tuple[Path, ...]:
        """Paths of the fields that say how many replicas; none where they are published."""
        return self.kind.replicas if self.writes_replicas else ()

    def meant_batch(self, value: Any) -> int | None:
        """The batch size that a field's value stands for, None where the stage has no such one."""
        sizes = {str(one): one for one in self.stage.variants[0].batches}
        names = self.batch.meant(value, list(sizes))
        return sizes[names[0]] if names else None

    def meant_variant(self, value: Any, pod: Document, container: Document) -> str | None:
        """The variant that a field's value stands for, None where the stage has no such one.

        Of several that have the value, it is the one that the spec of the pod and its container is placed as.
        """
        names = self.variant.meant(value, [one.name for one in self.stage.variants])
        if len(names) < 2:
            return names[0] if names else None
        return best_placed(self.placements, [self.stage.variant(name) for name in names], pod, container).name

    @property
    def changes_in_place(self) -> bool:
        """Whether running pods change to another variant."""
        return all(map(math.isfinite, self.reload_s.values()))

    @property
    def path(self) -> str:
        """Where the API server keeps it."""
        return f"{self.kind.collection(self.namespace)}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class KubernetesDescription:
    """The objects of all stages of a pipeline, in its order."""

    stages: tuple[StageObject, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces that hold stages, each once."""
        return tuple(dict.fromkeys(stage.namespace for stage in self.stages))


def load_description(path: str | File, definition: Definition) -> KubernetesDescription:
    """Read and check the YAML of a pipeline on Kubernetes. Raises InputError: file, field, fix."""
    file = File(path)
    return _described(documents.load(file, DescriptionModel, _SEE), definition, file)


def describe(
    content: object, definition: Definition, source: str | File, under: str = ""
) -> KubernetesDescription:
    """Check what labels or a part of a file say. Raises InputError.

    ``source`` names them in errors, ``under`` the field of a file that holds them.
    """
    return _described(documents.check(content, DescriptionModel, _SEE, source, under), definition, source)


def discover(api: Api, namespace: str, definition: Definition) -> KubernetesDescription:
    """The description that labelled objects of a namespace make. Raises InputError: object, field, fix.

    Label ``ipa-rl.dev/pipeline: NAME`` (of the environment) and annotation ``ipa-rl.dev/stage: STAGE``;
    ``ipa-rl.dev/container: NAME`` where the pods have several; ``ipa-rl.dev/knobs`` holds, as YAML, what the
    file would say of variant, batch, cores and replicas.
    """
    source = f"labels in namespace {namespace}"
    stages: dict[str, dict[str, Any]] = {}
    for kind in KINDS.values():
        try:
            labelled = api.items(kind.collection(namespace), f"{PIPELINE}={definition.name}")
        except ApiError as error:
            if error.status != 404:
                raise
            labelled = []  # the kind is not installed
        for live in labelled:
            name, found = stage_of_marks(kind, live)
            if name in stages:
                problem = f"is on both {stages[name]['name']} and {found['name']}"
                fix = "label one object for each stage"
                raise InputError(problem, file=source, field=f"{STAGE}: {name}", fix=fix)
            stages[name] = found
    content = {"environment": definition.name, "namespace": namespace, "stages": stages}
    return describe(content, definition, source)


def stage_of_marks(kind: Kind, live: Document) -> tuple[str, dict[str, Any]]:
    """The stage that a labelled object is, and what its annotations say of it. Raises InputError."""
    metadata = live["metadata"]
    marks = metadata.get("annotations") or {}
    source = f"{kind.name} {metadata['namespace']}/{metadata['name']}"
    if STAGE not in marks:
        raise InputError("is missing", file=source, field=STAGE, fix="annotate it with the stage's name")
    knobs = parse(marks.get(KNOBS, "{}"), source, KNOBS).content or {}
    unknown = set(knobs) - {"variant", "batch", "cores", "replicas"} if isinstance(knobs, dict) else {"text"}
    if unknown:
        fix = "give variant, batch, cores, replicas"
        raise InputError(f"has {', '.join(sorted(map(str, unknown)))}", file=source, field=KNOBS, fix=fix)
    container = {"container": marks[CONTAINER]} if CONTAINER in marks else {}
    return marks[STAGE], {"kind": kind.name, "name": metadata["name"], **container, **knobs}


def assumed(definition: Definition, description: KubernetesDescription) -> Definition:
    """The environment with the delays that the description measured; other start-ups stay the profile's.

    Where the variant is a hot or warm knob it changes in place, after the knob's delay; where it is cold, or
    the container's cores change with it, by a rolling update. A start-up delay is that from a decision to a
    ready replica, so ``start_up_scale`` does not scale it. The stages tell whether a batch size is cold.
    """
    scale = definition.timing.start_up_scale or 1.0
    stages = []
    for stage, described in zip(definition.pipeline.stages, description.stages, strict=True):
        start_up_s = {name: delay_s / scale for name, delay_s in described.start_up_s.items()}
        delayed = stage.with_delays(start_up_s, described.reload_s)
        stages.append(replace(delayed, cold_batch=described.batch.cold, rolls_whole=True))
    return definition.with_problem(pipeline=replace(definition.pipeline, stages=tuple(stages)))


def write_roles(description: KubernetesDescription) -> list[Document]:
    """The rights that acting needs: a Role for each namespace, of the name that `deploy/kustomize` binds.

    Whoever may patch a Deployment may change all of its template, and so run what they like under its
    account: the rights are for the described objects alone, each by name.
    """
    roles: list[Document] = []
    for namespace in description.namespaces:
        rules: list[Document] = []
        for kind in KINDS.values():
            names = {one.name for one in description.stages if (one.kind, one.namespace) == (kind, namespace)}
            if names:
                resources = [kind.plural, f"{kind.plural}/scale"] if kind.scales else [kind.plural]
                objects = {"apiGroups": [kind.group], "resources": resources, "resourceNames": sorted(names)}
                rules.append({**objects, "verbs": ["patch"]})
        rules.append({"apiGroups": [""], "resources": ["events"], "verbs": ["create"]})
        labels = {"app.kubernetes.io/name": "ipa-rl"}
        metadata = {"name": ROLE, "namespace": namespace, "labels": labels}
        head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}
        roles.append({**head, "rules": rules})
    return roles


def _described(model: DescriptionModel, definition: Definition, source: str | File) -> KubernetesDescription:
    if model.environment != definition.name:
        problem = f"is {model.environment}, the environment is {definition.name}"
        fix = "use the description of the environment that runs"
        raise InputError(problem, file=source, field="environment", fix=fix)
    pipeline = definition.pipeline
    _check_names(model.stages, [stage.name for stage in pipeline.stages], source, "stages")
    _check_names(model.placements, [*pipeline.resources], source, "placements", all_needed=False)
    if CORES in model.placements and model.placements[CORES].resource is not None:
        raise InputError("is always cpu", file=source, field=f"placements.{CORES}.resource", fix="remove it")
    stages = [_stage_object(one, model, source) for one in pipeline.stages]
    objects = [str(stage) for stage in stages]
    for one in objects:
        if objects.count(one) > 1:
            fix = "give each stage an object of its own"
            raise InputError(f"two stages name {one}", file=source, field="stages", fix=fix)
    return KubernetesDescription(tuple(stages))


def _stage_object(stage: Stage, whole: DescriptionModel, source: str | File) -> StageObject:
    model, namespace = whole.stages[stage.name], whole.namespace
    names, place = [variant.name for variant in stage.variants], f"stages.{stage.name}"
    batches = [str(b) for b in stage.variants[0].batches]
    _check_names(model.variant.values or names, names, source, f"{place}.variant.values")
    _check_names(model.batch.values or batches, batches, source, f"{place}.batch.values")
    change_s = _delays(model.variant.delay_s, names, source, f"{place}.variant.delay_s")
    start_s = _delays(model.replicas.delay_s, names, source, f"{place}.replicas.delay_s")
    variant, batch = model.variant.or_env("IPA_VARIANT"), model.batch.or_env("IPA_BATCH_SIZE")
    placements = placements_of(stage, whole.placements, source)
    _check_placed(stage, variant, placements, source)
    followed = {one.units for one in stage.variants if one.resource != CORES or model.cores.manage}
    new_pods = variant.cold or len(followed) > 1
    return StageObject(
        stage=stage,
        kind=KINDS[model.kind],
        name=model.name,
        namespace=model.namespace or namespace,
        container=model.container,
        variant=variant,
        batch=batch,
        cores=(("requests", "limits") if model.cores.limits else ("requests",)) if model.cores.manage else (),
        placements=placements,
        writes_replicas=model.replicas.mode == "write",
        start_up_s=(change_s if variant.cold else {}) | start_s,
        reload_s=dict.fromkeys(names, math.inf) if new_pods else dict.fromkeys(names, 0.0) | change_s,
    )


def _check_placed(
    stage: Stage, variant: Knob, placements: Mapping[str, Placement], source: str | File
) -> None:
    """A variant on another placement takes new pods, and its pods can be told from those of the others."""
    place = f"stages.{stage.name}.variant"
    if len(placements) > 1 and not variant.cold:
        problem = f"is {variant.knob_class.value}, but variants are placed on {' and '.join(placements)}"
        fix = "give class: cold, as another placement takes new pods"
        raise InputError(problem, file=source, field=f"{place}.class", fix=fix)
    seen: dict[object, str] = {}
    for one in stage.variants:
        own = placements[one.resource]
        shown = variant.written(one.name), own.resource, frozenset(own.node_selector.items())
        if (other := seen.setdefault(shown, one.name)) != one.name:
            problem = f"has {shown[0]} for both {other} and {one.name}, on nodes of the same kind"
            fix = "give each a value of its own"
            raise InputError(problem, file=source, field=f"{place}.values", fix=fix)


def _delays(given: Delays, names: list[str], source: str | File, field: str) -> dict[str, float]:
    """Measured delays by variant, of those that are given."""
    by_variant = given if isinstance(given, dict) else dict.fromkeys(names, given)
    _check_names(by_variant, names, source, field, all_needed=False)
    return {name: delay_s for name, delay_s in by_variant.items() if delay_s is not None}


def _check_names(
    given: Collection[str], known: list[str], source: str | File, field: str, all_needed: bool = True
) -> None:
    unknown = [name for name in given if name not in known]
    missing = [name for name in known if name not in given] if all_needed else []
    if unknown or missing:
        parts = [f"has unknown {', '.join(unknown)}"] if unknown else []
        parts += [f"lacks {', '.join(missing)}"] if missing else []
        raise InputError(" and ".join(parts), file=source, field=field, fix=f"use {', '.join(known)}")
