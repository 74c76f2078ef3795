"""Which objects the stages are and where their knobs live: a YAML file, or labels and annotations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as File

from ipa_rl import documents
from ipa_rl.environment.definition import Definition
from ipa_rl.errors import InputError
from ipa_rl.live.kubernetes.kinds import KINDS, Kind
from ipa_rl.live.kubernetes.paths import Path, parse_path
from ipa_rl.live.kubernetes.schema import (
    Delays,
    DescriptionModel,
    KnobClass,
    KnobModel,
    StageModel,
    is_of_object,
    place_of,
)
from ipa_rl.pipeline import Pipeline, Stage

_SEE = "docs/reference/kubernetes.md"


@dataclass(frozen=True)
class Knob:
    """A knob of a stage: its class and its place.

    A cold one's ``place`` is a path within the container, or within the object where ``of_object``, and
    ``seen`` the same within the pods. A hot or warm one has the URLs ``put`` and ``get`` of a running server.
    ``values``: what is written, by variant or batch size as text.
    """

    knob_class: KnobClass
    place: Path
    of_object: bool
    seen: Path
    values: Mapping[str, str]
    put: str = ""
    get: str = ""

    def written(self, name: str) -> str:
        """What stands in the field for a variant or batch size."""
        return self.values.get(name, name)

    def meant(self, value: str) -> str:
        """The variant or batch size that a field's value stands for."""
        return next((name for name, text in self.values.items() if text == value), value)

    @property
    def cold(self) -> bool:
        """Whether a change needs new pods."""
        return self.knob_class is KnobClass.cold


@dataclass(frozen=True)
class StageObject:
    """The object that a stage is.

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
    cores: bool
    core_limits: bool
    writes_replicas: bool
    start_up_s: Mapping[str, float]
    reload_s: Mapping[str, float]

    @property
    def changes_in_place(self) -> bool:
        """Whether running pods change to another variant."""
        return all(map(math.isfinite, self.reload_s.values()))

    @property
    def path(self) -> str:
        """Where the API server keeps it."""
        return self.kind.path(self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.kind.name} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Description:
    """All stages of a pipeline, in its order."""

    environment: str
    stages: tuple[StageObject, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces that hold stages, each once."""
        return tuple(dict.fromkeys(stage.namespace for stage in self.stages))


def load_description(path: str | File, definition: Definition) -> Description:
    """Read and check the YAML of a pipeline on Kubernetes. Raises InputError: file, field, fix."""
    file = File(path)
    return _described(documents.load(file, DescriptionModel, _SEE), definition, file)


def describe(content: object, definition: Definition, source: str | File, under: str = "") -> Description:
    """Check what labels or a part of a file say. Raises InputError.

    ``source`` names them in errors, ``under`` the field of a file that holds them.
    """
    model = documents.check(content, DescriptionModel, _SEE, source, under)
    return _described(model, definition, source)


def _described(model: DescriptionModel, definition: Definition, source: str | File) -> Description:
    if model.environment != definition.name:
        raise InputError(
            f"is {model.environment}, the environment is {definition.name}",
            file=source,
            field="environment",
            fix="use the description of the environment that runs",
        )
    _check_stages(model.stages, definition.pipeline, source)
    stages = [
        _stage_object(stage, model.stages[stage.name], model.namespace, source)
        for stage in definition.pipeline.stages
    ]
    _check_distinct(stages, source)
    return Description(model.environment, tuple(stages))


def assumed(definition: Definition, description: Description) -> Definition:
    """The environment with the delays that the description measured; other start-ups stay the profile's.

    Where the variant is a hot or warm knob it changes in place, after the knob's delay; where it is cold, or
    the container's cores change with it, by a rolling update. A start-up delay is that from a decision to a
    ready replica, so ``start_up_scale`` does not scale it. Whether a batch size is cold stands in the stages.
    """
    scale = definition.timing.start_up_scale or 1.0
    stages = []
    for stage, described in zip(definition.pipeline.stages, description.stages, strict=True):
        start_up_s = {name: delay_s / scale for name, delay_s in described.start_up_s.items()}
        delayed = stage.with_delays(start_up_s, described.reload_s)
        stages.append(replace(delayed, cold_batch=described.batch.cold))
    return definition.with_problem(pipeline=replace(definition.pipeline, stages=tuple(stages)))


def _stage_object(stage: Stage, model: StageModel, namespace: str, source: str | File) -> StageObject:
    names = [variant.name for variant in stage.variants]
    place = f"stages.{stage.name}"
    _check_names(model.variant.values, names, source, f"{place}.variant.values", all_needed=True)
    batches = [str(b) for b in stage.variants[0].batches]
    _check_names(model.batch.values, batches, source, f"{place}.batch.values", all_needed=True)
    change_s = _delays(model.variant.delay_s, names, source, f"{place}.variant.delay_s")
    start_s = _delays(model.replicas.delay_s, names, source, f"{place}.replicas.delay_s")
    variant = _knob(model.variant, "IPA_VARIANT")
    new_pods = variant.cold or (model.cores.manage and len({one.cores for one in stage.variants}) > 1)
    return StageObject(
        stage=stage,
        kind=KINDS[model.kind],
        name=model.name,
        namespace=model.namespace or namespace,
        container=model.container,
        variant=variant,
        batch=_knob(model.batch, "IPA_BATCH_SIZE"),
        cores=model.cores.manage,
        core_limits=model.cores.limits,
        writes_replicas=model.replicas.mode == "write",
        start_up_s=(change_s if variant.cold else {}) | start_s,
        reload_s=dict.fromkeys(names, math.inf) if new_pods else dict.fromkeys(names, 0.0) | change_s,
    )


def _delays(given: Delays, names: list[str], source: str | File, field: str) -> dict[str, float]:
    """Measured delays by variant, of those that are given."""
    by_variant = given if isinstance(given, dict) else dict.fromkeys(names, given)
    _check_names(by_variant, names, source, field, all_needed=False)
    return {name: delay_s for name, delay_s in by_variant.items() if delay_s is not None}


def _knob(model: KnobModel, variable: str) -> Knob:
    text = model.field or place_of(model.env or variable)
    place = parse_path(text)
    return Knob(
        knob_class=model.knob_class,
        place=place,
        of_object=is_of_object(text),
        seen=parse_path(model.seen) if model.seen else place,
        values=model.values,
        put=model.put or "",
        get=model.get or "",
    )


def _check_stages(given: Mapping[str, StageModel], pipeline: Pipeline, source: str | File) -> None:
    wanted = [stage.name for stage in pipeline.stages]
    missing = [name for name in wanted if name not in given]
    unknown = [name for name in given if name not in wanted]
    if missing or unknown:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"has unknown {', '.join(unknown)}"] if unknown else []
        fix = f"describe the stages of {pipeline.name}: {', '.join(wanted)}"
        raise InputError(" and ".join(parts), file=source, field="stages", fix=fix)


def _check_names(
    given: Iterable[str], known: list[str], source: str | File, field: str, all_needed: bool
) -> None:
    unknown = [name for name in given if name not in known]
    missing = [name for name in known if name not in given] if all_needed and given else []
    if unknown or missing:
        parts = [f"has unknown {', '.join(unknown)}"] if unknown else []
        parts += [f"lacks {', '.join(missing)}"] if missing else []
        raise InputError(" and ".join(parts), file=source, field=field, fix=f"use {', '.join(known)}")


def _check_distinct(stages: list[StageObject], source: str | File) -> None:
    objects = [str(stage) for stage in stages]
    double = next((one for one in objects if objects.count(one) > 1), None)
    if double:
        fix = "give each stage an object of its own"
        raise InputError(f"{double} is two stages", file=source, field="stages", fix=fix)
