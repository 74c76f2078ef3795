"""What is served: pipelines of stages of variants, and the configurations that serve them.

Frozen values, checked where they enter (`ipa_rl.profiles`, `ipa_rl.environment.definition`) and
trusted afterwards. Terms as in section 2 of the IPA paper (arXiv 2308.12871).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Variant:
    """One model that can do a stage's task, on its base allocation of cores.

    ``batches`` ascends; the tuples after it are aligned with it. Latencies (seconds, of one batch in
    service) do not fall from one batch size to the next. ``throughput_rps`` is the capacity of one
    replica at that batch size. ``accuracy`` is a fraction, ``start_up_s`` the seconds from a decision
    to a ready replica. ``reload_s``: seconds in which a ready replica changes to this variant in place;
    infinite where it cannot, and new replicas are started instead.
    """

    name: str
    accuracy: float
    cores: int
    start_up_s: float
    batches: tuple[int, ...]
    latency_mean_s: tuple[float, ...]
    latency_p99_s: tuple[float, ...]
    throughput_rps: tuple[float, ...]
    reload_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Stage:
    """One task of the pipeline and the variants that can do it, least accurate first."""

    name: str
    variants: tuple[Variant, ...]

    def index(self, variant: str) -> int:
        """Position of the variant of that name; KeyError where there is none."""
        for position, candidate in enumerate(self.variants):
            if candidate.name == variant:
                return position
        raise KeyError(f"stage {self.name} has no variant {variant}")

    def variant(self, name: str) -> Variant:
        """The variant of that name; KeyError where there is none."""
        return self.variants[self.index(name)]

    def with_delays(self, start_up_s: Mapping[str, float], reload_s: Mapping[str, float]) -> Stage:
        """The same stage with other delays by variant; variants that are not named keep theirs."""
        variants = (
            replace(
                v,
                start_up_s=start_up_s.get(v.name, v.start_up_s),
                reload_s=reload_s.get(v.name, v.reload_s),
            )
            for v in self.variants
        )
        return replace(self, variants=tuple(variants))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A chain of stages; a request passes through all of them in order."""

    name: str
    stages: tuple[Stage, ...]

    def restricted_to(self, variants: Sequence[str]) -> Pipeline:
        """The same pipeline with one variant left a stage (as FA2 uses it)."""
        pairs = zip(self.stages, variants, strict=True)
        stages = (replace(stage, variants=(stage.variant(name),)) for stage, name in pairs)
        return replace(self, stages=tuple(stages))


@dataclass(frozen=True, slots=True)
class StageConfig:
    """What one stage runs: variant, batch size and number of replicas."""

    variant: str
    batch: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the whole pipeline runs, one StageConfig a stage, in the order of the stages."""

    stages: tuple[StageConfig, ...]

    def __str__(self) -> str:
        return " | ".join(f"{s.variant} b{s.batch} x{s.replicas}" for s in self.stages)
