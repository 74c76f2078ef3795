"""What the YAML of a pipeline on Kubernetes may say (pydantic), before it is turned into values."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ipa_rl.documents import Delay, Name, StrictModel
from ipa_rl.live.kubernetes.paths import parse_path

Delays = Delay | dict[str, Delay] | None


class KnobClass(StrEnum):
    """What a change needs: nothing (hot), a reload in running servers (warm), new pods (cold)."""

    hot = "hot"
    warm = "warm"
    cold = "cold"


class KnobModel(StrictModel):
    """Where a knob lives: an environment variable, or a field, of the container or of the object.

    ``field``: a path within the container, or, where it begins with ``spec.`` or ``metadata.``, within the
    object; then ``seen`` is its path within the pods. ``values``: what is written by variant, where it is not
    the variant's name. ``put``, ``get``: URLs at which a running server takes and tells the value, with
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
    def _consistent(self) -> KnobModel:
        if self.env and self.field:
            raise ValueError("give env or field, not both")
        for text in (self.field, self.seen, self.env and place_of(self.env)):
            if text:
                parse_path(text)
        if self.field and is_of_object(self.field) and not self.seen:
            raise ValueError("give seen: where the pods show what field says")
        live = self.knob_class is not KnobClass.cold
        if live != bool(self.put and self.get) or (live and (self.env or self.field)):
            raise ValueError("a hot or warm knob has put and get, a cold one env or field")
        return self


class CoresModel(StrictModel):
    """Whether the container's cores follow the variant's base allocation (requests, and limits too)."""

    manage: bool = True
    limits: bool = True


class ReplicasModel(StrictModel):
    """Whether replicas are written, or published as a metric for an autoscaler to follow."""

    mode: Literal["write", "publish"] = "write"
    delay_s: Delays = None


class StageModel(StrictModel):
    """The object of a stage and its knobs."""

    kind: Literal["Deployment", "SeldonDeployment", "InferenceService"] = "Deployment"
    name: Name
    namespace: Name | None = None
    container: Name | None = None
    variant: KnobModel = KnobModel()
    batch: KnobModel = KnobModel()
    cores: CoresModel = CoresModel()
    replicas: ReplicasModel = ReplicasModel()


class DescriptionModel(StrictModel):
    """The file as a whole."""

    environment: Name
    namespace: Name = "default"
    stages: dict[str, StageModel]


def place_of(variable: str) -> str:
    """The path of an environment variable within the container."""
    return f"env[name={variable}].value"


def is_of_object(field: str) -> bool:
    """Whether a path begins at the object; others begin at the container."""
    return field.startswith(("spec.", "metadata."))
