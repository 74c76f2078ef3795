"""What the replicas of a stage ask Ray for where its variants are placed on several kinds of hardware.

It is in ``ray_actor_options`` of the deployment. A change of them starts other replicas. Only what placements
name is written; what others say there stays.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import Field

from ipa_rl.documents import Name, Positive, StrictModel
from ipa_rl.errors import InputError
from ipa_rl.live.ray_serve.api import Document
from ipa_rl.pipeline import CORES, Pipeline, Variant

Option: TypeAlias = tuple[str, ...]
"""Where an amount is in ray_actor_options: num_cpus, num_gpus, or a name within resources."""

_UNLESS_SAID: Mapping[Option, float] = {("num_cpus",): 1.0}
"""What Ray Serve gives a replica that asks for nothing; of everything else that is none."""

_DIGITS = 4
"""Ray counts resources in ten thousandths."""


class ActorOptionsModel(StrictModel):
    """What one unit of a resource of the environment is to Ray."""

    num_cpus: Positive | None = None
    num_gpus: Positive | None = None
    resources: dict[Name, Positive] = Field(default_factory=dict)

    @property
    def unit(self) -> dict[Option, float]:
        """Amounts of one unit."""
        named: dict[Option, float | None] = {("num_cpus",): self.num_cpus, ("num_gpus",): self.num_gpus}
        named |= {("resources", name): amount for name, amount in self.resources.items()}
        return {option: amount for option, amount in named.items() if amount is not None}


Placements: TypeAlias = Mapping[str, ActorOptionsModel]
"""By the resource's name in the environment."""


def check_placements(placements: Placements, pipeline: Pipeline, file: Path, under: str) -> None:
    """Whether placements say what the pipeline's variants need, and no more. Raises InputError."""
    for name in placements.keys() - set(pipeline.resources):
        fix = f"variants are placed on {', '.join(pipeline.resources)}"
        raise InputError("places no variant", file=file, field=f"{under}.{name}", fix=fix)
    for stage in pipeline.stages:
        for variant in stage.variants:
            field, whose = f"{under}.{variant.resource}", f"{variant.name} of stage {stage.name}"
            amounts = amounts_of(placements, variant)
            if variant.resource != CORES and not amounts:
                fix = "say what one unit is: num_gpus, or resources by name"
                raise InputError(f"says nothing for {whose}", file=file, field=field, fix=fix)
            for option, amount in amounts.items():
                if amount > 1 and not amount.is_integer():
                    problem = (
                        f"gives {whose} {amount:g} of {option[-1]}; Ray takes shares of one, or whole ones"
                    )
                    raise InputError(
                        problem, file=file, field=field, fix="give other units, or another amount"
                    )


def amounts_of(placements: Placements, variant: Variant) -> dict[Option, float]:
    """What a replica of a variant asks for; nothing where its resource has no placement."""
    unit = placements[variant.resource].unit if variant.resource in placements else {}
    return {option: round(amount * variant.units, _DIGITS) for option, amount in unit.items()}


def option_changes(
    placements: Placements, variant: Variant, present: Document
) -> dict[Option, tuple[float | None, float | None]]:
    """Which of the ``present`` ray_actor_options are not a variant's: what is there, and what it asks for.

    None where there is nothing. What another placement names, and this one does not, is to go.
    """
    wanted = amounts_of(placements, variant)
    named = dict.fromkeys(option for one in placements.values() for option in one.unit)
    pairs = {option: (_read(present, option), wanted.get(option)) for option in named}
    return {
        option: pair for option, pair in pairs.items() if _given(option, pair[0]) != _given(option, pair[1])
    }


def actor_options(placements: Placements, variant: Variant, present: Document) -> Document:
    """The ``present`` ray_actor_options with those of a variant."""
    options = copy.deepcopy(present)
    for option, (_, wanted) in option_changes(placements, variant, present).items():
        place = options
        for key in option[:-1]:
            place = place.setdefault(key, {})
        place.pop(option[-1], None)
        if wanted is not None:
            place[option[-1]] = wanted
    return options


def _given(option: Option, asked: float | None) -> float:
    return _UNLESS_SAID.get(option, 0.0) if asked is None else asked


def _read(options: Document, option: Option) -> Any:
    found: Any = options
    for key in option:
        found = (found or {}).get(key)
    return found
